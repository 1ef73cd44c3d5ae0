//! `rhizome simulate`: the document, and the model beside the running kernel with the machine's own tools.

mod support;

use support::{is_root, run, run_with_input, skipped};

#[test]
fn the_document_of_a_script() {
    let script = "# beginning\nmkdir -p /mnt/a\nmount -t tmpfs none /mnt/a\nmount --make-shared /mnt/a  # so\n\
                  umount /mnt\nmount -o shared /mnt/a\nns zoo\nns ape from zoo --user\n";
    let ran = run_with_input(&["simulate", "-o", "json", "-"], script.as_bytes());
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&document["apiVersion"], &document["kind"]),
        (&"rhizome.dev/v1".into(), &"Simulation".into())
    );
    let steps = document["steps"].as_array().unwrap();
    let told: Vec<String> =
        steps.iter().map(|step| format!("{} {} {}", step["line"], step["command"], step["errno"])).collect();
    let expected = [
        r#"2 "mkdir -p /mnt/a" null"#,
        r#"3 "mount -t tmpfs none /mnt/a" null"#,
        r#"4 "mount --make-shared /mnt/a" null"#,
        r#"5 "umount /mnt" "EINVAL""#,
        r#"6 "mount -o shared /mnt/a" "refused""#,
        r#"7 "ns zoo" null"#,
        r#"8 "ns ape from zoo --user" null"#,
    ];
    assert_eq!(told, expected);
    let at = |name: &str| ran.stdout.find(&format!("\n    \"{name}\": [")).unwrap();
    assert!(at("host") < at("zoo") && at("zoo") < at("ape"), "in the order in which they were made");
    let row = &document["namespaces"]["ape"][1];
    let expected = r#"{"path":"/mnt/a","filesystem":"tmpfs-1","root":"/","shared":null,"master":1,"propagateFrom":null,"unbindable":false}"#;
    assert_eq!(row.to_string(), expected);
}

#[test]
fn pictures_are_written_beside_the_answer() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (svg, html) = (file("steps.svg"), file("steps.html"));
    let script = b"mkdir /a\nmount -t tmpfs none /a\numount /a\n";
    let ran = run_with_input(&["simulate", "--svg", &svg, "--html", &html, "-"], script);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.contains("namespace host"), "{}", ran.stdout);
    assert_eq!(
        std::fs::read_to_string(&svg).unwrap().matches("<svg").count(),
        4,
        "the beginning and two steps"
    );
    assert_eq!(std::fs::read_to_string(&html).unwrap().matches("<svg").count(), 3);
    let ran = run_with_input(&["simulate", "--svg", "/no/such/folder/x.svg", "-"], script);
    assert_eq!(
        (ran.status, ran.stderr.as_str()),
        (2, "error: writing /no/such/folder/x.svg: No such file or directory\n")
    );
}

#[test]
fn an_error_in_a_script_shows_where() {
    let ran = run_with_input(&["simulate", "-"], b"mkdir /a\n@b mount --bind /a /a\n");
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""));
    let expected = "error: standard input, line 2: there is no namespace `b` yet; there is: host\n  \
                    @b mount --bind /a /a\n  ^\n";
    assert_eq!(ran.stderr, expected);
    let ran = run(&["simulate", "/no/such/script"]);
    assert_eq!(
        (ran.status, ran.stderr.as_str()),
        (2, "error: reading /no/such/script: No such file or directory\n")
    );
}

#[test]
fn begins_with_what_a_snapshot_or_the_machine_has() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("snapshot.json");
    let mount = |id: u32, path: &str| {
        serde_json::json!({
            "id": id, "parent": 1, "device": {"major": 8, "minor": id}, "root": "/", "mount_point": path,
            "options": "rw", "propagation": {"shared": id, "master": null, "propagate_from": null, "unbindable": false},
            "fs_type": "ext4", "source": "/dev/sda", "super_options": "rw",
        })
    };
    let tables = serde_json::json!([{"id": 7, "mounts": [mount(1, "/"), mount(2, "/data")]}]);
    std::fs::write(&file, tables.to_string()).unwrap();
    let args = ["simulate", "-o", "json", "--snapshot", file.to_str().unwrap(), "-"];
    let ran = run_with_input(&args, b"mount -t tmpfs x /data/x\nns c\n");
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let paths = |name: &str| {
        let rows = document["namespaces"][name].as_array().unwrap();
        rows.iter().map(|row| format!("{} {}", row["path"], row["filesystem"])).collect::<Vec<_>>()
    };
    let expected = [r#""/" "rootfs""#, r#""/data" "ext4-1""#, r#""/data/x" "tmpfs-2""#];
    assert_eq!(
        (paths("host"), paths("c")),
        (expected.map(str::to_owned).to_vec(), expected.map(str::to_owned).to_vec())
    );

    std::fs::write(&file, "{}").unwrap();
    assert_eq!(run_with_input(&args, b"").status, 2);
    let here = run_with_input(&["simulate", "--here", "-"], b"mkdir /x\n");
    assert_eq!(here.status, 0, "{here:?}");
    assert!(here.stdout.contains("unknown: what the file system holds\n"), "{here:?}");
}

