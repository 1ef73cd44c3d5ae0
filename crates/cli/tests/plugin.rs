//! The program as a plugin of kubectl.

#[path = "support/node.rs"]
mod node;
mod support;
#[path = "support/world.rs"]
mod world;

use std::process::Stdio;

/// Under the name by which kubectl finds its plugins, called by the real kubectl.
#[test]
fn as_a_plugin_of_kubectl() {
    let name = "as_a_plugin_of_kubectl";
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rhizome"), folder.path().join("kubectl-propagation"))
        .unwrap();
    let Some(kubectl) = node::kubectl_program(name) else { return };
    let run = |args: &[&str]| {
        let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", folder.path().display());
        let mut command = std::process::Command::new(&kubectl);
        command
            .args(args)
            .env("PATH", path)
            .env("HOME", folder.path())
            .env("RHIZOME_ROOT", folder.path().join("root"));
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (status, listed, said) = run(&["plugin", "list"]);
    assert!(status == Some(0) && listed.contains("kubectl-propagation"), "{listed}{said}");
    let (status, help, _) = run(&["propagation", "--help"]);
    assert_eq!(status, Some(0));
    assert!(help.contains("Usage: kubectl propagation") && help.contains("why-not"), "{help}");
    assert!(!help.contains("\n  run ") && !help.contains("  rhizome "), "{help}");
    let (_, help, _) = run(&["propagation", "why", "--help"]);
    assert!(
        help.contains("Usage: kubectl propagation why") && help.contains("  kubectl propagation why-not "),
        "{help}"
    );
    // Arguments, data and the exit status pass through kubectl.
    let (status, _, said) = run(&["propagation", "why"]);
    assert!(status == Some(2) && said.contains("Usage: kubectl propagation why"), "{status:?} {said}");
    let pid = format!("pid:{}", std::process::id());
    let (status, json, said) = run(&["propagation", "mounts", &pid, "-o", "json"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(json.contains("\"apiVersion\""), "{json}");
}
