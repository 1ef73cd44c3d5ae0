//! What can be typed: one definition a flag, from which the parser, `--help` and completions come.

use crate::detach::DetachKeys;
use crate::duration;
use crate::ops::wait::{self, For};
mod node;
mod why;

pub(crate) use node::{Diff, MountFilter, MountFormat, Mounts, NodeSource, SnapshotArgs, Watch, WatchFormat};
pub(crate) use why::{Audit, AuditFormat, Graph, GraphFormat, Mend, Why, WhyBusy};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use jiff::Timestamp;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Kubernetes Pods on this Linux machine, with exactly the mount propagation they ask for.
#[derive(Debug, Parser)]
#[command(
    name = "rhizome",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "\
Examples:
  rhizome doctor                    What on this machine would stop pods
  rhizome run mount-a.yaml          Run a Pod, show its logs, remove it on Ctrl-C
  rhizome run -d mount-a.yaml       Run it in the background
  rhizome exec -it mount-a -- sh    A shell inside
  rhizome rm -f mount-a             Stop and remove it

Exit status: 0 yes, 1 no or failed, 2 wrong use or error; run, exec, attach and unshare: that of what ran."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Keep all state in DIR/lib and DIR/run [default: /var/lib/rhizome and /run/rhizome]
    #[arg(long, global = true, env = "RHIZOME_ROOT", value_name = "DIR", hide_env = false)]
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) root: Option<PathBuf>,
    /// Namespace of the pods [default: default]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the Pods of manifests: create, start, show their logs, wait
    Run(Run),
    /// List pods
    Ps(Ps),
    /// Show a pod as the Kubernetes object that it is, with its status
    Inspect(Inspect),
    /// Run a command in a container
    Exec(Exec),
    /// Be on the terminal, or the input and output, of a container that runs
    Attach(Attach),
    /// Add a container to a pod that runs, to look at it with
    Debug(Debug),
    /// Copy files into and out of containers
    Cp(Cp),
    /// Wait until something holds of pods
    Wait(Wait),
    /// Show what pods use of processors and memory
    Top(Top),
    /// Show what happened to pods
    Events(Events),
    /// Detach what containers left mounted on the host
    DetachMounts(DetachMounts),
    /// Print what containers wrote
    Logs(Logs),
    /// Stop pods, keeping them
    Stop(Stop),
    /// Start stopped pods again
    Start(Start),
    /// Remove pods
    Rm(Rm),
    /// Images of this root: pull, import, list, remove
    Image(Image),
    /// Run a command in new namespaces, as clone(2) makes them
    Unshare(Unshare),
    /// Judge manifests: what they will do with mounts that was not meant, and what an API server refuses
    Lint(Lint),
    /// Say what manifests will do on a node: who sees whose mounts, what fails, what stays
    Plan(Plan),
    /// Say what a script of mount commands would do, in every namespace
    Simulate(Simulate),
    /// Show what is mounted in every mount namespace, whose it is, and with whom it is shared
    Mounts(Mounts),
    /// Say whether what is mounted at a path is visible somewhere else, and why
    Why(Why),
    /// The same question, asked the other way: exit status 0 if it is not visible
    WhyNot(Why),
    /// Say who holds a mount, or a folder that cannot be removed: device or resource busy
    WhyBusy(WhyBusy),
    /// Draw which mounts are tied together, and which way propagation goes
    Graph(Graph),
    /// Say what is wrong with the mounts of this node, or about to go wrong
    Audit(Audit),
    /// Make a change that `why` or `audit` advised
    Mend(Mend),
    /// Show mounts as they come and go in every mount namespace, each with where it arrived
    Watch(Watch),
    /// Write down what is mounted on this node, in every mount namespace, as a document
    Snapshot(SnapshotArgs),
    /// Compare two such documents, or one with this machine
    Diff(Diff),
    /// Say what on this machine would stop pods or mount propagation, and how to mend it
    Doctor(Doctor),
    /// Be a Kubernetes node: an API on loopback that kubectl talks to
    Node(Node),
    /// Print the kubeconfig of this root's node
    Kubeconfig(Kubeconfig),
    /// All of this root
    System(System),
    /// Print what makes a shell complete commands, pods and images
    Completions(Completions),
    /// Print or write man pages
    Man(Man),
    /// Holds the mount namespace of an isolated root (started by `run --isolated`)
    #[command(hide = true)]
    Keep(Keep),
}

