//! The `rhizome` command: arguments → calls → view → exit status.
//!
//! Architecture invariant: this room decides what to say and where: data on standard output, the rest on standard
//! error, the status in [`exit`]. It alone reads arguments, the environment and the terminal, and alone prints.
//!
//! Architecture invariant: a command is a thin function of [`ops`] over the rooms below. What pods, mounts,
//! images or findings *are* is not decided here, nor how they look (`view`).
//!
//! Architecture invariant: one definition a flag ([`args`]): parser, help and completions come from it.
//!
//! Architecture invariant: one thread. Namespaces are entered and children cloned from here, and both want that.
//!
//! Architecture invariant: no descriptor of ours gets into a container: `exec` carries bytes over pipes, or over a
//! terminal of the container's own.
//!
//! Deliberately absent: a daemon (commands read the files and ask each pod's supervisor), a configuration file, and
//! retrying: a command whose pod cannot be started says so and leaves nothing.
#![forbid(unsafe_code)]

mod args;
mod ask;
mod command;
mod complete;
mod detach;
mod dry_run;
mod duration;
mod exit;
mod foreground;
mod jsonpath;
mod keeper;
mod lines;
mod log;
mod manifests;
mod mends;
mod node;
mod ops;
mod output;
mod plugin;
mod pods;
mod process;
mod relay;
mod report;
mod simulate_check;
mod target;
mod terminal;
mod world;

use clap::FromArgMatches as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(ended) = ours() {
        return ended;
    }
    // Asked by a shell what could come next: answers and ends.
    clap_complete::CompleteEnv::with_factory(command::completed).var(ops::ASKED_BY).complete();
    let matches = plugin::as_called(command::command()).get_matches();
    let cli = args::Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    log::begin(false);
    ExitCode::from(report::status(ops::run(cli)))
}

/// What we start ourselves, by its first word: it needs none of the command line's definitions, whose making takes a good part
/// of a supervisor's start, and memory that it would keep.
fn ours() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let first = words.next()?;
    if first == agent::supervisor::SUBCOMMAND {
        log::begin(true);
        return Some(agent::supervisor::main(words));
    }
    (first == serve::executor::SUBCOMMAND).then(|| {
        log::begin(false);
        serve::executor::main()
    })
}
