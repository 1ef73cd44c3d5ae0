//! Pods (Kubernetes objects as JSON values) as `kubectl get pods` lists them.
//!
//! The rules for READY, STATUS and RESTARTS are those of the API server's table printer
//! (`printPod()`, pkg/printers/internalversion/printers.go, Kubernetes 1.36).

use crate::table::table;
use crate::text::duration;
use jiff::Timestamp;
use serde_json::Value;

/// Which columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Columns {
    /// NAMESPACE first.
    pub namespace: bool,
    /// IP, NODE, NOMINATED NODE, READINESS GATES last.
    pub wide: bool,
    /// The line with the names of the columns.
    pub header: bool,
}

/// The list, in the order given.
pub fn list(pods: &[Value], columns: Columns, now: Timestamp) -> String {
    const HEADER: [&str; 10] = [
        "NAMESPACE",
        "NAME",
        "READY",
        "STATUS",
        "RESTARTS",
        "AGE",
        "IP",
        "NODE",
        "NOMINATED NODE",
        "READINESS GATES",
    ];
    let rows: Vec<[String; 10]> = pods.iter().map(|pod| cells(pod, now)).collect();
    macro_rules! of {
        ($($column:literal)*) => {{
            let rows: Vec<_> = rows.iter().map(|row| [$(row[$column].clone()),*]).collect();
            table(columns.header.then_some([$(HEADER[$column]),*]), &rows)
        }};
    }
    match (columns.namespace, columns.wide) {
        (false, false) => of!(1 2 3 4 5),
        (true, false) => of!(0 1 2 3 4 5),
        (false, true) => of!(1 2 3 4 5 6 7 8 9),
        (true, true) => of!(0 1 2 3 4 5 6 7 8 9),
    }
}

/// `pod/NAME`, a line each.
pub fn names(pods: &[Value]) -> String {
    pods.iter()
        .map(|pod| format!("pod/{}\n", crate::text::printable(string(pod, "/metadata/name"))))
        .collect()
}

