//! Would a volume of a path propagate? The question behind `path "/x" is mounted on "/" but it is not a shared mount`.

use super::answer::{Answer, Link, Named, Visibility};
use super::chain::type_words;
use super::rules::{SHAREABLE, SOURCE_NOT_SHARED};
use super::trace::words;
use crate::finding::Finding;
use crate::mend::Action;
use crate::topology::{At, Topology};
use std::path::Path;

/// Answers for a path (absolute, canonical) in a namespace, given by position; none if no mount carries the path.
pub fn can_propagate(topology: &Topology<'_>, path: &Path, from: usize) -> Option<Answer> {
    let carrier = topology.carrier(from, path)?;
    let mount = topology.mount(carrier);
    let propagation = mount.propagation;
    let name = topology.name(from);
    let link = |holds, fact, rule, at: At| Link {
        holds,
        fact,
        rule,
        mounts: vec![Named { namespace: name.to_owned(), id: topology.mount(at).id }],
    };
    let mut chain = vec![link(
        true,
        format!("{name}: {} is carried by {}", path.display(), words(topology, carrier)),
        None,
        carrier,
    )];
    for at in topology.rows(from) {
        if at != carrier && topology.mount(at).mount_point == mount.mount_point {
            let other = type_words(&topology.mount(at).propagation);
            let fact = format!(
                "{} at the same place is under it ({other}), and does not count",
                words(topology, at)
            );
            chain.push(link(true, fact, None, at));
        }
    }
    let can = propagation.is_shared() || propagation.is_slave();
    let rule = if can { SHAREABLE.id } else { SOURCE_NOT_SHARED.id };
    chain.push(link(
        can,
        format!("mount {} is {}", mount.id.0, type_words(&propagation)),
        Some(rule),
        carrier,
    ));
    Some(Answer {
        visible: if can { Visibility::Yes } else { Visibility::No },
        verdict: verdict(topology, path, carrier),
        path: path.to_owned(),
        from: name.to_owned(),
        into: "a volume".to_owned(),
        place: None,
        chain,
        cause: cause(topology, path, carrier),
    })
}

fn verdict(topology: &Topology<'_>, path: &Path, carrier: At) -> String {
    let propagation = topology.mount(carrier).propagation;
    let (name, path) = (topology.name(carrier.namespace), path.display());
    match (propagation.is_shared(), propagation.is_slave()) {
        (true, false) => format!("yes: volumes of {path} on {name} can be HostToContainer and Bidirectional"),
        (true, true) => format!(
            "yes: volumes of {path} on {name} can be HostToContainer; Bidirectional ones reach {name} and not the master of its mount"
        ),
        (false, true) => {
            format!("half: volumes of {path} on {name} can be HostToContainer, and not Bidirectional")
        }
        (false, false) => format!("no: volumes of {path} on {name} can have no mountPropagation"),
    }
}

fn cause(topology: &Topology<'_>, path: &Path, carrier: At) -> Finding {
    let mount = topology.mount(carrier);
    let (name, point) = (topology.name(carrier.namespace), mount.mount_point.display());
    let propagation = mount.propagation;
    let seen = format!("{name}: {mount}");
    if propagation.is_shared() {
        let peers = topology.receivers(carrier).len();
        let title = format!(
            "{point} is {}: {peers} other mount(s) receive what is mounted on it",
            type_words(&propagation)
        );
        return Finding::fine(SHAREABLE.id, title).seen(seen);
    }
    if propagation.is_slave() {
        let title = format!("{point} is {}: it receives, and does not send", type_words(&propagation));
        let why = "a Bidirectional volume is refused (`is not a shared mount`), and what a pod mounts stays with it";
        return Finding::limit(SHAREABLE.id, title, why).seen(seen).with(
            topology,
            vec![Action::MakeShared { mount: topology.seen(carrier) }],
            &format!(
                "mounts made below {point} on {name} then reach its own copies, but still not its master"
            ),
        );
    }
    let title = format!("{} is mounted on {point}, which is {}", path.display(), propagation.in_words());
    let why = format!(
        "runtimes refuse HostToContainer and Bidirectional: path {:?} is mounted on {:?} but it is not a shared{} mount",
        path, mount.mount_point, " or slave"
    );
    let finding = Finding::problem(SOURCE_NOT_SHARED.id, title, why).seen(seen);
    let finding = finding.with(topology,
        vec![Action::MakeShared { mount: topology.seen(carrier) }],
        &format!("mounts made on {point} from now on also reach namespaces that are copied from {name} later, unless those make it private; until the next boot"),
    );
    if mount.mount_point == path {
        return finding;
    }
    let word = mount_table::shell_word(path);
    finding.mend(
        format!("mount --bind {word} {word} && mount --make-shared {word}"),
        format!(
            "shares that folder only ({} alone is no mount, so that --make-shared says `not mount point`); hides what is mounted below it now: use --rbind if something is",
            path.display()
        ),
    )
}
