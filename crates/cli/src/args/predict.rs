//! Arguments of the commands that say what a manifest or a script of mounts will do.

use super::Document;
use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;

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
Nothing is done, and no image is needed. All pods are planned together on one node; without --here
or --snapshot on one as systemd makes them. Every answer names the rule of the kernel that it comes
from.

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
