//! What the guest says, handed on as it comes and added up at the end.

use super::machine::End;
use crate::test::SKIPPED;

/// How a line of the guest's init begins; all others are a test's.
const MARK: &str = "@@vm@@ ";

/// What was counted so far.
#[derive(Default)]
pub(super) struct Report {
    programs: Vec<Program>,
    facts: Vec<String>,
    kernel: Vec<String>,
    done: bool,
}

/// A test program.
#[derive(Default)]
struct Program {
    name: String,
    counts: Counts,
    /// Exit code and seconds, when it has ended.
    end: Option<(i32, f64)>,
    left: Vec<String>,
    skipped: Vec<String>,
}

/// Passed, failed and skipped tests of a program.
#[derive(Default, Clone, Copy, PartialEq, Debug)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Report {
    /// Takes a line of the guest.
    pub(super) fn line(&mut self, line: &str) {
        let Some(ours) = line.strip_prefix(MARK) else {
            println!("{line}");
            if let Some(program) = self.programs.last_mut() {
                program.line(line);
            }
            return;
        };
        let (word, rest) = ours.split_once(' ').unwrap_or((ours, ""));
        match word {
            "begin" => {
                println!("---- {rest}");
                self.programs.push(Program { name: rest.to_owned(), ..Program::default() });
            }
            "left" => self.programs.last_mut().into_iter().for_each(|p| p.left.push(rest.to_owned())),
            "end" => self.programs.last_mut().into_iter().for_each(|p| p.end = end(rest)),
            "fact" => self.facts.push(rest.to_owned()),
            "kernel" => self.kernel.push(rest.to_owned()),
            "done" => self.done = true,
            _ => println!("{line}"),
        }
    }

    /// Prints the summary; true if every test ran and passed, left nothing behind, and the kernel did not complain.
    pub(super) fn close(mut self, names: &[&str], end: &End) -> bool {
        println!("\n==== on this kernel");
        self.facts.iter().for_each(|fact| println!("{fact}"));
        let mut total = Counts::default();
        for program in &mut self.programs {
            total.add(program.close());
        }
        for name in names.iter().filter(|name| !self.programs.iter().any(|p| p.name == **name)) {
            println!("{name}: did not run");
            total.failed += 1;
        }
        for line in &self.kernel {
            println!("the kernel says: {line}");
        }
        if !self.done {
            let why = if end.timed_out { "its time was up" } else { "it ended before its time" };
            println!(
                "the machine did not come to its end: {why}; its last words are in {}",
                end.console.display()
            );
            total.failed += 1;
        }
        println!(
            "{} passed, {} failed, {} skipped in {:.0} s",
            total.passed,
            total.failed,
            total.skipped,
            end.took.as_secs_f64()
        );
        total.failed == 0 && !self.kernel.iter().any(|line| !line.contains("apparmor="))
    }
}

impl Program {
    fn line(&mut self, line: &str) {
        if line.contains(SKIPPED) {
            self.skipped.push(line.trim().to_owned());
        } else if let Some(counts) = counts(line) {
            self.counts = counts;
        }
    }

    /// Prints a line or more about it and returns its counts; what it did besides failing tests counts as a failure.
    fn close(&self) -> Counts {
        let mut counts = self.counts;
        let mut wrong = Vec::new();
        match self.end {
            None => wrong.push("did not end".to_owned()),
            Some((137, seconds)) => wrong.push(format!("killed after {seconds:.0} s")),
            Some((code, _)) if code != 0 && counts.failed == 0 => wrong.push(format!("exit code {code}")),
            Some(_) => {}
        }
        wrong.extend(self.left.iter().map(|what| format!("left behind: {what}")));
        counts.failed += u64::from(!wrong.is_empty());
        // libtest counts a test that skipped itself as passed.
        let uncounted = (self.skipped.len() as u64).saturating_sub(counts.skipped);
        counts.passed = counts.passed.saturating_sub(uncounted);
        counts.skipped += uncounted;
        let seconds = self.end.map_or(0.0, |(_, seconds)| seconds);
        let Counts { passed, failed, skipped } = counts;
        println!("{}: {passed} passed, {failed} failed, {skipped} skipped, {seconds:.1} s", self.name);
        wrong.iter().for_each(|what| println!("    {what}"));
        self.skipped.iter().for_each(|what| println!("    skipped: {what}"));
        counts
    }
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// `NAME CODE BEGIN END` with times in seconds since boot → exit code and seconds.
fn end(text: &str) -> Option<(i32, f64)> {
    let mut words = text.split(' ').rev();
    let (end, begin): (f64, f64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((words.next()?.parse().ok()?, end - begin))
}

/// A closing line, of libtest (`test result: ok. 3 passed; 0 failed; 1 ignored; …`) or of a test of ours without it
/// (`20 passed, 0 failed`).
fn counts(line: &str) -> Option<Counts> {
    let line =
        line.strip_prefix("test result: ").map_or(line, |rest| rest.split_once(". ").map_or(rest, |r| r.1));
    let (mut passed, mut failed, mut skipped) = (None, None, 0);
    for part in line.split([',', ';']) {
        let (number, word) = part.trim().split_once(' ')?;
        match (number.parse::<u64>(), word) {
            (Ok(number), "passed") => passed = Some(number),
            (Ok(number), "failed") => failed = Some(number),
            (Ok(number), "ignored" | "skipped") => skipped += number,
            _ => {}
        }
    }
    Some(Counts { passed: passed?, failed: failed?, skipped })
}

#[cfg(test)]
mod tests {
    use super::{Counts, counts, end};

    #[test]
    fn closing_lines() {
        let line = "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert_eq!(counts(line), Some(Counts { passed: 3, failed: 2, skipped: 1 }));
        assert_eq!(counts("20 passed, 0 failed"), Some(Counts { passed: 20, failed: 0, skipped: 0 }));
        assert_eq!(
            counts("4 passed, 1 failed, 2 skipped"),
            Some(Counts { passed: 4, failed: 1, skipped: 2 })
        );
        assert_eq!(counts("test it ... ok"), None);
        assert_eq!(counts("running 3 tests"), None);
        assert_eq!(counts(""), None);
    }

    #[test]
    fn ends() {
        assert_eq!(end("runtime-mounts 1 2.50 4.00"), Some((1, 1.5)));
        assert_eq!(end("runtime-mounts"), None);
    }
}
