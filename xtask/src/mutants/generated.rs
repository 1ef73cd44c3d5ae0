//! `cargo xtask mutants generated`: what cargo-mutants would change in the model, all of it in one program (`switch`), and
//! which test notices each. `docs/reference/model-mutants.md` is made from it.
//!
//! Those that nothing can notice are in `crates/subtree-model/equivalent.txt`, with the reason why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::switch::{self, Change, Lines, Span};
use crate::host;

const CRATE: &str = "crates/subtree-model";
/// Rounds in which those that are no program are left out: each finds what the one before hid.
const ROUNDS: usize = 12;
/// Seconds of the processor, and of the clock, for a mutant's tests: one that never ends is noticed too.
const SECONDS: (u32, u32) = (10, 300);
/// Mutants that are run side by side.
const WORKERS: usize = 2;
/// The test that needs no kernel.
const ALONE: &str = include_str!("alone.rs");
const NO_PROGRAM: &str = "no program";
const NOT_NOTICED: &str = "nothing";

/// A line of a file.
type Place = (String, usize);

/// A mutant, by what stays when lines move.
#[derive(Debug, Clone)]
struct Mutant {
    /// `src/x.rs: replace + with - in World::y: `the line``, with a number if there are several such.
    name: String,
    file: String,
    change: Change,
}

/// Runs what was not noticed yet by an earlier run, and writes the page when nothing is left.
pub(super) fn run() -> Result<ExitCode> {
    if !host::is_root() {
        bail!("the tests make mounts, which needs root");
    }
    let mutants = list()?;
    let folder = host::target_dir().join("mutants");
    let copy = super::copy_sources(&folder)?;
    let known = folder.join("generated.txt");
    let reasons = reasons(&fs::read_to_string(host::workspace().join(CRATE).join("equivalent.txt"))?)?;
    let mut results = read_results(&known, &reasons);
    let names: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.name.as_str()).collect();
    results.retain(|name, _| names.contains(name.as_str()));
    let open: Vec<&Mutant> = mutants.iter().filter(|mutant| !results.contains_key(&mutant.name)).collect();
    println!("{} mutants, {} to be run", mutants.len(), open.len());
    let bench = Bench { copy, target: folder.join("target"), known };
    let apart = bench.run_together(&open, &mut results)?;
    bench.run_apart(&apart, &mut results)?;
    let page = page(&mutants, &results, &reasons);
    fs::write(host::workspace().join("docs/reference/model-mutants.md"), page)
        .context("cannot write the page")?;
    verdict(&results, &reasons)
}

/// Whether all that was not noticed cannot be, and the other way round.
fn verdict(results: &BTreeMap<String, String>, reasons: &BTreeMap<String, String>) -> Result<ExitCode> {
    let mut wrong = Vec::new();
    for (name, by) in results {
        match (by == NOT_NOTICED, reasons.contains_key(name)) {
            (true, false) => wrong.push(format!("not noticed: {name}")),
            (false, true) => wrong.push(format!("noticed by {by}, though said to be equivalent: {name}")),
            _ => {}
        }
    }
    wrong.extend(
        reasons.keys().filter(|name| !results.contains_key(*name)).map(|name| format!("no mutant: {name}")),
    );
    if wrong.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    bail!("{} of {}:\n{}", wrong.len(), results.len(), wrong.join("\n"))
}

/// What cargo-mutants lists.
fn list() -> Result<Vec<Mutant>> {
    let mut command = host::cargo();
    command.args(["mutants", "--list", "--json", "-p", "subtree-model"]);
    let listed =
        host::output(&mut command).context("cargo-mutants is needed (`cargo install cargo-mutants`)")?;
    let listed: Vec<Value> = serde_json::from_slice(&listed).context("cargo-mutants says something else")?;
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut mutants = Vec::new();
    for (at, each) in listed.iter().enumerate() {
        let (file, span) = (each["file"].as_str().unwrap_or_default(), span(&each["span"]));
        if !texts.contains_key(file) {
            texts.insert(file.to_owned(), fs::read_to_string(host::workspace().join(file))?);
        }
        let line = texts[file].lines().nth(span.start.0 - 1).unwrap_or_default().trim();
        let what = each["name"].as_str().unwrap_or_default().splitn(4, ':').nth(3).unwrap_or_default().trim();
        let short = file.strip_prefix(CRATE).unwrap_or(file).trim_start_matches('/');
        let name = format!("{short}: {what}: `{line}`");
        let count = seen.entry(name.clone()).or_default();
        *count += 1;
        let name = if *count > 1 { format!("{name} ({count})") } else { name };
        let function = match &each["function"] {
            Value::Null => span,
            function => self::span(&function["span"]),
        };
        let replacement = each["replacement"].as_str().unwrap_or_default().to_owned();
        let change = Change { number: at + 1, function, at: span, replacement };
        mutants.push(Mutant { name, file: file.to_owned(), change });
    }
    Ok(mutants)
}

