//! The picture as SVG: no script, no font, no file beside it; dark where the reader prefers that; what is under the pointer says more.

use super::escape;
use super::layout::{self, Bus, End, HEAD, INSET, MARGIN, Of, Placed, ROW, Stub, lay_out};
use explain::graph::{Change, Graph, Kind, Row, Space};
use std::fmt::Write as _;

/// Colours by class, for light and for dark. Groups have one of eight.
const STYLE: &str = "\
svg.rz{--bg:#ffffff;--ink:#1b2733;--dim:#66727f;--line:#c9d1d9;--box:#f7f9fb;--host:#e9f2fb;--head:#e4e9ee;--hosthead:#cfe3f7;--warn:#8a94a0;\
--c0:#0b6bcb;--c1:#b4490f;--c2:#1a7f37;--c3:#8a3fbf;--c4:#b01e68;--c5:#0f7c80;--c6:#7a6200;--c7:#4a55c9;--new:#c9efd2;--changed:#fbe6b0;--gone:#f9d3d3;--bad:#b42318}\n\
@media (prefers-color-scheme:dark){svg.rz:not(.light){--bg:#10151b;--ink:#e3e9ef;--dim:#93a0ad;--line:#36414d;--box:#181f27;--host:#14273a;--head:#222b35;--hosthead:#1d3a57;--warn:#7d8996;\
--c0:#58a6ff;--c1:#f0883e;--c2:#56d364;--c3:#d2a8ff;--c4:#ff7bbd;--c5:#39c5cf;--c6:#e3b341;--c7:#a5b0ff;--new:#1c4a2a;--changed:#4d3d0c;--gone:#542024;--bad:#ff8a80}}\n\
svg.rz.dark{--bg:#10151b;--ink:#e3e9ef;--dim:#93a0ad;--line:#36414d;--box:#181f27;--host:#14273a;--head:#222b35;--hosthead:#1d3a57;--warn:#7d8996;\
--c0:#58a6ff;--c1:#f0883e;--c2:#56d364;--c3:#d2a8ff;--c4:#ff7bbd;--c5:#39c5cf;--c6:#e3b341;--c7:#a5b0ff;--new:#1c4a2a;--changed:#4d3d0c;--gone:#542024;--bad:#ff8a80}\n\
svg.rz{background:var(--bg);font-family:'DejaVu Sans Mono','Noto Sans Mono',ui-monospace,Menlo,Consolas,monospace;font-size:12px}\n\
.rz .bg{fill:var(--bg)}.rz text{fill:var(--ink)}.rz .dim{fill:var(--dim);font-size:11px}.rz .title{font-size:17px;font-weight:bold}\
.rz .name{font-weight:bold}.rz .frame{fill:var(--box);stroke:var(--line);stroke-width:1.2}.rz .host .frame{fill:var(--host)}\
.rz .cap{fill:var(--head)}.rz .host .cap{fill:var(--hosthead)}.rz .sep{stroke:var(--line);stroke-width:.8}\
.rz .halo{stroke:var(--bg);stroke-width:6;fill:none}.rz .wire{fill:none;stroke-width:2}.rz .copy{stroke:var(--warn);stroke-dasharray:4 4;stroke-width:1.5;fill:none}\
.rz .port{stroke-width:2}.rz .cross{stroke:var(--warn);stroke-width:1.8;fill:none}.rz .pill{rx:8}.rz .pilltext{font-size:11px;font-weight:bold}\n\
.rz .new>rect{fill:var(--new)}.rz .changed>rect{fill:var(--changed)}.rz .gone>rect{fill:var(--gone)}.rz .gone>text{text-decoration:line-through}\
.rz .swatch-new{fill:var(--new);stroke:var(--line)}.rz .swatch-changed{fill:var(--changed);stroke:var(--line)}.rz .swatch-gone{fill:var(--gone);stroke:var(--line)}.rz .bad{fill:var(--bad);font-size:12px}\n";

/// The picture; `title` stands above it.
pub fn svg(graph: &Graph, title: &str) -> String {
    let Drawing { body, width, height } = draw(graph, title);
    document(&body, title, width, height, &style())
}

/// What the classes of pictures look like.
pub(super) fn style() -> String {
    let mut style = String::from(STYLE);
    for colour in 0..COLOURS {
        let _ = write!(
            style,
            ".rz .c{colour}{{stroke:var(--c{colour})}}.rz .f{colour}{{fill:var(--c{colour})}}.rz text.t{colour}{{fill:var(--c{colour})}}"
        );
    }
    style
}

const COLOURS: usize = 8;

