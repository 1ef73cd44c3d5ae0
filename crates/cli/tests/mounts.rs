//! `rhizome mounts`, beside findmnt(8) and /proc, on mounts that the tests make.
#[path = "support/namespace.rs"]
mod namespace;
mod support;
#[path = "support/world.rs"]
mod world;

use mount_table::MountTable;
use namespace::Namespace;
use serde_json::Value;
use std::process::Command;
use support::{Ran, is_root, ran, run, skipped};

fn json(args: &[&str]) -> Value {
    let ran = run(&[&["mounts", "-o", "json"], args].concat());
    assert_eq!(ran.status, 0, "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

fn of_namespace(document: &Value, number: u64) -> &Value {
    let namespaces = document["namespaces"].as_array().unwrap();
    namespaces.iter().find(|it| it["id"] == number).unwrap_or_else(|| panic!("no {number} in {document}"))
}

/// Names that mount tools and parsers stumble over.
const ODD_NAMES: &str = "mkdir '/tmp/a b' '/tmp/back\\slash' '/tmp/#hash' /tmp/$(printf '\\377') /tmp/'<&>' \
    && mount -t tmpfs 'odd source' '/tmp/a b' && mount -t tmpfs '' '/tmp/back\\slash' \
    && mount -t tmpfs none '/tmp/#hash' && mount -t tmpfs none /tmp/$(printf '\\377') && mount -t tmpfs none /tmp/'<&>'";

/// A subdirectory bound elsewhere, a removed one, a file, a stack, an overlay.
const ODD_ROOTS: &str = "mkdir /tmp/x /tmp/x/sub /tmp/y /tmp/z /tmp/o /tmp/x/gone && touch /tmp/x/f /tmp/y/f \
    && mount --bind /tmp/x/sub /tmp/y && mount --bind /tmp/x/gone /tmp/z && rmdir /tmp/x/gone \
    && mount -t tmpfs one /tmp/x/sub && mount -t tmpfs two /tmp/x/sub && mount --bind /tmp/x/f /tmp/x/f \
    && mkdir /tmp/o/l /tmp/o/u /tmp/o/w /tmp/o/m \
    && mount -t overlay over -o lowerdir=/tmp/o/l,upperdir=/tmp/o/u,workdir=/tmp/o/w /tmp/o/m";

/// What findmnt says of a namespace, by id.
fn findmnt(pid: u32) -> Vec<(u64, [String; 7])> {
    const COLUMNS: [&str; 8] =
        ["id", "parent", "target", "fstype", "vfs-options", "maj:min", "fsroot", "propagation"];
    let columns = COLUMNS.join(",");
    let ran = ran(Command::new("findmnt")
        .args(["--task", &pid.to_string(), "--list", "--json", "--output", &columns])
        .output()
        .unwrap());
    assert_eq!(ran.status, 0, "{ran:?}");
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let rows = document["filesystems"].as_array().unwrap().iter();
    let row = |row: &Value| {
        let id = text(&row["id"]).parse().unwrap();
        (id, std::array::from_fn(|at| text(&row[COLUMNS[at + 1]])))
    };
    let mut rows: Vec<_> = rows.map(row).collect();
    rows.sort();
    rows
}

/// The same of ours.
fn ours(namespace: &Value) -> Vec<(u64, [String; 7])> {
    let row = |mount: &Value| {
        let text = |key: &str| mount[key].as_str().unwrap().to_owned();
        let deleted = if mount["deleted"] == true { "//deleted" } else { "" };
        let propagation = match text("propagation").as_str() {
            "shared+slave" => "shared,slave".to_owned(),
            "slave" => "private,slave".to_owned(),
            "unbindable" => "private,unbindable".to_owned(),
            other => other.to_owned(),
        };
        let row = [
            mount["parent"].to_string(),
            // findmnt decodes to bytes and prints what is not UTF-8 its own way; so do we in documents.
            text("target").replace("\\134", "\\"),
            text("fsType"),
            text("options"),
            text("device"),
            format!("{}{deleted}", text("root")),
            propagation,
        ];
        (mount["id"].as_u64().unwrap(), row)
    };
    let mut rows: Vec<_> = namespace["mounts"].as_array().unwrap().iter().map(row).collect();
    rows.sort();
    rows
}

#[test]
fn rows_are_those_of_findmnt() {
    if !is_root("rows_are_those_of_findmnt") {
        return;
    }
    let mut a = Namespace::new();
    a.run(ODD_ROOTS);
    a.run("mkdir '/tmp/a b' '/tmp/#hash' /tmp/'<&>' && mount -t tmpfs 'odd source' '/tmp/a b' && mount -t tmpfs none '/tmp/#hash'");
    a.run("mount --make-unbindable '/tmp/#hash'");
    let (b, c) = (a.copy("slave"), a.copy("unchanged"));
    let document = json(&["-A"]);
    for namespace in [&a, &b, &c] {
        let (ours, theirs) = (ours(of_namespace(&document, namespace.number())), findmnt(namespace.pid()));
        assert!(ours.len() > 10);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs);
        }
        assert_eq!(ours.len(), theirs.len());
    }
}

