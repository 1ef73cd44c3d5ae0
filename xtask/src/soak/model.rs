//! `cargo xtask soak model`: the differential test of the model against the running kernel, for as long as wanted.
//!
//! It goes on where it stopped: a log says which seeds were run, by which version of the generator, on which kernel. The
//! program is copied before, so that building meanwhile does no harm. Most of a sequence's time is waiting for the kernel
//! (each unmount waits for all processors), so that several processes side by side get more done than one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, anyhow, bail};

use crate::host;

/// Sequences of one run of the program, after which the log has a line more.
const CHUNK: u64 = 2_500;
/// Processes, unless said.
const PROCESSES: u64 = 2;

const USAGE: &str = "\
usage: cargo xtask soak model [SEQUENCES] [--seed N] [--processes N]

Runs SEQUENCES (1000000 unless said) random sequences of mount operations on the running kernel and in the model,
and compares after every operation, from seed N (1 unless said) or from where the log in target/soak ends, in two
processes side by side unless said.";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    sequences: u64,
    seed: Option<u64>,
    processes: u64,
}

/// What is still to be run, and what was met.
#[derive(Debug, Default)]
struct Progress {
    seed: u64,
    end: u64,
    /// Run before, behind a gap that an interruption left.
    done: BTreeSet<(u64, u64)>,
    rules: BTreeMap<String, u64>,
    failed: bool,
}

/// Sums of the log's lines.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    sequences: u64,
    operations: u64,
    refused: u64,
    comparisons: u64,
    differ: u64,
    /// What each line ran: the first seed and one more than the last.
    ranges: BTreeSet<(u64, u64)>,
}

impl Totals {
    /// Where to go on: the first seed that was not run, after the first that was.
    fn next(&self) -> Option<u64> {
        let mut ranges = self.ranges.iter();
        let (_, mut next) = *ranges.next()?;
        ranges.for_each(|&(from, to)| {
            if from <= next {
                next = next.max(to);
            }
        });
        Some(next)
    }
}

/// Runs it.
pub(super) fn run(args: &[String]) -> Result<ExitCode> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let asked = parse(args)?;
    if !host::is_root() {
        bail!("the test makes mounts, which needs root");
    }
    let folder = host::target_dir().join("soak");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let program = build(&folder)?;
    let log = folder.join("log");
    let known = totals(&fs::read_to_string(&log).unwrap_or_default());
    let seed = asked.seed.or(known.next()).unwrap_or(1);
    let end = seed + asked.sequences;
    let progress = Mutex::new(Progress { seed, end, done: known.ranges, ..Progress::default() });
    thread::scope(|scope| {
        let work = || worker(&folder, &program, &log, &progress);
        let workers: Vec<_> = (0..asked.processes).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(ended) => ended,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let rules = progress.into_inner().map_err(|_| anyhow!("a worker panicked"))?.rules;
    let all = totals(&fs::read_to_string(&log).context("cannot read the log")?);
    rules.iter().for_each(|(rule, count)| println!("{count:12} {rule}"));
    println!(
        "in all {} sequences, {} operations ({} refused), {} comparisons, {} differ; {} rules met now",
        all.sequences,
        all.operations,
        all.refused,
        all.comparisons,
        all.differ,
        rules.len()
    );
    Ok(ExitCode::SUCCESS)
}

/// Takes chunks until none is left, or one failed.
fn worker(folder: &Path, program: &Path, log: &Path, progress: &Mutex<Progress>) -> Result<()> {
    let lock = || progress.lock().map_err(|_| anyhow!("another worker panicked"));
    loop {
        let (seed, count) = {
            let mut progress = lock()?;
            if progress.failed || progress.seed >= progress.end {
                return Ok(());
            }
            let (seed, count) = (progress.seed, CHUNK.min(progress.end - progress.seed));
            progress.seed += count;
            if progress.done.contains(&(seed, seed + count)) {
                continue;
            }
            (seed, count)
        };
        let (line, text, good) = chunk(program, seed, count).inspect_err(|_| {
            if let Ok(mut progress) = lock() {
                progress.failed = true;
            }
        })?;
        let mut progress = lock()?;
        append(log, &line)?;
        println!("{line}");
        add_rules(&text, &mut progress.rules);
        if !good {
            progress.failed = true;
            let path = folder.join(format!("differs-from-{seed}"));
            fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
            bail!("a sequence differs, or the test could not go on: {}", path.display());
        }
    }
}

fn parse(args: &[String]) -> Result<Asked> {
    let mut asked = Asked { sequences: 1_000_000, seed: None, processes: PROCESSES };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let number = |text: &str| text.parse().with_context(|| format!("{text:?} is no number\n{USAGE}"));
        match arg.as_str() {
            "--seed" => asked.seed = Some(number(args.next().map_or("", String::as_str))?),
            "--processes" => asked.processes = number(args.next().map_or("", String::as_str))?.max(1),
            count => asked.sequences = number(count)?,
        }
    }
    Ok(asked)
}

