//! mount(8) of util-linux 2.38: from its arguments to the system calls that it makes. Read in its sources
//! (`sys-utils/mount.c`, `libmount/src/context_mount.c`, `libmount/src/optstr.c`) and seen with strace(1).
//!
//! Its options become one list. Words that the kernel has as flags are taken from the list by bit: of two words with
//! a common bit only the first is kept, `MS_REC` excepted. The propagation types that are kept make a call each,
//! after the first; attributes beside `bind` make one more, at the end.

use super::ScriptFault;
use super::options::{self, Given, Spec, Takes};
use std::path::PathBuf;
use subtree_model::{Attributes, PropagationType};

/// What a line with `mount` comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MountLine {
    /// Calls, in order; the first that fails is the last.
    Calls {
        /// `X-mount.mkdir`: the target is made first if it is missing.
        make_target: Option<PathBuf>,
        calls: Vec<MountCall>,
    },
    /// The tool says no before it makes a call.
    Refused(String),
    /// It only tells, or does nothing.
    Nothing,
}

/// A call of mount(2) (move_mount(2) for [`MountCall::MoveBeneath`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MountCall {
    New {
        types: Types,
        source: String,
        target: PathBuf,
        attributes: Attributes,
        data: Vec<String>,
    },
    Bind {
        source: PathBuf,
        target: PathBuf,
        recursive: bool,
    },
    Move {
        source: PathBuf,
        target: PathBuf,
    },
    MoveBeneath {
        source: PathBuf,
        target: PathBuf,
    },
    ChangeType {
        target: PathBuf,
        to: PropagationType,
        recursive: bool,
    },
    /// `asked` is what the line says, in order; with `known` the mount's own attributes come before.
    Remount {
        target: PathBuf,
        bind: bool,
        asked: Vec<(Attribute, bool)>,
        known: bool,
    },
}

/// Which file systems are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Types {
    /// These, until one succeeds.
    Listed(Vec<String>),
    /// None was said (or only what not to try): those of /proc/filesystems that are made of a block device.
    Guessed,
}

/// An attribute of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribute {
    ReadOnly,
    NoSuid,
    NoDev,
    NoExec,
    /// Access times, synchronous writing and others that the model does not follow: that one is set.
    Other,
}

impl Attribute {
    pub(crate) fn set(self, attributes: &mut Attributes, on: bool) {
        match self {
            Attribute::ReadOnly => attributes.read_only = on,
            Attribute::NoSuid => attributes.no_suid = on,
            Attribute::NoDev => attributes.no_dev = on,
            Attribute::NoExec => attributes.no_exec = on,
            Attribute::Other => {}
        }
    }
}

const NO: Takes = Takes::Nothing;
const SPECS: &[Spec] = &[
    (Some('a'), &["all"], NO),
    (Some('B'), &["bind"], NO),
    (Some('c'), &["no-canonicalize"], NO),
    (Some('f'), &["fake"], NO),
    (Some('F'), &["fork"], NO),
    (Some('h'), &["help"], NO),
    (Some('i'), &["internal-only"], NO),
    (Some('l'), &["show-labels"], NO),
    (Some('L'), &["label"], Takes::Argument),
    (Some('m'), &["mkdir"], Takes::Perhaps),
    (Some('M'), &["move"], NO),
    (Some('n'), &["no-mtab"], NO),
    (Some('N'), &["namespace"], Takes::Argument),
    (Some('o'), &["options"], Takes::Argument),
    (Some('O'), &["test-opts"], Takes::Argument),
    (Some('r'), &["read-only", "ro"], NO),
    (Some('R'), &["rbind"], NO),
    (Some('s'), &["sloppy"], NO),
    (Some('t'), &["types"], Takes::Argument),
    (Some('T'), &["fstab"], Takes::Argument),
    (Some('U'), &["uuid"], Takes::Argument),
    (Some('v'), &["verbose"], NO),
    (Some('V'), &["version"], NO),
    (Some('w'), &["read-write", "rw"], NO),
    (None, &["make-shared"], NO),
    (None, &["make-slave"], NO),
    (None, &["make-private"], NO),
    (None, &["make-unbindable"], NO),
    (None, &["make-rshared"], NO),
    (None, &["make-rslave"], NO),
    (None, &["make-rprivate"], NO),
    (None, &["make-runbindable"], NO),
    (None, &["source"], Takes::Argument),
    (None, &["target"], Takes::Argument),
    (None, &["target-prefix"], Takes::Argument),
    (None, &["options-mode"], Takes::Argument),
    (None, &["options-source"], Takes::Argument),
    (None, &["options-source-force"], NO),
    // Not of 2.38: later versions have it, and scripts may.
    (None, &["beneath"], NO),
];