fn span(value: &Value) -> Span {
    let place = |value: &Value| {
        let number = |key: &str| value[key].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
        (number("line"), number("column"))
    };
    Span { start: place(&value["start"]), end: place(&value["end"]) }
}

/// What an earlier run found. What was not noticed and need not be equivalent is run again: there may be a test since.
fn read_results(path: &Path, reasons: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let results = text.lines().filter_map(|line| line.split_once('\t'));
    results
        .filter(|(name, by)| *by != NOT_NOTICED || reasons.contains_key(*name))
        .map(|(name, by)| (name.to_owned(), by.to_owned()))
        .collect()
}

/// Where mutants are built and run.
struct Bench {
    copy: PathBuf,
    target: PathBuf,
    known: PathBuf,
}

impl Bench {
    /// All that one program can hold; those that it cannot.
    fn run_together<'a>(
        &self,
        open: &[&'a Mutant],
        results: &mut BTreeMap<String, String>,
    ) -> Result<Vec<&'a Mutant>> {
        let lib = self.copy.join(CRATE).join("src/lib.rs");
        let text = fs::read_to_string(&lib).context("cannot read lib.rs")?;
        fs::write(&lib, in_lib(&text))?;
        fs::write(self.copy.join(CRATE).join("src/switch.rs"), switch::SWITCH)?;
        fs::write(self.copy.join(CRATE).join("tests/alone.rs"), ALONE)?;
        let manifest = self.copy.join(CRATE).join("Cargo.toml");
        let text = fs::read_to_string(&manifest).context("cannot read Cargo.toml")?;
        fs::write(&manifest, text + "\n[[test]]\nname = \"alone\"\nharness = false\n")?;
        let mut within: Vec<&Mutant> = open.to_vec();
        let mut apart = BTreeSet::new();
        for round in 1..=ROUNDS {
            let lines = self.write_switched(&within, &mut apart)?;
            within.retain(|mutant| !apart.contains(&mutant.change.number));
            let (programs, errors) = self.build()?;
            println!("round {round}: {} in the program, {} errors", within.len(), errors.len());
            if errors.is_empty() {
                let by = self.noticed(&programs, 0)?;
                if by != NOT_NOTICED {
                    bail!(
                        "the model as it is does not pass, so that nothing is shown by who notices a mutant: {by}"
                    );
                }
                self.run_all(&within, &programs, results)?;
                self.restore(open)?;
                return Ok(open
                    .iter()
                    .copied()
                    .filter(|mutant| apart.contains(&mutant.change.number))
                    .collect());
            }
            let mut bad = BTreeSet::new();
            for (file, line) in errors {
                let of_file =
                    lines.get(&file).with_context(|| format!("{file}:{line} is no program by itself"))?;
                let found = of_file.iter().find(|(first, last, _)| (*first..=*last).contains(&line));
                bad.insert(found.with_context(|| format!("{file}:{line} is no program by itself"))?.2);
            }
            for mutant in within.iter().filter(|mutant| bad.contains(&mutant.change.number)) {
                self.note(&mutant.name, NO_PROGRAM, results)?;
            }
            within.retain(|mutant| !bad.contains(&mutant.change.number));
        }
        bail!("after {ROUNDS} rounds there are still errors");
    }

    /// Runs what one program holds, several at a time.
    fn run_all(
        &self,
        mutants: &[&Mutant],
        programs: &[PathBuf],
        results: &mut BTreeMap<String, String>,
    ) -> Result<()> {
        let (queue, results) = (Mutex::new(mutants.iter()), Mutex::new(results));
        let gone = || anyhow!("another worker panicked");
        let work = || -> Result<()> {
            loop {
                let Some(mutant) = queue.lock().map_err(|_| gone())?.next() else { return Ok(()) };
                let by = self.noticed(programs, mutant.change.number)?;
                self.note(&mutant.name, &by, &mut **results.lock().map_err(|_| gone())?)?;
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err(gone())))
        })
    }

    /// Those that one program cannot hold, each by itself.
    fn run_apart(&self, mutants: &[&Mutant], results: &mut BTreeMap<String, String>) -> Result<()> {
        for mutant in mutants {
            let path = self.copy.join(&mutant.file);
            let text = fs::read_to_string(host::workspace().join(&mutant.file))?;
            fs::write(&path, switch::mutated(&text, &mutant.change))?;
            let (programs, errors) = self.build()?;
            let by = if errors.is_empty() { self.noticed(&programs, 0)? } else { NO_PROGRAM.to_owned() };
            self.note(&mutant.name, &by, results)?;
            fs::write(&path, text)?;
        }
        Ok(())
    }

    fn restore(&self, mutants: &[&Mutant]) -> Result<()> {
        for file in mutants.iter().map(|mutant| &mutant.file).collect::<BTreeSet<_>>() {
            let text = fs::read_to_string(host::workspace().join(file))?;
            fs::write(self.copy.join(file), text)?;
        }
        Ok(())
    }

    /// Writes the files with switches; which of their lines are whose.
    fn write_switched(
        &self,
        mutants: &[&Mutant],
        apart: &mut BTreeSet<usize>,
    ) -> Result<BTreeMap<String, Vec<Lines>>> {
        let mut lines = BTreeMap::new();
        self.restore(mutants)?;
        for file in mutants.iter().map(|mutant| &mutant.file).collect::<BTreeSet<_>>() {
            let text = fs::read_to_string(host::workspace().join(file))?;
            let changes = mutants.iter().filter(|mutant| mutant.file == *file);
            let changes: Vec<Change> = changes.map(|mutant| mutant.change.clone()).collect();
            let mut switched = switch::switched(&text, &changes);
            let mut text = switched.text;
            if file.ends_with("/lib.rs") {
                text = in_lib(&text);
            }
            fs::write(self.copy.join(file), text)?;
            apart.append(&mut switched.apart.drain(..).collect());
            lines.insert(file.clone(), switched.lines);
        }
        Ok(lines)
    }

    /// The test programs, unit tests first, or where the errors are.
    fn build(&self) -> Result<(Vec<PathBuf>, BTreeSet<Place>)> {
        let mut command = host::cargo();
        command
            .current_dir(&self.copy)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("RUSTFLAGS", "--cap-lints=allow");
        command.args([
            "test",
            "--offline",
            "-q",
            "-p",
            "subtree-model",
            "--lib",
            "--test",
            "alone",
            "--no-run",
        ]);
        command.arg("--message-format=json").stdin(Stdio::null());
        // As it is run a thousand times.
        command.env("CARGO_PROFILE_TEST_OPT_LEVEL", "1");
        let built = command.output().context("cannot start cargo")?;
        let (mut programs, mut errors) = (Vec::new(), BTreeSet::new());
        for message in built.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let message: Value = serde_json::from_slice(message).context("cargo says something else")?;
            if let Some(program) = message["executable"].as_str() {
                programs.push(PathBuf::from(program));
            }
            let told = &message["message"];
            if told["level"] == "error" {
                let spans = told["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
                let primary = spans.iter().filter(|span| span["is_primary"] == true);
                errors.extend(primary.filter_map(|span| {
                    let line = usize::try_from(span["line_start"].as_u64()?).ok()?;
                    Some((span["file_name"].as_str()?.to_owned(), line))
                }));
            }
        }
        if !built.status.success() && errors.is_empty() {
            bail!("no program: {}", String::from_utf8_lossy(&built.stderr));
        }
        programs.sort_by_key(|program| program.to_string_lossy().contains("alone-"));
        Ok((programs, errors))
    }

    /// Who notices a mutant.
    fn noticed(&self, programs: &[PathBuf], number: usize) -> Result<String> {
        let [unit, alone] = programs else { bail!("{} programs instead of two", programs.len()) };
        for program in [unit, alone] {
            let by = failing(program, number)?;
            if !by.is_empty() {
                return Ok(super::shortened(&by));
            }
        }
        Ok(NOT_NOTICED.to_owned())
    }

    fn note(&self, name: &str, by: &str, results: &mut BTreeMap<String, String>) -> Result<()> {
        results.insert(name.to_owned(), by.to_owned());
        let text: String = results.iter().map(|(name, by)| format!("{name}\t{by}\n")).collect();
        fs::write(&self.known, text).context("cannot write what was found")?;
        println!("{name}: {by}");
        Ok(())
    }
}

