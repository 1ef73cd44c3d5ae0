//! Who sees whose mounts, pod by pod: Kubernetes' own table, and each mode with each type of volume.

mod support;
#[path = "support/world.rs"]
mod world;

use world::World;

const MODES: [&str; 3] = ["None", "HostToContainer", "Bidirectional"];

fn inside(world: &World, container: &str, script: &str) -> i32 {
    let ran = world.run(&["exec", container, "--", "sh", "-c", script]);
    assert!(ran.status <= 1, "{container}: {script}: {ran:?}");
    ran.status
}

/// The table of Kubernetes' end-to-end test of mount propagation (test/e2e/node/mount_propagation.go).
#[test]
fn kubernetes_own_table() {
    let Some(world) = World::isolated("kubernetes_own_table") else { return };
    let volume = world.volume().display().to_string();
    let pods =
        [("master", "Bidirectional"), ("slave", "HostToContainer"), ("private", "None"), ("default", "")];
    let manifest: String = pods.iter().map(|(name, mode)| {
        let mode = if mode.is_empty() { String::new() } else { format!(", mountPropagation: {mode}") };
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  \
             containers:\n  - name: main\n    image: busybox\n    command: [sleep, \"1000\"]\n    \
             securityContext: {{privileged: true}}\n    volumeMounts: [{{name: v, mountPath: /mnt/test{mode}}}]\n  \
             volumes: [{{name: v, hostPath: {{path: {volume}}}}}]\n---\n"
        )
    }).collect();
    world.start(&manifest);
    let makers = ["master", "slave", "private", "default", "host"];
    let mount =
        |place: &str| format!("mkdir -p {place} && mount -t tmpfs none {place} && touch {place}/file");
    for maker in &makers[..4] {
        assert_eq!(inside(&world, maker, &mount(&format!("/mnt/test/{maker}"))), 0, "{maker}");
    }
    assert_eq!(world.on_host(&mount(&format!("{volume}/host"))).status, 0);
    let expected = [
        ("master", [true, false, false, false, true]),
        ("slave", [true, true, false, false, true]),
        ("private", [false, false, true, false, false]),
        ("default", [false, false, false, true, false]),
        ("host", [true, false, false, false, true]),
    ];
    for (viewer, row) in expected {
        let seen = makers.map(|maker| match viewer {
            "host" => world.on_host(&format!("test -e {volume}/{maker}/file")).status == 0,
            _ => inside(&world, viewer, &format!("test -e /mnt/test/{maker}/file")) == 0,
        });
        assert_eq!(seen, row, "what {viewer} sees of {makers:?}");
    }
    world.remember_pods();
    let removed = world.run(&["rm", "-fa"]);
    assert_eq!(removed.status, 0, "{removed:?}");
    world.assert_nothing_left();
}

/// What of a volume differs by its type.
struct Kind {
    name: &'static str,
    source: String,
    /// Kubernetes mounts it read-only: there is a file `key` in it, and no directory can be made.
    read_only: bool,
}

/// Container `a` mounts below the volume in each mode, and has another volume mounted below it from its start;
/// container `b` looks on with HostToContainer. It sees the first only where the mode is Bidirectional, and the second
/// never.
#[test]
fn each_mode_with_each_type_of_volume() {
    let Some(world) = World::isolated("each_mode_with_each_type_of_volume") else { return };
    let kinds = [
        Kind {
            name: "host",
            source: format!("hostPath: {{path: {}}}", world.volume().display()),
            read_only: false,
        },
        Kind { name: "disk", source: "emptyDir: {}".to_owned(), read_only: false },
        Kind { name: "memory", source: "emptyDir: {medium: Memory}".to_owned(), read_only: false },
        Kind { name: "config", source: "configMap: {name: c}".to_owned(), read_only: true },
        Kind { name: "secret", source: "secret: {secretName: s}".to_owned(), read_only: true },
    ];
    let mut manifest = String::from(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {key: one, nested: two}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {key: one, nested: two}\n---\n",
    );
    let pods: Vec<(String, &Kind, &str)> = kinds
        .iter()
        .flat_map(|kind| MODES.map(|mode| (format!("{}-{}", kind.name, mode.to_lowercase()), kind, mode)))
        .collect();
    for (name, kind, mode) in &pods {
        // A file onto the file of a read-only volume; else onto a directory that is made for it.
        let below = match kind.read_only {
            true => {
                format!("hostPath: {{path: {}, type: FileOrCreate}}", world.volume().join("file").display())
            }
            false => "emptyDir: {}".to_owned(),
        };
        manifest += &format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  \
             containers:\n  - name: a\n    image: busybox\n    command: [sleep, \"1000\"]\n    \
             securityContext: {{privileged: true}}\n    volumeMounts:\n    \
             - {{name: v, mountPath: /v, mountPropagation: {mode}}}\n    - {{name: below, mountPath: /v/nested}}\n  \
             - name: b\n    image: busybox\n    command: [sleep, \"1000\"]\n    volumeMounts:\n    \
             - {{name: v, mountPath: /v, mountPropagation: HostToContainer}}\n  \
             volumes: [{{name: v, {}}}, {{name: below, {below}}}]\n---\n",
            kind.source
        );
    }
    world.start(&manifest);
    let mounted = |container: &str| {
        let script = "sed -n 's,^[^/]*[^ ]* \\(/v/[^ ]*\\) .*,\\1,p' /proc/self/mountinfo";
        let ran = world.run(&["exec", container, "--", "sh", "-c", script]);
        assert_eq!(ran.status, 0, "{ran:?}");
        ran.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    for (name, kind, mode) in &pods {
        let (a, b) = (format!("{name}/a"), format!("{name}/b"));
        assert_eq!(mounted(&a).len(), 1, "{name}: the volume below is there");
        assert_eq!(mounted(&b), [""; 0], "{name}: and nowhere else");
        let own = match kind.read_only {
            true => "mount --bind /etc/hostname /v/key",
            false => "mkdir -p /v/own && mount -t tmpfs own /v/own",
        };
        assert_eq!(inside(&world, &a, own), 0, "{name}: {own}");
        assert_eq!(mounted(&a).len(), 2, "{name}");
        assert_eq!(mounted(&b).len(), usize::from(*mode == "Bidirectional"), "{name}: what b sees");
        let off = if kind.read_only { "umount /v/key" } else { "umount /v/own" };
        assert_eq!(inside(&world, &a, off), 0, "{name}: {off}");
        assert_eq!(mounted(&b), [""; 0], "{name}: and it goes with it");
    }
    world.remember_pods();
    let removed = world.run(&["rm", "-fa"]);
    assert_eq!(removed.status, 0, "{removed:?}");
    world.assert_nothing_left();
}
