//! What completes a value in a shell: pods, containers, images, namespaces of the root that the line names.
//!
//! A completion reads names and nothing else: it starts nothing, makes no folder, and where it may not read it gives
//! nothing.

use agent::Root;
use agent::record::{self, PodKey, PodUid};
use clap::Arg;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// What completes the value of an argument, which is known by its value's name.
pub(crate) fn completer(arg: &Arg) -> Option<ArgValueCompleter> {
    let name = arg.get_value_names()?.first()?.as_str();
    match name {
        "POD" => Some(ArgValueCompleter::new(|typed: &OsStr| begin_with(pods(), typed))),
        "POD[/CONTAINER]" => Some(ArgValueCompleter::new(|typed: &OsStr| begin_with(targets(typed), typed))),
        "SRC" | "DEST" => Some(ArgValueCompleter::new(places)),
        "REF" => Some(ArgValueCompleter::new(|typed: &OsStr| begin_with(images(), typed))),
        _ if arg.get_id() == "namespace" => {
            Some(ArgValueCompleter::new(|typed: &OsStr| begin_with(namespaces(), typed)))
        }
        _ => None,
    }
}

fn begin_with(names: Vec<String>, typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let mut names: Vec<String> = names.into_iter().filter(|name| name.starts_with(&*typed)).collect();
    names.sort();
    names.dedup();
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// The value of a global option on the line that is being completed.
fn option(long: &str, short: Option<&str>) -> Option<OsString> {
    let mut words = std::env::args_os().skip(1);
    let mut found = None;
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        if text == long || Some(&*text) == short {
            found = words.next();
        } else if let Some(value) = text.strip_prefix(long).and_then(|rest| rest.strip_prefix('=')) {
            found = Some(value.into());
        }
    }
    found
}

fn root() -> Root {
    let folder = option("--root", None).or_else(|| std::env::var_os("RHIZOME_ROOT"));
    let root = folder.map_or_else(Root::default, |folder| Root::at(Path::new(&folder)));
    // As the names are written: with their links resolved.
    Root {
        lib: root.lib.canonicalize().unwrap_or(root.lib),
        run: root.run.canonicalize().unwrap_or(root.run),
    }
}

fn namespace() -> String {
    option("--namespace", Some("-n")).map_or("default".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn listed(namespace: Option<&str>) -> Vec<(PodKey, PodUid)> {
    record::list(&root(), namespace).unwrap_or_default()
}

fn pods() -> Vec<String> {
    listed(Some(&namespace())).into_iter().map(|(key, _)| key.name).collect()
}

fn namespaces() -> Vec<String> {
    listed(None).into_iter().map(|(key, _)| key.namespace).collect()
}

/// Pods, and after the slash the containers of the one before it.
fn targets(typed: &OsStr) -> Vec<String> {
    let Some((pod, _)) = typed.to_str().and_then(|typed| typed.split_once('/')) else { return pods() };
    let found = listed(Some(&namespace())).into_iter().find(|(key, _)| key.name == pod);
    let record = found.and_then(|(_, uid)| record::load(&root(), &uid).ok());
    let spec = record.and_then(|record| record.pod.spec).unwrap_or_default();
    let init = spec.init_containers.unwrap_or_default();
    spec.containers.into_iter().chain(init).map(|container| format!("{pod}/{}", container.name)).collect()
}

/// A pod, to be gone on with behind its colon, or a path of ours.
fn places(typed: &OsStr) -> Vec<CompletionCandidate> {
    let pods = targets(typed).into_iter().map(|name| name + ":").collect();
    let mut all = begin_with(pods, typed);
    all.extend(PathCompleter::any().complete(typed));
    all
}

fn images() -> Vec<String> {
    let folder = root().images();
    // Opening the store would make it.
    if !folder.is_dir() {
        return Vec::new();
    }
    let listed = image::Store::open(folder).and_then(|store| store.list());
    listed.unwrap_or_default().into_iter().map(|image| image.reference).collect()
}
