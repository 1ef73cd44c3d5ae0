//! `rhizome simulate --check`: the script on the running kernel, with the tools of this machine, compared with the
//! model after every line.
//!
//! The world is thrown away afterwards: a process in a mount namespace of its own makes a tmpfs its root, with a
//! `/proc` (which mount(8) reads) and copies of the tools. It is the shell of `host`; each `ns` line makes another such
//! process. The model begins with the same `/proc` and folder.
//!
//! The tools do not tell the errors of their system calls: what is compared is whether a line succeeds, and all tables.

use crate::exit::{Context as _, Failure, Result};
use explain::simulate::{Line, Row, Script, Simulation, Step, rows};
use mount_table::MountTable;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ffi::CStr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use sys::namespace::Namespaces;

/// What came of it.
pub(crate) struct Report {
    /// The kernel's release.
    pub(crate) kernel: String,
    /// Lines that were compared.
    pub(crate) lines: usize,
    /// The first difference, in words; what follows it means nothing.
    pub(crate) difference: Option<String>,
    /// Why the lines after these were not compared.
    pub(crate) stopped: Option<String>,
}

/// Where the tools are in the world.
const TOOLS: &str = "/.rhizome-check";
/// Where the world is made; it is mounted over in the child's namespace only.
const STAGING: &str = "/tmp";
/// What the tools read between their calls.
const MOUNTINFO: &str = "/proc/self/mountinfo";
/// Why a line says nothing of the kernel.
const NO_PROC: &str = "the tools have no /proc any more, which they read";
/// mount(8)'s exit status when it mounted but could not write that down in /run, which the world has not.
const MOUNTED_UNRECORDED: i32 = 16;
/// As long as a tool may compute: mv(1) between mounts copies, and a folder that is bound into itself has no end.
const TOOL_CPU_SECONDS: u64 = 2;
/// What the world's files may take, the tools among them, for the same reason.
const WORLD_SIZE: &CStr = c"size=64m,nr_inodes=20k";
/// What the model's world has beside an empty root.
const PRELUDE: &str = "mkdir /proc /.rhizome-check\nmount -t proc proc /proc";

/// Runs the script and compares.
pub(crate) fn check(script: &Script) -> Result<Report> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::wrong_use("--check makes mount namespaces, for which it must be root"));
    }
    let mut shells = Shells::start(script)?;
    let report = compare(script, &mut shells);
    shells.stop();
    report
}

fn compare(script: &Script, shells: &mut Shells<'_>) -> Result<Report> {
    let mut model = Simulation::default();
    for line in Script::parse(PRELUDE)?.lines() {
        model.step(line);
    }
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut report = Report { kernel, lines: 0, difference: None, stopped: None };
    for (index, line) in script.lines().iter().enumerate() {
        let step = model.step(line);
        let answer = shells.ask(line, index)?;
        if let Some(why) = answer["unable"].as_str() {
            report.stopped = Some(format!("line {}: {why}", line.number));
            return Ok(report);
        }
        if let Some(why) = without_proc(line, &step, &answer, &model) {
            report.stopped = Some(why);
            return Ok(report);
        }
        report.lines += 1;
        report.difference = difference(line, &step, &answer, &model, &shells.pids)?;
        if report.difference.is_some() {
            return Ok(report);
        }
    }
    Ok(report)
}

/// A line that only fails since its tool has no `/proc` to read: what it does then says nothing of the kernel.
fn without_proc(line: &Line, step: &Step, answer: &Value, model: &Simulation) -> Option<String> {
    let failed = answer["succeeded"] != true && step.fault.is_none();
    let (_, table) = model.tables().into_iter().find(|(name, _)| *name == line.namespace)?;
    let gone = failed && !table.mounts.iter().any(|mount| mount.mount_point == Path::new("/proc"));
    gone.then(|| format!("line {}: {NO_PROC}", line.number))
}

