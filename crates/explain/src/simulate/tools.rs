//! umount(8) and pivot_root(8) of util-linux 2.38, and mkdir, touch, rmdir and mv of the GNU coreutils: their
//! arguments.

use super::ScriptFault;
use super::options::{self, Given, Spec, Takes};
use std::path::PathBuf;

/// What a line comes to that is not `mount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ToolLine {
    Unmount(Unmount),
    PivotRoot {
        new_root: PathBuf,
        put_old: PathBuf,
    },
    MakeDirectories {
        paths: Vec<PathBuf>,
        parents: bool,
    },
    Touch {
        paths: Vec<PathBuf>,
        create: bool,
    },
    RemoveDirectories {
        paths: Vec<PathBuf>,
        parents: bool,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        into: bool,
    },
    /// The tool says no before it makes a call.
    Refused(String),
    /// It only tells.
    Nothing,
}

/// `umount`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unmount {
    /// As written: perhaps the source of a mount.
    pub(crate) targets: Vec<String>,
    pub(crate) lazy: bool,
    pub(crate) recursive: bool,
    /// Read-only where it is busy.
    pub(crate) or_read_only: bool,
    /// Nothing that makes it look into the mount table even for an absolute path.
    pub(crate) plain: bool,
}

const NO: Takes = Takes::Nothing;

const UMOUNT: &[Spec] = &[
    (Some('a'), &["all"], NO),
    (Some('A'), &["all-targets"], NO),
    (Some('c'), &["no-canonicalize"], NO),
    (Some('d'), &["detach-loop"], NO),
    (None, &["fake"], NO),
    (Some('f'), &["force"], NO),
    (Some('h'), &["help"], NO),
    (Some('i'), &["internal-only"], NO),
    (Some('l'), &["lazy"], NO),
    (Some('n'), &["no-mtab"], NO),
    (Some('q'), &["quiet"], NO),
    (Some('r'), &["read-only"], NO),
    (Some('R'), &["recursive"], NO),
    (Some('O'), &["test-opts"], Takes::Argument),
    (Some('t'), &["types"], Takes::Argument),
    (Some('v'), &["verbose"], NO),
    (Some('V'), &["version"], NO),
    (Some('N'), &["namespace"], Takes::Argument),
];

const EXCLUSIVE: [&[&str]; 4] = [
    &["all", "all-targets"],
    &["all", "recursive"],
    &["recursive", "test-opts", "types"],
    &["read-only", "recursive"],
];

const HELP: Spec = (Some('h'), &["help"], NO);
const VERSION: Spec = (Some('V'), &["version"], NO);
const PIVOT_ROOT: &[Spec] = &[HELP, VERSION];
const LONG_HELP: Spec = (None, &["help"], NO);
const LONG_VERSION: Spec = (None, &["version"], NO);
const MKDIR: &[Spec] = &[
    (Some('p'), &["parents"], NO),
    (Some('m'), &["mode"], Takes::Argument),
    (Some('v'), &["verbose"], NO),
    LONG_HELP,
    LONG_VERSION,
];
const RMDIR: &[Spec] = &[
    (Some('p'), &["parents"], NO),
    (Some('v'), &["verbose"], NO),
    (None, &["ignore-fail-on-non-empty"], NO),
    LONG_HELP,
    LONG_VERSION,
];
const TOUCH: &[Spec] = &[
    (Some('a'), &["a"], NO),
    (Some('c'), &["no-create"], NO),
    (Some('f'), &["f"], NO),
    (Some('m'), &["m"], NO),
    LONG_HELP,
    LONG_VERSION,
];
const MV: &[Spec] = &[
    (Some('f'), &["force"], NO),
    (Some('n'), &["no-clobber"], NO),
    (Some('T'), &["no-target-directory"], NO),
    (Some('v'), &["verbose"], NO),
    LONG_HELP,
    LONG_VERSION,
];

fn read_options(words: &[String], specs: &'static [Spec]) -> Result<Given, ToolLine> {
    let given = options::read(words, specs).map_err(ToolLine::Refused)?;
    if given.has("help") || given.has("version") { Err(ToolLine::Nothing) } else { Ok(given) }
}

