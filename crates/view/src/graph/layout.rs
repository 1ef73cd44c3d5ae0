//! Where everything is: columns, boxes, rows, buses. In pixels, from the upper left.

use crate::text::{cut, width};
use explain::graph::{Graph, Port, Row};
use std::collections::BTreeMap;

/// What a character of the fixed-width type takes.
pub(super) const CHARACTER: f64 = 7.25;
pub(super) const MARGIN: f64 = 28.0;
pub(super) const TITLE: f64 = 46.0;
pub(super) const HEAD: f64 = 34.0;
pub(super) const ROW: f64 = 38.0;
pub(super) const INSET: f64 = 16.0;
const BOX_GAP: f64 = 22.0;
const BUS_GAP: f64 = 26.0;
/// Between a box and the nearest bus.
const BUS_INSET: f64 = 40.0;
/// The most columns of text that a path or a name may take.
const TEXT_MAX: usize = 46;
/// Above the first bus, for its label.
const LABEL: f64 = 30.0;

/// A box.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// What a bus is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// The peer group at this place of [`Graph::groups`].
    Group(usize),
    /// Copies of the host's mount in this row, tied to nothing.
    Copies(usize),
}

/// How a mount is connected to a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Sends and receives.
    Peer,
    /// Receives.
    Slave,
    /// The mount that others are copies of.
    Source,
    /// A copy that receives nothing.
    Copy,
}

/// A connection from a bus to a box.
#[derive(Debug, Clone)]
pub(super) struct Stub {
    #[cfg_attr(not(test), expect(dead_code, reason = "tests ask where a line ends"))]
    pub(super) port: Port,
    pub(super) end: End,
    /// Where it meets the box.
    pub(super) x: f64,
    pub(super) y: f64,
}

/// A vertical line.
#[derive(Debug, Clone)]
pub(super) struct Bus {
    pub(super) of: Of,
    /// How wide its label is; nothing if it has none.
    pub(super) label: f64,
    pub(super) x: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    pub(super) stubs: Vec<Stub>,
}

/// The whole.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) width: f64,
    /// Without the legend.
    pub(super) height: f64,
    pub(super) boxes: Vec<Placed>,
    pub(super) buses: Vec<Bus>,
}

/// `shared 7`, `slave of 3`…
pub(super) fn tag(row: &Row) -> String {
    match (row.shared, row.master) {
        (Some(shared), Some(master)) => format!("shared {shared}, slave of {master}"),
        (Some(shared), None) => format!("shared {shared}"),
        (None, Some(master)) => format!("slave of {master}"),
        (None, None) => row.propagation.to_owned(),
    }
}

/// A text cut to what a box shows.
pub(super) fn short(text: &str) -> String {
    cut(&crate::text::printable(text), TEXT_MAX).into_owned()
}

/// The second line of a row.
pub(super) fn second_line(row: &Row) -> String {
    let root = if row.root == "/" { String::new() } else { format!(" · folder {}", row.root) };
    short(&format!("{}{root}", row.file_system))
}

/// The words of a box' head.
pub(super) fn head(graph: &Graph, index: usize) -> (String, String) {
    let space = &graph.spaces[index];
    let count = match space.alike.len() {
        0 => String::new(),
        count => format!("and {count} alike"),
    };
    (short(&space.name), count)
}

fn box_width(graph: &Graph, index: usize) -> f64 {
    let space = &graph.spaces[index];
    let (name, count) = head(graph, index);
    let rows = space.mounts.iter().map(|row| {
        let first = width(&short(&row.path)) + 3 + width(&tag(row)).max(4);
        first.max(width(&second_line(row)))
    });
    let columns = rows.chain([width(&name) + 3 + width(&count) + 10]).max().unwrap_or(0).max(22);
    columns as f64 * CHARACTER + 2.0 * INSET
}

fn box_height(graph: &Graph, index: usize) -> f64 {
    let space = &graph.spaces[index];
    let lines = space.mounts.len() as f64 * ROW;
    HEAD + lines.max(ROW * 0.5) + if space.more > 0 { 22.0 } else { 8.0 }
}

/// Lays a graph out.
pub(super) fn lay_out(graph: &Graph) -> Layout {
    let columns = columns(graph);
    let wires = wires(graph);
    let height_of = |column: &[usize]| -> f64 {
        let heights: f64 = column.iter().map(|index| box_height(graph, *index) + BOX_GAP).sum();
        heights - BOX_GAP
    };
    let tallest = columns.iter().map(|column| height_of(column)).fold(0.0, f64::max);
    let empty = Placed { x: 0.0, y: 0.0, width: 0.0, height: 0.0 };
    let mut boxes = vec![empty; graph.spaces.len()];
    let mut buses: Vec<Bus> = Vec::new();
    let mut x = MARGIN;
    for (layer, column) in columns.iter().enumerate() {
        let wide = column.iter().map(|index| box_width(graph, *index)).fold(0.0, f64::max);
        let mut y = TITLE + LABEL + (tallest - height_of(column)) / 2.0;
        for index in column {
            let height = box_height(graph, *index);
            boxes[*index] = Placed { x, y, width: wide, height };
            y += height + BOX_GAP;
        }
        x += wide;
        let slots: Vec<f64> = wires
            .iter()
            .filter(|wire| wire.layer == layer)
            .map(|wire| slot(label_width(graph, wire.of)))
            .collect();
        if !slots.is_empty() || layer + 1 < columns.len() {
            x += 2.0 * BUS_INSET + (slots.iter().sum::<f64>() - BUS_GAP).max(0.0);
        }
    }
    for (layer, column) in columns.iter().enumerate() {
        let right = column.first().map_or(0.0, |index| boxes[*index].x + boxes[*index].width);
        let mut here: Vec<Bus> =
            wires.iter().filter(|wire| wire.layer == layer).map(|wire| bus(graph, &boxes, wire)).collect();
        let middle =
            |bus: &Bus| bus.stubs.iter().map(|stub| stub.y).sum::<f64>() / bus.stubs.len().max(1) as f64;
        here.sort_by(|a, b| middle(a).total_cmp(&middle(b)));
        let mut from = right + BUS_INSET - BUS_GAP / 2.0;
        for bus in &mut here {
            bus.x = from + slot(bus.label) / 2.0;
            from += slot(bus.label);
        }
        buses.extend(here);
    }
    Layout { width: x + MARGIN, height: TITLE + LABEL + tallest + MARGIN, boxes, buses }
}

