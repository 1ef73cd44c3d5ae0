//! A FUSE file system from a sidecar, end to end: examples/fuse-sidecar.yaml, and the rule of the parent directory.

mod support;
#[path = "support/world.rs"]
mod world;

use std::time::{Duration, Instant};
use support::{images, is_root, skipped};
use world::World;

/// A world that has the image with bindfs too, or the reason why not was said.
fn world(name: &str) -> Option<World> {
    if !is_root(name) {
        return None;
    }
    let image = images(name)?.join("bindfs.tar");
    if !image.exists() {
        skipped(name, "no bindfs image; cargo xtask test assembles it");
        return None;
    }
    if std::fs::File::options().read(true).write(true).open("/dev/fuse").is_err() {
        skipped(name, "no FUSE on this machine: /dev/fuse cannot be opened");
        return None;
    }
    let world = World::isolated(name)?;
    let imported = world.run(&["image", "import", image.to_str().unwrap(), "--name", "bindfs"]);
    assert_eq!(imported.status, 0, "{imported:?}");
    Some(world)
}

/// What a shell says in a container, also if it fails.
fn inside(world: &World, container: &str, script: &str) -> String {
    let ran = world.run(&["exec", container, "--", "sh", "-c", script]);
    ran.stdout + &ran.stderr
}

fn until(world: &World, container: &str, script: &str, wanted: &str) {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let seen = inside(world, container, script);
        if seen == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "in {container}, {script}: {seen:?}, not {wanted:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Kills the file system's process in a container; the supervisor starts the container again.
fn kill_the_file_system(world: &World, pod: &str, container: &str) {
    let restarts = |world: &World| {
        let pod = world.run(&["inspect", pod, "-o", "json"]).stdout;
        let pod: serde_json::Value = serde_json::from_str(&pod).unwrap();
        let all = pod["status"]["containerStatuses"].as_array().unwrap().clone();
        all.iter().find(|one| one["name"] == container).unwrap()["restartCount"].as_u64().unwrap()
    };
    let before = restarts(world);
    let id = world.run(&["inspect", pod, "-o", "json"]).stdout;
    let id: serde_json::Value = serde_json::from_str(&id).unwrap();
    let statuses = id["status"]["containerStatuses"].as_array().unwrap();
    let id = statuses.iter().find(|one| one["name"] == container).unwrap()["containerID"].as_str().unwrap();
    let record = world.root().join("run/runtime").join(id.strip_prefix("rhizome://").unwrap());
    let record = std::fs::read_dir(&record).map(|all| all.flatten().map(|e| e.path()).collect::<Vec<_>>());
    let pid = record
        .unwrap()
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .filter_map(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .find_map(|record| record["init"]["pid"].as_i64())
        .unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let deadline = Instant::now() + Duration::from_secs(90);
    while restarts(world) == before {
        assert!(Instant::now() < deadline, "{container} is not started again");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_sidecars_mount_comes_back_and_leaves_nothing() {
    let Some(world) = world("a_sidecars_mount_comes_back_and_leaves_nothing") else { return };
    world.start(include_str!("../../../examples/fuse-sidecar.yaml"));
    world.remember_pods();
    let (fuse, reader) = ("fuse-sidecar/fuse", "fuse-sidecar/reader");
    until(&world, reader, "cat /shared/data/from", "fuse-sidecar\n");
    until(&world, reader, "grep -c ' /shared/data .*fuse' /proc/self/mountinfo", "1\n");
    // Both ways: what the sidecar's source gets is read by the neighbour.
    inside(&world, fuse, "echo later > /source/more");
    until(&world, reader, "cat /shared/data/more", "later\n");
    for _ in 0..2 {
        kill_the_file_system(&world, "fuse-sidecar", "fuse");
        until(&world, reader, "cat /shared/data/from", "fuse-sidecar\n");
        // The dead one does not lie below the new one.
        until(&world, reader, "grep -c ' /shared/data .*fuse' /proc/self/mountinfo", "1\n");
    }
    assert_eq!(
        inside(&world, reader, "cat /shared/data/more"),
        "cat: can't open '/shared/data/more': No such file or directory\n"
    );
    let host =
        || world.on_host("grep -c 'fuse.*bindfs\\|bindfs.*fuse\\|/source ' /proc/self/mountinfo").stdout;
    assert_eq!(host(), "1\n");
    let stopped = world.run(&["stop", "fuse-sidecar"]);
    assert_eq!((stopped.status, stopped.stderr.as_str()), (0, ""), "{stopped:?}");
    assert_eq!(host(), "0\n");
    // Killed at once, with the pod: neither.
    assert_eq!(world.run(&["start", "fuse-sidecar"]).status, 0);
    until(&world, reader, "cat /shared/data/from", "fuse-sidecar\n");
    world.remember_pods();
    assert_eq!(world.run(&["rm", "-f", "fuse-sidecar"]).status, 0);
    world.assert_nothing_left();
}

#[test]
fn the_parent_directory_is_the_volume() {
    let Some(world) = world("the_parent_directory_is_the_volume") else { return };
    let volume = world.volume().display().to_string();
    let server = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: server}}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n  \
         - name: fuse\n    image: bindfs\n    command: [sh, -c, \"umount -l /v/data; mkdir -p /source /v/data; date +%s%N > \
         /source/when; exec bindfs -f /source /v/data\"]\n    securityContext: {{privileged: true}}\n    volumeMounts: \
         [{{name: v, mountPath: /v, mountPropagation: Bidirectional}}]\n  volumes: [{{name: v, hostPath: {{path: {volume}}}}}]\n"
    );
    world.start(&server);
    let deadline = Instant::now() + Duration::from_secs(90);
    while world.on_host(&format!("cat {volume}/data/when")).status != 0 {
        assert!(Instant::now() < deadline, "{}", world.run(&["logs", "server"]).stdout);
    }
    let reader = |name: &str, path: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  \
             containers:\n  - {{name: main, image: busybox, command: [sleep, \"1000\"], volumeMounts: [{{name: v, mountPath: \
             /v, mountPropagation: HostToContainer}}]}}\n  volumes: [{{name: v, hostPath: {{path: {path}}}}}]\n---\n"
        )
    };
    // One has the directory that the file system is mounted in, the other the file system itself.
    world.start(&(reader("parent", &volume) + &reader("itself", &format!("{volume}/data"))));
    let when = || world.on_host(&format!("cat {volume}/data/when")).stdout;
    let first = when();
    until(&world, "parent", "cat /v/data/when", &first);
    until(&world, "itself", "cat /v/when", &first);
    kill_the_file_system(&world, "server", "fuse");
    let deadline = Instant::now() + Duration::from_secs(90);
    while !when().ends_with('\n') || when() == first {
        assert!(Instant::now() < deadline);
    }
    until(&world, "parent", "cat /v/data/when", &when());
    // A new mount beside the dead one comes to nobody who holds that.
    let dead = inside(&world, "itself", "cat /v/when");
    assert!(
        dead.contains("Transport endpoint is not connected") || dead.contains("Socket not connected"),
        "{dead}"
    );
    // The mounts of an isolated root go with its last pod, these too.
    world.remember_pods();
    assert_eq!(world.run(&["rm", "-fa"]).status, 0);
    world.assert_nothing_left();
}
