//! A machine to try manifests on that name its folders: a root that lies over this machine's as an overlay, in a mount
//! namespace of its own, all shared. Whatever is made in `/etc`, `/var` or `/dev` of it goes with it.
#![allow(dead_code, unreachable_pub, missing_docs)]

use crate::namespace::Namespace;
use crate::support::{Ran, images, is_root, ran, rhizome};
use std::io::Write as _;
use std::process::{Command, Stdio};

/// The machine, as a shell in it.
pub struct Machine {
    shell: Namespace,
    _scratch: tempfile::TempDir,
}

/// Where rhizome has its root there: not on the overlay, since no overlay can be made over another's upper folder.
const ROOT: &str = "/rhizome-root";

impl Machine {
    /// One with busybox in rhizome's store, or the reason why there is none was said.
    pub fn new(name: &str) -> Option<Machine> {
        if !is_root(name) {
            return None;
        }
        let image = images(name)?.join("busybox.tar");
        let scratch = tempfile::tempdir().unwrap();
        let mut shell = Namespace::spawn(Command::new("unshare"), &["--mount", "--propagation", "private"]);
        let at = scratch.path().display();
        let root = format!("{at}/root");
        shell.run(&format!("mount -t tmpfs machine {at} && mkdir {at}/upper {at}/work {root}"));
        shell.run(&format!(
            "mount -t overlay machine -o lowerdir=/,upperdir={at}/upper,workdir={at}/work {root} && mkdir {root}{ROOT} {root}/old-root"
        ));
        // A node has file systems of its own at the last three; what they are makes no difference.
        let mounts = [
            ("tmpfs", ROOT),
            ("proc", "/proc"),
            ("sysfs", "/sys"),
            ("tmpfs", "/dev"),
            ("tmpfs", "/run"),
            ("tmpfs", "/sys/fs/bpf"),
            ("tmpfs", "/sys/kernel/debug"),
            ("tmpfs", "/sys/kernel/security"),
        ];
        for (kind, place) in mounts {
            shell.run(&format!("test ! -d {root}{place} || mount -t {kind} {kind} {root}{place}"));
        }
        let devices = [
            ("null", "1 3"),
            ("zero", "1 5"),
            ("full", "1 7"),
            ("random", "1 8"),
            ("urandom", "1 9"),
            ("tty", "5 0"),
        ];
        for (device, number) in devices {
            shell.run(&format!("mknod -m 666 {root}/dev/{device} c {number}"));
        }
        shell.run(&format!("mkdir {root}/dev/pts {root}/dev/shm && mount -t devpts -o newinstance,ptmxmode=666 devpts {root}/dev/pts"));
        shell.run(&format!(
            "ln -s pts/ptmx {root}/dev/ptmx && mount --rbind /sys/fs/cgroup {root}/sys/fs/cgroup"
        ));
        shell.run(&format!(
            "cd {root} && pivot_root . old-root && cd / && umount -l /old-root && mount --make-rshared /"
        ));
        let machine = Machine { shell, _scratch: scratch };
        let imported =
            machine.rhizome(&["image", "import", image.to_str().unwrap(), "--name", "busybox"], b"");
        assert_eq!((imported.status, imported.stderr.as_str()), (0, ""));
        Some(machine)
    }

    /// A process that sees what the machine has.
    pub fn pid(&self) -> u32 {
        self.shell.pid()
    }

    /// Another shell on it.
    pub fn shell(&self) -> Namespace {
        self.shell.other_shell()
    }

    /// Runs rhizome on it, to its end, with something on standard input.
    pub fn rhizome(&self, args: &[&str], input: &[u8]) -> Ran {
        let program = rhizome(&[]);
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid().to_string(), "--mount", "--"]).arg(program.get_program());
        command.args(["--root", ROOT]).args(args).env_remove("RHIZOME_ROOT").current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may end without reading all of it.
        let _ = child.stdin.take().unwrap().write_all(input);
        ran(child.wait_with_output().unwrap())
    }

    /// What is in a file of rhizome's root.
    pub fn root(&self) -> std::path::PathBuf {
        format!("/proc/{}/root{ROOT}", self.pid()).into()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.rhizome(&["rm", "-fa"], b"");
    }
}
