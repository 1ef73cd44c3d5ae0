//! The node, read in every way that this kernel has, beside `/proc/PID/mountinfo` of mounts that the tests make.

#[path = "../../cli/tests/support/namespace.rs"]
mod namespace;

use mount_table::node::{Keeper, Missing, Owner};
use mount_table::{MountTable, NamespaceId, Node};
use namespace::Namespace;
use observe::node::{Content, NodeReader, Ways, read_node_by};
use observe::{Names, read_node};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

fn is_root(name: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        let _ = writeln!(std::io::stdout(), "SKIPPED: {name}: needs root");
    }
    root
}

/// Whether the kernel lists namespaces, or the test is skipped.
fn lists(name: &str, node: &Node) -> bool {
    let gap = node.gaps.iter().find(|gap| gap.what == Missing::KeptNamespaces);
    if let Some(gap) = gap {
        let _ = writeln!(std::io::stdout(), "SKIPPED: {name}: {}", gap.why);
    }
    gap.is_none()
}

fn all_ways() -> Vec<Ways> {
    let mut ways = Vec::new();
    for content in [Content::Mountinfo, Content::Statmount] {
        for unique_ids in [true, false] {
            for iterate in [true, false] {
                ways.push(Ways { iterate, unique_ids, content });
            }
        }
    }
    ways
}

fn view(node: &Node, id: u64) -> &mount_table::NamespaceView {
    node.namespace(NamespaceId(id)).unwrap_or_else(|| panic!("{id} is not in {:?}", node.gaps))
}

const ODD: &str = "mkdir '/tmp/a b' '/tmp/back\\slash' '/tmp/#hash' /tmp/$(printf '\\377') /tmp/x /tmp/x/sub /tmp/x/gone \
    /tmp/y /tmp/z /tmp/o /tmp/o/l /tmp/o/l2 /tmp/o/u /tmp/o/w /tmp/o/m \
    && mount -t tmpfs 'odd source' '/tmp/a b' -o ro,nosuid,noexec,size=8k && mount -t tmpfs '' '/tmp/back\\slash' -o noatime,nodiratime \
    && mount -t tmpfs no#ne '/tmp/#hash' -o strictatime,nodev && mount -t tmpfs none /tmp/$(printf '\\377') \
    && mount --bind /tmp/x/sub /tmp/y && mount --bind /tmp/x/gone /tmp/z && rmdir /tmp/x/gone \
    && mount -t tmpfs one /tmp/x/sub && mount -t tmpfs two /tmp/x/sub && mount --make-unbindable /tmp/y \
    && mount -t overlay over -o lowerdir=/tmp/o/l:/tmp/o/l2,upperdir=/tmp/o/u,workdir=/tmp/o/w /tmp/o/m \
    && mount -t tmpfs sync /tmp/o/w -o sync,dirsync,lazytime";

#[test]
fn every_way_gives_the_same_rows() {
    if !is_root("every_way_gives_the_same_rows") {
        return;
    }
    let mut a = Namespace::new();
    a.run(ODD);
    let mut slave = a.copy("slave");
    slave.run("mount --make-rshared /tmp");
    // A slave of a slave whose own group is not to be seen from here: it receives from further up.
    let third = slave.copy("slave");
    let mut in_between = a.copy("unchanged");
    in_between.run("mkdir /tmp/later && mount -t tmpfs later /tmp/later");
    let user = {
        let mut command = Command::new("nsenter");
        command.args(["--target", &a.pid().to_string(), "--mount", "unshare"]);
        Namespace::spawn(command, &["--mount", "--user", "--map-root-user", "--propagation", "unchanged"])
    };
    let mut ids = std::collections::BTreeMap::new();
    for ways in all_ways() {
        let node = read_node_by(&Names::default(), ways).unwrap();
        for (name, namespace) in
            [("a", &a), ("slave", &slave), ("third", &third), ("peer", &in_between), ("user", &user)]
        {
            let view = view(&node, namespace.number());
            let table = MountTable::parse_mountinfo(&namespace.mountinfo()).unwrap();
            assert_eq!(view.mounts.mounts.len(), table.mounts.len(), "{name} by {ways:?}");
            for (ours, theirs) in view.mounts.mounts.iter().zip(&table.mounts) {
                assert_eq!(ours, theirs, "{name} by {ways:?}");
            }
            assert!(!view.moved && view.seen_from.is_none());
            let known = view.unique_mount_ids.len();
            assert!(known == 0 || known == table.mounts.len(), "{name} by {ways:?}: {known} unique ids");
            assert!(view.unique_mount_ids.is_sorted());
            if known > 0 {
                let others = ids.entry(name).or_insert_with(|| view.unique_mount_ids.clone());
                assert_eq!(&view.unique_mount_ids, others, "{name} by {ways:?}");
            }
        }
        let of_user = view(&node, user.number()).user_namespace.unwrap();
        assert_ne!(Some(of_user), view(&node, a.number()).user_namespace);
    }
}

