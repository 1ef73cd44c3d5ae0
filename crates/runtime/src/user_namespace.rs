//! A pod's user namespace (`hostUsers: false`): which ids of the machine it has, and how it is made and entered.
//!
//! Every pod has 65,536 ids of its own, as with a kubelet (KEP-127): 0 to 65535 inside, a range of the machine outside that
//! no other pod of this root has. The range is recorded in a file of its own name beside the state, made before it is used
//! and removed with the sandbox; a file whose sandbox is gone is free. On disk nothing is shifted: images and volumes are
//! mounted with their ids mapped (mount_setattr(2), `MOUNT_ATTR_IDMAP`).

use crate::error::{Error, Result};
use crate::state::{Dirs, make_private_directory};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use std::io::ErrorKind;
use std::path::PathBuf;
use sys::namespace::Namespaces;

/// How many ids a pod has.
pub const SIZE: u32 = 65_536;
/// The first range, and how many there are: what `systemd-uids(7)` names as unused between the containers of
/// systemd-nspawn and the ids of foreign file systems.
const FIRST: u32 = 1_879_048_192;
const RANGES: u32 = 4_094;

fn folder(dirs: &Dirs) -> PathBuf {
    dirs.state.with_file_name("user-ranges")
}

/// Takes a free range for a sandbox, whose state directory exists: its first id on the machine. Where the search begins
/// depends on the root, so that two roots of one machine hardly meet.
pub(crate) fn allocate(dirs: &Dirs, sandbox: &str) -> Result<u32> {
    let folder = folder(dirs);
    make_private_directory(&folder)?;
    let bytes = dirs.state.as_os_str().as_encoded_bytes();
    let start = bytes.iter().fold(7u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    for offset in 0..RANGES {
        let base = FIRST + (start.wrapping_add(offset) % RANGES) * SIZE;
        if take(dirs, base, sandbox)? {
            return Ok(base);
        }
    }
    Err(Error::Config { field: "hostUsers", reason: format!("all {RANGES} ranges of user ids are taken") })
}

/// Whether the range is this sandbox's now.
fn take(dirs: &Dirs, base: u32, sandbox: &str) -> Result<bool> {
    let path = folder(dirs).join(base.to_string());
    // Complete from the first moment on: written elsewhere, then linked, which fails where it is there.
    let draft = folder(dirs).join(format!(".{sandbox}"));
    std::fs::write(&draft, sandbox).map_err(Error::file("write", &draft))?;
    let linked = std::fs::hard_link(&draft, &path);
    let _ = std::fs::remove_file(&draft);
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let owner = std::fs::read_to_string(&path).unwrap_or_default();
            if !owner.is_empty() && !dirs.state_of(&owner).exists() {
                release(dirs, base, &owner)?;
            }
            // Free from the next search on; two that free it at once would both take it.
            Ok(false)
        }
        Err(error) => Err(Error::file("make", &path)(error)),
    }
}

/// Gives a range back.
pub(crate) fn release(dirs: &Dirs, base: u32, sandbox: &str) -> Result<()> {
    let path = folder(dirs).join(base.to_string());
    if std::fs::read_to_string(&path).is_ok_and(|owner| owner == sandbox) {
        std::fs::remove_file(&path).map_err(Error::file("remove", &path))?;
    }
    // With the last one.
    let _ = std::fs::remove_dir(folder(dirs));
    Ok(())
}

/// Makes a user namespace with the range that begins at `base`, and with it, owned by it, other namespaces. In order:
/// a child is cloned into them and does nothing; its id maps are written; the namespaces are opened; the child is killed.
/// The user namespace comes first, then one for each of `kinds`.
pub(crate) fn make(base: u32, flags: Namespaces, kinds: &[&str]) -> Result<Vec<OwnedFd>> {
    let child = sys::process::spawn(flags | Namespaces::USER, None, || {
        loop {
            // Until it is killed.
            let _ = rustix::event::poll(&mut [], None);
        }
    })
    .map_err(|source| Error::Spawn { id: "of the user namespace".to_owned(), source })?;
    let opened = map_and_open(&child, base, kinds);
    crate::container::end("of the user namespace", &child)?;
    opened
}

