//! The picture for a terminal: every mount of the host that matters, and below it who has it elsewhere and how.

use crate::text::{Paint, printable};
use explain::graph::{Graph, Port, Row};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// A tree a mount of the host; then what is tied together without the host.
pub fn text(graph: &Graph, paint: Paint) -> String {
    let mut out = String::new();
    let mut told = BTreeSet::new();
    let mut trees = Trees { graph, paint, told: &mut told };
    let Some(host) = graph.spaces.first() else { return "nothing to show\n".to_owned() };
    for row in 0..host.mounts.len() {
        trees.root(&mut out, (0, row));
    }
    // Islands: groups that no mount of the host is tied to.
    for group in &graph.groups {
        if let Some(port) =
            group.members.first().or(group.slaves.first()).filter(|port| !trees.told.contains(*port))
        {
            trees.root(&mut out, *port);
        }
    }
    let _ = writeln!(
        out,
        "{}",
        paint.dim("<->  one peer group, both ways     -->  a slave, receives only     -x-  a private copy, receives nothing")
    );
    if graph.left_out > 0 {
        let _ = writeln!(
            out,
            "{}",
            paint.dim(&format!("{} more namespaces have nothing to do with these", graph.left_out))
        );
    }
    out
}

struct Trees<'a> {
    graph: &'a Graph,
    paint: Paint,
    told: &'a mut BTreeSet<Port>,
}

impl Trees<'_> {
    fn row(&self, port: Port) -> &Row {
        &self.graph.spaces[port.0].mounts[port.1]
    }

    fn root(&mut self, out: &mut String, port: Port) {
        if !self.told.insert(port) {
            return;
        }
        let (row, paint) = (self.row(port), self.paint);
        let words = format!("{}, {}", row.propagation, row.file_system);
        let name = format!("{}:{}", printable(&self.graph.spaces[port.0].name), printable(&row.path));
        let _ = writeln!(out, "{}  {}", paint.strong(&name), paint.dim(&printable(&words)));
        self.below(out, port, "", 0);
        out.push('\n');
    }

    /// Who is tied to a mount that was not told of yet; masters are told of where they are.
    fn below(&mut self, out: &mut String, port: Port, indent: &str, depth: usize) {
        const DEEP: usize = 32;
        let Row { shared, .. } = *self.row(port);
        let group = shared.and_then(|group| self.graph.groups.iter().find(|known| known.id == group));
        let mut ends: Vec<(&str, Port)> = Vec::new();
        if let Some(group) = group {
            ends.extend(group.members.iter().map(|member| ("<->", *member)));
            ends.extend(group.slaves.iter().map(|slave| ("-->", *slave)));
        }
        if port.0 == 0 {
            let spaces = self.graph.spaces.iter().enumerate().skip(1);
            let rows = spaces.flat_map(|(index, space)| {
                space.mounts.iter().enumerate().map(move |(row, mount)| ((index, row), mount))
            });
            ends.extend(
                rows.filter(|(_, mount)| mount.copy_of == Some(port.1)).map(|(port, _)| ("-x-", port)),
            );
        }
        ends.retain(|(_, end)| *end != port && !self.told.contains(end));
        self.told.extend(ends.iter().map(|(_, end)| *end));
        let last = ends.len().saturating_sub(1);
        for (index, (sign, end)) in ends.into_iter().enumerate() {
            let (branch, next) = if index == last { ("└─", "   ") } else { ("├─", "│  ") };
            let (space, row) = (&self.graph.spaces[end.0], self.row(end));
            let sign = match sign {
                "-x-" => self.paint.dim(sign),
                sign => self.paint.one_of(shared.unwrap_or(0) as usize, sign),
            };
            let alike = match space.alike.len() {
                0 => String::new(),
                count => format!(" and {count} alike"),
            };
            let name = format!("{}:{}", printable(&space.name), printable(&row.path));
            let words = format!("{}{alike}", row.propagation);
            let _ = writeln!(out, "{indent}{branch}{sign} {name}  {}", self.paint.dim(&words));
            if depth < DEEP {
                self.below(out, end, &format!("{indent}{next}"), depth + 1);
            }
        }
    }
}
