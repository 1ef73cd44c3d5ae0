//! Arguments of the commands about pods that are there.

use super::condition::{For, parse_timeout};
use super::{Document, Listing, Object};
use crate::detach::DetachKeys;
use crate::duration;
use clap::{Args, ValueHint};
use jiff::Timestamp;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// `rhizome ps`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rhizome ps                  Pods that run
  rhizome ps -aA -o wide      All pods of all namespaces, with addresses
  rhizome ps -o name | xargs rhizome rm -f")]
pub(crate) struct Ps {
    /// Only these pods
    #[arg(value_name = "POD")]
    pub(crate) pods: Vec<String>,
    /// Also pods that have ended
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Pods of all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Listing::Table)]
    pub(crate) output: Listing,
    /// No header line
    #[arg(long)]
    pub(crate) no_headers: bool,
}

/// `rhizome inspect`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rhizome inspect mount-a
  rhizome inspect mount-a -o json | jq .status.containerStatuses")]
pub(crate) struct Inspect {
    /// Pods
    #[arg(required = true, value_name = "POD")]
    pub(crate) pods: Vec<String>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Object::Yaml)]
    pub(crate) output: Object,
}

/// `rhizome exec`
#[derive(Debug, Args)]
#[command(
    override_usage = "rhizome exec [OPTIONS] POD[/CONTAINER] -- COMMAND [ARG]…",
    after_help = "\
The exit status is the command's: 128+N if signal N ended it, 127 if it was not found, 126 if it \
could not be run.

Examples:
  rhizome exec mount-a -- ls /home       In the first container of mount-a
  rhizome exec -it mount-a/main -- sh    A shell, on this terminal
  tar c . | rhizome exec -i mount-a -- tar x -C /home"
)]
pub(crate) struct Exec {
    /// Pass standard input on
    #[arg(short = 'i', long)]
    pub(crate) stdin: bool,
    /// Give the command a terminal (with -i)
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Keys that leave the command running (with -it), such as ctrl-x,x; empty means none
    #[arg(long, value_name = "KEYS", default_value = DETACH_KEYS)]
    pub(crate) detach_keys: DetachKeys,
    #[command(flatten)]
    pub(crate) of: Named,
    /// What to run
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// A container that runs.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The container, as after the slash [default: the pod's first]
    #[arg(short, long, value_name = "CONTAINER")]
    pub(crate) container: Option<String>,
    /// The pod, and after a slash its container
    #[arg(value_name = "POD[/CONTAINER]")]
    pub(crate) pod: String,
}

/// What leaves a terminal without ending what is on it, as podman and docker have it.
const DETACH_KEYS: &str = "ctrl-p,ctrl-q";

/// `rhizome attach`
#[derive(Debug, Args)]
#[command(after_help = "\
What the container writes from now on is shown; for what it wrote before there is `rhizome logs`. Leaving it does \
not end it, but its input ends where its manifest has stdinOnce. The exit status is the container's, if it ends \
meanwhile.

Examples:
  rhizome attach mount-a          Its output, until Ctrl-C
  rhizome attach -it mount-a      Its terminal (stdin and tty in the manifest); Ctrl-P Ctrl-Q leaves
  echo stop | rhizome attach -i mount-a/main")]
pub(crate) struct Attach {
    /// Pass standard input on, to a container with `stdin: true`
    #[arg(short = 'i', long)]
    pub(crate) stdin: bool,
    /// Be on its terminal, of a container with `tty: true` (with -i)
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Keys that leave its terminal, such as ctrl-x,x; empty means none
    #[arg(long, value_name = "KEYS", default_value = DETACH_KEYS)]
    pub(crate) detach_keys: DetachKeys,
    #[command(flatten)]
    pub(crate) of: Named,
}

/// `rhizome debug`
#[derive(Debug, Args)]
#[command(
    override_usage = "rhizome debug [OPTIONS] POD --image IMAGE [-- COMMAND [ARG]…]",
    after_help = "\
The container is an ephemeral one: it has an image of its own and the pod's network, runs once, stays in the pod's \
record, and ends with the pod at the latest. With --target it sees that container's processes, and its files \
at /proc/1/root. It cannot have capabilities that none of the pod's own containers has.

