//! What lines come to (as util-linux 2.38.1 and coreutils 9.1 were seen to do with strace(1)), and what becomes of
//! scripts. Expectations about propagation are from the tables of the documentation, not from the model.

use super::*;
use std::fmt::Write as _;

fn run(script: &str) -> Outcome {
    simulate(&Script::parse(script).unwrap_or_else(|error| panic!("{error}")))
}

/// `line errno` of the lines that failed.
fn faults(outcome: &Outcome) -> Vec<String> {
    let fault = |step: &Step| Some(format!("{} {}", step.line, step.fault.as_ref()?.errno));
    outcome.steps.iter().filter_map(fault).collect()
}

/// `NAMESPACE PATH FILESYSTEM ROOT STATE`
fn table(outcome: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, rows) in rows(&outcome.namespaces) {
        for row in rows {
            let mut line = format!("{name} {} {} {}", row.path.display(), row.filesystem, row.root);
            let groups = row.propagation;
            let named =
                [("shared", groups.shared), ("master", groups.master), ("from", groups.propagate_from)];
            for (word, group) in named {
                group.iter().for_each(|group| write!(line, " {word}:{}", group.0).unwrap());
            }
            line.push_str(if groups.unbindable { " unbindable" } else { "" });
            lines.push(line);
        }
    }
    lines
}

/// The calls of the last line that a script has, after the directories and the mount that most need.
fn calls(line: &str) -> Vec<String> {
    let outcome = run(&format!("mkdir -p /a /b /c\nmount -t tmpfs none /a\n{line}"));
    let step = outcome.steps.last().unwrap();
    let mut calls: Vec<String> = step.calls.iter().map(|call| call.text.clone()).collect();
    calls.extend(step.fault.as_ref().map(|fault| fault.errno.clone()));
    calls
}

