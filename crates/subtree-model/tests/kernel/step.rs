//! A step of a sequence and its text: what a case file is made of.
//!
//! A line each, `#` begins a comment. Mount namespaces are numbered from 0, where everything begins; `@N` before a
//! command runs it in namespace N.
//!
//! * `ns N [--user]` copies namespace N (for another user namespace), `end N` lets namespace N die;
//! * `mkdir P`, `touch P`, `rmdir P`, `unlink P`, `mv P P`, `cd P`, `chroot P`;
//! * `mount -t tmpfs none P`, `mount --bind|--rbind|--move|--beneath P P`, `mount -o remount[,bind],ro|rw[,nosuid] P`,
//!   `mount --make-[r]shared|slave|private|unbindable P`, `umount [-l] [--expire] P`, `pivot_root P P`;
//! * by descriptors, which are numbers from 1: `open D P`, `close D`, `fsmount D`, `clone [-r] D D` (from, new),
//!   `attach [--beneath] D D` (what, where), `set-group D D` (from, to), `umount-fd [-l] D`,
//!   `set [-r] D [ro|rw|nosuid|suid|shared|…]`.

use std::fmt;
use std::path::{Path, PathBuf};
use subtree_model::{Attributes, Handle, Missing, Op, PropagationType};

/// What is done in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A copy of namespace `from`; it gets the next number.
    Namespace { from: usize, user: bool },
    /// Namespace `at` loses what holds it.
    End { at: usize },
    /// An operation in a namespace.
    Do { at: usize, op: Op },
}

/// The place that paths in cases begin at: nothing is ever mounted on the acting task's own root this way.
const WORK: &str = "/w";

/// A path of a case as the task sees it. One that begins with two slashes begins at the task's own root, one without
/// any at its working directory.
pub(crate) fn work_path(path: &str) -> PathBuf {
    if path.starts_with("//") {
        return PathBuf::from(&path[1..]);
    }
    if !path.starts_with('/') {
        return PathBuf::from(path);
    }
    PathBuf::from(format!("{WORK}{}", path.trim_end_matches('/')))
}

/// A path of a task as cases write it.
pub(crate) fn case_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    match text.strip_prefix(WORK) {
        Some("") => "/".to_owned(),
        Some(rest) => rest.to_owned(),
        None if path.is_absolute() => format!("/{text}"),
        None => text.into_owned(),
    }
}

const TYPES: [(PropagationType, &str); 4] = [
    (PropagationType::Shared, "shared"),
    (PropagationType::Slave, "slave"),
    (PropagationType::Private, "private"),
    (PropagationType::Unbindable, "unbindable"),
];

fn type_word(wanted: PropagationType) -> &'static str {
    TYPES.iter().find(|(to, _)| *to == wanted).map_or("", |(_, word)| word)
}

fn type_of(word: &str) -> Option<PropagationType> {
    TYPES.iter().find(|(_, known)| *known == word).map(|(to, _)| *to)
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Namespace { from, user } => write!(f, "ns {from}{}", if *user { " --user" } else { "" }),
            Step::End { at } => write!(f, "end {at}"),
            Step::Do { at, op } => {
                if *at != 0 {
                    write!(f, "@{at} ")?;
                }
                write_op(f, op)
            }
        }
    }
}