/// `propagate_from` is derived where statmount(2) gave the rows.
#[test]
fn groups_above_the_master() {
    if !is_root("groups_above_the_master") {
        return;
    }
    let mut a = Namespace::new();
    // /tmp/one is shared, /tmp/two its shared slave, /tmp/three a slave of that; then /tmp/two goes elsewhere.
    a.run("mkdir /tmp/w && mount -t tmpfs w /tmp/w && mount --make-private /tmp/w && mkdir /tmp/w/one /tmp/w/two /tmp/w/three");
    a.run("mount -t tmpfs base /tmp/w/one && mount --make-shared /tmp/w/one");
    a.run("mount --bind /tmp/w/one /tmp/w/two && mount --make-slave /tmp/w/two && mount --make-shared /tmp/w/two");
    a.run("mount --bind /tmp/w/two /tmp/w/three && mount --make-slave /tmp/w/three");
    let mut b = a.copy("unchanged");
    b.run("umount /tmp/w/two");
    let table = MountTable::parse_mountinfo(&b.mountinfo()).unwrap();
    let from = table.mounts.iter().filter_map(|mount| mount.propagation.propagate_from).count();
    assert_eq!(from, 1, "{table}");
    let ways = Ways { content: Content::Statmount, ..Ways::default() };
    assert_eq!(view(&read_node_by(&Names::default(), ways).unwrap(), b.number()).mounts, table);
}

#[test]
fn namespaces_without_processes() {
    let name = "namespaces_without_processes";
    if !is_root(name) {
        return;
    }
    let mut a = Namespace::new();
    a.run("mkdir /tmp/p && mount -t tmpfs none /tmp/p && mount --make-private /tmp/p && touch /tmp/p/ns");
    // A namespace can be bound only in one with a lower id, and ids are handed out to processors in batches (Linux 6.18,
    // `gen_cookie_next()`): on the one that made `a`, it is higher.
    a.run(
        "for cpu in $(seq 0 $(nproc --all)); do \
         taskset -c $cpu unshare --mount=/tmp/p/ns --propagation private mount -t tmpfs kept /tmp 2>/dev/null && break; done",
    );
    let by_bind = {
        let file = format!("/proc/{}/root/tmp/p/ns", a.pid());
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(file).unwrap())
    };
    let b = a.copy("slave");
    let by_fd = b.number();
    let rows = MountTable::parse_mountinfo(&b.mountinfo()).unwrap();
    a.run(&format!("exec 7</proc/{}/ns/mnt", b.pid()));
    drop(b);
    let node = read_node(&Names::default()).unwrap();
    if !lists(name, &node) {
        return;
    }
    let bound = view(&node, by_bind);
    assert_eq!(bound.owner, Owner::Kept);
    let place = Keeper::Bind { namespace: NamespaceId(a.number()), mount_point: "/tmp/p/ns".into() };
    assert_eq!(bound.kept_by, [place]);
    assert_eq!(bound.mounts.topmost_at(Path::new("/tmp")).unwrap().source, "kept");
    let held = view(&node, by_fd);
    assert_eq!(held.mounts, rows);
    let by_us = |keeper: &Keeper| matches!(keeper, Keeper::Descriptor { pid, fd: 7, .. } if *pid == a.pid());
    assert!(held.kept_by.iter().any(by_us), "{:?}", held.kept_by);
    // By the older ways they are not there.
    let older = Ways { iterate: false, ..Ways::default() };
    assert!(read_node_by(&Names::default(), older).unwrap().namespace(held.id).is_none());
}

