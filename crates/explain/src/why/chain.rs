//! The facts from the path to the other namespace, in order, each with the rule that makes it matter.

use super::answer::{Link, Named};
use super::trace::{Broken, Outcome, Trace};
use crate::topology::{At, Relation};
use mount_table::Propagation;
use mount_table::holders::Health;
use subtree_model::RuleId;

/// The chain. The first link that does not hold is where it breaks.
pub(super) fn links(trace: &Trace<'_>) -> Vec<Link> {
    let mut links = vec![what_is_there(trace)];
    match &trace.outcome {
        Outcome::Seen { copy, .. } => seen(trace, *copy, &mut links),
        Outcome::Hidden { copy, place, cover } => {
            let fact = format!("{} shows it, at {}", trace.full_words(*copy), place.display());
            links.push(trace.link(true, fact, None, &[*copy]));
            let fact = format!("{} covers that place", trace.full_words(*cover));
            links.push(trace.link(false, fact, Some(RuleId::AttachOnTop.id()), &[*cover]));
        }
        Outcome::Broken(broken) => break_of(trace, broken, &mut links),
        Outcome::Nowhere => {
            let fact = format!(
                "{}: no mount shows {}, nor a folder that it is mounted in",
                trace.into(),
                trace.question.path.display()
            );
            links.push(trace.link(false, fact, Some("not-in-any-volume"), &[]));
        }
    }
    links
}

impl Trace<'_> {
    fn link(&self, holds: bool, fact: String, rule: Option<&'static str>, mounts: &[At]) -> Link {
        let named = |at: &At| Named {
            namespace: self.topology.name(at.namespace).to_owned(),
            id: self.topology.mount(*at).id,
        };
        Link { holds, fact, rule, mounts: mounts.iter().map(named).collect() }
    }
}

/// `shared (group 7)`, `slave of group 3`, `private`…
pub(super) fn type_words(propagation: &Propagation) -> String {
    match (propagation.shared, propagation.master) {
        (Some(group), Some(master)) => {
            format!("shared (group {}) and a slave of group {}", group.0, master.0)
        }
        (Some(group), None) => format!("shared (group {})", group.0),
        (None, Some(master)) => format!("a slave of group {}", master.0),
        (None, None) => propagation.in_words().to_owned(),
    }
}

fn what_is_there(trace: &Trace<'_>) -> Link {
    let source = trace.source();
    let mount = trace.topology.mount(source);
    let (from, path) = (trace.from(), trace.question.path.display());
    let kind = format!("{} of {:?}, {}", mount.fs_type, mount.source, type_words(&mount.propagation));
    let fact = if trace.is_mount_point() {
        format!("{from}: at {path} is mount {}, {kind}", mount.id.0)
    } else {
        format!("{from}: {path} is a place in {} ({kind}): nothing is mounted there", trace.words(source))
    };
    match trace.topology.health(mount.device) {
        Some(Health::Dead) => {
            trace.link(false, format!("{fact}; its server is gone (ENOTCONN)"), Some("dead-fuse"), &[source])
        }
        Some(Health::Hangs) => {
            trace.link(false, format!("{fact}; its server does not answer"), Some("dead-fuse"), &[source])
        }
        _ => trace.link(true, fact, None, &[source]),
    }
}

fn seen(trace: &Trace<'_>, copy: At, links: &mut Vec<Link>) {
    let source = trace.source();
    if copy == source {
        let fact = format!("{}: that is the mount that is asked about", trace.full_words(copy));
        links.push(trace.link(true, fact, None, &[copy]));
        return;
    }
    let mount = trace.topology.mount(copy);
    let fact = format!("{} shows {} of the same file system", trace.full_words(copy), mount.root.display());
    links.push(trace.link(true, fact, None, &[copy]));
    let (fact, rule) = match trace.topology.relation(source, copy) {
        Relation::Peers => (
            format!("both are in group {}: mounts and unmounts go both ways", group(trace, source)),
            RuleId::ReceivePeer.id(),
        ),
        Relation::Receives(through) => (
            format!("it receives from the one in {}{}", trace.from(), steps(&through)),
            RuleId::ReceiveSlave.id(),
        ),
        Relation::Sends(through) => {
            (format!("the one in {} receives from it{}", trace.from(), steps(&through)), "wrong-direction")
        }
        Relation::Siblings(group) => {
            (format!("both receive from group {}, neither from the other", group.0), "wrong-direction")
        }
        Relation::Strangers => {
            let words = type_words(&mount.propagation);
            (format!("it is {words}: a copy that goes its own way"), "private-copy")
        }
    };
    links.push(trace.link(true, fact, Some(rule), &[source, copy]));
}

