//! The comparison of `tests/kernel`, with the model as it is in the kernel's place: it is known to agree with the kernel, so
//! that a mutant which differs from it would be noticed by that test, and no mount has to be made to see it. A test program
//! of the copy that `cargo xtask mutants generated` makes.
#![allow(dead_code, clippy::disallowed_macros, clippy::disallowed_methods)]

#[path = "kernel/cases.rs"]
mod cases;
#[path = "kernel/generate.rs"]
mod generate;
#[path = "kernel/machine.rs"]
mod machine;
#[path = "kernel/run.rs"]
mod run;
#[path = "kernel/step.rs"]
mod step;

use machine::{Model, check_reading_back, comparable};
use std::process::ExitCode;
use step::Step;
use subtree_model::Kernel;
use subtree_model::switch::{mutant, set_mutant};

/// Random sequences, from seed 1: those of an ordinary run of the test.
const SEQUENCES: u64 = 100;

fn running_kernel() -> Option<Kernel> {
    Some(Kernel::V6_18)
}

/// The kernels on which that test runs, so that what it notices there is noticed.
const RUN: [Kernel; 2] = [Kernel::V6_18, Kernel::V6_1];

fn main() -> ExitCode {
    let number = mutant();
    let mut ok = true;
    for version in Kernel::ALL {
        ok &= cases::by_the_rules_of(version);
    }
    for kernel in RUN {
        for (name, case) in cases::of_version(kernel) {
            let mut steps = case.steps().filter_map(Result::ok).map(|(step, _)| step);
            if differs(kernel, number, |_| steps.next()) {
                println!("{name}, Linux {}: differs", kernel.name());
                ok = false;
            }
        }
    }
    // One that notices is enough.
    let seeds = RUN.iter().flat_map(|&kernel| (1..=SEQUENCES).map(move |seed| (kernel, seed)));
    let differing = seeds.filter(|_| ok).find(|&(kernel, seed)| {
        let mut generator = generate::Generator::new(seed);
        differs(kernel, number, |model| generator.next(model))
    });
    if let Some((kernel, seed)) = differing {
        println!("seed {seed}\ntest random_sequences of {} ... FAILED", kernel.name());
        ok = false;
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn differs(kernel: Kernel, number: usize, mut next: impl FnMut(&Model) -> Option<Step>) -> bool {
    set_mutant(0);
    let mut real = Model::of(kernel);
    set_mutant(number);
    let mut mutated = Model::of(kernel);
    loop {
        set_mutant(number);
        let Some(step) = next(&mutated) else { break };
        let said = mutated.step(&step).map(|_| ()).map_err(|refused| refused.errno);
        if mutated.world.check_invariants().is_err() {
            return true;
        }
        let after = comparable(mutated.tables());
        set_mutant(0);
        let expected = real.step(&step).map(|_| ()).map_err(|refused| refused.errno);
        if said != expected || after != comparable(real.tables()) {
            return true;
        }
    }
    set_mutant(number);
    check_reading_back(&mutated.tables()).is_err()
}
