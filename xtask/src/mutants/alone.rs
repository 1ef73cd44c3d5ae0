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

use machine::{Model, comparable};
use std::process::ExitCode;
use subtree_model::Kernel;
use subtree_model::switch::{mutant, set_mutant};

/// Random sequences, from seed 1: those of an ordinary run of the test.
const SEQUENCES: u64 = 100;

fn running_kernel() -> Option<Kernel> {
    Some(Kernel::V6_18)
}

fn main() -> ExitCode {
    let number = mutant();
    let mut ok = true;
    for version in Kernel::ALL {
        ok &= cases::by_the_rules_of(version);
    }
    if let Some(seed) = (1..=SEQUENCES).find(|&seed| differs(seed, number)) {
        println!("seed {seed}\ntest random_sequences ... FAILED");
        ok = false;
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn differs(seed: u64, number: usize) -> bool {
    set_mutant(0);
    let mut real = Model::new();
    set_mutant(number);
    let mut mutated = Model::new();
    let mut generator = generate::Generator::new(seed);
    loop {
        set_mutant(number);
        let Some(step) = generator.next(&mutated) else { return false };
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
}
