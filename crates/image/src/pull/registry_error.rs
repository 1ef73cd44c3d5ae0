//! What can go wrong between us and a registry.

use std::io;
use std::time::Duration;

/// A registry did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// There was no answer, or none in HTTP.
    #[error("no answer from {url}")]
    Request {
        /// What was asked for.
        url: String,
        /// Whether it may be different next time.
        transient: bool,
        /// What the network says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An answer other than yes.
    #[error("{url} answers {status}{}", said(message))]
    Status {
        /// What was asked for.
        url: String,
        /// HTTP's status.
        status: u16,
        /// The registry's own words, shortened.
        message: String,
        /// When to come again, as it says.
        retry_after: Option<Duration>,
    },
    /// No such image.
    #[error("failed to resolve image: {reference}: not found")]
    NotFound {
        /// As it was asked for.
        reference: String,
    },
    /// The registry does not give it to us.
    #[error("pull access denied for {repository} at {registry} as {who}{}", said(message))]
    Denied {
        /// Host and port.
        registry: String,
        /// Path within it.
        repository: String,
        /// As whom it was asked for.
        who: String,
        /// The registry's own words, shortened.
        message: String,
    },
    /// The registry asks for a kind of authentication that is not known here, or in a way that cannot be trusted.
    #[error("cannot authenticate to {registry}: {reason}")]
    Challenge {
        /// Host and port.
        registry: String,
        /// What is wrong.
        reason: String,
    },
    /// The connection broke within a blob.
    #[error("{url} broke off after {received} of {expected} bytes")]
    Cut {
        /// What was being fetched.
        url: String,
        /// Bytes that are here.
        received: u64,
        /// Bytes that it has.
        expected: u64,
        /// What the network says; nothing where the connection ended in order.
        #[source]
        source: Option<io::Error>,
    },
    /// What the reference names is no image that containers are made from.
    #[error("it is not a container image: {reason}")]
    NotAnImage {
        /// Why not.
        reason: String,
    },
    /// A registry or mirror elsewhere, without encryption.
    #[error("{address} would be asked in plain HTTP, which is only done on loopback")]
    PlainHttp {
        /// As written.
        address: String,
    },
    /// Not the address of a registry.
    #[error("invalid address of a registry {address:?}: {reason}")]
    Address {
        /// As written.
        address: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A credential helper failed.
    #[error("credential helper {program} failed: {reason}")]
    Helper {
        /// The program.
        program: String,
        /// How.
        reason: String,
    },
    /// An entry of a file of credentials is malformed.
    #[error("the credentials for {host} cannot be used: {reason}")]
    Credentials {
        /// The entry's key.
        host: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No certificate authority is known, so that nobody can be trusted.
    #[error("{file} has no certificate of an authority")]
    NoAuthorities {
        /// Where one was looked for.
        file: String,
    },
    /// Another layer's failure ended this one, too.
    #[error("stopped because another layer failed")]
    Stopped,
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl RegistryError {
    /// Whether asking again may help.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            RegistryError::Request { transient, .. } => *transient,
            RegistryError::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            RegistryError::Cut { .. } => true,
            _ => false,
        }
    }

    /// Whether nobody listens there. A layer that broke off waits for a registry that starts again; a command at a
    /// prompt is told at once.
    pub(crate) fn is_refused(&self) -> bool {
        let RegistryError::Request { source, .. } = self else { return false };
        source.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// How long the registry wants to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            RegistryError::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            RegistryError::NotFound { .. } => Some("check the name and the tag".into()),
            RegistryError::Denied { registry, who, .. } if who == "anonymous" => Some(format!(
                "the repository does not exist or needs a login: `docker login {registry}` writes the \
                 ~/.docker/config.json that is read here"
            )),
            RegistryError::Denied { registry, .. } => {
                Some(format!("log in again (`docker login {registry}`), or ask for access to the repository"))
            }
            RegistryError::Status { status: 429, .. } => Some(
                "the registry limits how much one address may pull: log in, wait, or use a mirror".into(),
            ),
            RegistryError::PlainHttp { .. } => {
                Some("give the registry a certificate, and `ca` in registries.json".into())
            }
            RegistryError::NoAuthorities { .. } => Some("install the package ca-certificates".into()),
            RegistryError::Request { .. } => Some(
                "HTTPS_PROXY and NO_PROXY are honoured; mirrors and certificates are set in registries.json"
                    .into(),
            ),
            _ => None,
        }
    }
}
