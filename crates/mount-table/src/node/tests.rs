//! Tests of the node: targets, groups, words, documents.

use super::*;
use crate::{Mount, PeerGroup};
use std::path::Path;

fn table(text: &str) -> MountTable {
    MountTable::parse_mountinfo(text.as_bytes()).expect("a mountinfo")
}

fn container(id: &str, name: &str, pod: Option<(&str, &str)>) -> Owner {
    Owner::Container(Container {
        runtime: Some(Runtime::Containerd),
        id: id.to_owned(),
        name: (!name.is_empty()).then(|| name.to_owned()),
        pod: pod.map(|(namespace, pod)| Pod {
            uid: Some(format!("uid-of-{pod}-in-{namespace}")),
            namespace: Some(namespace.to_owned()),
            name: Some(pod.to_owned()),
        }),
    })
}

fn process(pid: u32, comm: &str) -> Process {
    Process { pid, comm: comm.to_owned(), root: None, container: None }
}

/// A host, two pods (one with two containers), one of the same name elsewhere, a docker container, a shell, and a
/// namespace that nobody is in.
pub(super) fn node() -> Node {
    let mut node = Node::new("2026-11-23T08:00:00Z".parse().expect("a time"), "6.18.0".to_owned());
    node.host = Some(NamespaceId(10));
    let mut add = |id: u64, owner: Owner, mountinfo: &str, processes: &[(u32, &str)]| {
        let mut view = NamespaceView::new(NamespaceId(id), table(mountinfo));
        view.owner = owner;
        view.processes = processes.iter().map(|(pid, comm)| process(*pid, comm)).collect();
        node.namespaces.push(view);
    };
    add(
        10,
        Owner::Host,
        "1 0 8:1 / / rw shared:1 - ext4 /dev/sda rw\n2 1 0:9 / /mnt rw shared:2 - tmpfs t rw\n",
        &[(1, "systemd"), (5, "kubelet")],
    );
    add(
        20,
        container("aaaabbbbccccddddeeee", "main", Some(("default", "mount-a"))),
        "11 0 0:8 / / rw - overlay o rw\n12 11 0:9 / /home rw shared:2 - tmpfs t rw\n",
        &[(20, "sleep")],
    );
    add(
        21,
        container("aaaa1111ccccddddeeee", "side", Some(("default", "mount-a"))),
        "21 0 0:8 / / rw - overlay o rw\n22 21 0:9 / /home rw master:2 - tmpfs t rw\n",
        &[(21, "sleep")],
    );
    add(
        30,
        container("bbbb", "main", Some(("default", "mount-b"))),
        "31 0 0:8 / / rw - overlay o rw\n32 31 0:9 / /home rw shared:7 master:2 - tmpfs t rw\n",
        &[(30, "sleep")],
    );
    add(31, container("cccc0", "main", Some(("other", "only-there"))), "", &[(31, "sleep")]);
    add(40, container("dddd0000", "web", None), "41 0 0:9 / /x rw master:7 - tmpfs t rw\n", &[(40, "nginx")]);
    add(50, Owner::Processes, "51 0 8:1 / / rw - ext4 /dev/sda rw\n", &[(50, "ba\x1bsh"), (51, "vi")]);
    add(60, Owner::Kept, "61 0 8:1 / / rw master:99 - ext4 /dev/sda rw\n", &[]);
    node
}

