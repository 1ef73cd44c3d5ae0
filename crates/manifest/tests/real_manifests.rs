//! Manifests that people really wrote: nothing but what is not supported yet may be found wrong with them. They are not
//! part of the repository: `RHIZOME_MANIFESTS` names their folder, else it is looked for beside the workspace.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "the tests, unlike the room, read files and the environment"
)]

use manifest::{Options, Source, Stage, load};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What Kubernetes refuses in them, too.
fn is_wrong_for_kubernetes(problem: &manifest::Problem) -> bool {
    let placeholder = problem.path == "metadata.namespace" && problem.message.contains("FILLED BY");
    let helm_values = problem.stage == Stage::Shape && problem.source_name.contains("__examples__");
    placeholder || helm_values
}

fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("RHIZOME_MANIFESTS").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/manifests");
    named.or(Some(beside)).filter(|path| path.is_dir())
}

#[test]
fn real_manifests_are_only_refused_for_what_is_not_supported() {
    let Some(folder) = folder() else {
        let line =
            "SKIPPED: real_manifests_are_only_refused_for_what_is_not_supported: none (RHIZOME_MANIFESTS)";
        let _ = writeln!(std::io::stdout(), "{line}");
        return;
    };
    let (mut wrong, mut kinds, mut files) = (Vec::new(), BTreeMap::new(), 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            continue;
        }
        files += 1;
        let bytes = std::fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        let Err(problems) = load(&[Source { name: &name, bytes: &bytes }], &Options::default()) else {
            continue;
        };
        for problem in problems {
            match problem.stage {
                Stage::Unsupported => *kinds.entry(problem.object.kind.clone()).or_insert(0) += 1,
                // Custom kinds need their definitions, in Kubernetes too.
                Stage::Kind => *kinds.entry(format!("{} (custom)", problem.object.kind)).or_insert(0) += 1,
                _ if is_wrong_for_kubernetes(&problem) => {}
                _ => wrong.push(problem.render(false)),
            }
        }
    }
    println!("{files} files; not supported yet: {kinds:?}");
    assert!(files > 0 && wrong.is_empty(), "{}", wrong.join("\n"));
}