/// Of every namespace of the machine: others may mount meanwhile, so it counts where nothing has changed.
#[test]
fn rows_are_those_of_proc() {
    if !is_root("rows_are_those_of_proc") {
        return;
    }
    let mut a = Namespace::new();
    a.run(ODD_NAMES);
    a.run(ODD_ROOTS);
    let b = a.copy("slave");
    let mut compared = Vec::new();
    for _ in 0..10 {
        let before = tables();
        let node = run(&["mounts", "-A", "-o", "json"]);
        assert_eq!(node.status, 0, "{node:?}");
        let document: Value = serde_json::from_str(&node.stdout).unwrap();
        let after = tables();
        for (number, table) in before.iter().filter(|(number, table)| after.get(number) == Some(table)) {
            let mounts = of_namespace(&document, *number)["mounts"].as_array().unwrap();
            assert_eq!(mounts.len(), table.mounts.len(), "{number}");
            for (mount, row) in mounts.iter().zip(&table.mounts) {
                assert_eq!(mount["id"], row.id.0);
                assert_eq!(mount["parent"], row.parent.0);
                assert_eq!(mount["target"], mount_table::text_of_path(&row.mount_point));
                assert_eq!(mount["root"], mount_table::text_of_path(&row.root));
                assert_eq!(mount["source"], row.source);
                assert_eq!(mount["options"], row.options);
                assert_eq!(mount["superOptions"], row.super_options);
                assert_eq!(mount["fsType"], row.fs_type);
                assert_eq!(mount["device"], row.device.to_string());
                assert_eq!(mount["propagation"], row.propagation.in_words());
                assert_eq!(mount["shared"].as_u64(), row.propagation.shared.map(|group| group.0));
                assert_eq!(mount["master"].as_u64(), row.propagation.master.map(|group| group.0));
            }
            compared.push(*number);
        }
        if [&a, &b].iter().all(|namespace| compared.contains(&namespace.number())) {
            return;
        }
    }
    panic!("nothing stood still long enough: {compared:?}");
}

/// The tables of all namespaces, through the first process of each that is not in a chroot.
fn tables() -> std::collections::BTreeMap<u64, MountTable> {
    use std::os::unix::fs::MetadataExt as _;
    let mut tables = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let path = entry.path();
        let Ok(root) = std::fs::read_link(path.join("root")) else { continue };
        let Ok(namespace) = std::fs::metadata(path.join("ns/mnt")) else { continue };
        if root == std::path::Path::new("/") && !tables.contains_key(&namespace.ino()) {
            let Ok(bytes) = std::fs::read(path.join("mountinfo")) else { continue };
            tables.insert(namespace.ino(), MountTable::parse_mountinfo(&bytes).unwrap());
        }
    }
    tables
}

