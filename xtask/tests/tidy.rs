//! Rules of the house that no compiler knows: which room may use which, what every file begins with, what is
//! never in the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each room may use directly; what these may use, it may too. The arrows of ARCHITECTURE.md.
const ARROWS: &[(&str, &[&str])] = &[
    ("mount-table", &[]),
    ("subtree-model", &["mount-table"]),
    ("manifest", &[]),
    ("explain", &["mount-table", "subtree-model", "manifest"]),
    ("view", &["mount-table", "subtree-model", "manifest", "explain"]),
    ("sys", &[]),
    ("observe", &["sys", "mount-table"]),
    ("image", &[]),
    ("runtime", &["sys", "observe", "explain", "image"]),
    ("agent", &["runtime", "manifest", "image", "observe"]),
    ("spdy", &[]),
    ("serve", &["agent", "runtime", "observe", "explain", "view", "spdy"]),
    ("rhizome", &["serve", "agent", "runtime", "image", "explain", "view", "observe", "sys"]),
    ("xtask", &["sys"]),
];

/// Rooms without files, clock, threads, logging, printing and unsafe code.
const PURE: &[&str] = &["mount-table", "subtree-model", "manifest", "explain", "view", "spdy"];

/// Libraries that touch nothing but memory, which is all that pure rooms may use.
const PURE_LIBRARIES: &[&str] = &[
    "granit-parser",
    "jiff",
    "k8s-openapi",
    "miniz_oxide",
    "serde",
    "serde-saphyr",
    "serde_ignored",
    "serde_json",
    "serde_path_to_error",
    "strsim",
    "thiserror",
    "unicode-width",
];

/// Libraries that belong to certain rooms only.
const RESERVED: &[(&str, &[&str])] = &[
    ("libc", &["sys"]),
    ("anyhow", &["rhizome", "xtask"]),
    ("clap", &["rhizome"]),
    ("tar", &["image", "agent", "xtask"]),
    ("tokio", &["serve", "observe"]),
    ("hyper", &["serve", "observe"]),
    ("ureq", &["image"]),
    ("rustls", &["image", "agent"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A crate: its folder and its dependencies by name, those for tests left out.
struct Room {
    folder: PathBuf,
    name: String,
    dependencies: BTreeSet<String>,
}

fn rooms() -> Vec<Room> {
    let mut folders: Vec<_> =
        fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join("Cargo.toml").is_file());
    folders.push(root().join("xtask"));
    folders.sort();
    folders.into_iter().map(read_room).collect()
}

fn read_room(folder: PathBuf) -> Room {
    let text = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let mut section = "";
    let mut name = String::new();
    let mut dependencies = BTreeSet::new();
    for line in text.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
        } else if let Some((key, value)) = line.split_once('=') {
            let key = key.trim().trim_end_matches(".workspace");
            match section {
                "package" if key == "name" => name = value.trim().trim_matches('"').to_owned(),
                "dependencies" | "build-dependencies" => drop(dependencies.insert(key.to_owned())),
                section if section.starts_with("target.") && !section.contains("dev-") => {
                    dependencies.insert(key.to_owned());
                }
                _ => {}
            }
        }
    }
    Room { folder, name, dependencies }
}

/// What a room may reach by following arrows.
fn reachable(name: &str) -> BTreeSet<&'static str> {
    let arrows: BTreeMap<&str, &[&'static str]> = ARROWS.iter().copied().collect();
    let mut found = BTreeSet::new();
    let mut next: Vec<&'static str> = arrows.get(name).copied().unwrap_or_default().to_vec();
    while let Some(room) = next.pop() {
        if found.insert(room) {
            next.extend(arrows.get(room).copied().unwrap_or_default());
        }
    }
    found
}

/// All files that are under version control or could be: neither build results nor git's own.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_symlink() || name == "target" || name == ".git" {
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn all_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&root(), &mut found);
    found.sort();
    found
}

