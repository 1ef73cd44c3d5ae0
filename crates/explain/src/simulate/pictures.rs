//! The picture of each step of a script.

use super::{Outcome, Script, Simulation};
use crate::graph::{Change, Graph, Marks, of_step};
use mount_table::{Mount, MountId, MountTable};
use std::collections::BTreeMap;

/// So many pictures are drawn of a script; what comes after them is told in words alone.
pub const PICTURES_MAX: usize = 400;

/// What all namespaces look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// After which step ([`Outcome::steps`]); none for the beginning.
    pub step: Option<usize>,
    /// The mounts; what the step did to them is marked.
    pub graph: Graph,
}

impl Simulation {
    /// Runs all lines, and draws what is there at the beginning and after each step that changes a mount.
    ///
    /// In a world of its own every mount is drawn. Of a machine's those are that are tied to another namespace, and those
    /// that the script has touched.
    pub fn run_drawn(mut self, script: &Script) -> (Outcome, Vec<Picture>) {
        let every = self.known;
        let mut before = self.tables();
        let mut marks = Marks::new();
        let mut pictures = vec![Picture { step: None, graph: of_step(&[], &before, &marks, every) }];
        let mut steps = Vec::new();
        for line in script.lines() {
            steps.push(self.step(line));
            if pictures.len() >= PICTURES_MAX {
                continue;
            }
            let after = self.tables();
            let changes = changes(&before, &after);
            if changes.is_empty() {
                continue;
            }
            // What the script touched stays in the picture.
            marks.retain(|_, change| *change != Some(Change::Gone));
            marks.values_mut().for_each(|change| *change = None);
            marks.extend(changes.into_iter().map(|(id, change)| (id, Some(change))));
            let graph = of_step(&before, &after, &marks, every);
            pictures.push(Picture { step: Some(steps.len() - 1), graph });
            before = after;
        }
        (Outcome { steps, namespaces: self.tables() }, pictures)
    }
}

/// What became of each mount.
fn changes(before: &[(String, MountTable)], after: &[(String, MountTable)]) -> BTreeMap<MountId, Change> {
    let rows = |tables: &'_ [(String, MountTable)]| -> BTreeMap<MountId, Mount> {
        let rows = tables.iter().flat_map(|(_, table)| &table.mounts);
        rows.map(|row| (row.id, row.clone())).collect()
    };
    let (before, after) = (rows(before), rows(after));
    let came = after.iter().filter_map(|(id, row)| match before.get(id) {
        None => Some((*id, Change::New)),
        Some(was) if was != row => Some((*id, Change::Changed)),
        Some(_) => None,
    });
    let went = before.keys().filter(|id| !after.contains_key(id)).map(|id| (*id, Change::Gone));
    came.chain(went).collect()
}
