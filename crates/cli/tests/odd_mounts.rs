//! Mounts of an unusual kind, as `mounts`, `graph`, `why` and `why-busy` show them: subvolumes of btrfs, trees that are attached
//! nowhere, namespaces that only a descriptor keeps.
#[path = "support/namespace.rs"]
mod namespace;
mod support;

use namespace::Namespace;
use serde_json::Value;
use support::{Ran, is_root, ran, run, skipped};

/// The last mount at a path, as a document.
fn mount_at(namespace: &Namespace, path: &str) -> Value {
    let ran = run(&["mounts", &format!("ns:{}", namespace.number()), "-T", path, "-o", "json"]);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    let mounts = document["namespaces"][0]["mounts"].as_array().unwrap();
    mounts.iter().rfind(|mount| mount["target"] == path).unwrap_or_else(|| panic!("{document}")).clone()
}

fn asked(verb: &str, path: &str, from: &Namespace, into: &Namespace) -> Value {
    let (from, into) = (format!("ns:{}", from.number()), format!("ns:{}", into.number()));
    let ran = run(&[verb, path, "--from", &from, "--in", &into, "-o", "json"]);
    serde_json::from_str::<Value>(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"))["answer"].clone()
}

fn said(args: &[&str]) -> Ran {
    // As wide as it takes.
    ran(support::rhizome(args).env("COLUMNS", "1000").output().unwrap())
}

#[test]
fn subvolumes_of_btrfs() {
    let name = "subvolumes_of_btrfs";
    if !is_root(name) {
        return;
    }
    let mut a = Namespace::new();
    let made = "mkdir /tmp/vol /tmp/a /tmp/b /tmp/c && truncate -s 120M /tmp/image && mkfs.btrfs -q /tmp/image && \
                mount -o loop /tmp/image /tmp/vol";
    let tried = std::process::Command::new("nsenter")
        .args(["--target", &a.pid().to_string(), "--mount", "sh", "-c", made])
        .output()
        .unwrap();
    if !tried.status.success() {
        let why = String::from_utf8_lossy(&tried.stderr).lines().last().unwrap_or_default().to_owned();
        return skipped(name, &format!("no btrfs on a loop device here: {why}"));
    }
    a.run("btrfs subvolume create /tmp/vol/one >/dev/null && btrfs subvolume create /tmp/vol/two >/dev/null");
    a.run("mkdir -p /tmp/vol/one/dir/x && device=$(findmnt -n -o SOURCE /tmp/vol)");
    a.run("mount -o subvol=one $device /tmp/a && mount -o subvol=two $device /tmp/b && mount --bind /tmp/vol/one/dir /tmp/c");
    let slave = a.copy("slave");
    a.run("mount -t tmpfs late /tmp/a/dir/x");

    let (whole, one, bound) = (mount_at(&a, "/tmp/vol"), mount_at(&a, "/tmp/a"), mount_at(&a, "/tmp/c"));
    assert_eq!(
        (&whole["root"], &one["root"], &bound["root"]),
        (&"/".into(), &"/one".into(), &"/one/dir".into())
    );
    assert_eq!(whole["device"], one["device"]);
    assert_eq!(mount_at(&a, "/tmp/b")["root"], "/two");
    // A bind is a peer; a subvolume that is mounted by itself is not.
    assert_eq!(
        bound["propagationInWords"].as_str().unwrap().matches("its own /tmp/vol/one/dir").count(),
        1,
        "{bound}"
    );
    assert!(!one["propagationInWords"].as_str().unwrap().contains("its own"), "{one}");
    let words = mount_at(&slave, "/tmp/c")["propagationInWords"].as_str().unwrap().to_owned();
    assert!(words.starts_with("slave of ") && words.contains("/tmp/c"), "{words}");

    let answer = asked("why", "/tmp/a/dir/x", &a, &slave);
    assert_eq!((&answer["visible"], &answer["place"]), (&"yes".into(), &"/tmp/a/dir/x".into()), "{answer}");
    assert_eq!(answer["cause"]["id"], "arrived");
    // The same folder through the whole file system: nothing is mounted there, and what is mounted in the subvolume
    // does not cover it.
    let answer = asked("why", "/tmp/vol/one/dir/x", &a, &slave);
    assert_eq!((&answer["visible"], &answer["cause"]["id"]), (&"yes".into(), &"arrived".into()), "{answer}");
    assert_eq!(answer["place"], "/tmp/c/x", "{answer}");

    let host = format!("pid:{}", a.pid());
    let graph = said(&["graph", "--host", &host, "/tmp", &host, &format!("ns:{}", slave.number())]);
    for line in ["host:/tmp/a  shared, btrfs", "host:/tmp/c  shared, btrfs", "<-> host:/tmp/vol  shared"] {
        assert!(graph.stdout.contains(line), "{line}\n{}", graph.stdout);
    }
    a.run("umount /tmp/a/dir/x");
    let busy = said(&["why-busy", "/tmp/a", "--in", &host]);
    assert!(busy.stdout.contains("its file system stays in use"), "{}", busy.stdout);
    // Nobody asked for an end of the other subvolumes.
    assert!(!busy.stdout.contains("umount --lazy /tmp/b"), "{}", busy.stdout);
    drop(slave);
    a.run("umount /tmp/a /tmp/b /tmp/c && umount /tmp/vol");
}

/// A tree of open_tree(2) that a process holds by a descriptor is in no namespace, and in no table.
#[test]
fn a_tree_that_is_attached_nowhere() {
    if !is_root("a_tree_that_is_attached_nowhere") {
        return;
    }
    let mut a = Namespace::new();
    a.run("mkdir /tmp/disk && mount -t tmpfs disk /tmp/disk");
    // open_tree(AT_FDCWD, "/tmp/disk", OPEN_TREE_CLONE | AT_RECURSIVE): 428 on every architecture.
    a.run(
        "perl -e 'my $p = \"/tmp/disk\"; my $fd = syscall(428, -100, $p, 0x8001); exit 1 if $fd < 0; \
           open(F, \">\", \"/tmp/held\"); close(F); sleep 1000' & held=$!",
    );
    a.run("until test -e /tmp/held; do sleep 0.1; done");
    let target = format!("pid:{}", a.pid());
    let shown = said(&["mounts", &target, "-T", "/tmp/disk", "--no-headers"]);
    assert_eq!(shown.stdout.lines().count(), 1, "{shown:?}");
    let busy = said(&["why-busy", "/tmp/disk", "--in", &target]);
    assert_eq!(busy.status, 0, "{busy:?}");
    assert!(busy.stdout.contains("busy-detached") && busy.stdout.contains("(perl)"), "{busy:?}");
    assert!(busy.stdout.contains("/tmp/disk can be unmounted; its file system stays in use."), "{busy:?}");
    a.run("kill $held; wait $held || true");
    let free = said(&["why-busy", "/tmp/disk", "--in", &target]);
    assert!(free.stdout.starts_with("Nothing holds /tmp/disk"), "{free:?}");
    a.run("umount /tmp/disk");
}

/// No process is in it: what it has received is known all the same.
#[test]
fn a_namespace_that_only_a_descriptor_keeps() {
    let name = "a_namespace_that_only_a_descriptor_keeps";
    if !is_root(name) {
        return;
    }
    let mut a = Namespace::new();
    let kept = a.copy("slave");
    let target = format!("ns:{}", kept.number());
    a.run(&format!("exec 7</proc/{}/ns/mnt", kept.pid()));
    drop(kept);
    a.run("mkdir /tmp/late && mount -t tmpfs late /tmp/late");
    let ran =
        run(&["why", "/tmp/late", "--from", &format!("pid:{}", a.pid()), "--in", &target, "-o", "json"]);
    let Ok(document) = serde_json::from_str::<Value>(&ran.stdout) else {
        return skipped(name, &format!("such a namespace cannot be listed here: {}", ran.stderr.trim()));
    };
    assert_eq!(document["answer"]["visible"], "yes", "{document}");
    let graph = said(&["graph", "--host", &format!("pid:{}", a.pid()), "/tmp/late"]);
    assert!(graph.stdout.contains(&format!("{target}:/tmp/late  slave")), "{graph:?}");
    a.run("exec 7<&- && umount /tmp/late");
}
