//! Watching: what has become of objects since a version, and what becomes of them, a JSON object a line.
//!
//! A watcher has no queue: it has a place in the store's history and reads on from there when its client has taken what it
//! was given. One that is so slow that the history has left it behind is told so (410) and ended; one whose client takes
//! nothing at all for [`SLOW_AFTER`] loses its connection, and is told when it comes back.

use crate::accept::Form;
use crate::error::{ApiError, Result};
use crate::http::{Answer, Cut, Lines};
use crate::kinds::Resource;
use crate::list;
use crate::query::Query;
use crate::selector::Selector;
use crate::server::Shared;
use crate::store::{Change, Stored};
use crate::table::{self, Include};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Changes that are taken from the history at a time, and how much text: what a client that does not read keeps in memory
/// that the history has forgotten.
const AT_ONCE: usize = 64;
const BYTES_AT_ONCE: usize = 256 << 10;
/// How long a client may leave what it is sent where it is, with its buffers full.
const SLOW_AFTER: Duration = Duration::from_secs(30);
/// How long a watch goes on that says nothing about it; the API server takes between 30 and 60 minutes.
const LONGEST: Duration = Duration::from_secs(45 * 60);
/// How often a client that wants bookmarks gets one.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// A watch that is under way.
struct Watcher {
    shared: Arc<Shared>,
    resource: Resource,
    namespace: Option<String>,
    selector: Selector,
    form: Form,
    include: Include,
    bookmarks: bool,
    version: u64,
    /// Of the tables only the first has its columns defined.
    headed: bool,
    changed: watch::Receiver<u64>,
    /// Of the client's connection.
    cut: Cut,
}

/// Begins a watch.
pub(crate) fn watch(
    shared: &Arc<Shared>,
    resource: Resource,
    namespace: Option<&str>,
    query: &Query,
    (form, cut): (Form, Cut),
) -> Result<Answer> {
    let selector = Selector::parse(resource, query.text("labelSelector"), query.text("fieldSelector"))?;
    let initial = initial(query)?;
    let timeout = query.number("timeoutSeconds")?.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    let until = Instant::now() + timeout.map_or(LONGEST, |seconds| Duration::from_secs(seconds).min(LONGEST));
    // A version of the future is told on the stream, as the API server does.
    let (asked, early) = match list::version_parameter(&shared.store, query) {
        Ok(asked) => (asked, None),
        Err(error) if error.code.as_u16() == 504 => (None, Some(error)),
        Err(error) => return Err(error),
    };
    let mut watcher = Watcher {
        shared: shared.clone(),
        resource,
        namespace: namespace.map(str::to_owned),
        selector,
        form,
        include: Include::of(query),
        bookmarks: query.truth("allowWatchBookmarks"),
        version: asked.unwrap_or(0),
        headed: true,
        changed: shared.store.subscribe(),
        cut,
    };
    let from_now = asked.unwrap_or(0) == 0;
    Ok(Answer::stream("application/json", move |mut lines| async move {
        let counted = watcher.shared.clone();
        let _watching = counted.counters.watch();
        if let Some(error) = early {
            let _ = lines.send(event("ERROR", &error.to_json())).await;
            return;
        }
        if (initial == Some(true) || (initial.is_none() && from_now))
            && watcher.send_initial(&mut lines, initial.is_some()).await.is_none()
        {
            return;
        }
        if initial == Some(false) && from_now {
            watcher.version = watcher.shared.store.version();
        }
        watcher.run(&mut lines, until).await;
    }))
}

/// `sendInitialEvents`, which goes only with certain others.
fn initial(query: &Query) -> Result<Option<bool>> {
    let why = |why| Err(ApiError::forbidden_option("ListOptions", "resourceVersionMatch", why));
    let matching = query.text("resourceVersionMatch");
    match (query.has("sendInitialEvents"), matching) {
        (false, "") => Ok(None),
        (false, _) => why("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"),
        (true, "NotOlderThan") => Ok(Some(query.truth("sendInitialEvents"))),
        (true, _) => why("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"),
    }
}

fn event(kind: &str, object: &Value) -> Vec<u8> {
    let mut line = json!({"type": kind, "object": object}).to_string().into_bytes();
    line.push(b'\n');
    line
}

