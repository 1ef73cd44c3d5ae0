//! What is fuzzed: each target is a function of any bytes, that must return. `fuzz_targets/` hands them to libFuzzer,
//! `crates/cli/tests/fuzz.rs` tries the seeds and a few thousand changes of them in every run of the tests.
//!
//! A new target: a module here and its line in [`ALL`], a file in `fuzz_targets/` with its `[[bin]]`, seeds in
//! `seeds/NAME/`.

// Each program uses one of them.
#![allow(dead_code)]

pub(crate) mod cgroup;
pub(crate) mod image_config;
pub(crate) mod layer;
pub(crate) mod log;
pub(crate) mod manifest;
pub(crate) mod model;
pub(crate) mod mountinfo;
pub(crate) mod plan;
pub(crate) mod script;
pub(crate) mod snapshot;
pub(crate) mod spdy;

/// A directory that goes with the value: in memory where the machine has such a place, since the store waits for the disk.
pub(crate) fn temporary_directory() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    dir.expect("a temporary directory")
}

/// A target.
pub(crate) struct Target {
    /// Its name, and its seeds' folder.
    pub(crate) name: &'static str,
    /// What is done with the bytes.
    pub(crate) run: fn(&[u8]),
    /// Words that mean something to it.
    pub(crate) words: &'static [&'static str],
    /// How many changed seeds the short run tries.
    pub(crate) short_run: usize,
}

/// All of them.
pub(crate) const ALL: &[Target] = &[
    Target { name: "manifest", run: manifest::run, words: manifest::WORDS, short_run: 1500 },
    Target { name: "mountinfo", run: mountinfo::run, words: mountinfo::WORDS, short_run: 8000 },
    Target { name: "layer", run: layer::run, words: layer::WORDS, short_run: 400 },
    Target { name: "image_config", run: image_config::run, words: image_config::WORDS, short_run: 250 },
    Target { name: "model", run: model::run, words: model::WORDS, short_run: 1500 },
    Target { name: "script", run: script::run, words: script::WORDS, short_run: 1500 },
    Target { name: "plan", run: plan::run, words: plan::WORDS, short_run: 150 },
    Target { name: "cgroup", run: cgroup::run, words: cgroup::WORDS, short_run: 8000 },
    Target { name: "snapshot", run: snapshot::run, words: snapshot::WORDS, short_run: 1000 },
    Target { name: "spdy", run: spdy::run, words: spdy::WORDS, short_run: 4000 },
    Target { name: "log", run: log::run, words: log::WORDS, short_run: 2000 },
];
