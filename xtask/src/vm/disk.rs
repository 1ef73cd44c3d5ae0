//! The guest's disk: an ext4 image with a small system, the repository's files and the tests, each at the path that it
//! has here, and the initramfs that mounts it.

use super::collect::{Test, Variable};
use super::kernel::{Kernel, Module, read_module};
use crate::{host, setup};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Free space on the disk, in MiB, besides what is put on it. The image is sparse.
const FREE_MIB: u64 = 4096;

/// Debian packages that go along, from this machine, besides those of the set-up; patterns of dpkg-query(1). What is in
/// none of them comes from busybox. Those that this machine has not are left out; a test that needs one says so.
const PACKAGES: &[&str] = &[
    "apparmor",
    "bash",
    "bsdutils",
    "btrfs-progs",
    "coreutils",
    "curl",
    "dash",
    "diffutils",
    "e2fsprogs",
    "findutils",
    "fuse3",
    "grep",
    "libcap2-bin",
    "libpython3.[0-9]*-minimal",
    "libpython3.[0-9]*-stdlib",
    "patch",
    "perl-base",
    "procps",
    "python3-minimal",
    "python3.[0-9]*-minimal",
    "sed",
    "strace",
    "tar",
    "zsh-common",
];

/// What a package has and no test reads.
const NOT_READ: &[&str] = &["/usr/share/doc/", "/usr/share/info/", "/usr/share/locale/", "/usr/share/man/"];

/// The two files that the machine boots from, besides the kernel.
pub(super) struct Disk {
    /// The root file system.
    pub(super) image: PathBuf,
    /// The initramfs.
    pub(super) initramfs: PathBuf,
}

impl Disk {
    /// Assembles both below `folder`.
    pub(super) fn make(
        folder: &Path,
        kernel: &Kernel,
        tests: &[Test],
        images: &Path,
        clients: &[Variable],
    ) -> Result<Disk> {
        let busybox = &host::find("busybox").context("busybox is not installed")?;
        let (to_start, all) = kernel.modules()?;
        let root = Tree::new(folder.join("root"))?;
        system(&root, busybox)?;
        modules(&root, kernel, &all, busybox)?;
        root.write("rhizome-vm/init", include_str!("guest.sh"), 0o755)?;
        root.copy_programs(&tests.iter().map(|test| test.program.clone()).collect::<Vec<_>>())?;
        for test in tests {
            root.copy(&test.script, &Path::new("/rhizome-vm/tests").join(file_name(&test.script)))?;
        }
        built(&root, images)?;
        for (_, client) in clients {
            match client.is_dir() {
                true => root.copy_tree(client, &|_| true)?,
                false => root.copy(client, client)?,
            }
        }
        let image = folder.join("root.ext4");
        make_image(&root.path, &image)?;
        let initramfs = folder.join("initramfs");
        make_initramfs(&folder.join("early"), &to_start, busybox, &initramfs)?;
        Ok(Disk { image, initramfs })
    }
}

/// A small system: busybox, the tools, and the files in /etc that programs look into.
fn system(root: &Tree, busybox: &Path) -> Result<()> {
    // The folders that every Debian system has.
    for dir in [
        "boot", "dev", "etc", "home", "media", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp",
        "usr",
    ] {
        root.dir(dir)?;
    }
    for dir in ["var/cache", "var/lib", "var/log", "var/spool", "var/tmp"] {
        root.dir(dir)?;
    }
    for dir in ["bin", "sbin", "lib", "lib64"] {
        root.dir(&format!("usr/{dir}"))?;
        symlink(format!("usr/{dir}"), root.path.join(dir)).with_context(|| format!("link {dir}"))?;
    }
    for dir in ["tmp", "var/tmp"] {
        let path = root.path.join(dir);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o1777)).context("chmod tmp")?;
    }
    root.copy(busybox, Path::new("/usr/bin/busybox"))?;
    let applets = host::output(Command::new(busybox).arg("--list"))?;
    for applet in String::from_utf8_lossy(&applets).lines().filter(|name| *name != "busybox") {
        let at = root.path.join("usr/bin").join(applet);
        symlink("busybox", &at).with_context(|| format!("link {}", at.display()))?;
    }
    // The kernel calls it by this path to load a module that a mount or a socket asks for.
    symlink("../bin/busybox", root.path.join("usr/sbin/modprobe")).context("link modprobe")?;
    root.copy_programs(&files_of_packages()?)?;
    // Debian's is a link that no package lists.
    root.copy(&host::find("dash").context("dash is not installed")?, Path::new("/usr/bin/sh"))?;
    // Made when the package is set up, so no package lists it: what a client trusts.
    let authorities = Path::new("/etc/ssl/certs/ca-certificates.crt");
    if authorities.exists() {
        root.copy(authorities, authorities)?;
    }
    let files = [
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
        ),
        ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
        ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        ("etc/hostname", "rhizome-vm\n"),
        ("etc/resolv.conf", "nameserver 192.0.2.1\n"),
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
        ("etc/mtab", ""),
    ];
    files.iter().try_for_each(|(path, text)| root.write(path, text, 0o644))
}

