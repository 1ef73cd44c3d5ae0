//! `rhizome snapshot`: the node as a document, to be asked later and elsewhere; `rhizome diff`: two of them.

use crate::args::{self, Document, Global, NodeSource, Object};
use crate::exit::{Context as _, Exit, Result};
use crate::{node, output};
use serde_json::json;
use std::io::Write as _;
use std::path::Path;

/// Takes it.
pub(crate) fn run(global: &Global, args: &args::SnapshotArgs) -> Result {
    let mut node = node::read(global, &NodeSource { snapshot: None })?;
    node::say_gaps(&node);
    if args.pseudonymise {
        node.pseudonymise();
    }
    let json = String::from_utf8(node.to_json()?).context("writing the document")?;
    // It may be shown on a terminal, now or later.
    let bytes = view::text::printable_json(&json).into_owned().into_bytes();
    if args.output == Path::new("-") {
        output::stdout_bytes(&bytes)?;
    } else {
        write(&args.output, &bytes).context(format!("writing {}", args.output.display()))?;
    }
    Ok(Exit::YES)
}

/// All of it or nothing, for its owner only (as temporary files are made).
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // What is there may be a pipe or a device.
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return std::fs::OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

/// Compares two.
pub(crate) fn diff(global: &Global, args: &args::Diff) -> Result {
    let before = node::read(global, &NodeSource { snapshot: Some(args.before.clone()) })?;
    let after = node::read(global, &NodeSource { snapshot: args.after.clone() })?;
    let diff = before.diff(&after);
    match args.output {
        Document::Table => {
            output::stdout(&view::diff::diff(&diff, &before, &after, output::stdout_paint()))?;
            node::say_gaps(&before);
            node::say_gaps(&after);
        }
        Document::Json | Document::Yaml => {
            let mut document = json!({"apiVersion": "rhizome.dev/v1", "kind": "NodeDiff"});
            if let (Some(to), serde_json::Value::Object(from)) =
                (document.as_object_mut(), serde_json::to_value(&diff)?)
            {
                to.extend(from);
            }
            let format = if args.output == Document::Json { Object::Json } else { Object::Yaml };
            output::document(&document, format)?;
        }
    }
    Ok(if diff.is_empty() { Exit::YES } else { Exit::NO })
}
