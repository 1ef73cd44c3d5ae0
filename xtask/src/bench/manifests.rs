//! What reading manifests costs: a plan on a node with many mounts, and lint of many documents.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::figures::{Bench, Figure};
use super::peers::Contender;
use crate::host;

/// So many tmpfs, each bound in so many places: with the places' own 25,001 mounts.
const FILE_SYSTEMS: usize = 249;
const PLACES: usize = 100;
const PODS: usize = 10;
const DOCUMENTS: usize = 1_000;

/// A node with [`PLACES`] × [`FILE_SYSTEMS`] mounts below `$1`, each in a peer group of its own.
const NODE: &str = r#"set -e
mkdir "$1"; mount -t tmpfs node "$1"; mount --make-private "$1"; mkdir "$1/0"; mount -t tmpfs place "$1/0"
for n in $(seq 1 "$3"); do mkdir "$1/0/$n"; mount -t tmpfs volume "$1/0/$n"; done
for n in $(seq 1 $(($2 - 1))); do mkdir "$1/$n"; mount --rbind "$1/0" "$1/$n"; done
mount --make-rshared "$1""#;

/// A pod with a volume of `host_path` at `/v`, and one of its own.
fn pod(name: usize, mode: &str, host_path: &Path, own: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p{name}\nspec:\n  containers:\n  - name: main\n    image: busybox\n    \
         securityContext: {{privileged: true}}\n    volumeMounts:\n    - {{name: v, mountPath: /v, mountPropagation: {mode}}}\n    \
         - {{name: w, mountPath: {own}}}\n  volumes:\n  - name: v\n    hostPath: {{path: {}}}\n  - name: w\n    emptyDir: {{}}\n",
        host_path.display()
    )
}

impl Bench {
    /// `plan --here` and `lint`.
    pub(super) fn manifests(&mut self) -> Result<Vec<Figure>> {
        let root = self.root().to_owned();
        let node = root.join("node");
        let made = Command::new("sh")
            .args(["-c", NODE, "sh"])
            .arg(&node)
            .args([PLACES, FILE_SYSTEMS].map(|n| n.to_string()))
            .status();
        anyhow::ensure!(
            made.context("cannot start sh")?.success(),
            "the node of many mounts could not be made"
        );
        let write = |name: &str, count: usize, text: &dyn Fn(usize) -> String| -> Result<_> {
            let path = root.join(name);
            let text: Vec<String> = (0..count).map(text).collect();
            std::fs::write(&path, text.join("---\n"))
                .with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path)
        };
        let modes = ["HostToContainer", "Bidirectional", "None"];
        let below = |at: usize| node.join(format!("{}/{}", at + 1, at + 1));
        let ten = write("ten.yaml", PODS, &|at| pod(at, modes[at % modes.len()], &below(at), "/v/w"))?;
        let whole = write("whole.yaml", 1, &|at| pod(at, "HostToContainer", &node, "/v/w"))?;
        // Nothing is wrong with them: what is found ends with 1.
        let thousand = write("thousand.yaml", DOCUMENTS, &|at| {
            pod(at, "HostToContainer", Path::new(&format!("/srv/{at}")), "/w")
        })?;
        let (program, folder) = (self.program().to_owned(), root.join("rhizome"));
        let command = |name: &str, words: &'static [&'static str], file: std::path::PathBuf| {
            let (program, folder) = (program.clone(), folder.clone());
            Contender::new(name, move || {
                let mut command = Command::new(&program);
                command.arg("--root").arg(&folder).args(words).arg(&file);
                command
            })
        };
        let rows = self.in_turn(&[
            command("plan --here, ten pods", &["plan", "--here"], ten),
            command("plan --here, a pod with all of them in its volume", &["plan", "--here"], whole),
            command("lint, 1,000 documents", &["lint"], thousand),
        ]);
        host::run(Command::new("umount").arg("-l").arg(&node))?;
        let about = format!(
            "From start to end of the process. The node has {} mounts more than this machine, each in a peer group of its own; reading \
             them once takes most of the CPU time (/proc/self/mountinfo).",
            PLACES * (FILE_SYSTEMS + 1) + 1
        );
        Ok(vec![Figure {
            title: "Manifests",
            about,
            columns: vec!["wall ms", "CPU ms"],
            rows: rows?,
            drawn: None,
        }])
    }
}
