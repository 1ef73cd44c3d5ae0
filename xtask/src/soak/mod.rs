//! `cargo xtask soak`: what the tests do in a short form, for long. `model` holds the model against the running kernel;
//! `pods`, `churn`, `streams` and `requests` are tests of the command line with larger counts.

mod model;
mod node;
mod pods;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask soak PART [ARGS…]

  model [SEQUENCES] [--seed N] [--processes N]
                                 random sequences of mount operations on this kernel and in the model (`model --help`)
  pods [ROUNDS]                  50 pods started, entered, changed and removed by 16 clients at once; 20 rounds
  churn [LIVES]                  5,000 pods one after the other, by commands and by a node: nothing may grow
  streams [MIB]                  1,024 MiB through kubectl's exec and cp, each way, by each kubectl: the node may not grow
  requests [COUNT]               100,000 requests made up from the node's OpenAPI document: no panic, nothing lost";

/// Runs the part that is asked for.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    match args.split_first().map(|(part, rest)| (part.as_str(), rest)) {
        Some(("model", rest)) => model::run(rest),
        Some(("pods", rest)) => pods::at_once(rest),
        Some(("churn", rest)) => pods::churn(rest),
        Some(("streams", rest)) => node::streams(rest),
        Some(("requests", rest)) => node::requests(rest),
        None | Some(("--help" | "-h" | "help", _)) => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        Some((unknown, _)) => bail!("there is no part {unknown:?}\n{USAGE}"),
    }
}
