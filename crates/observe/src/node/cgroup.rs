//! From `/proc/PID/cgroup` to a container: the paths that runtimes give their cgroups.
//!
//! Nobody promises these names, but everybody keeps to them: monitoring tools depend on them. Kubernetes' part is
//! `pkg/kubelet/cm/cgroup_manager_linux.go` (both drivers); the last part is the CRI runtime's own.

use mount_table::node::{Container, Pod, Runtime};

/// What a cgroup tells about its processes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    /// The innermost container.
    pub container: Option<Container>,
    /// The innermost service of systemd, where no container is.
    pub service: Option<String>,
}

/// The longest path that is looked at, in parts: the kernel's limit is 4,096 bytes.
const MAX_PARTS: usize = 256;

/// Reads a `/proc/PID/cgroup`, cgroups(7): of version 2, of version 1, or of both. The hierarchies are asked in the
/// order in which runtimes and systemd are to be believed: version 2, systemd's own, the others. A path without any
/// known shape says nothing; no text is an error.
pub fn parse_cgroup(bytes: &[u8]) -> Membership {
    let mut lines: Vec<(u8, &str)> = bytes
        .split(|&byte| byte == b'\n')
        // No name that the kernel tells has a zero byte.
        .filter(|line| !line.contains(&0))
        .filter_map(|line| {
            let mut fields = std::str::from_utf8(line).ok()?.splitn(3, ':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let rank = match controllers {
                "" => 0,
                "name=systemd" => 1,
                _ => 2,
            };
            Some((rank, path))
        })
        .collect();
    lines.sort_by_key(|(rank, _)| *rank);
    let found = lines.iter().find_map(|(_, path)| container_of(path));
    let service = || lines.iter().find_map(|(_, path)| service_of(path));
    match found {
        Some(container) => Membership { container: Some(container), service: None },
        None => Membership { container: None, service: service() },
    }
}

/// The innermost container on a path, and the innermost pod at or above it.
fn container_of(path: &str) -> Option<Container> {
    let mut pod: Option<String> = None;
    let mut found: Option<Container> = None;
    let mut before: [&str; 2] = ["", ""];
    let mut is_ours = false;
    // A driver that was told the wrong kind of path leaves `SLICE:PREFIX:ID` as one name.
    for part in path.split(['/', ':']).filter(|part| !part.is_empty()).take(MAX_PARTS) {
        if let Some(uid) = pod_uid(part) {
            pod = Some(uid);
            // `/rhizome/HASH/podUID/ID`
            is_ours = before[0] == "rhizome";
            // A pod in a container is not that container's: what follows is the inner node's.
            found = None;
        } else if let Some((runtime, id)) = container_id(part, before, pod.is_some()) {
            let pod = pod.as_ref().map(|uid| Pod { uid: Some(uid.clone()), ..Pod::default() });
            let runtime = runtime.or(is_ours.then_some(Runtime::Rhizome));
            found = Some(Container { runtime, id: id.to_owned(), name: None, pod });
        }
        before = [before[1], part];
    }
    found
}

/// The uid in `podUID` (cgroupfs) or `kubepods-burstable-podUID.slice`, where dashes of the uid are underscores
/// (systemd).
fn pod_uid(part: &str) -> Option<String> {
    let (text, by_systemd) = match part.strip_suffix(".slice") {
        Some(slice) => (slice.rsplit_once('-')?.1, true),
        None => (part, false),
    };
    let uid = text.strip_prefix("pod")?;
    // An API server's uid is a UUID; a static pod's is the MD5 of its manifest.
    let is_uid = uid.len() >= 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || b"-_".contains(&byte));
    is_uid.then(|| if by_systemd { uid.replace('_', "-") } else { uid.to_owned() })
}

/// Who names its scopes how. `conmon` and `monitor` stand beside the container, not in it.
const SCOPES: [(&str, Option<Runtime>); 9] = [
    ("libpod-conmon-", None),
    ("crio-conmon-", None),
    ("cri-containerd-", Some(Runtime::Containerd)),
    ("nerdctl-", Some(Runtime::Containerd)),
    ("crio-", Some(Runtime::CriO)),
    ("docker-", Some(Runtime::Docker)),
    ("libpod-payload-", Some(Runtime::Podman)),
    ("libpod-", Some(Runtime::Podman)),
    ("lxc.payload.", Some(Runtime::Lxc)),
];

