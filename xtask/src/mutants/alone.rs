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
    // One that notices is enough.
    let differing = RUN.iter().filter(|_| ok).find_map(|&kernel| {
        (1..=SEQUENCES).find(|&seed| differs(kernel, seed, number)).map(|seed| (kernel, seed))
    });
    if let Some((kernel, seed)) = differing {
        println!("seed {seed}\ntest random_sequences of {} ... FAILED", kernel.name());
        ok = false;
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn differs(kernel: Kernel, seed: u64, number: usize) -> bool {
    set_mutant(0);
    let mut real = Model::of(kernel);
    set_mutant(number);
    let mut mutated = Model::of(kernel);
    let mut generator = generate::Generator::new(seed);
    loop {
        set_mutant(number);
        let Some(step) = generator.next(&mutated) else { break };
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
