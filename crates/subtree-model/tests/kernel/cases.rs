//! Cases made by hand, in files that read as documentation: each is run in kernel and model side by side, and what
//! comes out must be what the file says.
//!
//! A case begins with a line `## TITLE`. Then steps (see `step.rs`), comments, and in the end the mounts:
//!
//! * `STEP => RULE…`: the step succeeds and these rules had a part in it;
//! * `STEP => ERRNO RULE`: it is refused with this error by this check; any other step must succeed;
//! * `= N PATH FS:ROOT STATE`: a mount of namespace N, in order of creation, the file systems named A, B, … by first
//!   appearance (`-` is the base), the groups numbered likewise. All mounts of all namespaces are listed, but for the
//!   base itself and its `/proc`;
//! * `# rows: TABLE/ROW…`: the rows of tables that the case shows (`rows.txt`);
//! * `[before 6.17] LINE`, `[since 6.17] LINE`, `[6.18] LINE`, `[since 6.5] [before 7] LINE`: a line for the kernels that
//!   do it so.
//!
//! The cases are also run in the model alone by the rules of every other kernel, whose expectations stand in the same files.
//!
//! With `RHIZOME_MODEL_UPDATE` set, the mounts in the files are written anew (to be read, then, with a doubting eye).

use crate::machine::{Kernel, Model};
use crate::run::{Outcome, both_checked, run_apart};
use crate::step::{self, Step};
use std::fmt::Write as _;
use std::path::PathBuf;
use subtree_model::{Effects, Kernel as Version, Refused};

const FILES: [&str; 11] = [
    "types",
    "bind",
    "move",
    "receive",
    "unmount",
    "namespace",
    "beneath",
    "descriptor",
    "file",
    "state",
    "kernels",
];

/// One case of a file.
#[derive(Default)]
pub(crate) struct Case {
    title: String,
    /// The lines before the mounts, as they are.
    lines: Vec<String>,
    mounts: Vec<String>,
}

impl Case {
    /// The steps, and what is expected of each.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Result<(Step, &str), String>> {
        self.lines.iter().filter_map(|line| parse_line(line).transpose())
    }
}

/// Runs all; what they met, and whether none differs.
pub(crate) fn all() -> (Outcome, bool) {
    let mut total = Outcome::default();
    let mut ok = true;
    for file in FILES {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/kernel/cases").join(file);
        let path = path.with_extension("txt");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let mut cases = split(&text, crate::running_kernel().unwrap_or_default());
        for case in &mut cases {
            let outcome = run_apart(|kernel, outcome| run(kernel, case, outcome));
            if let Some(difference) = &outcome.difference {
                println!("{file}: {}: {difference}", case.title);
                ok = false;
            }
            case.mounts = outcome.notes.clone();
            println!(
                "test {file}: {} ... {}",
                case.title,
                if outcome.difference.is_none() { "ok" } else { "FAILED" }
            );
            total.add(outcome);
        }
        // What is said of several kernels is not to be had from one.
        let several = text.contains("\n[");
        if std::env::var_os("RHIZOME_MODEL_UPDATE").is_some() && !several {
            std::fs::write(&path, join(&text, &cases)).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        }
    }
    let alone = Version::ALL.iter().filter(|&&version| Some(version) != crate::running_kernel());
    for &version in alone {
        ok &= by_the_rules_of(version);
    }
    (total, ok)
}

/// Runs all in the model alone, by the rules of another kernel.
pub(crate) fn by_the_rules_of(version: Version) -> bool {
    let mut ok = true;
    for (name, case) in of_version(version) {
        if let Err(difference) = run_alone(&case, version) {
            println!("{name}, Linux {}: {difference}", version.name());
            ok = false;
        }
    }
    println!("test by_the_rules_of {} ... {}", version.name(), if ok { "ok" } else { "FAILED" });
    ok
}

/// All cases as a kernel has them, with their names: `FILE: TITLE`.
pub(crate) fn of_version(version: Version) -> Vec<(String, Case)> {
    let read = |file: &str| {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/kernel/cases").join(file);
        let path = path.with_extension("txt");
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
    };
    let of_file = |file| {
        let cases = split(&read(file), version).into_iter();
        cases.map(move |case| (format!("{file}: {}", case.title), case))
    };
    FILES.into_iter().flat_map(of_file).collect()
}

fn run_alone(case: &Case, version: Version) -> Result<(), String> {
    let mut model = Model::of(version);
    for step in case.steps() {
        let (step, expected) = step?;
        let result = model.step(&step);
        model.world.check_invariants()?;
        check_result(&step, &result, expected)?;
    }
    let mounts = mounts(&model);
    if mounts == case.mounts { Ok(()) } else { Err(unexpected(&mounts, &case.mounts)) }
}

fn split(text: &str, version: Version) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            cases.push(Case { title: title.to_owned(), ..Case::default() });
        } else if let Some(case) = cases.last_mut() {
            let Some(line) = of_kernel(line, version) else { continue };
            match line.strip_prefix("= ") {
                Some(mount) => case.mounts.push(mount.to_owned()),
                None => case.lines.push(line.to_owned()),
            }
        }
    }
    cases
}