fn group(trace: &Trace<'_>, at: At) -> u64 {
    trace.topology.mount(at).propagation.shared.map_or(0, |group| group.0)
}

/// `, through group 3 and group 4`; nothing for a direct slave.
fn steps(through: &[mount_table::PeerGroup]) -> String {
    match through {
        [] => String::new(),
        [only] => format!(" (master: group {})", only.0),
        several => {
            let names: Vec<String> = several.iter().map(|group| group.0.to_string()).collect();
            format!(" (through groups {})", names.join(" → "))
        }
    }
}

fn break_of(trace: &Trace<'_>, broken: &Broken, links: &mut Vec<Link>) {
    let Broken { missing, below, copy, place, cover, relation } = broken;
    let (t, into) = (trace.topology, trace.into());
    if *missing != trace.source() {
        let fact = format!("it lies below {}", trace.full_words(*missing));
        links.push(trace.link(true, fact, None, &[*missing]));
    }
    let below_mount = t.mount(*below);
    let words = type_words(&below_mount.propagation);
    let (holds, effect, rule) = match (relation, below_mount.propagation.is_shared()) {
        (_, true) => (true, "what is mounted on it goes to its peers and slaves", RuleId::ReceivePeer.id()),
        (Relation::Sends(_) | Relation::Siblings(_), false) => {
            (false, "it only receives: what is mounted on it goes nowhere", "wrong-direction")
        }
        _ => (false, "what is mounted on it goes nowhere", "source-not-shared"),
    };
    let fact = format!("it is mounted on {}, which is {words}: {effect}", trace.words(*below));
    links.push(trace.link(holds, fact, Some(rule), &[*below]));

    let shows = t.mount(*copy);
    let fact = format!(
        "{} shows {} of the same file system, so it would be at {}",
        trace.full_words(*copy),
        shows.root.display(),
        place.display()
    );
    links.push(trace.link(true, fact, None, &[*copy]));
    let words = type_words(&shows.propagation);
    let (holds, effect, rule) = match relation {
        Relation::Peers => (true, "the same group: it receives".to_owned(), RuleId::ReceivePeer.id()),
        Relation::Receives(through) => {
            (true, format!("it receives{}", steps(through)), RuleId::ReceiveSlave.id())
        }
        Relation::Sends(_) => {
            (false, "it sends to the other and does not receive from it".to_owned(), "wrong-direction")
        }
        Relation::Siblings(group) => (
            false,
            format!("it receives from group {}, as the other does, and not from the other", group.0),
            "wrong-direction",
        ),
        Relation::Strangers if shows.propagation.is_shared() || shows.propagation.is_slave() => {
            (false, "no group that the other sends to".to_owned(), "other-group")
        }
        Relation::Strangers => (false, "it receives nothing".to_owned(), "target-private"),
    };
    let fact = format!("mount {} is {words}: {effect}", shows.id.0);
    links.push(trace.link(holds, fact, Some(rule), &[*copy]));

    let (fact, mounts) = match cover {
        Some(cover) => {
            (format!("{} is mounted at that place instead", trace.full_words(*cover)), vec![*cover])
        }
        None => (format!("{into}: nothing is mounted at {}", place.display()), Vec::new()),
    };
    links.push(trace.link(false, fact, None, &mounts));
}

/// The answer in a sentence.
pub(super) fn verdict(trace: &Trace<'_>) -> String {
    let (path, from, into) = (trace.question.path.display(), trace.from(), trace.into());
    let what = if trace.is_mount_point() { "is mounted" } else { "is" };
    match (&trace.outcome, trace.place()) {
        (Outcome::Seen { copy, .. }, _) if *copy == trace.source() => {
            format!("yes: {path} is in {into} itself")
        }
        (Outcome::Seen { place, .. }, _) => {
            format!("yes: what {what} at {path} on {from} is visible in {into}, at {}", place.display())
        }
        (Outcome::Hidden { place, .. }, _) => {
            format!("no: what {what} at {path} on {from} is covered in {into}, at {}", place.display())
        }
        (_, Some(place)) => {
            format!(
                "no: what {what} at {path} on {from} is not visible in {into}; it would be at {}",
                place.display()
            )
        }
        (_, None) => {
            format!("no: what {what} at {path} on {from} is not visible in {into}, which has no part of it")
        }
    }
}
