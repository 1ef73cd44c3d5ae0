//! What the commands do: a module each.

mod doctor;
mod unshare;

use crate::args::{Cli, Command};
use crate::exit::{Failure, Result};

/// Does what was asked.
pub(crate) fn run(cli: Cli) -> Result {
    let Cli { global, command } = cli;
    match command {
        Command::Doctor(args) => doctor::run(&global, &args),
        Command::Unshare(args) => unshare::run(args),
        Command::Run(_)
        | Command::Ps(_)
        | Command::Inspect(_)
        | Command::Exec(_)
        | Command::Logs(_)
        | Command::Stop(_)
        | Command::Start(_)
        | Command::Rm(_)
        | Command::Image(_)
        | Command::Supervise(_)
        | Command::Keep => Err(Failure::wrong_use("this build has no pods yet")),
    }
}