/// A line without what it says of kernels; none if it is for others.
fn of_kernel(line: &str, running: Version) -> Option<&str> {
    let Some((condition, rest)) = line.strip_prefix('[').and_then(|line| line.split_once("] ")) else {
        return Some(line);
    };
    let version = |release: &str| {
        Version::of_release(release).unwrap_or_else(|| panic!("{line}: no kernel is known by {release}"))
    };
    let applies = match condition.split_once(' ') {
        Some(("before", release)) => running < version(release),
        Some(("since", release)) => running >= version(release),
        _ => running == version(condition),
    };
    if applies { of_kernel(rest, running) } else { None }
}

/// The file again, with the mounts as they came out.
fn join(text: &str, cases: &[Case]) -> String {
    let head: Vec<&str> = text.lines().take_while(|line| !line.starts_with("## ")).collect();
    let mut out = head.join("\n").trim_end().to_owned();
    for case in cases {
        let _ = write!(out, "\n\n## {}\n{}\n", case.title, case.lines.join("\n").trim_end());
        let mounts: Vec<_> = case.mounts.iter().map(|mount| format!("= {mount}")).collect();
        out.push_str(&mounts.join("\n"));
    }
    out.trim_start().to_owned() + "\n"
}

fn run(kernel: &mut Kernel, case: &Case, outcome: &mut Outcome) {
    kernel.begin().expect("a fresh beginning");
    let mut model = Model::new();
    for line in &case.lines {
        if let Err(difference) = run_line(kernel, &mut model, line, outcome) {
            outcome.difference = Some(format!("{line}\n{difference}"));
            return;
        }
    }
    outcome.notes = mounts(&model);
    if outcome.notes != case.mounts {
        outcome.difference = Some(unexpected(&outcome.notes, &case.mounts));
    }
}

fn unexpected(actual: &[String], expected: &[String]) -> String {
    let (expected, actual) = (expected.join("\n  "), actual.join("\n  "));
    format!("the mounts\n  {actual}\nare not those of the file\n  {expected}")
}

fn run_line(kernel: &mut Kernel, model: &mut Model, line: &str, outcome: &mut Outcome) -> Result<(), String> {
    let Some((step, expected)) = parse_line(line)? else { return Ok(()) };
    let result = both_checked(kernel, model, &step, outcome)?;
    check_result(&step, &result, expected)
}

fn parse_line(line: &str) -> Result<Option<(Step, &str)>, String> {
    let line = line.split('#').next().unwrap_or("");
    let (text, expected) = line.split_once("=>").unwrap_or((line, ""));
    Ok(step::parse(text)?.map(|step| (step, expected.trim())))
}

fn check_result(step: &Step, result: &Result<Effects, Refused>, expected: &str) -> Result<(), String> {
    let words: Vec<&str> = expected.split_whitespace().collect();
    let is_errno = words.first().is_some_and(|word| word.starts_with('E'));
    match result {
        Err(refused) => {
            let actual = format!("{} {}", refused.errno, refused.rule);
            if actual == words.join(" ") { Ok(()) } else { Err(format!("{step}: refused with {actual}")) }
        }
        Ok(_) if is_errno => Err(format!("{step}: succeeded")),
        Ok(effects) => {
            let rules: Vec<_> = effects.rules().map(|rule| rule.id()).collect();
            match words.iter().find(|word| !rules.contains(word)) {
                Some(missing) => Err(format!("{step}: no {missing} among {rules:?}")),
                None => Ok(()),
            }
        }
    }
}

/// The mounts as cases list them.
fn mounts(model: &Model) -> Vec<String> {
    let mut lines = Vec::new();
    let mut file_systems = Vec::new();
    let mut snapshot = model.tables();
    for namespace in &mut snapshot.namespaces {
        // In order of creation also where the kernel lists them otherwise.
        namespace.mounts.mounts.sort_by_key(|mount| mount.id);
    }
    snapshot.renumber();
    for namespace in snapshot.namespaces {
        for mount in &namespace.mounts.mounts {
            let is_base = mount.fs_type == "rootfs";
            if mount.fs_type == "proc" || (is_base && mount.root.parent().is_none()) {
                continue;
            }
            if !is_base && !file_systems.contains(&mount.device) {
                file_systems.push(mount.device);
            }
            let position = file_systems.iter().position(|device| *device == mount.device);
            let file_system = position.map_or('-', |at| char::from(b'A' + (at % 26) as u8));
            let groups = mount.propagation;
            let mut state: Vec<String> = Vec::new();
            for (word, group) in
                [("shared", groups.shared), ("master", groups.master), ("from", groups.propagate_from)]
            {
                state.extend(group.map(|group| format!("{word}:{}", group.0)));
            }
            if groups.unbindable || state.is_empty() {
                state.push(if groups.unbindable { "unbindable" } else { "private" }.to_owned());
            }
            lines.push(format!(
                "{} {} {file_system}:{}{} {}",
                namespace.id.0,
                step::case_path(&mount.mount_point),
                mount.root.display(),
                if mount.deleted { "(removed)" } else { "" },
                state.join(" ")
            ));
        }
    }
    lines
}
