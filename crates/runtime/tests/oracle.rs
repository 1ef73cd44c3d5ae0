//! runc as the oracle for who sees what: the same volume in the same mode, once in a container of ours and once in one
//! of runc's (with a bundle as containerd writes it), the same questions, and the answers must be the same.
//!
//! Peer ids and the propagation of the containers' own roots are not compared: runc leaves its root shared where a
//! volume is Bidirectional, ours is always private.

mod node;

use MountPropagation::{Bidirectional, HostToContainer, Private};
use manifest::cri::MountPropagation;
use node::{Case, Container, World, inside, mount_tmpfs, table};
use rustix::mount::UnmountFlags;
use rustix::process::Pid;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn main() {
    let missing: Vec<&str> = ["runc", "busybox"].into_iter().filter(|name| find(name).is_none()).collect();
    if !missing.is_empty() {
        println!("SKIPPED: oracle: not installed: {}", missing.join(", "));
        println!("0 passed, 0 failed, {} skipped", CASES.len());
        return;
    }
    node::run(CASES)
}

const CASES: &[Case] = &[
    ("none_is_as_with_runc", |world| same_answers(world, Private)),
    ("host_to_container_is_as_with_runc", |world| same_answers(world, HostToContainer)),
    ("bidirectional_is_as_with_runc", |world| same_answers(world, Bidirectional)),
];

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let extra = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(extra).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Something that runs with `vol` at `/data`.
trait Running {
    fn pid(&self) -> Pid;
}

impl Running for Container {
    fn pid(&self) -> Pid {
        self.child.pid
    }
}

/// A container of runc's, removed when dropped.
struct Runc {
    pid: Pid,
    id: String,
    state: PathBuf,
}

impl Running for Runc {
    fn pid(&self) -> Pid {
        self.pid
    }
}

impl Runc {
    fn start(world: &World, mode: MountPropagation) -> Runc {
        // On a file system of its own: runc makes the mount that carries the root file system private in its copy of
        // the namespace, and with it a volume that comes from the same mount.
        world.mount("runc");
        let bundle = world.path("runc");
        let rootfs = bundle.join("rootfs");
        for dir in ["bin", "proc", "data"] {
            std::fs::create_dir_all(rootfs.join(dir)).expect("mkdir");
        }
        std::fs::copy(find("busybox").expect("busybox"), rootfs.join("bin/busybox")).expect("copy");
        std::fs::write(bundle.join("config.json"), bundle_config(world, mode, &rootfs)).expect("write");
        let (state, pid_file) = (bundle.join("state"), bundle.join("pid"));
        let id = format!("rhizome-oracle-{}", std::process::id());
        let status = Command::new(find("runc").expect("runc"))
            .arg("--root")
            .arg(&state)
            .args(["run", "--detach", "--bundle"])
            .arg(&bundle)
            .arg("--pid-file")
            .arg(&pid_file)
            .arg(&id)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .expect("runc");
        assert!(status.success(), "runc run: {status}");
        let pid = std::fs::read_to_string(&pid_file).expect("pid").trim().parse().expect("pid");
        Runc { pid: Pid::from_raw(pid).expect("pid"), id, state }
    }
}

impl Drop for Runc {
    fn drop(&mut self) {
        let runc = find("runc").expect("runc");
        let status = Command::new(runc)
            .arg("--root")
            .arg(&self.state)
            .args(["delete", "--force"])
            .arg(&self.id)
            .status();
        assert!(status.is_ok_and(|status| status.success()), "runc delete");
    }
}

/// What containerd writes, as far as mounts go.
fn bundle_config(world: &World, mode: MountPropagation, rootfs: &Path) -> String {
    let (option, root) = match mode {
        Private => ("rprivate", ""),
        HostToContainer => ("rslave", r#""rootfsPropagation":"rslave","#),
        Bidirectional => ("rshared", r#""rootfsPropagation":"rshared","#),
    };
    let (source, rootfs) = (world.path("vol"), rootfs.display());
    format!(
        r#"{{"ociVersion":"1.0.2","root":{{"path":"{rootfs}"}},
"process":{{"user":{{"uid":0,"gid":0}},"args":["/bin/busybox","sleep","1000"],"env":[],"cwd":"/"}},
"mounts":[{{"destination":"/proc","type":"proc","source":"proc"}},
{{"destination":"/data","type":"bind","source":"{}","options":["rbind","{option}"]}}],
"linux":{{{root}"cgroupsPath":"/rhizome-oracle-{}","namespaces":[{{"type":"mount"}},{{"type":"pid"}}]}}}}"#,
        source.display(),
        std::process::id()
    )
}

/// The questions of the measured matrix, and their answers.
type Answers = Vec<(&'static str, bool)>;

fn same_answers(world: &World, mode: MountPropagation) {
    let ours = answers(world, |world| world.start_with(mode));
    let theirs = answers(world, |world| Runc::start(world, mode));
    assert_eq!(ours, theirs, "{mode:?}: ours, and runc's");
    assert!(ours.iter().any(|(_, answer)| *answer), "{ours:?}");
}

fn answers<R: Running>(world: &World, start: impl Fn(&World) -> R) -> Answers {
    let mut answers = Answers::new();
    world.mount("vol/pre");
    let container = start(world);
    let pid = container.pid();
    let seen = |path: &str| {
        let table = table(&format!("/proc/{}/mountinfo", pid.as_raw_nonzero()));
        table.mounts.iter().any(|mount| mount.mount_point == Path::new(path))
    };
    let mount_inside = |path: &str| {
        inside(pid, || std::fs::create_dir_all(path).is_ok() && mount_tmpfs(Path::new(path)).is_ok())
    };
    let unmount_inside =
        |path: &str| inside(pid, || rustix::mount::unmount(path, UnmountFlags::empty()).is_ok());

    answers.push(("what was there at the start is inside", seen("/data/pre")));
    world.mount("vol/late");
    answers.push(("a later mount of the host is inside", seen("/data/late")));
    world.mount("vol/pre/late");
    answers.push(("and one below the earlier", seen("/data/pre/late")));
    assert!(mount_inside("/data/own") && mount_inside("/data/pre/own"));
    answers.push(("the container's mount is on the host", world.has("vol/own")));
    answers.push(("and one below the earlier", world.has("vol/pre/own")));
    answers.push(("the container can unmount the host's", unmount_inside("/data/late")));
    answers.push(("and the host loses it", !world.has("vol/late")));
    world.mount("vol/gone");
    world.unmount("vol/gone");
    answers.push(("what the host unmounts is gone inside", !seen("/data/gone")));
    drop(container);
    answers.push(("the container's mount outlives it", world.has("vol/own")));
    for name in ["vol/pre/own", "vol/pre/late", "vol/pre", "vol/own", "vol/late"] {
        if world.has(name) {
            world.unmount(name);
        }
    }
    answers
}