/// `rhizome run`
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is created unless all of all files is valid, and what cannot be started is removed again. The exit \
status is that of the first container that failed; 1 if a manifest is refused or something was not started.

Examples:
  rhizome run mount-a.yaml              Logs until it ends; Ctrl-C stops and removes it
  rhizome run -d a.yaml b.yaml          Prints the pods once their containers run
  cat pod.yaml | rhizome run -          From standard input
  rhizome run -d --replace a.yaml       Instead of the one that runs
  rhizome run --dry-run mount-a.yaml    Only says what would be mounted where
  rhizome --root /tmp/w run --isolated -d mount-a.yaml
                                        In mounts of its own: the host's are not touched")]
pub(crate) struct Run {
    /// Manifests (YAML or JSON, several documents each); `-` is standard input
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Do not wait: print the pods' names once their containers run (where there are init containers, once the
    /// first of them does)
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Stop and remove pods of the same names first
    #[arg(long)]
    pub(crate) replace: bool,
    /// Give this root a mount namespace of its own: copied from the host's, made private, shared within.
    /// Later commands with the same --root enter it by themselves
    #[arg(long)]
    pub(crate) isolated: bool,
    /// Validate, print the mount operations of every container, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// What to do with fields that a Pod does not have
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Validate::Strict)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "strict")]
    pub(crate) validate: Validate,
    /// How to print what --dry-run found
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Document::Table)]
    pub(crate) output: Document,
}

/// `--validate`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Validate {
    /// Refuse them
    #[value(alias = "true")]
    Strict,
    /// Drop them, with a warning
    Warn,
    /// Drop them
    #[value(alias = "false")]
    Ignore,
}

/// `rhizome node`
#[derive(Debug, Args)]
#[command(after_help = "\
Stays in the foreground until SIGTERM or Ctrl-C; pods run on, and the next start finds them. Only who has the \
kubeconfig gets in, over TLS; only this user over the socket.

Examples:
  rhizome node &
  kubectl --kubeconfig /var/lib/rhizome/node/kubeconfig create -f mount-a.yaml
  rhizome --root /tmp/w node --isolated --listen 127.0.0.1:0
                        In mounts of its own, on any port that is free")]
pub(crate) struct Node {
    /// Where to listen; other machines reach it only at an address that is not loopback
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:6443")]
    pub(crate) listen: std::net::SocketAddr,
    /// Run the Pods of the manifests in DIR, as the kubelet's static pods: they change and go with their files
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) manifests: Option<PathBuf>,
    /// Give this root a mount namespace of its own, as for `rhizome run`
    #[arg(long)]
    pub(crate) isolated: bool,
}

/// `rhizome kubeconfig`
#[derive(Debug, Args)]
#[command(after_help = "\
Your own kubeconfig is never changed.

Examples:
  export KUBECONFIG=$(rhizome kubeconfig --path)
  rhizome kubeconfig > node.kubeconfig    (it holds a key: keep it to yourself)")]
pub(crate) struct Kubeconfig {
    /// Print where it is instead
    #[arg(long)]
    pub(crate) path: bool,
}

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

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Listing {
    /// Columns
    Table,
    /// More columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// One name a line
    Name,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Document {
    /// For reading
    Table,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Report {
    /// For reading
    Table,
    /// For reading, with what was seen everywhere
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// How an object is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Object {
    /// YAML
    Yaml,
    /// JSON
    Json,
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
    /// The container, as after the slash [default: the pod's first]
    #[arg(short, long, value_name = "CONTAINER")]
    pub(crate) container: Option<String>,
    /// The pod, and after a slash its container
    #[arg(value_name = "POD[/CONTAINER]")]
    pub(crate) pod: String,
    /// What to run
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
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
    /// The container, as after the slash [default: the pod's first]
    #[arg(short, long, value_name = "CONTAINER")]
    pub(crate) container: Option<String>,
    /// The pod, and after a slash its container
    #[arg(value_name = "POD[/CONTAINER]")]
    pub(crate) pod: String,
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
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = wait::parse_timeout)]
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

/// `rhizome image`
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true, arg_required_else_help = true)]
pub(crate) struct Image {
    #[command(subcommand)]
    pub(crate) command: ImageCommand,
}

/// What to do with images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Get images from registries
    Pull(Pull),
    /// Take an image from a file or folder
    #[command(after_help = "\