/// The id in one part of a path, given the two before it and whether it is below a pod.
fn container_id<'a>(part: &'a str, before: [&str; 2], in_pod: bool) -> Option<(Option<Runtime>, &'a str)> {
    let name = part.strip_suffix(".scope").unwrap_or(part);
    if let Some((prefix, runtime)) = SCOPES.iter().find(|(prefix, _)| name.starts_with(prefix)) {
        let id = &name[prefix.len()..];
        let is_named = *runtime == Some(Runtime::Lxc) && !id.is_empty();
        return (runtime.is_some() && (is_named || is_hex(id))).then_some((*runtime, id));
    }
    if let Some(name) = name.strip_prefix("machine-")
        && part.ends_with(".scope")
        && !name.is_empty()
    {
        return Some((Some(Runtime::Machine), name));
    }
    let nspawn = part.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service"));
    if let Some(name) = nspawn.filter(|name| !name.is_empty()) {
        return Some((Some(Runtime::Machine), name));
    }
    let runtime = match before {
        [_, "docker"] => Some(Runtime::Docker),
        [_, "lxc"] => return Some((Some(Runtime::Lxc), part)),
        [_, "crio"] => Some(Runtime::CriO),
        [_, "k8s.io" | "cri-containerd"] => Some(Runtime::Containerd),
        _ if in_pod => None,
        _ => return None,
    };
    is_hex(part).then_some((runtime, part))
}

