//! Events, as `kubectl events` prints them.

use crate::table::lines;
use crate::text::duration;
use jiff::Timestamp;
use serde_json::Value;

/// Which columns there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventColumns {
    /// The namespace.
    pub namespace: bool,
    /// A header line.
    pub header: bool,
}

/// The table of `v1.Event` objects, in the order given.
pub fn table(events: &[Value], columns: EventColumns, now: Timestamp) -> String {
    let mut header = vec!["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"];
    if columns.namespace {
        header.insert(0, "NAMESPACE");
    }
    let row = |event: &Value| {
        let text =
            |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let object = format!("{}/{}", text("/involvedObject/kind"), text("/involvedObject/name"));
        let mut row = vec![last_seen(event, now), text("/type"), text("/reason"), object, text("/message")];
        if columns.namespace {
            row.insert(0, text("/metadata/namespace"));
        }
        row
    };
    lines(columns.header.then_some(header.as_slice()), events.iter().map(row).collect())
}

/// When it came last; with how often, and since when.
fn last_seen(event: &Value, now: Timestamp) -> String {
    let age = |key: &str| {
        let time: Timestamp = event[key].as_str()?.parse().ok()?;
        Some(duration(now.as_second() - time.as_second()))
    };
    let last = age("lastTimestamp").or_else(|| age("eventTime")).unwrap_or_else(|| "<unknown>".to_owned());
    match (event["count"].as_i64(), age("firstTimestamp")) {
        (Some(count @ 2..), Some(first)) => format!("{last} (x{count} over {first})"),
        _ => last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn as_kubectl_lists_them() {
        let event = |kind: &str, reason: &str, message: &str, count: i64| {
            json!({"type": kind, "reason": reason, "message": message, "count": count,
                "metadata": {"namespace": "default"}, "involvedObject": {"kind": "Pod", "name": "mount-a"},
                "firstTimestamp": "2026-11-23T06:00:00Z", "lastTimestamp": "2026-11-23T06:09:00Z"})
        };
        let scheduled = json!({"type": "Normal", "reason": "Scheduled", "message": "Successfully assigned",
            "metadata": {"namespace": "default"}, "involvedObject": {"kind": "Pod", "name": "mount-a"},
            "eventTime": "2026-11-23T06:00:00.000000Z"});
        let events = [
            scheduled,
            event("Normal", "Started", "Container started", 1),
            event("Warning", "BackOff", "Back-off\n", 3),
        ];
        let now = "2026-11-23T06:10:00Z".parse().unwrap();
        expect![[r#"
            LAST SEEN           TYPE      REASON      OBJECT        MESSAGE
            10m                 Normal    Scheduled   Pod/mount-a   Successfully assigned
            60s                 Normal    Started     Pod/mount-a   Container started
            60s (x3 over 10m)   Warning   BackOff     Pod/mount-a   Back-off\n
        "#]]
        .assert_eq(&table(&events, EventColumns { namespace: false, header: true }, now));
    }
}
