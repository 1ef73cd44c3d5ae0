//! The objects, each with a version that only grows, and what has lately become of them.
//!
//! In memory an object is its JSON text, which is what most answers are made of. A change that must last is in the
//! journal before it can be seen; one that can be found again (a pod's status, an event) is in memory alone.
//!
//! Versions are one count for all objects, as etcd's are. They are reserved in the journal by the thousand, so that
//! after a restart none is given twice, whether or not its change was written.

use crate::error::NodeError;
use crate::journal::{Journal, Record};
use crate::kinds::Resource;
use crate::object::{self, Key};
use hyper::body::Bytes;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Versions that are reserved at a time.
const RESERVED_AT_ONCE: u64 = 1000;
/// How many changes are remembered at most, for watchers and for lists that are read in pages.
const HISTORY_CHANGES: usize = 4096;
/// How many bytes of objects they may be.
const HISTORY_BYTES: usize = 8 << 20;
/// A journal that is shorter is not rewritten.
const REWRITE_FROM_BYTES: u64 = 4 << 20;

/// An object as it is kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) version: u64,
    /// Its JSON.
    pub(crate) text: Bytes,
}

impl Stored {
    fn new(object: &Value, version: u64) -> Stored {
        // A value of ours always has a JSON.
        Stored { version, text: serde_json::to_vec(object).unwrap_or_default().into() }
    }

    /// An object that is only shown: of a dry run.
    pub(crate) fn unkept(object: &Value) -> Stored {
        Stored::new(object, 0)
    }

    /// The object.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.text).unwrap_or_default()
    }
}

/// Something that has become of an object.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) key: Key,
    pub(crate) before: Option<Arc<Stored>>,
    /// For one that is gone, as it was last, with the version at which it went.
    pub(crate) after: Arc<Stored>,
    pub(crate) gone: bool,
}

/// Whether a change must survive a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It is answered only when it is on the disk.
    Lasting,
    /// It can be found again from what is.
    Passing,
}

/// What becomes of an object.
#[derive(Debug)]
pub(crate) enum Next {
    /// It is this.
    Put(Value),
    /// It goes.
    Remove,
    /// It stays as it is.
    Keep,
}

