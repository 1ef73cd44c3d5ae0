//! Which capabilities a container gets: names to sets, Kubernetes' `add` and `drop` on the default set.
//!
//! Sources: capabilities(7); containerd's `WithCapabilities` for the order (`ALL` first, then each name).

use manifest::cri::{CAPABILITY_NAMES, Capability};
use rustix::thread::CapabilitySet;

/// What a container has that asks for nothing: the set that containerd and docker give.
pub const DEFAULT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// What a supervisor needs for the rest of its life, besides what its containers get: namespaces and mounts, cgroups and
/// device filters (`SYS_ADMIN`), `/proc` of processes that are not dumpable (`SYS_PTRACE`), files of any owner, the
/// identities and bounding set of children, device nodes, the loopback interface of a new network, signals to any user's
/// processes, OOM scores and locked memory of filters (`SYS_RESOURCE`). Where cgroup v2's cpuset controller is not turned on
/// yet, turning it on changes the processors of every process there is as far as Linux 6.1 is concerned (`SYS_NICE`).
pub const OF_A_SUPERVISOR: CapabilitySet = DEFAULT
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::SYS_NICE)
    .union(CapabilitySet::SYS_RESOURCE);

/// Gives up, for good, every capability of this process that is not in `keep`: its children cannot have them either.
pub fn keep_only(keep: CapabilitySet) -> Result<(), rustix::io::Errno> {
    for number in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::capability_is_in_bounding_set(one) {
            Ok(true) if !keep.contains(one) => rustix::thread::remove_capability_from_bounding_set(one)?,
            Ok(_) => {}
            // The first number that this kernel does not know.
            Err(rustix::io::Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    let has = rustix::thread::capabilities(None)?;
    let sets = rustix::thread::CapabilitySets {
        effective: has.effective & keep,
        permitted: has.permitted & keep,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets)
}

/// The capability of a name, with or without `CAP_`, in any case.
pub fn parse_name(name: &str) -> Option<CapabilitySet> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let number = CAPABILITY_NAMES.iter().position(|known| *known == bare)?;
    Some(CapabilitySet::from_bits_retain(1 << number))
}

/// The names in a set, with `CAP_`, in the order of their numbers.
pub fn names(set: CapabilitySet) -> Vec<String> {
    let has = |number: &usize| set.bits() & (1 << number) != 0;
    (0..CAPABILITY_NAMES.len())
        .filter(has)
        .map(|number| format!("CAP_{}", CAPABILITY_NAMES[number]))
        .collect()
}

/// What [`resolve`] decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// What the container gets.
    pub set: CapabilitySet,
    /// What was asked for by name but is not in the bounding set of this machine.
    pub unavailable: CapabilitySet,
}

/// The container's capabilities, never more than `bounding` (what "all" means on this machine). An unknown
/// name is the error, as written.
pub fn resolve(wish: &Capability, privileged: bool, bounding: CapabilitySet) -> Result<Resolved, String> {
    let is_all = |name: &String| name.eq_ignore_ascii_case("ALL");
    let mut set = if privileged { bounding } else { DEFAULT };
    let mut named = CapabilitySet::empty();
    if wish.add_capabilities.iter().any(is_all) {
        set = bounding;
    }
    if wish.drop_capabilities.iter().any(is_all) {
        set = CapabilitySet::empty();
    }
    for name in wish.add_capabilities.iter().filter(|name| !is_all(name)) {
        named |= parse_name(name).ok_or_else(|| name.clone())?;
    }
    set |= named;
    for name in wish.drop_capabilities.iter().filter(|name| !is_all(name)) {
        set.remove(parse_name(name).ok_or_else(|| name.clone())?);
    }
    Ok(Resolved { set: set & bounding, unavailable: named & set & !bounding })
}

/// The bounding set of this process: what it and its children can ever have.
pub fn read_bounding_set() -> Result<CapabilitySet, rustix::io::Errno> {
    let mut set = CapabilitySet::empty();
    for number in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::capability_is_in_bounding_set(one) {
            Ok(true) => set |= one,
            Ok(false) => {}
            // The first number that this kernel does not know.
            Err(rustix::io::Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(add: &[&str], drop: &[&str], privileged: bool) -> Resolved {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let wish = Capability { add_capabilities: owned(add), drop_capabilities: owned(drop) };
        let bounding = CapabilitySet::from_bits_retain((1 << 41) - 1) - CapabilitySet::SYS_RESOURCE;
        resolve(&wish, privileged, bounding).unwrap()
    }

    #[test]
    fn numbers_are_the_kernel_s() {
        assert_eq!(parse_name("SYS_ADMIN"), Some(CapabilitySet::SYS_ADMIN));
        assert_eq!(parse_name("cap_checkpoint_restore"), Some(CapabilitySet::CHECKPOINT_RESTORE));
        assert_eq!(parse_name("AUDIT_READ"), Some(CapabilitySet::AUDIT_READ));
        assert_eq!(parse_name("SYS_ADMINS"), None);
        assert_eq!(names(CapabilitySet::CHOWN | CapabilitySet::BPF), ["CAP_CHOWN", "CAP_BPF"]);
    }

    #[test]
    fn add_and_drop() {
        assert_eq!(check(&[], &[], false).set, DEFAULT);
        assert_eq!(
            check(&["NET_ADMIN"], &["CHOWN"], false).set,
            (DEFAULT | CapabilitySet::NET_ADMIN) - CapabilitySet::CHOWN
        );
        assert_eq!(check(&["NET_BIND_SERVICE"], &["ALL"], false).set, CapabilitySet::NET_BIND_SERVICE);
        assert_eq!(check(&["ALL"], &["MKNOD"], false).set.bits(), ((1 << 41) - 1) & !(1 << 24) & !(1 << 27));
        assert_eq!(check(&[], &["ALL"], true).set, CapabilitySet::empty());
    }

    #[test]
    fn what_the_machine_lacks_is_left_out_and_said() {
        let resolved = check(&["SYS_RESOURCE"], &[], false);
        assert_eq!(resolved.set, DEFAULT);
        assert_eq!(resolved.unavailable, CapabilitySet::SYS_RESOURCE);
        assert_eq!(check(&[], &[], true).unavailable, CapabilitySet::empty());
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        let wish = Capability { add_capabilities: vec!["SYS_FOO".to_owned()], drop_capabilities: vec![] };
        assert_eq!(resolve(&wish, false, DEFAULT), Err("SYS_FOO".to_owned()));
    }
}
