//! Plans of manifests that people really wrote.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "the tests, unlike the room, read files and the environment"
)]

use explain::plan::{Manifests, Node, Request, plan};
use manifest::Source;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// They are not part of the repository: `RHIZOME_MANIFESTS` names their folder, else it is looked for beside the
/// workspace.
#[test]
fn real_manifests_are_planned_without_an_error_that_an_api_server_does_not_have() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/manifests");
    let folder = std::env::var_os("RHIZOME_MANIFESTS").map_or(beside, PathBuf::from);
    if !folder.is_dir() {
        let name = "real_manifests_are_planned_without_an_error_that_an_api_server_does_not_have";
        let _ = writeln!(std::io::stdout(), "SKIPPED: {name}: none (RHIZOME_MANIFESTS)");
        return;
    }
    let node = Node::assumed();
    let (mut containers, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).unwrap();
        let manifests = Manifests::survey(&[Source { name: &name, bytes: &bytes }]);
        let plan = plan(&manifests, &Request { node: &node, then: &[], restarts: 2 }).unwrap();
        containers += plan.containers.len();
        // A namespace that says what to put there is none.
        let refused = plan.refused.iter().filter(|problem| !problem.message.contains("FILLED BY"));
        wrong.extend(refused.map(|problem| problem.render(false)));
        let faults = plan.containers.iter().filter_map(|c| Some((c.asked.id(), c.fault.clone()?)));
        wrong.extend(faults.map(|(id, fault)| format!("{name}: {id}: {fault:?}")));
        for matrix in &plan.matrices {
            assert!(matrix.cells.len() == matrix.parties.len() && !matrix.parties.is_empty(), "{name}");
        }
    }
    println!("{containers} containers");
    assert!(containers > 50 && wrong.is_empty(), "{}", wrong.join("\n"));
}
