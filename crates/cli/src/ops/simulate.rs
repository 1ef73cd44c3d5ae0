//! `rhizome simulate`: a script in the model of the kernel, and on the kernel itself.

use crate::args::{self, Document, Object};
use crate::exit::{Context as _, Exit, Failure, Result};
use crate::output;
use crate::simulate_check::{self, Report};
use explain::simulate::{Script, ScriptError, Simulation};
use mount_table::{NamespaceId, Snapshot};
use serde_json::json;
use std::io::Read as _;
use std::path::Path;
use view::text::printable;

/// The longest script, in bytes.
const SCRIPT_MAX: u64 = 16 << 20;

/// Prints what the script does.
pub(crate) fn run(args: &args::Simulate) -> Result {
    let text = read_script(&args.script)?;
    let simulation = beginning(args)?;
    let script =
        Script::parse_with(&text, simulation.names()).map_err(|error| wrong(&args.script, &error))?;
    let report = if args.check { Some(simulate_check::check(&script)?) } else { None };
    let outcome = simulation.run(&script);
    let mut document = view::simulation::document(&outcome);
    if let Some(report) = &report {
        document["check"] = json!({
            "kernel": report.kernel,
            "lines": report.lines,
            "difference": report.difference,
            "stopped": report.stopped,
        });
    }
    match args.output {
        Document::Table => {
            let text = view::simulation::simulation(&outcome, output::stdout_paint());
            output::stdout(&format!("{text}{}", report.as_ref().map_or(String::new(), told)))?;
        }
        // Not by `output::document`: that sorts, and the namespaces are in the order in which they were made.
        Document::Json => {
            let text = serde_json::to_string_pretty(&document)?;
            output::stdout(&format!("{text}\n"))?;
        }
        Document::Yaml => output::document(&document, Object::Yaml)?,
    }
    // What could not be compared is no agreement.
    Ok(match report {
        Some(Report { difference: Some(_), .. }) => Exit::NO,
        Some(Report { stopped: Some(_), .. }) => Exit(2),
        _ => Exit::YES,
    })
}

/// What came of the check, for reading.
fn told(report: &Report) -> String {
    let Report { kernel, lines, difference, stopped } = report;
    let result = match (difference, stopped) {
        (Some(difference), _) => format!("the model differs from Linux {kernel}\n{difference}"),
        (None, Some(why)) => {
            format!("{lines} lines are as on Linux {kernel}, then it could not go on: {why}")
        }
        (None, None) => format!("all {lines} lines are as on Linux {kernel}"),
    };
    format!("\ncheck: {}\n", result.lines().map(printable).collect::<Vec<_>>().join("\n"))
}

fn wrong(path: &Path, error: &ScriptError) -> Failure {
    let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    Failure::wrong_use(format!("{name}, {error}"))
}

fn read_script(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(SCRIPT_MAX + 1).read_to_end(&mut bytes).context("reading standard input")?;
    } else {
        let what = format!("reading {}", path.display());
        let file = std::fs::File::open(path).context(what.clone())?;
        file.take(SCRIPT_MAX + 1).read_to_end(&mut bytes).context(what)?;
    }
    if bytes.len() as u64 > SCRIPT_MAX {
        return Err(Failure::wrong_use(format!("{}: longer than {SCRIPT_MAX} bytes", path.display())));
    }
    String::from_utf8(bytes).context(format!("reading {}", path.display()))
}

/// The mount namespaces in a file.
pub(crate) fn read_snapshot(path: &Path) -> Result<Snapshot> {
    let what = format!("reading {}", path.display());
    let text = std::fs::read(path).context(what.clone())?;
    serde_json::from_slice(&text).context(what)
}

/// The world that the script begins in.
fn beginning(args: &args::Simulate) -> Result<Simulation> {
    if let Some(path) = &args.snapshot {
        let snapshot = read_snapshot(path)?;
        return Simulation::of_snapshot(snapshot, None).context(format!("reading {}", path.display()));
    }
    if args.here {
        let found = observe::read_namespaces().context("reading the mounts of this machine")?;
        let own = std::process::id();
        let is_own = |pids: &Vec<u32>| pids.contains(&own);
        let host =
            found.processes.iter().find(|(_, pids)| is_own(pids)).map(|(id, _): (&NamespaceId, _)| *id);
        output::note(
            "what a machine's tables do not tell (locked mounts, orders, what uses a mount) is assumed to be absent",
        );
        return Simulation::of_snapshot(found.snapshot, host).context("reading the mounts of this machine");
    }
    Ok(Simulation::default())
}