fn write_op(f: &mut fmt::Formatter<'_>, op: &Op) -> fmt::Result {
    let flag = |on: bool, text: &'static str| if on { text } else { "" };
    match op {
        Op::Create { path, kind: Missing::Directory } => write!(f, "mkdir {}", case_path(path)),
        Op::Create { path, kind: Missing::File } => write!(f, "touch {}", case_path(path)),
        Op::RemoveDirectory { path } => write!(f, "rmdir {}", case_path(path)),
        Op::Unlink { path } => write!(f, "unlink {}", case_path(path)),
        Op::Rename { from, to } => write!(f, "mv {} {}", case_path(from), case_path(to)),
        Op::ChangeDirectory { path } => write!(f, "cd {}", case_path(path)),
        Op::ChangeRoot { path } => write!(f, "chroot {}", case_path(path)),
        Op::Mount { target, .. } => write!(f, "mount -t tmpfs none {}", case_path(target)),
        Op::Remount { target, attributes, bind } => {
            let write = if attributes.read_only { "ro" } else { "rw" };
            let (bind, suid) = (flag(*bind, ",bind"), flag(attributes.no_suid, ",nosuid"));
            write!(f, "mount -o remount{bind},{write}{suid} {}", case_path(target))
        }
        Op::Bind { source, target, recursive } => {
            let how = if *recursive { "rbind" } else { "bind" };
            write!(f, "mount --{how} {} {}", case_path(source), case_path(target))
        }
        Op::Move { source, target } => {
            write!(f, "mount --move {} {}", case_path(source), case_path(target))
        }
        Op::MoveBeneath { source, target } => {
            write!(f, "mount --beneath {} {}", case_path(source), case_path(target))
        }
        Op::ChangeType { target, to, recursive } => {
            write!(f, "mount --make-{}{} {}", flag(*recursive, "r"), type_word(*to), case_path(target))
        }
        Op::UnmountPath { target, detach, expire } => {
            write!(f, "umount {}{}{}", flag(*detach, "-l "), flag(*expire, "--expire "), case_path(target))
        }
        Op::PivotRootTo { new_root, put_old } => {
            write!(f, "pivot_root {} {}", case_path(new_root), case_path(put_old))
        }
        Op::Open { path, out, .. } => write!(f, "open {} {}", out.0, case_path(&Path::new("/").join(path))),
        Op::Close { handle } => write!(f, "close {}", handle.0),
        Op::NewFileSystem { out, .. } => write!(f, "fsmount {}", out.0),
        Op::CloneTree { from, recursive, out } => {
            write!(f, "clone {}{} {}", flag(*recursive, "-r "), from.0, out.0)
        }
        Op::MoveMount { from, to } => write!(f, "attach {} {}", from.0, to.0),
        Op::MoveMountBeneath { from, to } => write!(f, "attach --beneath {} {}", from.0, to.0),
        Op::SetGroup { from, to } => write!(f, "set-group {} {}", from.0, to.0),
        Op::Unmount { at, detach } => write!(f, "umount-fd {}{}", flag(*detach, "-l "), at.0),
        Op::SetAttributes { mount, recursive, set, clear, propagation } => {
            write!(f, "set {}{}", flag(*recursive, "-r "), mount.0)?;
            let words = [
                (set.read_only, "ro"),
                (clear.read_only, "rw"),
                (set.no_suid, "nosuid"),
                (clear.no_suid, "suid"),
            ];
            for (_, word) in words.iter().filter(|(on, _)| *on) {
                write!(f, " {word}")?;
            }
            propagation.map_or(Ok(()), |to| write!(f, " {}", type_word(to)))
        }
        other => write!(f, "# {other:?}"),
    }
}

/// Parses a line; `None` if there is nothing on it.
pub(crate) fn parse(line: &str) -> Result<Option<Step>, String> {
    let line = line.split('#').next().unwrap_or("").trim();
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if words.is_empty() {
        return Ok(None);
    }
    let mut at = 0;
    if let Some(number) = words[0].strip_prefix('@') {
        at = number.parse().map_err(|_| format!("{line}: no namespace"))?;
        words.remove(0);
    }
    let step = match words[..] {
        ["ns", from] => number(from).map(|from| Step::Namespace { from, user: false }),
        ["ns", from, "--user"] => number(from).map(|from| Step::Namespace { from, user: true }),
        ["end", at] => number(at).map(|at| Step::End { at }),
        _ => parse_op(&words).map(|op| Step::Do { at, op }),
    };
    step.map(Some).ok_or_else(|| format!("cannot read: {line}"))
}

fn number(word: &str) -> Option<usize> {
    word.parse().ok()
}

fn handle(word: &str) -> Option<Handle> {
    word.parse().ok().map(Handle)
}

