//! Layers: an archive of anybody's is written to disk, and nothing outside of its own directory is touched.

use image::{ImportOptions, Limits, Store};
use std::path::Path;

/// Names and marks of archives.
pub(crate) const WORDS: &[&str] = &[
    "../",
    "/",
    "./",
    ".wh.",
    ".wh..wh..opq",
    "ustar\u{0}00",
    "ustar  \u{0}",
    "\u{0}",
    "0000000",
    "7777777",
    "path=",
    "size=",
    "linkpath=",
    "SCHILY.xattr.user.x=",
    "SCHILY.xattr.trusted.overlay.redirect=",
    "L",
    "K",
    "x",
    "g",
    "1",
    "2",
    "5",
    "3",
    "victim",
    "inside",
];

/// Members and bytes of a layer that is tried; more is another bound's business.
const LIMITS: Limits = Limits { members: 500, bytes: 1 << 20 };

/// Imports the bytes as a root file system in a directory of its own, whose neighbours must stay as they are.
pub(crate) fn run(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    mend_checksums(&mut bytes);
    in_a_world(|dir, store| {
        let archive = dir.join("in.tar");
        std::fs::write(&archive, &bytes).expect("write");
        let options = ImportOptions { limits: LIMITS, ..ImportOptions::default() };
        let _ = store.import_with(&archive, "fuzz", &options);
    });
}

/// A store with a neighbour that must not change.
pub(crate) fn in_a_world(f: impl FnOnce(&Path, &Store)) {
    let dir = super::temporary_directory();
    let outside = dir.path().join("victim");
    std::fs::create_dir(&outside).expect("mkdir");
    std::fs::write(outside.join("inside"), "safe").expect("write");
    let store = Store::open(dir.path().join("store")).expect("store");
    f(dir.path(), &store);
    assert_eq!(std::fs::read(outside.join("inside")).expect("read"), b"safe");
    assert_eq!(std::fs::read_dir(&outside).expect("read").count(), 1);
    let beside: Vec<_> =
        std::fs::read_dir(dir.path()).expect("read").flatten().map(|entry| entry.file_name()).collect();
    assert!(beside.len() <= 3, "{beside:?}");
}

/// A changed header has a wrong checksum and would be refused for that alone: each is given the right one.
fn mend_checksums(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(header) = bytes.get_mut(at..at + 512) {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = std::str::from_utf8(&header[124..135])
            .ok()
            .and_then(|text| u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok());
        let blocks = size.unwrap_or(0).min(1 << 30).div_ceil(512) as usize;
        at += 512 * (1 + blocks);
        // Two empty blocks are the end and have no checksum.
        if bytes.get(at..at + 512).is_some_and(|next| next.iter().all(|byte| *byte == 0)) {
            return;
        }
    }
}
