//! Calls and what they changed, in words.

use super::outcome::Event;
use super::simulation::Places;
use mount_table::MountId;
use std::path::Path;
use subtree_model::{Attributes, Change, Effects, Missing, Op, TaskId};

/// A call as strace(1) would print it.
pub(super) fn call_text(op: &Op) -> String {
    let quoted = |path: &Path| format!("\"{}\"", path.display());
    match op {
        Op::Mount { fs_type, source, target, attributes } => {
            let flags = flag_names(*attributes);
            let flags = if flags.is_empty() { "0".to_owned() } else { flags };
            format!("mount(\"{source}\", {}, \"{fs_type}\", {flags})", quoted(target))
        }
        Op::Remount { target, attributes, bind } => {
            let flags =
                [if *bind { "MS_REMOUNT|MS_BIND" } else { "MS_REMOUNT" }.to_owned(), flag_names(*attributes)];
            let flags: Vec<String> = flags.into_iter().filter(|part| !part.is_empty()).collect();
            format!("mount({}, {})", quoted(target), flags.join("|"))
        }
        Op::Bind { source, target, recursive } => {
            let recursive = if *recursive { "|MS_REC" } else { "" };
            format!("mount({}, {}, MS_BIND{recursive})", quoted(source), quoted(target))
        }
        Op::Move { source, target } => format!("mount({}, {}, MS_MOVE)", quoted(source), quoted(target)),
        Op::MoveBeneath { source, target } => {
            format!("move_mount({}, {}, MOVE_MOUNT_BENEATH)", quoted(source), quoted(target))
        }
        Op::ChangeType { target, to, recursive } => {
            let recursive = if *recursive { "MS_REC|" } else { "" };
            format!("mount({}, {recursive}MS_{})", quoted(target), format!("{to:?}").to_uppercase())
        }
        Op::UnmountPath { target, detach, .. } => {
            format!("umount2({}, {})", quoted(target), if *detach { "MNT_DETACH" } else { "0" })
        }
        Op::PivotRootTo { new_root, put_old } => {
            format!("pivot_root({}, {})", quoted(new_root), quoted(put_old))
        }
        Op::Create { path, kind: Missing::Directory } => format!("mkdir({})", quoted(path)),
        Op::Create { path, kind: Missing::File } => format!("open({}, O_CREAT)", quoted(path)),
        Op::RemoveDirectory { path } => format!("rmdir({})", quoted(path)),
        Op::Unlink { path } => format!("unlink({})", quoted(path)),
        Op::Rename { from, to } => format!("rename({}, {})", quoted(from), quoted(to)),
        other => format!("{other:?}"),
    }
}

fn flag_names(attributes: Attributes) -> String {
    let named = [
        (attributes.read_only, "MS_RDONLY"),
        (attributes.no_suid, "MS_NOSUID"),
        (attributes.no_dev, "MS_NODEV"),
        (attributes.no_exec, "MS_NOEXEC"),
    ];
    named.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect::<Vec<_>>().join("|")
}

/// The effects of a call, told with names and paths.
pub(super) fn events(
    effects: &Effects,
    names: &[(String, TaskId)],
    before: &Places,
    after: &Places,
) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for (index, effect) in effects.list.iter().enumerate() {
        let pushes =
            matches!(effects.list.get(index + 1).map(|next| next.change), Some(Change::PushedUp { .. }));
        let Some((mount, text)) = told(effect.change, pushes, before, after) else { continue };
        let place = mount.and_then(|mount| match effect.change {
            Change::Left { .. } | Change::Detached { .. } => before.get(&mount),
            _ => after.get(&mount).or_else(|| before.get(&mount)),
        });
        // Mounts that no table shows (detached trees, the unseen root of all) are not told.
        if mount.is_some() && place.is_none() {
            continue;
        }
        events.push(Event {
            rule: effect.rule,
            namespace: place.and_then(|(at, _)| names.get(*at)).map(|(name, _)| name.clone()),
            path: place.map(|(_, row)| row.mount_point.clone()),
            text: if text.is_empty() { effect.rule.meaning().to_owned() } else { text },
        });
    }
    events
}

/// What a change was done to, and in words what.
fn told(change: Change, pushes: bool, before: &Places, after: &Places) -> Option<(Option<MountId>, String)> {
    let row = |mount: MountId| after.get(&mount).or_else(|| before.get(&mount)).map(|(_, row)| row);
    let path = |mount| row(mount).map_or("?".to_owned(), |row| row.mount_point.display().to_string());
    let (mount, text) = match change {
        Change::Attached { mount, .. } => {
            let where_to = if pushes { "mounted, tucked under what was there" } else { "mounted, on top" };
            (mount, format!("{where_to}, {}", row(mount).map_or("", |row| row.propagation.in_words())))
        }
        Change::PushedUp { mount, .. } => (mount, "stays visible, on top of what came under it".to_owned()),
        Change::SlidDown { mount, .. } => (mount, "stays visible, slides down".to_owned()),
        Change::Left { mount, .. } => (mount, "leaves".to_owned()),
        Change::Detached { mount, .. } => (mount, "unmounted".to_owned()),
        Change::Untouched { mount } => (mount, "untouched".to_owned()),
        Change::Retyped { mount, from, to } if from.in_words() == to.in_words() => {
            (mount, format!("stays {}", to.in_words()))
        }
        Change::Retyped { mount, from, to } => {
            (mount, format!("{} becomes {}", from.in_words(), to.in_words()))
        }
        Change::Handed { mount, master: Some(master) } => {
            (mount, format!("its master is now {}", path(master)))
        }
        Change::Handed { mount, master: None } => (mount, "has no master any more".to_owned()),
        Change::Copied { from, to } => (
            to,
            format!("a copy of {}, {}", path(from), row(to).map_or("", |row| row.propagation.in_words())),
        ),
        Change::Locked { mount } => {
            (mount, "locked: its attributes, and all that is mounted below it".to_owned())
        }
        Change::Unlocked { mount } => (mount, "no longer locked".to_owned()),
        Change::AttributesChanged { mount } => {
            (mount, format!("now {}", row(mount).map_or("", |row| row.options.as_str())))
        }
        // What follows says it better.
        Change::Created { .. } | Change::NamespaceMade { .. } => return None,
        Change::NamespaceGone { .. } | Change::Other => {
            return Some((None, String::new()));
        }
    };
    Some((Some(mount), text))
}