/// `lib.rs` with the switch.
fn in_lib(text: &str) -> String {
    text.replacen("\nmod attach;", &format!("\n{}mod attach;", switch::IN_LIB), 1)
}

fn failing(program: &Path, number: usize) -> Result<BTreeSet<String>> {
    let mut command = Command::new("timeout");
    let limited = format!("ulimit -t {}; ulimit -v 4000000; exec \"$0\"", SECONDS.0);
    command.arg(SECONDS.1.to_string()).args(["sh", "-c", &limited]).arg(program).stdin(Stdio::null());
    command.current_dir(host::workspace().join(CRATE)).env("MUTANT", number.to_string());
    let ran = command.output().context("cannot start timeout(1)")?;
    if ran.status.success() {
        return Ok(BTreeSet::new());
    }
    let text = String::from_utf8_lossy(&ran.stdout);
    let mut by: BTreeSet<String> =
        text.lines().filter_map(|line| super::failed(line).or_else(|| super::failed_case(line))).collect();
    by.retain(|name| super::by_other_rules(name).is_none());
    if by.is_empty() {
        by.insert("no end, or a crash".to_owned());
    }
    Ok(by)
}

/// Of each equivalent mutant, why nothing can notice it.
fn reasons(text: &str) -> Result<BTreeMap<String, String>> {
    let mut reasons = BTreeMap::new();
    let mut why = "";
    for line in text.lines().filter(|line| !line.starts_with("# ") && !line.trim().is_empty()) {
        match line.strip_prefix("## ") {
            Some(next) => why = next,
            None if why.is_empty() => bail!("no reason is given for {line}"),
            None => {
                reasons.insert(line.to_owned(), why.to_owned());
            }
        }
    }
    Ok(reasons)
}

