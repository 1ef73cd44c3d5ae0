//! `cargo xtask demo`: the article's experiments, on this kernel, with the program as it is built.
//!
//! They run in a mount namespace of the demo's own, a copy of the machine's in which `/` is shared as systemd makes it, with
//! an empty file system at `/mnt`. So the commands are those that one would type on a node, and the machine's own
//! mounts are never touched.

mod experiments;
mod leak;
mod world;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::leftovers::Machine;
use crate::{host, images, setup};
use world::World;

/// Set-up, then the experiments within [`run_inside`], then a look at what they left.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    setup::run()?;
    let images = images::assemble()?;
    eprintln!("building rhizome");
    let built = host::cargo().args(["build", "--quiet", "--package", "rhizome"]).status();
    if !built.context("cannot start cargo")?.success() {
        bail!("rhizome does not build: see above");
    }
    let root = std::env::temp_dir().join(format!("rz-demo-{}", std::process::id()));
    std::fs::create_dir(&root).with_context(|| format!("cannot make {}", root.display()))?;
    let before = Machine::read()?;
    let status = inside_command(&root, &images, args)?.status().context("cannot start unshare")?;
    let left = before.leftovers(std::slice::from_ref(&root), &root.join("run/pods"))?;
    for line in &left {
        eprintln!("left behind: {line}");
    }
    if left.is_empty() {
        host::run(host::as_root("rm")?.args(["-rf", "--one-file-system", "--"]).arg(&root))?;
        println!("The machine's own mounts, cgroups and processes are as they were before.");
    }
    let clean = left.is_empty();
    Ok(if status.success() && clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What runs in the new mount namespace: this program again, and after it (also where Ctrl-C ended it) the end of all
/// pods. `$0` is the program, `$1` the state's directory, `$3` rhizome.
const INSIDE: &str = r#"export RHIZOME_CNI_CONF_DIR=none
trap : INT TERM HUP
"$0" demo-inside "$@"
status=$?
"$3" --root "$1" rm --force --all >/dev/null 2>&1
exit $status"#;

fn inside_command(root: &Path, images: &Path, args: &[String]) -> Result<Command> {
    let this = std::env::current_exe().context("cannot find this program")?;
    let mut command = host::as_root("unshare")?;
    command.args(["--mount", "--propagation", "private", "--", "sh", "-c", INSIDE]).arg(this);
    command.args([root, images, &host::target_dir().join("debug/rhizome")]).args(args);
    Ok(command)
}

/// The experiments; in the namespace that `run` made.
pub(crate) fn run_inside(args: &[String]) -> Result<ExitCode> {
    let [root, images, rhizome, chosen @ ..] = args else { bail!("this is for `cargo xtask demo`") };
    let wanted = |number: usize| chosen.is_empty() || chosen.iter().any(|c| *c == number.to_string());
    let mut world = World::new(PathBuf::from(root), PathBuf::from(rhizome))?;
    let prepared = prepare(&mut world, Path::new(images));
    if prepared.is_ok() {
        for (index, experiment) in experiments::ALL.iter().enumerate().filter(|(i, _)| wanted(i + 1)) {
            world.begin(index + 1, experiment.name, experiment.promise);
            if let Err(error) = world.fresh_mnt().and_then(|()| (experiment.run)(&mut world)) {
                world.check("the experiment runs to its end", false, &format!("{error:#}"));
            }
            world.remove_pods();
        }
    }
    prepared?;
    Ok(if world.report() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn prepare(world: &mut World, images: &Path) -> Result<()> {
    host::run(Command::new("mount").args(["--make-rshared", "/"]))?;
    for name in ["busybox", "nginx"] {
        let archive = images.join(format!("{name}.tar"));
        let archive = archive.to_string_lossy();
        let ran = world.rhizome(&["image", "import", &archive, "--name", &format!("{name}:latest")])?;
        if !ran.ok() {
            bail!("the {name} image cannot be imported: {}", ran.text());
        }
    }
    Ok(())
}
