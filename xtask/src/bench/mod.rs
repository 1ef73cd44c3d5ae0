//! `cargo xtask bench`: what Rhizome costs, beside the programs that do the same, measured in the same run.
//!
//! Everybody is measured in turn, round by round, so that a busy moment of the machine is everybody's; a figure is the
//! median. It all happens in a mount namespace of its own. A peer that is not installed, or that this machine does not
//! let run, has no row: the page says which and why.

mod api;
mod figures;
mod manifests;
mod measure;
mod model;
mod node;
mod peers;
mod pods;
mod report;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::{host, images, setup};
use figures::Bench;

const HELP: &str = "\
usage: cargo xtask bench [--rounds N] [--write] [FIGURE…]

  --rounds N   how often each contender is measured (20)
  --write      write docs/benchmarks.md and its picture, instead of only printing

Peers (crun, runc, youki, bwrap, podman, containerd) are measured if they are installed; nothing is installed for this.
Figures: life, pod, larger, hundred, idle, memory, receivers, commands, manifests, model, snapshot, watch, api (all)";

struct Options {
    rounds: usize,
    write: bool,
    figures: Vec<String>,
}

fn options(args: &[String]) -> Result<Option<Options>> {
    let mut options = Options { rounds: 20, write: false, figures: Vec::new() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--help" | "-h" => return Ok(None),
            "--write" => options.write = true,
            "--rounds" => {
                let number = args.next().context("--rounds wants a number")?;
                options.rounds =
                    number.parse().with_context(|| format!("--rounds {number:?} is no number"))?;
            }
            name if figures::NAMES.contains(&name) => options.figures.push(name.to_owned()),
            other => bail!("{other:?} is none of the figures\n{HELP}"),
        }
    }
    if options.rounds == 0 {
        bail!("--rounds 0 measures nothing");
    }
    Ok(Some(options))
}

/// Builds in release mode, then measures within [`run_inside`].
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    if options(args)?.is_none() {
        println!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    setup::run()?;
    let images = images::assemble()?;
    eprintln!("building rhizome in release mode");
    // In one go: apart, each would be built with other features of what both use, and again the next time.
    let built = host::cargo()
        .args(["build", "--quiet", "--release", "--package", "rhizome", "--bin", "rhizome"])
        .args(["--package", "runtime", "--example", "once"])
        .args(["--package", "observe", "--example", "read_node", "--example", "watch_node"])
        .status();
    if !built.context("cannot start cargo")?.success() {
        bail!("it does not build: see above");
    }
    let root = std::env::temp_dir().join(format!("rz-bench-{}", std::process::id()));
    std::fs::create_dir(&root).with_context(|| format!("cannot make {}", root.display()))?;
    let this = std::env::current_exe().context("cannot find this program")?;
    let mut command = host::as_root("unshare")?;
    command.args(["--mount", "--propagation", "private", "--", "sh", "-c", INSIDE]).arg(this);
    command.args([&root, &images, &host::target_dir().join("release/rhizome")]).args(args);
    let status = command.status().context("cannot start unshare")?;
    host::run(host::as_root("rm")?.args(["-rf", "--one-file-system", "--"]).arg(&root))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `$0` is this program, `$1` the directory of all state, `$3` rhizome. The mounts go with the namespace.
const INSIDE: &str = r#"export RHIZOME_CNI_CONF_DIR=none
trap : INT TERM HUP
mount -t tmpfs bench "$1" -o mode=755 || exit 2
"$0" bench-inside "$@"
status=$?
"$3" --root "$1/rhizome" rm --force --all >/dev/null 2>&1
if [ -e "$1/containerd/pid" ]; then
    client="ctr --address $1/containerd/socket"
    for name in $($client containers list --quiet); do
        $client task rm --force "$name"
        $client container rm "$name"
    done >/dev/null 2>&1
    kill "$(cat "$1/containerd/pid")"
fi
rmdir /sys/fs/cgroup/rz-* /sys/fs/cgroup/*/rz-* 2>/dev/null
exit $status"#;

/// The figures; in the namespace that `run` made.
pub(crate) fn run_inside(args: &[String]) -> Result<ExitCode> {
    let [root, images, rhizome, chosen @ ..] = args else { bail!("this is for `cargo xtask bench`") };
    let Some(options) = options(chosen)? else { return Ok(ExitCode::SUCCESS) };
    host::run(Command::new("mount").args(["--make-rshared", "/"]))?;
    let paths = [root, images, rhizome].map(PathBuf::from);
    let mut bench = Bench::new(&paths[0], &paths[1], &paths[2], options.rounds)?;
    let chosen = |name: &str| options.figures.is_empty() || options.figures.iter().any(|f| f == name);
    let mut figures = Vec::new();
    for name in figures::NAMES.iter().filter(|name| chosen(name)) {
        eprintln!("measuring {name}");
        figures.extend(bench.measure(name)?);
    }
    let page = report::page(&bench.machine()?, &figures, bench.absent());
    println!("{page}");
    if options.write {
        write(Path::new("docs/benchmarks.md"), &page)?;
        write(Path::new("docs/pictures/benchmarks.svg"), &report::picture(&figures))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let path = host::workspace().join(path);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
