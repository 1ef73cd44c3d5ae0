//! How long a whole node takes to read, and how much memory: in mount namespaces that it makes for that, beside `findmnt`.
//!
//! `cargo run --release -p observe --example read_node -- [NAMESPACES [MOUNTS [SLAVES]]]`, as root; 200 namespaces of 125
//! mounts if nothing is said, half of them slaves of the others (for a slave, the kernel walks its masters for every row of
//! mountinfo). It measures itself in a mount namespace of its own, and leaves nothing behind.
//!
//! It prints a line for each way of reading: what, wall time and processor time in ms (medians), and with tabs between, so
//! that programs read it.

mod world;

use mount_table::node::{Groups, Labels};
use observe::node::{NodeReader, Ways};
use observe::{Names, read_node};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use world::{Result, World, processor_time};

/// How often each is done; `findmnt` of every namespace less often, as it takes long.
const TIMES: usize = 15;
const TIMES_FINDMNT: usize = 5;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let namespaces = arguments.next().transpose()?.unwrap_or(200);
    let mounts = arguments.next().transpose()?.unwrap_or(125);
    let slaves = arguments.next().transpose()?.unwrap_or(namespaces / 2);
    let world = World::make(namespaces, mounts, slaves)?;
    let mut out = std::io::stdout();
    let mut rows = 0;
    let whole = median(TIMES, || {
        let node = read_node(&Names::default())?;
        let (groups, labels) = (Groups::of(&node), Labels::of(&node));
        rows = node.mounts().count();
        std::hint::black_box((groups.all().count(), labels.get(node.namespaces[0].id).len()));
        Ok(())
    })?;
    let memory = peak_memory_kib().unwrap_or(0) as f64 / 1024.0;
    writeln!(out, "{rows} rows, with owners and groups\t{whole}\t{memory:.1} MiB at most")?;
    let mut reader = NodeReader::new(Ways::default());
    reader.read(&Names::default())?;
    let mut anew = usize::MAX;
    let again = median(TIMES, || {
        reader.read(&Names::default())?;
        anew = anew.min(reader.read_anew().len());
        Ok(())
    })?;
    writeln!(out, "the same again\t{again}\t{anew} namespaces read anew")?;
    let plain = median(TIMES_FINDMNT, || {
        for child in &world.children {
            std::hint::black_box(std::fs::read(format!("/proc/{}/mountinfo", child.id()))?);
        }
        Ok(())
    })?;
    writeln!(
        out,
        "their mountinfo, read by one thread and thrown away\t{plain}\tthe kernel's part, without ids"
    )?;
    let findmnt = median(TIMES_FINDMNT, || {
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
    writeln!(out, "`findmnt -N`, one by one\t{findmnt}\t{ratio:.1} times, {work:.1} times the work")?;
    Ok(())
}

/// What something took: the time, and the work of all processors, which others on the machine change less.
#[derive(Debug, Clone, Copy)]
struct Taken {
    wall: Duration,
    cpu: Duration,
}

impl std::fmt::Display for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2}\t{:.2}", self.wall.as_secs_f64() * 1e3, self.cpu.as_secs_f64() * 1e3)
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

/// `VmHWM` of proc_pid_status(5).
fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
