//! Fault points: named places where a test makes this process fail, die or stop.
//!
//! `RHIZOME_FAULT=NAME:ACTION` (several joined by commas), ACTION one of `error` (the step answers EIO),
//! `kill` (SIGKILL to ourselves) and `stop` (SIGSTOP, so that a test can act in the window and send SIGCONT).
//! Built with debug assertions only: in a release build [`point`] is nothing.

use rustix::io::Errno;

/// A place that can be made to fail. Answers `EIO` if the test asked for an error here.
#[cfg(debug_assertions)]
pub fn point(name: &str) -> Result<(), Errno> {
    use rustix::process::{Signal, getpid, kill_process};
    let Some(faults) = std::env::var_os("RHIZOME_FAULT") else { return Ok(()) };
    let faults = faults.to_string_lossy();
    match action_at(&faults, name) {
        Some("error") => Err(Errno::IO),
        Some("kill") => {
            let _ = kill_process(getpid(), Signal::KILL);
            // A pid 1 cannot kill itself.
            sys::process::exit(137)
        }
        Some("stop") => kill_process(getpid(), Signal::STOP),
        _ => Ok(()),
    }
}

/// A place that can be made to fail; not in this build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_name: &str) -> Result<(), Errno> {
    Ok(())
}

#[cfg(debug_assertions)]
fn action_at<'a>(faults: &'a str, name: &str) -> Option<&'a str> {
    faults
        .split(',')
        .filter_map(|fault| fault.split_once(':'))
        .find(|(at, _)| *at == name)
        .map(|(_, action)| action)
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_whole() {
        let faults = "create.cgroup:error,create.cgroup.limits:kill";
        assert_eq!(action_at(faults, "create.cgroup"), Some("error"));
        assert_eq!(action_at(faults, "create.cgroup.limits"), Some("kill"));
        assert_eq!(action_at(faults, "create"), None);
        assert_eq!(action_at("nonsense", "nonsense"), None);
    }
}
