//! Debian's kernel package, unpacked and not installed: a kernel image, and the modules that the guest needs.

use crate::{host, setup};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Modules that the guest cannot start without, unless they are built in.
const TO_START: &[&str] = &["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"];

/// Modules that go along, for the kernel to load when they are asked for, as on a user's machine.
const TO_GO_ALONG: &[&str] = &[
    "overlay",
    "fuse",
    "loop",
    "squashfs",
    "isofs",
    "autofs4",
    "binfmt_misc",
    "configfs",
    "veth",
    "dummy",
    "tun",
    "bridge",
    "br_netfilter",
    "nf_tables",
    "nft_chain_nat",
    "nft_masq",
    "nft_compat",
    "nft_ct",
    "ip_tables",
    "iptable_nat",
    "iptable_filter",
    "xt_MASQUERADE",
    "xt_addrtype",
    "xt_conntrack",
    "xt_comment",
    "xt_mark",
    "xt_multiport",
    "xt_nat",
    "xt_tcpudp",
];

/// A kernel to boot.
pub(super) struct Kernel {
    /// `uname -r`.
    pub(super) release: String,
    /// The image.
    pub(super) image: PathBuf,
    /// `/lib/modules/<release>`.
    modules: PathBuf,
}

/// A module and where its file is.
pub(super) struct Module {
    /// Its name, with `_` for `-`.
    pub(super) name: String,
    /// Its file, `.ko` or `.ko.xz`.
    pub(super) file: PathBuf,
}

impl Kernel {
    /// The kernel that `linux-image-amd64` stands for in the Debian of this machine.
    pub(super) fn of_this_debian(folder: &Path) -> Result<Kernel> {
        setup::with_lists(|| Kernel::of_apt(folder)).context(
            "cannot have the kernel that apt's linux-image-amd64 stands for; on another system give --kernel PACKAGE.deb",
        )
    }

    fn of_apt(folder: &Path) -> Result<Kernel> {
        let package = current_package()?;
        let release = package.trim_start_matches("linux-image-").to_owned();
        let installed = Kernel {
            image: PathBuf::from(format!("/boot/vmlinuz-{release}")),
            modules: PathBuf::from(format!("/lib/modules/{release}")),
            release,
        };
        if installed.image.is_file() && installed.modules.join("kernel").is_dir() {
            return Ok(installed);
        }
        let packages = folder.join("packages");
        std::fs::create_dir_all(&packages).with_context(|| format!("create {}", packages.display()))?;
        let file = match downloaded(&packages, &package)? {
            Some(file) => file,
            None => {
                println!("downloading {package} (it is unpacked below {}, not installed)", folder.display());
                let mut command = Command::new("apt-get");
                // As whoever we are: apt's own user may not write here.
                command.args(["download", "--quiet", "-o", "APT::Sandbox::User=root", &package]);
                host::run(command.current_dir(&packages))?;
                downloaded(&packages, &package)?
                    .with_context(|| format!("apt-get download left no {package} package"))?
            }
        };
        Kernel::from_packages(&[file], folder)
    }

    /// The kernel in Debian packages: one, or image and modules apart.
    pub(super) fn from_packages(packages: &[PathBuf], folder: &Path) -> Result<Kernel> {
        let names: Vec<_> = packages.iter().filter_map(|package| package.file_stem()?.to_str()).collect();
        let unpacked = folder.join("kernels").join(names.join("+"));
        if !unpacked.is_dir() {
            // Under another name until it is whole.
            let partial = folder.join("kernels/partial");
            if partial.exists() {
                std::fs::remove_dir_all(&partial).with_context(|| format!("remove {}", partial.display()))?;
            }
            std::fs::create_dir_all(&partial).with_context(|| format!("create {}", partial.display()))?;
            for package in packages {
                host::run(Command::new("dpkg-deb").arg("-x").arg(package).arg(&partial))?;
            }
            std::fs::rename(&partial, &unpacked).with_context(|| format!("rename {}", partial.display()))?;
        }
        Kernel::in_folder(&unpacked)
            .with_context(|| format!("{} holds no Debian kernel", names.join(" and ")))
    }