#[test]
fn a_node_that_was_taken_away_is_a_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node.json");
    let taken = run(&["snapshot"]);
    assert_eq!(taken.status, 0, "{taken:?}");
    std::fs::write(&file, taken.stdout).unwrap();
    let args = ["simulate", "-o", "json", "--snapshot", file.to_str().unwrap(), "-"];
    let ran = run_with_input(&args, b"mount -t tmpfs none /tmp\numount /tmp\n");
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let unknown = |step: usize| document["steps"][step]["calls"][0]["unknown"].clone();
    assert_eq!(unknown(1)[0], "whether something uses it: EBUSY");
}

#[test]
fn other_kernels_rules_are_followed() {
    let script =
        b"mkdir /a /b\nmount -t tmpfs none /a\nmount --make-unbindable /a\nns c\nmount -t tmpfs none /b\n\
                   mount --beneath /a /b\n";
    let run_on = |kernel: &str| {
        let ran = run_with_input(&["simulate", "-o", "json", "--kernel", kernel, "-"], script);
        assert_eq!(ran.status, 0, "{ran:?}");
        let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let kept = document["namespaces"]["c"][1]["unbindable"].as_bool().unwrap();
        (kept, document["steps"][5]["rule"].as_str().map(str::to_owned), ran.stderr)
    };
    let (kept, rule, notes) = run_on("6.1");
    assert_eq!((kept, rule.as_deref()), (true, Some("beneath-unsupported")));
    assert!(notes.starts_with("note: the rules of Linux 6.1: "), "{notes}");
    let (kept, rule, _) = run_on("6.18");
    assert_eq!((kept, rule), (false, None));
    let (kept, rule, notes) = run_on("7.2");
    assert_eq!((kept, rule), (true, None));
    assert!(notes.starts_with("note: the rules of Linux 7: read, not run\n"), "{notes}");
    let none = run_with_input(&["simulate", "--kernel", "4.4", "-"], b"");
    assert_eq!(
        (none.status, none.stderr.contains("there are rules for Linux 6.1, 6.6, 6.12, 6.18, 7")),
        (2, true)
    );
}

/// Whether the model's default rules are the running kernel's; if not, says that the test is skipped.
fn release_is_compared(name: &str) -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let compared = release.starts_with("6.17.") || release.starts_with("6.18.");
    if !compared {
        skipped(name, &format!("the model's rules are those of Linux 6.17 and 6.18, not of {release}"));
    }
    compared
}

/// What `--check` says, which must be that all is the same.
fn check(name: &str, script: &str) {
    if !is_root(name) || !release_is_compared(name) {
        return;
    }
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    let ran = run_with_input(&["simulate", "--check", "-"], script.as_bytes());
    assert_eq!(mounts(), before);
    let end = ran.stdout.find("\ncheck: ").map_or("", |at| &ran.stdout[at..]);
    let lines = script.lines().count();
    assert_eq!(ran.status, 0, "{end}{}", ran.stderr);
    assert!(end.contains(&format!("all {lines} lines are as on Linux")), "{end}");
}

#[test]
fn propagation_is_as_on_the_kernel() {
    check(
        "propagation_is_as_on_the_kernel",
        "mkdir -p /a /b /c\nmount -t tmpfs a /a\nmount --make-shared /a\nmkdir /a/x /a/y\nns peer\nns slave from peer\n\
         @slave mount --make-rslave /\n@slave mount -t tmpfs own /a/x\nmount -t tmpfs new /a/x\n@peer umount /a/x\n\
         ns inner from slave --user\nns deep from inner\n@inner umount /a\n@inner mount --rbind /a /b\n\
         @inner mount --make-rshared /b\nmount --bind /a /c\n@peer mount --rbind -o ro,slave /a /c\nmount -t ramfs r /a/y\n\
         @deep umount /a/y\n@deep mount --bind /a /a/x\n@slave umount -l /a\numount -R /c\numount -R /a\n\
         mount --make-unbindable /\nmount --bind / /c\nns late",
    );
}