/// Options about what a simulation does not have: fstab(5), other processes' namespaces, block devices.
const NOT_SIMULATED: [&str; 7] =
    ["all", "namespace", "test-opts", "fstab", "target-prefix", "options-source", "options-source-force"];

/// `MS_*` that decide something here; the kernel's numbers.
mod flag {
    pub(super) const REMOUNT: u32 = 1 << 5;
    pub(super) const BIND: u32 = 1 << 12;
    pub(super) const MOVE: u32 = 1 << 13;
    pub(super) const REC: u32 = 1 << 14;
    pub(super) const UNBINDABLE: u32 = 1 << 17;
    pub(super) const PRIVATE: u32 = 1 << 18;
    pub(super) const SLAVE: u32 = 1 << 19;
    pub(super) const SHARED: u32 = 1 << 20;
    pub(super) const PROPAGATION: u32 = UNBINDABLE | PRIVATE | SLAVE | SHARED;
}

/// A word of an option list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Flags(u32),
    Attribute(Attribute, bool),
    /// Of mount(8) itself.
    Own,
    /// `user` and the like imply nosuid, nodev and, the first two, noexec.
    Implies {
        no_exec: bool,
    },
    /// Of the file system.
    Data,
}

fn kind(word: &str) -> Kind {
    use Kind::{Flags, Own};
    let attribute = |which, on| Kind::Attribute(which, on);
    match word {
        "remount" => Flags(flag::REMOUNT),
        "bind" => Flags(flag::BIND),
        "rbind" => Flags(flag::BIND | flag::REC),
        "shared" => Flags(flag::SHARED),
        "slave" => Flags(flag::SLAVE),
        "private" => Flags(flag::PRIVATE),
        "unbindable" => Flags(flag::UNBINDABLE),
        "rshared" => Flags(flag::SHARED | flag::REC),
        "rslave" => Flags(flag::SLAVE | flag::REC),
        "rprivate" => Flags(flag::PRIVATE | flag::REC),
        "runbindable" => Flags(flag::UNBINDABLE | flag::REC),
        "ro" => attribute(Attribute::ReadOnly, true),
        "rw" => attribute(Attribute::ReadOnly, false),
        "nosuid" => attribute(Attribute::NoSuid, true),
        "suid" => attribute(Attribute::NoSuid, false),
        "nodev" => attribute(Attribute::NoDev, true),
        "dev" => attribute(Attribute::NoDev, false),
        "noexec" => attribute(Attribute::NoExec, true),
        "exec" => attribute(Attribute::NoExec, false),
        "sync" | "dirsync" | "silent" | "mand" | "noatime" | "iversion" | "nodiratime" | "relatime"
        | "strictatime" | "lazytime" | "nosymfollow" => attribute(Attribute::Other, true),
        "async" | "loud" | "nomand" | "atime" | "noiversion" | "diratime" | "norelatime"
        | "nostrictatime" | "nolazytime" | "symfollow" => attribute(Attribute::Other, false),
        "user" | "users" => Kind::Implies { no_exec: true },
        "owner" | "group" => Kind::Implies { no_exec: false },
        "defaults" | "auto" | "noauto" | "nouser" | "nousers" | "noowner" | "nogroup" | "_netdev"
        | "nofail" | "" => Own,
        word if word.starts_with("x-") || word.starts_with("X-") || word.starts_with("comment=") => Own,
        word if word.starts_with("user=") => Own,
        _ => Kind::Data,
    }
}

/// What the words of all options come to.
#[derive(Debug, Default)]
struct Merged {
    flags: u32,
    asked: Vec<(Attribute, bool)>,
    data: Vec<String>,
    propagation: Vec<u32>,
    make_target: bool,
}

impl Merged {
    fn of(words: &[String]) -> Merged {
        let mut merged = Merged::default();
        for word in words {
            merged.make_target |= word == "X-mount.mkdir" || word.starts_with("X-mount.mkdir=");
            match kind(word) {
                Kind::Flags(flags) => merged.flags |= flags,
                Kind::Attribute(which, on) => merged.asked.push((which, on)),
                Kind::Implies { no_exec } => {
                    merged.asked.extend([(Attribute::NoSuid, true), (Attribute::NoDev, true)]);
                    merged.asked.extend(no_exec.then_some((Attribute::NoExec, true)));
                }
                Kind::Own => {}
                Kind::Data => merged.data.push(word.clone()),
            }
        }
        merged.take_propagation(words);
        merged
    }

    /// Propagation types leave the first call for calls of their own, as the list has them after words without
    /// bits of their own were dropped.
    fn take_propagation(&mut self, words: &[String]) {
        if self.flags & flag::PROPAGATION == 0 {
            return;
        }
        let (mut free, mut recursive) = (self.flags, 0);
        for word in words {
            let Kind::Flags(flags) = kind(word) else { continue };
            let kept = free & flags == flags;
            free &= !flags;
            free |= flags & flag::REC;
            if !kept {
                continue;
            }
            recursive += u32::from(flags & flag::REC != 0);
            if flags & flag::PROPAGATION != 0 {
                self.propagation.push(flags);
                self.flags &= !flags;
                recursive -= u32::from(flags & flag::REC != 0);
            }
        }
        if recursive > 0 {
            self.flags |= flag::REC;
        }
    }

    fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::default();
        self.asked.iter().for_each(|(which, on)| which.set(&mut attributes, *on));
        attributes
    }

    /// Whether an attribute is left set, of those that the model follows and the others.
    fn sets_attributes(&self) -> bool {
        let other = self.asked.iter().rev().find(|(which, _)| *which == Attribute::Other);
        self.attributes() != Attributes::default() || other.is_some_and(|(_, on)| *on)
    }
}

/// Reads the words after `mount`.
pub(crate) fn read(words: &[String]) -> Result<MountLine, ScriptFault> {
    let given = match options::read(words, SPECS) {
        Ok(given) => given,
        Err(said) => return Ok(MountLine::Refused(said)),
    };
    if let Some((name, _)) = given.options.iter().find(|(name, _)| NOT_SIMULATED.contains(name)) {
        return Err(ScriptFault(format!("mount --{name} is not simulated")));
    }
    if given.has("help") || given.has("version") {
        return Ok(MountLine::Nothing);
    }
    match Arguments::of(&given) {
        Ok(arguments) => arguments.line(&given),
        Err(said) => Ok(MountLine::Refused(said)),
    }
}

/// What the arguments name.
struct Arguments {
    source: Option<String>,
    target: Option<String>,
    /// `--bind`, `--rbind`, `--move` or `-o move`, but not `-o bind`.
    operation: bool,
    moves: bool,
    /// The words of all option lists.
    words: Vec<String>,
}

const BAD_USAGE: &str = "bad usage";

impl Arguments {
    fn of(given: &Given) -> Result<Arguments, String> {
        let mut found =
            Arguments { source: None, target: None, operation: false, moves: false, words: Vec::new() };
        let mut exclusive: Vec<&str> = Vec::new();
        for (name, value) in &given.options {
            if matches!(*name, "bind" | "rbind" | "move") && !exclusive.contains(name) {
                exclusive.push(name);
            }
            found.take(name, value.as_deref());
        }
        if exclusive.len() > 1 {
            return Err("mutually exclusive arguments: --bind --move --rbind".to_owned());
        }
        if given.has("label") || given.has("uuid") {
            return Err("no file system has such a label or UUID".to_owned());
        }
        if found.operation && (given.has("types") || found.source.is_some()) {
            return Err(BAD_USAGE.to_owned());
        }
        match given.operands.as_slice() {
            [] => {}
            [one] if found.target.is_some() && found.source.is_none() => found.source = Some(one.clone()),
            [one] if found.target.is_none() => found.target = Some(one.clone()),
            [source, target] if found.source.is_none() && found.target.is_none() => {
                (found.source, found.target) = (Some(source.clone()), Some(target.clone()));
            }
            _ => return Err(BAD_USAGE.to_owned()),
        }
        Ok(found)
    }

    fn take(&mut self, name: &str, value: Option<&str>) {
        match (name, value) {
            ("bind" | "rbind", _) => {
                self.operation = true;
                self.words.push(name.to_owned());
            }
            ("move", _) => (self.operation, self.moves) = (true, true),
            ("read-only", _) => self.words.push("ro".to_owned()),
            ("read-write", _) => self.words.push("rw".to_owned()),
            ("mkdir", _) => self.words.push("X-mount.mkdir".to_owned()),
            ("options", Some(list)) => {
                for word in split_options(list) {
                    if word == "move" {
                        (self.operation, self.moves) = (true, true);
                    } else {
                        self.words.push(word);
                    }
                }
            }
            ("source", Some(source)) => self.source = Some(source.to_owned()),
            ("target", Some(target)) => self.target = Some(target.to_owned()),
            (name, _) => self.words.extend(name.strip_prefix("make-").map(str::to_owned)),
        }
    }

