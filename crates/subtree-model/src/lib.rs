//! What the kernel does with mounts: the operations ([`Op`]) and a model of their effects ([`World`]).
//!
//! A [`World`] is a machine as far as mounts go: mount namespaces with their owning user namespaces, mounts with
//! ordered children, peer rings, slave lists and masters, tasks with roots and working directories, open
//! descriptors. [`World::apply`] does to it what the kernel does (Linux 6.18 unless [`World::set_kernel`] says
//! otherwise): either all of it, with every [`Effect`] naming the [`RuleId`] that made it, or, when the kernel would
//! refuse, nothing, with the error and the first check that fails in the kernel's order.
//!
//! ```
//! use subtree_model::{Errno, Op, PropagationType, RuleId, World};
//!
//! let mut world = World::new();
//! let task = World::FIRST_TASK;
//! let make = |path: &str| Op::Create { path: path.into(), kind: subtree_model::Missing::Directory };
//! let tmpfs = |target: &str| Op::Mount {
//!     fs_type: "tmpfs".into(),
//!     source: "none".into(),
//!     target: target.into(),
//!     attributes: Default::default(),
//! };
//! world.apply(task, &make("/a"))?;
//! world.apply(task, &tmpfs("/a"))?;
//! let shared = Op::ChangeType { target: "/a".into(), to: PropagationType::Shared, recursive: false };
//! world.apply(task, &shared)?;
//! world.apply(task, &make("/a/b"))?;
//! let effects = world.apply(task, &tmpfs("/a/b"))?;
//! assert!(effects.rules().any(|rule| rule == RuleId::SourceBecomesShared));
//!
//! world.apply(task, &make("/c"))?;
//! let refused = world.apply(task, &Op::Move { source: "/a/b".into(), target: "/c".into() }).unwrap_err();
//! assert_eq!((refused.errno, refused.rule), (Errno::EINVAL, RuleId::MoveParentShared));
//!
//! print!("{}", world.table(task)?); // as /proc/self/mountinfo would be
//! # Ok::<(), subtree_model::Refused>(())
//! ```
//!
//! Who would see a mount? A world can begin with a machine's tables, has as many tasks as are made, and says of each
//! [`Change::Attached`] where it is:
//!
//! ```
//! use mount_table::MountTable;
//! use subtree_model::{Attributes, Change, Op, RuleId, World};
//!
//! // As read from /proc/self/mountinfo.
//! let table = MountTable::parse_mountinfo(b"21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n")?;
//! let mut world = World::from_table(&table)?;
//! let (host, container) = (World::FIRST_TASK, world.fork(World::FIRST_TASK)?);
//! world.apply(container, &Op::UnshareMounts)?;
//! let mount = Op::Mount {
//!     fs_type: "tmpfs".into(),
//!     source: "none".into(),
//!     target: "/srv".into(),
//!     attributes: Attributes::NONE,
//! };
//! let mut seen = Vec::new();
//! for effect in world.apply(host, &mount)?.list {
//!     if let Change::Attached { mount, namespace, .. } = effect.change {
//!         let table = world.table_of(namespace).expect("it was attached there");
//!         let path = table.get(mount).map(|row| row.mount_point.clone());
//!         seen.push((Some(namespace) == world.namespace_of(container), path, effect.rule));
//!     }
//! }
//! let path = Some("/srv".into());
//! assert_eq!(seen, [(false, path.clone(), RuleId::AttachOnTop), (true, path, RuleId::ReceivePeer)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Architecture invariant: pure. No files, no clock, no threads, no logging, no unsafe.
//!
//! Architecture invariant: refused means unchanged. Every operation first checks, walks and counts, and then
//! changes without a way to fail (attaching: `survey`, then `attach`).
//!
//! Architecture invariant: no operation looks at all mounts. Lists are intrusive and children are found by a
//! map, so that an operation costs what the kernel's does: its tree times its receivers.
//!
//! # In JSON
//!
//! [`Op`], [`Effects`], [`RuleId`], [`Errno`] and [`Kernel`] are written and read with serde;
//! `docs/reference/operations.schema.json` (JSON Schema 2020-12) says as what, and a test holds every one of them against
//! it. Tables and nodes are `mount_table`'s, with a schema of their own, `docs/reference/node-snapshot.schema.json`.
//!
//! ```
//! use subtree_model::{Op, PropagationType, World};
//!
//! let written = r#"{"ChangeType": {"target": "/", "to": "Shared", "recursive": true}}"#;
//! let op: Op = serde_json::from_str(written)?;
//! assert!(matches!(op, Op::ChangeType { to: PropagationType::Shared, .. }));
//! let effects = World::new().apply(World::FIRST_TASK, &op).expect("the root can be shared");
//! assert!(serde_json::to_string(&effects)?.starts_with(r#"[{"rule":"make-shared-new-group","change":{"Retyped":"#));
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! # How it is kept true
//!
//! `tests/kernel` gives the same operations to the running kernel (6.1 or 6.18, as root, in mount namespaces of its
//! own) and to the model, and compares errors, trees, groups, masters and the order of creation after each: cases
//! that read as documentation (`tests/kernel/cases`), then random sequences. `RHIZOME_MODEL_SEQUENCES` and
//! `RHIZOME_MODEL_SEED` ask for more or others; a difference is printed as a small case, which
//! `RHIZOME_MODEL_CASE=FILE` runs again. Every rule must be met by something.
//!
//! # What is not modelled
//!
//! * Whether a file system can be made or its options are good: [`Op::NewFileSystem`] and [`Op::Mount`] always get
//!   one of their own, tmpfs and ramfs empty, others with assumed contents. (Two mounts of one block device, or of
//!   sysfs, are one file system on a real machine, and mount(2) refuses the second at the same place: `EBUSY`.)
//! * Permissions on files, writers that keep a mount from becoming read-only, `MNT_FORCE`, kernel-made submounts
//!   (automounts) and their expiry, security modules.
//! * mount_setattr's id-mapping and access-time attributes.
//! * Mounts of namespace files (nsfs): the loop guard of mount namespace files and their not being copied.
//! * What each [`Kernel`] beside the default names in [`Kernel::not_modelled`].
//!
//! What a live machine's tables do not tell, and so a [`World`] made from them does not know, is listed at
//! [`World::from_snapshot`].
#![forbid(unsafe_code)]

mod attach;
mod call;
mod copy;
mod effect;
mod errno;
mod fast;
mod files;
mod invariants;
mod kernel;
mod mounts;
mod op;
mod retype;
mod rule;
mod table;
#[cfg(test)]
mod tests;
mod unmount;
mod unmount_by_marks;
mod walk;
mod world;

pub use effect::{Change, Effect, Effects};
pub use errno::{Errno, Refused};
pub use kernel::Kernel;
pub use op::{Attributes, Handle, Missing, Node, Op, PropagationType};
pub use rule::RuleId;
pub use table::TableError;
pub use world::{MOUNT_MAX, TaskId, World};
