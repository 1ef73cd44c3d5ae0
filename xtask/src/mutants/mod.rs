//! `cargo xtask mutants`: wrong rules, one after the other, put into a copy of the model, and which test notices.
//!
//! They are the lines of `crates/subtree-model/mutants.txt`: `## what is wrong`, the file, the text that is there and the
//! text that is put in its place. `cargo xtask mutants generated` does the same with all that cargo-mutants thinks of.

mod generated;
mod switch;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::host;

/// Where who notices what is told.
const PAGE: &str = "docs/reference/model.md";
/// How the table there begins.
const HEAD: &str = "| wrong rule | noticed by |\n|---|---|\n";
/// Random sequences for each.
const SEQUENCES: &str = "150";
/// Seconds for a mutant's tests: one that never ends is noticed too.
const LIMIT: &str = "300";

const USAGE: &str = "\
usage: cargo xtask mutants [WORD…]
       cargo xtask mutants generated

Puts the wrong rules of crates/subtree-model/mutants.txt (those whose title has one of the words) into a copy of the model,
one after the other, and says which test notices each; `generated` does so with all that cargo-mutants would change.";

/// A wrong rule.
#[derive(Debug, PartialEq, Eq)]
struct Mutant {
    title: String,
    file: String,
    old: String,
    new: String,
}

/// Runs all, or those whose title has one of the words.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    if args == ["generated"] {
        return generated::run();
    }
    if !host::is_root() {
        bail!("the tests make mounts, which needs root");
    }
    let list = host::workspace().join("crates/subtree-model/mutants.txt");
    let text = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let mutants = parse(&text)?;
    let folder = host::target_dir().join("mutants");
    let copy = copy_sources(&folder)?;
    let (mut alive, mut table) = (Vec::new(), HEAD.to_owned());
    print!("{HEAD}");
    for mutant in
        mutants.iter().filter(|mutant| args.is_empty() || args.iter().any(|word| mutant.title.contains(word)))
    {
        let by = try_one(mutant, &copy, &folder.join("target"))?;
        let told = if by.is_empty() { "**nothing**".to_owned() } else { shortened(&by) };
        let row = format!("| {} | {told} |\n", mutant.title);
        print!("{row}");
        table += &row;
        if by.is_empty() {
            alive.push(mutant.title.as_str());
        }
    }
    if !alive.is_empty() {
        bail!("not noticed: {}", alive.join("; "));
    }
    if args.is_empty() {
        let page = host::workspace().join(PAGE);
        let text = fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
        let (before, _, after) = parts(&text).with_context(|| format!("{PAGE} has no such table"))?;
        fs::write(&page, format!("{before}{table}{after}")).context("cannot write the page")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The page with the table of wrong rules: what is before it, the table, what is behind it.
fn parts(page: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = page.split_at(page.find(HEAD)?);
    let (table, after) = rest.split_at(rest.find("\n\n").map_or(rest.len(), |end| end + 1));
    Some((before, table, after))
}

fn parse(text: &str) -> Result<Vec<Mutant>> {
    let mut mutants: Vec<Mutant> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        if let Some(title) = line.strip_prefix("## ") {
            let empty = String::new;
            mutants.push(Mutant { title: title.to_owned(), file: empty(), old: empty(), new: empty() });
            continue;
        }
        let Some(mutant) = mutants.last_mut() else { continue };
        match (line.strip_prefix("file "), line.strip_prefix("-"), line.strip_prefix("+")) {
            (Some(file), ..) => file.clone_into(&mut mutant.file),
            (_, Some(old), _) => mutant.old += &format!("{old}\n"),
            (_, _, Some(new)) => mutant.new += &format!("{new}\n"),
            _ if line.trim().is_empty() => {}
            _ => bail!("cannot read: {line}"),
        }
    }
    Ok(mutants)
}

/// The files that git knows, as they are now.
fn copy_sources(folder: &Path) -> Result<PathBuf> {
    let copy = folder.join("source");
    if copy.exists() {
        fs::remove_dir_all(&copy).with_context(|| format!("cannot remove {}", copy.display()))?;
    }
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(host::workspace()).output();
    let listed = listed.context("cannot start git")?;
    for name in listed.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = std::str::from_utf8(name).context("a file's name is no UTF-8")?;
        let (from, to) = (host::workspace().join(name), copy.join(name));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        // One that was removed since.
        if from.is_file() {
            fs::copy(&from, &to).with_context(|| format!("cannot copy {name}"))?;
        }
    }
    Ok(copy)
}

/// The tests that fail with a mutant.
fn try_one(mutant: &Mutant, copy: &Path, target: &Path) -> Result<BTreeSet<String>> {
    let path = copy.join("crates/subtree-model").join(&mutant.file);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if text.matches(&mutant.old).count() != 1 {
        bail!("{}: its text is not once in {}:\n{}", mutant.title, mutant.file, mutant.old);
    }
    fs::write(&path, text.replace(&mutant.old, &mutant.new)).context("cannot write a mutant")?;
    let mut by = BTreeSet::new();
    for tests in [["--lib", "--no-fail-fast"], ["--test", "kernel"]] {
        by.extend(failing(copy, target, &tests)?);
    }
    fs::write(&path, text).context("cannot put the rule back")?;
    Ok(by)
}