fn difference(
    line: &Line,
    step: &Step,
    answer: &Value,
    model: &Simulation,
    pids: &[Pid],
) -> Result<Option<String>> {
    let said = answer["said"].as_str().unwrap_or("").trim();
    let succeeded = answer["succeeded"] == true;
    let what = format!("line {}: {}", line.number, line.text);
    if succeeded != step.fault.is_none() {
        let kernel = if succeeded { "it succeeds".to_owned() } else { format!("it fails ({said})") };
        let model = match &step.fault {
            None => "succeeds".to_owned(),
            Some(fault) => format!("{} ({})", fault.errno, fault.reason),
        };
        return Ok(Some(format!("{what}\n  the kernel: {kernel}\n  the model:  {model}")));
    }
    let mut kernel: Vec<(String, MountTable)> = Vec::new();
    for (name, pid) in model.names().zip(pids) {
        kernel.push((name.to_owned(), observe::read_mounts_of(pid.as_raw_nonzero().get().cast_unsigned())?));
    }
    let (kernel, model) = (comparable(kernel), comparable(model.tables()));
    if kernel == model {
        return Ok(None);
    }
    let mut text = what;
    for ((name, kernel), (_, model)) in kernel.iter().zip(&model).filter(|(kernel, model)| kernel != model) {
        for (title, rows) in [("the kernel", kernel), ("the model", model)] {
            text.push_str(&format!("\n  {name}, {title}:"));
            rows.iter().for_each(|row| text.push_str(&format!("\n    {}", row_text(row))));
        }
    }
    Ok(Some(text))
}

/// Without the types of file systems: the root is a tmpfs here.
fn comparable(mut tables: Vec<(String, MountTable)>) -> Vec<(String, Vec<Row>)> {
    for mount in tables.iter_mut().flat_map(|(_, table)| &mut table.mounts) {
        mount.fs_type = "fs".to_owned();
    }
    rows(&tables)
}

fn row_text(row: &Row) -> String {
    let groups = row.propagation;
    let named = [("shared", groups.shared), ("master", groups.master), ("from", groups.propagate_from)];
    let named =
        named.into_iter().filter_map(|(word, group)| group.map(|group| format!(" {word}:{}", group.0)));
    let unbindable = if groups.unbindable { " unbindable" } else { "" };
    let named: String = named.collect();
    format!("{} {} {}{named}{unbindable}", row.path.display(), row.filesystem, row.root)
}

/// The processes that run the lines, a namespace each; this side of them.
struct Shells<'a> {
    script: &'a Script,
    /// The names of the namespaces, in the order in which they are made.
    names: Vec<String>,
    requests: Vec<(OwnedFd, OwnedFd)>,
    answers: (OwnedFd, OwnedFd),
    tools: Tools,
    /// Those that run, in that order.
    pids: Vec<Pid>,
}

