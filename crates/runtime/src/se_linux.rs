//! SELinux: the label that a container's processes and files get where `seLinuxOptions` asks for one and the machine has
//! SELinux. Where it has not they do nothing, as in Kubernetes, and that is said.
//!
//! What is not said is taken from the policy's own file for containers (`lxc_contexts`, selinux_lxc_contexts_path(3)), as
//! container runtimes do. The processes' label is written by the host's `/proc` before any namespace is entered, as
//! AppArmor's is; the files' label is that of the file systems that are made for the container (`context=` of mount(8)).
//! Volumes keep the labels that they have.

use crate::error::{Step, StepFailure};
use manifest::cri::SeLinuxOption;
use rustix::io::Errno;
use std::path::Path;
use subtree_model::Op;

/// Without a policy that says otherwise: the labels of Fedora's policy, which others have too.
const PROCESS: &str = "system_u:system_r:container_t:s0";
const FILES: &str = "system_u:object_r:container_file_t:s0";

/// The labels of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Labels {
    /// Of its processes.
    pub(crate) process: String,
    /// Of the files on the file systems that are made for it.
    pub(crate) files: String,
}

/// The labels to take, and what the user should know instead.
pub(crate) fn labels(wanted: Option<&SeLinuxOption>) -> (Option<Labels>, Option<String>) {
    let Some(wanted) = wanted else { return (None, None) };
    if !Path::new("/sys/fs/selinux/enforce").exists() {
        return (None, Some("seLinuxOptions do nothing: this machine has no SELinux".to_owned()));
    }
    let config = std::fs::read_to_string("/etc/selinux/config").unwrap_or_default();
    let policy = value_of(&config, "SELINUXTYPE").unwrap_or_else(|| "targeted".to_owned());
    let contexts = format!("/etc/selinux/{policy}/contexts/lxc_contexts");
    (Some(choose(wanted, &std::fs::read_to_string(contexts).unwrap_or_default())), None)
}

/// The value of a `key = "value"` line.
fn value_of(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
    })
}

fn choose(wanted: &SeLinuxOption, contexts: &str) -> Labels {
    let base = |key: &str, default: &str| value_of(contexts, key).unwrap_or_else(|| default.to_owned());
    let process = base("process", PROCESS);
    let files = base("file", FILES);
    let files_as = SeLinuxOption { level: wanted.level.clone(), ..SeLinuxOption::default() };
    Labels { process: with(&process, wanted), files: with(&files, &files_as) }
}

/// `user:role:type:level`, with what is asked for in its place.
fn with(base: &str, wanted: &SeLinuxOption) -> String {
    let parts: Vec<&str> = base.splitn(4, ':').collect();
    let asked = [&wanted.user, &wanted.role, &wanted.type_, &wanted.level];
    let chosen = asked.iter().enumerate().filter_map(|(index, asked)| match asked.is_empty() {
        true => parts.get(index).copied(),
        false => Some(asked.as_str()),
    });
    chosen.collect::<Vec<_>>().join(":")
}

/// Labels the file systems that the operations make, where the kernel keeps labels for them.
pub(crate) fn label_file_systems(ops: &mut [Op], files: &str) {
    for op in ops {
        if let Op::NewFileSystem { fs_type, options, .. } = op
            && ["overlay", "tmpfs", "devpts"].contains(&fs_type.as_str())
        {
            options.push(("context".to_owned(), Some(files.to_owned())));
        }
    }
}

/// In the child, while `/proc` is still the host's: the label that the next execve(2) gives.
pub(crate) fn change_at_exec(label: &str) -> Result<(), StepFailure> {
    let place = "/proc/thread-self/attr/exec";
    std::fs::write(place, label).map_err(|error| {
        StepFailure::at(Step::SeLinux, place, Errno::from_io_error(&error).unwrap_or(Errno::IO))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use subtree_model::{Attributes, Handle};

    fn option(level: &str, type_: &str) -> SeLinuxOption {
        SeLinuxOption { level: level.into(), type_: type_.into(), ..SeLinuxOption::default() }
    }

    #[test]
    fn what_is_not_said_is_the_policys() {
        let policy = "# x\nprocess = \"a_u:a_r:a_t:s0\"\nfile = \"a_u:object_r:a_file_t:s0\"\n";
        let labels = choose(&option("s0:c1,c2", "spc_t"), policy);
        assert_eq!(labels.process, "a_u:a_r:spc_t:s0:c1,c2");
        assert_eq!(labels.files, "a_u:object_r:a_file_t:s0:c1,c2");
        let whole = SeLinuxOption { user: "u".into(), role: "r".into(), ..option("", "") };
        let labels = choose(&whole, "");
        assert_eq!((labels.process.as_str(), labels.files.as_str()), ("u:r:container_t:s0", FILES));
        assert_eq!(super::labels(None), (None, None));
    }

    #[test]
    fn only_file_systems_with_labels_get_one() {
        let new = |fs_type: &str| Op::NewFileSystem {
            fs_type: fs_type.into(),
            source: fs_type.into(),
            options: Vec::new(),
            attributes: Attributes::NONE,
            out: Handle::HOST,
        };
        let mut ops = [new("overlay"), new("proc"), Op::UnshareMounts];
        label_file_systems(&mut ops, "x");
        let Op::NewFileSystem { options, .. } = &ops[0] else { panic!("{ops:?}") };
        assert_eq!(options[..], [("context".to_owned(), Some("x".to_owned()))]);
        assert_eq!(ops[1], new("proc"));
    }
}