impl Watcher {
    /// All that there is, as added; with `marked` and a bookmark that says that this was all. None if the client has gone.
    async fn send_initial(&mut self, lines: &mut Lines, marked: bool) -> Option<()> {
        let (objects, version) = self.shared.store.list(self.resource, self.namespace.as_deref());
        for (_, stored) in objects {
            if self.selector.selects(&stored) {
                let line = self.line("ADDED", &stored);
                self.send(lines, line).await?;
            }
        }
        self.version = version;
        if marked && self.bookmarks {
            let line = self.bookmark(true);
            self.send(lines, line).await?;
        }
        Some(())
    }

    /// None if the client has gone, or is sent away.
    async fn send(&self, lines: &mut Lines, line: Vec<u8>) -> Option<()> {
        match tokio::time::timeout(SLOW_AFTER, lines.send(line)).await {
            Ok(sent) => sent,
            Err(_) => {
                self.cut.cut();
                None
            }
        }
    }

    async fn run(&mut self, lines: &mut Lines, until: Instant) {
        let mut bookmark_at = Instant::now() + BOOKMARK_EVERY;
        loop {
            match self.send_changes(lines).await {
                Some(Ok(true)) => continue,
                Some(Ok(false)) => {}
                Some(Err(error)) => {
                    let _ = lines.send(event("ERROR", &error.to_json())).await;
                    return;
                }
                None => return,
            }
            tokio::select! {
                changed = self.changed.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep_until(bookmark_at), if self.bookmarks => {
                    bookmark_at = Instant::now() + BOOKMARK_EVERY;
                    let line = self.bookmark(false);
                    if self.send(lines, line).await.is_none() {
                        return;
                    }
                }
                () = tokio::time::sleep_until(until) => {
                    if self.bookmarks {
                        let line = self.bookmark(false);
                        let _ = lines.send(line).await;
                    }
                    return;
                }
                () = lines.closed() => return,
                () = self.shared.ended() => return,
            }
        }
    }

    /// Whether there may be more.
    async fn send_changes(&mut self, lines: &mut Lines) -> Option<Result<bool>> {
        self.changed.mark_unchanged();
        let namespace = self.namespace.as_deref();
        let found =
            self.shared.store.changes_after(self.resource, namespace, self.version, (AT_ONCE, BYTES_AT_ONCE));
        let (changes, up_to) = match found {
            Ok(found) => found,
            Err(oldest) => {
                let text = format!("too old resource version: {} ({oldest})", self.version);
                return Some(Err(ApiError::expired(text)));
            }
        };
        let more = !changes.is_empty();
        for change in changes {
            if let Some((kind, stored)) = self.seen(&change) {
                let line = self.line(kind, &stored);
                self.send(lines, line).await?;
            }
        }
        self.version = up_to;
        Some(Ok(more))
    }

    /// What a change is for somebody who sees only what the selector lets through.
    fn seen(&self, change: &Change) -> Option<(&'static str, Arc<Stored>)> {
        let before = change.before.as_ref().is_some_and(|before| self.selector.selects(before));
        let after = !change.gone && self.selector.selects(&change.after);
        match (before, after) {
            (false, false) => None,
            (false, true) => Some(("ADDED", change.after.clone())),
            (true, true) => Some(("MODIFIED", change.after.clone())),
            (true, false) => Some(("DELETED", change.after.clone())),
        }
    }

    fn line(&mut self, kind: &str, stored: &Stored) -> Vec<u8> {
        if self.form != Form::Json {
            let object = self.formed(stored.value(), stored.version);
            return event(kind, &object);
        }
        let mut line = format!("{{\"type\":\"{kind}\",\"object\":").into_bytes();
        line.extend_from_slice(&stored.text);
        line.extend_from_slice(b"}\n");
        line
    }

    fn formed(&mut self, object: Value, version: u64) -> Value {
        match self.form {
            Form::Table(api_version) => {
                let metadata = json!({"resourceVersion": version.to_string()});
                let headed = std::mem::replace(&mut self.headed, false);
                table::table(self.resource, api_version, &[object], metadata, self.include, headed)
            }
            Form::Metadata(api_version) => table::partial(&object, api_version),
            Form::Json | Form::Yaml => object,
        }
    }

    fn bookmark(&mut self, end_of_initial: bool) -> Vec<u8> {
        let about = self.resource.about();
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if end_of_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let mut object = json!({"kind": about.kind, "apiVersion": about.api_version(), "metadata": metadata});
        if self.resource == Resource::Pods {
            object["spec"] = json!({"containers": null});
            object["status"] = json!({});
        }
        let version = self.version;
        event("BOOKMARK", &self.formed(object, version))
    }
}
