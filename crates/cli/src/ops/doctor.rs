//! `rhizome doctor`: facts from `observe`, judged by `explain`.

use crate::args::{self, Global, Object, Report};
use crate::exit::{Context as _, Exit, Result};
use crate::{output, world};
use observe::machine::StateFolder;
use serde_json::json;

/// Prints the findings.
pub(crate) fn run(global: &Global, args: &args::Doctor) -> Result {
    // Where pods of this root would be. A machine that cannot have one is to be told so below.
    let isolated = match rustix::process::geteuid().is_root() {
        true => world::enter(global)?,
        false => false,
    };
    let mut machine =
        observe::machine::read_machine(&state_folders(global)).context("looking at this machine")?;
    machine.first_process.isolated = isolated;
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
    let agent::Root { lib, run } = world::root(global);
    [
        StateFolder { purpose: "images, volumes and writable layers", path: lib, upper_layers: true },
        StateFolder { purpose: "sockets and state", path: run, upper_layers: false },
    ]
}