fn map_and_open(child: &sys::process::Child, base: u32, kinds: &[&str]) -> Result<Vec<OwnedFd>> {
    for map in ["uid_map", "gid_map"] {
        let path = format!("/proc/{}/{map}", child.pid.as_raw_nonzero());
        std::fs::write(&path, format!("0 {base} {SIZE}\n")).map_err(Error::file("write", path))?;
    }
    let open = |kind: &&str| {
        sys::namespace::open_of(child.pid, kind).map_err(Error::system("open the pod's namespaces"))
    };
    std::iter::once(&"user").chain(kinds).map(open).collect()
}

/// In a child: into the user namespace, as its root.
pub(crate) fn enter(namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    sys::namespace::enter(namespace)?;
    become_root()
}

/// In a child that is in a user namespace: its root, instead of an id that it does not know.
pub(crate) fn become_root() -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

/// Pipes that a process in the namespace gets as stdio become its root's, or nobody in there could open them by name
/// (`/dev/stdout`) or give them to another user.
pub(crate) fn give_pipes(stdio: [BorrowedFd<'_>; 3], base: u32) -> Result<(), Errno> {
    for fd in stdio {
        if rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == rustix::fs::FileType::Fifo {
            rustix::fs::fchown(fd, Some(Uid::from_raw(base)), Some(Gid::from_raw(base)))?;
        }
    }
    Ok(())
}

/// Does something as the namespace's root, but from outside: a kernel parameter of a namespace asks for this user, not for
/// capabilities (`ipc_permissions()`, ipc/ipc_sysctl.c).
pub(crate) fn as_root_of<T>(base: u32, act: impl FnOnce() -> T) -> Result<T> {
    let become_user = |effective: u32| {
        let (root, effective) = (Uid::from_raw(0), Uid::from_raw(effective));
        rustix::thread::set_thread_res_uid(root, effective, root)
            .map_err(Error::system("change the effective user"))
    };
    become_user(base)?;
    let done = act();
    // Without this the process would be of no use: that error is the caller's end.
    become_user(0)?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_do_not_overlap_and_are_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = Dirs { state: dir.path().join("runtime"), data: dir.path().join("data") };
        let take = |id: &str| {
            std::fs::create_dir_all(dirs.state_of(id)).unwrap();
            allocate(&dirs, id).unwrap()
        };
        let mut taken: Vec<u32> = (0..50).map(|number| take(&format!("s{number}"))).collect();
        taken.sort_unstable();
        assert!(taken.windows(2).all(|pair| pair[1] - pair[0] >= SIZE), "{taken:?}");
        assert!(taken.iter().all(|base| *base >= FIRST && base.checked_add(SIZE).is_some()));
        let again = taken[3];
        let owner = std::fs::read_to_string(folder(&dirs).join(again.to_string())).unwrap();
        release(&dirs, again, "another").unwrap();
        assert!(folder(&dirs).join(again.to_string()).exists(), "it is not the other's to give back");
        // A sandbox that was killed and removed by hand.
        std::fs::remove_dir(dirs.state_of(&owner)).unwrap();
        assert!(!take_all_until(&dirs, again).is_empty());
    }

    /// Allocates until a range is given out again; bounded by the number of ranges that were taken.
    fn take_all_until(dirs: &Dirs, wanted: u32) -> Vec<u32> {
        let mut taken = Vec::new();
        for number in 0..3 {
            let id = format!("t{number}");
            std::fs::create_dir_all(dirs.state_of(&id)).unwrap();
            taken.push(allocate(dirs, &id).unwrap());
            if taken.contains(&wanted) {
                return taken;
            }
        }
        Vec::new()
    }
}
