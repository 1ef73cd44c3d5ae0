//! Mends that were advised, kept so that `rhizome mend` can make them: a file each in `RUN/mends`, the newest ones.

use crate::args::Global;
use crate::exit::{Context as _, Failure, Result};
use crate::world;
use explain::finding::{Finding, Mend};
use explain::mend::Action;
use runtime::atomic_file::{self, Survives};
use serde_json::{Value, json};
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// How many are kept.
const KEPT_MAX: usize = 256;
/// The longest file that is read, in bytes.
const FILE_MAX: u64 = 16 << 20;

/// A mend that was found again.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Its name.
    pub(crate) id: String,
    /// What was found, in a line.
    pub(crate) title: String,
    /// What it does, in order.
    pub(crate) actions: Vec<Action>,
}

fn folder(global: &Global) -> PathBuf {
    world::root(global).run.join("mends")
}

/// Keeps the mends of findings. Only root can make them, so nobody else's are kept; a folder that cannot be written
/// costs the convenience, not the answer: it is told.
pub(crate) fn keep<'a>(global: &Global, findings: impl IntoIterator<Item = &'a Finding>) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = folder(global);
    let kept = findings.into_iter().flat_map(|finding| finding.mends.iter().map(move |mend| (finding, mend)));
    let written = kept
        .filter(|(_, mend)| mend.id.is_some())
        .try_for_each(|(finding, mend)| write(&folder, finding, mend));
    if let Err(error) = written.and_then(|()| prune(&folder)) {
        let text = format!("`rhizome mend` will not know these mends: {}: {error}", folder.display());
        crate::output::note(&text);
    }
}

fn write(folder: &Path, finding: &Finding, mend: &Mend) -> std::io::Result<()> {
    let Some(id) = &mend.id else { return Ok(()) };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if fs::symlink_metadata(folder)?.uid() != 0 {
        return Err(std::io::Error::other("the folder is not root's"));
    }
    let document = json!({
        "apiVersion": "rhizome.dev/v1",
        "kind": "Mend",
        "id": id,
        "title": finding.title,
        "also": mend.also,
        "actions": mend.actions,
    });
    // What is written beside it is no mend for `prune`: its name ends in this process' number.
    atomic_file::write_json(&folder.join(format!("{id}.json")), &document, Survives::Process)
}

/// Removes the oldest where there are too many.
fn prune(folder: &Path) -> std::io::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
        })
        .collect();
    files.sort();
    let surplus = files.len().saturating_sub(KEPT_MAX);
    files.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
}

/// Finds a mend by name, or the first one in a file or on standard input.
pub(crate) fn find(global: &Global, text: &str) -> Result<Kept> {
    let is_name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && text != "-";
    let document = if is_name(text) {
        let path = folder(global).join(format!("{text}.json"));
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let failure = Failure::wrong_use(format!("no mend is called {text}"));
                return Err(failure.hint(
                    "`rhizome why-not` and `rhizome audit` name those that they advise; with the same --root",
                ));
            }
            bytes => bytes.context(format!("reading {}", path.display()))?,
        };
        parse(&bytes, &path.display().to_string())?
    } else if text == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().take(FILE_MAX).read_to_end(&mut bytes).context("reading standard input")?;
        parse(&bytes, "standard input")?
    } else {
        let mut bytes = Vec::new();
        let what = format!("reading {text}");
        let file = fs::File::open(text).context(what.clone())?;
        file.take(FILE_MAX).read_to_end(&mut bytes).context(what)?;
        parse(&bytes, text)?
    };
    from(&document)
        .ok_or_else(|| Failure::wrong_use(format!("{text}: there is no mend in it that can be made")))
}

fn parse(bytes: &[u8], name: &str) -> Result<Value> {
    serde_json::from_slice(bytes).context(format!("reading {name}"))
}

/// The first mend with actions: of a kept one, of an answer, of a list of findings.
fn from(document: &Value) -> Option<Kept> {
    if document["kind"] == "Mend" {
        return kept(document, document["title"].as_str().unwrap_or_default());
    }
    let cause = &document["answer"]["cause"];
    let listed = document["findings"].as_array().into_iter().flatten();
    let findings = listed.chain(cause.is_object().then_some(cause));
    findings
        .flat_map(|finding| {
            let title = finding["title"].as_str().unwrap_or_default();
            finding["mends"].as_array().into_iter().flatten().filter_map(move |mend| kept(mend, title))
        })
        .next()
}

fn kept(mend: &Value, title: &str) -> Option<Kept> {
    let actions: Vec<Action> = serde_json::from_value(mend["actions"].clone()).ok()?;
    let id = mend["id"].as_str().unwrap_or_default().to_owned();
    (!actions.is_empty()).then(|| Kept { id, title: title.to_owned(), actions })
}
