//! What a cluster's controllers do, as far as one node has a use for it: DaemonSets have their pod, claims their volumes.
//! One task looks at all of it whenever something in the store has changed.

use crate::claims::Binder;
use crate::daemon_sets;
use crate::server::Shared;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Changes that come in this time are looked at together.
const TOGETHER: Duration = Duration::from_millis(20);

/// Looks after all of it until the node ends.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let binder = Arc::new(Mutex::new(Binder::default()));
    let mut changed = shared.store.subscribe();
    changed.mark_changed();
    loop {
        tokio::select! {
            news = changed.changed() => if news.is_err() { return },
            () = shared.ended() => return,
        }
        tokio::time::sleep(TOGETHER).await;
        changed.mark_unchanged();
        let (shared, binder) = (shared.clone(), binder.clone());
        let look = move || {
            daemon_sets::look_at_all(&shared);
            binder.lock().unwrap_or_else(PoisonError::into_inner).look_at_all(&shared);
        };
        let _ = tokio::task::spawn_blocking(look).await;
    }
}
