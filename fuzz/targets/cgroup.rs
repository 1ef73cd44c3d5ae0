//! `/proc/PID/cgroup`: a container that may make cgroups gives them any name.

use observe::node::parse_cgroup;

/// Words of cgroup paths.
pub(crate) const WORDS: &[&str] = &[
    "0::/",
    "\n1:name=systemd:/",
    "9:memory:",
    "\n",
    ":",
    "/",
    "kubepods.slice",
    "kubepods-burstable-pod",
    ".slice",
    "pod",
    "cri-containerd-",
    "crio-",
    "crio-conmon-",
    "docker-",
    "docker/",
    "libpod-",
    ".scope",
    "machine-",
    "systemd-nspawn@",
    ".service",
    "user@1000.service",
    "lxc.payload.",
    "rhizome/",
    "0123456789abcdef0123456789abcdef",
    "..",
];

/// What is told of a container can be a part of a path and of a terminal's line; a service has a service's name.
pub(crate) fn run(bytes: &[u8]) {
    let membership = parse_cgroup(bytes);
    if let Some(container) = membership.container {
        assert!(!container.id.is_empty() && !container.id.contains(['/', '\n', '\0']), "{container:?}");
        let uid = container.pod.and_then(|pod| pod.uid);
        assert!(uid.is_none_or(|uid| uid.len() >= 32 && !uid.contains('/')));
        assert!(membership.service.is_none());
    }
    if let Some(service) = membership.service {
        assert!(service.ends_with(".service") && !service.contains('/'), "{service:?}");
    }
}
