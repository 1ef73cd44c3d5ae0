//! Wall and processor time of whole processes, and the memory of running ones.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// What one run took, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) wall_ms: f64,
    /// User and system time of the process and of the children that it waited for; what it leaves behind is not in it.
    pub(crate) cpu_ms: f64,
}

/// Runs a command to its end, which must be good.
pub(crate) fn run(command: &mut Command) -> Result<Sample> {
    let before = children_cpu_ms()?;
    let begun = Instant::now();
    let output = command.stdin(Stdio::null()).output();
    let wall_ms = begun.elapsed().as_secs_f64() * 1000.0;
    let output = output.with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{:?} ended with {}: {}", command.get_program(), output.status, said.trim());
    }
    Ok(Sample { wall_ms, cpu_ms: children_cpu_ms()? - before })
}

/// Of all children that have ended and were waited for. /proc/self/stat has hundredths of a second, too coarse.
pub(crate) fn children_cpu_ms() -> Result<f64> {
    let (user, system) = sys::process::children_times().context("getrusage")?;
    Ok((user + system).as_secs_f64() * 1000.0)
}

/// The middle of them; of an even count the mean of the two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Resident and proportional memory of a process in KiB, from `/proc/PID/smaps_rollup`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) resident_kib: f64,
    pub(crate) proportional_kib: f64,
}

pub(crate) fn memory_of(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN)
    };
    Ok(Memory { resident_kib: field("Rss:"), proportional_kib: field("Pss:") })
}

/// Processes whose command line holds all of these words.
pub(crate) fn processes_with(words: &[&str]) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    let has = |pid: &u32| {
        let line =
            std::fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        words.iter().all(|word| line.contains(word))
    };
    pids.filter(has).collect()
}

/// A cgroup whose processor time the kernel counts: of what is started in it, and of what that starts.
pub(crate) struct Account {
    directory: PathBuf,
    is_v2: bool,
}

impl Account {
    /// By version 1's controller where there is one, else by version 2; `None` where there is neither.
    pub(crate) fn open() -> Result<Option<Account>> {
        let places = [
            ("/sys/fs/cgroup/cpuacct", false),
            ("/sys/fs/cgroup/cpu,cpuacct", false),
            ("/sys/fs/cgroup", true),
        ];
        let there = |(top, _): &(&str, bool)| Path::new(top).join("cgroup.procs").exists();
        let Some((top, is_v2)) = places.into_iter().find(there) else { return Ok(None) };
        let directory = Path::new(top).join(format!("rz-bench-{}", std::process::id()));
        std::fs::create_dir(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(Some(Account { directory, is_v2 }))
    }

    /// A command that goes into it before it becomes the program.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"echo 0 >"$0"; exec "$@""#])
            .arg(self.directory.join("cgroup.procs"))
            .arg(program);
        command
    }

    /// User and system time of all until now, in milliseconds.
    pub(crate) fn used_ms(&self) -> Result<f64> {
        let path = self.directory.join(if self.is_v2 { "cpu.stat" } else { "cpuacct.usage" });
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (word, a_millisecond) = if self.is_v2 { ("usage_usec ", 1e3) } else { ("", 1e6) };
        let value = text.lines().find_map(|line| line.strip_prefix(word)?.trim().parse::<f64>().ok());
        Ok(value.with_context(|| format!("{} has no figure", path.display()))? / a_millisecond)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // It stays if something is still in it, which the check for what is left over says.
        let _ = std::fs::remove_dir(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_many() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}
