//! `cargo xtask vm`: the tests on the kernel that most users have.
//!
//! A developer's machine rarely is one: its kernel is newer, its cgroups are older, `/` is private in a container.
//! This boots Debian's own kernel in a virtual machine, with cgroup v2 only, AppArmor on and `/` shared as systemd
//! makes it, and runs the workspace's tests in it as root. Steps:
//!
//! 1. [`kernel`]: Debian's kernel package, unpacked below `target/vm`; nothing is installed on this machine but
//!    qemu, a static busybox and the parser of AppArmor's profiles.
//! 2. [`collect`]: `cargo test` builds the tests, and writes down how it would run each, by being given this
//!    program as the runner.
//! 3. [`disk`]: an ext4 image with the tests, the files of the repository, the tools that tests call and their
//!    shared libraries; an initramfs that mounts it.
//! 4. [`machine`]: qemu, with KVM where it can be had; bounded in time, without a network.
//! 5. [`report`]: what the guest says, added up.
//!
//! Architecture invariant: what runs in the guest is the two scripts in `vm/`; they know nothing of cargo.

mod collect;
mod disk;
mod kernel;
mod machine;
mod report;

use crate::{host, images, kubectl, setup};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask vm [--kernel PACKAGE.deb] [CARGO TEST OPTIONS] [-- TEST OPTIONS]

Runs the workspace's tests on Debian's own kernel in a virtual machine: cgroup v2 only, AppArmor on, / shared.

  --kernel PACKAGE.deb   the kernel of another Debian package instead; several where image and modules are apart
  -p runtime --test mounts -- leak
                         what `cargo test` takes chooses what is built and run

Needs apt-get for what is missing (qemu-system-x86, busybox-static, apparmor, the kernel package), and root or sudo to
install it. Exit code: 0 if all passed, 1 if not or if the machine did not come to its end.";

/// Programs besides those of the set-up.
const NEEDED: &[(&str, &str, &str)] = &[
    ("apparmor_parser", "apparmor", "profiles for the virtual machine's AppArmor"),
    ("busybox", "busybox-static", "the small system in the virtual machine"),
    ("mke2fs", "e2fsprogs", "the virtual machine's disk"),
    ("qemu-system-x86_64", "qemu-system-x86", "the virtual machine"),
    ("xz", "xz-utils", "unpacking kernel modules"),
];

/// What the command line asks for.
struct Wanted {
    kernel: Vec<PathBuf>,
    cargo: Vec<String>,
}

/// Runs the command; `args` are what follows `vm`.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    if args.first().is_some_and(|arg| arg == collect::RECORD) {
        collect::record(&args[1..])?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    if std::env::consts::ARCH != "x86_64" {
        bail!("the virtual machine is made for x86_64 only, and this is {}", std::env::consts::ARCH);
    }
    let wanted = parse(args)?;
    setup::run()?;
    setup::provide(NEEDED)?;
    let images = images::assemble()?;
    let folder = host::target_dir().join("vm");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let kernel = match wanted.kernel.as_slice() {
        [] => kernel::Kernel::of_this_debian(&folder)?,
        packages => kernel::Kernel::from_packages(packages, &folder)?,
    };
    let clients = kubectl::variables();
    let variables = [vec![("RHIZOME_TEST_IMAGES", images.clone())], clients.clone()].concat();
    let tests = collect::collect(&folder, &variables, &wanted.cargo)?;
    let disk = disk::Disk::make(&folder, &kernel, &tests, &images, &clients)?;
    println!("booting Linux {} with {} test programs", kernel.release, tests.len());
    let mut report = report::Report::default();
    let end =
        machine::Machine { folder: &folder, kernel: &kernel, disk: &disk }.run(|line| report.line(line))?;
    let names: Vec<_> = tests.iter().map(|test| test.name.as_str()).collect();
    let passed = report.close(&names, &end);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Takes out our own options; all others are cargo's.
fn parse(args: &[String]) -> Result<Wanted> {
    let mut wanted = Wanted { kernel: Vec::new(), cargo: Vec::new() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--kernel" => {
                let path = args.next().context("--kernel needs the path of a kernel package (.deb)")?;
                wanted.kernel.push(PathBuf::from(path));
            }
            "--" => {
                wanted.cargo.push(arg.clone());
                wanted.cargo.extend(args.by_ref().cloned());
            }
            _ => wanted.cargo.push(arg.clone()),
        }
    }
    Ok(wanted)
}
