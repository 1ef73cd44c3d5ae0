//! `/metrics`, in Prometheus' text format and by its rules for names: base units, `_total` for what only grows.

use crate::kinds::Resource;
use crate::object::{items, text};
use crate::server::Shared;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Upper bounds of the histogram of starts, in seconds.
const BOUNDS: [f64; 9] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];

/// What is counted as it happens.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Watches that are open.
    watches: AtomicUsize,
    /// Starts that took no longer than each bound.
    starts: [AtomicU64; BOUNDS.len()],
    starts_count: AtomicU64,
    starts_milliseconds: AtomicU64,
}

impl Counters {
    /// Counts a watch until what is given is dropped.
    pub(crate) fn watch(&self) -> Watching<'_> {
        self.watches.fetch_add(1, Ordering::Relaxed);
        Watching(self)
    }

    /// Counts a pod that has come to run, so long after it was taken in.
    pub(crate) fn started(&self, after: Duration) {
        self.starts_count.fetch_add(1, Ordering::Relaxed);
        let milliseconds = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        self.starts_milliseconds.fetch_add(milliseconds, Ordering::Relaxed);
        let fits = BOUNDS.iter().zip(&self.starts).filter(|(bound, _)| after.as_secs_f64() <= **bound);
        for (_, bucket) in fits {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// An open watch.
#[derive(Debug)]
pub(crate) struct Watching<'a>(&'a Counters);

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.watches.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The text.
pub(crate) fn text_of(shared: &Shared) -> String {
    let pods: Vec<_> = shared.store.list(Resource::Pods, None).0.iter().map(|(_, pod)| pod.value()).collect();
    let mut out = String::new();
    let head = |out: &mut String, name: &str, kind: &str, help: &str| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    };
    head(&mut out, "rhizome_pods", "gauge", "Pods of this node by phase.");
    for phase in ["Pending", "Running", "Succeeded", "Failed"] {
        let count = pods.iter().filter(|pod| text(pod, "/status/phase") == phase).count();
        let _ = writeln!(out, "rhizome_pods{{phase={phase:?}}} {count}");
    }
    let statuses = || pods.iter().flat_map(|pod| items(pod, "/status/containerStatuses"));
    let running = statuses().filter(|status| status["state"]["running"].is_object()).count();
    head(&mut out, "rhizome_containers_running", "gauge", "Containers that run.");
    let _ = writeln!(out, "rhizome_containers_running {running}");
    let restarts: u64 = statuses().filter_map(|status| status["restartCount"].as_u64()).sum();
    head(
        &mut out,
        "rhizome_container_restarts",
        "gauge",
        "Restarts so far of the containers that there are.",
    );
    let _ = writeln!(out, "rhizome_container_restarts {restarts}");
    let condition = |pod: &serde_json::Value, holds: &str| {
        let all = items(pod, "/status/conditions");
        all.iter().any(|c| c["type"] == crate::propagation::CONDITION && c["status"] == holds)
    };
    head(
        &mut out,
        "rhizome_pods_propagation",
        "gauge",
        "Pods that ask for mount propagation, by whether they have it.",
    );
    for (label, holds) in [("as-asked", "True"), ("less", "False")] {
        let count = pods.iter().filter(|pod| condition(pod, holds)).count();
        let _ = writeln!(out, "rhizome_pods_propagation{{effective={label:?}}} {count}");
    }
    let counters = &shared.counters;
    head(&mut out, "rhizome_watches", "gauge", "Watches that are open.");
    let _ = writeln!(out, "rhizome_watches {}", counters.watches.load(Ordering::Relaxed));
    head(&mut out, "rhizome_pod_start_seconds", "histogram", "Time from taking a pod in until it runs.");
    let count = counters.starts_count.load(Ordering::Relaxed);
    for (bound, bucket) in BOUNDS.iter().zip(&counters.starts) {
        let _ = writeln!(
            out,
            "rhizome_pod_start_seconds_bucket{{le=\"{bound}\"}} {}",
            bucket.load(Ordering::Relaxed)
        );
    }
    let sum = counters.starts_milliseconds.load(Ordering::Relaxed) as f64 / 1000.0;
    let _ = writeln!(out, "rhizome_pod_start_seconds_bucket{{le=\"+Inf\"}} {count}");
    let _ = writeln!(out, "rhizome_pod_start_seconds_sum {sum}\nrhizome_pod_start_seconds_count {count}");
    head(&mut out, "rhizome_store_version", "gauge", "The resource version of the last change.");
    let _ = writeln!(out, "rhizome_store_version {}", shared.store.version());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_fall_into_every_bucket_that_holds_them() {
        let counters = Counters::default();
        counters.started(Duration::from_millis(50));
        counters.started(Duration::from_secs(500));
        let buckets: Vec<u64> = counters.starts.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        assert_eq!(buckets, [0, 0, 1, 1, 1, 1, 1, 1, 1]);
        let watching = counters.watch();
        assert_eq!(counters.watches.load(Ordering::Relaxed), 1);
        drop(watching);
        assert_eq!(counters.watches.load(Ordering::Relaxed), 0);
    }
}
