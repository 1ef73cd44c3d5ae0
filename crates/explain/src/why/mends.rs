//! Changes of mounts that several causes are mended with.

use super::trace::{Broken, Trace};
use crate::finding::Finding;
use crate::mend::Action;
use crate::topology::{At, Topology};

/// Makes the missing mount visible now and, where the kernel can be told to, lets what comes later arrive too.
pub(super) fn bring(trace: &Trace<'_>, broken: &Broken, finding: Finding) -> Finding {
    let t = trace.topology;
    let (below, copy, missing) = (t.mount(broken.below), t.mount(broken.copy), t.mount(broken.missing));
    let mut actions = Vec::new();
    let mut also = Vec::new();
    if missing.propagation.unbindable {
        actions.push(Action::MakePrivate { mount: t.seen(broken.missing) });
        also.push(format!("mount {} can then be bound anywhere", missing.id.0));
    }
    let outward = t.is_inside(broken.below.namespace, broken.copy.namespace);
    let can_join = outward
        && below.propagation.is_private()
        && !copy.propagation.unbindable
        && below.root.starts_with(&copy.root);
    let can_follow = !outward
        && copy.propagation.is_private()
        && copy.device == below.device
        && copy.root.starts_with(&below.root)
        && broken.below.namespace != broken.copy.namespace
        && !below.propagation.unbindable;
    if can_join {
        also.push(format!(
            "mounts and unmounts go both ways between {} and {} from now on, until the former is started anew",
            trace.from(),
            trace.into()
        ));
    } else if can_follow && !below.propagation.is_slave() {
        if !below.propagation.is_shared() {
            actions.push(Action::MakeShared { mount: t.seen(broken.below) });
            also.push(format!(
                "mounts made on {} from now on also reach namespaces that are copied from {} later, unless those \
                 make it private",
                below.mount_point.display(),
                trace.from()
            ));
        }
        actions.push(Action::Follow { source: t.seen(broken.below), mount: t.seen(broken.copy) });
        also.push(format!(
            "{} receives what is mounted and unmounted there from now on, until it is started anew",
            trace.into()
        ));
    } else {
        also.push("what is mounted there later does not follow".to_owned());
    }
    if let Some(cover) = broken.cover {
        actions.push(Action::Detach { mount: t.seen(cover) });
        also.push(format!("what {} has there is unmounted", trace.into()));
    }
    let onto = t.seen(broken.copy);
    actions.push(Action::CopyInto { source: t.seen(broken.missing), onto, place: broken.place.clone() });
    // Last: once the two are tied, the copy would come back.
    if can_join {
        if !copy.propagation.is_shared() {
            actions.push(Action::MakeShared { mount: t.seen(broken.copy) });
        }
        actions.push(Action::Join { source: t.seen(broken.copy), mount: t.seen(broken.below) });
    }
    also.push(format!("{} holds the file system until that copy is unmounted", trace.into()));
    finding.with(trace.topology, actions, &also.join("; "))
}

/// Detaches mounts with what is below them. One that goes when another goes, because it is at the same place in what
/// receives from the other's parent, is left to that.
pub(crate) fn detach(t: &Topology<'_>, mounts: &[At], also: &str, finding: Finding) -> Finding {
    let mut first: Vec<At> = Vec::new();
    let mut taken: Vec<&str> = Vec::new();
    for at in mounts {
        if first.iter().any(|other| t.goes_with(*other, *at)) {
            continue;
        }
        first.retain(|other| !t.goes_with(*at, *other));
        first.push(*at);
    }
    for at in t.all().filter(|at| !first.contains(at) && first.iter().any(|other| t.goes_with(*other, *at))) {
        if !taken.contains(&t.name(at.namespace)) {
            taken.push(t.name(at.namespace));
        }
    }
    let actions = first.iter().map(|at| Action::Detach { mount: t.seen(*at) }).collect();
    let also = match taken.as_slice() {
        [] => also.to_owned(),
        names => {
            format!("{also}; it goes from {} as well, which receives unmounts from there", names.join(", "))
        }
    };
    finding.with(t, actions, &also)
}

/// The volumeMount of a manifest that a mount of a container is, or is in.
pub(super) fn volume_mount(t: &Topology<'_>, at: At) -> String {
    let point = t.mount(at).mount_point.display();
    match t.parent(at).is_none_or(|parent| t.mount(parent).mount_point.as_os_str() == "/") {
        true => format!("the volumeMount at {point}"),
        false => format!("the volumeMount that {point} is in"),
    }
}

/// What starting the Pod anew changes.
pub(super) const RESTART: &str = "takes effect when the Pod is started anew";
