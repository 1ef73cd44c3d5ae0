//! How long a whole node takes to read, and how much memory: in mount namespaces that it makes for that, beside `findmnt`.
//!
//! `cargo run --release -p observe --example read_node -- [NAMESPACES [MOUNTS [SLAVES]]]`, as root; 200 namespaces of 125
//! mounts if nothing is said, half of them slaves of the others (for a slave, the kernel walks its masters for every row of
//! mountinfo). It measures itself in a mount namespace of its own, and leaves nothing behind.

use mount_table::node::{Groups, Labels};
use observe::node::{NodeReader, Ways};
use observe::{Names, read_node};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use std::error::Error;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The namespaces, each kept by a process, which ends with this.
struct World {
    children: Vec<Child>,
}

impl World {
    fn make(namespaces: usize, mounts: usize, slaves: usize) -> Result<World> {
        sys::mount::unshare_mounts()?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let none: Option<&std::ffi::CStr> = None;
        mount("base", "/tmp", "tmpfs", MountFlags::empty(), none)?;
        // Peers of each other, and slaves of them.
        mount_change("/tmp", MountPropagationFlags::SHARED)?;
        let there = observe::read_own_mounts()?.mounts.len();
        for number in there..mounts {
            let folder = format!("/tmp/{number}");
            std::fs::create_dir(&folder)?;
            mount(format!("source-{number}").as_str(), folder.as_str(), "tmpfs", MountFlags::NOSUID, none)?;
        }
        let mut world = World { children: Vec::new() };
        for number in 0..namespaces {
            let propagation = if number < slaves { "slave" } else { "unchanged" };
            let mut command = Command::new("unshare");
            command.args(["--mount", "--propagation", propagation, "sleep", "3600"]).stdin(Stdio::null());
            world.children.push(command.spawn()?);
        }
        world.wait()?;
        Ok(world)
    }

    /// Until every child is in a namespace of its own, with its propagation set: it sleeps then.
    fn wait(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let sleeps = |child: &Child| {
            let comm = std::fs::read_to_string(format!("/proc/{}/comm", child.id()));
            comm.is_ok_and(|comm| comm == "sleep\n")
        };
        while !self.children.iter().all(sleeps) {
            if Instant::now() > deadline {
                return Err("the namespaces were not made within a minute".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
        }
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let namespaces = arguments.next().transpose()?.unwrap_or(200);
    let mounts = arguments.next().transpose()?.unwrap_or(125);
    let slaves = arguments.next().transpose()?.unwrap_or(namespaces / 2);
    let world = World::make(namespaces, mounts, slaves)?;
    let mut rows = 0;
    let whole = median(15, || {
        let node = read_node(&Names::default())?;
        let (groups, labels) = (Groups::of(&node), Labels::of(&node));
        rows = node.mounts().count();
        std::hint::black_box((groups.all().count(), labels.get(node.namespaces[0].id).len()));
        Ok(())
    })?;
    let memory = peak_memory_kib();
    let mut reader = NodeReader::new(Ways::default());
    reader.read(&Names::default())?;
    let again = median(15, || reader.read(&Names::default()).map(drop).map_err(Into::into))?;
    let anew = reader.read_anew();
    let findmnt = median(3, || {
        for child in &world.children {
            let pid = child.id().to_string();
            let status = Command::new("findmnt").args(["-N", &pid]).stdout(Stdio::null()).status()?;
            if !status.success() {
                return Err("findmnt failed".into());
            }
        }
        Ok(())
    })?;
    let ratio = findmnt.wall.as_secs_f64() / whole.wall.as_secs_f64();
    let work = findmnt.cpu.as_secs_f64() / whole.cpu.as_secs_f64();
    let mut out = std::io::stdout();
    writeln!(out, "rows                    {rows} (with those of the machine)")?;
    writeln!(out, "whole node              {whole}")?;
    writeln!(out, "again, {anew:>3} read anew    {again}")?;
    writeln!(out, "findmnt -N, one by one  {findmnt}: {ratio:.1} times, {work:.1} times the work")?;
    writeln!(out, "most memory             {:.1} MiB", memory.unwrap_or(0) as f64 / 1024.0)?;
    Ok(())
}

/// What something took: the time, and the work of all processors, which others on the machine change less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Taken {
    wall: Duration,
    cpu: Duration,
}

impl std::fmt::Display for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.1} ms, {:.1} ms of processor",
            self.wall.as_secs_f64() * 1e3,
            self.cpu.as_secs_f64() * 1e3
        )
    }
}

/// The medians of both.
fn median(times: usize, mut what: impl FnMut() -> Result<()>) -> Result<Taken> {
    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let (begin, before) = (Instant::now(), processor_time()?);
        what()?;
        walls.push(begin.elapsed());
        cpus.push(processor_time()?.saturating_sub(before));
    }
    walls.sort();
    cpus.sort();
    Ok(Taken { wall: walls[times / 2], cpu: cpus[times / 2] })
}

/// Our own time, and that of children that have ended, in ticks of 10 ms (proc_pid_stat(5)).
fn processor_time() -> Result<Duration> {
    let own = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let own = Duration::new(own.tv_sec.try_into()?, own.tv_nsec.try_into()?);
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let rest = stat.rsplit_once(')').ok_or("no stat")?.1;
    let ticks: u64 =
        rest.split_ascii_whitespace().skip(13).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    Ok(own + Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}

/// `VmHWM` of proc_pid_status(5).
fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
