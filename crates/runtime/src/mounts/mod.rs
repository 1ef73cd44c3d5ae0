//! A container's mounts: planned in the supervisor, made in the container's first process, checked afterwards.
//!
//! 1. [`prepare`] (supervisor, host's mount namespace): reads the mount table, resolves sources and targets,
//!    and makes the list of operations with `explain::build`.
//! 2. [`Prepared::build`] (the cloned child, still in the host's mount namespace): executes the list.
//! 3. [`Prepared::verify`] (supervisor): compares what the container has with what the model of the kernel says it
//!    should have. If the host's mounts under a propagating source changed in between, and the container missed it,
//!    the answer is [`Verdict::Redo`]: throw the child away and start again from 1, a bounded number of times.
//!
//! Architecture invariant: no mount system call of the runtime is made outside [`execute`](execute::execute).

mod devices;
pub mod execute;
mod predict;
mod resolve;
mod volumes;

pub use execute::{ExecuteError, execute};
pub use explain::defaults::CgroupView;
pub use predict::{Mismatch, Row, Verdict};
pub use resolve::ResolveError;
pub use volumes::{
    DetachError, Detached, bind, detach_all_at, detach_bind, detach_tree, mount_huge_pages, mount_layers,
    mount_tmpfs, share_directory,
};

use explain::build::{Bind, Build, BuildError, ContainerMounts, Facts, Placed, RootFileSystem, What, build};
use explain::defaults::{OF_THE_KERNEL, Wanted, default_mounts, in_order, mask};
use manifest::cri::{ContainerConfig, Mount, MountPropagation};
use mount_table::MountTable;
use resolve::View;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::FileType;
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use subtree_model::{Attributes, Handle, Op};

/// How often a container's mounts are made again because the host's changed meanwhile.
pub const REDO_MAX: u32 = 16;

/// What [`prepare`] needs to know of a container.
#[derive(Debug, Clone, Copy)]
pub struct MountRequest<'a> {
    /// The image's layers as directories, bottom first.
    pub layers: &'a [PathBuf],
    /// A directory of the container's own on a file system that can be an overlay's upper: `upper` and `work`
    /// are made in it.
    pub writable: &'a Path,
    /// Any directory of the host outside of every volume: the root file system is attached on it, in the
    /// container's namespace only.
    pub staging: &'a Path,
    /// The container.
    pub config: &'a ContainerConfig,
    /// The pod's `/dev/shm` on the host; none gives the container one of its own.
    pub shm: Option<&'a Path>,
    /// The cgroup view.
    pub cgroup: &'a CgroupView,
    /// The pod's user namespace, if it has one.
    pub users: Option<&'a Users>,
    /// SELinux label of the files on the file systems that are made for it.
    pub file_label: Option<&'a str>,
}

/// A pod's user namespace, as its containers' mounts need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Users {
    /// A path that leads to it while the supervisor lives: the process that makes the mounts has no descriptor of ours.
    pub path: PathBuf,
    /// The id on the machine of its root.
    pub base: u32,
}

