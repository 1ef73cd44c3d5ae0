//! `imagePullPolicy`: whether to pull, and the kubelet's words about it (pkg/kubelet/images, events of Kubernetes 1.36).
//!
//! Unlike the kubelet, `Always` does not ask a registry about an image that was imported: whoever gave a file that name
//! meant the file. (Without a tag, `Always` is the default.)

use std::str::FromStr;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::store::Store;

/// `imagePullPolicy`, after defaulting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// Ask the registry each time; what is here already is not downloaded again.
    Always,
    /// Only where there is none.
    IfNotPresent,
    /// Never.
    Never,
}

/// What to do about a container's image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullDecision {
    /// Use what is here.
    Use,
    /// Pull it first.
    Pull,
    /// It is not here and must not be pulled: waiting reason `ErrImageNeverPull`.
    Refuse,
}

/// Not one of the three words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown imagePullPolicy {0:?}: Always, IfNotPresent and Never are known")]
pub struct UnknownPolicy(pub String);

impl FromStr for PullPolicy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<PullPolicy, UnknownPolicy> {
        match text {
            "Always" => Ok(PullPolicy::Always),
            "IfNotPresent" => Ok(PullPolicy::IfNotPresent),
            "Never" => Ok(PullPolicy::Never),
            other => Err(UnknownPolicy(other.to_owned())),
        }
    }
}

impl Store {
    /// What is to be done about an image of this store, by the policy.
    ///
    /// # Errors
    /// As [`Store::get`], but for an image or a layer that is not here.
    pub fn pull_decision(&self, reference: &str, policy: PullPolicy) -> Result<PullDecision> {
        // Not `inspect`: that reads the pin of every container there is.
        match self.get(reference).and_then(|image| self.repo_digest(&image.id)) {
            // Imported.
            Ok(None) => Ok(PullDecision::Use),
            Ok(Some(_)) => Ok(decide(policy, true)),
            // Pulling brings back a layer that is gone.
            Err(Error::NotFound { .. } | Error::MissingLayer { .. }) => Ok(decide(policy, false)),
            Err(error) => Err(error),
        }
    }
}

/// What the policy says, given whether the image is in the store.
fn decide(policy: PullPolicy, present: bool) -> PullDecision {
    match (policy, present) {
        (PullPolicy::Always, _) | (PullPolicy::IfNotPresent, false) => PullDecision::Pull,
        (PullPolicy::IfNotPresent | PullPolicy::Never, true) => PullDecision::Use,
        (PullPolicy::Never, false) => PullDecision::Refuse,
    }
}

/// The kubelet's sentences, with the image as the Pod names it.
pub mod message {
    use super::*;

    /// Event `Normal Pulling`.
    pub fn pulling(image: &str) -> String {
        format!("Pulling image {image:?}")
    }

    /// Event `Normal Pulled` where nothing was to be done.
    pub fn present(image: &str) -> String {
        format!("Container image {image:?} already present on machine and can be accessed by the pod")
    }

    /// Event `Normal Pulled`. `waited` is `took` and the time in which other pulls were waited for; `size` in bytes.
    pub fn pulled(image: &str, took: Duration, waited: Duration, size: u64) -> String {
        let (took, waited) = (go_duration(took), go_duration(waited));
        format!(
            "Successfully pulled image {image:?} in {took} ({waited} including waiting). Image size: {size} bytes."
        )
    }

    /// Event `Warning ErrImageNeverPull`, and the message of the waiting state.
    pub fn never(image: &str) -> String {
        format!("Container image {image:?} is not present with pull policy of Never")
    }

    /// Event `Warning Failed`; followed by `Error: ErrImagePull`.
    pub fn failed(image: &str, error: &Error) -> String {
        format!("Failed to pull image {image:?}: {}", cause(error))
    }

    /// Event `Normal BackOff`; the waiting state adds `: ErrImagePull: ` and the cause.
    pub fn back_off(image: &str) -> String {
        format!("Back-off pulling image {image:?}")
    }

    /// Event `Warning InspectFailed`, for waiting reason `InvalidImageName`.
    pub fn invalid_name(image: &str, error: &Error) -> String {
        format!("Failed to apply default image tag {image:?}: {}", cause(error))
    }

    /// An error with all its causes: the message of the waiting state `ErrImagePull`.
    pub fn cause(error: &dyn std::error::Error) -> String {
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            let words = cause.to_string();
            if !text.ends_with(&words) {
                text = format!("{text}: {words}");
            }
            next = cause.source();
        }
        text
    }

    /// To the millisecond, as Go prints durations below an hour: `87ms`, `1.204s`, `1m2.5s`.
    fn go_duration(duration: Duration) -> String {
        let millis = duration.as_millis();
        if millis < 1000 {
            return format!("{millis}ms");
        }
        let seconds = (millis % 60_000) as f64 / 1000.0;
        match millis / 60_000 {
            0 => format!("{seconds}s"),
            minutes => format!("{minutes}m{seconds}s"),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn durations_are_gos() {
            let shown = |millis| go_duration(Duration::from_millis(millis));
            assert_eq!(shown(87), "87ms");
            assert_eq!(shown(1204), "1.204s");
            assert_eq!(shown(62_500), "1m2.5s");
            assert_eq!(shown(120_000), "2m0s");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_six_cases() {
        let decide = |word: &str, present| decide(word.parse().unwrap(), present);
        assert_eq!(decide("Always", true), PullDecision::Pull);
        assert_eq!(decide("Always", false), PullDecision::Pull);
        assert_eq!(decide("IfNotPresent", true), PullDecision::Use);
        assert_eq!(decide("IfNotPresent", false), PullDecision::Pull);
        assert_eq!(decide("Never", true), PullDecision::Use);
        assert_eq!(decide("Never", false), PullDecision::Refuse);
        assert!("always".parse::<PullPolicy>().is_err());
    }

    #[test]
    fn the_kubelets_words() {
        assert_eq!(
            message::never("busybox:nosuch"),
            "Container image \"busybox:nosuch\" is not present with pull policy of Never"
        );
        assert_eq!(
            message::pulled("x", Duration::from_millis(1500), Duration::from_millis(1600), 12),
            "Successfully pulled image \"x\" in 1.5s (1.6s including waiting). Image size: 12 bytes."
        );
    }
}
