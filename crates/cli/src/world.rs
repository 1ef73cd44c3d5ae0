//! Which root is meant, and the mount namespace that goes with it.
//!
//! A root is used in the caller's mount namespace, unless `rhizome run --isolated` gave it one of its own, which a
//! [`keeper`] holds. Whoever uses the root enters that first ([`World`]), so that commands, supervisors and containers
//! all see the same mounts.

use crate::args::Global;
use crate::exit::{Context as _, Failure, Result};
use crate::keeper;
use agent::{Client, Root};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::fs::File;

/// The root of `--root` or `RHIZOME_ROOT`, else the machine's.
pub(crate) fn root(global: &Global) -> Root {
    global.root.as_deref().map_or_else(Root::default, Root::at)
}

/// To be called first of all by a command that starts supervisors: the program that they run is found in the mount
/// namespace that we began in, so that must be settled before another is entered. Starts the program again, once.
pub(crate) fn before_starting(global: &Global, isolated: bool) -> Result<()> {
    if isolated || keeper::is_recorded(&root(global)) {
        sys::process::ensure_read_only_exe().context("running from a read-only path")?;
    }
    Ok(())
}

/// A root that is open, with this process in its mount namespace.
#[derive(Debug)]
pub(crate) struct World {
    /// Does things with the root's pods.
    pub(crate) client: Client,
    /// The mount namespace that we began in, if the root has one of its own.
    home: Option<OwnedFd>,
    /// Held while pods are being created.
    creating: Option<File>,
}

impl World {
    /// Opens the root, and enters its mount namespace if it has one. A root that was named must be there: a folder
    /// that is made here would be one that was mistyped.
    pub(crate) fn open(global: &Global) -> Result<World> {
        if let Some(folder) = global.root.as_ref().filter(|folder| !folder.exists()) {
            let text = format!("the root {} does not exist", folder.display());
            return Err(Failure::wrong_use(text).hint("`rhizome run` and `rhizome image import` make one"));
        }
        let client = Client::open(&root(global))?;
        let home = keeper::enter(client.root())?;
        Ok(World { client, home, creating: None })
    }

    /// As [`World::open`], to create pods in it: it stays as it is until this is dropped. With `isolated` it gets
    /// a mount namespace of its own if it has none.
    pub(crate) fn open_for_creating(global: &Global, isolated: bool) -> Result<World> {
        let client = Client::open(&root(global))?;
        let (home, held) = keeper::enter_and_hold(client.root(), isolated)?;
        Ok(World { client, home, creating: Some(held) })
    }

    /// Goes back to the mounts that we began in, and to a directory that was opened there.
    pub(crate) fn go_home(&self, directory: BorrowedFd<'_>) -> std::io::Result<()> {
        if let Some(home) = &self.home {
            sys::mount::enter_mount_namespace(home.as_fd())?;
            rustix::process::fchdir(directory)?;
        }
        Ok(())
    }

    /// The pods are on record: from now on they keep the root's mount namespace themselves.
    pub(crate) fn created(&mut self) {
        self.creating = None;
    }

    /// Ends the root's mount namespace if it has one of its own and no pod is left; whether it did. To be called after
    /// pods were removed.
    pub(crate) fn end_if_unused(self) -> Result<bool> {
        let World { client, home, creating } = self;
        drop(creating);
        home.map_or(Ok(false), |home| keeper::end_if_unused(client.root(), &home))
    }
}

/// Enters the root's mount namespace if it has one, and makes nothing if there is no root.
pub(crate) fn enter(global: &Global) -> Result<bool> {
    let root = root(global);
    Ok(keeper::is_recorded(&root) && keeper::enter(&root)?.is_some())
}