Examples:
  rhizome debug mount-a --image busybox -it                     A shell beside mount-a's containers
  rhizome debug mount-a --image busybox --target main -it       That sees the processes of main
  rhizome debug mount-a --image busybox -c look -- netstat -ln  Its output: rhizome logs mount-a -c look"
)]
pub(crate) struct Debug {
    /// The image
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: String,
    /// The container whose processes it sees
    #[arg(long, value_name = "CONTAINER")]
    pub(crate) target: Option<String>,
    /// Its name [default: debugger- and five characters]
    #[arg(short, long, value_name = "CONTAINER")]
    pub(crate) container: Option<String>,
    /// Keep its standard input open, and attach to it
    #[arg(short = 'i', long)]
    pub(crate) stdin: bool,
    /// Give it a terminal (with -i)
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// A variable of its environment, NAME=VALUE
    #[arg(long = "env", value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Keys that leave its terminal, such as ctrl-x,x; empty means none
    #[arg(long, value_name = "KEYS", default_value = DETACH_KEYS)]
    pub(crate) detach_keys: DetachKeys,
    /// The pod
    #[arg(value_name = "POD")]
    pub(crate) pod: String,
    /// What to run instead of the image's program
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// `rhizome cp`
#[derive(Debug, Args)]
#[command(after_help = "\
Files, directories with all that is in them, and symbolic links are copied, with permission bits and times: into DEST if \
that is a directory, else by that name. SRC/. is what is in SRC. A path of a container is of any container that runs, \
and needs no program in it; a relative one is below its working directory. What is copied in belongs to the \
container's user. A path of yours with a colon in it begins with a slash or `./`.

Examples:
  rhizome cp site.conf mount-a:/etc/nginx/        A file in
  rhizome cp mount-a/main:/var/log ./log          A directory out
  rhizome cp mount-a:/data/. mount-b:/data        From pod to pod
  rhizome cp mount-a:/data - | tar t              As a tar archive; and from one: cp - mount-a:/data")]
pub(crate) struct Cp {
    /// What to copy: PATH, POD[/CONTAINER]:PATH, or `-` for a tar archive on standard input
    #[arg(value_name = "SRC", value_hint = ValueHint::AnyPath)]
    pub(crate) source: OsString,
    /// Where to: PATH, POD[/CONTAINER]:PATH, or `-` for a tar archive on standard output
    #[arg(value_name = "DEST", value_hint = ValueHint::AnyPath)]
    pub(crate) destination: OsString,
    /// The container, as after the slash [default: the pod's first]
    #[arg(short, long, value_name = "CONTAINER")]
    pub(crate) container: Option<String>,
}

/// `rhizome wait`
#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 it holds of all, 1 it does not within the time.

Examples:
  rhizome wait --for condition=Ready mount-a mount-b
  rhizome wait --for jsonpath='{.status.phase}'=Succeeded --timeout 5m job
  rhizome wait --for delete mount-a")]
pub(crate) struct Wait {
    /// Pods
    #[arg(required_unless_present = "all", value_name = "POD")]
    pub(crate) pods: Vec<String>,
    /// All pods of the namespace
    #[arg(long, conflicts_with = "pods")]
    pub(crate) all: bool,
    /// What: create, delete, condition=NAME[=VALUE] or jsonpath=EXPRESSION[=VALUE]
    #[arg(long = "for", value_name = "WHAT", required = true)]
    pub(crate) until: For,
    /// For how long; 0 looks once, a negative one means a week
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_timeout)]
    #[arg(allow_hyphen_values = true)]
    pub(crate) timeout: Duration,
}

/// `rhizome top`
#[derive(Debug, Args)]
#[command(after_help = "\
Processors are counted in thousandths, and over the interval; memory is the working set: without files that could be \
dropped.

Examples:
  rhizome top
  rhizome top --containers mount-a
  rhizome top --interval 10s -A        A mean over ten seconds, of all namespaces")]
pub(crate) struct Top {
    /// Only these pods
    #[arg(value_name = "POD")]
    pub(crate) pods: Vec<String>,
    /// A line a container
    #[arg(long)]
    pub(crate) containers: bool,
    /// Pods of all namespaces
    #[arg(short = 'A', long, conflicts_with = "pods")]
    pub(crate) all_namespaces: bool,
    /// For how long to measure
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration::parse)]
    pub(crate) interval: Duration,
    /// No header line
    #[arg(long)]
    pub(crate) no_headers: bool,
}

/// `rhizome events`
#[derive(Debug, Args)]
#[command(after_help = "\
The last 64 of each pod, the oldest first; they go with the pod.

Examples:
  rhizome events mount-a
  rhizome events -w --types Warning       Of all pods of the namespace, as they come
  rhizome events -o json mount-a | jq -r '.items[].reason'")]
pub(crate) struct Events {
    /// Only of these pods
    #[arg(value_name = "POD")]
    pub(crate) pods: Vec<String>,
    /// Of pods of all namespaces
    #[arg(short = 'A', long, conflicts_with = "pods")]
    pub(crate) all_namespaces: bool,
    /// Only of these types: Normal, Warning
    #[arg(long, value_name = "TYPE", value_delimiter = ',', value_parser = ["Normal", "Warning"])]
    #[arg(ignore_case = true)]
    pub(crate) types: Vec<String>,
    /// Go on with those that come
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Document::Table)]
    pub(crate) output: Document,
    /// No header line
    #[arg(long)]
    pub(crate) no_headers: bool,
}

