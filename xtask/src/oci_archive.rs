//! Writes an OCI layout archive (OCI image spec 1.1, "Image Layout"), for this machine's architecture.
//!
//! Apart from `image`, which reads such archives: so that `cargo xtask` is built in a moment. The tests of `image` use this
//! file too.

use std::fmt::Write as _;
use std::io::{self, Read, Seek, Write};

use sha2::{Digest as _, Sha256};

/// An archive in the making, layer by layer. Equal input gives equal bytes: nothing depends on when or where it is
/// written.
pub(crate) struct OciArchive<W: Write> {
    tar: tar::Builder<W>,
    layers: Vec<Blob>,
}

/// What a descriptor says of a blob.
#[derive(Clone, PartialEq, Eq)]
struct Blob {
    digest: String,
    size: u64,
}

impl Blob {
    fn descriptor(&self, media_type: &str) -> String {
        let Blob { digest, size } = self;
        format!(
            r#""mediaType":"application/vnd.oci.image.{media_type}","digest":"sha256:{digest}","size":{size}"#
        )
    }
}

impl<W: Write> OciArchive<W> {
    pub(crate) fn new(writer: W) -> io::Result<Self> {
        let mut archive = OciArchive { tar: tar::Builder::new(writer), layers: Vec::new() };
        archive.append("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(archive)
    }

    /// Adds an uncompressed layer above those before it. It is read twice: once for its digest, which is its name.
    pub(crate) fn layer(&mut self, mut layer: impl Read + Seek) -> io::Result<()> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 256 * 1024];
        let mut size = 0;
        loop {
            match layer.read(&mut buffer)? {
                0 => break,
                read => {
                    hasher.update(&buffer[..read]);
                    size += read as u64;
                }
            }
        }
        layer.rewind()?;
        let blob = Blob { digest: hex(hasher), size };
        // The same layer twice is one blob.
        if !self.layers.contains(&blob) {
            self.append_reader(&path_of(&blob), size, layer)?;
        }
        self.layers.push(blob);
        Ok(())
    }

    /// Writes the documents and ends the archive. `name` goes into the index, as the name to import it by; `config` is
    /// the JSON object that says how the image is run.
    pub(crate) fn finish(mut self, name: &str, config: &str) -> io::Result<W> {
        let platform = format!(r#""architecture":"{}","os":"linux""#, architecture());
        let diff_ids: Vec<_> =
            self.layers.iter().map(|layer| format!(r#""sha256:{}""#, layer.digest)).collect();
        let root = format!(r#"{{"type":"layers","diff_ids":[{}]}}"#, diff_ids.join(","));
        let config = self.blob(&format!(r#"{{{platform},"config":{config},"rootfs":{root}}}"#))?;
        let layers: Vec<_> =
            self.layers.iter().map(|layer| format!("{{{}}}", layer.descriptor("layer.v1.tar"))).collect();
        let manifest = self.blob(&format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{{}}},"layers":[{}]}}"#,
            config.descriptor("config.v1+json"),
            layers.join(",")
        ))?;
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{{},"annotations":{{"org.opencontainers.image.ref.name":"{name}"}},"platform":{{{platform}}}}}]}}"#,
            manifest.descriptor("manifest.v1+json"),
        );
        self.append("index.json", index.as_bytes())?;
        self.tar.into_inner()
    }

    fn blob(&mut self, text: &str) -> io::Result<Blob> {
        let blob = Blob { digest: hex(Sha256::new().chain_update(text)), size: text.len() as u64 };
        self.append(&path_of(&blob), text.as_bytes())?;
        Ok(blob)
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.append_reader(name, bytes.len() as u64, bytes)
    }

    fn append_reader(&mut self, name: &str, size: u64, reader: impl Read) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        self.tar.append_data(&mut header, name, reader)
    }
}

fn path_of(blob: &Blob) -> String {
    format!("blobs/sha256/{}", blob.digest)
}

fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// In Go's words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}