/// The files of the set-up's packages and of [`PACKAGES`], and the programs of the set-up that no package lists, being
/// links (update-alternatives(1)).
fn files_of_packages() -> Result<Vec<PathBuf>> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${db:Status-Status} ${binary:Package}\n"]).args(PACKAGES);
    // It fails if one of them is not there, and lists the others.
    let listed = query.args(setup::packages()).output().context("cannot start dpkg-query")?.stdout;
    let listed = String::from_utf8_lossy(&listed);
    let mut list = Command::new("dpkg");
    list.arg("--listfiles").args(listed.lines().filter_map(|line| line.strip_prefix("installed ")));
    let list = host::output(&mut list)?;
    let list = String::from_utf8_lossy(&list).into_owned();
    let files = list.lines().filter(|path| !NOT_READ.iter().any(|folder| path.starts_with(folder)));
    let files = files.map(PathBuf::from).filter(|path| path.is_file());
    Ok(files.chain(setup::programs().filter_map(host::find)).collect())
}

fn modules(root: &Tree, kernel: &Kernel, modules: &[Module], busybox: &Path) -> Result<()> {
    let folder = format!("usr/lib/modules/{}", kernel.release);
    for module in modules {
        root.write(&format!("{folder}/{}.ko", module.name), read_module(&module.file)?, 0o644)?;
    }
    host::output(Command::new(busybox).args(["depmod", "-b"]).arg(&root.path).arg(&kernel.release)).map(drop)
}

/// The repository's files, the programs that cargo built beside the tests, and the images of the set-up.
fn built(root: &Tree, images: &Path) -> Result<()> {
    let target = host::target_dir();
    // What cargo makes may lie elsewhere today, and what it made before here, or behind a link: gigabytes.
    let written = |path: &Path| path != target && !path.ends_with("target") && !path.ends_with(".git");
    root.copy_tree(&host::workspace(), &written)?;
    root.copy_tree(images, &|path| path.extension().is_some_and(|ending| ending == "tar"))?;
    for profile in ["debug", "release"] {
        let Ok(entries) = std::fs::read_dir(target.join(profile)) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none() && is_program(&path) && !path.ends_with("xtask") {
                root.copy_programs(&[path])?;
            }
        }
    }
    Ok(())
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

fn is_library(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so"))
}

/// The image is as large as what is in it and the free space; unused blocks take no room here.
fn make_image(tree: &Path, image: &Path) -> Result<()> {
    let mke2fs = host::find("mke2fs").context("mke2fs is not installed")?;
    if image.exists() {
        std::fs::remove_file(image).with_context(|| format!("remove {}", image.display()))?;
    }
    let size = format!("{}m", size_bytes(tree)? / (1024 * 1024) + FREE_MIB);
    let mut command = Command::new(mke2fs);
    command.args(["-q", "-t", "ext4", "-m", "0", "-E", "root_owner=0:0", "-d"]);
    host::output(command.arg(tree).arg(image).arg(size)).map(drop)
}

fn size_bytes(tree: &Path) -> Result<u64> {
    let mut size = 0;
    for entry in std::fs::read_dir(tree).with_context(|| format!("read {}", tree.display()))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        size += if metadata.is_dir() { size_bytes(&entry.path())? + 4096 } else { metadata.len() };
    }
    Ok(size)
}