#[test]
fn with_whom() {
    if !is_root("with_whom") {
        return;
    }
    let mut a = Namespace::new();
    a.run("mkdir /tmp/alone /tmp/both && mount -t tmpfs none /tmp/alone && mount -t tmpfs none /tmp/both");
    a.run("mount --make-private /tmp/alone && mkdir /tmp/twice && mount --bind /tmp/both /tmp/twice");
    let mut peer = a.copy("unchanged");
    let slave = peer.copy("slave");
    // Leaves the group, and comes back elsewhere.
    peer.run(
        "mkdir /tmp/both/deep && mount -t tmpfs none /tmp/both/deep && mount --make-unbindable /tmp/twice",
    );
    let words = |namespace: &Namespace, target: &str| -> String {
        let of = format!("ns:{}", namespace.number());
        let document = json(&[&of, "-T", target]);
        let mounts = document["namespaces"][0]["mounts"].as_array().unwrap().clone();
        let is_it = |mount: &&Value| mount["target"] == target;
        let mount = mounts.iter().rfind(is_it).unwrap_or_else(|| panic!("{target} in {document}"));
        let text = mount["propagationInWords"].as_str().unwrap().to_owned();
        [(&a, "A"), (&peer, "PEER"), (&slave, "SLAVE")].iter().fold(text, |text, (namespace, name)| {
            text.replace(&format!("pid {} (sh)", namespace.pid()), name)
        })
    };
    assert_eq!(words(&a, "/tmp/alone"), "private");
    assert_eq!(words(&a, "/tmp"), "shared with PEER");
    assert_eq!(words(&peer, "/tmp"), "shared with A");
    assert_eq!(words(&peer, "/tmp/twice"), "unbindable");
    assert_eq!(words(&a, "/tmp/both"), "shared with its own /tmp/twice, PEER");
    assert_eq!(words(&a, "/tmp/twice"), "shared with its own /tmp/both, PEER's /tmp/both");
    // Which of a group's mounts is the master cannot be read.
    let one_of = |words: String| words.replace("PEER's", "A's");
    assert_eq!(one_of(words(&slave, "/tmp")), "slave of A's /tmp");
    assert_eq!(one_of(words(&slave, "/tmp/both/deep")), "slave of A's /tmp/both/deep");
    // Nobody that is seen is left of the group.
    drop(a);
    drop(peer);
    assert_eq!(words_of(&slave, "/tmp"), "private");
}

fn words_of(namespace: &Namespace, target: &str) -> String {
    let of = format!("ns:{}", namespace.number());
    let ran = run(&["mounts", &of, "-T", target, "--no-headers", "-o", "json"]);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    document["namespaces"][0]["mounts"][0]["propagationInWords"].as_str().unwrap().to_owned()
}

#[test]
fn filters_and_formats() {
    if !is_root("filters_and_formats") {
        return;
    }
    let mut a = Namespace::new();
    a.run("mkdir /tmp/x /tmp/y && mount -t tmpfs src-x /tmp/x && mount -t ramfs src-y /tmp/y");
    let target = format!("pid:{}", a.pid());
    let show = |args: &[&str]| -> Ran { run(&[&["mounts", &target, "--no-headers"], args].concat()) };
    let targets = |args: &[&str]| -> Vec<String> {
        let all = show(args).stdout;
        let mut found: Vec<String> = all
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .filter(|it| it.starts_with("/tmp"))
            .map(str::to_owned)
            .collect();
        // Where the machine has a file system of its own at /tmp, this world's lies on it.
        found.dedup();
        found
    };
    assert_eq!(targets(&["-T", "/tmp"]), ["/tmp", "/tmp/x", "/tmp/y"]);
    assert_eq!(targets(&["-T", "/tmp/x/"]), ["/tmp/x"]);
    assert_eq!(targets(&["-t", "ramfs", "-T", "/tmp"]), ["/tmp/y"]);
    assert_eq!(targets(&["-t", "notmpfs,xfs", "-T", "/tmp"]), ["/tmp/y"]);
    assert_eq!(targets(&["-S", "src-x"]), ["/tmp/x"]);
    assert_eq!(targets(&["--propagation", "shared", "--owner", "processes"]), ["/tmp", "/tmp/x", "/tmp/y"]);
    assert_eq!(show(&["--owner", "host"]).status, 1);
    let tree = show(&["-o", "tree", "-T", "/tmp"]).stdout;
    let lines: Vec<_> = tree.lines().map(|line| line.split_whitespace().next().unwrap_or_default()).collect();
    assert_eq!(lines, ["pid", "/tmp", "├─/tmp/x", "└─/tmp/y"], "{tree}");
    assert_eq!(show(&["-o", "name"]).stdout, format!("ns:{}\n", a.number()));
    let wide = run(&["mounts", &target, "-T", "/tmp/x", "-o", "wide"]);
    assert!(wide.stdout.starts_with("OWNER"), "{wide:?}");
    let more = run(&["mounts", &target, "-T", "/tmp/x", "-o", "+id,maj:min"]).stdout;
    let header: Vec<_> = more.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["TARGET", "SOURCE", "FSTYPE", "OPTIONS", "ID", "MAJ:MIN", "PROPAGATION"]);
    let document = json(&[&target, "-T", "/tmp/x"]);
    let group = document["namespaces"][0]["mounts"][0]["shared"].to_string();
    assert_eq!(document["groups"][&group]["members"][0]["target"], "/tmp/x");
    assert_eq!(targets(&["--group", &group]), ["/tmp/x"]);
}