/// What stands in a picture, and how much room that takes.
pub(super) struct Drawing {
    pub(super) body: String,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A whole picture; without a style where that stands elsewhere.
pub(super) fn document(body: &str, title: &str, width: f64, height: f64, style: &str) -> String {
    let style = if style.is_empty() { String::new() } else { format!("<style>{style}</style>\n") };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"rz\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\"><title>{}</title>\n{style}\
         <rect class=\"bg\" width=\"{width:.0}\" height=\"{height:.0}\"/>\n{body}</svg>\n",
        escape(title)
    )
}

/// A graph below its title, with the legend.
pub(super) fn draw(graph: &Graph, title: &str) -> Drawing {
    let Drawing { mut body, width, height } = draw_bare(graph);
    let (legend, legend_width, legend_height) = legend(graph, height);
    body.push_str(&legend);
    let title_width = layout::TITLE + title.chars().count() as f64 * 10.5;
    let title = format!("<text class=\"title\" x=\"{MARGIN}\" y=\"34\">{}</text>\n", escape(title));
    let width = width.max(legend_width).max(title_width);
    Drawing { body: title + &body, width, height: height + legend_height }
}

/// Boxes and lines: above them is room for a title ([`layout::TITLE`]).
pub(super) fn draw_bare(graph: &Graph) -> Drawing {
    let layout = lay_out(graph);
    let colours = colours(graph);
    let mut body = String::new();
    for bus in &layout.buses {
        write_bus(&mut body, graph, bus, &colours);
    }
    for (index, placed) in layout.boxes.iter().enumerate() {
        write_box(&mut body, graph, index, placed);
    }
    for bus in &layout.buses {
        write_label(&mut body, graph, bus, &colours);
    }
    for bus in &layout.buses {
        write_ports(&mut body, graph, bus, &colours);
    }
    Drawing { body, width: layout.width, height: layout.height }
}

/// The colour of each group: that of its number as long as that is free, so that it keeps it from one picture to the next.
fn colours(graph: &Graph) -> Vec<usize> {
    let mut taken = [0_usize; COLOURS];
    let colour = |group: &explain::graph::Group| {
        let wish = (group.id.wrapping_sub(1) % COLOURS as u64) as usize;
        let free = (0..COLOURS).map(|by| (wish + by) % COLOURS).min_by_key(|colour| taken[*colour]);
        let colour = free.unwrap_or(wish);
        taken[colour] += 1;
        colour
    };
    graph.groups.iter().map(colour).collect()
}

/// The groups that a row is in, for whoever highlights them.
fn groups_of(row: &Row) -> String {
    let names = row.shared.into_iter().chain(row.master).map(|group| format!("g{group}"));
    names.collect::<Vec<_>>().join(" ")
}

fn write_box(out: &mut String, graph: &Graph, index: usize, placed: &Placed) {
    let space = &graph.spaces[index];
    let Placed { x, y, width, height } = *placed;
    let kind = match space.kind {
        Kind::Host => "host",
        Kind::Container => "container",
        Kind::Other => "namespace",
    };
    let class = if space.kind == Kind::Host { "box host" } else { "box" };
    let _ = writeln!(
        out,
        "<g class=\"{class}\" data-box=\"{index}\"><title>{}</title>",
        escape(&about(space, kind))
    );
    // Cards behind it say that it stands for several.
    for behind in (1..=space.alike.len().min(2)).rev() {
        let by = behind as f64 * 5.0;
        let (x, y) = (x + by, y + by);
        let _ = writeln!(
            out,
            "<rect class=\"frame\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"8\"/>"
        );
    }
    let (name, count) = layout::head(graph, index);
    let right = x + width - INSET;
    let _ = writeln!(
        out,
        "<rect class=\"frame\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"8\"/>\
         <path class=\"cap\" d=\"M{x0:.1} {y1:.1}v-{v:.1}q0 -7 7 -7h{h:.1}q7 0 7 7v{v:.1}z\"/>\
         <text class=\"name\" x=\"{tx:.1}\" y=\"{ty:.1}\">{}</text>\
         <text class=\"dim\" x=\"{right:.1}\" y=\"{ty:.1}\" text-anchor=\"end\">{}</text>",
        escape(&name),
        escape(&if count.is_empty() { kind.to_owned() } else { count }),
        x0 = x + 0.6,
        y1 = y + HEAD - 6.0,
        v = HEAD - 6.0 - 7.6,
        h = width - 15.2,
        tx = x + INSET,
        ty = y + 19.0,
    );
    for (row, mount) in space.mounts.iter().enumerate() {
        write_row(out, mount, row, placed);
    }
    if space.more > 0 {
        let y = y + height - 9.0;
        let x = x + INSET;
        let _ = writeln!(
            out,
            "<text class=\"dim\" x=\"{x:.1}\" y=\"{y:.1}\">and {} more mounts</text>",
            space.more
        );
    }
    out.push_str("</g>\n");
}