fn page(
    mutants: &[Mutant],
    results: &BTreeMap<String, String>,
    reasons: &BTreeMap<String, String>,
) -> String {
    let by = |mutant: &Mutant| results.get(&mutant.name).map_or(NOT_NOTICED, String::as_str);
    let count = |what: &str| mutants.iter().filter(|mutant| by(mutant) == what).count();
    let (none, alive) = (count(NO_PROGRAM), count(NOT_NOTICED));
    let mut page = String::from(HEAD);
    let _ = writeln!(
        page,
        "\n{} mutants: {none} are no program, {} are noticed, {alive} are not.\n\n## Not noticed, and why\n",
        mutants.len(),
        mutants.len() - none - alive,
    );
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for mutant in mutants.iter().filter(|mutant| by(mutant) == NOT_NOTICED) {
        let why = reasons.get(&mutant.name).map_or("**not gone through yet**", String::as_str);
        by_reason.entry(why).or_default().push(&mutant.name);
    }
    for (why, names) in by_reason {
        let _ = writeln!(page, "- {why}");
        for name in names {
            let _ = writeln!(page, "  - {name}");
        }
    }
    page.push_str("\n## Noticed\n\n| mutant | noticed by |\n|---|---|\n");
    for mutant in mutants.iter().filter(|mutant| ![NO_PROGRAM, NOT_NOTICED].contains(&by(mutant))) {
        let _ = writeln!(page, "| {} | {} |", mutant.name.replace('|', "\\|"), by(mutant));
    }
    page
}

const HEAD: &str = "\
# Generated mutants of the model, and who notices each

What cargo-mutants would change in `subtree-model`, all of it in one program with a switch, run one after the other: unit
tests, then the cases by the rules of every kernel, then, by the rules of 6.18 and of 6.1, each case and the first 100 random
sequences of an ordinary run beside the model as it is, which agrees with those kernels in all of them. The first that notices is
named. This page is made by
`cargo xtask mutants generated`, which fails when one is not noticed and `crates/subtree-model/equivalent.txt` does not say why
([how the model is kept true](model.md)).
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_read() {
        let read = reasons("# about\n\n## same\na: b\nc\n## other\nd\n").unwrap();
        let read: Vec<_> = read.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect();
        assert_eq!(read, [("a: b", "same"), ("c", "same"), ("d", "other")]);
        assert!(reasons("a\n").is_err());
    }

    #[test]
    fn every_equivalent_mutant_is_of_a_line_that_is_there() {
        let folder = host::workspace().join(CRATE);
        let text = fs::read_to_string(folder.join("equivalent.txt")).unwrap();
        for name in reasons(&text).unwrap().keys() {
            let (file, rest) = name.split_once(": ").unwrap();
            let line = rest.split_once(": `").unwrap().1.rsplit_once('`').unwrap().0;
            let source = fs::read_to_string(folder.join(file)).unwrap();
            assert!(source.lines().any(|other| other.trim() == line), "{name}");
        }
    }
}
