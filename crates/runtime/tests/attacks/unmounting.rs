//! Containers with `CAP_SYS_ADMIN` against the mounts that they have and that the host has.

use crate::support::{World, finish, shell};
use manifest::cri::{ContainerConfig, LinuxContainerSecurityContext, Mount, MountPropagation};
use rustix::mount::{MountFlags, MountPropagationFlags};
use std::path::{Path, PathBuf};

fn privileged(script: &str, mounts: Vec<Mount>) -> ContainerConfig {
    let security_context =
        LinuxContainerSecurityContext { privileged: true, ..LinuxContainerSecurityContext::default() };
    ContainerConfig { security_context, mounts, ..shell(script) }
}

/// Unmounts whatever can be unmounted, in every way, last mounted first, a few times over.
const UNMOUNT_ALL: &str = "for turn in 1 2 3; do \
    tac /proc/self/mountinfo > /tmp/list; \
    while read -r id parent dev root at rest; do \
    umount $at 2>/dev/null; umount -l $at 2>/dev/null; done < /tmp/list; done; echo done";

/// A shared tmpfs of the host with two mounts below it, one of which holds another.
fn shared_volume(world: &World) -> PathBuf {
    let volume = world.base.join("volume");
    tmpfs(&volume);
    rustix::mount::mount_change(&volume, MountPropagationFlags::SHARED).expect("shared");
    for below in ["a", "a/deep", "b"] {
        tmpfs(&volume.join(below));
        std::fs::write(volume.join(below).join("data"), "data").expect("write");
    }
    volume
}

fn tmpfs(at: &Path) {
    let none: Option<&std::ffi::CStr> = None;
    std::fs::create_dir_all(at).expect("mkdir");
    rustix::mount::mount("tmpfs", at, "tmpfs", MountFlags::empty(), none).expect("tmpfs");
}

/// The host's mount points below a path.
fn points(below: &Path) -> Vec<PathBuf> {
    let bytes = std::fs::read("/proc/self/mountinfo").expect("mountinfo");
    let table = mount_table::MountTable::parse_mountinfo(&bytes).expect("parse");
    table.mounts.iter().map(|mount| mount.mount_point.clone()).filter(|at| at.starts_with(below)).collect()
}

fn volume(at: &str, source: &Path, propagation: MountPropagation) -> Mount {
    Mount { container_path: at.into(), host_path: source.to_owned(), propagation, ..Mount::default() }
}

fn clear(volume: &Path) {
    runtime::mounts::detach_tree(volume).expect("detach");
}

/// Nothing of the host's goes, and a neighbour with the same volume keeps all of it.
pub(crate) fn everything(world: &World) {
    let source = shared_volume(world);
    let pod = world.usual_pod();
    let mut neighbour = world.start(
        &pod,
        &privileged("sleep 1000", vec![volume("/data", &source, MountPropagation::HostToContainer)]),
    );
    let before = points(Path::new("/"));
    for propagation in [MountPropagation::Private, MountPropagation::HostToContainer] {
        for _ in 0..5 {
            let config = privileged(UNMOUNT_ALL, vec![volume("/data", &source, propagation)]);
            let outcome = world.run(&pod, &config);
            assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
            assert_eq!(points(Path::new("/")), before, "{propagation:?}");
            let seen =
                world.exec(&neighbour.id, &["cat", "/data/a/data", "/data/a/deep/data", "/data/b/data"]);
            assert_eq!(seen, (0, "datadatadata".to_owned()));
        }
    }
    runtime::kill(&world.dirs, &neighbour.id, runtime::signal::KILL, true).expect("kill");
    neighbour.wait().expect("wait");
    clear(&source);
    world.remove(pod);
}

/// A Bidirectional volume goes both ways, unmounts too: the mounts below the volume are the container's to take, and
/// nothing else.
pub(crate) fn bidirectional(world: &World) {
    for _ in 0..5 {
        let source = shared_volume(world);
        let other = world.base.join("other");
        tmpfs(&other);
        let pod = world.usual_pod();
        let before = points(Path::new("/"));
        let mounts = vec![
            volume("/data", &source, MountPropagation::Bidirectional),
            volume("/other", &other, MountPropagation::Private),
        ];
        let outcome = world.run(&pod, &privileged(UNMOUNT_ALL, mounts));
        assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
        let below = ["a", "a/deep", "b"].map(|name| source.join(name));
        let kept: Vec<PathBuf> = before.into_iter().filter(|at| !below.contains(at)).collect();
        assert_eq!(points(Path::new("/")), kept);
        clear(&other);
        clear(&source);
        world.remove(pod);
    }
}

/// A container that has the runtime's own folders as a Bidirectional volume mounts over what it finds there: who could
/// be given that volume is trusted, but what it did must be undone by `stop` and `remove`, or be said.
pub(crate) fn over_our_files(world: &World) {
    let run = world.base.join("run");
    tmpfs(&run);
    rustix::mount::mount_change(&run, MountPropagationFlags::SHARED).expect("shared");
    let pod = world.usual_pod();
    let script =
        "for d in /run-of-host/runtime/*/; do mount -t tmpfs x $d && echo $d; done; echo ready; sleep 1000";
    let mut container = world.start(
        &pod,
        &privileged(script, vec![volume("/run-of-host", &run, MountPropagation::Bidirectional)]),
    );
    let runtime::Io::Pipes { stdout, .. } = &container.io else { panic!("a terminal") };
    let mut said = String::new();
    while !said.contains("ready") {
        let mut buffer = [0u8; 4096];
        let count = rustix::io::read(stdout, &mut buffer).expect("read");
        assert!(count > 0, "{said}");
        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert!(said.contains(&container.id), "{said}");
    // Its record is covered: it is "not found", and no lie.
    assert!(matches!(runtime::status(&world.dirs, &container.id), Err(runtime::Error::NotFound { .. })));
    // Whoever holds it still can end it.
    sys::process::send_signal(rustix::fd::AsFd::as_fd(&container.pidfd), runtime::signal::KILL)
        .expect("kill");
    assert_eq!(finish(&mut container).exit.code, Some(137));
    let covered = points(&world.dirs.state);
    assert!(covered.len() >= 2, "{covered:?}");
    for at in covered.iter().rev().filter(|at| !at.ends_with("shm")) {
        runtime::mounts::detach_bind(at).expect("detach");
    }
    runtime::remove_container(&world.dirs, &container.id).expect("remove");
    pod.remove().expect("remove");
    clear(&run);
    world.check_nothing_left();
}
