//! Mount namespaces to measure in, made in a mount namespace of their own, and what things cost.

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use std::error::Error;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The namespaces, each kept by a process, which ends with this.
pub(crate) struct World {
    pub(crate) children: Vec<Child>,
}

impl World {
    /// So many namespaces of so many mounts, the first ones slaves of the others.
    pub(crate) fn make(namespaces: usize, mounts: usize, slaves: usize) -> Result<World> {
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

/// Our own time, and that of children that have ended, in ticks of 10 ms (proc_pid_stat(5)).
pub(crate) fn processor_time() -> Result<Duration> {
    let own = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let own = Duration::new(own.tv_sec.try_into()?, own.tv_nsec.try_into()?);
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let rest = stat.rsplit_once(')').ok_or("no stat")?.1;
    let ticks: u64 =
        rest.split_ascii_whitespace().skip(13).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    Ok(own + Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}