fn rust_files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(folder, &mut found);
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    found.sort();
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn arrows_point_down_only() {
    let rooms = rooms();
    let names: BTreeSet<_> = rooms.iter().map(|room| room.name.as_str()).collect();
    let mut faults = Vec::new();
    for room in &rooms {
        if !ARROWS.iter().any(|(name, _)| *name == room.name) {
            faults.push(format!("{} is not in the table of rooms in {}", room.name, file!()));
        }
        let allowed = reachable(&room.name);
        assert!(!allowed.contains(room.name.as_str()), "the table has a circle through {}", room.name);
        for other in room.dependencies.iter().filter(|name| names.contains(name.as_str())) {
            if !allowed.contains(other.as_str()) {
                faults.push(format!("{} must not use {other}", room.name));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn libraries_are_where_they_belong() {
    let rooms = rooms();
    let names: BTreeSet<_> = rooms.iter().map(|room| room.name.as_str()).collect();
    let mut faults = Vec::new();
    for room in &rooms {
        for library in room.dependencies.iter().filter(|name| !names.contains(name.as_str())) {
            if PURE.contains(&room.name.as_str()) && !PURE_LIBRARIES.contains(&library.as_str()) {
                faults.push(format!("{} is a pure room and must not use {library}", room.name));
            }
            let reserved = RESERVED.iter().find(|(name, _)| name == library);
            if reserved.is_some_and(|(_, rooms)| !rooms.contains(&room.name.as_str())) {
                faults.push(format!("{} must not use {library}, which is for {:?}", room.name, reserved));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn every_file_says_what_it_is() {
    let files = rust_files(&root());
    assert!(files.len() > 20, "the files were not found");
    let silent = files.iter().filter(|(_, text)| !text.starts_with("//! "));
    let faults: Vec<_> =
        silent.map(|(path, _)| format!("{} does not begin with `//! `", shown(path))).collect();
    assert_none(&faults);
}

#[test]
fn unsafe_code_is_in_sys_only() {
    let mut faults = Vec::new();
    for room in rooms().iter().filter(|room| room.name != "sys") {
        let roots = ["src/lib.rs", "src/main.rs"].map(|name| room.folder.join(name));
        for path in roots.iter().filter(|path| path.is_file()) {
            if !fs::read_to_string(path).unwrap().contains("\n#![forbid(unsafe_code)]") {
                faults.push(format!("{} has no #![forbid(unsafe_code)]", shown(path)));
            }
        }
    }
    assert_none(&faults);
}

/// Lines of a file before its tests, without those that are comments.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.trim_start().starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line))
}

/// `word`, and not only the end of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| !line[..at].chars().next_back().is_some_and(is_part))
}

#[test]
fn pure_rooms_touch_nothing() {
    let words = [
        "std::fs",
        "std::io::stdin",
        "std::io::stdout",
        "std::io::stderr",
        "std::process",
        "std::thread",
        "std::net::Tcp",
        "std::net::Udp",
        "std::env",
        "Instant::now",
        "SystemTime::now",
        "tracing::",
        "log::",
        "unsafe {",
        "unsafe fn",
        "unsafe impl",
    ];
    let mut faults = Vec::new();
    for room in rooms().iter().filter(|room| PURE.contains(&room.name.as_str())) {
        for (path, text) in rust_files(&room.folder.join("src")) {
            for (number, line) in code_lines(&text) {
                for word in words.iter().filter(|word| has_word(line, word) && !line.contains("unsafe_code"))
                {
                    faults.push(format!("{}:{number}: a pure room has {word}", shown(&path)));
                }
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn only_commands_print() {
    let macros = ["println!", "print!", "eprintln!", "eprint!", "dbg!", "todo!", "unimplemented!"];
    let mut faults = Vec::new();
    for room in rooms() {
        let prints = room.name == "rhizome" || room.name == "xtask";
        for (path, text) in rust_files(&room.folder.join("src")) {
            for (number, line) in code_lines(&text) {
                let found = macros.iter().filter(|name| has_word(line, name));
                for name in found.filter(|name| !prints || ["dbg!", "todo!", "unimplemented!"].contains(name))
                {
                    faults.push(format!("{}:{number}: {name}", shown(&path)));
                }
            }
        }
    }
    assert_none(&faults);
}

/// libtest keeps to itself what a passing test prints with `println!`, and a skipped test passes.
#[test]
fn skips_can_be_counted() {
    let mut faults = Vec::new();
    for room in rooms() {
        let manifest = fs::read_to_string(room.folder.join("Cargo.toml")).unwrap();
        for (path, text) in
            rust_files(&room.folder).into_iter().filter(|(path, _)| !path.ends_with("tidy.rs"))
        {
            // A test's name is its file's, or its folder's.
            let names =
                [path.file_stem(), path.parent().and_then(Path::file_name)].map(Option::unwrap_or_default);
            let own_runner = names.iter().any(|name| {
                manifest.contains(&format!("name = \"{}\"\nharness = false", name.to_string_lossy()))
            });
            for (number, line) in text.lines().enumerate().filter(|_| !own_runner) {
                if line.contains("println!(") && line.contains("SKIPPED") {
                    let place = format!("{}:{}", shown(&path), number + 1);
                    faults.push(format!("{place}: say SKIPPED with writeln!(std::io::stdout(), …)"));
                }
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn nothing_of_a_workplace_is_in_the_repository() {
    // In pieces, so that this file does not hold what it looks for.
    let hosts = [
        ["crates", "io"],
        ["deb.debian", "org"],
        ["security.debian", "org"],
        ["snapshot.debian", "org"],
        ["pypi", "org"],
        ["pythonhosted", "org"],
        ["npmjs", "org"],
        ["npmjs", "com"],
        ["proxy.golang", "org"],
        ["archive.ubuntu", "com"],
        ["rubygems", "org"],
    ];
    let hosts = hosts.map(|parts| parts.join("."));
    // Containers have a home of root's, too; where tools keep their things is a machine's.
    let paths = ["work/", "farm", "root/."].map(|path| format!("/{path}"));
    let is_path_part = |c: char| c.is_alphanumeric() || "._-}/$)".contains(c);
    let mut faults = Vec::new();
    // The lock file names the index of every package, as cargo writes it.
    for path in all_files().into_iter().filter(|path| !path.ends_with("Cargo.lock")) {
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for (number, line) in text.lines().enumerate() {
            let at_start = |at: usize| !line[..at].chars().next_back().is_some_and(is_path_part);
            let host = hosts.iter().find(|host| line.contains(host.as_str()));
            let place =
                paths.iter().find(|path| line.match_indices(path.as_str()).any(|(at, _)| at_start(at)));
            for word in host.into_iter().chain(place) {
                faults.push(format!("{}:{}: names {word}", shown(&path), number + 1));
            }
        }
    }
    assert_none(&faults);
}

/// What GitHub makes of a heading: lower case, hyphens for spaces, no other punctuation.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_somewhere() {
    let pages =
        all_files().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut faults = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        for link in links.filter(|link| !link.contains("://") && !link.contains(char::is_whitespace)) {
            let (file, place) =
                link.split_once('#').map_or((link, None), |(file, place)| (file, Some(place)));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let headed = |place: &str| {
                let target = fs::read_to_string(&target).unwrap_or_default();
                target.lines().any(|line| line.starts_with('#') && anchor(line) == place)
            };
            if !target.exists() || place.is_some_and(|place| !headed(place)) {
                faults.push(format!("{}: {link} leads nowhere", shown(&page)));
            }
        }
    }
    assert_none(&faults);
}
