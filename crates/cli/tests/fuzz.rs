//! The short run of the fuzz targets (`fuzz/`): every seed, and some thousands of changes of them that are the same in
//! every run. `RHIZOME_MUTATIONS=N` tries N times as many.

#[path = "../../../fuzz/targets/mod.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use targets::Target;

/// A small generator (SplitMix64), so that a failure can be had again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap()
    }
}

/// One to four changes: taken out, put in, put in place of, repeated, one byte, cut off.
fn mutate(random: &mut Random, seed: &[u8], words: &[&str]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(12)).min(bytes.len());
        let word = words[random.below(words.len())].bytes();
        match random.below(8) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..at, word)),
            2 => drop(bytes.splice(at..end, word)),
            // In place: an archive's members stay where they are.
            3 => bytes.iter_mut().skip(at).zip(word).for_each(|(byte, new)| *byte = new),
            4 => {
                let copy = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            5 | 6 if at < bytes.len() => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            _ => bytes.truncate(bytes.len().max(9) - random.below(9)),
        }
    }
    bytes
}

fn seeds(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target.name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no seeds", target.name);
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn seeds_and_changes_of_them() {
    let times: usize =
        std::env::var("RHIZOME_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for target in targets::ALL {
        let seeds = seeds(target);
        for (path, bytes) in &seeds {
            let done = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
            assert!(done.is_ok(), "{}", path.display());
        }
        let mut random = Random(7);
        for round in 0..target.short_run * times {
            let (path, seed) = &seeds[random.below(seeds.len())];
            let bytes = mutate(&mut random, seed, target.words);
            let done = catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes)));
            let shown = || String::from_utf8_lossy(&bytes).into_owned();
            assert!(done.is_ok(), "{} round {round}, from {}: {:?}", target.name, path.display(), shown());
        }
    }
}

/// A target without a door for libFuzzer is fuzzed in the short run only.
#[test]
fn every_target_has_its_program() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for target in targets::ALL {
        let path = format!("fuzz_targets/{}.rs", target.name);
        assert!(manifest.contains(&format!("name = \"{}\"\npath = \"{path}\"", target.name)), "{path}");
        assert!(fuzz.join(path).is_file());
    }
}
