//! How soon a watcher tells of a mount, what it makes of a burst, and what it costs while nothing happens: in mount
//! namespaces that it makes for that.
//!
//! `cargo run --release -p observe --example watch_node -- [NAMESPACES]`, as root; 200 namespaces if nothing is said, half of
//! which receive every mount. It prints a line for each figure: what, the figure, its unit, with tabs between.

mod world;

use mount_table::node::event::{Action, Event, What};
use observe::{Names, Watcher};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::io::Write as _;
use std::time::{Duration, Instant};
use world::{Result, World, processor_time};

/// Mounts whose event is waited for, one after the other; fewer on a machine so busy that they take longer than this.
const SINGLE: usize = 100;
const LONGEST: Duration = Duration::from_secs(60);
/// Mounts of the burst, and how many a second.
const BURST: usize = 10_000;
const RATE: u32 = 10_000;
/// How long it is idle.
const IDLE: Duration = Duration::from_secs(30);

const NOTHING: Option<&std::ffi::CStr> = None;

fn main() -> Result<()> {
    let namespaces = std::env::args().nth(1).map(|argument| argument.parse::<usize>()).transpose()?;
    let namespaces = namespaces.unwrap_or(200);
    let _world = World::make(namespaces, 125, namespaces / 2)?;
    std::fs::create_dir("/tmp/one")?;
    std::fs::create_dir("/tmp/many")?;
    std::fs::create_dir("/tmp/source")?;
    // What the burst is in is nobody else's: the mounts are counted, not what propagation costs.
    for (source, place) in [("many", "/tmp/many"), ("burst", "/tmp/source")] {
        mount(source, place, "tmpfs", MountFlags::empty(), NOTHING)?;
        rustix::mount::mount_change(place, rustix::mount::MountPropagationFlags::PRIVATE)?;
    }
    for number in 0..BURST {
        std::fs::create_dir(format!("/tmp/many/{number}"))?;
    }
    let mut out = std::io::stdout();
    let mut watcher = Watcher::new(Names::default, None)?;
    if let Some(why) = watcher.without_events() {
        return Err(why.into());
    }
    let took = latency(&mut watcher)?;
    writeln!(out, "from a mount to its event with all receivers, median\t{:.2}\tms", took[took.len() / 2])?;
    writeln!(out, "the slowest of {}\t{:.2}\tms", took.len(), took[took.len() - 1])?;
    let Burst { seconds, told, brief, overflows } = burst(&mut watcher)?;
    writeln!(out, "mounts a second in the burst of {BURST}\t{:.0}\t1/s", BURST as f64 / seconds)?;
    writeln!(out, "of these told with their row\t{told}\tmounts")?;
    writeln!(out, "told as gone before they could be read\t{brief}\tmounts")?;
    writeln!(out, "overflows, each said and read again\t{overflows}\t")?;
    let share = idle(&mut watcher)?;
    writeln!(out, "of a processor while nothing happens\t{:.3}\t%", share * 100.0)?;
    Ok(())
}

fn is_mount_of(event: &Event, source: &str) -> bool {
    matches!(&event.what, What::Mount(done) if done.action == Action::Mount && done.origin.mount.source == source)
}

/// In milliseconds, ascending.
fn latency(watcher: &mut Watcher) -> Result<Vec<f64>> {
    let (mut took, until) = (Vec::new(), Instant::now() + LONGEST);
    for number in 0..SINGLE {
        if Instant::now() > until {
            break;
        }
        let source = format!("single-{number}");
        let mounter = {
            let source = source.clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                let begun = Instant::now();
                mount(source.as_str(), "/tmp/one", "tmpfs", MountFlags::empty(), NOTHING).map(|()| begun)
            })
        };
        let deadline = Instant::now() + LONGEST;
        let told = loop {
            let events = watcher.next(Duration::from_secs(1))?;
            if events.iter().any(|event| is_mount_of(event, &source)) {
                break Instant::now();
            }
            if Instant::now() > deadline {
                return Err("no event of a mount within a minute".into());
            }
        };
        let begun = mounter.join().map_err(|_| "the thread that mounts has panicked")??;
        took.push(told.duration_since(begun).as_secs_f64() * 1e3);
        unmount("/tmp/one", UnmountFlags::DETACH)?;
    }
    took.sort_by(f64::total_cmp);
    Ok(took)
}

struct Burst {
    seconds: f64,
    told: usize,
    brief: u64,
    overflows: usize,
}

/// Half of the mounts stay, and half are gone at once: each must be told of, or be counted as too brief, or an overflow be said.
fn burst(watcher: &mut Watcher) -> Result<Burst> {
    let mounter = std::thread::spawn(|| -> rustix::io::Result<f64> {
        let begun = Instant::now();
        for number in 0..BURST {
            let due = begun + Duration::from_secs(1) / RATE * u32::try_from(number).unwrap_or(u32::MAX);
            while Instant::now() < due {
                std::thread::yield_now();
            }
            let place = format!("/tmp/many/{number}");
            // A bind: a file system of its own takes so long to make that fewer would be made in a second.
            rustix::mount::mount_bind("/tmp/source", place.as_str())?;
            if number % 2 == 1 {
                unmount(place.as_str(), UnmountFlags::DETACH)?;
            }
        }
        let took = begun.elapsed().as_secs_f64();
        mount("burst-end", "/tmp/one", "tmpfs", MountFlags::empty(), NOTHING)?;
        Ok(took)
    });
    let own = std::process::id();
    let mut burst = Burst { seconds: 0.0, told: 0, brief: 0, overflows: 0 };
    let deadline = Instant::now() + LONGEST;
    let mut is_over = false;
    while !is_over {
        if Instant::now() > deadline {
            return Err(format!("the end of the burst was not told within {} s", LONGEST.as_secs()).into());
        }
        for event in watcher.next(Duration::from_secs(5))? {
            is_over |= is_mount_of(&event, "burst-end");
            burst.told += usize::from(is_mount_of(&event, "burst"));
            match &event.what {
                What::Brief { mounts, actor } if actor.as_ref().is_some_and(|actor| actor.pid == own) => {
                    burst.brief += mounts;
                }
                What::Overflow => burst.overflows += 1,
                _ => {}
            }
        }
    }
    burst.seconds = mounter.join().map_err(|_| "the thread that mounts has panicked")??;
    let known = burst.told as u64 + burst.brief;
    if known < BURST as u64 && burst.overflows == 0 {
        return Err(format!("{known} of {BURST} mounts were told of, and no overflow").into());
    }
    Ok(burst)
}

/// The part of a processor that is used while nothing happens here. Others on the machine may mount: then it is theirs.
fn idle(watcher: &mut Watcher) -> Result<f64> {
    // What was mounted is read again at the next interval, which the idle time should hold as often as any other.
    let (begun, before) = (Instant::now(), processor_time()?);
    while begun.elapsed() < IDLE {
        watcher.next(IDLE.saturating_sub(begun.elapsed()))?;
    }
    let worked = processor_time()?.saturating_sub(before);
    Ok(worked.as_secs_f64() / begun.elapsed().as_secs_f64())
}
