//! `rhizome simulate`: a script in the model of the kernel, and on the kernel itself.

use crate::args::{self, Document, Global, NodeSource, Object};
use crate::exit::{Context as _, Exit, Failure, Result};
use crate::simulate_check::{self, Report};
use crate::{node, output};
use explain::simulate::{Outcome, PICTURES_MAX, Script, ScriptError, Simulation};
use jiff::Timestamp;
use mount_table::{NamespaceTable, NamespaceView, Node, Snapshot};
use serde_json::json;
use std::io::Read as _;
use std::path::Path;
use subtree_model::Kernel;
use view::text::printable;

/// The longest script, in bytes.
const SCRIPT_MAX: u64 = 16 << 20;

/// Prints what the script does.
pub(crate) fn run(global: &Global, args: &args::Simulate) -> Result {
    let text = read_script(&args.script)?;
    let mut simulation = beginning(global, args)?;
    simulation.set_kernel(kernel(args.kernel.as_deref())?);
    let script =
        Script::parse_with(&text, simulation.names()).map_err(|error| wrong(&args.script, &error))?;
    let report = if args.check { Some(simulate_check::check(&script)?) } else { None };
    let outcome = match args.svg.is_some() || args.html.is_some() {
        true => draw(simulation, &script, args)?,
        false => simulation.run(&script),
    };
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

/// Runs the script and writes its pictures.
fn draw(simulation: Simulation, script: &Script, args: &args::Simulate) -> Result<Outcome> {
    let (outcome, pictures) = simulation.run_drawn(script);
    if pictures.len() == PICTURES_MAX {
        output::note(&format!("only the first {PICTURES_MAX} pictures are drawn"));
    }
    let title = match args.script.file_name() {
        Some(name) if args.script != Path::new("-") => name.to_string_lossy().into_owned(),
        _ => "A script of mount commands".to_owned(),
    };
    let write =
        |path: &Path, text: String| std::fs::write(path, text).context(format!("writing {}", path.display()));
    if let Some(path) = &args.svg {
        write(path, view::graph::steps_svg(&outcome, &pictures, &title))?;
    }
    if let Some(path) = &args.html {
        write(path, view::graph::steps_html(&outcome, &pictures, &title))?;
    }
    Ok(outcome)
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

fn named(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

fn wrong(path: &Path, error: &ScriptError) -> Failure {
    Failure::wrong_use(format!("{}, {error}", named(path)))
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
        return Err(Failure::wrong_use(format!("{}: longer than {SCRIPT_MAX} bytes", named(path))));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        Failure::wrong_use(format!("{}, line {line}: not UTF-8, which a script is", named(path)))
    })
}

/// A node in a file: what `rhizome snapshot` wrote, or only a list of namespaces with their mounts.
pub(crate) fn read_snapshot(path: &Path) -> Result<Node> {
    let bytes = node::read_bytes(path)?;
    let what = format!("reading {}", path.display());
    if !bytes.trim_ascii_start().starts_with(b"[") {
        return Node::parse_json(&bytes).context(what);
    }
    let snapshot: Snapshot = serde_json::from_slice(&bytes).context(what)?;
    let mut node = Node::new(Timestamp::UNIX_EPOCH, String::new());
    node.host =
        snapshot.namespaces.iter().find(|table| !table.mounts.mounts.is_empty()).map(|table| table.id);
    let view = |table: NamespaceTable| NamespaceView::new(table.id, table.mounts);
    node.namespaces = snapshot.namespaces.into_iter().map(view).collect();
    Ok(node)
}

/// Whose rules are followed: those that were asked for, else the running kernel's, else those that are best known.
pub(crate) fn kernel(asked: Option<&str>) -> Result<Kernel> {
    let Some(asked) = asked else {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        return Ok(Kernel::of_release(&release).unwrap_or_default());
    };
    let kernel = Kernel::of_release(asked).ok_or_else(|| {
        let names: Vec<&str> = Kernel::ALL.iter().map(|kernel| kernel.name()).collect();
        let hint = format!("there are rules for Linux {}", names.join(", "));
        Failure::wrong_use(format!("no rules of Linux {asked} are known")).hint(hint)
    })?;
    output::note(&format!("the rules of Linux {}: {}", kernel.name(), kernel.standing()));
    kernel.not_modelled().iter().for_each(|what| output::note(&format!("not modelled: {what}")));
    Ok(kernel)
}

/// The world that the script begins in.
fn beginning(global: &Global, args: &args::Simulate) -> Result<Simulation> {
    if let Some(path) = &args.snapshot {
        let node = read_snapshot(path)?;
        return Simulation::of_node(&node, None).context(format!("reading {}", path.display()));
    }
    if args.here {
        let node = node::read(global, &NodeSource { snapshot: None })?;
        node::say_gaps(&node);
        let own = node.reader;
        return Simulation::of_node(&node, own).context("reading the mounts of this machine");
    }
    Ok(Simulation::default())
}
