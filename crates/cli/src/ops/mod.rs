//! What the commands do: a module each.

mod doctor;
mod exec;
mod image;
mod inspect;
mod ps;
mod run;
mod unshare;

use crate::args::{Cli, Command};
use crate::exit::{Failure, Result};
use crate::world;

/// Does what was asked.
pub(crate) fn run(cli: Cli) -> Result {
    let Cli { global, command } = cli;
    match command {
        Command::Doctor(args) => doctor::run(&global, &args),
        Command::Image(args) => image::run(&global, &args.command),
        Command::Keep(_) => world::keep(),
        Command::Unshare(args) => unshare::run(args),
        Command::Ps(args) => ps::run(&global, &args),
        Command::Inspect(args) => inspect::run(&global, &args),
        Command::Exec(args) => exec::run(&global, &args),
        Command::Run(args) => run::run(&global, &args),
        Command::Logs(_) | Command::Stop(_) | Command::Start(_) | Command::Rm(_) | Command::Supervise(_) => {
            Err(Failure::wrong_use("this build has no pods yet"))
        }
    }
}
