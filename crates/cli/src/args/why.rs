//! Arguments of the commands that ask why mounts are (not) somewhere, and of the one that changes it.

use super::{Document, NodeSource};
use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;

/// `rhizome why` and `rhizome why-not`
#[derive(Debug, Args)]
#[command(after_help = "\
A TARGET is `host`, POD[/CONTAINER], pid:N (the mount namespace of a process) or ns:ID (its number, as in
/proc/PID/ns/mnt). Without --in it is asked whether a volume of the path could propagate at all.

Exit status of why: 0 visible, 1 not, 2 it could not be found out; of why-not: 0 not visible, 1 visible.

Examples:
  rhizome why-not /mnt/data --in mount-a     Why the container does not see what is mounted there
  rhizome why /mnt/old --in mount-a          Why it still has what the host unmounted
  rhizome why-not /home/x --from mount-a --in host
                                             Why the host does not see what the container mounted
  rhizome why /run/netns                     Why a runtime says \"is not a shared mount\"")]
pub(crate) struct Why {
    /// The path, as it is called on the host (or in --from)
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) path: PathBuf,
    /// Where it should be visible
    #[arg(long = "in", value_name = "TARGET")]
    pub(crate) into: Option<String>,
    /// Where the path is meant
    #[arg(long, value_name = "TARGET", default_value = "host")]
    pub(crate) from: String,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Document::Table)]
    pub(crate) output: Document,
    #[command(flatten)]
    pub(crate) node: NodeSource,
}

/// `rhizome mend`
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is changed if any of the mounts that the mend is about is not as it was when it was advised. Before, it is
said what will be touched in every mount namespace; afterwards, what was.

Exit status: 0 done (or would be), 1 refused, because something has changed or the kernel says no, 2 an error.

Examples:
  rhizome mend --dry-run target-private-1c0ffee1    Only what would be touched
  rhizome mend target-private-1c0ffee1              As `rhizome why-not` named it
  rhizome why-not -o json /mnt/x --in a | rhizome mend -
                                                    The first mend of an answer that was kept")]
pub(crate) struct Mend {
    /// A mend's name, as it was advised; `-` or a file with the JSON of an answer or of findings: its first mend
    #[arg(value_name = "MEND")]
    pub(crate) mend: String,
    /// Only say what would be touched
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `rhizome audit`
#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 nothing found, 1 something, 2 it could not be found out.

Examples:
  rhizome audit                          The whole node, whatever runs its containers
  rhizome audit mount-a                  Only the mount namespaces of this pod
  rhizome audit -o sarif > audit.sarif   For code scanning and the like
  rhizome audit -o json | jq -r '.findings[].mends[].id // empty'
                                         What `rhizome mend` can make of it")]
pub(crate) struct Audit {
    /// Only these mount namespaces: host, POD[/CONTAINER], pid:N, ns:ID
    #[arg(value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    /// Whose mounts are the node's: containers are held against them
    #[arg(long, value_name = "TARGET", default_value = "host")]
    pub(crate) host: String,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = AuditFormat::Text)]
    pub(crate) output: AuditFormat,
    #[command(flatten)]
    pub(crate) node: NodeSource,
}

/// How `rhizome audit` prints findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuditFormat {
    /// For reading
    Text,
    /// JSON
    Json,
    /// SARIF 2.1.0
    Sarif,
}

/// `rhizome graph`
#[derive(Debug, Args)]
#[command(after_help = "\
Without arguments: all that is tied to the host over peer groups, namespaces that look alike drawn once. The page (-o html) is
one file, in which names can be searched (/), a click brings a group forward, and the wheel zooms.

Examples:
  rhizome graph                          In the terminal
  rhizome graph -o html > node.html      A page to look around in
  rhizome graph /mnt -o svg > mnt.svg    Where /mnt goes, and what is mounted below it
  rhizome graph mount-a mount-b          Two pods, and who is tied to them")]
pub(crate) struct Graph {
    /// A path of the host (with a slash at its beginning), or namespaces: POD[/CONTAINER], pid:N, ns:ID
    #[arg(value_name = "PATH|TARGET")]
    pub(crate) focus: Vec<String>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = GraphFormat::Text)]
    pub(crate) output: GraphFormat,
    /// Draw every namespace, also those that look like another
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Whose mounts are the host's
    #[arg(long, value_name = "TARGET", default_value = "host")]
    pub(crate) host: String,
    /// What stands above the picture [default: the name of this machine]
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    #[command(flatten)]
    pub(crate) node: NodeSource,
}

/// How `rhizome graph` draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// For the terminal
    Text,
    /// A picture
    Svg,
    /// A page
    Html,
    /// JSON
    Json,
}

/// `rhizome why-busy`
#[derive(Debug, Args)]
#[command(after_help = "\
Mounts in it, processes that use it (files, working and root directories, programs, mappings), copies in other namespaces that
the unmount would take along, loop devices, swap; and what keeps its file system in use after the unmount.
No file system is asked anything, so that one that hangs holds nobody up.

Exit status: 0 something holds it, 1 nothing does, 2 it could not be found out.

Examples:
  rhizome why-busy /mnt/disk              Why umount says `target is busy`
  rhizome why-busy /data --in mount-a     In a container")]
pub(crate) struct WhyBusy {
    /// A mount point, or a folder that cannot be removed
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) path: PathBuf,
    /// Where the path is meant
    #[arg(long = "in", value_name = "TARGET", default_value = "host")]
    pub(crate) into: String,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Document::Table)]
    pub(crate) output: Document,
}
