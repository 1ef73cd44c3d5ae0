//! What is spoken on a supervisor's socket: lines of JSON, a request a line, an answer a line.
//!
//! Architecture invariant: versioned. The supervisor greets with the versions that it speaks; a client of another
//! version can still ask for the status and for a stop, whose lines never change. Fields may be added; what is not
//! known is ignored.

use crate::status_file::StatusFile;
use k8s_openapi::api::core::v1::EphemeralContainer;
use serde::{Deserialize, Serialize};

/// The version spoken here. 2 has `attach`, 3 has `addEphemeralContainer`, 4 has `takeObjects`.
pub const PROTOCOL_VERSION: u32 = 4;

/// The first version with [`Request::Attach`].
pub const ATTACH_SINCE: u32 = 2;

/// The first version with [`Request::AddEphemeralContainer`].
pub const EPHEMERAL_SINCE: u32 = 3;

/// The first version with [`Request::TakeObjects`].
pub const OBJECTS_SINCE: u32 = 4;

/// The longest line that a supervisor takes.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// The first line, from the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Greeting {
    /// [`PROTOCOL_VERSION`]
    pub protocol: u32,
    /// The program's version.
    pub rhizome: String,
    /// The pod's uid.
    pub pod: String,
}

/// A line from a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "do")]
pub enum Request {
    /// Answered with the status.
    Status,
    /// Answered with the status now and, from then on, after every change, until the pod is done. A client that reads
    /// slowly gets the latest one and not those between.
    Subscribe,
    /// End the pod; answered with the status once that is on the disk, not when it has ended.
    #[serde(rename_all = "camelCase")]
    Stop {
        /// None takes the pod's own.
        grace_seconds: Option<u64>,
    },
    /// Answered with [`Answer::Attached`], and with it (`SCM_RIGHTS`, unix(7)) the end of the container's standard input to
    /// write to, or the master of its terminal. The output is in its log.
    Attach {
        /// The container's name.
        container: String,
    },
    /// Answered with the status once the container is in the pod's record, not when it runs.
    AddEphemeralContainer {
        /// Validated and defaulted; its image is here.
        container: Box<EphemeralContainer>,
    },
    /// What the pod's ConfigMaps, Secrets, labels and annotations are now lies beside its record (they may be longer than a
    /// line): answered with the status once they are in the record and in the volumes.
    TakeObjects,
}

/// A line from the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Answer {
    /// The pod, as it is on disk too.
    Status {
        /// The state.
        status: Box<StatusFile>,
    },
    /// A descriptor came along.
    Attached,
    /// The request was not understood, or cannot be met.
    Error {
        /// Why.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_what_they_were() {
        let lines = [
            (Request::Status, r#"{"do":"status"}"#),
            (Request::Subscribe, r#"{"do":"subscribe"}"#),
            (Request::Stop { grace_seconds: Some(3) }, r#"{"do":"stop","graceSeconds":3}"#),
            (Request::Attach { container: "c".into() }, r#"{"do":"attach","container":"c"}"#),
        ];
        for (request, line) in lines {
            assert_eq!(serde_json::to_string(&request).unwrap(), line);
            assert_eq!(serde_json::from_str::<Request>(line).unwrap(), request);
        }
        let later = r#"{"do":"stop","graceSeconds":null,"why":"a field of a later version"}"#;
        assert_eq!(serde_json::from_str::<Request>(later).unwrap(), Request::Stop { grace_seconds: None });
    }
}
