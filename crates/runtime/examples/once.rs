//! One container's life through the CRI verbs, from a fresh process, for `cargo xtask bench`:
//! `once LAYER STATE PROGRAM…` runs a sandbox with one container and removes both;
//! `once --floor LAYER PROGRAM…` does only what no runtime can do without: clone3 into namespaces, a bind of the root,
//! three file systems, pivot_root, execve.

use manifest::cri::{ContainerConfig, NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxMetadata};
use runtime::{Dirs, Sandbox};
use rustix::fd::AsFd;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};
use std::convert::Infallible;
use std::error::Error;
use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use sys::namespace::Namespaces;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((flag, [layer, program @ ..])) if flag == "--floor" => floor(Path::new(layer), program),
        Some((layer, [state, program @ ..])) => once(Path::new(layer), Path::new(state), program),
        _ => Err("usage: once [--floor] LAYER [STATE] PROGRAM…".into()),
    }
}

fn once(layer: &Path, state: &Path, program: &[String]) -> Result<(), Box<dyn Error>> {
    let dirs = Dirs { state: state.join("runtime"), data: state.join("containers") };
    let metadata = PodSandboxMetadata {
        name: "once".to_owned(),
        uid: std::process::id().to_string(),
        namespace: "default".to_owned(),
        attempt: 0,
    };
    let cgroup_parent = format!("/rhizome/bench/pod{}", metadata.uid);
    let pod = PodSandboxConfig {
        metadata,
        cgroup_parent,
        hostname: "once".to_owned(),
        namespace_options: NamespaceOption { pid: NamespaceMode::Container, ..NamespaceOption::default() },
        ..PodSandboxConfig::default()
    };
    let image = image::Image {
        reference: "once".to_owned(),
        id: image::Digest::parse(&format!("sha256:{}", "0".repeat(64)))?,
        config: image::ImageConfig::default(),
        layers: vec![layer.to_path_buf()],
        size: 0,
    };
    let config =
        ContainerConfig { name: "main".to_owned(), command: program.to_vec(), ..ContainerConfig::default() };
    let sandbox = Sandbox::run(&dirs, pod)?;
    let mut container = sandbox.create_container(&config, &image)?;
    container.start()?;
    let exit = container.wait()?;
    sandbox.remove_container(&container.id)?;
    sandbox.remove()?;
    match exit.code {
        Some(0) => Ok(()),
        code => Err(format!("exit code {code:?}").into()),
    }
}

fn floor(layer: &Path, program: &[String]) -> Result<(), Box<dyn Error>> {
    let program: Vec<CString> =
        program.iter().map(|word| CString::new(word.as_str())).collect::<Result<_, _>>()?;
    let layer = PathBuf::from(layer);
    let namespaces = Namespaces::MOUNT
        | Namespaces::PROCESS_ID
        | Namespaces::NETWORK
        | Namespaces::INTER_PROCESS_COMMUNICATION
        | Namespaces::HOST_NAME_AND_NIS_DOMAIN_NAME;
    let child = sys::process::spawn(namespaces, None, || -> Infallible {
        let none: Option<&CStr> = None;
        let enter = || -> rustix::io::Result<()> {
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
            mount_bind(&layer, &layer)?;
            for (name, kind) in [("proc", "proc"), ("dev", "tmpfs"), ("sys", "sysfs")] {
                mount(kind, layer.join(name), kind, MountFlags::empty(), none)?;
            }
            rustix::process::chdir(&layer)?;
            rustix::process::pivot_root(".", ".")?;
            unmount(".", UnmountFlags::DETACH)
        };
        if enter().is_ok() {
            sys::process::execve(&program[0], &program, &[]);
        }
        sys::process::exit(127)
    })?;
    let _ = child.pidfd.as_fd();
    let status = rustix::process::waitpid(Some(child.pid), rustix::process::WaitOptions::empty())?;
    match status.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        code => Err(format!("exit status {code:?}").into()),
    }
}
