//! Types of volumes, from the command line to what a container finds in them.

mod support;
#[path = "support/world.rs"]
mod world;

use world::World;

/// A Pod of one container that sleeps, with these volumes and these fields of the container.
fn pod(volumes: &str, container: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: {{app: web, tier: \"1\"}}\n  annotations: {{note: \"x y\"}}\nspec:\n  \
         terminationGracePeriodSeconds: 0\n  containers:\n  - name: main\n    image: busybox\n    \
         command: [sleep, \"1000\"]\n{container}  volumes:\n{volumes}"
    )
}

/// What a shell in the container says.
fn inside(world: &World, script: &str) -> String {
    let ran = world.run(&["exec", "a", "--", "sh", "-c", script]);
    assert_eq!(ran.status, 0, "{script}: {ran:?}");
    ran.stdout
}

#[test]
fn a_pod_reads_what_it_is_in_files_and_variables() {
    let Some(world) = World::isolated("a_pod_reads_what_it_is_in_files_and_variables") else { return };
    let volumes = "  - name: info
    downwardAPI:
      defaultMode: 0440
      items:
      - {path: labels, fieldRef: {fieldPath: metadata.labels}}
      - {path: note, fieldRef: {fieldPath: \"metadata.annotations['note']\"}, mode: 0400}
      - {path: sub/memory, resourceFieldRef: {containerName: main, resource: limits.memory, divisor: 1Mi}}
  - name: all
    projected:
      sources:
      - configMap: {name: map, items: [{key: k, path: config/k}]}
      - secret: {name: secret}
      - downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}
      - serviceAccountToken: {path: token}
";
    let container = "    resources: {limits: {memory: 64Mi, cpu: 250m}}
    env:
    - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    volumeMounts:
    - {name: info, mountPath: /info}
    - {name: all, mountPath: /all}
    - {name: all, mountPath: /part, subPathExpr: $(NAME)fig, readOnly: true}
";
    let container = container.replace("$(NAME)fig", "config/$(KEY)");
    let container =
        container.replace("    - {name: NAME,", "    - {name: KEY, value: k}\n    - {name: NAME,");
    let objects = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\ndata: {k: v, other: w}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: secret}\nstringData: {password: pw}\n---\n";
    let ran = world.run_with_input(
        &world.run_args(&["-d", "-"]),
        (objects.to_owned() + &pod(volumes, &container)).as_bytes(),
    );
    assert_eq!(ran.status, 0, "{ran:?}");
    let note = "spec.volumes[1].projected.sources[3].serviceAccountToken: there are no service accounts on this node: the file \"token\" is left out";
    assert!(ran.stderr.contains(note), "{ran:?}");
    world.remember_pods();

    assert_eq!(inside(&world, "cat /info/labels"), "app=\"web\"\ntier=\"1\"");
    assert_eq!(inside(&world, "cat /info/note /info/sub/memory"), "x y64");
    assert_eq!(inside(&world, "stat -Lc %a /info/labels /info/note"), "440\n400\n");
    assert_eq!(inside(&world, "readlink /info/labels; readlink /info/sub"), "..data/labels\n..data/sub\n");
    assert_eq!(inside(&world, "cd /all; ls; cat config/k password name"), "config\nname\npassword\nvpwa");
    assert_eq!(inside(&world, "cat /part; echo $CPU $NAME"), "v250 a\n");
    let written = world.run(&["exec", "a", "--", "touch", "/info/x"]);
    assert!(written.stderr.contains("Read-only file system"), "{written:?}");
    // Secrets of a projected volume are in memory.
    assert_eq!(inside(&world, "grep -c ' /all tmpfs ' /proc/mounts"), "1\n");
    assert_eq!(world.run(&["rm", "-f", "a"]).status, 0);
    world.assert_nothing_left();
}

#[test]
fn an_image_is_a_volume_that_is_only_read() {
    let Some(world) = World::isolated("an_image_is_a_volume_that_is_only_read") else { return };
    let volumes = "  - {name: tools, image: {reference: busybox, pullPolicy: IfNotPresent}}\n";
    let container = "    volumeMounts:
    - {name: tools, mountPath: /tools, mountPropagation: HostToContainer}
    - {name: tools, mountPath: /programs, subPath: bin}
";
    let manifest = pod(volumes, container);
    let file = world.file("a.yaml", &manifest);
    let missing = world.run_with_input(
        &world.run_args(&["-d", "-"]),
        manifest
            .replace(
                "reference: busybox, pullPolicy: IfNotPresent",
                "reference: localhost/none, pullPolicy: Never",
            )
            .as_bytes(),
    );
    assert_eq!(missing.status, 1, "{missing:?}");
    assert!(missing.stderr.contains("image localhost/none is not here"), "{missing:?}");
    let planned = world.run(&["run", "--dry-run", &file]);
    assert_eq!(planned.status, 0, "{planned:?}");
    assert!(planned.stdout.contains("kubernetes.io~image/tools"), "{planned:?}");
    let ran = world.run(&world.run_args(&["-d", &file]));
    assert_eq!(ran.status, 0, "{ran:?}");
    world.remember_pods();
    assert_eq!(
        inside(&world, "ls -d /tools/bin/busybox /programs/busybox"),
        "/programs/busybox\n/tools/bin/busybox\n"
    );
    for script in ["touch /tools/x", "touch /programs/x"] {
        let ran = world.run(&["exec", "a", "--", "sh", "-c", script]);
        assert!(ran.stderr.contains("Read-only file system"), "{ran:?}");
    }
    let executed = world.run(&["exec", "a", "--", "/tools/bin/busybox", "true"]);
    assert_ne!(executed.status, 0, "it is noexec: {executed:?}");
    // The layers are in use, whatever becomes of the name.
    let removed = world.run(&["image", "rm", "busybox"]);
    assert!(removed.stderr.contains("its layers stay"), "{removed:?}");
    assert_eq!(inside(&world, "test -s /tools/bin/busybox && echo there"), "there\n");
    assert_eq!(world.run(&["rm", "-f", "a"]).status, 0);
    world.assert_nothing_left();
}

/// The ids of an overlay cannot be mapped; those of its layers can. The volume's image is the container's own, whose layers
/// are mapped once for both.
#[test]
fn an_image_is_a_volume_in_a_user_namespace() {
    let Some(world) = World::isolated("an_image_is_a_volume_in_a_user_namespace") else { return };
    let volumes = "  - {name: tools, image: {reference: busybox, pullPolicy: IfNotPresent}}\n";
    let container = "    volumeMounts:
    - {name: tools, mountPath: /tools}
    - {name: tools, mountPath: /programs, subPath: bin}
    - {name: tools, mountPath: /busybox, subPath: bin/busybox}
";
    let manifest = pod(volumes, container).replace("spec:\n", "spec:\n  hostUsers: false\n");
    let file = world.file("a.yaml", &manifest);
    let planned = world.run(&["run", "--dry-run", &file]);
    assert_eq!(planned.status, 0, "{planned:?}");
    let ran = world.run(&world.run_args(&["-d", &file]));
    assert_eq!(ran.status, 0, "{ran:?}");
    world.remember_pods();
    assert_eq!(inside(&world, "busybox awk '{print $1, $3}' /proc/self/uid_map"), "0 65536\n");
    let places = "/tools /tools/bin/busybox /tools/etc/passwd /programs /programs/busybox /busybox";
    let root_owns = "0:0\n".repeat(6);
    assert_eq!(inside(&world, &format!("stat -c %u:%g {places}")), root_owns);
    assert_eq!(
        inside(&world, "cmp /programs/busybox /bin/busybox && cmp /busybox /bin/busybox && echo same"),
        "same\n"
    );
    for script in ["touch /tools/x", "touch /programs/x", "echo >>/busybox", "mount -o remount,rw /tools"] {
        let ran = world.run(&["exec", "a", "--", "sh", "-c", script]);
        assert_ne!(ran.status, 0, "{script}: {ran:?}");
    }
    for program in ["/tools/bin/busybox", "/busybox"] {
        let executed = world.run(&["exec", "a", "--", program, "true"]);
        assert_ne!(executed.status, 0, "it is noexec: {executed:?}");
    }
    // Once for each place, and nothing of the layers beside them.
    assert_eq!(inside(&world, "grep -c ' /[a-z]* overlay ro,nosuid,nodev,noexec' /proc/mounts"), "3\n");
    // The layers stay, whatever becomes of the name.
    assert_eq!(world.run(&["image", "rm", "busybox"]).status, 0);
    assert_eq!(inside(&world, "test -s /tools/bin/busybox && echo there"), "there\n");
    assert_eq!(world.run(&["rm", "-f", "a"]).status, 0);
    world.assert_nothing_left();
}

#[test]
fn an_ephemeral_volume_is_a_folder_of_the_pod() {
    let Some(world) = World::isolated("an_ephemeral_volume_is_a_folder_of_the_pod") else { return };
    let volumes = "  - name: scratch
    ephemeral:
      volumeClaimTemplate:
        spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";
    let container = "    securityContext: {privileged: true}
    volumeMounts:
    - {name: scratch, mountPath: /scratch, mountPropagation: Bidirectional}
";
    world.start(&pod(volumes, container));
    world.remember_pods();
    assert_eq!(inside(&world, "touch /scratch/x; stat -c %a /scratch"), "777\n");
    inside(&world, "mkdir /scratch/m; mount -t tmpfs x /scratch/m");
    let seen = world.on_host("grep -c kubernetes.io~ephemeral/scratch/m /proc/self/mountinfo");
    assert_eq!(seen.stdout, "1\n", "{seen:?}");
    assert_eq!(world.run(&["rm", "-f", "a"]).status, 0);
    world.assert_nothing_left();
}

#[test]
fn volumes_are_given_to_the_fs_group() {
    let Some(world) = World::isolated("volumes_are_given_to_the_fs_group") else { return };
    let (host, claim) = (world.volume().join("host"), world.root().join("lib/claims/default/data"));
    for folder in [&host, &claim] {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("old"), "old").unwrap();
    }
    let volumes = format!(
        "  - {{name: disk, emptyDir: {{}}}}
  - {{name: memory, emptyDir: {{medium: Memory}}}}
  - {{name: map, configMap: {{name: map, defaultMode: 0400}}}}
  - {{name: data, persistentVolumeClaim: {{claimName: data}}}}
  - {{name: host, hostPath: {{path: {}}}}}
  securityContext: {{fsGroup: 4242, runAsUser: 1000, runAsGroup: 1000}}
",
        host.display()
    );
    let container = "    volumeMounts:
    - {name: disk, mountPath: /disk}
    - {name: memory, mountPath: /memory}
    - {name: map, mountPath: /map}
    - {name: data, mountPath: /data}
    - {name: host, mountPath: /host}
";
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\ndata: {k: v}\n---\n";
    world.start(&(map.to_owned() + &pod(&volumes, container)));
    world.remember_pods();
    assert_eq!(inside(&world, "id -G"), "1000 4242\n");
    assert_eq!(
        inside(&world, "stat -c '%a %g' /disk /memory /data"),
        "2777 4242\n".repeat(2) + "2775 4242\n"
    );
    assert_eq!(inside(&world, "cat /map/k; stat -Lc ' %a %g' /map/k"), "v 440 4242\n");
    assert_eq!(inside(&world, "echo new >> /data/old; stat -c '%a %g' /data/old"), "664 4242\n");
    assert_eq!(inside(&world, "touch /disk/x; stat -c %g /disk/x /host/old"), "4242\n0\n");
    // What a container changes stays changed when the pod is started again.
    inside(&world, "chmod 600 /disk/x");
    assert_eq!(world.run(&["stop", "a"]).status, 0);
    assert_eq!(world.run(&["start", "a"]).status, 0);
    assert_eq!(inside(&world, "stat -c %a /disk/x /disk"), "600\n2777\n");
    assert_eq!(world.run(&["rm", "-f", "--volumes", "a"]).status, 0);
    assert!(!claim.exists());
    world.assert_nothing_left();
}