fn about(space: &Space, kind: &str) -> String {
    const NAMED: usize = 40;
    let mut text = format!("{kind} {}", space.name);
    if !space.alike.is_empty() {
        let names: Vec<&str> = space.alike.iter().take(NAMED).map(String::as_str).collect();
        let rest = space.alike.len().saturating_sub(NAMED);
        let _ = write!(text, "; {} more look the same: {}", space.alike.len(), names.join(", "));
        if rest > 0 {
            let _ = write!(text, " and {rest} more");
        }
    }
    text
}

fn write_row(out: &mut String, mount: &Row, row: usize, placed: &Placed) {
    let middle = layout::row_middle(placed, row);
    let (left, right) = (placed.x + INSET, placed.x + placed.width - INSET);
    if row > 0 {
        let y = middle - ROW / 2.0 + 1.0;
        let _ = writeln!(
            out,
            "<line class=\"sep\" x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
        );
    }
    let tip = format!(
        "{}: mount {}, {}, shows {} of it; {}",
        mount.path,
        mount.id,
        mount.file_system,
        mount.root,
        layout::tag(mount)
    );
    let (tag, class) = match mount.change {
        None => (layout::tag(mount), ""),
        Some(Change::New) => (layout::tag(mount), " new"),
        Some(Change::Changed) => (layout::tag(mount), " changed"),
        Some(Change::Gone) => ("gone".to_owned(), " gone"),
    };
    let _ = writeln!(
        out,
        "<g class=\"row{class} {}\"><title>{}</title><rect fill=\"transparent\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\
         <text x=\"{left:.1}\" y=\"{:.1}\">{}</text><text class=\"dim\" x=\"{right:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
         <text class=\"dim\" x=\"{left:.1}\" y=\"{:.1}\">{}</text></g>",
        groups_of(mount),
        escape(&tip),
        placed.x + 1.0,
        middle - ROW / 2.0 + 2.0,
        placed.width - 2.0,
        ROW - 2.0,
        middle + 1.0,
        escape(&layout::short(&mount.path)),
        middle + 1.0,
        escape(&tag),
        middle + 15.0,
        escape(&layout::second_line(mount)),
    );
}

/// The class of a bus' colour, and what is said of it.
fn look(graph: &Graph, of: Of, colours: &[usize]) -> (String, String) {
    match of {
        Of::Group(index) => {
            let group = &graph.groups[index];
            let tip = format!(
                "peer group {}: {} mount(s) of the node are in it, {} receive from it directly",
                group.id, group.all_members, group.all_slaves
            );
            (colours[index].to_string(), tip)
        }
        Of::Copies(row) => {
            let path = graph.spaces[0].mounts.get(row).map_or("", |row| row.path.as_str());
            (String::new(), format!("copies of {path} that receive nothing"))
        }
    }
}

fn write_bus(out: &mut String, graph: &Graph, bus: &Bus, colours: &[usize]) {
    let (colour, tip) = look(graph, bus.of, colours);
    let Bus { x, top, bottom, .. } = *bus;
    let (class, names) = match bus.of {
        Of::Group(index) => (format!("wire c{colour}"), format!("edge g{}", graph.groups[index].id)),
        Of::Copies(_) => ("copy".to_owned(), "edge".to_owned()),
    };
    let mut path = format!("M{x:.1} {top:.1}V{bottom:.1}");
    for stub in &bus.stubs {
        // The head of an arrow stands before the box.
        let end = match stub.end {
            End::Slave if stub.x > x => stub.x - 9.0,
            End::Slave => stub.x + 9.0,
            _ => stub.x,
        };
        let _ = write!(path, "M{x:.1} {:.1}H{end:.1}", stub.y);
    }
    let _ = writeln!(
        out,
        "<g class=\"{names}\"><title>{}</title><path class=\"halo\" d=\"{path}\"/><path class=\"{class}\" d=\"{path}\"/></g>",
        escape(&tip)
    );
}

/// What a line is called: over all lines.
fn write_label(out: &mut String, graph: &Graph, bus: &Bus, colours: &[usize]) {
    let Of::Group(index) = bus.of else { return };
    let (colour, tip) = look(graph, bus.of, colours);
    let Bus { x, label: wide, .. } = *bus;
    let y = bus.top - 12.0;
    let _ = writeln!(
        out,
        "<g class=\"edge g{}\"><title>{}</title>\
         <rect class=\"pill f{colour}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{wide:.1}\" height=\"16\" rx=\"8\"/>\
         <text class=\"pilltext\" style=\"fill:var(--bg)\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text></g>",
        graph.groups[index].id,
        escape(&tip),
        x - wide / 2.0,
        y - 10.0,
        y + 2.0,
        escape(&layout::label(graph, bus.of))
    );
}

