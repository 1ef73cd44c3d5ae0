//! A host to test mounts on: a mount namespace of its own with a shared tmpfs, and "containers" that are real mount
//! namespaces, made by the builder, without a program in them.

// Each test program uses a part of it.
#![allow(dead_code)]

use manifest::cri::{ContainerConfig, Mount, MountPropagation};
use mount_table::MountTable;
use runtime::mounts::{CgroupView, MountError, MountRequest, Prepared, Verdict, prepare};
use rustix::fd::AsFd;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::Pid;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use sys::namespace::Namespaces;
use sys::process::{Child, exit, spawn};

/// Where each world's host is.
const BASE: &str = "/tmp";

/// A named case.
pub(crate) type Case = (&'static str, fn(&World));

/// Runs the cases that the arguments name (all, if none), each in a process and mount namespace of its own; prints
/// the closing line and ends this process.
pub(crate) fn run(cases: &[Case]) -> ! {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let before = mounts();
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in cases {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let ok = run_apart(*case);
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        if ok { passed += 1 } else { failed += 1 }
    }
    assert_eq!(before, mounts(), "the machine's own mounts changed");
    println!("{passed} passed, {failed} failed");
    std::process::exit(i32::from(failed > 0));
}

/// The machine's own mounts where the worlds are. Elsewhere others may mount things meanwhile.
fn mounts() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let at_base = |line: &&str| line.split(' ').nth(4).is_some_and(|at| at == BASE);
    table.lines().filter(at_base).map(str::to_owned).collect()
}

/// Runs a case in a child, in a mount namespace of its own; true if it did not panic.
fn run_apart(case: fn(&World)) -> bool {
    let child = spawn(Namespaces::MOUNT, None, || {
        let world = World::new();
        case(&world);
        exit(0)
    })
    .expect("spawn");
    wait(&child) == 0
}

pub(crate) fn wait(child: &Child) -> i32 {
    let status = rustix::process::waitpid(Some(child.pid), rustix::process::WaitOptions::empty());
    status.expect("waitpid").and_then(|(_, status)| status.exit_status()).unwrap_or(-1)
}

/// A host: a shared tmpfs with the volume's directory, an image and a container's state in it.
pub(crate) struct World {
    base: PathBuf,
}

impl World {
    pub(crate) fn new() -> World {
        let none: Option<&std::ffi::CStr> = None;
        rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .expect("private");
        let base = PathBuf::from(BASE);
        rustix::mount::mount("tmpfs", &base, "tmpfs", MountFlags::empty(), none).expect("tmpfs");
        rustix::mount::mount_change(&base, MountPropagationFlags::SHARED).expect("shared");
        let world = World { base };
        for dir in ["vol/a", "vol/b", "other", "image/var", "image/run", "image/etc", "c", "staging", "deep"]
        {
            std::fs::create_dir_all(world.path(dir)).expect("mkdir");
        }
        std::os::unix::fs::symlink("/run", world.path("image/var/run")).expect("symlink");
        std::fs::write(world.path("file"), "file\n").expect("write");
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// Mounts a tmpfs on the host.
    pub(crate) fn mount(&self, name: &str) {
        std::fs::create_dir_all(self.path(name)).expect("mkdir");
        mount_tmpfs(&self.path(name)).expect("mount");
    }

    pub(crate) fn unmount(&self, name: &str) {
        rustix::mount::unmount(self.path(name), UnmountFlags::empty()).expect("umount");
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        table("/proc/self/mountinfo").mounts.iter().any(|mount| mount.mount_point == self.path(name))
    }

    /// Number of mounts on this host's own file system: the rest of the table is a copy of the machine's, from which a
    /// mount goes when somebody there removes its directory.
    pub(crate) fn count(&self) -> usize {
        let table = table("/proc/self/mountinfo");
        table.mounts.iter().filter(|mount| mount.mount_point.starts_with(&self.base)).count()
    }

    pub(crate) fn plan(&self, config: &ContainerConfig) -> Result<Prepared, MountError> {
        let layers = [self.path("image")];
        prepare(&MountRequest {
            layers: &layers,
            writable: &self.path("c"),
            staging: &self.path("staging"),
            config,
            shm: None,
            cgroup: &CgroupView::None,
            users: None,
            file_label: None,
        })
    }

    pub(crate) fn start(&self, config: &ContainerConfig) -> Container {
        let prepared = self.plan(config).unwrap_or_else(|error| panic!("prepare: {error}"));
        let container = Container::start(&prepared);
        assert_eq!(prepared.verify(container.child.pid).expect("verify"), Verdict::AsPlanned);
        container
    }

    /// One volume `vol` at `/data`.
    pub(crate) fn start_with(&self, propagation: MountPropagation) -> Container {
        self.start(&config(vec![self.volume("vol", "/data", propagation)]))
    }

    pub(crate) fn volume(&self, source: &str, at: &str, propagation: MountPropagation) -> Mount {
        Mount {
            container_path: PathBuf::from(at),
            host_path: self.path(source),
            propagation,
            volume: Some(source.to_owned()),
            ..Mount::default()
        }
    }
}

pub(crate) fn config(mounts: Vec<Mount>) -> ContainerConfig {
    ContainerConfig {
        name: "main".to_owned(),
        image: "test".to_owned(),
        mounts,
        ..ContainerConfig::default()
    }
}

pub(crate) fn mount_tmpfs(path: &Path) -> rustix::io::Result<()> {
    let none: Option<&std::ffi::CStr> = None;
    rustix::mount::mount("tmpfs", path, "tmpfs", MountFlags::empty(), none)
}

pub(crate) fn table(path: &str) -> MountTable {
    MountTable::parse_mountinfo(&std::fs::read(path).expect("mountinfo")).expect("parse")
}

/// A mount namespace as the builder leaves it, kept by a process that waits.
pub(crate) struct Container {
    pub(crate) child: Child,
}

impl Container {
    pub(crate) fn start(prepared: &Prepared) -> Container {
        Container::start_with(|| match prepared.build() {
            Ok(()) => true,
            Err(error) => {
                eprintln!("build: {error}: {:?}", std::error::Error::source(&error).map(ToString::to_string));
                false
            }
        })
    }

