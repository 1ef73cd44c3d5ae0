//! Writes an OCI layout archive: what the set-up assembles its images as, and tests their input.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use crate::digest::{Digest, HashingReader};
use crate::error::{Error, Result};
use crate::import::to_json;
use crate::oci::{self, ConfigFile, Descriptor, ImageConfig, Index, Manifest, Platform, RootFs};

/// An image for this machine's architecture, written to one archive layer by layer.
///
/// Nothing in the archive depends on when or where it is written: equal input gives equal bytes.
pub struct Builder<W: Write> {
    tar: tar::Builder<W>,
    layers: Vec<Descriptor>,
}

impl<W: Write> Builder<W> {
    /// Begins an archive.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written; so all other methods.
    pub fn new(writer: W) -> Result<Builder<W>> {
        let mut builder = Builder { tar: tar::Builder::new(writer), layers: Vec::new() };
        builder.append("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(builder)
    }

    /// Adds an uncompressed layer above those before it. The tar archive is read twice: once for its digest, which is its
    /// name.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn layer<R: Read + io::Seek>(&mut self, mut layer: R) -> Result<()> {
        let mut reader = HashingReader::new(&mut layer, u64::MAX);
        reader.drain().map_err(Error::io("read", "the layer"))?;
        let (size, digest) = (reader.count(), reader.into_digest());
        layer.rewind().map_err(Error::io("read", "the layer"))?;
        let descriptor = descriptor(oci::LAYER_TYPE, &digest, size);
        // The same layer twice is one blob.
        if !self.layers.contains(&descriptor) {
            self.append_reader(&blob_path(&digest), size, layer)?;
        }
        self.layers.push(descriptor);
        Ok(())
    }

    /// Writes the documents and ends the archive. `name` goes into the index, as the name to import it by.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self, name: &str, config: &ImageConfig) -> Result<W> {
        let config = ConfigFile {
            created: None,
            architecture: oci::architecture().to_owned(),
            os: "linux".to_owned(),
            variant: None,
            config: config.clone(),
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids: self.layers.iter().map(|layer| layer.digest.clone()).collect(),
            },
        };
        let config = self.blob(oci::CONFIG_TYPE, &to_json(&config, "config")?)?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(oci::MANIFEST_TYPE.to_owned()),
            config,
            layers: std::mem::take(&mut self.layers),
        };
        let mut manifest = self.blob(oci::MANIFEST_TYPE, &to_json(&manifest, "manifest")?)?;
        manifest.annotations.insert(oci::REF_NAME.to_owned(), name.to_owned());
        let platform =
            Platform { architecture: oci::architecture().to_owned(), os: "linux".to_owned(), variant: None };
        manifest.platform = Some(platform);
        let index = Index {
            schema_version: 2,
            media_type: Some(oci::INDEX_TYPE.to_owned()),
            manifests: vec![manifest],
        };
        self.append("index.json", &to_json(&index, "index.json")?)?;
        self.tar.into_inner().map_err(Error::io("write", "the archive"))
    }

    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        let digest = Digest::of(bytes);
        self.append(&blob_path(&digest), bytes)?;
        Ok(descriptor(media_type, &digest, bytes.len() as u64))
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.append_reader(name, bytes.len() as u64, bytes)
    }

    fn append_reader(&mut self, name: &str, size: u64, reader: impl Read) -> Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        self.tar.append_data(&mut header, name, reader).map_err(Error::io("write", name))
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn descriptor(media_type: &str, digest: &Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: digest.to_string(),
        size,
        annotations: BTreeMap::new(),
        platform: None,
    }
}
