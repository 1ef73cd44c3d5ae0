//! `rhizome lint`: files, folders, standard input; what is printed, what is written, the exit status.

mod support;

use serde_json::Value;
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use support::{run, run_with_input};

/// A mode that is nearly one, and a field that is nearly one.
const BAD: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: p
spec:
  containers:
  - name: main
    image: busybox
    volumeMounts:
    - name: v
      mountpath: /v
      mountPath: /v
      mountPropagation: HostToContaine
    - name: v
      mountPath: /w
      mountPropogation: None
  volumes:
  - name: v
    emptyDir: {}
";

const GOOD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n";

#[test]
fn findings_are_data_and_a_no() {
    let ran = run_with_input(&["lint", "-"], BAD.as_bytes());
    assert_eq!((ran.status, ran.stderr.as_str()), (1, ""), "{ran:?}");
    assert!(ran.stdout.contains("error[unknown-mode]: The Pod \"p\" is invalid: "), "{}", ran.stdout);
    assert!(ran.stdout.contains("  --> STDIN:13:25\n"), "{}", ran.stdout);
    let ran = run_with_input(&["lint", "-"], GOOD.as_bytes());
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "Nothing found.\n"));
}

#[test]
fn machines_get_what_they_read() {
    let read = |format: &str| -> Value {
        let ran = run_with_input(&["lint", "--format", format, "-"], BAD.as_bytes());
        assert_eq!(ran.status, 1);
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let report = read("json");
    assert_eq!((&report["kind"], &report["errors"]), (&"LintReport".into(), &3.into()));
    let log = read("sarif");
    assert_eq!(
        log["runs"][0]["results"].as_array().unwrap().len(),
        report["findings"].as_array().unwrap().len()
    );
    let ran = run_with_input(&["lint", "--format", "github", "-"], BAD.as_bytes());
    assert!(
        ran.stdout
            .lines()
            .all(|line| line.starts_with("::error file=STDIN,line=") || line.starts_with("::warning "))
    );
}

#[test]
fn what_is_surely_meant_is_written_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("real"), directory.path().join("pod.yaml"));
    std::fs::write(&file, BAD).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&file, &link).unwrap();
    let link_name = link.to_str().unwrap();

    let ran = run(&["lint", "--diff", link_name]);
    assert_eq!((ran.status, ran.stderr.as_str()), (1, ""));
    assert!(
        ran.stdout.starts_with(&format!("--- a{link_name}\n+++ b{link_name}\n@@ -10,10 +10,10 @@\n")),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("-      mountPropogation: None\n+      mountPropagation: None\n"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), BAD, "--diff only shows");

    let ran = run(&["lint", "--fix", link_name, link_name]);
    assert_eq!(ran.status, 1, "`mountpath` beside `mountPath` is for people to decide");
    assert!(ran.stdout.contains("mountpath") && !ran.stdout.contains("unknown-mode"), "{}", ran.stdout);
    let fixed = BAD.replace("HostToContaine\n", "HostToContainer\n").replace("Propogation", "Propagation");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), fixed);
    assert!(link.is_symlink());
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2, "nothing is left over");
}

#[test]
fn folders_are_searched() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::create_dir_all(path("a/.git")).unwrap();
    for (name, text) in [
        ("z.yaml", BAD),
        ("a/b.yml", GOOD),
        ("a/c.json", "{\"replicas\": 1}"),
        ("a/.git/d.yaml", BAD),
        ("README.md", BAD),
    ] {
        std::fs::write(path(name), text).unwrap();
    }
    let ran = run(&["lint", "--format=json", directory.path().to_str().unwrap()]);
    assert_eq!(ran.status, 1, "{ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let files: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["file"].as_str().unwrap())
        .collect();
    assert!(
        files[0].ends_with("a/c.json") && files[1..].iter().all(|file| file.ends_with("/z.yaml")),
        "{files:?}"
    );
    let ran = run(&["lint", path("a").to_str().unwrap()]);
    assert_eq!(ran.status, 0, "a note does not count: {ran:?}");
    let ran = run(&["lint", path("a/.git/..").join("..").join("README.md").to_str().unwrap()]);
    assert_eq!(ran.status, 1, "a file that is named is looked at whatever its name");
}

