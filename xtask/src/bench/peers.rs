//! The programs that do the same, as they are set up for a fair comparison: the same root file system, the same program.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::measure;
use crate::host;

/// Something that runs `true` in a container once.
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) command: Box<dyn Fn() -> Command>,
}

impl Contender {
    pub(crate) fn new(name: impl Into<String>, command: impl Fn() -> Command + 'static) -> Contender {
        Contender { name: name.into(), command: Box::new(command) }
    }
}

/// The first line of `PROGRAM --version`.
pub(crate) fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("of unknown version").trim().to_owned()
}

/// A directory with busybox's `true` and `sleep`, and nothing else.
pub(crate) fn make_layer(layer: &Path) -> Result<()> {
    for directory in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
        std::fs::create_dir_all(layer.join(directory))?;
    }
    let busybox = host::find("busybox").context("busybox is not installed")?;
    std::fs::copy(&busybox, layer.join("bin/busybox")).context("cannot copy busybox")?;
    for applet in ["true", "sleep", "sh"] {
        std::os::unix::fs::symlink("busybox", layer.join("bin").join(applet))?;
    }
    Ok(())
}

/// A bundle for the OCI runtimes: what `runc spec` writes, without a terminal and without resource limits that a process
/// without CAP_SYS_RESOURCE may not set.
fn make_bundle(bundle: &Path, layer: &Path) -> Result<()> {
    std::fs::create_dir_all(bundle)?;
    let layer = layer.display();
    let config = format!(
        r#"{{"ociVersion":"1.0.2",
"process":{{"terminal":false,"user":{{"uid":0,"gid":0}},"args":["/bin/true"],"env":["PATH=/bin"],"cwd":"/","noNewPrivileges":true,
"capabilities":{{"bounding":["CAP_KILL"],"effective":["CAP_KILL"],"permitted":["CAP_KILL"]}}}},
"root":{{"path":"{layer}","readonly":true}},"hostname":"bench",
"mounts":[
{{"destination":"/proc","type":"proc","source":"proc"}},
{{"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","mode=755","size=65536k"]}},
{{"destination":"/dev/pts","type":"devpts","source":"devpts","options":["nosuid","noexec","newinstance","ptmxmode=0666","mode=0620"]}},
{{"destination":"/dev/shm","type":"tmpfs","source":"shm","options":["nosuid","noexec","nodev","mode=1777","size=65536k"]}},
{{"destination":"/sys","type":"sysfs","source":"sysfs","options":["nosuid","noexec","nodev","ro"]}}],
"linux":{{"namespaces":[{{"type":"pid"}},{{"type":"network"}},{{"type":"ipc"}},{{"type":"uts"}},{{"type":"mount"}}],
"maskedPaths":["/proc/kcore","/proc/keys"],"readonlyPaths":["/proc/bus","/proc/sys"]}}}}"#
    );
    std::fs::write(bundle.join("config.json"), config).context("cannot write the bundle")
}

/// The runtimes that are installed and run here, and of the others why not.
pub(crate) fn for_one_life(work: &Path, layer: &Path) -> Result<(Vec<Contender>, Vec<String>)> {
    let bundle = work.join("bundle");
    make_bundle(&bundle, layer)?;
    let (mut present, mut absent) = (Vec::new(), Vec::new());
    // crun refuses a machine with both versions of cgroups; without them it does less than the others.
    let tries: [(&str, &str, &[&str]); 4] = [
        ("crun", "crun", &[]),
        ("crun", "crun without cgroups", &["--cgroup-manager=disabled"]),
        ("runc", "runc", &[]),
        ("youki", "youki", &[]),
    ];
    for (program, name, flags) in tries {
        if host::find(program).is_none() {
            absent.push(format!("{program}: not installed"));
            continue;
        }
        if present.iter().any(|c: &Contender| c.name.starts_with(program)) {
            continue;
        }
        let (state, bundle) = (work.join(program), bundle.clone());
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let run = move || {
            let mut command = Command::new(program);
            command
                .arg("--root")
                .arg(&state)
                .args(&flags)
                .args(["run", "--bundle"])
                .arg(&bundle)
                .arg("bench-once");
            command
        };
        match measure::run(&mut run()) {
            Ok(_) => present.push(Contender::new(name, run)),
            Err(error) => absent.push(format!("{name}: {error:#}")),
        }
    }
    absent.dedup();
    match host::find("bwrap") {
        Some(_) => present.push(bwrap(layer.to_owned())),
        None => absent.push("bwrap: not installed".to_owned()),
    }
    Ok((present, absent))
}

fn bwrap(layer: PathBuf) -> Contender {
    Contender::new("bwrap", move || {
        let mut command = Command::new("bwrap");
        command
            .args(["--unshare-all", "--ro-bind"])
            .arg(&layer)
            .args(["/", "--proc", "/proc", "--dev", "/dev"]);
        command.arg("/bin/true");
        command
    })
}

/// podman with a state of its own.
pub(crate) struct Podman {
    work: PathBuf,
}

impl Podman {
    /// Sets it up and tries one pod; `Err` says why it cannot run here.
    pub(crate) fn new(work: &Path, images: &Path, manifest: &Path) -> Result<Podman> {
        host::find("podman").context("not installed")?;
        std::fs::create_dir_all(work)?;
        let podman = Podman { work: work.to_owned() };
        let runtime = podman.write_runtime()?;
        let config = format!(
            "[containers]\nlog_driver = \"k8s-file\"\n[engine]\nruntime = \"{}\"\nevents_logger = \"none\"\n",
            runtime.display()
        );
        std::fs::write(podman.config(), config)?;
        measure::run(podman.command().args(["load", "-i"]).arg(images.join("busybox.tar")))?;
        measure::run(&mut podman.play(manifest))?;
        measure::run(&mut podman.remove("bench"))?;
        Ok(podman)
    }

    /// podman raises limits of the pause container that a machine without CAP_SYS_RESOURCE refuses: they are taken out of
    /// the bundle before runc sees it. That is a shell and a sed more than podman's own way.
    fn write_runtime(&self) -> Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.work.join("runtime");
        let script = r#"#!/bin/sh
before=
for argument in "$@"; do
    [ "$before" = --bundle ] && sed -i -e 's/,"rlimits":\[[^]]*\]//' -e 's/"rlimits":\[[^]]*\],//' "$argument/config.json"
    before=$argument
done
exec runc "$@"
"#;
        std::fs::write(&path, script)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    fn config(&self) -> PathBuf {
        self.work.join("containers.conf")
    }

    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        command.env("CONTAINERS_CONF", self.config());
        command.arg("--root").arg(self.work.join("root")).arg("--runroot").arg(self.work.join("run"));
        command
    }

    pub(crate) fn play(&self, manifest: &Path) -> Command {
        let mut command = self.command();
        command.args(["play", "kube", "--network", "none"]).arg(manifest);
        command
    }

    pub(crate) fn remove(&self, pod: &str) -> Command {
        let mut command = self.command();
        command.args(["pod", "rm", "--force", "--time", "0", pod]);
        command
    }

    /// conmon and the pause containers of all pods of this state.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let monitors = measure::processes_with(&["conmon", &self.work.display().to_string()]);
        let pauses = monitors.iter().flat_map(|pid| {
            let path = format!("/proc/{pid}/task/{pid}/children");
            let children = std::fs::read_to_string(path).unwrap_or_default();
            children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
        });
        let is_pause = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "catatonit")
        };
        let mut all: Vec<u32> = pauses.filter(is_pause).collect();
        all.extend(&monitors);
        all
    }
}