fn parse_op(words: &[&str]) -> Option<Op> {
    Some(match *words {
        ["mkdir", path] => Op::Create { path: work_path(path), kind: Missing::Directory },
        ["touch", path] => Op::Create { path: work_path(path), kind: Missing::File },
        ["rmdir", path] => Op::RemoveDirectory { path: work_path(path) },
        ["unlink", path] => Op::Unlink { path: work_path(path) },
        ["mv", from, to] => Op::Rename { from: work_path(from), to: work_path(to) },
        ["cd", path] => Op::ChangeDirectory { path: work_path(path) },
        ["chroot", path] => Op::ChangeRoot { path: work_path(path) },
        ["mount", "-t", "tmpfs", "none", target] => new_tmpfs(work_path(target)),
        ["mount", "-o", options, target] => remount(options, work_path(target))?,
        ["mount", how, target] => {
            let word = how.strip_prefix("--make-")?;
            let (recursive, to) = match (type_of(word), word.strip_prefix('r').and_then(type_of)) {
                (Some(to), _) => (false, to),
                (None, to) => (true, to?),
            };
            Op::ChangeType { target: work_path(target), to, recursive }
        }
        ["mount", how, source, target] => {
            let (source, target) = (work_path(source), work_path(target));
            match how {
                "--bind" => Op::Bind { source, target, recursive: false },
                "--rbind" => Op::Bind { source, target, recursive: true },
                "--move" => Op::Move { source, target },
                "--beneath" => Op::MoveBeneath { source, target },
                _ => return None,
            }
        }
        ["umount", path] => Op::UnmountPath { target: work_path(path), detach: false, expire: false },
        ["umount", "-l", path] => Op::UnmountPath { target: work_path(path), detach: true, expire: false },
        ["umount", "--expire", path] => {
            Op::UnmountPath { target: work_path(path), detach: false, expire: true }
        }
        ["umount", "-l", "--expire", path] => {
            Op::UnmountPath { target: work_path(path), detach: true, expire: true }
        }
        ["pivot_root", new, old] => Op::PivotRootTo { new_root: work_path(new), put_old: work_path(old) },
        ["open", out, path] => open(handle(out)?, &work_path(path)),
        ["close", at] => Op::Close { handle: handle(at)? },
        ["fsmount", out] => new_detached(handle(out)?),
        ["clone", from, out] => Op::CloneTree { from: handle(from)?, recursive: false, out: handle(out)? },
        ["clone", "-r", from, out] => {
            Op::CloneTree { from: handle(from)?, recursive: true, out: handle(out)? }
        }
        ["attach", from, to] => Op::MoveMount { from: handle(from)?, to: handle(to)? },
        ["attach", "--beneath", from, to] => Op::MoveMountBeneath { from: handle(from)?, to: handle(to)? },
        ["set-group", from, to] => Op::SetGroup { from: handle(from)?, to: handle(to)? },
        ["umount-fd", at] => Op::Unmount { at: handle(at)?, detach: false },
        ["umount-fd", "-l", at] => Op::Unmount { at: handle(at)?, detach: true },
        ["set", "-r", mount, ref what @ ..] => set(handle(mount)?, true, what)?,
        ["set", mount, ref what @ ..] => set(handle(mount)?, false, what)?,
        _ => return None,
    })
}

fn remount(options: &str, target: PathBuf) -> Option<Op> {
    let (mut attributes, mut bind) = (Attributes::default(), false);
    for word in options.strip_prefix("remount,")?.split(',') {
        match word {
            "bind" => bind = true,
            "ro" => attributes.read_only = true,
            "rw" => attributes.read_only = false,
            "nosuid" => attributes.no_suid = true,
            _ => return None,
        }
    }
    Some(Op::Remount { target, attributes, bind })
}

fn set(mount: Handle, recursive: bool, what: &[&str]) -> Option<Op> {
    let (mut set, mut clear) = (Attributes::default(), Attributes::default());
    let mut propagation = None;
    for word in what {
        match *word {
            "ro" => set.read_only = true,
            "rw" => clear.read_only = true,
            "nosuid" => set.no_suid = true,
            "suid" => clear.no_suid = true,
            word => propagation = Some(type_of(word)?),
        }
    }
    Some(Op::SetAttributes { mount, recursive, set, clear, propagation })
}

/// mount(2) of a tmpfs.
pub(crate) fn new_tmpfs(target: PathBuf) -> Op {
    let (fs_type, source) = ("tmpfs".to_owned(), "none".to_owned());
    Op::Mount { fs_type, source, target, attributes: Attributes::default() }
}

/// fsmount(2) of a tmpfs.
pub(crate) fn new_detached(out: Handle) -> Op {
    let (fs_type, source) = ("tmpfs".to_owned(), "none".to_owned());
    Op::NewFileSystem { fs_type, source, options: Vec::new(), attributes: Attributes::default(), out }
}

/// Holds a place.
pub(crate) fn open(out: Handle, path: &Path) -> Op {
    Op::Open { root: Handle::HOST, path: path.to_path_buf(), follow: true, missing: None, out }
}
