//! The model against the running kernel: random sequences and hand-made cases, each step given to both; errors,
//! trees, groups, masters, `propagate_from`, attributes and the order of creation compared after every step.
//!
//! Everything happens in children, in mount namespaces of their own. Environment:
//!
//! * `RHIZOME_MODEL_SEQUENCES`: how many random sequences (default 300);
//! * `RHIZOME_MODEL_SEED`: the first one's seed (default 1; each next is one more);
//! * `RHIZOME_MODEL_CASE`: a file with one case (see `step.rs`) to run instead;
//! * `RHIZOME_MODEL_SHRINK`: `no` leaves differing sequences as they are (`cargo xtask mutants`);
//! * `RHIZOME_MODEL_RULES`: if set, prints how often each rule was met;
//! * `RHIZOME_MODEL_DIFFERENCES`: if set, runs also on kernels whose rules were only read, or not in full.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a test program with its own main")]

mod cases;
mod generate;
mod machine;
mod run;
mod step;

use run::{Outcome, run_apart};
use std::process::ExitCode;
use std::time::Instant;
use subtree_model::RuleId;

/// Sequences that one child runs before it is replaced.
const BATCH: u64 = 50;
/// Differences after which the rest is not run.
const DIFFERENCES_MAX: usize = 3;

fn main() -> ExitCode {
    if let Some(why) = cannot_run() {
        println!("SKIPPED model_against_the_kernel: {why}");
        return ExitCode::SUCCESS;
    }
    // So that whatever changes below is ours.
    sys::mount::unshare_mounts().expect("a mount namespace");
    let own = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let machine = mount_table::MountTable::parse_mountinfo(own.as_bytes()).expect("the kernel's own");
    let machine = mount_table::NamespaceTable { id: mount_table::NamespaceId(1), mounts: machine };
    let machine = mount_table::Snapshot { namespaces: vec![machine] };
    machine::check_reading_back(&machine).expect("the machine's own table");
    let private = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).expect("private mounts");
    let before = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let ok = match std::env::var("RHIZOME_MODEL_CASE") {
        Ok(file) => one_case(&file),
        Err(_) => all(),
    };
    let after = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    assert_eq!(before, after, "the mounts outside of the children changed");
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cannot_run() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    match running_kernel() {
        None => Some(format!("the model has no rules for Linux {release}")),
        Some(kernel) if std::env::var_os("RHIZOME_MODEL_DIFFERENCES").is_none() => {
            let read = kernel.standing().starts_with("read");
            read.then(|| format!("the model's rules for Linux {release} were never compared with it"))
        }
        Some(_) => None,
    }
}

/// Whose rules the running kernel follows, by its release; none if the model has none for it.
fn running_kernel() -> Option<subtree_model::Kernel> {
    subtree_model::Kernel::of_release(&rustix::system::uname().release().to_string_lossy())
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
        Err(_) => default,
    }
}

fn one_case(file: &str) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let steps: Result<Vec<_>, _> = text.lines().map(step::parse).collect();
    let steps: Vec<_> =
        steps.unwrap_or_else(|error| panic!("{file}: {error}")).into_iter().flatten().collect();
    match run_apart(|kernel, outcome| run::replay(kernel, &steps, outcome)) {
        Outcome { difference: Some(difference), .. } => {
            println!("{difference}");
            false
        }
        _ => {
            println!("test case {file} ... ok");
            true
        }
    }
}

/// The cases, the random sequences, and whether they met every rule that can be met.
fn all() -> bool {
    let (mut total, cases_agree) = cases::all();
    let sequences_agree = random_sequences(&mut total);
    let unmet: Vec<_> = RuleId::ALL
        .iter()
        .map(|rule| rule.id())
        .filter(|id| !total.rules.contains_key(*id))
        .filter(|id| !NOT_MET_HERE.iter().any(|(rule, _)| rule == id) && !is_of_other_kernels(id))
        .collect();
    println!("rules met: {} of {}", total.rules.len(), RuleId::ALL.len());
    if std::env::var_os("RHIZOME_MODEL_RULES").is_some() {
        total.rules.iter().for_each(|(rule, count)| println!("  {count:8} {rule}"));
    }
    if !unmet.is_empty() {
        println!("rules that nothing met: {}", unmet.join(" "));
    }
    println!("test every_rule_is_met ... {}", if unmet.is_empty() { "ok" } else { "FAILED" });
    cases_agree && sequences_agree && unmet.is_empty()
}

