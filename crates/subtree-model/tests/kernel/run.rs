//! Runs steps in kernel and model side by side, in children, and makes failing sequences small.

use crate::generate::Generator;
use crate::machine::{Kernel, Model, check_reading_back, comparable};
use crate::step::Step;
use mount_table::{MountTable, Snapshot};
use rustix::fd::OwnedFd;
use rustix::process::WaitOptions;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use subtree_model::{Effects, Missing, Op, Refused};
use sys::namespace::Namespaces;
use sys::process::{exit, spawn};

/// What a child has to say.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) operations: u64,
    pub(crate) refused: u64,
    pub(crate) comparisons: u64,
    /// Steps that the kernel was not given, since it might not have survived them.
    pub(crate) spared: u64,
    /// How often each rule had a part.
    pub(crate) rules: BTreeMap<String, u64>,
    pub(crate) failing_seed: Option<u64>,
    /// What differed, for people.
    pub(crate) difference: Option<String>,
    /// Lines that a case came to.
    pub(crate) notes: Vec<String>,
}

impl Outcome {
    pub(crate) fn add(&mut self, other: Outcome) {
        self.operations += other.operations;
        self.refused += other.refused;
        self.comparisons += other.comparisons;
        self.spared += other.spared;
        for (rule, count) in other.rules {
            *self.rules.entry(rule).or_default() += count;
        }
    }

    fn to_text(&self) -> String {
        let mut text = format!("{} {} {} {}\n", self.operations, self.refused, self.comparisons, self.spared);
        let _ = writeln!(text, "{}", self.failing_seed.map_or("-".to_owned(), |seed| seed.to_string()));
        self.rules.iter().for_each(|(rule, count)| {
            let _ = writeln!(text, "{rule} {count}");
        });
        let _ = writeln!(text, ".");
        self.notes.iter().for_each(|note| {
            let _ = writeln!(text, "{note}");
        });
        let _ = writeln!(text, ".");
        text.push_str(self.difference.as_deref().unwrap_or(""));
        text
    }

    fn from_text(text: &str) -> Option<Outcome> {
        let mut lines = text.lines();
        let mut numbers = lines.next()?.split(' ').map(str::parse);
        let mut number = || numbers.next()?.ok();
        let (operations, refused, comparisons, spared) = (number()?, number()?, number()?, number()?);
        let failing_seed = lines.next()?.parse().ok();
        let mut rules = BTreeMap::new();
        for line in lines.by_ref().take_while(|line| *line != ".") {
            let (rule, count) = line.split_once(' ')?;
            rules.insert(rule.to_owned(), count.parse().ok()?);
        }
        let notes = lines.by_ref().take_while(|line| *line != ".").map(str::to_owned).collect();
        let difference: Vec<_> = lines.collect();
        let difference = (!difference.is_empty()).then(|| difference.join("\n"));
        Some(Outcome { operations, refused, comparisons, spared, rules, failing_seed, difference, notes })
    }
}

/// Runs `work` in a child with a mount namespace of its own.
pub(crate) fn run_apart(work: impl FnOnce(&mut Kernel, &mut Outcome)) -> Outcome {
    let (from, to) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe");
    let child = spawn(Namespaces::MOUNT, None, || {
        let mut outcome = Outcome::default();
        let mut kernel = Kernel::new().expect("a root of its own");
        work(&mut kernel, &mut outcome);
        write_all(&to, outcome.to_text().as_bytes());
        exit(0)
    })
    .expect("a child");
    drop(to);
    let text = read_all(&from);
    rustix::process::waitpid(Some(child.pid), WaitOptions::empty()).expect("waitpid");
    Outcome::from_text(&text).unwrap_or_else(|| Outcome {
        difference: Some("the child died (see above)".to_owned()),
        ..Outcome::default()
    })
}

fn write_all(fd: &OwnedFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let written = rustix::io::write(fd, bytes).expect("write to the parent");
        bytes = &bytes[written..];
    }
}

fn read_all(fd: &OwnedFd) -> String {
    let (mut bytes, mut page) = (Vec::new(), [0; 4096]);
    loop {
        match rustix::io::read(fd, &mut page).expect("read from the child") {
            0 => return String::from_utf8_lossy(&bytes).into_owned(),
            count => bytes.extend_from_slice(&page[..count]),
        }
    }
}

/// Runs random sequences until one differs.
pub(crate) fn random(kernel: &mut Kernel, seeds: Range<u64>, outcome: &mut Outcome) {
    for seed in seeds {
        let mut generator = Generator::new(seed);
        let mut steps = Vec::new();
        let result = side_by_side(kernel, outcome, |model| {
            let step = generator.next(model)?;
            steps.push(step.clone());
            Some(step)
        });
        if let Err(difference) = result {
            outcome.failing_seed = Some(seed);
            outcome.difference = Some(difference);
            return;
        }
    }
}

/// Runs given steps.
pub(crate) fn replay(kernel: &mut Kernel, steps: &[Step], outcome: &mut Outcome) {
    let mut rest = steps.iter();
    if let Err(difference) = side_by_side(kernel, outcome, |_| rest.next().cloned()) {
        outcome.difference = Some(difference);
    }
}

