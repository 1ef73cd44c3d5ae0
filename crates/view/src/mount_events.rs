//! What happens on a node, a line each.

use crate::text::{Paint, printable, printable_json};
use jiff::Timestamp;
use mount_table::node::event::{Action, Actor, Done, Event, Missed, Party, Spot, What, Why};
use mount_table::{Mount, Propagation, readable};
use serde::Serialize;
use std::os::unix::ffi::OsStrExt as _;

/// So many receivers are named on a line.
const NAMED: usize = 8;

/// The event as a line with a line end.
pub fn line(event: &Event, paint: Paint) -> String {
    let (verb, rest) = match &event.what {
        What::Mount(done) => (verb(done.action), done_in_words(done)),
        What::Changed { spot, before, fields } => {
            let changes: Vec<_> = fields.iter().map(|field| change(field, before, &spot.mount)).collect();
            let place = format!("{} in {}", path(&spot.mount), spot.namespace.name);
            ("change", format!("{place}: {}", changes.join("; ")))
        }
        What::Began { namespace, mounts } => ("begin", format!("namespace {}", with_mounts(namespace, *mounts))),
        What::Ended { namespace, mounts } => ("end", format!("namespace {}", with_mounts(namespace, *mounts))),
        What::Brief { mounts, actor } => {
            let what = if *mounts == 1 { "1 mount".to_owned() } else { format!("{mounts} mounts") };
            ("brief", format!("{what} came and went before they could be read{}", by(actor.as_ref())))
        }
        What::Overflow => (
            "lost",
            "more happened than could be followed; all was read again, and what is different follows; what came and \
             went meanwhile is not known"
                .to_owned(),
        ),
    };
    let verb = match verb {
        "mount" | "begin" => paint.good(verb),
        "lost" | "brief" => paint.bad(verb),
        verb => paint.warn(verb),
    };
    format!("{} {verb} {}\n", paint.dim(&time(event.at)), printable(&rest))
}

/// The event as a line of JSON.
///
/// # Errors
/// None that an event can cause.
pub fn document(event: &Event) -> serde_json::Result<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Line<'a> {
        api_version: &'static str,
        kind: &'static str,
        #[serde(flatten)]
        event: &'a Event,
    }
    let line = Line { api_version: "rhizome.dev/v1", kind: "MountEvent", event };
    Ok(printable_json(&serde_json::to_string(&line)?).into_owned() + "\n")
}

/// The time of day, in UTC.
fn time(at: Timestamp) -> String {
    at.strftime("%H:%M:%S.%3fZ").to_string()
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::Mount => "mount",
        Action::Unmount => "umount",
        Action::Move => "move",
    }
}

fn done_in_words(done: &Done) -> String {
    let mount = &done.origin.mount;
    let at = done
        .moved_from
        .as_ref()
        .map_or("at".to_owned(), |from| format!("from {} to", readable(from.as_os_str().as_bytes())));
    let what = match (mount.source.as_str(), mount.fs_type.as_str()) {
        ("" | "none", fs_type) => fs_type.to_owned(),
        (source, fs_type) if source == fs_type => fs_type.to_owned(),
        (source, fs_type) => format!("{source} ({fs_type})"),
    };
    let mut text =
        format!("{what} {at} {} in {}{}", path(mount), done.origin.namespace.name, by(done.actor.as_ref()));
    let mut parts = Vec::new();
    if !done.receivers.is_empty() {
        let arrived = if done.action == Action::Unmount { "also gone from" } else { "arrived in" };
        parts.push(format!("{arrived} {}", receivers(&done.origin, &done.receivers)));
    }
    parts.extend(missed(&done.missed));
    if !parts.is_empty() {
        text = format!("{text}: {}", parts.join("; "));
    }
    text
}

fn receivers(origin: &Spot, receivers: &[Spot]) -> String {
    let name = |spot: &Spot| match spot.mount.mount_point == origin.mount.mount_point {
        _ if spot.namespace.id == origin.namespace.id => path(&spot.mount),
        true => spot.namespace.name.clone(),
        false => format!("{}'s {}", spot.namespace.name, path(&spot.mount)),
    };
    some_of(receivers.iter().map(name), receivers.len())
}

/// `not in w: private`, each reason once.
fn missed(missed: &[Missed]) -> Vec<String> {
    let mut reasons: Vec<(Why, Vec<&str>)> = Vec::new();
    for Missed { namespace, why } in missed {
        match reasons.iter_mut().find(|(known, _)| known == why) {
            Some((_, names)) => names.push(&namespace.name),
            None => reasons.push((*why, vec![&namespace.name])),
        }
    }
    let words = |(why, names): &(Why, Vec<&str>)| {
        let all = some_of(names.iter().map(|&name| name.to_owned()), names.len());
        format!("not in {all}: {}", why.in_words())
    };
    reasons.iter().map(words).collect()
}

fn some_of(names: impl Iterator<Item = String>, all: usize) -> String {
    let names: Vec<_> = names.take(NAMED).collect();
    let more = if all > names.len() { format!(" and {} more", all - names.len()) } else { String::new() };
    names.join(", ") + &more
}

fn by(actor: Option<&Actor>) -> String {
    let Some(actor) = actor else { return String::new() };
    let container = actor.container.as_ref().map(|container| container.in_words());
    let known: Vec<String> = actor.comm.iter().cloned().chain(container).collect();
    match known.is_empty() {
        true => format!(" by pid {}, which has ended", actor.pid),
        false => format!(" by pid {} ({})", actor.pid, known.join(", ")),
    }
}

