//! `rhizome lint`: files, folders, standard input; what is printed, what is written, the exit status.

mod support;

use serde_json::Value;
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
