//! What is different between two nodes, for reading.

use crate::mounts::Scene;
use crate::text::{Paint, printable};
use mount_table::node::{Diff, MountChange, Place};
use mount_table::{Mount, NamespaceId, Node, readable};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;

/// A line a change: `+` for what came, `-` for what went, `~` for what is another now.
pub fn diff(diff: &Diff, before: &Node, after: &Node, paint: Paint) -> String {
    let (old, new) = (Scene::of(before), Scene::of(after));
    let mut text = String::new();
    for (sign, changes) in [("-", &diff.gone), ("+", &diff.new)] {
        for change in changes {
            let number = format!("ns:{}", change.id.0);
            let number = if change.name == number { String::new() } else { format!(" ({number})") };
            let mounts = if change.mounts == 1 { "mount" } else { "mounts" };
            let line = format!("{sign} namespace {}{number}, {} {mounts}", change.name, change.mounts);
            line_of(&mut text, sign, &line, paint);
        }
    }
    for changed in &diff.changed {
        text.push_str(if text.is_empty() { "" } else { "\n" });
        let _ = writeln!(text, "{}", paint.strong(&printable(&changed.name)));
        for change in &changed.mounts {
            let (sign, line) = match change {
                MountChange::Mounted { mount } => ("+", whole(&new, after, changed.id, mount)),
                MountChange::Unmounted { mount } => ("-", whole(&old, before, changed.id, mount)),
                MountChange::Changed { fields, before: was, after: is } => {
                    let what = fields.iter().map(|field| {
                        let value =
                            |scene, node, mount: &Mount| field_of(field, scene, node, changed.id, mount);
                        format!("{field} {} → {}", value(&old, before, was), value(&new, after, is))
                    });
                    ("~", format!("{}: {}", path(is), what.collect::<Vec<_>>().join("; ")))
                }
            };
            line_of(&mut text, sign, &format!("  {sign} {line}"), paint);
        }
    }
    text
}

fn line_of(text: &mut String, sign: &str, line: &str, paint: Paint) {
    let line = printable(line);
    let painted = match sign {
        "+" => paint.good(&line),
        "-" => paint.bad(&line),
        _ => paint.warn(&line),
    };
    let _ = writeln!(text, "{painted}");
}

fn whole(scene: &Scene<'_>, node: &Node, namespace: NamespaceId, mount: &Mount) -> String {
    let words = propagation(scene, node, namespace, mount);
    format!("{} {} {} {} {words}", path(mount), mount.source, mount.fs_type, mount.options)
}

/// With whom, if the namespace had the number then that it has now.
fn propagation(scene: &Scene<'_>, node: &Node, namespace: NamespaceId, mount: &Mount) -> String {
    match node.namespace(namespace) {
        Some(namespace) => scene.propagation(&Place { namespace, mount }),
        None => mount.propagation.in_words().to_owned(),
    }
}

fn field_of(field: &str, scene: &Scene<'_>, node: &Node, namespace: NamespaceId, mount: &Mount) -> String {
    match field {
        "mount point" => path(mount),
        "root" => {
            let deleted = if mount.deleted { " (removed)" } else { "" };
            format!("{}{deleted}", readable(mount.root.as_os_str().as_bytes()))
        }
        "device" => mount.device.to_string(),
        "type" => mount.fs_type.clone(),
        "source" => mount.source.clone(),
        "options" => mount.options.clone(),
        "super options" => mount.super_options.clone(),
        "parent" => mount.parent.0.to_string(),
        _ => propagation(scene, node, namespace, mount),
    }
}

fn path(mount: &Mount) -> String {
    readable(mount.mount_point.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use mount_table::node::Owner;
    use mount_table::{MountTable, NamespaceView};

    #[test]
    fn lines_of_a_difference() {
        let node = |namespaces: &[(u64, &[u8])]| {
            let mut node = Node::new("2026-11-23T08:00:00Z".parse().unwrap(), "6.18".to_owned());
            node.boot_id = Some("b".to_owned());
            node.host = Some(NamespaceId(1));
            for (id, rows) in namespaces {
                let mut view =
                    NamespaceView::new(NamespaceId(*id), MountTable::parse_mountinfo(rows).unwrap());
                view.owner = if *id == 1 { Owner::Host } else { Owner::Kept };
                node.namespaces.push(view);
            }
            node
        };
        let before = node(&[
            (1, b"1 0 8:1 / / rw shared:1 - ext4 /dev/sda rw\n2 1 0:9 / /gone\x1b[2J rw - tmpfs t rw\n"),
            (2, b"9 0 8:1 / / rw master:1 - ext4 /dev/sda rw\n"),
            (3, b"5 0 8:1 / / rw - ext4 a rw\n"),
        ]);
        let after = node(&[
            (1, b"1 0 8:1 / / ro - ext4 /dev/sda rw\n2 1 0:9 / /new rw shared:5 - tmpfs t rw\n"),
            (2, b"9 0 8:1 / / rw - ext4 /dev/sda rw\n"),
            (4, b"5 0 8:1 / / rw - ext4 a rw\n"),
        ]);
        expect![[r#"
            - namespace ns:3, 1 mount
            + namespace ns:4, 1 mount

            host
              - /gone\x1b[2J t tmpfs rw private
              ~ /: options rw → ro; propagation shared with nobody → private
              + /new t tmpfs rw shared with nobody

            ns:2
              ~ /: propagation slave of the host's / → private
        "#]]
        .assert_eq(&diff(&before.diff(&after), &before, &after, Paint::NONE));
        assert_eq!(diff(&before.diff(&before), &before, &before, Paint::NONE), "");
    }
}