fn with_mounts(party: &Party, mounts: usize) -> String {
    let mounts = if mounts == 1 { "1 mount".to_owned() } else { format!("{mounts} mounts") };
    format!("{}, {mounts}", party.name)
}

fn change(field: &str, before: &Mount, after: &Mount) -> String {
    match field {
        "options" => format!("options {} → {}", before.options, after.options),
        "super options" => {
            format!("options of the file system {} → {}", before.super_options, after.super_options)
        }
        _ => format!("{} → {}", propagation(&before.propagation), propagation(&after.propagation)),
    }
}

/// `shared:5 master:3`, as mountinfo has it, or `private`.
fn propagation(of: &Propagation) -> String {
    let shared = of.shared.map(|group| format!("shared:{}", group.0));
    let master = of.master.map(|group| format!("master:{}", group.0));
    let words: Vec<String> =
        shared.into_iter().chain(master).chain(of.unbindable.then(|| "unbindable".to_owned())).collect();
    if words.is_empty() { "private".to_owned() } else { words.join(" ") }
}

fn path(mount: &Mount) -> String {
    readable(mount.mount_point.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use mount_table::node::Container;
    use mount_table::{MountTable, NamespaceId};

    fn party(name: &str) -> Party {
        Party { id: NamespaceId(name.len() as u64), name: name.to_owned(), container: None }
    }

    fn spot(name: &str, row: &str) -> Spot {
        let mut table = MountTable::parse_mountinfo(row.as_bytes()).unwrap();
        Spot { namespace: party(name), mount: table.mounts.remove(0), unique_id: None }
    }

    fn show(what: What) -> String {
        line(&Event { at: "2026-11-23T10:22:01.1234Z".parse().unwrap(), what }, Paint::NONE)
    }

    fn actor(comm: Option<&str>) -> Option<Actor> {
        Some(Actor { pid: 812, comm: comm.map(str::to_owned), container: None })
    }

    #[test]
    fn lines() {
        let mut done = Done {
            action: Action::Mount,
            actor: actor(Some("mo\x1b[2Junt")),
            origin: spot("host", "1 0 0:9 / /mnt/a rw shared:2 - tmpfs none rw\n"),
            moved_from: None,
            receivers: vec![
                spot("y", "1 0 0:9 / /mnt/a rw shared:2 - tmpfs none rw\n"),
                spot("zz", "1 0 0:9 / /home/a\\012b rw master:2 - tmpfs none rw\n"),
            ],
            missed: vec![
                Missed { namespace: party("w"), why: Why::Private },
                Missed { namespace: party("u"), why: Why::OtherGroup },
                Missed { namespace: party("v"), why: Why::Private },
            ],
        };
        let mut text = show(What::Mount(Box::new(done.clone())));
        done.receivers =
            (0..11).map(|at| spot(&format!("p{at}"), "1 0 0:9 / /mnt/a rw - tmpfs none rw\n")).collect();
        done.action = Action::Unmount;
        done.missed.clear();
        done.actor = actor(None);
        text += &show(What::Mount(Box::new(done.clone())));
        done.receivers.clear();
        done.action = Action::Move;
        done.moved_from = Some("/mnt/b".into());
        if let Some(actor) = &mut done.actor {
            let id = "0123456789abcdef0123".to_owned();
            actor.container = Some(Container { runtime: None, id, name: None, pod: None });
        }
        text += &show(What::Mount(Box::new(done.clone())));
        let after = spot("host", "1 0 0:9 / /mnt rw shared:2 master:1 - tmpfs none rw\n");
        let before = spot("host", "1 0 0:9 / /mnt ro - tmpfs none rw\n").mount;
        let fields = vec!["propagation", "options"];
        text += &show(What::Changed { spot: Box::new(after), before: Box::new(before), fields });
        text += &show(What::Began { namespace: party("mount-b"), mounts: 19 });
        text += &show(What::Ended { namespace: party("mount-b"), mounts: 1 });
        text += &show(What::Brief { mounts: 3, actor: actor(Some("sh")) });
        text += &show(What::Overflow);
        expect![[r#"
            10:22:01.123Z mount tmpfs at /mnt/a in host by pid 812 (mo\x1b[2Junt): arrived in y, zz's /home/a\nb; not in w, v: private; not in u: another peer group
            10:22:01.123Z umount tmpfs at /mnt/a in host by pid 812, which has ended: also gone from p0, p1, p2, p3, p4, p5, p6, p7 and 3 more
            10:22:01.123Z move tmpfs from /mnt/b to /mnt/a in host by pid 812 (0123456789ab)
            10:22:01.123Z change /mnt in host: private → shared:2 master:1; options ro → rw
            10:22:01.123Z begin namespace mount-b, 19 mounts
            10:22:01.123Z end namespace mount-b, 1 mount
            10:22:01.123Z brief 3 mounts came and went before they could be read by pid 812 (sh)
            10:22:01.123Z lost more happened than could be followed; all was read again, and what is different follows; what came and went meanwhile is not known
        "#]]
        .assert_eq(&text);
        let json = document(&Event { at: Timestamp::UNIX_EPOCH, what: What::Mount(Box::new(done)) }).unwrap();
        assert!(json.starts_with(r#"{"apiVersion":"rhizome.dev/v1","kind":"MountEvent","at":"1970-01-01T00:00:00Z","event":"mount","action":"move""#), "{json}");
        assert_eq!(json.lines().count(), 1);
    }
}