/// `rhizome detach-mounts`
#[derive(Debug, Args)]
#[command(after_help = "\
What a container mounted below a Bidirectional volume stays on the host when it ends, as in Kubernetes. This detaches \
it, of pods that have ended: what is mounted on another first, and each made private before, so that nothing is \
torn out of where else it is mounted. Pods that got a copy of it lose that too, as with umount(8). With the annotation `rhizome.dev/mounts-at-end: detach` a pod does that by itself.

Examples:
  rhizome detach-mounts --dry-run mount-a     The commands that would do it
  rhizome stop mount-a && rhizome detach-mounts mount-a")]
pub(crate) struct DetachMounts {
    /// Pods
    #[arg(required = true, value_name = "POD")]
    pub(crate) pods: Vec<String>,
    /// Print the commands that would do it, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `rhizome logs`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rhizome logs mount-a                      What its first container wrote
  rhizome logs -f --tail 10 mount-a/main    The last ten lines, and what comes
  rhizome logs -p mount-a                   The run before the last restart: why did it end?
  rhizome logs --since 5m --all-containers --prefix mount-a mount-b")]
pub(crate) struct Logs {
    /// Pods, and after a slash a container each
    #[arg(required = true, value_name = "POD[/CONTAINER]")]
    pub(crate) pods: Vec<String>,
    /// The container, as after the slash [default: the pod's first]
    #[arg(short, long, value_name = "CONTAINER", conflicts_with = "all_containers")]
    pub(crate) container: Option<String>,
    /// All containers of the pods
    #[arg(long)]
    pub(crate) all_containers: bool,
    /// Go on, over restarts, until the containers have ended for good
    #[arg(short, long, conflicts_with = "previous")]
    pub(crate) follow: bool,
    /// What the container wrote before its last restart
    #[arg(short, long)]
    pub(crate) previous: bool,
    /// Only the last N lines of each container; -1 means all
    #[arg(long, value_name = "N", default_value_t = -1, hide_default_value = true)]
    #[arg(allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    pub(crate) tail: i64,
    /// Only what is younger, such as 30s, 5m or 2h30m
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, conflicts_with = "since_time")]
    pub(crate) since: Option<Duration>,
    /// Only what was written since, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since_time: Option<Timestamp>,
    /// Put each line's time before it
    #[arg(long)]
    pub(crate) timestamps: bool,
    /// Put the pod's and the container's name before each line
    #[arg(long)]
    pub(crate) prefix: bool,
    /// Only so many bytes in all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit_bytes: Option<u64>,
}

/// `rhizome stop`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rhizome stop mount-a
  rhizome stop --grace-period 1 mount-a mount-b
  rhizome stop ds/debug-agent    The pods of a DaemonSet
  rhizome stop --file pods.yaml  The pods that the file makes")]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(crate) pods: Pods,
    /// Seconds until what has not ended is killed [default: the pod's terminationGracePeriodSeconds]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) grace_period: Option<u32>,
}

/// `rhizome start`
#[derive(Debug, Args)]
#[command(after_help = "\
Also gives a pod whose supervisor was killed another one, which takes its containers over.

Examples:
  rhizome start mount-a
  rhizome start --all")]
pub(crate) struct Start {
    #[command(flatten)]
    pub(crate) pods: Pods,
}

/// Pods, by name or by what made them.
#[derive(Debug, Args)]
pub(crate) struct Pods {
    /// Pods, or the pods of a workload: KIND/NAME
    #[arg(required_unless_present_any = ["file", "all"], value_name = "POD")]
    pub(crate) names: Vec<String>,
    /// The pods of these manifests; `-` is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "names")]
    pub(crate) file: Vec<PathBuf>,
    /// All pods of the namespace
    #[arg(short, long, conflicts_with_all = ["names", "file"])]
    pub(crate) all: bool,
}

/// `rhizome rm`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rhizome rm mount-a       A pod that has ended or was stopped
  rhizome rm -f mount-a    A pod that runs too: it is killed
  rhizome rm -f ds/debug-agent     The pods of a DaemonSet
  rhizome rm -f --file pods.yaml   The pods that the file makes
  rhizome rm -fa           All pods of the namespace")]
pub(crate) struct Rm {
    #[command(flatten)]
    pub(crate) pods: Pods,
    /// Also pods that run; and no complaint about pods that are not there
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Also the folders of the pods' claims, where no other pod has them
    #[arg(long)]
    pub(crate) volumes: bool,
}
