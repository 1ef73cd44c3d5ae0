//! An image's config document, as `docker save` puts it into an archive: read at import, and again at every start.

/// Words of the documents.
pub(crate) const WORDS: &[&str] = &[
    "null",
    "[]",
    "{}",
    "\"\"",
    "-1",
    "1e99",
    "\"config\":",
    "\"Env\":",
    "\"Entrypoint\":",
    "\"Cmd\":",
    "\"User\":",
    "\"WorkingDir\":",
    "\"StopSignal\":",
    "\"rootfs\":",
    "\"diff_ids\":",
    "\"sha256:",
    "\"architecture\":",
    "\"os\":",
    "\"history\":",
    "\"Volumes\":",
    "\"Labels\":",
    "\\ud800",
    "\\u0000",
    ",",
    ":",
    "}",
    "]",
];

/// Imports an image of one small layer with these bytes as its config; what was taken can be read back.
pub(crate) fn run(bytes: &[u8]) {
    let mut archive = Vec::new();
    let layer = layer();
    let manifest = br#"[{"Config":"config.json","RepoTags":["fuzz:1"],"Layers":["layer.tar"]}]"#;
    for (name, contents) in [("manifest.json", &manifest[..]), ("config.json", bytes), ("layer.tar", &layer)]
    {
        append(&mut archive, name, contents);
    }
    archive.extend_from_slice(&[0; 1024]);
    super::layer::in_a_world(|dir, store| {
        let path = dir.join("in.tar");
        std::fs::write(&path, &archive).expect("write");
        if store.import(&path, "fuzz:1").is_ok() {
            let image = store.get("fuzz:1").expect("what was imported is there");
            assert_eq!(image.layers.len(), 1);
            let _ = store.inspect("fuzz:1");
        }
    });
}

/// An archive of one empty file; its digest is in the seeds.
pub(crate) fn layer() -> Vec<u8> {
    let mut bytes = Vec::new();
    append(&mut bytes, "file", b"");
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

fn append(archive: &mut Vec<u8>, name: &str, contents: &[u8]) {
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[108..115].copy_from_slice(b"0000000");
    header[116..123].copy_from_slice(b"0000000");
    header[124..135].copy_from_slice(format!("{:011o}", contents.len()).as_bytes());
    header[136..147].copy_from_slice(b"00000000000");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend_from_slice(&header);
    archive.extend_from_slice(contents);
    archive.resize(archive.len().next_multiple_of(512), 0);
}