fn make_initramfs(folder: &Path, to_start: &[Module], busybox: &Path, file: &Path) -> Result<()> {
    let tree = Tree::new(folder.to_path_buf())?;
    for dir in ["dev", "proc", "sys", "root", "modules"] {
        tree.dir(dir)?;
    }
    tree.copy(busybox, Path::new("/bin/busybox"))?;
    tree.write("init", include_str!("early.sh"), 0o755)?;
    for (index, module) in to_start.iter().enumerate() {
        let name = format!("modules/{index:02}-{}.ko", module.name);
        tree.write(&name, read_module(&module.file)?, 0o644)?;
    }
    let pack = r#"cd "$1" && find . | "$2" cpio -o -H newc"#;
    let mut command = Command::new(busybox);
    command.args(["sh", "-c", pack, "sh"]).arg(folder).arg(busybox);
    std::fs::write(file, host::output(&mut command)?).with_context(|| format!("write {}", file.display()))
}

fn file_name(path: &Path) -> &std::ffi::OsStr {
    path.file_name().unwrap_or_default()
}

/// A folder that becomes a root file system.
struct Tree {
    path: PathBuf,
}

impl Tree {
    /// An empty one; what was there before is removed.
    fn new(path: PathBuf) -> Result<Tree> {
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
        std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Tree { path })
    }

    fn dir(&self, path: &str) -> Result<()> {
        let path = self.path.join(path);
        std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let path = self.path.join(path);
        self.make_way(&path)?;
        std::fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))
            .with_context(|| format!("chmod {}", path.display()))
    }

    /// Makes the folder that `path` is in, and removes what is at `path` (a link to busybox, say).
    fn make_way(&self, path: &Path) -> Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Copies a file of this machine to the absolute path `at` in the tree.
    fn copy(&self, file: &Path, at: &Path) -> Result<()> {
        let to = self.path.join(at.strip_prefix("/").unwrap_or(at));
        self.make_way(&to)?;
        std::fs::copy(file, &to)
            .map(drop)
            .with_context(|| format!("copy {} to {}", file.display(), to.display()))
    }

    /// Copies files to their own paths, with the shared libraries that the programs among them need.
    fn copy_programs(&self, programs: &[PathBuf]) -> Result<()> {
        for program in programs {
            self.copy(program, program)?;
        }
        let with_libraries = |path: &&PathBuf| is_program(path) || is_library(path);
        for library in libraries(programs.iter().filter(with_libraries))? {
            if !self.path.join(library.strip_prefix("/").unwrap_or(&library)).exists() {
                self.copy(&library, &library)?;
            }
        }
        Ok(())
    }

    /// Copies a folder to its own path, leaving out what `wanted` refuses and what is neither file, folder nor link.
    fn copy_tree(&self, folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<()> {
        let to = self.path.join(folder.strip_prefix("/").unwrap_or(folder));
        std::fs::create_dir_all(&to).with_context(|| format!("create {}", to.display()))?;
        for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if !wanted(&path) {
                continue;
            }
            if kind.is_dir() {
                self.copy_tree(&path, wanted)?;
            } else if kind.is_symlink() {
                let target = std::fs::read_link(&path).with_context(|| format!("read {}", path.display()))?;
                let at = to.join(file_name(&path));
                symlink(target, &at).with_context(|| format!("link {}", at.display()))?;
            } else if kind.is_file() {
                self.copy(&path, &path)?;
            }
        }
        Ok(())
    }
}

/// The shared libraries and the loader of programs, as ldd prints them; none of those that are static or scripts.
fn libraries<'a>(programs: impl Iterator<Item = &'a PathBuf>) -> Result<BTreeSet<PathBuf>> {
    let output = Command::new("ldd").args(programs).output().context("cannot start ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    // What is "not found" is not there on this machine either: a plugin of a package that nobody has asked for.
    // `/usr/bin/mount:` begins what is said of a program when there are several.
    let libraries = text.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':'));
    Ok(libraries.map(PathBuf::from).collect())
}
