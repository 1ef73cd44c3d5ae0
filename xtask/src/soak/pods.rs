//! `soak pods` and `soak churn`: the tests of `crates/cli/tests/soak.rs` with the counts of the long form, and what they
//! leave behind on this machine.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use super::USAGE;
use crate::test;

/// Pods, and clients that use them, of the long form.
const PODS: &str = "50";
const CLIENTS: &str = "16";

/// Many clients at once.
pub(super) fn at_once(args: &[String]) -> Result<ExitCode> {
    let rounds = number(args, 20)?;
    let counts = [("PODS", PODS.to_owned()), ("CLIENTS", CLIENTS.to_owned()), ("ROUNDS", rounds.to_string())];
    run("many_clients", &counts)
}

/// Pod after pod.
pub(super) fn churn(args: &[String]) -> Result<ExitCode> {
    run("many_lives", &[("LIVES", number(args, 5_000)?.to_string())])
}

pub(super) fn number(args: &[String], usual: u64) -> Result<u64> {
    match args {
        [] => Ok(usual),
        [count] => count.parse().with_context(|| format!("{count:?} is no number\n{USAGE}")),
        _ => bail!("too many arguments\n{USAGE}"),
    }
}

fn run(tests: &str, counts: &[(&str, String)]) -> Result<ExitCode> {
    let counts = counts.iter().map(|(name, count)| (format!("RHIZOME_SOAK_{name}"), count.clone()));
    let args = ["-p", "rhizome", "--test", "soak", "--", "--test-threads", "1", tests].map(str::to_owned);
    test::run_with(&args, &counts.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn counts() {
        assert_eq!(number(&[], 20).unwrap(), 20);
        assert_eq!(number(&["3".to_owned()], 20).unwrap(), 3);
        assert!(number(&["many".to_owned()], 20).is_err());
        assert!(number(&["1".to_owned(), "2".to_owned()], 20).is_err());
    }
}