/// As charts do it: a configMap at a directory, read-only, and others' sockets below.
#[test]
fn volumes_are_mounted_below_a_volume_of_files() {
    let Some(world) = World::isolated("volumes_are_mounted_below_a_volume_of_files") else { return };
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata: {a.conf: x}\n---\n\
        apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  restartPolicy: Never\n  volumes:\n  \
        - {name: cm, configMap: {name: cm}}\n  - {name: sockets, emptyDir: {}}\n  containers:\n  \
        - name: main\n    image: busybox\n    command: [sh, -c, 'touch /etc/app/run/sockets/s; cd /etc/app; ls . run/sockets']\n    \
        volumeMounts:\n    - {name: sockets, mountPath: /etc/app/run/sockets}\n    \
        - {name: cm, mountPath: /etc/app/, readOnly: true}\n";
    let ran = world.run_with_input(&world.run_args(&["-"]), manifest.as_bytes());
    let said: Vec<&str> =
        ran.stdout.lines().map(|line| line.split_once("| ").map_or("", |said| said.1)).collect();
    assert_eq!((ran.status, said), (0, vec![".:", "a.conf", "run", "", "run/sockets:", "s"]), "{ran:?}");
    world.assert_nothing_left();
}

/// Names, name servers and groups, where a program looks for them.
#[test]
fn a_pod_is_who_and_where_it_says() {
    let Some(world) = World::isolated("a_pod_is_who_and_where_it_says") else { return };
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  restartPolicy: Never\n  \
        hostname: h\n  subdomain: sub\n  setHostnameAsFQDN: true\n  dnsPolicy: None\n  \
        dnsConfig: {nameservers: [192.0.2.1], searches: [a.example], options: [{name: ndots, value: '2'}]}\n  \
        hostAliases: [{ip: 192.0.2.7, hostnames: [alias]}]\n  \
        securityContext: {runAsUser: 1000, runAsGroup: 3000, supplementalGroups: [4000], supplementalGroupsPolicy: Strict}\n  \
        containers:\n  - {name: main, image: busybox, command: [sh, -c, 'hostname; id -u; id -G; cat /etc/resolv.conf; tail -n1 /etc/hosts']}\n";
    let ran = world.run_with_input(&world.run_args(&["-"]), manifest.as_bytes());
    let said: Vec<&str> =
        ran.stdout.lines().map(|line| line.split_once("| ").map_or("", |said| said.1)).collect();
    let expected = [
        "h.sub.default.svc.cluster.local",
        "1000",
        "3000 4000",
        "nameserver 192.0.2.1",
        "search a.example",
        "options ndots:2",
        "192.0.2.7\talias",
    ];
    assert_eq!((ran.status, said.as_slice()), (0, expected.as_slice()), "{ran:?}");
    world.assert_nothing_left();
}
