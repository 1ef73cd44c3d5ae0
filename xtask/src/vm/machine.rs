//! qemu: starts the machine, hands on its lines, and ends it when its time is up.

use super::disk::Disk;
use super::kernel::Kernel;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const QEMU: &str = "qemu-system-x86_64";
/// How long a test program may take, in seconds.
const TEST_LIMIT_S: u64 = 300;
/// How long all of it may take, in seconds.
const LIMIT_S: u64 = 30 * 60;
/// How long the guest may take under KVM to say its first word, in seconds; about two are usual.
const FIRST_LINE_S: u64 = 60;
/// How many times slower everything is without KVM.
const EMULATION_FACTOR: u64 = 8;

/// A machine to be run once.
pub(super) struct Machine<'a> {
    /// Where the kernel's messages are written to.
    pub(super) folder: &'a Path,
    /// What to boot.
    pub(super) kernel: &'a Kernel,
    /// What to boot from.
    pub(super) disk: &'a Disk,
}

/// How a run ended.
pub(super) struct End {
    /// Whether it was ended because its time was up.
    pub(super) timed_out: bool,
    /// How long it ran.
    pub(super) took: Duration,
    /// The file with the kernel's messages.
    pub(super) console: PathBuf,
}

impl Machine<'_> {
    /// Runs it to its end; `line` gets every line that the guest writes. A machine that says nothing at all under
    /// KVM is started again without.
    pub(super) fn run(&self, mut line: impl FnMut(&str)) -> Result<End> {
        if has_kvm() {
            let first = Some(Duration::from_secs(FIRST_LINE_S));
            if let Some(end) = self.run_once(true, first, &mut line)? {
                return Ok(end);
            }
            println!(
                "the machine does not start with this KVM; it is emulated, which takes several times longer"
            );
        }
        let end = self.run_once(false, None, &mut line)?;
        end.context("a machine without a limit for its first line ended because of it")
    }

    /// None if nothing was said within `first`.
    fn run_once(
        &self,
        kvm: bool,
        first: Option<Duration>,
        line: &mut impl FnMut(&str),
    ) -> Result<Option<End>> {
        let factor = if kvm { 1 } else { EMULATION_FACTOR };
        let console = self.folder.join("console.log");
        let begin = Instant::now();
        let mut child =
            self.command(kvm, &console, TEST_LIMIT_S * factor).spawn().context("cannot run qemu")?;
        let lines = lines(&mut child).context("qemu has no standard output")?;
        let mut stop = Stop::Ended;
        let mut spoke = first.is_none();
        if let Some(first) = first {
            match lines.recv_timeout(first) {
                Ok(text) => {
                    spoke = true;
                    line(&text);
                }
                Err(_) => stop = Stop::TimeIsUp,
            }
        }
        if spoke {
            stop = hand_on(&lines, begin + Duration::from_secs(LIMIT_S * factor), line);
        }
        if matches!(stop, Stop::TimeIsUp) {
            child.kill().context("cannot end qemu")?;
        }
        child.wait().context("cannot wait for qemu")?;
        let timed_out = matches!(stop, Stop::TimeIsUp);
        Ok(spoke.then(|| End { timed_out, took: begin.elapsed(), console }))
    }

    fn command(&self, kvm: bool, console: &Path, test_limit_s: u64) -> Command {
        // cgroup_no_v1 keeps what reads /proc/cgroups from finding v1; an oops ends the machine, so that it is seen. An
        // emulated machine may have no turn while the kernel counts its timer's ticks, and would take it for broken.
        let append = format!(
            "console=ttyS0 loglevel=4 panic=-1 oops=panic no_timer_check random.trust_cpu=on apparmor=1 \
             cgroup_no_v1=all LIMIT_S={test_limit_s}"
        );
        let mut command = Command::new(QEMU);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        command.args(["-machine", if kvm { "q35,accel=kvm" } else { "q35,accel=tcg" }]);
        command.args(["-cpu", if kvm { "host" } else { "max" }, "-smp", "2", "-m", "3072"]);
        command.arg("-kernel").arg(&self.kernel.image).arg("-initrd").arg(&self.disk.initramfs);
        command.args(["-append", &append]);
        let file = self.disk.image.to_string_lossy().replace(',', ",,");
        command
            .args(["-drive", &format!("file={file},format=raw,if=none,id=root,cache=unsafe,discard=unmap")]);
        command.args(["-device", "virtio-blk-pci,drive=root"]);
        let console = console.to_string_lossy().replace(',', ",,");
        command.args(["-serial", &format!("file:{console}"), "-serial", "stdio"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }
}

/// Whether KVM can be used; says so if not.
fn has_kvm() -> bool {
    let why = match std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        Err(error) => format!("/dev/kvm cannot be used ({error})"),
        // Such a KVM exists in some clouds; it runs only kernels that were built for it.
        Ok(_) if !has_hardware_virtualisation() => "the processor has neither vmx nor svm".to_owned(),
        Ok(_) => return true,
    };
    println!("{why}: the machine is emulated, which takes several times longer");
    false
}

fn has_hardware_virtualisation() -> bool {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = text.lines().find(|line| line.starts_with("flags"));
    flags.is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm"))
}

/// The child's standard output by lines, read by a thread that ends with the child.
fn lines(child: &mut Child) -> Option<Receiver<String>> {
    let mut output = BufReader::new(child.stdout.take()?);
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        while output.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
            let line = String::from_utf8_lossy(&bytes);
            if sender.send(line.trim_end_matches(['\r', '\n']).to_owned()).is_err() {
                break;
            }
            bytes.clear();
        }
    });
    Some(receiver)
}

/// Why no more lines are handed on.
enum Stop {
    Ended,
    TimeIsUp,
}

fn hand_on(lines: &Receiver<String>, deadline: Instant, line: &mut impl FnMut(&str)) -> Stop {
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(text) => line(&text),
            Err(RecvTimeoutError::Disconnected) => return Stop::Ended,
            Err(RecvTimeoutError::Timeout) => return Stop::TimeIsUp,
        }
    }
}