/// Somebody in a chroot sees, and so shows, less than there is.
#[test]
fn a_namespace_whose_only_process_is_in_a_chroot() {
    let name = "a_namespace_whose_only_process_is_in_a_chroot";
    if !is_root(name) {
        return;
    }
    let script = "mount -t tmpfs base /tmp && mkdir /tmp/r && mount --rbind / /tmp/r && mkdir /tmp/out \
        && mount -t tmpfs outside /tmp/out && exec chroot /tmp/r \"$@\"";
    let args = ["--mount", "--propagation", "private", "sh", "-c", script, "sh"];
    let jailed = Namespace::spawn(Command::new("unshare"), &args);
    let node = read_node(&Names::default()).unwrap();
    let (_, process) = node.process(jailed.pid()).unwrap();
    assert_eq!(process.root.as_deref(), Some(Path::new("/tmp/r")));
    let by_proc = Ways { iterate: false, unique_ids: false, content: Content::Mountinfo };
    let less = read_node_by(&Names::default(), by_proc).unwrap();
    let less = view(&less, jailed.number());
    assert_eq!(less.seen_from.as_deref(), Some(Path::new("/tmp/r")));
    assert_eq!(less.mounts, MountTable::parse_mountinfo(&jailed.mountinfo()).unwrap());
    assert!(!less.mounts.mounts.iter().any(|mount| mount.source == "outside"));
    if lists(name, &node) {
        let whole = view(&node, jailed.number());
        assert_eq!(whole.seen_from, None);
        let outside = whole.mounts.mounts.iter().find(|mount| mount.source == "outside").unwrap();
        assert_eq!(outside.mount_point, Path::new("/tmp/out"));
        assert_eq!(whole.unique_mount_ids.len(), whole.mounts.mounts.len());
    }
}

#[test]
fn a_second_reading_reads_what_changed() {
    let name = "a_second_reading_reads_what_changed";
    if !is_root(name) {
        return;
    }
    let (mut a, b) = (Namespace::new(), Namespace::new());
    let mut reader = NodeReader::new(Ways::default());
    if !lists(name, &reader.read(&Names::default()).unwrap()) {
        return;
    }
    a.run("mkdir /tmp/new && mount -t tmpfs new /tmp/new");
    let node = reader.read(&Names::default()).unwrap();
    assert!(view(&node, a.number()).mounts.topmost_at(Path::new("/tmp/new")).is_some());
    assert_eq!(view(&node, b.number()).mounts, MountTable::parse_mountinfo(&b.mountinfo()).unwrap());
    a.run("umount /tmp/new; mount -t tmpfs newer /tmp/new");
    let node = reader.read(&Names::default()).unwrap();
    assert_eq!(view(&node, a.number()).mounts.topmost_at(Path::new("/tmp/new")).unwrap().source, "newer");
    let read = |of: &Namespace| reader.read_anew().contains(&NamespaceId(of.number()));
    assert!(read(&a) && !read(&b), "{:?}", reader.read_anew());
}

/// Mounts come and go all the time in one namespace: the reading ends, the others are whole, and it is said.
#[test]
fn churn_while_reading() {
    if !is_root("churn_while_reading") {
        return;
    }
    let (mut a, still) = (Namespace::new(), Namespace::new());
    a.run("mkdir /tmp/d && (while :; do mount -t tmpfs c /tmp/d; umount /tmp/d; done) & churn=$!");
    let expected = MountTable::parse_mountinfo(&still.mountinfo()).unwrap();
    for _ in 0..20 {
        let node = read_node(&Names::default()).unwrap();
        assert_eq!(view(&node, still.number()).mounts, expected);
        let moving = view(&node, a.number());
        // Whatever moment it is of, it is one that there was.
        let here =
            moving.mounts.mounts.iter().filter(|mount| mount.mount_point == Path::new("/tmp/d")).count();
        assert!(moving.moved || here <= 1, "{:?}", moving.mounts);
        assert!(
            moving.unique_mount_ids.is_empty() || moving.unique_mount_ids.len() == moving.mounts.mounts.len()
        );
    }
    a.run("kill $churn; wait $churn; true");
}
