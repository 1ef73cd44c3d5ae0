//! What the commands do: a module each.

mod attach;
mod audit;
mod copy;
mod debug;
mod detach_mounts;
mod doctor;
mod events;
mod exec;
mod graph;
mod image;
mod inspect;
mod lifecycle;
mod lint;
mod logs;
mod mend;
mod mounts;
mod node;
mod plan;
mod ps;
mod run;
mod shell;
mod simulate;
mod snapshot;
mod system;
mod top;
mod unshare;
pub(crate) mod wait;
mod watch;
mod why;
mod why_busy;

pub(crate) use shell::ASKED_BY;

use crate::args::{self, Cli, Command};
use crate::exit::Result;
use crate::keeper;

/// Does what was asked.
pub(crate) fn run(cli: Cli) -> Result {
    let Cli { global, command } = cli;
    match command {
        Command::Lint(args) => lint::run(&args),
        Command::Plan(args) => plan::run(&global, &args),
        Command::Doctor(args) => doctor::run(&global, &args),
        Command::Image(args) => image::run(&global, &args.command),
        Command::Snapshot(args) => snapshot::run(&global, &args),
        Command::Diff(args) => snapshot::diff(&global, &args),
        Command::Watch(args) => watch::run(&global, &args),
        Command::Mounts(args) => mounts::run(&global, &args),
        Command::Keep(_) => keeper::keep(),
        Command::Simulate(args) => simulate::run(&global, &args),
        Command::Unshare(args) => unshare::run(args),
        Command::WhyBusy(args) => why_busy::run(&global, &args),
        Command::Graph(args) => graph::run(&global, &args),
        Command::Audit(args) => audit::run(&global, &args),
        Command::Mend(args) => mend::run(&global, &args),
        Command::Why(args) => why::run(&global, &args, true),
        Command::WhyNot(args) => why::run(&global, &args, false),
        Command::Ps(args) => ps::run(&global, &args),
        Command::Inspect(args) => inspect::run(&global, &args),
        Command::Exec(args) => exec::run(&global, &args),
        Command::Attach(args) => attach::run(&global, &args),
        Command::Debug(args) => debug::run(&global, args),
        Command::Run(args) => run::run(&global, &args),
        Command::Wait(args) => wait::run(&global, &args),
        Command::Top(args) => top::run(&global, &args),
        Command::Events(args) => events::run(&global, &args),
        Command::DetachMounts(args) => detach_mounts::run(&global, &args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
        Command::System(args) => {
            let args::SystemCommand::Reset(args) = args.command;
            system::reset(&global, &args)
        }
        Command::Cp(args) => copy::run(&global, &args),
        Command::Logs(args) => logs::run(&global, &args),
        Command::Stop(args) => lifecycle::stop(&global, &args),
        Command::Start(args) => lifecycle::start(&global, &args),
        Command::Rm(args) => lifecycle::remove(&global, &args),
        Command::Node(args) => node::run(&global, &args),
        Command::Kubeconfig(args) => node::kubeconfig(&global, &args),
    }
}
