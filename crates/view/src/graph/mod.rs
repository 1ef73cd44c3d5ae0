//! The picture of propagation (`explain::graph`): as text, as SVG, as a page of HTML, as a document.
//!
//! How it is laid out: a column for each layer (the host, what is tied to it, what is tied to that…), a box for each namespace, a
//! line for each mount. Between two columns every peer group has a vertical line of its own, a bus, to which its mounts
//! are connected; a layer is never tied to one further away, so no line crosses a box. That is why no layout library draws
//! it: those that were looked at (layout-rs) place boxes and route edges between pairs of them, of which a group of a hundred
//! mounts would have thousands.
//!
//! Architecture invariant: text that is not ours is escaped in one place ([`escape`]) and never gets into the script
//! of the page.

mod html;
mod layout;
mod steps;
mod svg;
mod text;

pub use html::html;
pub use steps::{steps_html, steps_svg};
pub use svg::svg;
pub use text::text;

use explain::graph::Graph;
use serde_json::{Value, json};

/// The document.
pub fn document(graph: &Graph) -> Value {
    json!({
        "apiVersion": "rhizome.dev/v1",
        "kind": "Graph",
        "graph": graph,
    })
}

/// Text for XML and HTML, in elements and in attributes in double quotes: without what means something there, and without
/// characters that XML 1.0 cannot have or that turn the direction of writing.
pub(crate) fn escape(text: &str) -> String {
    let printable = crate::text::printable(text);
    let mut out = String::with_capacity(printable.len());
    for c in printable.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
