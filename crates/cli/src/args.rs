//! What can be typed: one definition a flag, from which the parser, `--help` and completions come.

mod condition;
mod image;
mod node;
mod pods;
mod predict;
mod why;

pub(crate) use condition::For;
pub(crate) use image::{Image, ImageCommand, ImageInspect, Pull};
pub(crate) use node::{Diff, MountFilter, MountFormat, Mounts, NodeSource, SnapshotArgs, Watch, WatchFormat};
pub(crate) use pods::{
    Attach, Cp, Debug, DetachMounts, Events, Exec, Inspect, Logs, Named, Pods, Ps, Rm, Start, Stop, Top, Wait,
};
pub(crate) use predict::{Lint, LintFormat, Plan, Simulate};
pub(crate) use why::{Audit, AuditFormat, Graph, GraphFormat, Mend, Why, WhyBusy};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

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
    #[command(flatten)]
    pub(crate) network: Network,
}

/// Where CNI is, for `rhizome run` and `rhizome node`
#[derive(Debug, Args)]
pub(crate) struct Network {
    /// Wire pods by the first CNI configuration in DIR, if there is one; `none` leaves them their own loopback
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, env = "RHIZOME_CNI_CONF_DIR", hide_env = true)]
    #[arg(default_value = runtime::cni::CONFIGURATION_FOLDER)]
    pub(crate) cni_conf_dir: PathBuf,
    /// Folders of CNI plugins, with colons between
    #[arg(long, value_name = "DIRS", env = "CNI_PATH", hide_env = true)]
    #[arg(default_value_t = runtime::cni::PLUGIN_FOLDERS.join(":"))]
    pub(crate) cni_bin_dir: String,
}

impl Network {
    /// Nothing where pods are to have no network of CNI.
    pub(crate) fn places(&self) -> std::io::Result<Option<runtime::cni::Places>> {
        if self.cni_conf_dir == Path::new("none") {
            return Ok(None);
        }
        let folders =
            std::env::split_paths(&self.cni_bin_dir).filter(|folder| !folder.as_os_str().is_empty());
        let plugins = folders.map(std::path::absolute).collect::<Result<_, _>>()?;
        let configurations = std::path::absolute(&self.cni_conf_dir)?;
        Ok(Some(runtime::cni::Places { configurations, plugins }))
    }
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
    #[command(flatten)]
    pub(crate) network: Network,
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
