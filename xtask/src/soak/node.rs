//! `soak streams` and `soak requests`: the node's tests of `crates/cli/tests/streams.rs` and `node_fuzz.rs` with much more of
//! what they send.

use std::process::ExitCode;

use anyhow::Result;

use super::pods::number;
use crate::test;

/// A file of so many MiB through `exec` and `cp`, by each kubectl and both protocols.
pub(super) fn streams(args: &[String]) -> Result<ExitCode> {
    let mib = number(args, 1024)?;
    run("streams", "files_and_streams_go_both_ways_without_growth", "RHIZOME_STREAM_MIB", mib)
}

/// Requests made up from the node's own OpenAPI document.
pub(super) fn requests(args: &[String]) -> Result<ExitCode> {
    run("node_fuzz", "", "RHIZOME_FUZZ_REQUESTS", number(args, 100_000)?)
}

fn run(program: &str, test: &str, variable: &str, count: u64) -> Result<ExitCode> {
    let args = ["-p", "rhizome", "--test", program, "--", "--nocapture", test].map(str::to_owned);
    let args: Vec<String> = args.into_iter().filter(|arg| !arg.is_empty()).collect();
    test::run_with(&args, &[(variable.to_owned(), count.to_string())])
}
