//! Makes sure that the programs which tests and demo call are there.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::host;

/// A program, the Debian package that has it, and what it is for.
const NEEDED: &[(&str, &str, &str)] = &[
    ("unshare", "util-linux", "worlds of their own for the experiments"),
    ("nsenter", "util-linux", "commands within these worlds"),
    ("mount", "mount", "the experiments' own mounts"),
    ("busybox", "busybox-static", "root file systems that fit in a test"),
    ("dpkg-deb", "dpkg", "unpacking packages into images"),
    ("runc", "runc", "the runtime that ours is compared with"),
    ("docker-registry", "docker-registry", "a registry to pull from, on loopback"),
    ("htpasswd", "apache2-utils", "its users"),
    ("openssl", "openssl", "its certificates"),
    ("zsh", "zsh", "completions in the shells that have them"),
    ("fish", "fish", "completions in the shells that have them"),
    ("ip", "iproute2", "networks of the tests' own"),
    ("iptables", "iptables", "ports of the node that lead to pods"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins", "pods' networks"),
];

/// The Debian packages of what tests and demo call.
pub(crate) fn packages() -> impl Iterator<Item = &'static str> {
    NEEDED.iter().map(|(_, package, _)| *package)
}

/// The programs that tests and demo call.
pub(crate) fn programs() -> impl Iterator<Item = &'static str> {
    NEEDED.iter().map(|(program, ..)| *program)
}

/// Installs what is missing for tests and demo.
pub(crate) fn run() -> Result<()> {
    provide(NEEDED)
}

/// Installs what is missing of some programs, each with its Debian package and what it is for.
pub(crate) fn provide(needed: &[(&str, &str, &str)]) -> Result<()> {
    let missing: Vec<_> = needed.iter().filter(|(program, ..)| host::find(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<_> = missing.iter().map(|(_, package, _)| *package).collect();
    packages.dedup();
    let packages_shown = packages.join(" ");
    if host::find("apt-get").is_none() {
        let programs: Vec<_> = missing.iter().map(|(program, ..)| *program).collect();
        bail!(
            "{} missing: install them with this system's package manager (on Debian the packages are {packages_shown})",
            programs.join(", ")
        );
    }
    for (program, package, purpose) in &missing {
        eprintln!("installing {package} for `{program}`: {purpose}");
    }
    install(&packages).with_context(|| format!("install them by hand: `apt-get install {packages_shown}`"))
}

fn install(packages: &[&str]) -> Result<()> {
    with_lists(|| {
        let mut command = host::as_root("apt-get")?;
        command.args(["install", "--yes", "--quiet", "--no-install-recommends"]).args(packages);
        host::run(command.env("DEBIAN_FRONTEND", "noninteractive"))
    })
}

/// Does what asks apt, and once more with new lists of packages if it fails: old ones name packages and versions that
/// are no longer offered. So whatever is read of the lists is to be read in it.
pub(crate) fn with_lists<T>(attempt: impl Fn() -> Result<T>) -> Result<T> {
    refresh_lists(false)?;
    attempt().or_else(|_| {
        refresh_lists(true)?;
        attempt()
    })
}

/// Fetches apt's lists of packages where there are none yet (as in a fresh container), or always.
fn refresh_lists(always: bool) -> Result<()> {
    let lists = Path::new("/var/lib/apt/lists");
    let present = std::fs::read_dir(lists).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
    });
    if present && !always {
        return Ok(());
    }
    eprintln!("fetching the lists of Debian packages");
    host::run(host::as_root("apt-get")?.args(["update", "--quiet"]))
}