impl<'a> Shells<'a> {
    fn start(script: &'a Script) -> Result<Shells<'a>> {
        let names = std::iter::once(explain::simulate::HOST)
            .chain(script.lines().iter().filter_map(|line| line.makes_namespace().map(|(name, _)| name)));
        let names: Vec<String> = names.map(str::to_owned).collect();
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
        let mut shells = Shells {
            script,
            requests: names.iter().map(|_| pipe()).collect::<std::result::Result<_, _>>()?,
            names,
            answers: pipe()?,
            tools: Tools::find()?,
            pids: Vec::new(),
        };
        let child = sys::process::spawn(Namespaces::MOUNT, None, || {
            die_with_parent();
            match shells.make_world() {
                Ok(()) => {
                    shells.answer(&json!({"succeeded": true}));
                    shells.serve(0)
                }
                Err(error) => {
                    shells.answer(&json!({"unable": format!("making a world to throw away: {error}")}));
                    sys::process::exit(1)
                }
            }
        })
        .context("making a mount namespace to throw away")?;
        shells.pids.push(child.pid);
        match read_line(&shells.answers.0)?.as_deref().map(serde_json::from_str::<Value>) {
            Some(Ok(answer)) if answer["succeeded"] == true => Ok(shells),
            Some(Ok(answer)) => Err(Failure::wrong_use(answer["unable"].as_str().unwrap_or("").to_owned())),
            _ => Err(Failure::wrong_use("the throw-away world's process died")),
        }
    }

    /// Has a line run in its namespace.
    fn ask(&mut self, line: &Line, index: usize) -> Result<Value> {
        let at = self.names.iter().position(|name| *name == line.namespace).unwrap_or(0);
        if let Some((name, user)) = line.makes_namespace() {
            let made = self.make_namespace(self.pids[at], user).context(format!("making {name}"))?;
            self.pids.push(made);
            return Ok(json!({"succeeded": true}));
        }
        write_all(&self.requests[at].1, format!("{index}\n").as_bytes())?;
        let answer = read_line(&self.answers.0)?.unwrap_or_default();
        serde_json::from_str(&answer).context("reading what the throw-away world answers")
    }

    /// A process that serves in a copy of the namespace that another one is in.
    fn make_namespace(&self, from: Pid, user: bool) -> std::result::Result<Pid, anyhow::Error> {
        let from = sys::namespace::open_of(from, "mnt")?;
        let kind = if user { Namespaces::USER | Namespaces::MOUNT } else { Namespaces::MOUNT };
        let (maker, serves) = self.spawn_in(&from, kind, !user)?;
        if serves {
            return Ok(maker);
        }
        // Whoever made the user namespace is root only in there: another one enters the mount namespace.
        let made = sys::namespace::open_of(maker, "mnt");
        end(maker);
        Ok(self.spawn_in(&made?, Namespaces::empty(), true)?.0)
    }

    /// A process in a namespace, with namespaces of its own beside; it serves or waits to be ended. When this returns,
    /// it is there.
    fn spawn_in(
        &self,
        namespace: &OwnedFd,
        unshared: Namespaces,
        serves: bool,
    ) -> std::result::Result<(Pid, bool), anyhow::Error> {
        let (ready, say_ready) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let at = self.pids.len();
        let child = sys::process::spawn(Namespaces::empty(), None, || {
            die_with_parent();
            let entered = sys::mount::enter_mount_namespace(namespace.as_fd());
            if entered.and_then(|()| sys::namespace::unshare(unshared)).is_err() {
                sys::process::exit(1);
            }
            let _ = rustix::io::write(&say_ready, b".");
            if serves {
                self.serve(at);
            }
            // Until it is ended: nobody writes.
            let _ = read_line(&self.requests[at].0);
            sys::process::exit(0)
        })?;
        drop(say_ready);
        if rustix::io::read(&ready, &mut [0])? == 0 {
            end(child.pid);
            return Err(anyhow::Error::msg("the kernel refuses a new namespace"));
        }
        Ok((child.pid, serves))
    }

    fn stop(&self) {
        self.pids.iter().rev().for_each(|pid| end(*pid));
    }

    /// In the first child: leaves the machine's mounts for a root of its own.
    fn make_world(&self) -> std::io::Result<()> {
        let none: Option<&CStr> = None;
        rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        // Read before the folder that they may be in is covered.
        let files = self.tools.read()?;
        rustix::mount::mount("world", STAGING, "tmpfs", MountFlags::empty(), Some(WORLD_SIZE))?;
        std::fs::create_dir(format!("{STAGING}/proc"))?;
        std::fs::create_dir(format!("{STAGING}{TOOLS}"))?;
        for (name, bytes) in files {
            let path = format!("{STAGING}{TOOLS}/{name}");
            std::fs::write(&path, bytes)?;
            rustix::fs::chmod(&path, Mode::from_raw_mode(0o755))?;
        }
        rustix::process::chdir(STAGING)?;
        rustix::process::pivot_root(".", ".")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH)?;
        rustix::process::chdir("/")?;
        rustix::mount::mount("proc", "/proc", "proc", MountFlags::empty(), none)?;
        Ok(())
    }

    /// In a child: runs the lines that it is asked to, for ever.
    fn serve(&self, at: usize) -> Infallible {
        let limit = Rlimit { current: Some(TOOL_CPU_SECONDS), maximum: Some(TOOL_CPU_SECONDS + 1) };
        let _ = rustix::process::setrlimit(Resource::Cpu, limit);
        loop {
            let index = read_line(&self.requests[at].0).ok().flatten().and_then(|line| line.parse().ok());
            let Some(line) = index.and_then(|index: usize| self.script.lines().get(index)) else {
                sys::process::exit(1)
            };
            self.answer(&self.run_line(line).unwrap_or_else(|why| json!({"unable": why})));
        }
    }