Examples:
  rhizome image import busybox.tar --name busybox    An OCI archive, or a root file system
  rhizome image import ./layout --name nginx:1.27    An OCI layout folder")]
    Import {
        /// An OCI layout (folder or tar), or the tar of a root file system
        #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
        path: PathBuf,
        /// What manifests will call it; completed as docker does (nginx is docker.io/library/nginx:latest)
        #[arg(long, value_name = "REF")]
        name: String,
    },
    /// List images
    #[command(
        visible_alias = "list",
        after_help = "\
Examples:
  rhizome image ls
  rhizome image ls -o name | xargs rhizome image inspect"
    )]
    Ls {
        /// Output format
        #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Listing::Table)]
        output: Listing,
        /// No header line
        #[arg(long)]
        no_headers: bool,
    },
    /// Show all that is known about an image
    Inspect(ImageInspect),
    /// Remove images
    #[command(after_help = "\
What a container was made from stays until that is removed.

Examples:
  rhizome image rm busybox nginx:1.27")]
    Rm {
        /// Images
        #[arg(required = true, value_name = "REF")]
        references: Vec<String>,
    },
    /// Remove layers that no image has, and what broken pulls left
    #[command(after_help = "\
What a container was made from stays, with and without --all.

Examples:
  rhizome image prune        Only what cannot be used any more
  rhizome image prune --all  Also images that no container was made from")]
    Prune {
        /// Also images that no container was made from
        #[arg(short, long)]
        all: bool,
    },
}

/// `rhizome image pull`
#[derive(Debug, Args)]
#[command(after_help = "\
Layers that are here are not fetched again, and what a broken pull left is used. Mirrors and certificates \
are set in registries.json in DIR/lib, else in /etc/rhizome.

Examples:
  rhizome image pull busybox                 docker.io/library/busybox:latest
  rhizome image pull localhost:5000/tool:1   On loopback in plain HTTP
  rhizome image pull nginx@sha256:<digest>   Exactly this one")]
pub(crate) struct Pull {
    /// Images
    #[arg(required = true, value_name = "REF")]
    pub(crate) references: Vec<String>,
    /// Credentials, as docker login writes them [default: $DOCKER_CONFIG/config.json or
    /// ~/.docker/config.json]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) authfile: Option<PathBuf>,
    /// Draw nothing
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `rhizome image inspect`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rhizome image inspect busybox
  rhizome image inspect busybox | jq -r '.layers[].path'")]
pub(crate) struct ImageInspect {
    /// Images, by name or id
    #[arg(required = true, value_name = "REF")]
    pub(crate) references: Vec<String>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Object::Json)]
    pub(crate) output: Object,
}

/// `rhizome unshare`
#[derive(Debug, Args)]
#[command(
    override_usage = "rhizome unshare [OPTIONS] [--] [COMMAND [ARG]…]",
    after_help = "\
Without a namespace option it is --mount. The exit status is the command's.

Examples:
  rhizome unshare                        A shell; mounts made in it stay in it
  rhizome unshare --propagation slave    The same, and it sees what the host mounts
  rhizome unshare --mount --pid --mount-proc -- ps aux
  rhizome unshare --user --mount -- sh -c 'mount -t tmpfs none /mnt; id'
                                         As any user"
)]
pub(crate) struct Unshare {
    /// New mount namespace: mounts
    #[arg(short, long, help_heading = "Namespaces")]
    pub(crate) mount: bool,
    /// New PID namespace: process ids; the command is process 1
    #[arg(short, long, help_heading = "Namespaces")]
    pub(crate) pid: bool,
    /// New UTS namespace: host name
    #[arg(short, long, help_heading = "Namespaces")]
    pub(crate) uts: bool,
    /// New IPC namespace: System V IPC and POSIX message queues
    #[arg(short, long, help_heading = "Namespaces")]
    pub(crate) ipc: bool,
    /// New network namespace: devices, addresses, ports
    #[arg(long, help_heading = "Namespaces")]
    pub(crate) net: bool,
    /// New user namespace: users and capabilities; the caller is root in it
    #[arg(short = 'U', long, help_heading = "Namespaces")]
    pub(crate) user: bool,
    /// New cgroup namespace: the root of the cgroup tree
    #[arg(short = 'C', long, help_heading = "Namespaces")]
    pub(crate) cgroup: bool,
    /// New time namespace: boot-time and monotonic clocks
    #[arg(short = 'T', long, help_heading = "Namespaces")]
    pub(crate) time: bool,
    /// What the mounts of the new mount namespace become [default: private]
    #[arg(long, value_name = "TYPE", value_enum)]
    pub(crate) propagation: Option<Propagation>,
    /// Change only the mount at /, not those below
    #[arg(long)]
    pub(crate) no_recursive: bool,
    /// Mount a /proc of the new PID namespace (needs --pid and --mount)
    #[arg(long, requires = "pid")]
    pub(crate) mount_proc: bool,
    /// Keep a process of ours as the parent of the command inside, which reaps orphans and passes signals on
    #[arg(short, long)]
    pub(crate) fork: bool,
    /// What to run [default: $SHELL, /bin/bash or /bin/sh]
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
}

