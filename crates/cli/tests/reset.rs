//! `rhizome system reset`: all of a root goes, nothing else does, and a kill half way is mended by doing it again.

mod support;
#[path = "support/world.rs"]
mod world;

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;
use support::run;
use world::World;

/// Two pods in two namespaces; the first can mount on the host.
fn pods(world: &World, propagation: &str) -> String {
    let pod = |name: &str, namespace: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  containers:\n  - \
             {{name: main, image: busybox, command: [sleep, \"1000\"], securityContext: {{privileged: true}}, \
             volumeMounts: [{{name: v, mountPath: /home, mountPropagation: {propagation}}}, {{name: e, mountPath: /e}}]}}\n  \
             volumes: [{{name: v, hostPath: {{path: {}}}}}, {{name: e, emptyDir: {{medium: Memory}}}}]\n---\n",
            world.volume().display()
        )
    };
    pod("a", "default") + &pod("b", "other")
}

fn is_gone(world: &World) {
    world.assert_nothing_left();
    for folder in ["lib", "run"] {
        assert!(!world.root().join(folder).exists(), "{folder}");
    }
}

#[test]
fn everything_goes_and_it_is_seen() {
    for isolated in [true, false] {
        let Some(world) = World::new("everything_goes_and_it_is_seen", isolated) else { return };
        world.start(&pods(&world, if isolated { "Bidirectional" } else { "None" }));
        world.remember_pods();
        if isolated {
            let mounted =
                world.run(&["exec", "a", "--", "sh", "-c", "mkdir /home/m; mount -t tmpfs none /home/m"]);
            assert_eq!(mounted.status, 0, "{mounted:?}");
        }
        let asked = world.run(&["system", "reset"]);
        assert_eq!((asked.status, asked.stdout.as_str()), (2, ""), "{asked:?}");
        assert!(asked.stderr.ends_with("nothing was removed\nhint: --force does not ask\n"), "{asked:?}");
        assert_eq!(world.run(&["ps", "-A", "-o", "name"]).stdout, "pod/a\npod/b\n");
        let reset = world.run(&["system", "reset", "--force"]);
        assert_eq!(reset.status, 0, "{reset:?}");
        for line in ["pod default/a removed\n", "pod other/b removed\n", "/lib/images removed\n"] {
            assert!(reset.stdout.contains(line), "{reset:?}");
        }
        let left = format!("mount {} detached\n", world.volume().join("m").display());
        assert_eq!(reset.stdout.contains(&left), isolated, "{reset:?}");
        assert!(
            reset.stderr.ends_with("nothing of this root is left: no file, mount, cgroup or process\n"),
            "{reset:?}"
        );
        is_gone(&world);
        // The volume is the user's.
        assert!(world.volume().join("m").exists() == isolated);
        let again = world.run(&["system", "reset", "-f"]);
        assert_eq!((again.status, again.stdout.as_str()), (0, ""), "{again:?}");
    }
}

#[test]
fn what_is_not_ours_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    for (inside, is_file) in [("lib/systemd", false), ("run/user.pid", true)] {
        let path = folder.path().join(inside);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if is_file {
            std::fs::write(&path, "").unwrap()
        } else {
            std::fs::create_dir(&path).unwrap()
        }
        std::fs::set_permissions(path.parent().unwrap(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let ran = run(&["--root", root, "system", "reset", "--force"]);
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{ran:?}");
        let words = format!("error: {} is not of rhizome, so that", path.display());
        assert!(
            ran.stderr.starts_with(&words) && ran.stderr.contains("nothing was removed\nhint: "),
            "{ran:?}"
        );
        assert_eq!(path.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o755);
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}

#[test]
fn a_kill_half_way_is_mended_by_doing_it_again() {
    let Some(first) = World::isolated("a_kill_half_way_is_mended_by_doing_it_again") else { return };
    drop(first);
    for after_ms in [10, 40, 80, 120, 180, 260] {
        let Some(world) = World::isolated("a_kill_half_way_is_mended_by_doing_it_again") else { return };
        world.start(&pods(&world, "Bidirectional"));
        world.remember_pods();
        let mut command = world.command(&["system", "reset", "--force"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(after_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        let again = world.run(&["system", "reset", "--force"]);
        assert_eq!(again.status, 0, "after {after_ms} ms: {again:?}");
        is_gone(&world);
    }
}