fn side_by_side(
    kernel: &mut Kernel,
    outcome: &mut Outcome,
    mut next: impl FnMut(&Model) -> Option<Step>,
) -> Result<(), String> {
    kernel.begin().expect("a fresh beginning");
    let mut model = Model::new();
    compare(kernel, &model, true, outcome)?;
    while let Some(step) = next(&model) {
        both_checked(kernel, &mut model, &step, outcome)
            .map(drop)
            .map_err(|what| format!("{step}\n{what}"))?;
    }
    compare(kernel, &model, true, outcome)?;
    let tables = kernel.tables();
    check_reading_back(&tables).map_err(|what| {
        let rows: String = tables.namespaces.iter().map(|table| format!("{}\n", table.mounts)).collect();
        format!("{what}\n{rows}")
    })
}

/// Whether a step cannot change a mount when it succeeds, so that tables need not be read.
fn is_about_files_only(step: &Step) -> bool {
    matches!(
        step,
        Step::Do { op: Op::Create { kind: Missing::Directory | Missing::File, .. } | Op::Open { .. }, .. }
    )
}

/// Gives a step to both and compares; what the model said.
pub(crate) fn both_checked(
    kernel: &mut Kernel,
    model: &mut Model,
    step: &Step,
    outcome: &mut Outcome,
) -> Result<Result<Effects, Refused>, String> {
    let modelled = model.step(step);
    if model.would_break_the_kernel(step, &modelled) {
        outcome.spared += 1;
        return Ok(modelled);
    }
    let real = kernel.step(step);
    outcome.operations += 1;
    let counted: Vec<_> = match &modelled {
        Ok(effects) => effects.rules().collect(),
        Err(refused) => {
            outcome.refused += 1;
            vec![refused.rule]
        }
    };
    for rule in counted {
        *outcome.rules.entry(rule.id().to_owned()).or_default() += 1;
    }
    let real_errno = real.err().map_or(0, |errno| errno.raw_os_error());
    let model_errno = modelled.as_ref().map_or_else(|refused| refused.errno.number(), |_| 0);
    if real_errno != model_errno {
        let real = real.map_or_else(|errno| format!("{errno:?}"), |()| "success".to_owned());
        let modelled = modelled.as_ref().map_or_else(|refused| refused.to_string(), |_| "success".to_owned());
        return Err(format!("kernel: {real}\nmodel:  {modelled}"));
    }
    model.world.check_invariants().map_err(|broken| format!("the model's state is broken: {broken}"))?;
    if !is_about_files_only(step) {
        compare(kernel, model, modelled.is_ok(), outcome)?;
    }
    Ok(modelled)
}

/// Reads all namespaces and compares. After a step that was refused it is enough that the kernel's tables are those of
/// the comparison before: had the model changed all the same, the next comparison would tell (the last is a full one).
fn compare(kernel: &mut Kernel, model: &Model, succeeded: bool, outcome: &mut Outcome) -> Result<(), String> {
    outcome.comparisons += 1;
    let changed = kernel.read().map_err(|errno| format!("the kernel's tables: {errno:?}"))?;
    if !changed && !succeeded {
        return Ok(());
    }
    let (real, modelled) = (comparable(kernel.tables()), comparable(model.tables()));
    if real == modelled { Ok(()) } else { Err(show_difference(&real, &modelled)) }
}

fn show_difference(real: &Snapshot, modelled: &Snapshot) -> String {
    let mut text = String::new();
    for (real, modelled) in real.namespaces.iter().zip(&modelled.namespaces) {
        if real != modelled {
            let _ = writeln!(text, "namespace {}:", real.id.0);
            let rows = |table: &MountTable| table.to_string().lines().map(str::to_owned).collect::<Vec<_>>();
            let (real, modelled) = (rows(&real.mounts), rows(&modelled.mounts));
            for row in 0..real.len().max(modelled.len()) {
                let (real, modelled) = (real.get(row), modelled.get(row));
                let empty = String::new();
                if real == modelled {
                    let _ = writeln!(text, "          {}", real.unwrap_or(&empty));
                } else {
                    let _ = writeln!(text, "  kernel: {}", real.unwrap_or(&empty));
                    let _ = writeln!(text, "  model:  {}", modelled.unwrap_or(&empty));
                }
            }
        }
    }
    text
}

/// The steps of a seed, as far as the first difference.
fn steps_of(seed: u64) -> Vec<Step> {
    // The generator looks at the model, which does the same whatever the kernel says.
    let mut model = Model::new();
    let mut generator = Generator::new(seed);
    let mut steps = Vec::new();
    while let Some(step) = generator.next(&model) {
        let _ = model.step(&step);
        steps.push(step);
    }
    steps
}

/// A failing seed's sequence made small, as a case that can be run.
pub(crate) fn shrunk(seed: u64) -> String {
    let mut steps = steps_of(seed);
    let differs = |steps: &[Step]| run_apart(|kernel, outcome| replay(kernel, steps, outcome)).difference;
    let Some(mut difference) = differs(&steps) else {
        return format!("seed {seed} differs, but its steps alone do not");
    };
    let mut chunk = steps.len() / 2;
    while chunk > 0 {
        let mut from = 0;
        while from < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(from..(from + chunk).min(steps.len()));
            match differs(&fewer) {
                Some(still) => (steps, difference) = (fewer, still),
                None => from += chunk,
            }
        }
        chunk /= 2;
    }
    let case: String = steps.iter().map(|step| format!("{step}\n")).collect();
    format!("seed {seed} differs:\n{case}# at: {difference}\n")
}