#[test]
fn rules_explain_themselves() {
    let list = run(&["lint", "--explain"]);
    assert_eq!((list.status, list.stderr.as_str()), (0, ""));
    assert!(list.stdout.lines().any(|line| line.starts_with("bidirectional-on-root ")), "{}", list.stdout);
    let page = run(&["lint", "--explain", "unknown-mode"]);
    assert!(page.status == 0 && page.stdout.starts_with("# unknown-mode\n"), "{page:?}");
    let kernel = run(&["lint", "--explain", "receive-slave"]);
    assert_eq!(kernel.status, 0);
    assert!(kernel.stdout.starts_with("# receive-slave\n\nWhat happens: a slave"), "{}", kernel.stdout);
    let ran = run(&["lint", "--explain", "unknown-mod"]);
    assert!(ran.status == 2 && ran.stderr.contains("did you mean unknown-mode?"), "{ran:?}");
}

/// Names of files are not trusted either: they begin no line of their own, and two that are shown alike are two.
#[test]
fn names_of_files_may_be_anything() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &[u8]| directory.path().join(OsStr::from_bytes(name));
    let longer = BAD.replace("name: p\n", "name: a-much-longer-name\n");
    let names: [(&[u8], &str); 6] = [
        (b"a\nerror: forged.yaml", BAD),
        (b"b\xff.yaml", BAD),
        (b"b\xfe.yaml", &longer),
        (b"c\"\\.yaml", BAD),
        (b"d \xe2\x80\xae.yaml", BAD),
        (b"e::error file=x::,%0A.yaml", BAD),
    ];
    names.iter().for_each(|(name, text)| std::fs::write(file(name), text).unwrap());
    let folder = directory.path().to_str().unwrap();
    symlink(".", file(b"loop")).unwrap();

    let plain = run(&["lint", folder]);
    assert!(!plain.stdout.lines().any(|line| line.starts_with("error: forged")), "{}", plain.stdout);
    assert!(!plain.stdout.contains('\u{202e}'), "it turns the direction of writing");
    let github = run(&["lint", "--format=github", folder]);
    assert!(github.stdout.lines().all(|line| line.starts_with("::") && line.matches("::").count() >= 2));
    assert!(!github.stdout.contains("::error file=x"), "{}", github.stdout);

    let fixed = |text: &str| {
        text.replace("HostToContaine\n", "HostToContainer\n").replace("Propogation", "Propagation")
    };
    let patch = run(&["lint", "--diff", folder]);
    let lines = patch.stdout.lines().filter(|line| line.starts_with("--- ")).count();
    assert_eq!(lines, names.len(), "{}", patch.stdout);
    assert!(patch.stdout.contains("a\\nerror: forged.yaml\"\n"), "as git quotes it: {}", patch.stdout);
    assert_eq!(run(&["lint", "--fix", folder]).status, 1);
    for (name, text) in names {
        assert_eq!(std::fs::read_to_string(file(name)).unwrap(), fixed(text), "{name:?}");
    }
}

/// To patch(1), each diff is of the file that it names.
#[test]
fn the_diff_is_one_for_patch() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["plain.yaml", "with blank.yaml", "two\nlines.yaml", "quote\".yaml"] {
        let path = directory.path().join(name);
        std::fs::write(&path, BAD.replace('\n', "\r\n")).unwrap();
        let diff = std::process::Command::new(env!("CARGO_BIN_EXE_rhizome"))
            .args(["lint", "--diff", name])
            .current_dir(directory.path())
            .output()
            .unwrap();
        let mut patch = match std::process::Command::new("patch")
            .args(["--binary", "-s", "-p1"])
            .current_dir(directory.path())
            .stdin(std::process::Stdio::piped())
            .spawn()
        {
            Ok(patch) => patch,
            Err(error) => {
                return support::skipped("the_diff_is_one_for_patch", &format!("no patch(1): {error}"));
            }
        };
        patch.stdin.take().unwrap().write_all(&diff.stdout).unwrap();
        assert!(patch.wait().unwrap().success(), "{name:?}: {}", String::from_utf8_lossy(&diff.stdout));
        let fixed =
            BAD.replace("HostToContaine\n", "HostToContainer\n").replace("Propogation", "Propagation");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), fixed.replace('\n', "\r\n"), "{name:?}");
    }
}
