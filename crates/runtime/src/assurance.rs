//! The other half of a pair: what `/proc` says of a container's first process, held against what was planned for it,
//! when everything is done but execve(2). A process that has more than it should is never started.
//!
//! The mounts have a check of their own (`Prepared::verify`).

use crate::user::User;
use rustix::process::Pid;
use rustix::thread::CapabilitySet;
use std::collections::BTreeMap;

/// What a first process should be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub(crate) user: &'a User,
    /// What is added to its ids where we look from.
    pub(crate) user_base: u32,
    pub(crate) capabilities: CapabilitySet,
    pub(crate) no_new_privs: bool,
    pub(crate) filtered: bool,
}

/// The descriptors of a process that waits to be started: stdio, and the channel to us, which closes at execve.
const DESCRIPTORS: [&str; 4] = ["0", "1", "2", "3"];

/// In what the process is not as it should be, in words; nothing if it is. One that has gone meanwhile is as it should be:
/// whoever waits for it learns of that.
pub(crate) fn differences(pid: Pid, expected: &Expected<'_>) -> Vec<String> {
    let folder = format!("/proc/{}", pid.as_raw_nonzero());
    let Ok(theirs) = std::fs::read_to_string(format!("{folder}/status")) else { return Vec::new() };
    let ours = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut found = compare(&fields(&theirs), &fields(&ours), expected);
    if let Ok(entries) = std::fs::read_dir(format!("{folder}/fd")) {
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        if names != DESCRIPTORS {
            found.push(format!("descriptors {}", names.join(" ")));
        }
    }
    found
}

fn fields(status: &str) -> BTreeMap<&str, &str> {
    status.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim())).collect()
}

/// By the names of proc_pid_status(5). What the kernel is too old to say is not compared.
fn compare(
    theirs: &BTreeMap<&str, &str>,
    ours: &BTreeMap<&str, &str>,
    expected: &Expected<'_>,
) -> Vec<String> {
    let user = expected.user;
    let ours_of = |id: u32| id.saturating_add(expected.user_base).to_string();
    let four = |id: u32| [id; 4].map(ours_of).join("\t");
    let mask = |set: CapabilitySet| format!("{:016x}", set.bits());
    // Another user than root has lost them, but for what a file may give it back.
    let effective = if user.uid == 0 { expected.capabilities } else { CapabilitySet::empty() };
    // What is around us is around what we make: a filter and no_new_privs are inherited and never lost.
    let inherited = |name: &str| ours.get(name).copied().unwrap_or("0").to_owned();
    let flag = |on: bool, name: &str, value: &str| if on { value.to_owned() } else { inherited(name) };
    let groups: Vec<String> = user.groups.iter().copied().map(ours_of).collect();
    let none = CapabilitySet::empty();
    let wanted = [
        ("Uid", four(user.uid)),
        ("Gid", four(user.gid)),
        ("Groups", groups.join(" ")),
        ("CapInh", mask(none)),
        ("CapPrm", mask(effective)),
        ("CapEff", mask(effective)),
        ("CapBnd", mask(expected.capabilities)),
        ("CapAmb", mask(none)),
        ("NoNewPrivs", flag(expected.no_new_privs, "NoNewPrivs", "1")),
        ("Seccomp", flag(expected.filtered, "Seccomp", "2")),
        ("Threads", "1".to_owned()),
    ];
    let differs = |(name, wanted): (&str, String)| {
        let is = *theirs.get(name)?;
        (is != wanted).then(|| format!("{name} {is:?} instead of {wanted:?}"))
    };
    wanted.into_iter().filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tx\nUid:\t5\t5\t5\t5\nGid:\t6\t6\t6\t6\nGroups:\t6 77 \nThreads:\t1\n\
        CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000001\n\
        CapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";

    fn check(status: &str) -> Vec<String> {
        let user = User { uid: 5, gid: 6, groups: vec![6, 77], home: "/".to_owned() };
        let expected = Expected {
            user: &user,
            user_base: 0,
            capabilities: CapabilitySet::CHOWN,
            no_new_privs: true,
            filtered: true,
        };
        compare(&fields(status), &fields("NoNewPrivs:\t0\nSeccomp:\t0\n"), &expected)
    }

    #[test]
    fn every_difference_is_named() {
        assert_eq!(check(STATUS), [""; 0]);
        let wrong = STATUS.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0").replace("Seccomp:\t2", "Seccomp:\t0");
        assert_eq!(check(&wrong), ["NoNewPrivs \"0\" instead of \"1\"", "Seccomp \"0\" instead of \"2\""]);
        let wrong = STATUS.replace("CapEff:\t0000000000000000", "CapEff:\t0000000000000001");
        assert_eq!(check(&wrong), ["CapEff \"0000000000000001\" instead of \"0000000000000000\""]);
        assert_eq!(check(&STATUS.replace("5\t5\t5\t5", "5\t0\t5\t5")).len(), 1);
        assert_eq!(check(&STATUS.replace("6 77", "0 6 77")).len(), 1);
    }

    #[test]
    fn what_an_old_kernel_does_not_say_is_not_compared() {
        assert_eq!(check(&STATUS.replace("NoNewPrivs:\t1\nSeccomp:\t2\n", "")), [""; 0]);
    }
}