/// Whether the pod has ended: all its containers have, and none will start again.
pub fn has_ended(pod: &Value) -> bool {
    matches!(string(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// The cells of a pod's row, `NAMESPACE` to `READINESS GATES`.
pub fn cells(pod: &Value, now: Timestamp) -> [String; 10] {
    let state = State::of(pod);
    let or_none = |text: &str| if text.is_empty() { "<none>".to_owned() } else { text.to_owned() };
    [
        string(pod, "/metadata/namespace").to_owned(),
        string(pod, "/metadata/name").to_owned(),
        format!("{}/{}", state.ready, state.total),
        state.reason.clone(),
        state.restarts_in_words(now),
        age(string(pod, "/metadata/creationTimestamp"), now),
        or_none(string(pod, "/status/podIP")),
        or_none(string(pod, "/spec/nodeName")),
        "<none>".to_owned(),
        "<none>".to_owned(),
    ]
}

/// What the columns of a pod are made of.
#[derive(Debug, Default)]
struct State {
    ready: usize,
    total: usize,
    reason: String,
    restarts: u64,
    last_restart: Option<Timestamp>,
}

impl State {
    fn of(pod: &Value) -> State {
        let phase = string(pod, "/status/phase");
        let reason = string(pod, "/status/reason");
        let mut state = State {
            total: items(pod, "/spec/containers").len()
                + items(pod, "/spec/initContainers").iter().filter(|container| is_sidecar(container)).count(),
            reason: if reason.is_empty() { phase } else { reason }.to_owned(),
            ..State::default()
        };
        let initializing = state.count_init_containers(pod);
        if !initializing || condition(pod, "Initialized") {
            state.count_containers(pod);
        }
        if pod.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null()) {
            match reason {
                "NodeLost" => state.reason = "Unknown".to_owned(),
                _ if !has_ended(pod) => state.reason = "Terminating".to_owned(),
                _ => {}
            }
        }
        state
    }

    /// Whether init containers are still at work (or have failed).
    fn count_init_containers(&mut self, pod: &Value) -> bool {
        let specs = items(pod, "/spec/initContainers");
        for (index, status) in items(pod, "/status/initContainerStatuses").iter().enumerate() {
            self.count_restarts(status);
            let sidecar = specs.iter().any(|spec| spec["name"] == status["name"] && is_sidecar(spec));
            let terminated = &status["state"]["terminated"];
            let waiting = string(status, "/state/waiting/reason");
            if terminated["exitCode"] == 0 {
                continue;
            }
            if sidecar && status["started"] == true {
                self.ready += usize::from(status["ready"] == true);
                continue;
            }
            self.reason = if terminated.is_object() {
                format!("Init:{}", how_it_ended(terminated))
            } else if !waiting.is_empty() && waiting != "PodInitializing" {
                format!("Init:{waiting}")
            } else {
                format!("Init:{index}/{}", specs.len())
            };
            return true;
        }
        false
    }

    fn count_containers(&mut self, pod: &Value) {
        self.restarts = 0;
        self.last_restart = None;
        let specs = items(pod, "/spec/initContainers");
        for status in items(pod, "/status/initContainerStatuses") {
            if specs.iter().any(|spec| spec["name"] == status["name"] && is_sidecar(spec)) {
                self.count_restarts(status);
            }
        }
        let mut running = false;
        for status in items(pod, "/status/containerStatuses").iter().rev() {
            self.count_restarts(status);
            let waiting = string(status, "/state/waiting/reason");
            let terminated = &status["state"]["terminated"];
            if !waiting.is_empty() {
                self.reason = waiting.to_owned();
            } else if terminated.is_object() {
                self.reason = how_it_ended(terminated);
            } else if status["ready"] == true && status["state"]["running"].is_object() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            self.reason = if condition(pod, "Ready") { "Running" } else { "NotReady" }.to_owned();
        }
    }

    fn count_restarts(&mut self, status: &Value) {
        self.restarts += status["restartCount"].as_u64().unwrap_or(0);
        let last = timestamp(string(status, "/lastState/terminated/finishedAt"));
        self.last_restart = self.last_restart.max(last);
    }

    fn restarts_in_words(&self, now: Timestamp) -> String {
        match self.last_restart {
            Some(last) if self.restarts > 0 => format!("{} ({} ago)", self.restarts, since(last, now)),
            _ => self.restarts.to_string(),
        }
    }
}

/// The reason, or what the kernel said.
fn how_it_ended(terminated: &Value) -> String {
    match (string(terminated, "/reason"), terminated["signal"].as_i64().unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", terminated["exitCode"].as_i64().unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn is_sidecar(spec: &Value) -> bool {
    spec["restartPolicy"] == "Always"
}

fn condition(pod: &Value, kind: &str) -> bool {
    let conditions = items(pod, "/status/conditions");
    conditions.iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
}

fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn string<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn timestamp(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// How long ago a time of the API was.
fn age(text: &str, now: Timestamp) -> String {
    timestamp(text).map_or_else(|| "<unknown>".to_owned(), |time| since(time, now))
}

fn since(time: Timestamp, now: Timestamp) -> String {
    duration(now.as_second() - time.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    fn now() -> Timestamp {
        "2026-11-23T06:10:00Z".parse().unwrap()
    }

    fn pod(name: &str, phase: &str, statuses: Value) -> Value {
        let containers =
            (0..statuses.as_array().unwrap().len().max(1)).map(|n| json!({"name": format!("c{n}")}));
        json!({
            "metadata": {"name": name, "namespace": "default", "creationTimestamp": "2026-11-23T06:09:00Z"},
            "spec": {"containers": containers.collect::<Vec<_>>(), "nodeName": "node1"},
            "status": {"phase": phase, "containerStatuses": statuses},
        })
    }

    fn with(mut pod: Value, changes: impl FnOnce(&mut Value)) -> Value {
        changes(&mut pod);
        pod
    }

    #[test]
    fn as_kubectl_lists_them() {
        let running = || json!({"ready": true, "restartCount": 0, "state": {"running": {}}});
        let ended = |code: i64, reason: &str| {
            json!({"ready": false, "restartCount": 0,
                   "state": {"terminated": {"exitCode": code, "reason": reason}}})
        };
        let pods = [
            pod("mount-a", "Running", json!([running()])),
            pod("two", "Running", json!([running(), ended(0, "Completed")])),
            pod("creating", "Pending", json!([{"state": {"waiting": {"reason": "ContainerCreating"}}}])),
            pod("pending", "Pending", json!([])),
            pod("failed", "Failed", json!([ended(7, "Error")])),
            pod("signal", "Failed", json!([{"state": {"terminated": {"exitCode": 137, "signal": 9}}}])),
            pod(
                "crash",
                "Running",
                json!([{
                    "restartCount": 3, "ready": false,
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"finishedAt": "2026-11-23T06:09:30Z"}},
                }]),
            ),
            with(pod("going", "Running", json!([running()])), |pod| {
                pod["metadata"]["deletionTimestamp"] = json!("2026-11-23T06:09:59Z");
            }),
            with(pod("init", "Pending", json!([])), |pod| {
                pod["spec"]["initContainers"] = json!([{"name": "i"}, {"name": "j"}]);
                pod["status"]["initContainerStatuses"] = json!([
                    {"name": "i", "state": {"terminated": {"exitCode": 0}}},
                    {"name": "j", "state": {"running": {}}},
                ]);
            }),
            with(pod("init-fails", "Pending", json!([])), |pod| {
                pod["spec"]["initContainers"] = json!([{"name": "i"}]);
                pod["status"]["initContainerStatuses"] = json!([
                    {"name": "i", "restartCount": 1, "state": {"terminated": {"exitCode": 1, "reason": "Error"}}},
                ]);
            }),
            with(pod("sidecar", "Running", json!([running()])), |pod| {
                pod["spec"]["initContainers"] = json!([{"name": "s", "restartPolicy": "Always"}]);
                pod["status"]["initContainerStatuses"] = json!([
                    {"name": "s", "started": true, "ready": true, "state": {"running": {}}},
                ]);
            }),
        ];
        let columns = Columns { header: true, ..Columns::default() };
        expect![[r"
            NAME         READY   STATUS              RESTARTS      AGE
            mount-a      1/1     Running             0             60s
            two          1/2     NotReady            0             60s
            creating     0/1     ContainerCreating   0             60s
            pending      0/1     Pending             0             60s
            failed       0/1     Error               0             60s
            signal       0/1     Signal:9            0             60s
            crash        0/1     CrashLoopBackOff    3 (30s ago)   60s
            going        1/1     Terminating         0             60s
            init         0/1     Init:1/2            0             60s
            init-fails   0/1     Init:Error          1             60s
            sidecar      2/2     Running             0             60s
        "]]
        .assert_eq(&list(&pods, columns, now()));
        expect![[r"
            default   mount-a   1/1   Running   0   60s   <none>   node1   <none>   <none>
        "]]
        .assert_eq(&list(&pods[..1], Columns { namespace: true, wide: true, header: false }, now()));
        assert_eq!(names(&pods[..2]), "pod/mount-a\npod/two\n");
        assert!(has_ended(&pods[4]) && !has_ended(&pods[0]));
    }

    #[test]
    fn a_value_that_is_no_pod_is_still_a_row() {
        let columns = Columns::default();
        assert_eq!(list(&[json!(null), json!({"status": 7})], columns, now()).lines().count(), 2);
    }
}
