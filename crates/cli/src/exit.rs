//! How a command ends: the exit status and the last words on standard error, decided here and nowhere else.
//!
//! | status | means |
//! |---|---|
//! | 0 | yes: it was done, or all is fine |
//! | 1 | no: refused, not found, not fine |
//! | 2 | wrong use, or an error that kept us from finding out |
//!
//! `run`, `exec`, `attach` and `unshare` give the status of what they ran instead, once it ran.

use agent::client::ClientError;
use agent::record::RecordError;
use rustix::io::Errno;
use std::io;

/// The exit status of a command that came to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

impl Exit {
    /// Yes.
    pub(crate) const YES: Exit = Exit(0);
    /// No.
    pub(crate) const NO: Exit = Exit(1);
}

/// Why a command did not come to an answer, or that the answer is no, with the reason.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: u8,
    pub(crate) error: Option<anyhow::Error>,
    pub(crate) hint: Option<String>,
}

/// What a command returns.
pub(crate) type Result<T = Exit, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// The answer is no, and why.
    pub(crate) fn no(error: impl Into<anyhow::Error>) -> Failure {
        Failure { status: 1, error: Some(error.into()), hint: None }
    }

    /// Wrong use, beyond what the parser of arguments can see.
    pub(crate) fn wrong_use(text: impl Into<String>) -> Failure {
        Failure { status: 2, error: Some(anyhow::Error::msg(text.into())), hint: None }
    }

    /// This exit status and no words (they were said, or nobody listens).
    pub(crate) fn quiet(status: u8) -> Failure {
        Failure { status, error: None, hint: None }
    }

    /// With what the user can do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// Whether an error of this kind, of which `test` holds, is what it comes from.
    pub(crate) fn is<E: std::error::Error + Send + Sync + 'static>(&self, test: impl Fn(&E) -> bool) -> bool {
        let chain = self.error.iter().flat_map(|error| error.chain());
        chain.filter_map(|error| error.downcast_ref::<E>()).any(test)
    }

    /// With what was being done.
    pub(crate) fn said(mut self, what: impl std::fmt::Display + Send + Sync + 'static) -> Failure {
        self.error = self.error.map(|error| error.context(what));
        self
    }

    /// With another exit status.
    pub(crate) fn status(mut self, status: u8) -> Failure {
        self.status = status;
        self
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        let error = error.into();
        Failure { status: status_of(&error), hint: hint_of(&error), error: Some(error) }
    }
}

/// `context` for results, as `anyhow` has it, for our own failures.
pub(crate) trait Context<T> {
    /// Say what was being done.
    fn context(self, what: impl std::fmt::Display + Send + Sync + 'static) -> Result<T>;
}

impl<T, E: Into<anyhow::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl std::fmt::Display + Send + Sync + 'static) -> Result<T> {
        self.map_err(|error| Failure::from(error).said(what))
    }
}

/// An error is a no if what was asked for is not there; anything else kept us from finding out.
fn status_of(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<ClientError>() {
            return status_of_client(error);
        }
        if let Some(error) = cause.downcast_ref::<runtime::Error>() {
            return status_of_runtime(error);
        }
        if cause.downcast_ref().is_some_and(agent::copy::CopyError::is_missing) {
            return 1;
        }
        if cause.downcast_ref().is_some_and(image::Error::is_not_found) {
            return 1;
        }
    }
    2
}

fn status_of_client(error: &ClientError) -> u8 {
    match error {
        ClientError::NoPod { .. }
        | ClientError::NoWorkload { .. }
        | ClientError::NoContainer { .. }
        | ClientError::NotRunning { .. }
        | ClientError::WaitingToStart { .. }
        | ClientError::Reset(_)
        | ClientError::Refused { .. }
        | ClientError::NoPrevious { .. }
        | ClientError::Running { .. }
        | ClientError::DoesNotEnd { .. }
        | ClientError::Record(RecordError::NotFound { .. } | RecordError::AlreadyExists { .. })
        | ClientError::Image(image::Error::NotFound { .. }) => 1,
        ClientError::Runtime(error) => status_of_runtime(error),
        _ => 2,
    }
}

fn status_of_runtime(error: &runtime::Error) -> u8 {
    match error {
        // As a shell has it.
        runtime::Error::Execute { exit_code, .. } => *exit_code as u8,
        runtime::Error::WrongState { .. } | runtime::Error::NotFound { .. } => 1,
        _ => 2,
    }
}

/// The hint of the outermost error in the chain that has one; for whoever is not root and is denied something, that.
fn hint_of(error: &anyhow::Error) -> Option<String> {
    let own = error.chain().find_map(|error| {
        let of_observe = || error.downcast_ref::<observe::Error>()?.hint();
        let of_image = || error.downcast_ref::<image::Error>()?.hint();
        let of_runtime = || error.downcast_ref::<runtime::Error>()?.hint();
        let of_agent = || error.downcast_ref::<ClientError>()?.hint();
        let of_serve = || error.downcast_ref::<serve::NodeError>()?.hint();
        of_observe().or_else(of_image).or_else(of_runtime).or_else(of_agent).or_else(of_serve)
    });
    let is_denied = |error: &(dyn std::error::Error + 'static)| {
        let by_io = error.downcast_ref::<io::Error>().map(io::Error::kind);
        let by_errno = error.downcast_ref::<Errno>().map(|errno| io::Error::from(*errno).kind());
        by_io.or(by_errno) == Some(io::ErrorKind::PermissionDenied)
    };
    let denied = !rustix::process::geteuid().is_root() && error.chain().any(is_denied);
    own.or_else(|| denied.then(|| "run it as root: pods are made of what only root can make".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_2_and_a_no_is_1() {
        assert_eq!(Failure::from(io::Error::other("x")).status, 2);
        assert_eq!(Failure::no(io::Error::other("x")).status, 1);
        assert_eq!(Failure::no(io::Error::other("x")).status(127).status, 127);
    }
}
