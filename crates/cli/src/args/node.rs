//! What commands that look at the whole node take.

use clap::{Args, ValueHint};
use std::path::PathBuf;
use view::mounts::Column;

/// Where the node is read from.
#[derive(Debug, Args)]
pub(crate) struct NodeSource {
    /// Ask a node that was taken away with `rhizome snapshot`; `-` is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) snapshot: Option<PathBuf>,
}

/// `rhizome mounts`
#[derive(Debug, Args)]
#[command(after_help = "\
A target is POD[/CONTAINER], the name or id of a container, pid:N, ns:ID or host; without one it is the mount namespace that \
this command is in. It works as any user, and says what it could not see.

Columns: OWNER NAMESPACE POD-NAMESPACE RUNTIME NS-AGE ID PARENT UNIQUE-ID TARGET SOURCE FSTYPE OPTIONS SUPER-OPTIONS \
MAJ:MIN FSROOT SHARED MASTER PROPAGATION

Examples:
  rhizome mounts mount-a                 What a pod's containers see, and with whom it is shared
  rhizome mounts -A -T /var/lib/kubelet  Everything at or below a path, in every namespace
  rhizome mounts -A --group 27           Who is in a peer group, and who receives from it
  rhizome mounts -A -t fuse -o wide      All FUSE mounts of the node, whosever they are
  rhizome mounts -o tree host            As a tree
  rhizome mounts -o +id,shared,master    With more columns
  rhizome mounts -A -o name              The namespaces, as targets of this and other commands")]
pub(crate) struct Mounts {
    /// Which mount namespaces
    #[arg(value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    /// All mount namespaces
    #[arg(short = 'A', long, conflicts_with = "targets")]
    pub(crate) all: bool,
    /// Output format: table, wide, tree, json, yaml, name, or +COLUMN,… for more columns
    #[arg(short, long, value_name = "FORMAT", value_parser = parse_format, default_value = "table")]
    pub(crate) output: MountFormat,
    /// No header line
    #[arg(long)]
    pub(crate) no_headers: bool,
    #[command(flatten)]
    pub(crate) filter: MountFilter,
    #[command(flatten)]
    pub(crate) from: NodeSource,
}

/// Which mounts; all that is said must hold.
#[derive(Debug, Args)]
#[command(next_help_heading = "Only mounts")]
pub(crate) struct MountFilter {
    /// Of these file system types (`fuse` is `fuse.sshfs` too), or of none of them with `no` before
    #[arg(short = 't', long = "type", value_name = "TYPE,…", value_delimiter = ',')]
    pub(crate) types: Vec<String>,
    /// With this source
    #[arg(short = 'S', long, value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    /// At or below this path of their namespace
    #[arg(short = 'T', long, value_name = "PATH")]
    pub(crate) target: Option<PathBuf>,
    /// In this peer group, or receiving from it
    #[arg(long, value_name = "N")]
    pub(crate) group: Option<u64>,
    /// In namespaces of this owner: host, container, service, processes, kept, or a runtime's name
    #[arg(long, value_name = "OWNER")]
    pub(crate) owner: Option<String>,
    /// With this propagation: shared, slave, private or unbindable
    #[arg(long, value_name = "TYPE", value_parser = ["shared", "slave", "private", "unbindable"])]
    pub(crate) propagation: Option<String>,
}

/// How mounts are printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MountFormat {
    /// Columns, with those that were asked for beside the usual ones
    Table(Vec<Column>),
    /// More columns
    Wide,
    /// A tree a namespace
    Tree,
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// One namespace a line
    Name,
}

fn parse_format(text: &str) -> Result<MountFormat, String> {
    Ok(match text {
        "table" => MountFormat::Table(Vec::new()),
        "wide" => MountFormat::Wide,
        "tree" => MountFormat::Tree,
        "json" => MountFormat::Json,
        "yaml" => MountFormat::Yaml,
        "name" => MountFormat::Name,
        _ => {
            let names =
                text.strip_prefix('+').ok_or("not table, wide, tree, json, yaml, name or +COLUMN,…")?;
            let column = |name: &str| {
                let unknown = || format!("there is no column {name:?}; `rhizome mounts --help` lists them");
                Column::parse(name).ok_or_else(unknown)
            };
            MountFormat::Table(names.split(',').map(column).collect::<Result<_, _>>()?)
        }
    })
}

/// `rhizome snapshot`
#[derive(Debug, Args)]
#[command(after_help = "\
The document is described in docs/reference/node-snapshot.md; every command with --snapshot takes it. It has the paths, \
names and sources of everything that is mounted: --pseudonymise gives them others before strangers see it.

Examples:
  rhizome snapshot -o before.json
  rhizome mounts --snapshot before.json -A -T /mnt
  rhizome diff before.json                 What has changed since
  rhizome snapshot --pseudonymise | gzip > for-the-report.json.gz")]
pub(crate) struct SnapshotArgs {
    /// Write to FILE, which only its owner can read; `-` is standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, default_value = "-")]
    pub(crate) output: PathBuf,
    /// Give paths, sources, processes, containers and pods other names, the same ones everywhere
    #[arg(long)]
    pub(crate) pseudonymise: bool,
}

/// `rhizome diff`
#[derive(Debug, Args)]
#[command(after_help = "\
Of one machine since it was started, mounts are matched by ids that are never reused, so that a move is a move; else by \
namespace and mount point.

Exit status: 0 no difference, 1 differences, 2 could not be read.

Examples:
  rhizome diff before.json after.json
  rhizome diff before.json          With this machine as it is now
  rhizome diff -o json a.json b.json | jq '.changed[].mounts'")]
pub(crate) struct Diff {
    /// Taken with `rhizome snapshot`
    #[arg(value_name = "BEFORE", value_hint = ValueHint::FilePath)]
    pub(crate) before: PathBuf,
    /// Also [default: this machine now]
    #[arg(value_name = "AFTER", value_hint = ValueHint::FilePath)]
    pub(crate) after: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = super::Document::Table)]
    pub(crate) output: super::Document,
}

/// `rhizome watch`
#[derive(Debug, Args)]
#[command(after_help = "\
A mount and its copies are one line: where it was done, where it arrived, and who has the same place and did not get it. On \
Linux 6.15 and later the kernel tells (fanotify), for root; else changed mount tables are read, and who mounted is not known.

Examples:
  rhizome watch                       Everything, until Ctrl-C
  rhizome watch --pod mount-a         What a pod has to do with
  rhizome watch -o json | jq -r 'select(.event == \"mount\") | .origin.mount.mount_point'")]
pub(crate) struct Watch {
    /// Only what this pod did, received or missed
    #[arg(long, value_name = "POD")]
    pub(crate) pod: Option<String>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = WatchFormat::Text)]
    pub(crate) output: WatchFormat,
    /// Read propagation types and options again every so many seconds: no event tells of them [default: 10, or less often
    /// where that would take more than half a thousandth of a processor]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) interval: Option<u64>,
    /// As on a kernel without events of mounts
    #[arg(long, hide = true)]
    pub(crate) by_polling: bool,
}

/// How events are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum WatchFormat {
    /// For reading
    Text,
    /// One JSON object a line
    Json,
}
