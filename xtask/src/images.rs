//! The images that tests and demo run, assembled from Debian packages: `busybox.tar`, `nginx.tar` and `bindfs.tar`, OCI
//! archives.
//!
//! Made once and kept in the target directory; no registry is asked and nothing of the packages runs as root.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::oci_archive::OciArchive;
use crate::rootfs::RootFs;
use crate::{debian, host};

/// Raised whenever what is below changes what the images hold.
const VERSION: u32 = 1;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
";
const GROUP: &str = "\
root:x:0:
daemon:x:1:
bin:x:2:
tty:x:5:
adm:x:4:
www-data:x:33:
nogroup:x:65534:
";

/// What the article does inside its nginx containers beside nginx itself.
const NGINX_PACKAGES: &[&str] = &[
    "nginx",
    "nginx-common",
    "bash",
    "coreutils",
    "dash",
    "grep",
    "hostname",
    "libpam-modules",
    "mount",
    "sed",
    "util-linux",
];

/// Assembles what is not there yet, and gives the directory.
pub(crate) fn assemble() -> Result<PathBuf> {
    let dir = host::target_dir().join("rhizome-images");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    one(&dir, "busybox", busybox)?;
    one(&dir, "nginx", nginx)?;
    one(&dir, "bindfs", bindfs)?;
    Ok(dir)
}

fn one(dir: &Path, name: &str, make: fn(&Path) -> Result<(RootFs, String)>) -> Result<()> {
    let archive = dir.join(format!("{name}.tar"));
    let stamp = dir.join(format!("{name}.version"));
    let current = fs::read_to_string(&stamp).is_ok_and(|text| text == VERSION.to_string());
    if current && archive.is_file() {
        return Ok(());
    }
    if host::find("apt-get").is_none() {
        bail!(
            "the {name} image is assembled from Debian packages, and this system has no apt-get: \
             save one on a Debian system and put it at {}",
            archive.display()
        );
    }
    eprintln!("assembling the {name} image from Debian packages");
    let packages = dir.join(format!("{name}.packages"));
    let (root, config) = make(&packages)?;
    let draft = dir.join(format!("{name}.draft"));
    write(&draft, name, root, &config).with_context(|| format!("cannot write {}", draft.display()))?;
    fs::rename(&draft, &archive).with_context(|| format!("cannot make {}", archive.display()))?;
    fs::write(&stamp, VERSION.to_string()).with_context(|| format!("cannot write {}", stamp.display()))?;
    fs::remove_dir_all(&packages).with_context(|| format!("cannot remove {}", packages.display()))
}

fn write(path: &Path, name: &str, root: RootFs, config: &str) -> Result<()> {
    let mut archive = OciArchive::new(BufWriter::new(File::create(path)?))?;
    archive.layer(root.into_archive()?)?;
    archive.finish(&format!("docker.io/library/{name}:latest"), config)?.flush()?;
    Ok(())
}

/// A package's files on top of `root`; the packages that were used.
fn unpack(root: &mut RootFs, names: &[&str], dir: &Path) -> Result<Vec<debian::Package>> {
    let mut packages = Vec::new();
    for (package, archive) in debian::fetch(names, dir)? {
        let files = debian::files_of(&archive)?;
        root.add_package(&files).with_context(|| format!("cannot read {}", archive.display()))?;
        packages.push(package);
    }
    Ok(packages)
}

/// A file system in user space, with what a sidecar's script needs beside it. It runs as root, which mounts without
/// fusermount(1).
fn bindfs(dir: &Path) -> Result<(RootFs, String)> {
    let mut root = RootFs::new(true);
    unpack(&mut root, &["bindfs", "coreutils", "dash", "mount", "util-linux"], dir)?;
    base_files(&mut root);
    root.symlink("usr/bin/sh", "dash");
    Ok((root, format!(r#"{{"Env":["{PATH}"],"Cmd":["bindfs","--help"]}}"#)))
}

/// One static program under all its names, as the official image has it.
fn busybox(dir: &Path) -> Result<(RootFs, String)> {
    let mut package = RootFs::default();
    unpack(&mut package, &["busybox-static"], dir)?;
    let program = package.contents("usr/bin/busybox").context("busybox-static has no /bin/busybox")?.to_vec();
    let mut root = RootFs::new(false);
    root.file("etc/passwd", 0o644, PASSWD);
    root.file("etc/group", 0o644, GROUP);
    for name in applets(&program, dir)? {
        // Below the first by name, which is the file itself.
        root.hard_link(&format!("bin/{name}"), "bin/busybox");
    }
    root.file("bin/busybox", 0o755, program);
    root.directory("usr/sbin", 0o755);
    root.directory("var/tmp", 0o1777);
    root.symlink("var/run", "/run");
    let config = format!(r#"{{"Env":["{PATH}"],"Cmd":["sh"]}}"#);
    Ok((root, config))
}

fn applets(program: &[u8], dir: &Path) -> Result<Vec<String>> {
    let path = dir.join("busybox");
    fs::write(&path, program).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    let names = host::output(Command::new(&path).arg("--list"))?;
    let names: Vec<_> = String::from_utf8_lossy(&names).lines().map(str::to_owned).collect();
    if !names.iter().any(|name| name == "sh") {
        bail!("busybox lists no applet `sh`");
    }
    Ok(names)
}

/// nginx as the official image sets it up, on the part of Debian that the article's commands need.
fn nginx(dir: &Path) -> Result<(RootFs, String)> {
    let mut root = RootFs::new(true);
    let packages = unpack(&mut root, NGINX_PACKAGES, dir)?;
    base_files(&mut root);
    // What the packages' scripts would have done.
    root.symlink("usr/bin/sh", "dash");
    for service in ["auth", "account", "session", "password"] {
        let line = format!("{service} required pam_unix.so\n");
        root.file(&format!("etc/pam.d/common-{service}"), 0o644, line);
    }
    root.file("etc/nginx/conf.d/default.conf", 0o644, NGINX_SITE);
    root.symlink("var/log/nginx/access.log", "/dev/stdout");
    root.symlink("var/log/nginx/error.log", "/dev/stderr");
    let version = packages
        .iter()
        .find(|package| package.name == "nginx")
        .map(|package| package.upstream_version().to_owned())
        .context("nginx is not among its own packages")?;
    let config = format!(
        r#"{{"Env":["{PATH}","NGINX_VERSION={version}"],"Cmd":["nginx","-g","daemon off;"],"ExposedPorts":{{"80/tcp":{{}}}},"StopSignal":"SIGQUIT"}}"#
    );
    Ok((root, config))
}

const NGINX_SITE: &str = "\
server {
    listen 80;
    server_name localhost;
    location / {
        root /usr/share/nginx/html;
        index index.html;
    }
}
";

/// What Debian's base-files and base-passwd would bring.
fn base_files(root: &mut RootFs) {
    root.file("etc/passwd", 0o644, PASSWD);
    root.file("etc/group", 0o644, GROUP);
    root.file("etc/shadow", 0o640, "root:*:19000:0:99999:7:::\n");
    root.file("etc/environment", 0o644, "");
    root.file("etc/nsswitch.conf", 0o644, "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n");
    for name in ["backups", "cache", "lib", "local", "log", "mail", "opt", "spool"] {
        root.directory(&format!("var/{name}"), 0o755);
    }
    root.directory("var/tmp", 0o1777);
    root.directory("run/lock", 0o1777);
    root.symlink("var/run", "/run");
    root.symlink("var/lock", "/run/lock");
}