    fn line(self, given: &Given) -> Result<MountLine, ScriptFault> {
        if self.source.is_none() && self.target.is_none() {
            let lists = !self.operation && self.words.is_empty() && !given.has("beneath");
            let refused = MountLine::Refused(BAD_USAGE.to_owned());
            return Ok(if lists { MountLine::Nothing } else { refused });
        }
        if let Some(word) = self.words.iter().find(|word| *word == "loop" || word.starts_with("loop=")) {
            return Err(ScriptFault(format!("-o {word} needs a loop device, which is not simulated")));
        }
        if given.has("beneath") {
            return self.beneath(given);
        }
        let merged = Merged::of(&self.words);
        let remounts = merged.flags & flag::REMOUNT != 0;
        let propagation = given.options.iter().any(|(name, _)| name.starts_with("make-"));
        // Then neither fstab nor the mount table is looked at.
        let no_table = (self.operation && !remounts) || propagation;
        let Some(target) = self.target else {
            return Ok(MountLine::Refused("can't find in /etc/fstab".to_owned()));
        };
        if self.source.is_none() && !no_table && !remounts {
            return Ok(MountLine::Refused("can't find in /etc/fstab".to_owned()));
        }
        if self.source.is_none() && self.moves {
            return Ok(MountLine::Refused("mount failed: Invalid argument".to_owned()));
        }
        if self.source.as_deref().is_some_and(is_tag) {
            return Ok(MountLine::Refused("no file system has such a label or UUID".to_owned()));
        }
        if given.has("fake") {
            return Ok(MountLine::Nothing);
        }
        let known = remounts && self.source.is_none() && !no_table;
        let types = given.options.iter().rev().find(|(name, _)| *name == "types");
        let types = types.and_then(|(_, types)| types.as_deref()).unwrap_or("");
        let make_target = merged.make_target.then(|| PathBuf::from(&target));
        let calls = calls(&merged, self.source.as_deref(), &target, self.moves, known, types);
        Ok(MountLine::Calls { make_target, calls })
    }

    fn beneath(self, given: &Given) -> Result<MountLine, ScriptFault> {
        let plain = self.words.is_empty() && !given.has("types");
        match (self.source, self.target) {
            (Some(source), Some(target)) if plain => Ok(MountLine::Calls {
                make_target: None,
                calls: vec![MountCall::MoveBeneath { source: source.into(), target: target.into() }],
            }),
            (Some(_), Some(_)) => {
                Err(ScriptFault("mount --beneath is simulated for moving an existing mount only".to_owned()))
            }
            _ => Ok(MountLine::Refused(BAD_USAGE.to_owned())),
        }
    }
}

/// A list of options; a comma in quotes is none.
fn split_options(list: &str) -> Vec<String> {
    let mut quoted = false;
    let parts = list.split(|letter| {
        quoted ^= letter == '"';
        letter == ',' && !quoted
    });
    parts.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn is_tag(source: &str) -> bool {
    ["LABEL=", "UUID=", "PARTLABEL=", "PARTUUID=", "ID="].iter().any(|tag| source.starts_with(tag))
}

fn calls(
    merged: &Merged,
    source: Option<&str>,
    target: &str,
    moves: bool,
    known: bool,
    types: &str,
) -> Vec<MountCall> {
    let target = PathBuf::from(target);
    let has = |bit: u32| merged.flags & bit != 0;
    // Several types are a pattern for what is guessed, as is what not to try.
    let is_one_type = !matches!(types, "" | "auto") && !types.starts_with("no") && !types.contains(',');
    let types = match types {
        "" | "auto" => Types::Guessed,
        negative if negative.starts_with("no") => Types::Guessed,
        list => Types::Listed(list.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect()),
    };
    let changes = merged.propagation.iter().map(|&flags| MountCall::ChangeType {
        target: target.clone(),
        to: propagation_type(flags),
        recursive: flags & flag::REC != 0,
    });
    let only_propagation = !merged.propagation.is_empty()
        && merged.flags == 0
        && !moves
        && !merged.sets_attributes()
        && !is_one_type
        && source.is_none_or(|source| source == "none");
    if only_propagation {
        return changes.collect();
    }
    let path = || PathBuf::from(source.unwrap_or("none"));
    // In the order in which the kernel looks at the flags.
    let first = if has(flag::REMOUNT) {
        let (bind, asked) = (has(flag::BIND), merged.asked.clone());
        MountCall::Remount { target: target.clone(), bind, asked, known }
    } else if has(flag::BIND) {
        MountCall::Bind { source: path(), target: target.clone(), recursive: has(flag::REC) }
    } else if moves || has(flag::MOVE) {
        MountCall::Move { source: path(), target: target.clone() }
    } else {
        MountCall::New {
            types,
            source: source.unwrap_or("none").to_owned(),
            target: target.clone(),
            attributes: merged.attributes(),
            data: merged.data.clone(),
        }
    };
    let binds = matches!(first, MountCall::Bind { .. });
    let mut calls: Vec<MountCall> = std::iter::once(first).chain(changes).collect();
    if binds && merged.sets_attributes() {
        calls.push(MountCall::Remount { target, bind: true, asked: merged.asked.clone(), known: false });
    }
    calls
}

fn propagation_type(flags: u32) -> PropagationType {
    match flags & flag::PROPAGATION {
        flag::SHARED => PropagationType::Shared,
        flag::SLAVE => PropagationType::Slave,
        flag::UNBINDABLE => PropagationType::Unbindable,
        _ => PropagationType::Private,
    }
}