/// An id as runtimes make them: long, of hexadecimal digits (rhizome's have 32, the others' 64).
fn is_hex(text: &str) -> bool {
    text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The innermost unit `NAME.service` on a path; a user's manager is none: everything that the user runs is below it.
fn service_of(path: &str) -> Option<String> {
    let is_service = |part: &&str| part.ends_with(".service") && !part.starts_with("user@");
    path.split('/').rev().take(MAX_PARTS).find(is_service).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const INNER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
    const UID: &str = "11f0ca05-7d0c-4bd6-9b0f-8d5b7c9a3e21";

    /// What is found, in words: `RUNTIME ID-NAME POD`.
    fn words(path: &str) -> String {
        let found = parse_cgroup(format!("0::{path}\n").as_bytes());
        if let Some(service) = found.service {
            return format!("service {service}");
        }
        let Some(Container { runtime, id, name: None, pod }) = found.container else {
            return "-".to_owned();
        };
        let runtime = runtime.map_or("?".to_owned(), |runtime| runtime.to_string());
        let id = if id == ID { "ID".to_owned() } else { id.replace(INNER, "INNER") };
        let pod = pod.and_then(|pod| pod.uid).map_or(String::new(), |uid| format!(" in {uid}"));
        format!("{runtime} {id}{}", pod.replace(UID, "UID"))
    }

    #[test]
    fn containers_of_every_runtime_and_driver() {
        let slice = UID.replace('-', "_");
        let cases = [
            // Kubernetes, cgroupfs driver
            (format!("/kubepods/besteffort/pod{UID}/{ID}"), "? ID in UID"),
            (format!("/kubepods/burstable/pod{UID}/{ID}"), "? ID in UID"),
            (format!("/kubepods/pod{UID}/{ID}"), "? ID in UID"),
            (format!("/kubepods/pod{UID}/crio-{ID}"), "cri-o ID in UID"),
            (format!("/kubepods/pod{UID}/{ID}/system.slice/x.service"), "? ID in UID"),
            (
                "/kubepods/pod2f9c25aa3b1d0c1c2a5d1e4f5b6a7c8d".to_owned() + "/" + ID,
                "? ID in 2f9c25aa3b1d0c1c2a5d1e4f5b6a7c8d",
            ),
            // Kubernetes, systemd driver
            (
                format!(
                    "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{slice}.slice/cri-containerd-{ID}.scope"
                ),
                "containerd ID in UID",
            ),
            (format!("/kubepods.slice/kubepods-pod{slice}.slice/crio-{ID}.scope"), "cri-o ID in UID"),
            (
                format!("/kubepods.slice/kubepods-pod{slice}.slice/crio-{ID}.scope/container"),
                "cri-o ID in UID",
            ),
            (format!("/kubepods.slice/kubepods-pod{slice}.slice/docker-{ID}.scope"), "docker ID in UID"),
            (format!("/kubepods.slice/kubepods-pod{slice}.slice/crio-conmon-{ID}.scope"), "-"),
            // one driver given the other's path
            (
                format!(
                    "/system.slice/containerd.service/kubepods-burstable-pod{slice}.slice:cri-containerd:{ID}"
                ),
                "containerd ID in UID",
            ),
            // kind: a node in a container
            (
                format!(
                    "/docker/{INNER}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{slice}.slice/cri-containerd-{ID}.scope"
                ),
                "containerd ID in UID",
            ),
            (format!("/docker/{INNER}/init.scope"), "docker INNER"),
            (format!("/system.slice/docker-{ID}.scope/system.slice/sshd.service"), "docker ID"),
            (format!("/docker/{INNER}/docker/{ID}"), "docker ID"),
            // without Kubernetes
            (format!("/docker/{ID}"), "docker ID"),
            (format!("/system.slice/docker-{ID}.scope"), "docker ID"),
            (format!("/machine.slice/libpod-{ID}.scope/container"), "podman ID"),
            (format!("/machine.slice/libpod-payload-{ID}"), "podman ID"),
            (format!("/machine.slice/libpod-conmon-{ID}.scope"), "-"),
            (format!("/libpod_parent/libpod-{ID}"), "podman ID"),
            (format!("/machine.slice/machine-libpod_pod_{INNER}.slice/libpod-{ID}.scope"), "podman ID"),
            (
                format!(
                    "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container"
                ),
                "podman ID",
            ),
            (format!("/k8s.io/{ID}"), "containerd ID"),
            (format!("/system.slice/nerdctl-{ID}.scope"), "containerd ID"),
            ("/lxc/web".to_owned(), "lxc web"),
            ("/lxc.payload.web/init.scope".to_owned(), "lxc web"),
            ("/lxc.monitor.web".to_owned(), "-"),
            ("/machine.slice/machine-deb\\x2d12.scope".to_owned(), "machine deb\\x2d12"),
            ("/machine.slice/systemd-nspawn@deb.service/payload".to_owned(), "machine deb"),
            // rhizome
            (
                format!("/rhizome/1a2b3c4d/pod{UID}/0123456789abcdef0123456789abcdef"),
                "rhizome 0123456789abcdef0123456789abcdef in UID",
            ),
            (format!("/rhizome/1a2b3c4d/pod{UID}"), "-"),
            // none
            ("/".to_owned(), "-"),
            ("".to_owned(), "-"),
            ("/init.scope".to_owned(), "-"),
            ("/system.slice/systemd-udevd.service/udev".to_owned(), "service systemd-udevd.service"),
            (
                "/user.slice/user-0.slice/user@0.service/app.slice/app-x.service".to_owned(),
                "service app-x.service",
            ),
            ("/user.slice/user-0.slice/user@0.service/init.scope".to_owned(), "-"),
            ("/user.slice/user-0.slice/session-1.scope".to_owned(), "-"),
            ("/docker/short".to_owned(), "-"),
            ("/kubepods/podnot-a-uid/x".to_owned(), "-"),
            (format!("/{ID}"), "-"),
        ];
        for (path, expected) in &cases {
            assert_eq!(words(path), *expected, "{path}");
        }
    }

    #[test]
    fn the_hierarchy_that_is_to_be_believed() {
        let text = format!("5:memory:/docker/{INNER}\n1:name=systemd:/docker/{ID}\n0::/\n");
        assert_eq!(parse_cgroup(text.as_bytes()).container.unwrap().id, ID);
        let text = format!("5:memory:/process/x\n0::/docker/{INNER}\n1:name=systemd:/docker/{ID}\n");
        assert_eq!(parse_cgroup(text.as_bytes()).container.unwrap().id, INNER);
        let text = format!("9:name=systemd:/\n4:memory:/docker/{ID}\n0::/\n");
        assert_eq!(parse_cgroup(text.as_bytes()).container.unwrap().id, ID);
    }

    #[test]
    fn text_of_any_kind_is_no_error() {
        for bytes in [&b""[..], b"\n", b"::", b"0", b"0:", b"0::", b"0::\xff/docker/x", b"0::a:b:c\n\0"] {
            assert_eq!(parse_cgroup(bytes), Membership::default(), "{bytes:?}");
        }
    }

    /// Anything that a container can name its cgroups.
    #[test]
    fn mutations() {
        let text = format!(
            "0::/kubepods.slice/kubepods-pod{}.slice/cri-containerd-{ID}.scope/x\n1:name=systemd:/docker/{ID}\n",
            UID.replace('-', "_")
        );
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut found = 0;
        for _ in 0..50_000 {
            let mut bytes = text.clone().into_bytes();
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (state >> 33) as usize % bytes.len();
                match state >> 60 {
                    0..5 => bytes[at] = (state >> 24) as u8,
                    5..10 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, b"/:-.\n"[(state >> 20) as usize % 5]),
                }
            }
            if let Some(container) = parse_cgroup(&bytes).container {
                found += 1;
                assert!(!container.id.is_empty() && !container.id.contains('/'), "{container:?}");
            }
        }
        assert!(found > 1_000, "{found}");
    }
}
