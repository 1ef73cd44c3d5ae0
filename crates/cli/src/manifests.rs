//! The manifests that a command line names: their bytes, their objects, and for `--file` the pods that were made of them.
//!
//! Such pods are looked for by what is sure to stay: a Pod by its name, a workload's by the workload. So a file may have
//! been changed since, as long as its names have not.

use crate::args::Global;
use crate::exit::{Context as _, Failure, Result};
use crate::output;
use agent::Client;
use agent::client::PodRef;
use manifest::{Loaded, Object, Source, ValidationMode};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The largest manifest: what the API server takes, with room.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;

/// All files, whole, before anything is looked at.
pub(crate) fn read(files: &[impl AsRef<Path>]) -> Result<Vec<(String, Vec<u8>)>> {
    let mut sources = Vec::new();
    for file in files.iter().map(AsRef::as_ref) {
        let mut bytes = Vec::new();
        let name = if file == Path::new("-") {
            std::io::stdin()
                .take(MAX_MANIFEST_BYTES + 1)
                .read_to_end(&mut bytes)
                .context("reading standard input")?;
            "STDIN".to_owned()
        } else {
            let opened = std::fs::File::open(file).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => {
                    Failure::wrong_use(format!("the path {:?} does not exist", file.display().to_string()))
                }
                // Its owner can mend that, and need not be root.
                std::io::ErrorKind::PermissionDenied => {
                    Failure::from(anyhow::anyhow!("reading {}: {error}", file.display()))
                        .hint(format!("let us read it: ls -l {}", mount_table::shell_word(file)))
                }
                _ => Failure::from(error).said(format!("reading {}", file.display())),
            })?;
            let read = opened.take(MAX_MANIFEST_BYTES + 1).read_to_end(&mut bytes);
            read.context(format!("reading {}", file.display()))?;
            mount_table::readable(file.as_os_str().as_bytes())
        };
        if bytes.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(Failure::wrong_use(format!(
                "{name} is larger than {} MiB",
                MAX_MANIFEST_BYTES >> 20
            )));
        }
        sources.push((name, bytes));
    }
    Ok(sources)
}

/// The objects of all files; or all that is wrong with them, drawn, and a no, with what that means.
pub(crate) fn objects(
    global: &Global,
    files: &[(String, Vec<u8>)],
    validation: ValidationMode,
    outcome: &str,
) -> Result<Loaded> {
    let sources: Vec<Source<'_>> = files.iter().map(|(name, bytes)| Source { name, bytes }).collect();
    let options = manifest::Options { validation, namespace: global.namespace.as_deref() };
    let colour = output::stderr_paint().colour;
    manifest::load(&sources, &options).map_err(|problems| {
        for problem in &problems {
            output::stderr_line(&problem.render(colour));
        }
        let count = match problems.len() {
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        };
        Failure::no(anyhow::anyhow!("{count}; {outcome}"))
    })
}

/// A Pod, or a workload that makes Pods, as a manifest names it.
pub(crate) struct Made {
    namespace: String,
    /// The workload's kind; none is a Pod.
    workload: Option<String>,
    name: String,
}

/// What the manifests say that there is, in their order.
pub(crate) fn made(global: &Global, files: &[PathBuf]) -> Result<Vec<Made>> {
    let loaded = objects(global, &read(files)?, ValidationMode::Ignore, "nothing was done")?;
    let mut all = Vec::new();
    for object in &loaded.objects {
        let metadata = object.object.metadata();
        let workload = match &object.object {
            // The workload stands for its Pods.
            Object::Pod(pod) if manifest::workloads::owner(pod).is_some() => continue,
            Object::Pod(_) => None,
            Object::Workload(workload) => Some(workload.kind.clone()),
            _ => continue,
        };
        let Some(name) = metadata.name.clone().filter(|name| !name.is_empty()) else {
            return Err(Failure::wrong_use(format!(
                "a Pod of {} has only a generateName: name the pod itself",
                object.source_name
            )));
        };
        all.push(Made { namespace: object.id.namespace.clone(), workload, name });
    }
    Ok(all)
}

impl Made {
    /// The pods that are there of it.
    pub(crate) fn find(&self, client: &Client) -> Result<Vec<PodRef>> {
        Ok(match &self.workload {
            Some(kind) => client.pods_of(&self.namespace, kind, &self.name)?,
            None => vec![client.resolve(&self.namespace, &self.name)?.pod],
        })
    }
}