fn failing(copy: &Path, target: &Path, tests: &[&str]) -> Result<BTreeSet<String>> {
    let mut command = Command::new("timeout");
    command.args([LIMIT, "cargo", "test", "--offline", "-q", "-p", "subtree-model"]).args(tests);
    command.current_dir(copy).env("CARGO_TARGET_DIR", target).stdin(Stdio::null());
    command.env("RHIZOME_MODEL_SEQUENCES", SEQUENCES).env("RHIZOME_MODEL_SHRINK", "no");
    let ran = command.output().context("cannot start timeout(1)")?;
    if ran.status.success() {
        return Ok(BTreeSet::new());
    }
    let text = format!("{}\n{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    if text.contains("could not compile") {
        bail!("a mutant is no program:\n{text}");
    }
    let mut by: BTreeSet<String> = text.lines().filter_map(failed).collect();
    // The same cases once more, without their names.
    by.retain(|name| by_other_rules(name).is_none());
    by.extend(text.lines().filter_map(failed_case));
    if by.is_empty() {
        by.insert(if ran.status.code() == Some(124) { "no end" } else { "a crash" }.to_owned());
    }
    Ok(by)
}

/// The name in `test NAME ... FAILED`, or in libtest's list of the quiet kind.
fn failed(line: &str) -> Option<String> {
    let own = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"));
    let list = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"));
    own.or(list).map(str::to_owned)
}

/// The kernel's name in that of the test of the cases by the rules of kernels that do not run.
fn by_other_rules(name: &str) -> Option<&str> {
    name.strip_prefix("by_the_rules_of ")
}

/// The name in `FILE: TITLE, Linux VERSION: what`: a case that fails by the rules of another kernel.
fn failed_case(line: &str) -> Option<String> {
    let (name, rest) = line.split_once(", Linux ")?;
    rest.contains(':').then(|| name.to_owned())
}

/// The first few.
fn shortened(by: &BTreeSet<String>) -> String {
    const MOST: usize = 4;
    let names: Vec<&str> = by.iter().take(MOST).map(String::as_str).collect();
    let more = if by.len() > MOST { format!(" and {} more", by.len() - MOST) } else { String::new() };
    format!("{}{more}", names.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutants_are_read() {
        let text = "# about\n\n## a title\nfile src/x.rs\n-    old\n+    new\n+    more\n\n## another\nfile src/y.rs\n-a\n+b\n";
        let mutants = parse(text).unwrap();
        let first = Mutant {
            title: "a title".to_owned(),
            file: "src/x.rs".to_owned(),
            old: "    old\n".to_owned(),
            new: "    new\n    more\n".to_owned(),
        };
        assert_eq!((mutants.len(), &mutants[0]), (2, &first));
        assert!(parse("## t\nwhat\n").is_err());
    }

    #[test]
    fn every_mutant_is_of_a_text_that_is_there() {
        let folder = host::workspace().join("crates/subtree-model");
        let mutants = parse(&fs::read_to_string(folder.join("mutants.txt")).unwrap()).unwrap();
        assert!(mutants.len() > 20);
        for mutant in mutants {
            let text = fs::read_to_string(folder.join(&mutant.file)).unwrap();
            assert_eq!(text.matches(&mutant.old).count(), 1, "{}: {}", mutant.title, mutant.old);
            assert_ne!(mutant.old, mutant.new, "{}", mutant.title);
        }
    }

    #[test]
    fn every_mutant_is_in_the_page() {
        let read = |name: &str| fs::read_to_string(host::workspace().join(name)).unwrap();
        let (page, mutants) = (read(PAGE), parse(&read("crates/subtree-model/mutants.txt")).unwrap());
        let (_, table, after) = parts(&page).unwrap();
        let told: Vec<&str> =
            table.lines().skip(2).filter_map(|row| row.strip_prefix("| ")?.split(" | ").next()).collect();
        assert_eq!(told, mutants.iter().map(|mutant| mutant.title.as_str()).collect::<Vec<_>>());
        assert!(after.starts_with("\n") && !table.contains("**"));
    }

    #[test]
    fn failing_tests_are_told_by_name() {
        assert_eq!(
            failed("test receive: along a chain ... FAILED").as_deref(),
            Some("receive: along a chain")
        );
        assert_eq!(failed("---- tests::limits::x stdout ----").as_deref(), Some("tests::limits::x"));
        assert_eq!(failed("test x ... ok"), None);
        assert_eq!(by_other_rules("by_the_rules_of 6.1"), Some("6.1"));
        assert_eq!(failed_case("move: x, Linux 6.1: the mounts").as_deref(), Some("move: x"));
        assert_eq!(failed_case("the model has no rules for x, Linux 4.4"), None);
    }
}