fn refused(text: &str) -> ToolLine {
    ToolLine::Refused(text.to_owned())
}

fn paths(given: &Given) -> Vec<PathBuf> {
    given.operands.iter().map(PathBuf::from).collect()
}

/// Reads the words after `umount`.
pub(crate) fn umount(words: &[String]) -> Result<ToolLine, ScriptFault> {
    let given = match read_options(words, UMOUNT) {
        Ok(given) => given,
        Err(line) => return Ok(line),
    };
    for names in EXCLUSIVE {
        if names.iter().filter(|name| given.has(name)).count() > 1 {
            return Ok(ToolLine::Refused(format!("mutually exclusive arguments: {}", names.join(" "))));
        }
    }
    if let Some(name) = ["all", "all-targets", "namespace"].into_iter().find(|name| given.has(name)) {
        return Err(ScriptFault(format!("umount --{name} is not simulated")));
    }
    if given.operands.is_empty() {
        return Ok(refused("bad usage"));
    }
    if given.has("fake") {
        return Ok(ToolLine::Nothing);
    }
    let indirect = ["lazy", "force", "no-canonicalize", "detach-loop"];
    Ok(ToolLine::Unmount(Unmount {
        lazy: given.has("lazy"),
        recursive: given.has("recursive"),
        or_read_only: given.has("read-only"),
        plain: !indirect.iter().any(|name| given.has(name)),
        targets: given.operands,
    }))
}

/// Reads the words after another command's name.
pub(crate) fn other(tool: &str, words: &[String]) -> Result<ToolLine, ScriptFault> {
    let line = match tool {
        "pivot_root" => pivot_root(words),
        "mkdir" => mkdir(words),
        "rmdir" => rmdir(words),
        "touch" => touch(words),
        "mv" => return mv(words),
        _ => return Err(ScriptFault(format!("no such command: {tool}"))),
    };
    Ok(line.unwrap_or_else(|line| line))
}

fn pivot_root(words: &[String]) -> Result<ToolLine, ToolLine> {
    let given = read_options(words, PIVOT_ROOT)?;
    match given.operands.as_slice() {
        [new_root, put_old] => Ok(ToolLine::PivotRoot { new_root: new_root.into(), put_old: put_old.into() }),
        _ => Err(refused("bad usage")),
    }
}

fn mkdir(words: &[String]) -> Result<ToolLine, ToolLine> {
    let given = read_options(words, MKDIR)?;
    match paths(&given) {
        paths if paths.is_empty() => Err(refused("missing operand")),
        paths => Ok(ToolLine::MakeDirectories { paths, parents: given.has("parents") }),
    }
}

fn rmdir(words: &[String]) -> Result<ToolLine, ToolLine> {
    let given = read_options(words, RMDIR)?;
    match paths(&given) {
        paths if paths.is_empty() => Err(refused("missing operand")),
        paths => Ok(ToolLine::RemoveDirectories { paths, parents: given.has("parents") }),
    }
}

fn touch(words: &[String]) -> Result<ToolLine, ToolLine> {
    let given = read_options(words, TOUCH)?;
    match paths(&given) {
        paths if paths.is_empty() => Err(refused("missing file operand")),
        paths => Ok(ToolLine::Touch { paths, create: !given.has("no-create") }),
    }
}

fn mv(words: &[String]) -> Result<ToolLine, ScriptFault> {
    let given = match read_options(words, MV) {
        Ok(given) => given,
        Err(line) => return Ok(line),
    };
    if given.has("no-clobber") {
        return Err(ScriptFault("mv --no-clobber is not simulated".to_owned()));
    }
    match given.operands.as_slice() {
        [from, to] => {
            Ok(ToolLine::Rename { from: from.into(), to: to.into(), into: !given.has("no-target-directory") })
        }
        [] | [_] => Ok(refused("missing file operand")),
        _ => Err(ScriptFault("mv of several things at once is not simulated: a line each".to_owned())),
    }
}
