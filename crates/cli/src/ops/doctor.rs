//! `rhizome doctor`: facts from `observe`, judged by `explain`.

use crate::args::{self, Global, Object, Report};
use crate::exit::{Context as _, Exit, Result};
use crate::output;
use observe::machine::StateFolder;
use serde_json::json;

/// Prints the findings.
pub(crate) fn run(global: &Global, args: &args::Doctor) -> Result {
    let machine =
        observe::machine::read_machine(&state_folders(global)).context("looking at this machine")?;
    let findings = explain::doctor::doctor(&machine);
    let report = || {
        json!({
            "apiVersion": "rhizome.dev/v1",
            "kind": "DoctorReport",
            "findings": findings,
            "machine": machine,
        })
    };
    match args.output {
        Report::Table | Report::Wide => {
            let wide = args.output == Report::Wide;
            let (columns, paint) = (output::columns(), output::stdout_paint());
            output::stdout(&view::findings::findings(&findings, wide, columns, paint))?;
        }
        Report::Json => output::document(&report(), Object::Json)?,
        Report::Yaml => output::document(&report(), Object::Yaml)?,
    }
    Ok(if explain::doctor::stops_something(&findings) { Exit::NO } else { Exit::YES })
}

fn state_folders(global: &Global) -> [StateFolder; 2] {
    let (lib, run) = match &global.root {
        Some(root) => (root.join("lib"), root.join("run")),
        None => ("/var/lib/rhizome".into(), "/run/rhizome".into()),
    };
    [
        StateFolder { purpose: "images, volumes and writable layers", path: lib, upper_layers: true },
        StateFolder { purpose: "sockets and state", path: run, upper_layers: false },
    ]
}