/// How a change could fail, besides by the caller's own reasons.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the journal")]
pub(crate) struct WriteError(#[source] io::Error);

#[derive(Debug, Default)]
struct Memory {
    objects: BTreeMap<Key, Arc<Stored>>,
    history: VecDeque<Change>,
    history_bytes: usize,
    version: u64,
    /// Changes after this version are all in the history.
    complete_since: u64,
}

#[derive(Debug)]
struct Writer {
    journal: Journal,
    reserved: u64,
    /// Length of the journal when it was last only what is.
    rewritten_at: u64,
}

/// All objects of a node.
#[derive(Debug)]
pub(crate) struct Store {
    memory: Mutex<Memory>,
    /// Held over a whole change, so that changes come one after the other.
    writer: Mutex<Writer>,
    version: watch::Sender<u64>,
}

/// A panic while the lock was held cannot leave half a change: what is locked is changed in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// What the journal at this path has.
    pub(crate) fn open(path: &Path) -> Result<Store, NodeError> {
        let (mut journal, records) = Journal::open(path)?;
        let (mut objects, mut reserved) = (BTreeMap::new(), 0);
        for record in records {
            match record {
                Record::Put { resource, namespace, name, object } => {
                    let version = object::text(&object, "/metadata/resourceVersion").parse().unwrap_or(0);
                    reserved = reserved.max(version);
                    if let Some(resource) = Resource::of_plural(&resource) {
                        let stored = Arc::new(Stored::new(&object, version));
                        objects.insert(Key { resource, namespace, name }, stored);
                    }
                }
                Record::Delete { resource, namespace, name } => {
                    if let Some(resource) = Resource::of_plural(&resource) {
                        objects.remove(&Key { resource, namespace, name });
                    }
                }
                Record::Reserve { up_to } => reserved = reserved.max(up_to),
                Record::Begin { .. } => {}
            }
        }
        let version = reserved;
        let next = version + RESERVED_AT_ONCE;
        let mut records = vec![Record::Reserve { up_to: next }];
        records.extend(objects.iter().map(|(key, stored)| put(key, stored.value())));
        journal.rewrite(&records).map_err(crate::error::file("write", path))?;
        let writer = Writer { rewritten_at: journal.length(), journal, reserved: next };
        let memory = Memory { objects, version, complete_since: version, ..Memory::default() };
        Ok(Store {
            memory: Mutex::new(memory),
            writer: Mutex::new(writer),
            version: watch::Sender::new(version),
        })
    }

    /// The version of the last change.
    pub(crate) fn version(&self) -> u64 {
        lock(&self.memory).version
    }

    /// Wakes at every change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Stored>> {
        lock(&self.memory).objects.get(key).cloned()
    }

    /// The objects of a resource, in one namespace or in all, in the order of their names, and the version at which they
    /// are this.
    pub(crate) fn list(&self, resource: Resource, namespace: Option<&str>) -> (Vec<(Key, Arc<Stored>)>, u64) {
        let memory = lock(&self.memory);
        (memory.list(resource, namespace).map(|(k, s)| (k.clone(), s.clone())).collect(), memory.version)
    }

    /// How many objects of a resource there are.
    pub(crate) fn count(&self, resource: Resource) -> usize {
        lock(&self.memory).list(resource, None).count()
    }

    /// As [`Store::list`], as they were at an earlier version; none if that is no longer known.
    pub(crate) fn list_at(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        version: u64,
    ) -> Option<Vec<(Key, Arc<Stored>)>> {
        let memory = lock(&self.memory);
        if version < memory.complete_since || version > memory.version {
            return None;
        }
        let mut objects: BTreeMap<Key, Arc<Stored>> =
            memory.list(resource, namespace).map(|(k, s)| (k.clone(), s.clone())).collect();
        let later = memory.history.iter().rev().take_while(|change| change.version > version);
        for change in later.filter(|change| belongs(&change.key, resource, namespace)) {
            match &change.before {
                Some(before) => drop(objects.insert(change.key.clone(), before.clone())),
                None => drop(objects.remove(&change.key)),
            }
        }
        Some(objects.into_iter().collect())
    }

    /// The changes after a version, at most `most` of them (and no more once they have so many bytes), and the version up to which that is all. None if they are no
    /// longer known, with the version from which on they are.
    pub(crate) fn changes_after(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        version: u64,
        (most, most_bytes): (usize, usize),
    ) -> Result<(Vec<Change>, u64), u64> {
        let memory = lock(&self.memory);
        if version < memory.complete_since {
            return Err(memory.complete_since);
        }
        let from = memory.history.partition_point(|change| change.version <= version);
        let (mut found, mut bytes) = (Vec::new(), 0);
        for change in memory.history.range(from..) {
            if belongs(&change.key, resource, namespace) {
                found.push(change.clone());
                bytes += change.after.text.len();
                if found.len() == most || bytes >= most_bytes {
                    return Ok((found, change.version));
                }
            }
        }
        Ok((found, memory.version))
    }

    /// Changes one object: `step` sees it as it is and says what it becomes. Returns it as it is then, or as it was last.
    ///
    /// What does not change it makes no new version.
    ///
    /// # Errors
    /// The caller's own, or that the journal cannot be written; then nothing has changed.
    pub(crate) fn change<E: From<WriteError>>(
        &self,
        key: &Key,
        durability: Durability,
        step: impl FnOnce(Option<Value>) -> Result<Next, E>,
    ) -> Result<Option<Arc<Stored>>, E> {
        let mut writer = lock(&self.writer);
        let before = self.get(key);
        let now = before.as_ref().map(|stored| stored.value());
        let (mut object, gone) = match step(now.clone())? {
            Next::Keep => return Ok(before),
            Next::Put(object) if Some(&object) == now.as_ref() => return Ok(before),
            Next::Put(object) => (object, false),
            Next::Remove => match now {
                Some(object) => (object, true),
                None => return Ok(None),
            },
        };
        let version = self.version() + 1;
        object::set_metadata(&mut object, "resourceVersion", Some(version.to_string().into()));
        let stored = Arc::new(Stored::new(&object, version));
        let mut records = Vec::new();
        let reserve = (version > writer.reserved).then_some(version + RESERVED_AT_ONCE);
        records.extend(reserve.map(|up_to| Record::Reserve { up_to }));
        if durability == Durability::Lasting {
            records.push(if gone { delete(key) } else { put(key, object) });
        }
        if !records.is_empty() {
            // The disk takes its time, and this may be a thread that other tasks wait for.
            tokio::task::block_in_place(|| writer.journal.append(&records)).map_err(WriteError)?;
            writer.reserved = reserve.unwrap_or(writer.reserved);
        }
        self.remember(Change { version, key: key.clone(), before, after: stored.clone(), gone });
        self.rewrite_if_long(&mut writer);
        Ok(Some(stored))
    }

    fn remember(&self, change: Change) {
        let version = change.version;
        {
            let mut memory = lock(&self.memory);
            memory.version = version;
            match change.gone {
                true => drop(memory.objects.remove(&change.key)),
                false => drop(memory.objects.insert(change.key.clone(), change.after.clone())),
            }
            memory.history_bytes += change.after.text.len();
            memory.history.push_back(change);
            while memory.history.len() > HISTORY_CHANGES || memory.history_bytes > HISTORY_BYTES {
                let Some(oldest) = memory.history.pop_front() else { break };
                memory.history_bytes -= oldest.after.text.len();
                memory.complete_since = oldest.version;
            }
        }
        self.version.send_replace(version);
    }

    /// A journal that has become much longer than what is in it is written anew. That this fails is no harm: the long one
    /// is as good.
    fn rewrite_if_long(&self, writer: &mut Writer) {
        let length = writer.journal.length();
        if length < REWRITE_FROM_BYTES || length < writer.rewritten_at.saturating_mul(4) {
            return;
        }
        let mut records = vec![Record::Reserve { up_to: writer.reserved }];
        records.extend(lock(&self.memory).objects.iter().map(|(key, stored)| put(key, stored.value())));
        match tokio::task::block_in_place(|| writer.journal.rewrite(&records)) {
            Ok(()) => writer.rewritten_at = writer.journal.length(),
            Err(error) => {
                tracing::warn!(%error, "the journal cannot be rewritten");
                writer.rewritten_at = length;
            }
        }
    }
}