/// The boxes of each layer, those that are tied to the same next to each other.
fn columns(graph: &Graph) -> Vec<Vec<usize>> {
    let layers = graph.spaces.iter().map(|space| space.layer + 1).max().unwrap_or(0);
    let mut columns: Vec<Vec<usize>> = vec![Vec::new(); layers];
    for (index, space) in graph.spaces.iter().enumerate() {
        columns[space.layer].push(index);
    }
    // Where each box of a layer would like to be: at the middle of what it is tied to in the one before.
    let mut place: BTreeMap<usize, f64> = BTreeMap::new();
    for column in &mut columns {
        let wish = |index: usize| -> f64 {
            let ports = tied(graph, index);
            let known: Vec<f64> =
                ports.filter_map(|(space, row)| Some(place.get(&space)? + row as f64 / 64.0)).collect();
            if known.is_empty() { f64::MAX } else { known.iter().sum::<f64>() / known.len() as f64 }
        };
        let mut wishes: Vec<(f64, usize)> = column.iter().map(|index| (wish(*index), *index)).collect();
        wishes.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        *column = wishes.into_iter().map(|(_, index)| index).collect();
        for (position, index) in column.iter().enumerate() {
            place.insert(*index, position as f64);
        }
    }
    columns
}

/// The mounts of other namespaces that one is tied to or has copies of.
fn tied(graph: &Graph, index: usize) -> impl Iterator<Item = Port> + '_ {
    let groups = graph
        .groups
        .iter()
        .filter(move |group| group.members.iter().chain(&group.slaves).any(|(space, _)| *space == index));
    let others = groups.flat_map(|group| group.members.iter().chain(&group.slaves)).copied();
    let copies = graph.spaces[index].mounts.iter().filter_map(|row| Some((0, row.copy_of?)));
    others.filter(move |(space, _)| *space != index).chain(copies)
}

/// A bus before it has a place.
struct Wire {
    of: Of,
    layer: usize,
    ends: Vec<(Port, End)>,
}

fn wires(graph: &Graph) -> Vec<Wire> {
    let mut wires = Vec::new();
    for (index, group) in graph.groups.iter().enumerate() {
        let peers = group.members.iter().map(|port| (*port, End::Peer));
        let ends: Vec<_> = peers.chain(group.slaves.iter().map(|port| (*port, End::Slave))).collect();
        let layer = ends.iter().map(|((space, _), _)| graph.spaces[*space].layer).min().unwrap_or(0);
        wires.push(Wire { of: Of::Group(index), layer, ends });
    }
    let mut copies: BTreeMap<usize, Vec<(Port, End)>> = BTreeMap::new();
    for (index, space) in graph.spaces.iter().enumerate().filter(|(_, space)| space.layer == 1) {
        for (row, mount) in space.mounts.iter().enumerate() {
            if let Some(source) = mount.copy_of {
                copies.entry(source).or_default().push(((index, row), End::Copy));
            }
        }
    }
    for (source, mut ends) in copies {
        ends.push(((0, source), End::Source));
        wires.push(Wire { of: Of::Copies(source), layer: 0, ends });
    }
    wires
}

fn bus(graph: &Graph, boxes: &[Placed], wire: &Wire) -> Bus {
    let stubs = wire.ends.iter().map(|(port, end)| {
        let (space, row) = *port;
        let placed = &boxes[space];
        let on_left = graph.spaces[space].layer > wire.layer;
        let x = if on_left { placed.x } else { placed.x + placed.width };
        // Lines of one row on one side do not lie on each other.
        let shift = match end {
            End::Peer => 0.0,
            End::Slave => 7.0,
            End::Source => 7.0,
            End::Copy => 0.0,
        };
        Stub { port: *port, end: *end, x, y: row_middle(placed, row) + shift }
    });
    let stubs: Vec<Stub> = stubs.collect();
    let top = stubs.iter().map(|stub| stub.y).fold(f64::MAX, f64::min);
    let bottom = stubs.iter().map(|stub| stub.y).fold(0.0, f64::max);
    Bus { of: wire.of, label: label_width(graph, wire.of), x: 0.0, top, bottom, stubs }
}

/// What a bus is called: the number of its group.
pub(super) fn label(graph: &Graph, of: Of) -> String {
    match of {
        Of::Group(index) => {
            let group = &graph.groups[index];
            format!("{}{}", group.id, if group.all_members == 0 { "?" } else { "" })
        }
        Of::Copies(_) => String::new(),
    }
}

fn label_width(graph: &Graph, of: Of) -> f64 {
    match label(graph, of).chars().count() {
        0 => 0.0,
        count => count as f64 * CHARACTER + 12.0,
    }
}

/// The room for a bus with its label, so that no label lies on the next one.
fn slot(label: f64) -> f64 {
    BUS_GAP.max(label + 6.0)
}

/// The middle of a row, from above.
pub(super) fn row_middle(placed: &Placed, row: usize) -> f64 {
    placed.y + HEAD + row as f64 * ROW + ROW / 2.0 - 3.0
}