    fn in_folder(folder: &Path) -> Result<Kernel> {
        let modules = [folder.join("lib/modules"), folder.join("usr/lib/modules")];
        let modules = modules.iter().find(|dir| dir.is_dir()).context("they have no modules")?;
        let mut releases =
            std::fs::read_dir(modules).with_context(|| format!("read {}", modules.display()))?;
        let modules = releases.next().context("they have no modules")??.path();
        let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let images = [folder.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")];
        let image = images.into_iter().find(|image| image.is_file()).context("they have no image")?;
        Ok(Kernel { release, image, modules })
    }

    /// The modules to load before there is a disk, and all modules that go along; each after what it needs.
    pub(super) fn modules(&self) -> Result<(Vec<Module>, Vec<Module>)> {
        let mut files = BTreeMap::new();
        find_modules(&self.modules.join("kernel"), &mut files)?;
        // A list of what is built in does not come with every package; then a module that has no file is taken for it.
        if let Ok(builtin) = std::fs::read_to_string(self.modules.join("modules.builtin")) {
            let builtin: BTreeSet<_> =
                builtin.lines().filter_map(|line| module_name(Path::new(line))).collect();
            for name in TO_START {
                // crc32c_generic became a part of the kernel's library in Linux 6.15.
                if !files.contains_key(*name) && !builtin.contains(*name) && *name != "crc32c_generic" {
                    bail!("the kernel {} has no module {name}", self.release);
                }
            }
        }
        let in_order = |names: &[&str]| -> Result<Vec<Module>> {
            let mut order = Order { files: &files, seen: BTreeSet::new(), order: Vec::new() };
            names.iter().try_for_each(|name| order.add(name))?;
            Ok(order.order)
        };
        Ok((in_order(TO_START)?, in_order(&[TO_START, TO_GO_ALONG].concat())?))
    }
}

/// The name of the package that `linux-image-amd64` depends on.
fn current_package() -> Result<String> {
    let text = host::output(Command::new("apt-cache").args(["depends", "linux-image-amd64"]))?;
    let text = String::from_utf8_lossy(&text);
    let name = text.split_whitespace().find(|word| word.starts_with("linux-image-") && word.contains('.'));
    name.map(str::to_owned)
        .context("apt knows no linux-image-amd64; the package lists may be empty: run apt-get update as root")
}

fn downloaded(packages: &Path, package: &str) -> Result<Option<PathBuf>> {
    let prefix = format!("{package}_");
    for entry in std::fs::read_dir(packages).with_context(|| format!("read {}", packages.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&prefix) && name.ends_with(".deb") {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// `kernel/fs/nls/nls_utf8.ko.xz` is `nls_utf8`.
fn module_name(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?;
    let stem = name.strip_suffix(".ko").or_else(|| name.strip_suffix(".ko.xz"))?;
    Some(stem.replace('-', "_"))
}

fn find_modules(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            find_modules(&path, files)?;
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// Modules in the order in which they can be loaded.
struct Order<'a> {
    files: &'a BTreeMap<String, PathBuf>,
    seen: BTreeSet<String>,
    order: Vec<Module>,
}

impl Order<'_> {
    fn add(&mut self, name: &str) -> Result<()> {
        // What has no file is built in, or is not in this kernel version.
        let Some(file) = self.files.get(name) else { return Ok(()) };
        if !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        for needed in needs(&read_module(file)?) {
            self.add(&needed)?;
        }
        self.order.push(Module { name: name.to_owned(), file: file.clone() });
        Ok(())
    }
}

/// A module's bytes, decompressed.
pub(super) fn read_module(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_some_and(|ending| ending == "xz") {
        return host::output(Command::new("xz").arg("-dc").arg(file));
    }
    std::fs::read(file).with_context(|| format!("read {}", file.display()))
}

/// What a module must have loaded before it: `depends=` and `softdep=pre:` of its `.modinfo` section, which holds
/// strings that end in NUL.
fn needs(module: &[u8]) -> Vec<String> {
    let mut needed = Vec::new();
    for string in module.split(|byte| *byte == 0) {
        let Ok(string) = std::str::from_utf8(string) else { continue };
        if let Some(names) = string.strip_prefix("depends=") {
            needed
                .extend(names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")));
        } else if let Some(names) = string.strip_prefix("softdep=pre: ") {
            needed.extend(names.split_whitespace().map(|name| name.replace('-', "_")));
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::{module_name, needs};
    use std::path::Path;

    #[test]
    fn names_of_module_files() {
        assert_eq!(module_name(Path::new("kernel/fs/a-b.ko.xz")).as_deref(), Some("a_b"));
        assert_eq!(module_name(Path::new("kernel/fs/ext4/ext4.ko")).as_deref(), Some("ext4"));
        assert_eq!(module_name(Path::new("modules.order")), None);
    }

    #[test]
    fn what_a_module_needs() {
        let module = b"\x7fELF\0license=GPL\0depends=jbd2,crc-16\0softdep=pre: crc32c\0\xff\0";
        assert_eq!(needs(module), ["jbd2", "crc_16", "crc32c"]);
        assert_eq!(needs(b"depends=\0"), [""; 0]);
    }
}
