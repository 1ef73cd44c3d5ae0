//! Fault points: named places where a test makes this process fail, die or stop.
//!
//! `RHIZOME_FAULT=NAME:ACTION` (several joined by commas), ACTION one of `error` (the step answers EIO),
//! `kill` (SIGKILL to ourselves) and `stop` (SIGSTOP, so that a test can act in the window and send SIGCONT).
//! `NAME#2` means only the second time that the process comes there. `RHIZOME_FAULT_TRACE=FILE`, a file that exists,
//! gets a line for each point that is passed (`NAME#TURN ACTION`), so that a test can walk them all.
//! Built with debug assertions only: in a release build [`point`] is nothing.

use rustix::io::Errno;

/// A place that can be made to fail. Answers `EIO` if the test asked for an error here.
#[cfg(debug_assertions)]
pub fn point(name: &str) -> Result<(), Errno> {
    use rustix::process::{Signal, getpid, kill_process};
    let faults = std::env::var_os("RHIZOME_FAULT");
    let trace = std::env::var_os("RHIZOME_FAULT_TRACE");
    if faults.is_none() && trace.is_none() {
        return Ok(());
    }
    let turn = count(name);
    let faults = faults.unwrap_or_default();
    let faults = faults.to_string_lossy();
    let action = action_at(&faults, name, turn);
    if let Some(trace) = trace {
        write_down(&trace, &format!("{name}#{turn} {}\n", action.unwrap_or_default()));
    }
    match action {
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

/// Which time it is, from 1, that this process comes to a point. A child begins where its parent was.
#[cfg(debug_assertions)]
fn count(name: &str) -> u32 {
    static PASSED: std::sync::Mutex<std::collections::BTreeMap<String, u32>> =
        std::sync::Mutex::new(std::collections::BTreeMap::new());
    let mut passed = PASSED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let turn = passed.entry(name.to_owned()).or_default();
    *turn += 1;
    *turn
}

/// Never makes the file: in a container's root there is none of that name.
#[cfg(debug_assertions)]
fn write_down(trace: &std::ffi::OsStr, line: &str) {
    if let Ok(mut file) = std::fs::OpenOptions::new().append(true).open(trace) {
        let _ = std::io::Write::write_all(&mut file, line.as_bytes());
    }
}

#[cfg(debug_assertions)]
fn action_at<'a>(faults: &'a str, name: &str, turn: u32) -> Option<&'a str> {
    let here = |at: &str| match at.split_once('#') {
        Some((at, wanted)) => at == name && wanted.parse() == Ok(turn),
        None => at == name,
    };
    let mut faults = faults.split(',').filter_map(|fault| fault.rsplit_once(':'));
    faults.find(|(at, _)| here(at)).map(|(_, action)| action)
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_whole() {
        let faults = "create.cgroup:error,create.cgroup.limits:kill,again#2:stop";
        assert_eq!(action_at(faults, "create.cgroup", 3), Some("error"));
        assert_eq!(action_at(faults, "create.cgroup.limits", 1), Some("kill"));
        assert_eq!(action_at(faults, "create", 1), None);
        assert_eq!([1, 2, 3].map(|turn| action_at(faults, "again", turn)), [None, Some("stop"), None]);
        assert_eq!(action_at("nonsense", "nonsense", 1), None);
    }

    #[test]
    fn turns_are_counted_by_name() {
        assert_eq!((count("a.point"), count("another.point"), count("a.point")), (1, 1, 2));
    }
}
