//! `rhizome image pull`: from registries into the store of a root.

use crate::args::{Global, Pull};
use crate::exit::Result;
use crate::output;
use crate::report;
use crate::world;
use image::{DockerConfig, PullOptions, Registries, Store};
use std::path::{Path, PathBuf};

use super::progress::Drawing;

/// Pulls one after the other, and prints what they are called.
pub(crate) fn run(global: &Global, args: &Pull) -> Result {
    let root = world::root(global).open()?;
    let store = Store::open(root.images())?;
    let options = options(&root.lib, args.authfile.as_deref())?;
    report::each(&args.references, |reference| {
        let drawing = Drawing::new(args.quiet);
        let pulled = store.pull(reference, &options, &|progress| drawing.take(progress));
        drawing.end();
        let pulled = pulled?;
        if !args.quiet {
            output::stderr_line(&format!("{} is {}", pulled.image.reference, pulled.digest));
        }
        output::stdout(&format!("{}\n", pulled.image.reference))
    })
}

/// How images are pulled for a root: its own settings or the machine's, and the caller's credentials.
pub(crate) fn options(lib: &Path, authfile: Option<&Path>) -> Result<PullOptions> {
    let registries = Registries::of_root(lib)?;
    let config = match authfile.map(Path::to_owned).or_else(docker_config) {
        Some(path) => DockerConfig::read(&path)?,
        None => DockerConfig::default(),
    };
    Ok(PullOptions { registries, config, ..PullOptions::default() })
}

/// Where `docker login` writes.
fn docker_config() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = set("DOCKER_CONFIG").or_else(|| Some(set("HOME")?.join(".docker")))?;
    Some(directory.join("config.json"))
}
