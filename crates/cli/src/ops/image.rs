//! `rhizome image`: the store of a root.

mod ensure;
mod inspect;
mod progress;
mod pull;

pub(crate) use ensure::{ensure, ensure_one};

use crate::args::{Global, ImageCommand, Listing, Object};
use crate::exit::{Exit, Failure, Result};
use crate::output;
use crate::report;
use crate::world;
use image::{Image, Store};
use serde_json::{Value, json};
use std::path::Path;
use view::images::ImageRow;

/// Does what was asked.
pub(crate) fn run(global: &Global, command: &ImageCommand) -> Result {
    let store = || -> Result<Store> { Ok(Store::open(world::root(global).open()?.images())?) };
    match command {
        ImageCommand::Import { path, name } => import(&store()?, path, name),
        ImageCommand::Ls { output, no_headers } => list(&store()?, *output, !no_headers),
        ImageCommand::Pull(args) => pull::run(global, args),
        ImageCommand::Inspect(args) => inspect::inspect(&store()?, args),
        ImageCommand::Prune { all } => inspect::prune(&store()?, *all),
        ImageCommand::Rm { references } => {
            let store = store()?;
            report::each(references, |reference| remove(&store, reference))
        }
    }
}

fn import(store: &Store, path: &Path, name: &str) -> Result {
    let image = store.import(path, name)?;
    output::stdout(&format!("{}\n", image.reference))?;
    Ok(Exit::YES)
}

fn list(store: &Store, format: Listing, header: bool) -> Result {
    let images = store.list()?;
    if images.is_empty() && matches!(format, Listing::Table | Listing::Wide) {
        output::stderr_line("No images here. Bring one in with: rhizome image pull REF");
    }
    let document = || json!({"apiVersion": "rhizome.dev/v1", "kind": "ImageList", "items": items(&images)});
    match format {
        Listing::Table | Listing::Wide if images.is_empty() => {}
        Listing::Table | Listing::Wide => {
            let rows: Vec<ImageRow> = images.iter().map(row).collect();
            output::stdout(&view::images::list(&rows, format == Listing::Wide, header))?;
        }
        Listing::Name => {
            let names: String = images.iter().map(|image| format!("{}\n", image.reference)).collect();
            output::stdout(&names)?;
        }
        Listing::Json => output::document(&document(), Object::Json)?,
        Listing::Yaml => output::document(&document(), Object::Yaml)?,
    }
    Ok(Exit::YES)
}

fn row(image: &Image) -> ImageRow {
    let config = &image.config;
    ImageRow {
        reference: image.reference.clone(),
        id: image.id.to_string(),
        size: image.size,
        layers: image.layers.len(),
        command: config.entrypoint.iter().chain(&config.cmd).cloned().collect(),
    }
}

fn items(images: &[Image]) -> Vec<Value> {
    let item = |image: &Image| {
        json!({
            "reference": image.reference,
            "id": image.id.to_string(),
            "size": image.size,
            "layers": image.layers.len(),
            "config": image.config,
        })
    };
    images.iter().map(item).collect()
}

fn remove(store: &Store, reference: &str) -> Result<()> {
    let removed = store.remove(reference).map_err(|error| match error {
        image::Error::NotFound { .. } => Failure::no(error).hint("rhizome image ls lists what is here"),
        error => error.into(),
    })?;
    for reference in &removed.references {
        output::stdout(&format!("{reference} removed\n"))?;
    }
    if !removed.pinned_by.is_empty() {
        let owners = removed.pinned_by.len();
        let containers =
            if owners == 1 { "a container is".to_owned() } else { format!("{owners} containers are") };
        output::warning(&format!("its layers stay until {containers} removed that runs from them"));
    }
    Ok(())
}