/// Rules that these tests cannot meet, and why; but for the last, unit tests of the model do (`src/tests/limits.rs`).
const NOT_MET_HERE: [(&str, &str); 14] = [
    ("namespace-enter", "the kernel's side enters namespaces between the steps"),
    ("no-such-task", "of the model only"),
    ("path-empty", "no case has one"),
    ("path-too-long", "no case has one"),
    ("path-link-loop", "no case makes links"),
    ("not-permitted", "the tests' process is always privileged"),
    ("namespace-not-permitted", "the tests' process is always privileged"),
    ("mount-max", "the limit is the machine's"),
    ("move-no-parent", "no path reaches a namespace's first mount"),
    ("unmount-no-parent", "no path reaches a namespace's first mount"),
    ("pivot-root-no-parent", "no path reaches a namespace's first mount"),
    ("pivot-new-no-parent", "no path reaches a namespace's first mount"),
    ("beneath-no-parent", "only by detached trees, which a random sequence may do or not"),
    ("too-large", "needs a thousand million mounts"),
];

/// Rules that only some kernels have.
fn is_of_other_kernels(rule: &str) -> bool {
    use subtree_model::Kernel;
    let kernel = running_kernel().unwrap_or_default();
    match rule {
        "beneath-unsupported" => kernel >= Kernel::V6_6,
        "detached-unsupported" => kernel >= Kernel::V6_18,
        "set-group-unbindable" => kernel < Kernel::V7,
        "target-gone" | "move-into-itself" => kernel < Kernel::V6_18,
        "namespace-drops-unbindable" => kernel != Kernel::V6_18,
        rule if rule.starts_with("beneath-") || rule == "attach-beneath" => kernel < Kernel::V6_6,
        _ => false,
    }
}

fn random_sequences(all: &mut Outcome) -> bool {
    let (sequences, seed) = (number("RHIZOME_MODEL_SEQUENCES", 300), number("RHIZOME_MODEL_SEED", 1));
    let start = Instant::now();
    let mut total = Outcome::default();
    let mut failing = Vec::new();
    let (mut next, end) = (seed, seed + sequences);
    while next < end && failing.len() < DIFFERENCES_MAX {
        let to = end.min(next + BATCH);
        let outcome = run_apart(|kernel, outcome| run::random(kernel, next..to, outcome));
        next = match (outcome.failing_seed, &outcome.difference) {
            (Some(seed), what) => {
                println!("seed {seed}, as it was met: {}", what.as_deref().unwrap_or("no word"));
                failing.push(seed);
                seed + 1
            }
            (None, Some(died)) => {
                println!("sequences {next} to {}: {died}", to - 1);
                return false;
            }
            (None, None) => to,
        };
        total.add(outcome);
    }
    let shrinks = std::env::var_os("RHIZOME_MODEL_SHRINK").is_none_or(|value| value != "no");
    for &seed in failing.iter().filter(|_| shrinks) {
        println!("{}", run::shrunk(seed));
    }
    report(&total, next - seed, seed, start, failing.len());
    all.add(total);
    failing.is_empty()
}

fn report(total: &Outcome, sequences: u64, seed: u64, start: Instant, failing: usize) {
    println!(
        "{sequences} sequences from seed {seed} (generator {}), {} operations ({} refused), {} comparisons in {:.1} s: {failing} differ",
        generate::VERSION,
        total.operations,
        total.refused,
        total.comparisons,
        start.elapsed().as_secs_f64(),
    );
    if total.spared > 0 {
        println!("{} steps not given to the kernel, which might fail itself at them", total.spared);
    }
    println!("test random_sequences ... {}", if failing == 0 { "ok" } else { "FAILED" });
}
