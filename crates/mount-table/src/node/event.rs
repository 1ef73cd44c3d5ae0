//! What happens on a node: mounts that come and go, each with where it was done and where it arrived.

use super::Container;
use crate::{Mount, MountId, NamespaceId};
use jiff::Timestamp;
use serde::Serialize;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When it was noticed.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "event")]
pub enum What {
    /// A mount was made, moved or taken away, once for each that a system call did: its copies in other places are
    /// receivers.
    Mount(Box<Done>),
    /// A mount is another one than it was: its propagation type, its options. The kernel tells nobody, so it was noticed
    /// when it was read again.
    #[serde(rename_all = "camelCase")]
    Changed {
        /// The mount as it is.
        spot: Box<Spot>,
        /// The mount as it was.
        before: Box<Mount>,
        /// Which fields are different.
        fields: Vec<&'static str>,
    },
    /// There is a new mount namespace.
    #[serde(rename_all = "camelCase")]
    Began {
        /// Which.
        namespace: Party,
        /// How many mounts it has.
        mounts: usize,
    },
    /// A mount namespace has ended, and its mounts with it.
    #[serde(rename_all = "camelCase")]
    Ended {
        /// Which.
        namespace: Party,
        /// How many mounts it had.
        mounts: usize,
    },
    /// Mounts came and went before they could be read.
    #[serde(rename_all = "camelCase")]
    Brief {
        /// How many.
        mounts: u64,
        /// By whom.
        #[serde(skip_serializing_if = "Option::is_none")]
        actor: Option<Actor>,
    },
    /// More happened than could be followed: all was read again. What is different follows, without who did it; what came
    /// and went meanwhile is not known.
    Overflow,
}

/// What a system call did to a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// What.
    pub action: Action,
    /// Who; none if it was noticed by reading again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// Where it was done.
    pub origin: Spot,
    /// Where it was before, of a move.
    #[serde(skip_serializing_if = "Option::is_none", with = "super::optional_path")]
    pub moved_from: Option<std::path::PathBuf>,
    /// Where it arrived by propagation.
    pub receivers: Vec<Spot>,
    /// Who has the same place, and did not receive it.
    pub missed: Vec<Missed>,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Mounted.
    Mount,
    /// Unmounted.
    Unmount,
    /// Moved.
    Move,
}

/// Whose a namespace is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Party {
    /// Its number.
    pub id: NamespaceId,
    /// In words.
    pub name: String,
    /// The container, if it is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
}

/// A mount in a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spot {
    /// In which namespace.
    pub namespace: Party,
    /// The mount.
    pub mount: Mount,
    /// Its unique id, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unique_id: Option<MountId>,
}

/// Somebody who has the place where something was mounted, and did not receive it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Missed {
    /// Who.
    pub namespace: Party,
    /// Why.
    pub why: Why,
}

/// Why a mount did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Why {
    /// Their mount of the place is private.
    Private,
    /// Their mount of the place is unbindable.
    Unbindable,
    /// It was mounted in a slave, which does not send.
    FromSlave,
    /// It was mounted in a private mount, which does not send.
    FromPrivate,
    /// Their mount of the place is of another peer group.
    OtherGroup,
}

impl Why {
    /// In a word or two.
    pub fn in_words(self) -> &'static str {
        match self {
            Why::Private => "private",
            Why::Unbindable => "unbindable",
            Why::FromSlave => "a slave does not send",
            Why::FromPrivate => "a private mount does not send",
            Why::OtherGroup => "another peer group",
        }
    }
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// Process id.
    pub pid: u32,
    /// Its name, if it was still there to be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// The container that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
}

impl Event {
    /// Whether a pod of this name (of this Kubernetes namespace, where that is known) has to do with it.
    pub fn concerns(&self, name: &str, kubernetes_namespace: &str) -> bool {
        let is_it = |container: &Option<Container>| {
            let pod = container.as_ref().and_then(|container| container.pod.as_ref());
            pod.is_some_and(|pod| {
                pod.name_or_uid() == name
                    && pod.namespace.as_deref().is_none_or(|known| known == kubernetes_namespace)
            })
        };
        let by = |actor: &Option<Actor>| actor.as_ref().is_some_and(|actor| is_it(&actor.container));
        match &self.what {
            What::Mount(done) => {
                let spots = std::iter::once(&done.origin).chain(&done.receivers);
                by(&done.actor)
                    || spots.map(|spot| &spot.namespace).any(|party| is_it(&party.container))
                    || done.missed.iter().any(|missed| is_it(&missed.namespace.container))
            }
            What::Changed { spot, .. } => is_it(&spot.namespace.container),
            What::Began { namespace, .. } | What::Ended { namespace, .. } => is_it(&namespace.container),
            What::Brief { actor, .. } => by(actor),
            What::Overflow => true,
        }
    }
}
