//! Debian packages as a source of files for images: which belong together, fetching them, reading them.
//! Nothing of them is installed, and none of their scripts run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{host, setup};

/// A package that apt would install today.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    depends: Vec<String>,
}

impl Package {
    /// The version of the program itself: `1.22.1` of `1:1.22.1-9+deb12u1`.
    pub(crate) fn upstream_version(&self) -> &str {
        let version = self.version.split_once(':').map_or(self.version.as_str(), |(_, rest)| rest);
        version.rsplit_once('-').map_or(version, |(upstream, _)| upstream)
    }
}

/// `roots`, and all libraries that they need, directly or through other libraries.
///
/// Only libraries: what else a package depends on serves its installation (debconf, dpkg, perl) or is a
/// program that an image does not need because of it.
fn with_libraries(roots: &[&str]) -> Result<Vec<Package>> {
    let mut found: BTreeMap<String, Package> = BTreeMap::new();
    let mut wanted: BTreeSet<String> = roots.iter().map(|&root| root.to_owned()).collect();
    // Each round looks up what the round before named; dependencies are some ten deep.
    for _ in 0..50 {
        if wanted.is_empty() {
            return Ok(found.into_values().collect());
        }
        let packages = look_up(&wanted)?;
        for name in &wanted {
            if !packages.contains_key(name) {
                bail!("there is no Debian package {name} to be had: is apt set up with a `main` component?");
            }
        }
        let depends: Vec<String> = packages.values().flat_map(|package| package.depends.clone()).collect();
        found.extend(packages);
        wanted = depends.into_iter().filter(|name| is_library(name) && !found.contains_key(name)).collect();
    }
    bail!("the dependencies of {} have no end", roots.join(", "))
}

fn is_library(name: &str) -> bool {
    name.starts_with("lib") || name.starts_with("zlib")
}

fn look_up(names: &BTreeSet<String>) -> Result<BTreeMap<String, Package>> {
    let mut command = Command::new("apt-cache");
    command.args(["show", "--no-all-versions"]).args(names).env("LC_ALL", "C");
    let text = host::output(&mut command)?;
    Ok(parse_records(&String::from_utf8_lossy(&text)))
}

/// Paragraphs of `Field: value` lines; of several records of one package the first is apt's choice.
fn parse_records(text: &str) -> BTreeMap<String, Package> {
    let mut packages = BTreeMap::new();
    for record in text.split("\n\n") {
        let field = |name: &str| {
            record.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
        };
        let (Some(name), Some(version)) = (field("Package"), field("Version")) else { continue };
        let depends = ["Pre-Depends", "Depends"]
            .iter()
            .flat_map(|name| first_choices(&field(name).unwrap_or_default()))
            .collect();
        packages.entry(name.clone()).or_insert(Package { name, version, depends });
    }
    packages
}

/// `a (>= 1), b | c, d:any` → `a`, `b`, `d`.
fn first_choices(depends: &str) -> Vec<String> {
    let choice = |group: &str| {
        let first = group.split('|').next()?.split_whitespace().next()?;
        Some(first.split(':').next()?.to_owned())
    };
    depends.split(',').filter_map(choice).collect()
}

/// Fetches `roots` and all libraries that they need into `dir`: each package with the path of its archive.
pub(crate) fn fetch(roots: &[&str], dir: &Path) -> Result<Vec<(Package, PathBuf)>> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let packages = setup::with_lists(|| {
        let packages = with_libraries(roots)?;
        let mut command = Command::new("apt-get");
        // As whoever we are: apt's own user may not write here.
        command.args(["download", "--quiet", "-o", "APT::Sandbox::User=root"]).current_dir(dir);
        command.args(packages.iter().map(|package| format!("{}={}", package.name, package.version)));
        host::run(&mut command)?;
        Ok(packages)
    })?;
    let with_archive = |package: Package| {
        let archive = archive_of(&package, dir)?;
        Ok((package, archive))
    };
    packages.into_iter().map(with_archive).collect()
}

/// apt names the file `name_version_architecture.deb`, with the version's colon escaped.
fn archive_of(package: &Package, dir: &Path) -> Result<PathBuf> {
    let beginning = format!("{}_{}_", package.name, package.version.replace(':', "%3a"));
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let names = entries.flatten().map(|entry| entry.path());
    names
        .filter(|path| path.extension().is_some_and(|e| e == "deb"))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&beginning)))
        .with_context(|| format!("apt-get left no archive of {} in {}", package.name, dir.display()))
}

/// The tar archive of a package's files, with their owners and modes.
pub(crate) fn files_of(archive: &Path) -> Result<Vec<u8>> {
    host::output(Command::new("dpkg-deb").arg("--fsys-tarfile").arg(archive))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read() {
        let text = "Package: nginx\nVersion: 1:1.22.1-9+deb12u1\nPre-Depends: libc6 (>= 2.34)\n\
                    Depends: libssl3 (>= 3), debconf (>= 0.5) | debconf-2.0, perl:any\nDescription: x\n long\n\n\
                    Package: nginx\nVersion: 1.0-1\n\nPackage: a\nVersion: 2\n";
        let packages = parse_records(text);
        let nginx = &packages["nginx"];
        assert_eq!(nginx.depends, ["libc6", "libssl3", "debconf", "perl"]);
        assert_eq!(nginx.upstream_version(), "1.22.1");
        assert_eq!(packages["a"].upstream_version(), "2");
    }
}