#[test]
fn wrong_use() {
    for (args, said) in [
        (&["pid:x"][..], "error: \"pid:x\" is not host, pid:N, ns:ID, POD or POD/CONTAINER\n"),
        (&["-o", "+x"], "there is no column \"x\""),
        (&["-T", "tmp"], "error: tmp is not absolute\n"),
        (&["--owner", "me"], "error: there is no kind of owner \"me\""),
        (&["--snapshot", "/proc/self/status"], "error: reading /proc/self/status: not a snapshot of a node"),
    ] {
        let ran = run(&[&["mounts"], args].concat());
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{ran:?}");
        assert!(ran.stderr.contains(said), "{ran:?}");
    }
    let ran = run(&["mounts", "no-such-pod"]);
    assert_eq!(ran.status, 1);
    assert_eq!(
        ran.stderr,
        "error: no pod or container \"no-such-pod\" has a mount namespace here\n\
         hint: `rhizome mounts -A -o name` lists what there is\n"
    );
}

/// Another user sees what /proc shows to all, and is told what not.
#[test]
fn as_another_user() {
    if !is_root("as_another_user") {
        return;
    }
    let a = Namespace::new();
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &std::path::Path| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    open(folder.path());
    let binary = folder.path().join("rhizome");
    std::fs::copy(env!("CARGO_BIN_EXE_rhizome"), &binary).unwrap();
    open(&binary);
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&binary).args(args);
        ran(command.env_remove("RHIZOME_ROOT").output().unwrap())
    };
    let tried = as_nobody(&["--version"]);
    if tried.status != 0 {
        return skipped("as_another_user", &format!("setpriv: {}", tried.stderr.trim()));
    }
    let own = as_nobody(&["mounts"]);
    assert_eq!(own.status, 0, "{own:?}");
    assert!(own.stdout.contains("/proc"), "{own:?}");
    let shown = as_nobody(&["mounts", &format!("pid:{}", a.pid()), "-o", "json"]);
    assert_eq!(shown.status, 0, "{shown:?}");
    let document: Value = serde_json::from_str(&shown.stdout).unwrap();
    let table = MountTable::parse_mountinfo(&a.mountinfo()).unwrap();
    let ids: Vec<_> = document["namespaces"][0]["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, table.mounts.iter().map(|mount| mount.id.0).collect::<Vec<_>>());
    assert!(document["namespaces"][0]["id"].as_u64().unwrap() >= 1 << 52);
}