/// The test program, optimised, as a copy.
fn build(folder: &Path) -> Result<PathBuf> {
    let mut command = host::cargo();
    command.args(["test", "--release", "-p", "subtree-model", "--test", "kernel", "--no-run"]);
    let built = command.stdin(Stdio::null()).output().context("cannot start cargo")?;
    let told = String::from_utf8_lossy(&built.stderr);
    if !built.status.success() {
        bail!("cannot build the test:\n{told}");
    }
    let path = told.lines().rev().find_map(|line| line.trim().strip_prefix("Executable ")?.rsplit_once('('));
    let path = path.and_then(|(_, path)| path.strip_suffix(')')).context("cargo named no program")?;
    // Another soak may be running the one that is there.
    let (copy, draft) = (folder.join("kernel"), folder.join(format!("kernel.{}", std::process::id())));
    fs::copy(host::workspace().join(path), &draft).with_context(|| format!("cannot copy {path}"))?;
    fs::rename(&draft, &copy).with_context(|| format!("cannot rename {}", draft.display()))?;
    Ok(copy)
}

/// Runs a chunk: its line for the log, all that it printed, and whether nothing differs.
fn chunk(program: &Path, seed: u64, count: u64) -> Result<(String, String, bool)> {
    let mut command = Command::new(program);
    command.env("RHIZOME_MODEL_SEED", seed.to_string());
    command.env("RHIZOME_MODEL_SEQUENCES", count.to_string()).env("RHIZOME_MODEL_RULES", "1");
    command.current_dir(host::workspace().join("crates/subtree-model")).stdin(Stdio::null());
    let ran = command.output().with_context(|| format!("cannot start {}", program.display()))?;
    let text = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    let line = text.lines().find(|line| line.contains(" sequences from seed "));
    let Some(line) = line else { bail!("the test did not say what it did:\n{text}") };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Ok((format!("{line} [Linux {}]", kernel.trim()), text.clone(), ran.status.success()))
}

fn append(log: &Path, line: &str) -> Result<()> {
    let file = OpenOptions::new().append(true).create(true).open(log);
    let mut file = file.with_context(|| format!("cannot open {}", log.display()))?;
    writeln!(file, "{line}").with_context(|| format!("cannot write {}", log.display()))
}

/// The lines `  COUNT RULE`.
fn add_rules(text: &str, rules: &mut BTreeMap<String, u64>) {
    for line in text.lines().filter(|line| line.starts_with("  ")) {
        if let Some((count, rule)) = line.trim().split_once(' ')
            && let Ok(count) = count.parse::<u64>()
            && !rule.contains(' ')
        {
            *rules.entry(rule.to_owned()).or_default() += count;
        }
    }
}

/// Sums up lines like `300 sequences from seed 1 (generator 3), 20 operations (5 refused), 9 comparisons in 1.0 s: 0 differ`.
fn totals(log: &str) -> Totals {
    let mut totals = Totals::default();
    for line in log.lines() {
        let numbers: Vec<u64> = line
            .split(|c: char| !c.is_ascii_digit() && c != '.')
            .filter(|word| !word.is_empty() && !word.contains('.'))
            .filter_map(|word| word.parse().ok())
            .collect();
        let [sequences, seed, _, operations, refused, comparisons, differ, ..] = numbers[..] else {
            continue;
        };
        totals.sequences += sequences;
        totals.operations += operations;
        totals.refused += refused;
        totals.comparisons += comparisons;
        totals.differ += differ;
        totals.ranges.insert((seed, seed + sequences));
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_summed_up() {
        let log = "300 sequences from seed 1 (generator 3), 24946 operations (9039 refused), 14929 comparisons in 15.3 s: 0 differ [Linux 6.18.44]\n\
                   200 sequences from seed 301 (generator 3), 10 operations (4 refused), 5 comparisons in 0.3 s: 1 differ [Linux 6.18.44]\n";
        let expected = Totals {
            sequences: 500,
            operations: 24956,
            refused: 9043,
            comparisons: 14934,
            differ: 1,
            ranges: BTreeSet::from([(1, 301), (301, 501)]),
        };
        assert_eq!(totals(log), expected);
        assert_eq!(expected.next(), Some(501));
        let gap = Totals { ranges: BTreeSet::from([(1, 301), (501, 601)]), ..Totals::default() };
        assert_eq!((gap.next(), totals("").next()), (Some(301), None));
    }

    #[test]
    fn arguments() {
        let parse = |args: &[&str]| parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>());
        assert_eq!(parse(&[]).unwrap(), Asked { sequences: 1_000_000, seed: None, processes: 2 });
        let asked = Asked { sequences: 50, seed: Some(7), processes: 3 };
        assert_eq!(parse(&["50", "--seed", "7", "--processes", "3"]).unwrap(), asked);
        assert!(parse(&["many"]).is_err() && parse(&["--seed"]).is_err());
    }
}
