//! What a real `kubectl create` and API server answered to wrong manifests, against what is said here. The recordings are
//! not part of the repository: `RHIZOME_REFERENCE` names their folder, else it is looked for beside the workspace.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "the tests, unlike the room, read files and the environment"
)]

use manifest::{Options, Source, Stage, kubectl_text, load};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Recordings that cannot be matched, and why.
const EXPECTED_TO_DIFFER: [(&str, &str); 1] =
    [("namespace-not-found.txt", "namespaces need not be made here: every namespace is there")];

fn reference() -> Option<PathBuf> {
    let named = std::env::var_os("RHIZOME_REFERENCE").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference");
    named.or(Some(beside)).filter(|path| path.join("recordings/errors").is_dir())
}

struct Record {
    name: String,
    sections: Vec<(String, String)>,
}

impl Record {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut sections = vec![("what".to_owned(), String::new())];
        for line in text.split_inclusive('\n') {
            match line.strip_prefix("----- ") {
                Some(title) => sections.push((title.trim_end().to_owned(), String::new())),
                None => sections.last_mut().unwrap().1.push_str(line),
            }
        }
        Self { name: path.file_name().unwrap().to_string_lossy().into_owned(), sections }
    }

    fn section(&self, title: &str) -> &str {
        self.sections.iter().find(|(found, _)| found == title).map_or("", |(_, text)| text)
    }

    fn files(&self) -> Vec<(&str, &str)> {
        let file = |(title, text): &'_ (String, String)| -> Option<(usize, usize)> {
            title.strip_prefix("input file ")?;
            Some((0, text.len()))
        };
        self.sections
            .iter()
            .filter(|section| file(section).is_some())
            .map(|(title, text)| (title.trim_start_matches("input file "), text.as_str()))
            .collect()
    }
}

/// The recorder put `ID64` for 64 hexadecimal digits.
fn as_recorded(text: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_digit() || ('a'..='f').contains(&c) {
            run.push(c);
            continue;
        }
        out.push_str(if run.len() == 64 { "ID64" } else { &run });
        run.clear();
        if c != '\0' {
            out.push(c);
        }
    }
    out
}

/// Why a recording is not matched, if it is not.
fn difference(record: &Record) -> Option<String> {
    let files = record.files();
    let sources: Vec<Source<'_>> =
        files.iter().map(|(name, text)| Source { name, bytes: text.as_bytes() }).collect();
    let exit = record.section("exit status").trim();
    match load(&sources, &Options::default()) {
        Ok(loaded) if exit == "0" => stored_difference(record, &loaded),
        Ok(_) => Some(format!("accepted, but recorded: {}", record.section("stderr"))),
        Err(problems) => {
            // What this version cannot run is no error of the API server's.
            let told: Vec<_> = problems.into_iter().filter(|p| p.stage != Stage::Unsupported).collect();
            let said = as_recorded(&kubectl_text(&told));
            let expected = if exit == "0" { "" } else { record.section("stderr") };
            (said != *expected).then(|| format!("said:     {said}recorded: {expected}"))
        }
    }
}

/// Defaults: the spec as the server stored it.
fn stored_difference(record: &Record, loaded: &manifest::Loaded) -> Option<String> {
    for pod in loaded.pods() {
        let mut pod = pod.clone();
        manifest::defaults::admit(&mut pod);
        let name = pod.metadata.name.clone().unwrap_or_default();
        let stored = record.section(&format!("stored: kubectl get pod/{name} -o jsonpath={{.spec}}"));
        let stored = stored.trim_end().trim_end_matches("\\ no newline at end");
        let stored: serde_json::Value = serde_json::from_str(stored).unwrap_or_default();
        let ours = serde_json::to_value(&pod.spec).unwrap();
        if stored != ours {
            return Some(format!("stored: {ours}\nrecorded: {stored}"));
        }
    }
    None
}

#[test]
fn wrong_manifests_get_kubernetes_own_words() {
    let Some(reference) = reference() else {
        // Not through `println!`, which is kept back for tests that pass.
        let line = "SKIPPED: wrong_manifests_get_kubernetes_own_words: no recordings (RHIZOME_REFERENCE)";
        let _ = writeln!(std::io::stdout(), "{line}");
        return;
    };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(reference.join("recordings/errors"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let (mut matched, mut unexpected) = (0, Vec::new());
    for path in &paths {
        let record = Record::read(path);
        let known = EXPECTED_TO_DIFFER.iter().find(|(name, _)| *name == record.name);
        match (difference(&record), known) {
            (None, None) => matched += 1,
            (None, Some(_)) => unexpected.push(format!("{}: matches now; take it off the list", record.name)),
            (Some(_), Some((name, why))) => println!("differs, as it must: {name}: {why}"),
            (Some(difference), None) => unexpected.push(format!("== {}\n{difference}", record.name)),
        }
    }
    println!("{matched} of {} recordings match exactly", paths.len());
    assert!(
        unexpected.is_empty(),
        "{matched} of {} match; these do not:\n{}",
        paths.len(),
        unexpected.join("\n")
    );
}