    fn run_line(&self, line: &Line) -> std::result::Result<Value, String> {
        if let Some((source, target)) = line.beneath() {
            let done = move_beneath(source, target);
            return Ok(json!({"succeeded": done.is_ok(), "said": done.err().map(|errno| errno.to_string())}));
        }
        let had_proc = Path::new(MOUNTINFO).exists();
        let output = self.tools.command(&line.words).output();
        let output = output
            .map_err(|error| format!("the tools cannot be run any more, as after pivot_root: {error}"))?;
        if output.status.signal() == Some(Signal::XCPU.as_raw()) {
            return Err(format!("the tool was stopped after {TOOL_CPU_SECONDS} s of processor time"));
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if had_proc && !output.status.success() && !Path::new(MOUNTINFO).exists() {
            // Taken away by the line itself: where its tool would have gone on, nobody can say.
            return Err(NO_PROC.to_owned());
        }
        let done = output.status.success() || output.status.code() == Some(MOUNTED_UNRECORDED);
        Ok(json!({"succeeded": done, "said": said}))
    }

    fn answer(&self, answer: &Value) {
        // Whoever does not listen any more has killed us or is about to.
        let _ = write_all(&self.answers.1, format!("{answer}\n").as_bytes());
    }
}

/// Ends one of ours.
fn end(pid: Pid) {
    let _ = rustix::process::kill_process(pid, Signal::KILL);
    let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
}

/// Nothing of the world outlives whoever made it.
fn die_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
}

/// What later versions of mount(8) do for `--beneath`.
fn move_beneath(source: &Path, target: &Path) -> std::result::Result<(), Errno> {
    let open = |path| rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let (source, target) = (open(source)?, open(target)?);
    sys::mount::move_mount_beneath(source.as_fd(), target.as_fd())
}

fn write_all(fd: &OwnedFd, mut bytes: &[u8]) -> std::result::Result<(), Errno> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(fd, bytes))?;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// A line; nobody says more than one before the other side has answered. None at the end.
fn read_line(fd: &OwnedFd) -> std::result::Result<Option<String>, Errno> {
    let (mut line, mut page) = (Vec::new(), [0; 4096]);
    while !line.ends_with(b"\n") {
        match rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut page))? {
            0 => return Ok(None),
            count => line.extend_from_slice(&page[..count]),
        }
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
}

/// The tools that lines name, and the libraries that those need.
struct Tools {
    files: Vec<PathBuf>,
    /// The dynamic loader, if they have one.
    loader: Option<String>,
}

impl Tools {
    fn find() -> Result<Tools> {
        let mut files = BTreeSet::new();
        let mut loader = None;
        for name in ["mount", "umount", "pivot_root", "mkdir", "touch", "rmdir", "mv"] {
            let folders = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
            let tool = folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
            let tool =
                tool.ok_or_else(|| Failure::wrong_use(format!("--check needs {name}, which is not here")))?;
            let listed = Command::new("ldd").arg(&tool).output().context("running ldd")?;
            for line in String::from_utf8_lossy(&listed.stdout).lines() {
                let path = line.rsplit_once("=>").map_or(line, |(_, path)| path).trim();
                let path = path.rsplit_once(" (").map_or(path, |(path, _)| path);
                if !path.starts_with('/') {
                    continue;
                }
                // The one line without an arrow is the loader's.
                if !line.contains("=>") {
                    loader = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
                }
                files.insert(PathBuf::from(path));
            }
            files.insert(tool);
        }
        Ok(Tools { files: files.into_iter().collect(), loader })
    }

    fn read(&self) -> std::io::Result<Vec<(String, Vec<u8>)>> {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.files.iter().map(|path| Ok((name(path), std::fs::read(path)?))).collect()
    }

    /// The command of a line, in the world.
    fn command(&self, words: &[String]) -> Command {
        let (tool, arguments) = words.split_first().map_or(("", words), |(tool, rest)| (tool.as_str(), rest));
        let tool = format!("{TOOLS}/{tool}");
        let mut command = match &self.loader {
            Some(loader) => {
                let mut command = Command::new(format!("{TOOLS}/{loader}"));
                command.args(["--library-path", TOOLS]).arg(tool);
                command
            }
            None => Command::new(tool),
        };
        // There is no /dev/null.
        command.args(arguments).env_clear().env("LC_ALL", "C").stdin(Stdio::piped());
        command
    }
}