/// What the mounts of a new mount namespace become, mount_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Propagation {
    /// Nothing in or out (None)
    Private,
    /// In only (HostToContainer)
    Slave,
    /// In and out (Bidirectional): where the host's mount is shared, with the host too
    Shared,
    /// Private, and cannot be bound elsewhere
    Unbindable,
    /// As they are on the host
    Unchanged,
}

/// `rhizome doctor`
#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 nothing stops pods or propagation, 1 something does, 2 it could not be found out.

Examples:
  rhizome doctor
  rhizome doctor -o wide                        Also what was seen where all is fine
  rhizome doctor -o json | jq '.findings[].mends'")]
pub(crate) struct Doctor {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Report::Table)]
    pub(crate) output: Report,
}

/// `rhizome lint`
#[derive(Debug, Args)]
#[command(after_help = "\
The annotation rhizome.dev/ignore: RULE,… on an object or its Pod template silences rules for it.
Exit status: 0 nothing but notes, 1 errors or warnings (with --fix: that are left), 2 could not be read.

Examples:
  rhizome lint pod.yaml manifests/            Files, and folders with all that is in them
  helm template ./chart | rhizome lint -      A chart
  rhizome lint --diff pod.yaml | patch -p1    What is surely meant, mended
  rhizome lint --explain bidirectional-on-root
                                              Why a rule is one")]
pub(crate) struct Lint {
    /// Manifests (YAML or JSON, several documents each), or folders of them; `-` is standard input
    #[arg(required_unless_present = "explain", value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub(crate) files: Vec<PathBuf>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = LintFormat::Plain)]
    pub(crate) format: LintFormat,
    /// Mend in the files what is surely meant otherwise
    #[arg(long)]
    pub(crate) fix: bool,
    /// Print what --fix would change, and nothing else
    #[arg(long, conflicts_with_all = ["fix", "format"])]
    pub(crate) diff: bool,
    /// Print a rule's page; without a rule, list them
    #[arg(long, value_name = "RULE", num_args = 0..=1, conflicts_with_all = ["files", "fix", "diff", "format"])]
    pub(crate) explain: Option<Option<String>>,
}

/// How `rhizome lint` prints findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LintFormat {
    /// For reading
    Plain,
    /// JSON
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// GitHub's workflow commands
    Github,
}

/// `rhizome plan`
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is done, and no image is needed. All pods are planned together on one node; without --here or
--snapshot on one as systemd makes them. Every answer names the kernel's rule that it comes from.

Exit status: 0 everything would start, 1 something is refused, 2 it could not be found out.

Examples:
  rhizome plan mount-a.yaml mount-b.yaml    Who sees whose mounts, and what each runtime leaves
  rhizome plan --here mount-a.yaml          On this machine, with what it has mounted
  rhizome plan a.yaml --then 'mount -t tmpfs none /mnt/x' --then '@mount-a/main umount /home/x'
                                            And what these commands would do then
  helm template ./chart | rhizome plan -o json -")]
pub(crate) struct Plan {
    /// Manifests (YAML or JSON, several documents each); `-` is standard input
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// On this machine: its mounts, and what lies at the hostPaths
    #[arg(long)]
    pub(crate) here: bool,
    /// On a node that was taken away with `rhizome snapshot` (or a JSON list of {id, mounts}, of which the first is it)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "here")]
    pub(crate) snapshot: Option<PathBuf>,
    /// Follow the rules of Linux VERSION: 6.1, 6.6, 6.12, 6.18 or 7 [default: the running kernel's]
    #[arg(long, value_name = "VERSION")]
    pub(crate) kernel: Option<String>,
    /// Once all containers run, do this line of a script (see simulate); @POD/CONTAINER runs it in a container
    #[arg(long, value_name = "COMMAND")]
    pub(crate) then: Vec<String>,
    /// How often each container is started again, to see what grows
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=20))]
    pub(crate) restarts: u32,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Document::Table)]
    pub(crate) output: Document,
}