#[test]
fn the_tools_are_as_on_the_machine() {
    check(
        "the_tools_are_as_on_the_machine",
        "mkdir -p /a/x /b ./c/../d\nmkdir /a\ntouch /f /a /no/f\nmount -t tmpfs a /a\nmount --bind /f /a\n\
         mount --bind --make-private /a /b\nmount -o bind,ro,shared /b /c\ntouch /c/f\nmount -o remount,bind,rw /c\n\
         touch /c/f\nmount -r -B /f /a/f\nmount --make-shared --make-rshared /c\nmount --make-shared /f\n\
         mount -o shared /c\nmount --bind --rbind /a /b\nmount --bind /a\nmount -t bogus x /b\nmount -t tmpfs -o bogus x /b\n\
         mount -o remount,ro /b\nmkdir /c/x\nmount -o remount,rw /b\nmkdir /c/x\nmv /f /c\nmv /c /e\nmv /d /e\nmv /c/x /c/z\n\
         umount /a\numount a/f\numount zzz\numount -R /a/z\numount -l /a /b /b\nrmdir /b /c\nmount -t tmpfs q /b\n\
         umount q\nmount --move /c /b\nmount --move /c\npivot_root /b /b\nmount --beneath /b /b\nmount -m -t tmpfs x /n/m",
    );
}

#[test]
fn covered_roots_and_moves_are_as_on_the_kernel() {
    check(
        "covered_roots_and_moves_are_as_on_the_kernel",
        "mkdir -p /a /b /c\nmount -t tmpfs a /a\nmount -t tmpfs b /b\nmount --beneath /a /b\nmount --move /b /c\n\
         mount --bind / /\nmount --make-rshared /\nmkdir /c/x\nns u --user\nns v from u\nmount -t tmpfs x /c/x\n\
         @u umount /c/x\n@u umount /c\n@v mount --make-rslave /\nmount --rbind -o ro,shared /c /b\numount -R /b\n\
         umount -l /c\n@u mv /c /c2\nrmdir /b\numount /\numount /\nmkdir /z",
    );
}

#[test]
fn what_lies_under_a_covered_root_is_as_on_the_kernel() {
    let name = "what_lies_under_a_covered_root_is_as_on_the_kernel";
    check(
        name,
        "mkdir -p /b /c\nmount -t tmpfs x /b\nmkdir /b/x\nmount --bind / /\numount -l /b\numount -l /b\n\
         mkdir /c/d\nmount --rbind / /\numount -l /c/d\numount /c",
    );
    check(
        name,
        "mkdir -p /a /b\nmount -t tmpfs r /\nmount -t tmpfs x /a/..\numount /a/..\nmount --bind /b/.. /a\n\
         mkdir -p /c/x /c/y\nmount --bind --make-rslave /c/y /c/x/..",
    );
}

#[test]
fn moves_across_file_systems_are_as_on_the_machine() {
    check(
        "moves_across_file_systems_are_as_on_the_machine",
        "mkdir -p /a /b\nmount -t tmpfs x /a\nmkdir /a/d /a/d/e\ntouch /a/d/f\nmv /a/d /b\nmv /a/none /b\n\
         mount -t tmpfs y /b\nmv /b /a/q\nmv /a /b/r\nmkdir -p /c/x\nmount -t tmpfs z /c\nmkdir /c/x\nmv /c /c/\n\
         umount /c/x/..",
    );
    // One file by two names, and two by what looks like one: the root is covered, which only `..` goes onto.
    check(
        "moves_across_file_systems_are_as_on_the_machine",
        "mkdir -p /a /b /c\ntouch /f\nmount --bind /a /b\nmkdir /a/d\nmv /a/d /b\nmv /a/d /a/./d\nmount -t tmpfs x /a\n\
         mount --rbind /c /\nmv /f /a/..\nmkdir /f",
    );
}

#[test]
fn what_is_on_no_device_does_not_become_read_only_instead() {
    check(
        "what_is_on_no_device_does_not_become_read_only_instead",
        "mkdir /a\nmount -t tmpfs x /a\nmkdir /a/b\nmount -t tmpfs y /a/b\numount -r /a\nmkdir /a/c",
    );
}

/// mv(1) does not see that it copies into what it copies.
#[test]
fn a_tool_that_does_not_end_is_stopped() {
    let name = "a_tool_that_does_not_end_is_stopped";
    if !is_root(name) || !release_is_compared(name) {
        return;
    }
    let script = "mkdir /a\nmount -t tmpfs x /a\nmv . /a/moved\n";
    let ran = run_with_input(&["simulate", "--check", "-o", "json", "-"], script.as_bytes());
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let why = document["check"]["stopped"].as_str().unwrap_or_default();
    assert_eq!(why, "line 3: the tool was stopped after 2 s of processor time", "{}", document["check"]);
}

