//! What `rhizome plan` says that other runtimes leave on the node, held against them: the real ones of Debian's packages,
//! given what the kubelet's runtimes give them, in a mount namespace of the test's own, start after start.

mod support;

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use support::{is_root, skipped};

/// Starts of a container, the first one too.
const STARTS: usize = 5;

/// `$W/srv` is a shared mount and `$W/srv/other` another in it. The container's program is not there: it would be executed
/// once all is mounted, and the runtime says that it could not.
const SCRIPT: &str = r#"set -u
W=$1 RHIZOME=$2 STARTS=$3; shift 3
trap 'find /sys/fs/cgroup -depth -type d -path "*/$GROUP*" -exec rmdir {} + 2>/dev/null' EXIT
mkdir -p "$W/srv" "$W/bundle/rootfs/dev" "$W/bundle/rootfs/proc"
mount -t tmpfs srv "$W/srv" && mount --make-shared "$W/srv" || exit 9
mkdir -p "$W/srv/v/inner" "$W/srv/v/sub" "$W/srv/other" && mount -t tmpfs other "$W/srv/other" || exit 9
# crun takes no machine that has both versions of cgroups.
case $1 in crun) awk '/ - cgroup2 / {print $5}' /proc/self/mountinfo | while read -r place; do
    [ "$place" = /sys/fs/cgroup ] || umount -l "$place"; done;; esac
"$RHIZOME" --root "$W/root" plan --here --restarts $((STARTS - 1)) -o json "$W/pod.yaml" >"$W/plan.json" || exit 9
count() { grep -c "$1" /proc/self/mountinfo; }
inside=$(count " $W/srv/v/") all=$(wc -l </proc/self/mountinfo)
for start in $(seq "$STARTS"); do
    "$@" --root "$W/runtime" run --bundle "$W/bundle" "rhizome-test-$$" >"$W/said" 2>&1
    grep -q /none "$W/said" || { cat "$W/said" >&2; exit 8; }
    echo "$(($(count " $W/srv/v/") - inside)) $(($(wc -l </proc/self/mountinfo) - all))"
done
exit 0
"#;

/// `mountPath` and the folder below `$W/srv`, the first Bidirectional, the others None.
type Volumes<'a> = &'a [(&'a str, &'a str)];

fn pod(folder: &Path, volumes: Volumes<'_>) -> Value {
    let name = |at: usize| format!("v{at}");
    let mount = |(at, (path, _)): (usize, &(&str, &str))| match at {
        0 => json!({"name": name(at), "mountPath": path, "mountPropagation": "Bidirectional"}),
        _ => json!({"name": name(at), "mountPath": path}),
    };
    let volume = |(at, (_, source)): (usize, &(&str, &str))| json!({"name": name(at), "hostPath": {"path": folder.join("srv").join(source)}});
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {
            "containers": [{
                "name": "main", "image": "busybox", "securityContext": {"privileged": true},
                "volumeMounts": volumes.iter().enumerate().map(mount).collect::<Vec<_>>(),
            }],
            "volumes": volumes.iter().enumerate().map(volume).collect::<Vec<_>>(),
        },
    })
}

/// The cgroup of a runtime's test: one of its own, since the tests run side by side and each removes it at its end.
fn group(runtime: &str) -> String {
    format!("rhizome-test-plan-{runtime}-{}", std::process::id())
}

/// What containerd and CRI-O make of it for their OCI runtime.
fn bundle(folder: &Path, volumes: Volumes<'_>, group: &str) -> Value {
    let mount = |(at, (path, source)): (usize, &(&str, &str))| {
        let mode = if at == 0 { "rshared" } else { "rprivate" };
        json!({"destination": path, "type": "bind", "source": folder.join("srv").join(source), "options": ["rbind", mode]})
    };
    let proc = json!({"destination": "/proc", "type": "proc", "source": "proc"});
    let mounts: Vec<Value> = std::iter::once(proc).chain(volumes.iter().enumerate().map(mount)).collect();
    json!({
        "ociVersion": "1.0.2",
        "process": {"cwd": "/", "args": ["/none"], "user": {"uid": 0, "gid": 0}},
        "root": {"path": "rootfs"},
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "pid"}],
            "rootfsPropagation": "rshared",
            "cgroupsPath": format!("/{group}/container"),
        },
    })
}

/// Start by start: mounts in the Bidirectional volume, and in all. None if the runtime starts nothing here, which is said.
fn compare(name: &str, runtime: &[&str], column: usize) {
    let cases: [Volumes<'_>; 3] = [
        &[("/w", "v"), ("/w/inner", "other")],
        &[("/w", "v"), ("/w/inner", "v/sub")],
        &[("/w", "v"), ("/w/inner", "other"), ("/w/sub", "other")],
    ];
    if !is_root(name) {
        return;
    }
    let group = group(runtime[0]);
    for volumes in cases {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().canonicalize().unwrap();
        std::fs::write(folder.join("pod.yaml"), pod(&folder, volumes).to_string()).unwrap();
        std::fs::create_dir_all(folder.join("bundle")).unwrap();
        std::fs::write(folder.join("bundle/config.json"), bundle(&folder, volumes, &group).to_string())
            .unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"]);
        command.arg(&folder).arg(env!("CARGO_BIN_EXE_rhizome")).arg(STARTS.to_string()).args(runtime);
        let ran = command.env("GROUP", &group).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        match ran.status.code() {
            Some(0) => {}
            Some(8) => return skipped(name, &format!("{} starts no container: {}", runtime[0], said.trim())),
            _ => panic!("{ran:?}"),
        }
        let plan: Value = serde_json::from_slice(&std::fs::read(folder.join("plan.json")).unwrap()).unwrap();
        let planned = &plan["runtimes"][column]["containers"][0]["starts"];
        let planned: Vec<String> = planned
            .as_array()
            .unwrap()
            .iter()
            .map(|start| format!("{} {}", start["inVolumes"], start["left"]))
            .collect();
        let real: Vec<String> = String::from_utf8_lossy(&ran.stdout).lines().map(str::to_owned).collect();
        assert_eq!((real.len(), &real), (STARTS, &planned), "{volumes:?}: real, planned");
        assert!(!real[0].starts_with("0 "), "nothing leaked, so nothing was compared: {real:?}");
    }
}

#[test]
fn runc_leaves_what_was_planned() {
    compare("runc_leaves_what_was_planned", &["runc"], 1);
}

#[test]
fn crun_leaves_what_was_planned() {
    compare("crun_leaves_what_was_planned", &["crun", "--cgroup-manager=disabled"], 2);
}
