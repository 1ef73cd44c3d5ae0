//! Actions as mount operations, for the kernel and for the model.

use super::{Action, Seen};
use mount_table::NamespaceId;
use std::collections::BTreeMap;
use std::path::Path;
use subtree_model::{Attributes, Handle, Op, PropagationType};

/// A list of operations that enters mount namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operations {
    /// The handles under which the namespaces must be open beforehand.
    pub namespaces: BTreeMap<NamespaceId, Handle>,
    /// What is done, in order.
    pub ops: Vec<Op>,
}

/// The operations of actions, in their order. They rely on every mount being as it was seen, and visible there.
pub fn operations(actions: &[Action]) -> Operations {
    let mut list = List { done: Operations::default(), next: 1 };
    actions.iter().for_each(|action| list.action(action));
    list.done
}

struct List {
    done: Operations,
    next: u32,
}

impl List {
    fn handle(&mut self) -> Handle {
        self.next += 1;
        Handle(self.next - 1)
    }

    fn push(&mut self, op: Op) {
        self.done.ops.push(op);
    }

    fn enter(&mut self, namespace: NamespaceId) {
        let known = self.done.namespaces.get(&namespace).copied();
        let entered = known.unwrap_or_else(|| self.handle());
        self.done.namespaces.insert(namespace, entered);
        self.push(Op::EnterNamespace { namespace: entered });
    }

    /// Enters a namespace and opens a place in it.
    fn open(&mut self, namespace: NamespaceId, path: &Path) -> Handle {
        self.enter(namespace);
        let out = self.handle();
        let path = path.to_owned();
        self.push(Op::Open { root: Handle::HOST, path, follow: false, missing: None, out });
        out
    }

    fn open_mount(&mut self, seen: &Seen) -> Handle {
        self.open(seen.namespace, &seen.mount.mount_point)
    }

    fn set(&mut self, mount: Handle, recursive: bool, propagation: Option<PropagationType>, read_only: bool) {
        let set = Attributes { read_only, ..Attributes::default() };
        self.push(Op::SetAttributes { mount, recursive, set, clear: Attributes::default(), propagation });
    }

    fn clone_of(&mut self, from: Handle, recursive: bool) -> Handle {
        let out = self.handle();
        self.push(Op::CloneTree { from, recursive, out });
        out
    }

    fn action(&mut self, action: &Action) {
        match action {
            Action::MakeShared { mount } => {
                let at = self.open_mount(mount);
                self.set(at, false, Some(PropagationType::Shared), false);
            }
            Action::MakePrivate { mount } => {
                let at = self.open_mount(mount);
                self.set(at, false, Some(PropagationType::Private), false);
            }
            Action::MakeReadOnly { mount } => {
                let at = self.open_mount(mount);
                self.set(at, true, None, true);
            }
            Action::Unmount { mount } => {
                // By path: a handle of ours would keep it in use.
                self.enter(mount.namespace);
                let target = mount.mount.mount_point.clone();
                self.push(Op::UnmountPath { target, detach: false, expire: false });
            }
            Action::Detach { mount } => {
                let at = self.open_mount(mount);
                self.set(at, true, Some(PropagationType::Private), false);
                self.push(Op::Unmount { at, detach: true });
            }
            // The detached clone is a peer of the source; made a slave, it has the source's group as its master, and
            // that is what the other mount gets from it.
            Action::Follow { source, mount } => self.set_group(source, mount, Some(PropagationType::Slave)),
            Action::Join { source, mount } => self.set_group(source, mount, None),
            Action::CopyInto { source, onto, place } => {
                let from = self.open_mount(source);
                let copy = self.clone_of(from, true);
                self.set(copy, true, Some(PropagationType::Slave), false);
                let to = self.open(onto.namespace, place);
                self.push(Op::MoveMount { from: copy, to });
            }
        }
    }

    fn set_group(&mut self, source: &Seen, mount: &Seen, first: Option<PropagationType>) {
        let from = self.open_mount(source);
        let clone = self.clone_of(from, false);
        if first.is_some() {
            self.set(clone, false, first, false);
        }
        let to = self.open_mount(mount);
        self.push(Op::SetGroup { from: clone, to });
        self.push(Op::Close { handle: clone });
    }
}