#[test]
fn pods_are_named() {
    let Some(world) = world::World::isolated("pods_are_named") else { return };
    let volume = world.volume();
    let manifest = |name: &str, mode: &str, more: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, annotations: {{rhizome.dev/make-shared: 'true'}}}}\n\
             spec:\n  containers:\n  - &c\n    name: main\n    image: busybox\n    command: [sleep, '600']\n    \
             securityContext: {{privileged: true}}\n    \
             volumeMounts: [{{name: v, mountPath: /home, mountPropagation: {mode}}}]\n{more}  \
             volumes: [{{name: v, hostPath: {{path: '{}'}}}}]\n",
            volume.display()
        )
    };
    world.start(&manifest("mount-a", "Bidirectional", "  - {<<: *c, name: side}\n"));
    world.start(&manifest("mount-b", "HostToContainer", ""));
    let names = world.run(&["mounts", "-A", "-o", "name", "--owner", "rhizome"]).stdout;
    let mut ours: Vec<_> = names.lines().filter(|name| name.starts_with("mount-")).collect();
    ours.sort_unstable();
    assert_eq!(ours, ["mount-a/main", "mount-a/side", "mount-b/main"]);
    let words = |target: &str| -> String {
        let ran = world.run(&["mounts", target, "-T", "/home", "--no-headers", "-o", "json"]);
        let document: Value = serde_json::from_str(&ran.stdout).unwrap();
        document["namespaces"][0]["mounts"][0]["propagationInWords"].as_str().unwrap().to_owned()
    };
    // The root has mounts of its own, which its keeper holds.
    let keeper = world.keeper().unwrap();
    let comm = std::fs::read_to_string(format!("/proc/{keeper}/comm")).unwrap();
    let host = format!("pid {keeper} ({})'s {}", comm.trim(), volume.display());
    assert_eq!(words("mount-b"), format!("slave of {host}"));
    let shared = words("mount-a/side");
    assert!(shared.contains(&host) && shared.contains("mount-a/main"), "{shared}");
    let ran = world.run(&["mounts", "mount-a"]);
    assert!(ran.stdout.starts_with("OWNER "), "{ran:?}");
}

#[test]
fn taken_away_and_compared() {
    if !is_root("taken_away_and_compared") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut a = Namespace::new();
    a.run("mkdir /tmp/x /tmp/y && mount -t tmpfs secret /tmp/x && mount -t tmpfs moves /tmp/y && mount --make-private /tmp");
    let taken = run(&["snapshot", "-o", &file("before")]);
    assert_eq!((taken.status, taken.stdout.as_str()), (0, ""), "{taken:?}");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file("before")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let target = format!("ns:{}", a.number());
    let live = run(&["mounts", &target, "-o", "+id,shared"]);
    let offline = run(&["mounts", &target, "-o", "+id,shared", "--snapshot", &file("before")]);
    assert_eq!(live.stdout, offline.stdout);
    a.run("umount /tmp/x && mkdir /tmp/z && mount --move /tmp/y /tmp/z && mount -t tmpfs new /tmp/y");
    assert_eq!(run(&["snapshot", "-o", &file("after")]).status, 0);
    let diff = run(&["diff", "-o", "json", &file("before"), &file("after")]);
    assert_eq!(diff.status, 1, "{diff:?}");
    let document: Value = serde_json::from_str(&diff.stdout).unwrap();
    let changed = document["changed"].as_array().unwrap().iter().find(|it| it["id"] == a.number()).unwrap();
    let changes: Vec<_> = changed["mounts"].as_array().unwrap().iter().collect();
    let is = |change: &Value, kind: &str, source: &str| {
        change["change"] == kind
            && (change["mount"]["source"] == source || change["after"]["source"] == source)
    };
    assert!(changes.iter().any(|it| is(it, "unmounted", "secret")), "{changed}");
    assert_eq!(document["sameBoot"], true);
    // By its unique id (Linux 6.8) the one that moved is the same. Without such ids mounts are known by their place: at
    // the old one there is another, and the one that moved is new.
    let with_ids = std::fs::read_to_string(file("before")).unwrap().contains("uniqueMountIds");
    let (mounted, changed_at_its_place) = if with_ids { ("new", "moves") } else { ("moves", "new") };
    assert_eq!(changes.len(), 3, "{changed}");
    assert!(changes.iter().any(|it| is(it, "mounted", mounted)), "{changed}");
    assert!(changes.iter().any(|it| is(it, "changed", changed_at_its_place)), "{changed}");
    let words = run(&["diff", &file("before"), &file("after")]).stdout;
    assert!(words.contains("  - /tmp/x secret tmpfs"), "{words}");
    let same = run(&["diff", &file("after"), &file("after")]);
    assert_eq!((same.status, same.stdout.as_str()), (0, ""), "{same:?}");
    let other = run(&["snapshot", "--pseudonymise"]);
    assert!(!other.stdout.contains("moves") && other.stdout.contains("tmpfs"));
    std::fs::write(file("other"), other.stdout).unwrap();
    assert_eq!(run(&["mounts", "-A", "--snapshot", &file("other")]).status, 0);
}