/// Scripts as somebody might type them who does not know better, the same for a seed.
fn random_script(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as usize % bound
    };
    let paths = [
        "/", "/a", "/b", "/c", "/a/x", "/a/y", "/b/x", "/a", "/b", "/a/x/q", "/f", "/a/f", "/a/..", "a/x",
        "/b/./x", ".",
    ];
    let types = ["shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate", "runbindable"];
    let mut lines =
        vec!["mkdir -p /a /b /c".to_owned(), "touch /f".to_owned(), "mount -t tmpfs one /a".to_owned()];
    lines.extend(["mount --make-shared /a".to_owned(), "mkdir -p /a/x /a/y".to_owned()]);
    let mut names = vec!["host".to_owned()];
    for _ in 0..12 + below(10) {
        let at = names[below(names.len())].clone();
        let (path, other) = (paths[below(paths.len())], paths[below(paths.len())]);
        let line = match below(40) {
            0..=2 if names.len() < 5 => {
                let name = format!("n{}", names.len());
                lines.push(format!("ns {name} from {at}{}", ["", "", " --user"][below(3)]));
                names.push(name);
                continue;
            }
            3..=9 => format!("mount -t tmpfs two {path}"),
            10..=16 => {
                let more = ["", "", "-o ro ", "--make-private ", "-o shared "][below(5)];
                format!("mount --{} {more}{path} {other}", ["bind", "rbind"][below(2)])
            }
            17..=19 => format!("mount --move {path} {other}"),
            20..=25 => format!("mount --make-{} {path}", types[below(8)]),
            26..=32 => format!("umount {}{path}", ["", "-l ", "-R ", "-r "][below(4)]),
            33 | 34 => format!("mkdir -p {path}/n/m"),
            35 => format!("rmdir {path}"),
            36 | 37 => format!("mv {path} {other}{}", ["", "/moved"][below(2)]),
            _ => format!("mount -o remount,{}{} {path}", ["", "bind,"][below(2)], ["ro", "rw"][below(2)]),
        };
        lines.push(format!("@{at} {line}"));
    }
    lines.join("\n")
}

/// `RHIZOME_SIMULATE_SCRIPTS` asks for more.
#[test]
fn random_scripts_are_as_on_the_machine() {
    let name = "random_scripts_are_as_on_the_machine";
    if !is_root(name) || !release_is_compared(name) {
        return;
    }
    let asked = std::env::var("RHIZOME_SIMULATE_SCRIPTS").ok().and_then(|text| text.parse().ok());
    let (mut whole, mut lines, scripts) = (0, 0, asked.unwrap_or(15));
    for seed in 1..=scripts {
        let script = random_script(seed);
        let ran = run_with_input(&["simulate", "--check", "-o", "json", "-"], script.as_bytes());
        let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
        let check = &document["check"];
        assert_eq!(check["difference"], serde_json::Value::Null, "{script}\n{check}\n{}", ran.stderr);
        lines += check["lines"].as_u64().unwrap();
        whole += u64::from(check["stopped"].is_null());
    }
    println!("{scripts} scripts, {whole} to their end, {lines} lines");
    assert!(whole * 2 > scripts, "most do not take the tools away: {whole} of {scripts}");
}

/// `umount -R /` of a root that is bound into itself begins with `/proc`, and what it does without that is not the kernel's.
#[test]
fn a_tool_that_takes_its_own_proc_away_is_not_compared() {
    let name = "a_tool_that_takes_its_own_proc_away_is_not_compared";
    if !is_root(name) || !release_is_compared(name) {
        return;
    }
    let script = "mkdir /a\nmount --rbind -o shared . .\nmount -t tmpfs x /a\numount -R .\n";
    let ran = run_with_input(&["simulate", "--check", "-o", "json", "-"], script.as_bytes());
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let (check, why) = (&document["check"], document["check"]["stopped"].as_str().unwrap_or_default());
    assert_eq!(why, "line 4: the tools have no /proc any more, which they read", "{check}");
    assert_eq!((&check["difference"], &check["lines"]), (&serde_json::Value::Null, &3.into()));
}

#[test]
fn a_script_that_takes_the_tools_away_is_not_said_to_agree() {
    let name = "a_script_that_takes_the_tools_away_is_not_said_to_agree";
    if !is_root(name) || !release_is_compared(name) {
        return;
    }
    let script = "mkdir /n\nmount -t tmpfs n /n\nmkdir /n/old\npivot_root /n /n/old\nmkdir /x\n";
    let ran = run_with_input(&["simulate", "--check", "-o", "json", "-"], script.as_bytes());
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let why = document["check"]["stopped"].as_str().unwrap_or_default();
    assert!(why.starts_with("line 5: the tools cannot be run any more"), "{}", document["check"]);
    assert_eq!((ran.status, &document["check"]["lines"]), (2, &4.into()));
}
