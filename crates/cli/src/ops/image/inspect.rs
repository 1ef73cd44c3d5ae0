//! `rhizome image inspect` and `rhizome image prune`.

use crate::args::ImageInspect;
use crate::exit::{Exit, Result};
use crate::output;
use crate::report;
use image::{Inspection, LayerInfo, Store};
use serde_json::{Value, json};

/// Prints the image, or a list if several were asked for.
pub(crate) fn inspect(store: &Store, args: &ImageInspect) -> Result {
    let mut objects = Vec::new();
    let found = report::each(&args.references, |reference| {
        objects.push(object(&store.inspect(reference)?));
        Ok(())
    })?;
    match objects.as_slice() {
        [] => {}
        [object] if args.references.len() == 1 => output::document(object, args.output)?,
        objects => {
            let list = json!({"apiVersion": "rhizome.dev/v1", "kind": "ImageList", "items": objects});
            output::document(&list, args.output)?;
        }
    }
    Ok::<Exit, _>(found)
}

fn object(about: &Inspection) -> Value {
    json!({
        "apiVersion": "rhizome.dev/v1",
        "kind": "Image",
        "id": about.image.id.to_string(),
        "references": about.references,
        "repoDigests": about.repo_digests,
        "created": about.created,
        "platform": about.platform,
        "size": about.image.size,
        "config": about.image.config,
        "layers": about.layers.iter().map(layer).collect::<Vec<_>>(),
        "pinnedBy": about.pinned_by,
    })
}

fn layer(layer: &LayerInfo) -> Value {
    let mut object = json!({
        "diffID": layer.diff_id.to_string(),
        "size": layer.size,
        "path": layer.path.display().to_string(),
    });
    if let Some(blob) = &layer.blob {
        object["packed"] =
            json!({"digest": blob.digest.to_string(), "size": blob.size, "mediaType": blob.media_type});
    }
    object
}

/// Says what went, and how much room that made.
pub(crate) fn prune(store: &Store, all: bool) -> Result {
    let pruned = store.prune(all)?;
    for reference in &pruned.references {
        output::stdout(&format!("{reference} removed\n"))?;
    }
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    output::stdout(&format!(
        "{}, {} and {} removed: {}\n",
        counted(pruned.images, "image"),
        counted(pruned.layers, "layer"),
        counted(pruned.blobs, "broken download"),
        view::text::size(pruned.bytes),
    ))?;
    Ok(Exit::YES)
}