/// `rhizome simulate`
#[derive(Debug, Args)]
#[command(after_help = "\
A script has one command a line: mount, umount, pivot_root, mkdir, touch, rmdir and mv as in a shell, and
`ns NAME [from NS] [--user]`, which copies a mount namespace. A line that begins with @NAME is run in that
namespace, any other in `host`. Nothing is done to this machine.

Exit status: 0 simulated, whether or not commands fail (with --check: and the kernel agrees), 1 the
kernel does something else, 2 an error in the script, or it could not be found out.

Examples:
  rhizome simulate script.txt
  printf 'mkdir /a\\nmount -t tmpfs none /a\\n' | rhizome simulate -
  rhizome simulate -o json script.txt | jq .namespaces.host
  rhizome simulate --html walk.html script.txt
                                          The picture of each step, in a browser
  rhizome simulate --here script.txt      Beginning with the mounts of this machine
  rhizome simulate --check script.txt     Also on the running kernel, in throw-away namespaces")]
pub(crate) struct Simulate {
    /// The script; `-` is standard input
    #[arg(value_name = "SCRIPT", value_hint = ValueHint::FilePath)]
    pub(crate) script: PathBuf,
    /// Begin with a node that was taken away with `rhizome snapshot` (or a JSON list of {id, mounts}, the first being `host`)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "here")]
    pub(crate) snapshot: Option<PathBuf>,
    /// Begin with the mount namespaces of this machine: ours is `host`, a container's POD/CONTAINER, another's ns:ID
    #[arg(long)]
    pub(crate) here: bool,
    /// Follow the rules of Linux VERSION: 6.1, 6.6, 6.12, 6.18 or 7 [default: the running kernel's]
    #[arg(long, value_name = "VERSION", conflicts_with = "check")]
    pub(crate) kernel: Option<String>,
    /// Also run it on the running kernel, in throw-away namespaces, and compare after every line
    #[arg(long, conflicts_with_all = ["here", "snapshot"])]
    pub(crate) check: bool,
    /// Write the picture of each step into FILE, as a page to walk through
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,
    /// Write the pictures of all steps into FILE, below each other
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) svg: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Document::Table)]
    pub(crate) output: Document,
}

/// `rhizome system`
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true, arg_required_else_help = true)]
pub(crate) struct System {
    #[command(subcommand)]
    pub(crate) command: SystemCommand,
}

/// What to do with a root.
#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// Remove everything of this root, and see that nothing is left
    Reset(Reset),
}

/// `rhizome system reset`
#[derive(Debug, Args)]
#[command(after_help = "\
Pods of all namespaces are killed, and what their containers left mounted is detached; then images, the data of \
PersistentVolumeClaims, cgroups, mounts and folders go. A folder with something in it that is not of rhizome is \
refused. What was cut off half way is gone on with by doing it again.

Exit status: 0 nothing is left, 1 not removed, or something is left.

Examples:
  rhizome system reset                        The machine's root; asks first
  rhizome --root /tmp/w system reset --force")]
pub(crate) struct Reset {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// `rhizome completions`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rhizome completions bash > /etc/bash_completion.d/rhizome
  rhizome completions fish > ~/.config/fish/completions/rhizome.fish
  rhizome completions zsh > /usr/local/share/zsh/site-functions/_rhizome")]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// The shells that can be taught.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// bash(1)
    Bash,
    /// fish(1)
    Fish,
    /// zsh(1)
    Zsh,
}

/// `rhizome man`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rhizome man | man -l -                      Read the page of the whole
  rhizome man /usr/local/share/man/man1       Write one for each command")]
pub(crate) struct Man {
    /// Where to write a page for each command [default: print that of the whole]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: Option<PathBuf>,
}

/// `rhizome keep`: see the module `keeper`.
#[derive(Debug, Args)]
pub(crate) struct Keep {
    /// The root's folder, to be seen in ps(1)
    pub(crate) root: PathBuf,
}