/// Why a container's mounts could not be planned or made.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// A file that had to be read or made.
    #[error("{what} {}", path.display())]
    Io {
        /// What was done.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The mount table of this process could not be understood.
    #[error("parse /proc/self/mountinfo")]
    Table(#[source] mount_table::ParseError),
    /// A volume's source that cannot be used.
    #[error("failed to stat {}: {}", path.display(), source_words(*errno))]
    Source {
        /// The source.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// A mountPath that leads nowhere.
    #[error(transparent)]
    Target(#[from] ResolveError),
    /// A mountPath that is the container's root directory. A mount there would be seen by nobody: a process' root is
    /// the mount that it was given, not what is mounted on it later.
    #[error("cannot mount at {}: that is the root of the container", path.display())]
    OverRoot {
        /// As given; a link of the image may lead to the root.
        path: PathBuf,
    },
    /// An image that has a link where a file system of the kernel goes, which would then be somewhere else, and the
    /// image's own files in its place (CVE-2019-16884, CVE-2023-27561).
    #[error("{} of the image is a symbolic link, to {}: the kernel's file systems are mounted on directories only", path.display(), target.display())]
    KernelDirectoryIsLink {
        /// `/proc`, `/sys` or `/dev`.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A rule of propagation that is not met.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// An image without layers.
    #[error("image {image} has no layers")]
    NoLayers {
        /// Its reference.
        image: String,
    },
    /// The kernel refused an operation.
    #[error("mount{}", for_section(section))]
    Execute {
        /// What the operation was for.
        section: Option<String>,
        /// Which, and why.
        #[source]
        source: ExecuteError,
    },
}

fn for_section(section: &Option<String>) -> String {
    section.as_ref().map_or(String::new(), |section| format!(" {section}"))
}

/// An errno as a volume's source shows it.
fn source_words(errno: Errno) -> String {
    match errno {
        Errno::NOTCONN => {
            "transport endpoint is not connected (the FUSE server behind this mount is gone: unmount it with umount -l)"
                .to_owned()
        }
        other => other.to_string(),
    }
}

impl MountError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            MountError::Build(error) => error.hint(),
            _ => None,
        }
    }
}

/// A planned container.
#[derive(Debug)]
pub struct Prepared {
    build: Build,
    /// The mount table that the plan was made from.
    host: MountTable,
    /// Canonical sources of volumes that receive mounts of the host.
    receiving: Vec<PathBuf>,
    users: Option<Users>,
}

/// Plans a container's mounts, in four steps:
/// 1. read this namespace's mount table;
/// 2. make the upper and work directories, and a view of the image;
/// 3. put default mounts and volumes in containerd's order (by number of path components, else as given), and
///    resolve each target in what is mounted before it;
/// 4. make the list of operations.
pub fn prepare(request: &MountRequest<'_>) -> Result<Prepared, MountError> {
    prepare_on(request, read_own_table()?)
}

/// [`prepare`] as if the host's mounts were these: for a plan that is only looked at, of sources some of which are
/// yet to be mounted.
pub fn prepare_on(request: &MountRequest<'_>, host: MountTable) -> Result<Prepared, MountError> {
    let mut root = root_file_system(request)?;
    let mut placed = place_all(request)?;
    let users = request.users.cloned();
    if let Some(users) = &users {
        // Our own directories are not to be entered by the namespace's root; in a mount namespace of its own any will do.
        root.staging = PathBuf::from("/proc");
        std::os::unix::fs::chown(&root.upper, Some(users.base), Some(users.base)).map_err(|source| {
            MountError::Io { what: "change the owner of", path: root.upper.clone(), source }
        })?;
        placed.iter_mut().for_each(|placed| own_by(users.base, &mut placed.what));
    }
    let receiving = placed
        .iter()
        .filter_map(|placed| match &placed.what {
            What::Bind(bind) if bind.propagation != MountPropagation::Private => Some(bind.source.clone()),
            _ => None,
        })
        .collect();
    let facts = Facts { host: &host, set_group: sys::mount::has_set_group() };
    let mut build = build(&ContainerMounts { root, placed, user_namespace: users.is_some() }, facts)?;
    if let Some(label) = request.file_label {
        crate::se_linux::label_file_systems(&mut build.ops, label);
    }
    Ok(Prepared { build, host, receiving, users })
}

impl Prepared {
    /// The plan.
    pub fn plan(&self) -> &Build {
        &self.build
    }

    /// Makes the mounts. To be called in a process of its own, in the host's mount namespace; when it returns
    /// the process is in a mount namespace of its own with the container's root as its root. On failure the
    /// process must exit: its namespace, and all that was mounted in it, dies with it.
    pub fn build(&self) -> Result<(), MountError> {
        execute::execute_as(&self.build.ops, self.users.as_ref().map(|users| users.path.as_path()))
            .map(drop)
            .map_err(|source| MountError::Execute { section: section_of(&self.build, source.index), source })
    }
}

/// What the operation with this index is for.
fn section_of(build: &Build, index: usize) -> Option<String> {
    build.sections.iter().rev().find(|section| section.first <= index).map(|section| section.title.clone())
}

/// This process's mount table.
pub(crate) fn read_own_table() -> Result<MountTable, MountError> {
    read_table(Path::new("/proc/self/mountinfo"))
}

fn read_table(path: &Path) -> Result<MountTable, MountError> {
    let bytes = sys::file::read_proc(path).map_err(|source| MountError::Io {
        what: "read",
        path: path.to_path_buf(),
        source,
    })?;
    MountTable::parse_mountinfo(&bytes).map_err(MountError::Table)
}

fn root_file_system(request: &MountRequest<'_>) -> Result<RootFileSystem, MountError> {
    let [upper, work] = ["upper", "work"].map(|name| request.writable.join(name));
    for path in [&upper, &work] {
        std::fs::create_dir_all(path).map_err(|source| MountError::Io {
            what: "make directory",
            path: path.clone(),
            source,
        })?;
    }
    if request.layers.is_empty() {
        return Err(MountError::NoLayers { image: request.config.image.clone() });
    }
    Ok(RootFileSystem {
        lower: request.layers.iter().rev().cloned().collect(),
        upper,
        work,
        staging: request.staging.to_path_buf(),
        read_only: request.config.security_context.readonly_rootfs,
    })
}

/// Step 3 of [`prepare`].
fn place_all(request: &MountRequest<'_>) -> Result<Vec<Placed>, MountError> {
    let security = &request.config.security_context;
    let devices = if security.privileged { devices::host_devices() } else { Vec::new() };
    let wanted = Wanted {
        privileged: security.privileged,
        tty: request.config.tty,
        shm: request.shm,
        cgroup: request.cgroup,
        devices: &devices,
    };
    let volume = |mount: &Mount| Ok((mount.container_path.clone(), bind_of(mount)?));
    let volumes = request.config.mounts.iter().map(volume).collect::<Result<_, MountError>>()?;
    let mut view = View::new(open_image(request.layers)?);
    let mut placed = Vec::new();
    for (path, what) in in_order(default_mounts(&wanted), volumes) {
        let target = view.resolve(&path)?;
        if target != path && OF_THE_KERNEL.iter().any(|of_kernel| path == Path::new(of_kernel)) {
            return Err(MountError::KernelDirectoryIsLink { path, target });
        }
        if target == Path::new("/") {
            return Err(MountError::OverRoot { path });
        }
        let tree = match &what {
            What::Bind(bind) => Some(open_source(&bind.source)?),
            _ => None,
        };
        view.put(target.clone(), tree);
        placed.push(Placed { target, what });
    }
    let hidden = security.masked_paths.iter().map(|path| (path, true));
    let read_only = security.readonly_paths.iter().map(|path| (path, false));
    for (path, hide) in hidden.chain(read_only) {
        let target = view.resolve(Path::new(path))?;
        let Some(directory) = what_is_at(&view, &target) else { continue };
        let what = if hide { mask(directory) } else { What::ReadOnlyAgain };
        placed.push(Placed { target, what });
    }
    Ok(placed)
}

/// New file systems that have an owner are the namespace's root's, and terminals the group's that it knows as 5.
fn own_by(base: u32, what: &mut What) {
    let What::FileSystem(new) = what else { return };
    match new.fs_type.as_str() {
        "tmpfs" => {
            let owner = |key: &str| (key.to_owned(), Some(base.to_string()));
            new.options.extend([owner("uid"), owner("gid")]);
        }
        "devpts" => {
            for (_, value) in new.options.iter_mut().filter(|(key, _)| key == "gid") {
                let inside = value.as_deref().and_then(|gid| gid.parse::<u32>().ok()).unwrap_or(0);
                *value = Some((base + inside).to_string());
            }
        }
        _ => {}
    }
}

/// Whether there will be a directory at a place that is to be masked, or nothing. `/proc` and `/sys` of the
/// container are new, with what this machine's have.
fn what_is_at(view: &View, target: &Path) -> Option<bool> {
    if !view.is_new(target) {
        return view.is_directory(target);
    }
    let of_the_kernel = target.starts_with("/proc") || target.starts_with("/sys");
    let metadata = of_the_kernel.then(|| std::fs::symlink_metadata(target).ok()).flatten()?;
    Some(metadata.is_dir())
}

fn bind_of(mount: &Mount) -> Result<What, MountError> {
    let fd = open_source(&mount.host_path)?;
    let fail = |errno| MountError::Source { path: mount.host_path.clone(), errno };
    let stat = rustix::fs::fstat(&fd).map_err(fail)?;
    let source = sys::mount::path_of(fd.as_fd()).map_err(fail)?;
    let directory = FileType::from_raw_mode(stat.st_mode).is_dir();
    Ok(What::Bind(Bind::of(mount, source, directory)))
}

/// Opens a source on the host, symbolic links followed, as Kubernetes does for hostPath.
fn open_source(path: &Path) -> Result<OwnedFd, MountError> {
    let fail = |errno| MountError::Source { path: path.to_path_buf(), errno };
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(fail)
}

/// The image as one tree, to look at: its only layer, or an overlay of all that is attached nowhere and goes
/// with the fd.
fn open_image(layers: &[PathBuf]) -> Result<OwnedFd, MountError> {
    if let [only] = layers {
        return open_source(only);
    }
    let options = layers
        .iter()
        .rev()
        .map(|path| ("lowerdir+".to_owned(), Some(path.to_string_lossy().into_owned())))
        .collect();
    let out = Handle(1);
    let attributes = Attributes { read_only: true, ..Attributes::default() };
    let (fs_type, source) = ("overlay".to_owned(), "overlay".to_owned());
    let fail = |source| MountError::Execute { section: Some("image, to resolve paths".to_owned()), source };
    let mut handles =
        execute(&[Op::NewFileSystem { fs_type, source, options, attributes, out }]).map_err(fail)?;
    handles.take(out).ok_or_else(|| MountError::NoLayers { image: String::new() })
}

/// Holds a place that is there, from the acting task's root; no symbolic link is crossed.
fn open_on_host(path: &Path, out: Handle) -> Op {
    Op::Open { root: Handle::HOST, path: path.to_path_buf(), follow: false, missing: None, out }
}

/// Puts a terminal at `/dev/console`, as container runtimes do. To be called in the container, once its root is
/// the root, with the path of the terminal's device below `/dev/pts` (of the container's own devpts).
pub fn attach_console(terminal: &Path) -> Result<(), ExecuteError> {
    let [source, clone, console] = [Handle(1), Handle(2), Handle(3)];
    execute(&[
        open_on_host(terminal, source),
        Op::CloneTree { from: source, recursive: false, out: clone },
        open_on_host(Path::new("/dev/console"), console),
        Op::MoveMount { from: clone, to: console },
    ])
    .map(drop)
}