    pub(crate) fn start_with(build: impl FnOnce() -> bool) -> Container {
        let (ready_read, ready_write) = rustix::pipe::pipe().expect("pipe");
        let child = spawn(Namespaces::empty(), None, || -> Infallible {
            if !build() {
                exit(1);
            }
            rustix::io::write(&ready_write, b"r").expect("write");
            // Until it is killed.
            loop {
                let _ = rustix::event::poll(&mut [], None);
            }
        })
        .expect("spawn");
        drop(ready_write);
        let mut byte = [0];
        assert_eq!(rustix::io::read(&ready_read, &mut byte).expect("read"), 1, "the container was not built");
        Container { child }
    }

    pub(crate) fn table(&self) -> MountTable {
        table(&format!("/proc/{}/mountinfo", self.child.pid.as_raw_nonzero()))
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.table().mounts.iter().any(|mount| mount.mount_point == Path::new(path))
    }

    pub(crate) fn propagation(&self, path: &str) -> mount_table::Propagation {
        self.table().topmost_at(Path::new(path)).unwrap_or_else(|| panic!("{path} is no mount")).propagation
    }

    /// Runs `f` inside; true if it succeeded.
    pub(crate) fn inside(&self, f: impl FnOnce() -> bool) -> bool {
        inside(self.child.pid, f)
    }

    pub(crate) fn mount(&self, path: &str) {
        let done =
            self.inside(|| std::fs::create_dir_all(path).is_ok() && mount_tmpfs(Path::new(path)).is_ok());
        assert!(done, "mount {path} inside");
    }

    pub(crate) fn unmount(&self, path: &str) -> bool {
        self.inside(|| rustix::mount::unmount(path, UnmountFlags::empty()).is_ok())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = sys::process::send_signal(self.child.pidfd.as_fd(), 9);
        wait(&self.child);
    }
}

/// Runs `f` in the mount namespace of a process; true if it succeeded.
pub(crate) fn inside(pid: Pid, f: impl FnOnce() -> bool) -> bool {
    let child = spawn(Namespaces::empty(), None, || {
        let namespace = sys::namespace::open_of(pid, "mnt").expect("namespace");
        sys::namespace::enter(namespace.as_fd()).expect("setns");
        exit(i32::from(!f()))
    })
    .expect("spawn");
    wait(&child) == 0
}