/// mount(8) works out where a path leads by its names; umount(8) only where it has to look something up.
#[test]
fn paths_with_dots_reach_the_kernel_without() {
    let cases: [(&str, &[&str]); 9] = [
        ("mount --bind /a/../b/. /c", &[r#"mount("/b", "/c", MS_BIND)"#]),
        ("mount --make-shared /b/../a/", &[r#"mount("/a", MS_SHARED)"#]),
        ("mount --make-shared /b/..", &[r#"mount("/", MS_SHARED)"#]),
        ("mount --bind a b", &[r#"mount("/a", "/b", MS_BIND)"#]),
        ("mount -o remount,bind,ro b/../a", &[r#"mount("/a", MS_REMOUNT|MS_BIND|MS_RDONLY)"#]),
        ("mount --move /a/../a /b/.", &[r#"mount("/a", "/b", MS_MOVE)"#]),
        ("mount --bind /none/../a /b", &[r#"mount("/none/../a", "/b", MS_BIND)"#, "ENOENT"]),
        ("umount /b/../a", &[r#"umount2("/b/../a", 0)"#]),
        ("umount -l /b/../a", &[r#"umount2("/a", MNT_DETACH)"#]),
    ];
    for (line, expected) in cases {
        assert_eq!(calls(line), expected, "{line}");
    }
    // So what covers the root is not what `/b/..` names, though a path walk by the kernel would end in it.
    let outcome =
        run("mkdir /a /b\nmount --bind /a /\nmount --make-shared /b/..\nmount --bind -o ro /a /b/../a/..");
    assert_eq!(
        table(&outcome),
        ["host / rootfs / shared:1", "host / rootfs /a", "host / rootfs /a shared:1"]
    );
}

#[test]
fn the_calls_of_mount() {
    let bind = r#"mount("/a", "/b", MS_BIND)"#;
    let read_only = r#"mount("/b", MS_REMOUNT|MS_BIND|MS_RDONLY)"#;
    let cases: [(&str, &[&str]); 30] = [
        ("mount --bind /a /b", &[bind]),
        ("mount -B /a /b", &[bind]),
        ("mount -o bind,rw /a /b", &[bind]),
        ("mount --bind --make-private /a /b", &[bind, r#"mount("/b", MS_PRIVATE)"#]),
        (
            "mount --make-rslave -o bind,shared /a /b",
            &[bind, r#"mount("/b", MS_REC|MS_SLAVE)"#, r#"mount("/b", MS_SHARED)"#],
        ),
        ("mount -o bind,ro,shared /a /b", &[bind, r#"mount("/b", MS_SHARED)"#, read_only]),
        ("mount -r --bind /a /b", &[bind, read_only]),
        ("mount -Br /a /b", &[bind, read_only]),
        ("mount -w --bind /a /b", &[bind]),
        ("mount --bind -o relatime /a /b", &[bind, r#"mount("/b", MS_REMOUNT|MS_BIND)"#]),
        ("mount -R /a /b", &[r#"mount("/a", "/b", MS_BIND|MS_REC)"#]),
        (
            "mount --rbind -o bind,rshared /a /b",
            &[r#"mount("/a", "/b", MS_BIND|MS_REC)"#, r#"mount("/b", MS_REC|MS_SHARED)"#],
        ),
        ("mount -o bind,move /a /b", &[bind]),
        ("mount -o move,slave /a /b", &[r#"mount("/a", "/b", MS_MOVE)"#, r#"mount("/b", MS_SLAVE)"#]),
        ("mount --mov /a /b", &[r#"mount("/a", "/b", MS_MOVE)"#]),
        ("mount --make-shared --make-shared /a", &[r#"mount("/a", MS_SHARED)"#]),
        (
            "mount --make-rshared --make-rslave /a",
            &[r#"mount("/a", MS_REC|MS_SHARED)"#, r#"mount("/a", MS_REC|MS_SLAVE)"#],
        ),
        ("mount --make-private none /a", &[r#"mount("/a", MS_PRIVATE)"#]),
        // MS_REC stays behind for a mount of its own, of a type that is guessed.
        ("mount --make-shared --make-rshared /a", &[r#"mount("none", "/a", "ext3", 0)"#, "ENOENT"]),
        ("mount --make-shared -o nosuid /a", &[r#"mount("none", "/a", "ext3", MS_NOSUID)"#, "ENOENT"]),
        ("mount --make-shared /a /b", &[r#"mount("/a", "/b", "ext3", 0)"#, "ENOTBLK"]),
        (
            "mount -t tmpfs --make-shared /b",
            &[r#"mount("none", "/b", "tmpfs", 0)"#, r#"mount("/b", MS_SHARED)"#],
        ),
        (
            "mount -t tmpfs -o shared,ro,size=1m x /b",
            &[r#"mount("x", "/b", "tmpfs", MS_RDONLY)"#, r#"mount("/b", MS_SHARED)"#],
        ),
        ("mount -t tmpfs -o ro,user,exec,rw x /b", &[r#"mount("x", "/b", "tmpfs", MS_NOSUID|MS_NODEV)"#]),
        ("mount -t nosuchfs x /b", &[r#"mount("x", "/b", "ext3", 0)"#, "ENOENT"]),
        ("mount -t badfs x /b", &[r#"mount("x", "/b", "badfs", 0)"#, "ENODEV"]),
        ("mount -t tmpfs -o bogus x /b", &[r#"mount("x", "/b", "tmpfs", 0)"#, "EINVAL"]),
        ("mount --bind /a", &[r#"mount("none", "/a", MS_BIND)"#, "ENOENT"]),
        (
            "mount -o remount,ro,shared /a",
            &[r#"mount("/a", MS_REMOUNT|MS_RDONLY)"#, r#"mount("/a", MS_SHARED)"#],
        ),
        ("mount --bind -o remount,ro /b /a", &[r#"mount("/a", MS_REMOUNT|MS_BIND|MS_RDONLY)"#]),
    ];
    for (line, expected) in cases {
        assert_eq!(calls(line), expected, "{line}");
    }
}

#[test]
fn what_the_tools_refuse() {
    for line in [
        "mount --bind --rbind /a /b",
        "mount --bind -t none /a /b",
        "mount --source /a --target /b --bind",
        "mount --bind /a /b /c",
        "mount -o bind /a",
        "mount -o shared /a",
        "mount -t tmpfs /b",
        "mount --move /a",
        "mount --bind",
        "mount --make-bogus /a",
        "mount --make-r /a",
        "mount -t",
        "mount LABEL=x /b",
        "umount",
        "umount -R -r /a",
        "umount -R /b",
        "umount --bogus /a",
        "pivot_root /a",
        "mkdir",
        "rmdir -x /a",
        "mv /a",
    ] {
        assert_eq!(calls(line), ["refused"], "{line}");
    }
    for line in ["mount", "mount -l", "umount --help", "mount -f --bind /a /b", "mount --version"] {
        assert_eq!(calls(line), [""; 0], "{line}");
    }
}

#[test]
fn the_calls_of_umount() {
    let cases: [(&str, &[&str]); 8] = [
        ("umount /a", &[r#"umount2("/a", 0)"#]),
        ("umount -l a/", &[r#"umount2("/a", MNT_DETACH)"#]),
        ("umount /b", &[r#"umount2("/b", 0)"#, "EINVAL"]),
        ("umount /no /a", &[r#"umount2("/no", 0)"#, r#"umount2("/a", 0)"#, "ENOENT"]),
        // By the name of what is mounted.
        ("umount none", &[r#"umount2("/a", 0)"#]),
        ("umount other", &[r#"umount2("other", 0)"#, "ENOENT"]),
        ("umount -R /a", &[r#"umount2("/a", 0)"#]),
        ("umount -lR a", &[r#"umount2("/a", MNT_DETACH)"#]),
    ];
    for (line, expected) in cases {
        assert_eq!(calls(line), expected, "{line}");
    }
    let outcome = run(
        "mkdir /a\nmount -t tmpfs x /a\nmkdir -p /a/b /a/c\nmount -t tmpfs y /a/b\nmount -t tmpfs z /a/c\n\
                       mount -t tmpfs over /a/c\numount /a\numount y\numount -R /a",
    );
    assert_eq!(faults(&outcome), ["7 EBUSY"]);
    let last: Vec<&str> = outcome.steps[8].calls.iter().map(|call| call.text.as_str()).collect();
    assert_eq!(last, [r#"umount2("/a/c", 0)"#, r#"umount2("/a/c", 0)"#, r#"umount2("/a", 0)"#]);
    assert_eq!(table(&outcome), ["host / rootfs /"]);
}

#[test]
fn files_as_the_coreutils_make_them() {
    let outcome = run(
        "mkdir -p /a/b/c /a/b\nmkdir /a\nmkdir /no/where\ntouch /f /f /a\ntouch /no/f\nmkdir -p /f\n\
                       mkdir -p /f/x\nrmdir /a\nrmdir /f\nrmdir /a/b/c\nmv /a/b /g\nmv /f /g\ntouch /f\nmv /no /f\n\
                       mv /f /no/f\nmkdir -p ./x/../y\nmv /g/f /y\nmount -t tmpfs x /g\nmv /x /g\nmv /g /h\nmv /f /g/e\n\
                       mkdir /g/e /g/x",
    );
    let expected = [
        "2 EEXIST",
        "3 ENOENT",
        "5 ENOENT",
        "6 EEXIST",
        "7 ENOTDIR",
        "8 ENOTEMPTY",
        "9 ENOTDIR",
        "14 ENOENT",
        "15 ENOENT",
        "20 EBUSY",
        "22 EEXIST",
    ];
    assert_eq!(faults(&outcome), expected);
}

#[test]
fn read_only_file_systems_and_mounts() {
    let outcome = run(
        "mkdir /a /b\nmount -t tmpfs x /a\ntouch /a/f\nmount --bind -o ro /a /b\ntouch /b/f\nmkdir /b/x\n\
                       touch /a/g\nmount -o remount,ro /a\nmkdir /a/x\nmount -o remount,rw,bind /b\nmkdir /b/x\n\
                       mount -o remount,rw /a\nmkdir /b/x\nmount -o remount,ro /c\nmkdir /c\nmount -o remount,ro /c\n\
                       umount /\nmkdir /d",
    );
    let expected = ["5 EROFS", "6 EROFS", "9 EROFS", "11 EROFS", "14 ENOENT", "16 EINVAL", "18 EROFS"];
    assert_eq!(faults(&outcome), expected);
}

/// mount_namespaces(7), "Propagation type transitions".
#[test]
fn types_change_as_the_table_says() {
    let begin = "mkdir -p /s /m /t\nmount -t tmpfs none /m\nmount --make-shared /m\nmount --bind /m /s\n";
    let cases = [
        // Alone in its group: nobody to be a slave of.
        ("mount -t tmpfs none /t\nmount --make-shared /t\nmount --make-slave /t", ""),
        ("mount --bind /m /t\nmount --make-slave /t", " master:1"),
        ("mount --bind /m /t\nmount --make-slave /t\nmount --make-shared /t", " shared:2 master:1"),
        (
            "mount --bind /m /t\nmount --make-slave /t\nmount --make-shared /t\nmount --make-slave /t",
            " master:1",
        ),
        ("mount --bind /m /t\nmount --make-private /t\nmount --make-slave /t", ""),
        ("mount --bind /m /t\nmount --make-unbindable /t\nmount --make-slave /t", " unbindable"),
        ("mount --bind /m /t\nmount --make-unbindable /t\nmount --make-shared /t", " shared:2"),
    ];
    for (lines, state) in cases {
        let outcome = run(&format!("{begin}{lines}"));
        assert_eq!(faults(&outcome), [""; 0], "{lines}");
        let row = table(&outcome).pop().unwrap();
        let (place, is) = row.split_at("host /t tmpfs-1 /".len());
        assert!(place.starts_with("host /t tmpfs-"), "{row}");
        assert_eq!(is, state, "{lines}");
    }
}

#[test]
fn mounts_reach_peers_and_slaves_and_go_under_what_is_there() {
    let outcome = run(
        "mkdir /m\nmount -t tmpfs none /m\nmount --make-shared /m\nmkdir /m/x\nns peer\nns slave\n\
                       @slave mount --make-rslave /\n@slave mount -t tmpfs own /m/x\nmount -t tmpfs new /m/x\n\
                       ns inner from peer --user\n@inner umount /m\n@inner umount /m/x\n@peer umount /m/x",
    );
    // Copies of a namespace of another user namespace are locked.
    assert_eq!(faults(&outcome), ["11 EINVAL", "12 EINVAL"]);
    let expected = [
        "host / rootfs /",
        "host /m tmpfs-1 / shared:1",
        "peer / rootfs /",
        "peer /m tmpfs-1 / shared:1",
        "slave / rootfs /",
        "slave /m tmpfs-1 / master:1",
        "slave /m/x tmpfs-2 /",
        "inner / rootfs /",
        "inner /m tmpfs-1 / master:1",
    ];
    assert_eq!(table(&outcome), expected);
    let mounted = &outcome.steps[8].calls[0].events;
    let tucked: Vec<_> = mounted.iter().filter(|event| event.text.contains("tucked under")).collect();
    assert_eq!(tucked.len(), 1, "{mounted:?}");
    assert_eq!(tucked[0].namespace.as_deref(), Some("slave"));
}

#[test]
fn moves_pivots_and_mounts_beneath() {
    let outcome = run("mkdir -p /a /b /c\nmount -t tmpfs a /a\nmount -t tmpfs b /b\nmount --beneath /a /b\n\
                       mount --move /b /c\nmount --make-shared /c\nmkdir /c/x\nmount -t tmpfs x /c/x\nmkdir /c/y\n\
                       mount --move /c/x /c/y\nmount --make-rprivate /c\nmkdir /c/old\npivot_root /c /c/old\n\
                       mkdir /new\nmount --move /old /nowhere");
    assert_eq!(faults(&outcome), ["10 EINVAL", "15 ENOENT"]);
    let expected = ["host /old rootfs /", "host /old/b tmpfs-1 /", "host / tmpfs-2 /", "host /x tmpfs-3 /"];
    assert_eq!(table(&outcome), expected);
}

#[test]
fn groups_and_file_systems_are_numbered_by_first_appearance() {
    let outcome = run("mkdir -p /a /b\nmount --make-shared /\nns other\nmount -t tmpfs gone /a\numount /a\n\
                       mount -t ramfs one /b\nmount -t tmpfs two /a\nmount --make-private /b\n@other mount --make-slave /\n\
                       @other mount --make-shared /\nns third from other\n@third mount --make-slave /\numount /a");
    let expected = [
        "host / rootfs / shared:1",
        "host /b ramfs-1 /",
        "other / rootfs / shared:2 master:1",
        "other /b ramfs-1 / shared:3",
        "third / rootfs / master:2",
        "third /b ramfs-1 / shared:3",
    ];
    assert_eq!(table(&outcome), expected);
}

#[test]
fn errors_name_the_line_and_the_place() {
    let cases = [
        ("mkdir /a\nmuont /a", (2, 0, "muont")),
        ("mount -t tmpfs x /a; ls", (1, 19, "`;`")),
        ("  @b mkdir /a", (1, 2, "no namespace `b`")),
        ("ns a\nns a", (2, 3, "already")),
        ("ns a/b", (1, 3, "letters")),
        ("ns a from b", (1, 10, "no namespace `b`")),
        ("ns", (1, 0, "which name")),
        ("ns a --usr", (1, 5, "expected")),
        ("@host", (1, 0, "nothing to run")),
        ("mkdir 'a", (1, 6, "not closed")),
        ("mkdir \"$HOME\"", (1, 7, "`$`")),
        ("mkdir /{a,b}", (1, 7, "`{`")),
        ("mkdir a\\", (1, 7, "backslash")),
        ("mount -a", (1, 0, "not simulated")),
        ("umount -A /a", (1, 0, "not simulated")),
        ("mount -o loop x /a", (1, 0, "loop device")),
        ("mv a b c", (1, 0, "a line each")),
    ];
    for (script, (line, column, what)) in cases {
        let error = Script::parse(script).unwrap_err();
        assert_eq!((error.line, error.column), (line, column), "{script}: {error}");
        assert!(error.what.contains(what), "{script}: {error}");
    }
    let error = Script::parse("mkdir '/a").unwrap_err();
    assert_eq!(error.to_string(), "line 1: a quote that is not closed\n  mkdir '/a\n        ^");
}

#[test]
fn lines_are_told_as_written() {
    let script = Script::parse("\n  # nothing\n @host mkdir '/#a'  \"/b c\" \\#d#e # some\r\n").unwrap();
    let [line] = script.lines() else { panic!("{script:?}") };
    assert_eq!((line.number, line.text.as_str()), (3, "@host mkdir '/#a'  \"/b c\" \\#d#e"));
    assert_eq!(line.words, ["mkdir", "/#a", "/b c", "#d#e"]);
}

/// xorshift64
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn no_text_panics() {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..3000 {
        let length = next(&mut state) % 80;
        let bytes: Vec<u8> = (0..length).map(|_| next(&mut state) as u8).collect();
        if let Ok(script) = Script::parse(&String::from_utf8_lossy(&bytes)) {
            simulate(&script);
        }
    }
}

#[test]
fn no_sequence_of_words_panics() {
    const WORDS: [&str; 48] = [
        "mount",
        "umount",
        "mkdir",
        "-p",
        "touch",
        "rmdir",
        "mv",
        "pivot_root",
        "ns",
        "from",
        "--user",
        "@host",
        "@n",
        "n",
        "-t",
        "tmpfs",
        "none",
        "/",
        "/a",
        "/a/b",
        "a",
        ".",
        "..",
        "/a/..",
        "--bind",
        "--rbind",
        "--move",
        "--beneath",
        "--make-shared",
        "--make-rslave",
        "--make-rprivate",
        "--make-unbindable",
        "-o",
        "bind,ro",
        "remount,ro",
        "remount,bind",
        "shared",
        "ro,move",
        "-l",
        "-R",
        "-r",
        "--",
        "-T",
        "''",
        "/a/b/c",
        "\n",
        "\n",
        "\n",
    ];
    let mut state = 0x2545_f491_4f6c_dd1d;
    let mut failed = 0;
    for _ in 0..4000 {
        let mut text = String::from("mkdir -p /a/b\nns n\n");
        for _ in 0..12 + next(&mut state) % 40 {
            text.push_str(WORDS[next(&mut state) as usize % WORDS.len()]);
            text.push(' ');
        }
        // A line that is none would keep all others from being run.
        let lines: Vec<&str> = text.lines().collect();
        let good: Vec<&str> =
            lines.into_iter().filter(|line| Script::parse_with(line, [HOST, "n"]).is_ok()).collect();
        if let Ok(script) = Script::parse(&good.join("\n")) {
            failed += faults(&simulate(&script)).len();
        }
    }
    assert!(failed > 1000, "{failed}");
}

#[test]
fn mv_copies_a_tree_where_it_cannot_rename() {
    let outcome = run(
        "mkdir -p /a/b/c /a/d /t\ntouch /a/f\nmount -t tmpfs none /t\nmv /a /t/\nrmdir /t/a/b/c /t/a/d\n\
                       mv /t/a/f /f\nmkdir /a\nmount -t tmpfs none /t/a/b\ntouch /t/a/b/g\nmv /t/a /a\nmkdir /t/a/b/h\n\
                       rmdir /a/a/b",
    );
    assert_eq!(faults(&outcome), ["10 EBUSY", "12 ENOTEMPTY"]);
    let last = &outcome.steps[9].calls;
    let made: Vec<&str> = last.iter().map(|call| call.text.as_str()).collect();
    assert_eq!(
        made[1..5],
        ["mkdir(\"/a/a\")", "mkdir(\"/a/a/b\")", "open(\"/a/a/b/g\", O_CREAT)", "unlink(\"/t/a/b/g\")"]
    );
    assert_eq!(made[5..], ["rmdir(\"/t/a/b\")"], "what is mounted there stays");
}

#[test]
fn what_a_machine_does_not_tell_is_unknown() {
    use mount_table::{MountTable, NamespaceId, NamespaceView, Node};
    let table = |text: &str| MountTable::parse_mountinfo(text.as_bytes()).unwrap();
    let host =
        table("21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n22 21 0:30 / /a rw shared:2 - tmpfs none rw\n");
    let inner =
        table("31 2 8:1 / / rw master:1 - ext4 /dev/sda1 rw\n32 31 0:30 / /a rw master:2 - tmpfs none rw\n");
    let mut node = Node::new(jiff::Timestamp::UNIX_EPOCH, "6.18".to_owned());
    node.host = Some(NamespaceId(1));
    for (id, mounts, user) in [(1, host, 1), (2, inner, 7)] {
        let mut view = NamespaceView::new(NamespaceId(id), mounts);
        view.user_namespace = Some(user);
        node.namespaces.push(view);
    }
    let unknown = |script: &str| -> Vec<String> {
        let mut simulation = Simulation::of_node(&node, None).unwrap();
        let names: Vec<&str> = simulation.names().collect();
        let script = Script::parse_with(script, names).unwrap();
        let steps: Vec<Step> = script.lines().iter().map(|line| simulation.step(line)).collect();
        let calls = steps.iter().flat_map(|step| &step.calls);
        calls
            .flat_map(|call| &call.unknown)
            .map(|what| what.split(' ').take(4).collect::<Vec<_>>().join(" "))
            .collect()
    };
    assert_eq!(unknown("mount -t tmpfs none /a/x"), [""; 0]);
    assert_eq!(unknown("umount -l /a"), [""; 0]);
    assert_eq!(unknown("umount /a"), ["whether something uses it:"]);
    assert_eq!(unknown("@ns:2 umount -l /a"), ["whether a mount is"]);
    assert_eq!(unknown("mkdir /x"), ["what the file system"]);
    assert_eq!(unknown("mount --bind /a /b\nmount -t tmpfs none /a/x"), ["the order in which"]);
    assert!(
        run("mkdir /a\nmount -t tmpfs none /a\numount /a")
            .steps
            .iter()
            .all(|s| s.calls.iter().all(|c| c.unknown.is_empty()))
    );
}

/// A line of 16 MB is no reason to print one, or to take hours over it.
#[test]
fn long_lines_are_read_at_once_and_told_in_short() {
    let hashes = format!("mkdir '{}' # comment", " #".repeat(200_000));
    let script = Script::parse(&hashes).unwrap();
    assert_eq!(script.lines()[0].text, hashes.trim_end_matches(" # comment"));
    let told = |text: &str| Script::parse(text).unwrap_err().to_string();
    let unknown = told(&"x".repeat(1_000_000));
    assert!(unknown.len() < 1000 && unknown.starts_with("line 1: no command of a script is called `xxx"));
    let far = told(&format!("mkdir {}; ls {}", "é".repeat(100_000), "é".repeat(100_000)));
    let lines: Vec<&str> = far.lines().collect();
    assert_eq!(lines[1].chars().nth(lines[2].chars().count() - 1), Some(';'), "{far}");
    assert!(far.chars().count() < 400, "{far}");
    let many: String = (0..1000).map(|at| format!("ns n{at}\n")).collect();
    assert!(told(&format!("{many}@nobody umount /x")).contains(", and 981 more\n"));
}

#[test]
fn what_no_script_has_is_told_where_it_stands() {
    let told = |text: &str| Script::parse(text).unwrap_err().to_string();
    let zero = "line 1: a byte that no path can hold\n  ";
    assert_eq!(told("mkdir a\0b"), format!("{zero}mkdir a b\n         ^"));
    assert_eq!(told("mkdir 'a\0b'"), format!("{zero}mkdir 'a b'\n          ^"), "in quotes too");
    assert_eq!(told("@ umount /"), "line 1: in which namespace? @NAME COMMAND\n  @ umount /\n  ^");
    let marked = Script::parse("\u{feff}mkdir /a").unwrap();
    assert_eq!(marked.lines()[0].words, ["mkdir", "/a"]);
}
