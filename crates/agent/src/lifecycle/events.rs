//! What happened to a pod, in the kubelet's words, for `kubectl get events`: kept in the pod's state, bounded.
//! [`crate::events`] gives them the API's shape.

use super::Life;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The reason of a warning: a volume is not quite what its author may think. A hostPath that was missing, say, is a
/// directory now.
pub const VOLUME_WARNING: &str = "VolumeWarning";
/// The reason of a warning: this machine allows a container less than it asks for.
pub const LIMITED: &str = "Limited";

/// The reason of the event that a cluster's scheduler would have sent.
pub(crate) const SCHEDULED: &str = "Scheduled";

/// How many different events are kept; the oldest go.
pub(super) const MAX_EVENTS: usize = 64;
/// The longest message, in bytes (`maxLength` of the API server's check of an event's note).
const MAX_MESSAGE_BYTES: usize = 1024;

/// Something that happened, for the user (`Event` of the API).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodEvent {
    /// Its number among all events that the pod has had, from 1: it stays when the event comes again. 0 for those that
    /// version 1 of the status file had.
    #[serde(default)]
    pub number: u64,
    /// A warning, or normal.
    pub warning: bool,
    /// A word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
    /// The container that it is about.
    pub container: Option<String>,
    /// When it came first.
    pub first: Timestamp,
    /// When it came last.
    pub last: Timestamp,
    /// How often it came.
    pub count: u32,
}

impl Life {
    pub(super) fn note(&mut self, reason: &str, message: String, container: Option<&str>) {
        self.record(false, reason, message, None, container);
    }

    pub(super) fn warn(
        &mut self,
        reason: &str,
        message: String,
        hint: Option<String>,
        container: Option<&str>,
    ) {
        self.record(true, reason, message, hint, container);
    }

    /// Adds an event, or counts it if it came before.
    fn record(
        &mut self,
        warning: bool,
        reason: &str,
        message: String,
        hint: Option<String>,
        container: Option<&str>,
    ) {
        let message = cut(message);
        let events = &mut self.state.events;
        let is_same =
            |e: &PodEvent| e.reason == reason && e.message == message && e.container.as_deref() == container;
        let now = self.now.wall;
        let event = match events.iter().position(is_same) {
            Some(at) => {
                let seen = events.remove(at);
                PodEvent { last: now, hint, count: seen.count.saturating_add(1), ..seen }
            }
            None => {
                self.state.events_so_far = self.state.events_so_far.saturating_add(1);
                PodEvent {
                    number: self.state.events_so_far,
                    warning,
                    reason: reason.to_owned(),
                    message,
                    hint,
                    container: container.map(str::to_owned),
                    first: now,
                    last: now,
                    count: 1,
                }
            }
        };
        let events = &mut self.state.events;
        events.push(event);
        if events.len() > MAX_EVENTS {
            events.remove(0);
        }
    }
}

fn cut(mut message: String) -> String {
    let end = (0..=MAX_MESSAGE_BYTES.min(message.len())).rev().find(|at| message.is_char_boundary(*at));
    message.truncate(end.unwrap_or(0));
    message
}
