//! Containers of other runtimes, the real ones of Debian's packages: what `rhizome mounts` calls them.
//!
//! Each runtime runs in a mount namespace of its own, with empty folders over its own ones, and ends with the test.

mod support;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use support::{images, is_root, skipped};

/// Makes `$W`, a folder of the namespace's own, and puts empty folders of it over these.
const OWN_FOLDERS: &str = r#"set -u
W=$1 IMAGE=$2 RHIZOME=$3
mount -t tmpfs world "$W" && mount --make-private "$W" || exit 9
own() { for folder in "$@"; do
    [ -d "$folder" ] || { mkdir -p "$folder" || exit 9; }
    mkdir -p "$W$folder" && mount --bind "$W$folder" "$folder" || exit 9
done; }
names() { "$RHIZOME" --root "$W/rhizome" mounts "$@" -o name 2>"$W/output-said" || cat "$W/output-said" >&2; }
"#;

const PODMAN: &str = concat!(
    r#"own /var/lib/containers /run/containers /run/libpod
cat >"$W/runtime" <<'END'
"#,
    include_str!("../../../xtask/src/bench/runc-without-rlimits.sh"),
    r#"END
chmod +x "$W/runtime"
printf '[containers]\nlog_driver = "k8s-file"\n[engine]\nruntime = "%s"\nevents_logger = "none"\n' "$W/runtime" >"$W/containers.conf"
export CONTAINERS_CONF="$W/containers.conf"
cat >"$W/pod.yaml" <<'END'
apiVersion: v1
kind: Pod
metadata: {name: shop}
spec:
  containers:
  - {name: web, image: docker.io/library/busybox:latest, imagePullPolicy: IfNotPresent, command: [sleep, "1000"]}
END
end() { podman pod rm --force --time 0 shop; podman rm --force --time 0 happy; } >/dev/null 2>&1
trap end EXIT
{ podman load --quiet --input "$IMAGE" && podman run --detach --name happy --network none busybox sleep 1000 &&
    podman play kube --network none "$W/pod.yaml"; } >"$W/output-podman" 2>&1 || { cat "$W/output-podman" >&2; exit 8; }
for one in happy shop-web; do names "pid:$(podman inspect --format '{{.State.Pid}}' $one)"; done
names shop/web
"#
);

/// Without crictl there is no pod sandbox: the annotations and the cgroup are given as containerd's CRI plugin gives them.
const CONTAINERD: &str = r#"own /var/lib/containerd /run/containerd
containerd --config /dev/null >"$W/output-containerd" 2>&1 &
DAEMON=$!
POD_UID=11f0ca05-7d0c-4bd6-9b0f-8d5b7c9a3e21
GROUP=/rhizome-test-$$/kubepods/pod$POD_UID
# Ids as long as containerd's CRI plugin makes them.
MAIN=$(printf %064x $$) PLAIN=$(printf %064x 1$$)
end() {
    for id in $MAIN $PLAIN; do
        ctr -n k8s.io tasks kill -s 9 $id
        for try in $(seq 100); do ctr -n k8s.io tasks rm $id && break; sleep 0.1; done
        ctr -n k8s.io containers rm $id
    done
    kill $DAEMON; wait $DAEMON
    find /sys/fs/cgroup -depth -type d -path "*/rhizome-test-$$*" -exec rmdir {} +
} >/dev/null 2>&1
trap end EXIT
for try in $(seq 300); do ctr version >/dev/null 2>&1 && break; sleep 0.1; done
ctr -n k8s.io images import "$IMAGE" >"$W/output-import" 2>&1 || { cat "$W/output-import" "$W/output-containerd" >&2; exit 8; }
cri() { for it in container-type=container container-name=main sandbox-name=billing sandbox-namespace=shop sandbox-uid=$POD_UID; do
    echo --annotation io.kubernetes.cri.$it; done; }
{ ctr -n k8s.io run --detach --cgroup $GROUP/$MAIN $(cri) docker.io/library/busybox:latest $MAIN sleep 1000 &&
    ctr -n k8s.io run --detach --cgroup /rhizome-test-$$/k8s.io/$PLAIN docker.io/library/busybox:latest $PLAIN sleep 1000; } \
    >"$W/output-run" 2>&1 || { cat "$W/output-run" >&2; exit 8; }
pid() { ctr -n k8s.io tasks ls | awk -v id=$1 '$1 == id {print $2}'; }
names "pid:$(pid $MAIN)"
"$RHIZOME" --root "$W/rhizome" mounts "pid:$(pid $PLAIN)" --no-headers -o wide 2>/dev/null | head -n 1 | sed "s/^$(echo $PLAIN | cut -c 1-12).*/its id/"
names --namespace shop billing/main
"#;

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// What the script printed; none if the runtime cannot run here, which is said.
fn run(name: &str, programs: &[&str], script: &str) -> Option<String> {
    if !is_root(name) {
        return None;
    }
    if let Some(missing) = programs.iter().find(|program| !is_installed(program)) {
        skipped(name, &format!("{missing} is not installed"));
        return None;
    }
    let image: PathBuf = images(name)?.join("busybox.tar");
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c"]);
    command.arg(format!("{OWN_FOLDERS}{script}")).arg("sh").arg(folder.path()).arg(image);
    let output = command.arg(env!("CARGO_BIN_EXE_rhizome")).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(8) {
        let last = said.lines().last().unwrap_or_default();
        skipped(name, &format!("{} starts no container on this machine: {last}", programs[0]));
        return None;
    }
    assert!(output.status.success(), "{:?}: {said}", output.status);
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn podman_containers_and_pods_are_named() {
    let name = "podman_containers_and_pods_are_named";
    let Some(names) = run(name, &["podman", "runc"], PODMAN) else { return };
    assert_eq!(names, "happy\nshop/web\nshop/web\n");
}

#[test]
fn containerd_containers_and_pods_are_named() {
    let name = "containerd_containers_and_pods_are_named";
    let Some(names) = run(name, &["containerd", "ctr", "runc"], CONTAINERD) else { return };
    assert_eq!(names, "billing/main\nits id\nbilling/main\n");
}