#[test]
fn targets() {
    let node = node();
    let ids = |target: &str| -> Result<Vec<u64>, String> {
        let found = node.resolve(target, "default").map_err(|error| error.to_string())?;
        Ok(found.iter().map(|view| view.id.0).collect())
    };
    for (target, expected) in [
        ("host", &[10][..]),
        ("pid:5", &[10]),
        ("pid:51", &[50]),
        ("ns:60", &[60]),
        ("mount-a", &[20, 21]),
        ("pod/mount-a", &[20, 21]),
        ("mount-a/side", &[21]),
        ("mount-a/aaaabbbb", &[20]),
        ("aaaabb", &[20]),
        ("mount-b", &[30]),
        ("bbbb", &[30]),
        ("uid-of-mount-b-in-default", &[30]),
        ("uid-of-only", &[31]),
        ("web", &[40]),
        ("dddd", &[40]),
    ] {
        assert_eq!(ids(target).as_deref(), Ok(expected), "{target}");
    }
    for (target, expected) in [
        ("pid:x", r#""pid:x" is not host, pid:N, ns:ID, POD or POD/CONTAINER"#),
        ("ns:", r#""ns:" is not host, pid:N, ns:ID, POD or POD/CONTAINER"#),
        ("", r#""" is not host, pid:N, ns:ID, POD or POD/CONTAINER"#),
        ("pid:77", "process 77 is in no mount namespace that could be read"),
        ("ns:77", "there is no mount namespace 77 that could be read"),
        ("ddd", r#"no pod or container "ddd" has a mount namespace here"#),
        ("main", r#"no pod or container "main" has a mount namespace here"#),
        ("mount-a/web", r#"no pod or container "mount-a/web" has a mount namespace here"#),
    ] {
        assert_eq!(ids(target), Err(expected.to_owned()), "{target}");
    }
    let elsewhere = node.resolve("only-there", "default").unwrap_err();
    assert_eq!(elsewhere.hint().unwrap(), "it is in the namespace other: give that with -n");
    assert_eq!(node.resolve("only-there", "other").unwrap()[0].id.0, 31);
    let several = node.resolve_one("mount-a", "default").unwrap_err();
    assert_eq!(
        several.to_string(),
        r#""mount-a" means several mount namespaces: mount-a/main, mount-a/side"#
    );
    let nobody = Node { host: None, ..node.clone() };
    assert_eq!(nobody.resolve("host", "default").unwrap_err(), TargetError::NoHost);
}

#[test]
fn labels() {
    let node = node();
    let labels: Vec<_> = node.namespaces.iter().map(|view| node.label(view)).collect();
    assert_eq!(
        labels,
        [
            "host",
            "mount-a/main",
            "mount-a/side",
            "mount-b",
            "only-there",
            "web",
            "pid 50 (ba\x1bsh)",
            "ns:60"
        ]
    );
    let targets: Vec<_> = node.namespaces.iter().map(|view| node.target(view)).collect();
    assert_eq!(
        targets,
        ["host", "mount-a/main", "mount-a/side", "mount-b/main", "only-there/main", "web", "ns:50", "ns:60"]
    );
}

#[test]
fn groups() {
    let node = node();
    let groups = Groups::of(&node);
    let names = |places: &[Place<'_>]| -> Vec<String> {
        places.iter().map(|at| format!("{}:{}", at.namespace.id.0, at.mount.mount_point.display())).collect()
    };
    assert_eq!(names(groups.members(PeerGroup(2))), ["10:/mnt", "20:/home"]);
    assert_eq!(names(groups.slaves(PeerGroup(2))), ["21:/home", "30:/home"]);
    assert_eq!(names(groups.members(PeerGroup(99))), [""; 0]);
    let mnt = node.mounts().find(|at| at.mount.mount_point == Path::new("/mnt")).unwrap();
    assert_eq!(names(&groups.peers(&mnt).collect::<Vec<_>>()), ["20:/home"]);
    assert_eq!(names(groups.masters(&groups.slaves(PeerGroup(2))[0])), ["10:/mnt", "20:/home"]);
    assert_eq!(
        names(&groups.receivers(PeerGroup(2))),
        ["10:/mnt", "20:/home", "21:/home", "30:/home", "40:/x"]
    );
    // A circle of groups cannot be in a kernel, but in a file.
    let mut circle = node.clone();
    circle.namespaces[0].mounts = table("1 0 8:1 / / rw shared:2 master:7 - ext4 a rw\n");
    assert_eq!(Groups::of(&circle).receivers(PeerGroup(2)).len(), 5);
}

#[test]
fn a_document_comes_back_as_it_was() {
    use std::os::unix::ffi::OsStrExt as _;
    let mut node = node();
    let odd = Path::new(std::ffi::OsStr::from_bytes(b"/a\xff\\ \n\x1b[2J</script>"));
    node.namespaces[6].processes[0].root = Some(odd.to_owned());
    node.namespaces[6].mounts.mounts[0].mount_point = odd.to_owned();
    node.namespaces[7].kept_by = vec![
        Keeper::Descriptor { pid: 3, comm: "x".to_owned(), fd: 7 },
        Keeper::Bind { namespace: NamespaceId(10), mount_point: odd.to_owned() },
    ];
    node.namespaces[7].unique_mount_ids = vec![MountId(1 << 40)];
    node.gaps = vec![Gap { what: Missing::Processes(vec![1, 2]), why: "no".to_owned() }];
    let bytes = node.to_json().unwrap();
    assert!(bytes.starts_with(br#"{"apiVersion":"rhizome.dev/v1","kind":"NodeSnapshot","taken":"2026-"#));
    assert_eq!(Node::parse_json(&bytes).unwrap(), node);
    assert_eq!(node.to_snapshot().namespaces.len(), 8);
}

#[test]
fn a_document_of_another_kind_is_refused() {
    let text = String::from_utf8(node().to_json().unwrap()).unwrap();
    let error = |text: &str| {
        let error = Node::parse_json(text.as_bytes()).unwrap_err();
        std::error::Error::source(&error).map_or(error.to_string(), |source| source.to_string())
    };
    assert_eq!(
        error(&text.replace("rhizome.dev/v1", "rhizome.dev/v9")),
        "\"rhizome.dev/v9\" where rhizome.dev/v1 is expected at line 1 column 30"
    );
    assert!(error(&text.replace("NodeSnapshot", "Pod")).contains("\"Pod\" where NodeSnapshot is expected"));
    assert_eq!(error(&text.replace("\"id\":60", "\"id\":50")), "the namespace 50 stands there twice");
    let one = error(
        &text
            .replace("\"owner\":{\"kind\":\"kept\"", "\"uniqueMountIds\":[1,2],\"owner\":{\"kind\":\"kept\""),
    );
    assert_eq!(one, "the namespace 60 has 1 mounts and 2 unique ids");
    // Something new under the same version is passed over.
    Node::parse_json(text.replacen("\"kernel\"", "\"new\":[{}],\"kernel\"", 1).as_bytes()).unwrap();
}

#[test]
fn other_names_and_the_same_picture() {
    let mut node = node();
    node.boot_id = Some("b".to_owned());
    node.namespaces[0].mounts = table(
        "1 0 8:1 / / rw shared:1 - ext4 /dev/disk/by-label/secret rw,errors=remount-ro\n\
         2 1 0:9 / /mnt/secret\\040place rw shared:2 - nfs4 server:/exports/secret rw,size=4k,addr=10.0.0.1\n\
         3 2 0:8 /secret /mnt/secret\\040place/secret rw - overlay overlay rw,lowerdir=/var/lib/secret/l:/x/l,upperdir=/var/lib/secret/u\n\
         4 1 0:4 mnt:[4026532200] /run/ns rw - nsfs nsfs rw\n",
    );
    node.gaps = vec![Gap { what: Missing::KeptNamespaces, why: "reading /secret".to_owned() }];
    let picture = |node: &Node| -> Vec<_> {
        let groups = |mount: &Mount| (mount.id, mount.parent, mount.propagation, mount.device);
        let rows = node.mounts().map(|place| groups(place.mount));
        rows.collect()
    };
    let before = picture(&node);
    node.pseudonymise();
    assert_eq!(picture(&node), before);
    let text = String::from_utf8(node.to_json().unwrap()).unwrap();
    for name in ["secret", "mount-a", "bbbb", "server", "10.0.0.1", "nginx", "uid-of"] {
        assert!(!text.contains(name), "{name} in {text}");
    }
    let rows = &node.namespaces[0].mounts.mounts;
    assert!(rows[2].mount_point.starts_with(&rows[1].mount_point));
    assert_eq!(rows[3].root, Path::new("mnt:[4026532200]"));
    assert!(rows[1].super_options.contains("size=4k"), "{}", rows[1].super_options);
    assert!(rows[2].super_options.starts_with("rw,lowerdir=/var/lib/name-"), "{}", rows[2].super_options);
    assert_eq!(Node::parse_json(text.as_bytes()).unwrap(), node);
}

#[test]
fn differences_of_one_boot_and_of_two() {
    let mut before = node();
    before.boot_id = Some("b".to_owned());
    before.namespaces[0].unique_mount_ids = vec![MountId(100), MountId(101)];
    let mut after = before.clone();
    assert!(before.diff(&after).is_empty());
    // One moved and one new, one namespace gone and one new.
    after.namespaces[0].mounts = table(
        "1 0 8:1 / / rw shared:1 - ext4 /dev/sda rw\n2 1 0:9 / /srv rw shared:2 - tmpfs t rw\n\
         3 2 0:9 / /srv rw - tmpfs new rw\n",
    );
    after.namespaces[0].unique_mount_ids = vec![MountId(100), MountId(101), MountId(200)];
    after.namespaces[7].id = NamespaceId(61);
    let diff = before.diff(&after);
    assert!(diff.same_boot);
    let names = |of: &[NamespaceChange]| of.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
    assert_eq!((names(&diff.gone), names(&diff.new)), (vec!["ns:60".to_owned()], vec!["ns:61".to_owned()]));
    let [Changed { name, mounts, .. }] = &diff.changed[..] else { panic!("{diff:?}") };
    assert_eq!(name, "host");
    assert!(
        matches!(&mounts[0], MountChange::Changed { fields, .. } if fields[..] == ["mount point"]),
        "{mounts:?}"
    );
    assert!(matches!(&mounts[1], MountChange::Mounted { mount } if mount.source == "new"), "{mounts:?}");
    assert_eq!(mounts.len(), 2);
    // Of another boot: numbers mean nothing, places do.
    after.boot_id = Some("c".to_owned());
    after.namespaces[7].id = NamespaceId(60);
    for view in &mut after.namespaces {
        for group in view.mounts.mounts.iter_mut().flat_map(|mount| &mut mount.propagation.shared) {
            group.0 += 1000;
        }
    }
    let diff = before.diff(&after);
    assert!(!diff.same_boot && diff.gone.is_empty() && diff.new.is_empty());
    let [Changed { mounts, .. }] = &diff.changed[..] else { panic!("{diff:?}") };
    assert!(matches!(&mounts[0], MountChange::Unmounted { mount } if mount.mount_point == Path::new("/mnt")));
    assert_eq!(mounts.len(), 3);
}

#[test]
fn ids_that_were_given_twice_while_a_node_was_read_are_kept_apart() {
    let mut node = Node::new(Timestamp::UNIX_EPOCH, String::new());
    let view = |id: u64, text: &str| NamespaceView::new(NamespaceId(id), table(text));
    node.namespaces = vec![
        view(1, "5 1 8:1 / / rw - ext4 /dev/sda rw\n7 5 0:9 / /old rw - tmpfs t rw\n"),
        view(
            2,
            "6 1 0:8 / / rw - tmpfs c rw\n7 6 0:7 / /new rw - tmpfs u rw\n9 7 0:6 / /new/in rw - tmpfs v rw\n",
        ),
    ];
    let snapshot = node.to_snapshot();
    let ids = |at: usize| -> Vec<(u64, u64)> {
        let rows = &snapshot.namespaces[at].mounts.mounts;
        rows.iter().map(|row| (row.id.0, row.parent.0)).collect()
    };
    assert_eq!(ids(0), [(5, 1), (7, 5)]);
    assert_eq!(ids(1), [(6, 1), (10, 6), (9, 10)]);
}