/// What stands where a line meets a box: over the box.
fn write_ports(out: &mut String, graph: &Graph, bus: &Bus, colours: &[usize]) {
    let (colour, _) = look(graph, bus.of, colours);
    let names = match bus.of {
        Of::Group(index) => format!("edge g{}", graph.groups[index].id),
        Of::Copies(_) => "edge".to_owned(),
    };
    let _ = write!(out, "<g class=\"{names}\">");
    for Stub { end, x, y, .. } in &bus.stubs {
        let _ = match end {
            End::Peer => write!(
                out,
                "<circle class=\"port c{colour} f{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"
            ),
            End::Slave => {
                let by = if *x > bus.x { -10.0 } else { 10.0 };
                let (back, up, down) = (x + by, y - 5.0, y + 5.0);
                write!(out, "<path class=\"f{colour}\" d=\"M{x:.1} {y:.1}L{back:.1} {up:.1}V{down:.1}z\"/>")
            }
            End::Source => write!(
                out,
                "<circle class=\"cross\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" style=\"fill:var(--bg)\"/>"
            ),
            End::Copy => {
                let (a, b, c, d) = (x - 4.0, x + 4.0, y - 4.0, y + 4.0);
                write!(
                    out,
                    "<path class=\"cross\" d=\"M{a:.1} {c:.1}L{b:.1} {d:.1}M{a:.1} {d:.1}L{b:.1} {c:.1}\"/>"
                )
            }
        };
    }
    out.push_str("</g>\n");
}

/// What the signs mean, with its size.
pub(super) fn legend(graph: &Graph, from: f64) -> (String, f64, f64) {
    let y = from + 8.0;
    let mut out = String::from("<g class=\"legend\">");
    let mut x = MARGIN;
    let entries: [(&str, &str); 3] = [
        ("peers", "a peer group: mounts and unmounts go both ways"),
        ("slave", "a slave receives, and sends nothing back"),
        ("copy", "a private copy: it receives nothing"),
    ];
    for (sign, words) in entries {
        let (from, to) = (x, x + 44.0);
        let _ = match sign {
            "peers" => write!(
                out,
                "<path class=\"wire c0\" d=\"M{from:.1} {y:.1}H{to:.1}\"/><circle class=\"port c0 f0\" cx=\"{from:.1}\" cy=\"{y:.1}\" r=\"4\"/>\
                 <circle class=\"port c0 f0\" cx=\"{to:.1}\" cy=\"{y:.1}\" r=\"4\"/>"
            ),
            "slave" => write!(
                out,
                "<path class=\"wire c0\" d=\"M{from:.1} {y:.1}H{:.1}\"/><circle class=\"port c0 f0\" cx=\"{from:.1}\" cy=\"{y:.1}\" r=\"4\"/>\
                 <path class=\"f0\" d=\"M{to:.1} {y:.1}l-10 -5v10z\"/>",
                to - 9.0
            ),
            _ => write!(
                out,
                "<path class=\"copy\" d=\"M{from:.1} {y:.1}H{to:.1}\"/><path class=\"cross\" d=\"M{:.1} {:.1}l8 8m0 -8l-8 8\"/>",
                to - 4.0,
                y - 4.0
            ),
        };
        let at = to + 12.0;
        let _ = write!(out, "<text class=\"dim\" x=\"{at:.1}\" y=\"{:.1}\">{words}</text>", y + 4.0);
        x = at + words.chars().count() as f64 * 6.7 + 34.0;
    }
    let mut note = String::from("numbers are peer groups, as in mountinfo");
    if graph.left_out > 0 {
        let _ = write!(note, "; {} more namespaces have nothing to do with these", graph.left_out);
    }
    let marked = graph.spaces.iter().flat_map(|space| &space.mounts).any(|row| row.change.is_some());
    for (index, change) in ["new", "changed", "gone"].into_iter().enumerate().filter(|_| marked) {
        let (x, y) = (MARGIN + 34.0 + note.len() as f64 * 6.7 + index as f64 * 100.0, y + 16.0);
        let _ = write!(
            out,
            "<rect class=\"swatch-{change}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"16\" height=\"12\" rx=\"3\"/>\
             <text class=\"dim\" x=\"{:.1}\" y=\"{:.1}\">{change}</text>",
            x + 24.0,
            y + 10.0
        );
    }
    let _ = writeln!(out, "<text class=\"dim\" x=\"{MARGIN}\" y=\"{:.1}\">{note}</text></g>", y + 26.0);
    (out, x, 52.0)
}