impl Memory {
    fn list(
        &self,
        resource: Resource,
        namespace: Option<&str>,
    ) -> impl Iterator<Item = (&Key, &Arc<Stored>)> {
        let first = Key::new(resource, namespace.unwrap_or_default(), "");
        let namespace = namespace.map(str::to_owned);
        self.objects.range(first..).take_while(move |(key, _)| belongs(key, resource, namespace.as_deref()))
    }
}

fn belongs(key: &Key, resource: Resource, namespace: Option<&str>) -> bool {
    key.resource == resource && namespace.is_none_or(|namespace| key.namespace == namespace)
}

fn put(key: &Key, object: Value) -> Record {
    let Key { resource, namespace, name } = key.clone();
    Record::Put { resource: resource.about().plural.to_owned(), namespace, name, object }
}

fn delete(key: &Key) -> Record {
    let Key { resource, namespace, name } = key.clone();
    Record::Delete { resource: resource.about().plural.to_owned(), namespace, name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(name: &str) -> Key {
        Key::new(Resource::ConfigMaps, "default", name)
    }

    fn set(store: &Store, name: &str, value: u32, durability: Durability) -> u64 {
        let object = json!({"metadata": {"name": name}, "data": {"value": value.to_string()}});
        let changed = store.change::<WriteError>(&key(name), durability, |_| Ok(Next::Put(object)));
        changed.unwrap().unwrap().version
    }

    fn values(objects: &[(Key, Arc<Stored>)]) -> String {
        objects
            .iter()
            .map(|(k, s)| format!("{}{} ", k.name, object::text(&s.value(), "/data/value")))
            .collect()
    }

    #[test]
    fn what_was_answered_is_there_again_and_versions_only_grow() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let store = Store::open(&path).unwrap();
        set(&store, "a", 1, Durability::Lasting);
        set(&store, "b", 1, Durability::Lasting);
        set(&store, "a", 2, Durability::Passing);
        store.change::<WriteError>(&key("b"), Durability::Lasting, |_| Ok(Next::Remove)).unwrap();
        let last = set(&store, "c", 1, Durability::Lasting);
        drop(store);
        let store = Store::open(&path).unwrap();
        let (objects, _) = store.list(Resource::ConfigMaps, None);
        assert_eq!(values(&objects), "a1 c1 ");
        assert!(set(&store, "d", 1, Durability::Passing) > last);
        for _ in 0..3 {
            let before = store.version();
            for value in 0..RESERVED_AT_ONCE as u32 + 7 {
                set(&store, "p", value, Durability::Passing);
            }
            assert!(store.version() > before + RESERVED_AT_ONCE);
        }
        let last = store.version();
        drop(store);
        assert!(set(&Store::open(&path).unwrap(), "e", 1, Durability::Passing) > last);
    }

    #[test]
    fn what_changes_nothing_makes_no_version() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("journal")).unwrap();
        let version = set(&store, "a", 1, Durability::Lasting);
        let kept =
            store.change::<WriteError>(&key("a"), Durability::Lasting, |now| Ok(Next::Put(now.unwrap())));
        assert_eq!(kept.unwrap().unwrap().version, version);
        assert_eq!(store.version(), version);
        let none = store.change::<WriteError>(&key("x"), Durability::Lasting, |_| Ok(Next::Remove)).unwrap();
        assert_eq!((none, store.version()), (None, version));
    }

    #[test]
    fn the_past_can_be_listed_as_long_as_it_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("journal")).unwrap();
        let begin = store.version();
        set(&store, "a", 1, Durability::Passing);
        let then = set(&store, "b", 1, Durability::Passing);
        set(&store, "a", 2, Durability::Passing);
        store.change::<WriteError>(&key("b"), Durability::Passing, |_| Ok(Next::Remove)).unwrap();
        set(&store, "c", 1, Durability::Passing);
        let at = |version| store.list_at(Resource::ConfigMaps, Some("default"), version);
        assert_eq!(values(&at(then).unwrap()), "a1 b1 ");
        assert_eq!(values(&at(begin).unwrap()), "");
        assert_eq!(at(store.version() + 1), None);
        let (changes, up_to) =
            store.changes_after(Resource::ConfigMaps, None, then, (2, usize::MAX)).unwrap();
        assert_eq!((changes.len(), up_to), (2, then + 2));
        assert!(changes[1].gone && changes[1].after.version == then + 2);
        for value in 0..HISTORY_CHANGES as u32 {
            set(&store, "z", value, Durability::Passing);
        }
        assert_eq!(at(then), None);
        let gone = store.changes_after(Resource::ConfigMaps, None, then, (2, usize::MAX)).unwrap_err();
        assert!(
            gone > then && store.changes_after(Resource::ConfigMaps, None, gone, (2, usize::MAX)).is_ok()
        );
    }

    #[test]
    fn a_journal_does_not_grow_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let store = Store::open(&path).unwrap();
        let text = "x".repeat(512 << 10);
        for value in 0..40 {
            let object = json!({"metadata": {"name": "a"}, "data": {"value": format!("{value}{text}")}});
            store.change::<WriteError>(&key("a"), Durability::Lasting, |_| Ok(Next::Put(object))).unwrap();
        }
        assert!(path.metadata().unwrap().len() < 2 * REWRITE_FROM_BYTES);
        drop(store);
        let (objects, _) = Store::open(&path).unwrap().list(Resource::ConfigMaps, None);
        assert!(values(&objects).starts_with("a39x"));
    }
}
