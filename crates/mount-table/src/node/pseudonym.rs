//! A node with other names, to be shown to strangers: what is mounted where, and with whom it is shared, stays as it was.

use super::{Container, Keeper, NamespaceView, Node, Owner};
use crate::Mount;
use crate::text::readable;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Names that are the same on every machine, and say nothing about one.
const KNOWN: &[&str] = &[
    "",
    "bin",
    "boot",
    "bpf",
    "bus",
    "cgroup",
    "config",
    "containerd",
    "containers",
    "cpu",
    "cpuacct",
    "cpuset",
    "data",
    "debug",
    "dev",
    "devices",
    "devpts",
    "devtmpfs",
    "docker",
    "etc",
    "freezer",
    "fs",
    "home",
    "hostname",
    "hosts",
    "hugepages",
    "hugetlb",
    "io",
    "kernel",
    "keys",
    "kubelet",
    "kubepods",
    "kubepods.slice",
    "kubernetes.io",
    "lib",
    "lock",
    "media",
    "memory",
    "merged",
    "mnt",
    "mqueue",
    "net",
    "netns",
    "null",
    "opt",
    "overlay",
    "perf_event",
    "pids",
    "plugins",
    "pods",
    "proc",
    "pts",
    "resolv.conf",
    "rhizome",
    "root",
    "rootfs",
    "run",
    "sbin",
    "security",
    "shm",
    "snapshots",
    "srv",
    "storage",
    "sys",
    "system.slice",
    "systemd",
    "tmp",
    "tracing",
    "tty",
    "unified",
    "user",
    "user.slice",
    "usr",
    "var",
    "volume-subpaths",
    "volumes",
    "blkio",
    "rw",
    "ro",
    "none",
    "tmpfs",
    "sysfs",
    "cgroup2",
    "nsfs",
    "rdma",
    "misc",
];

impl Node {
    /// Gives every name another one: parts of paths, sources, words in options that are no numbers, names of processes,
    /// containers, pods and services, and their ids. The same name becomes the same name everywhere, so that paths that
    /// lie below each other still do. What is the same on every machine (`/var/lib/kubelet`, `tmpfs`) stays. Numbers
    /// (ids, devices, times, sizes) stay too. The boot id goes.
    pub fn pseudonymise(&mut self) {
        let mut names = Names::default();
        self.boot_id = None;
        for view in &mut self.namespaces {
            names.view(view);
        }
        // Errors quote paths.
        for gap in &mut self.gaps {
            if gap.why.contains('/') {
                gap.why = "it could not be read".to_owned();
            }
        }
    }
}

#[derive(Debug, Default)]
struct Names {
    given: HashMap<Vec<u8>, String>,
}

impl Names {
    fn view(&mut self, view: &mut NamespaceView) {
        for mount in &mut view.mounts.mounts {
            self.mount(mount);
        }
        if let Some(path) = &mut view.seen_from {
            *path = self.path(path);
        }
        match &mut view.owner {
            Owner::Container(container) => self.container(container),
            Owner::Service { name } => *name = format!("{}.service", self.text(name)),
            _ => {}
        }
        for process in &mut view.processes {
            process.comm = self.text(&process.comm);
            process.root = process.root.as_deref().map(|path| self.path(path));
            if let Some(container) = &mut process.container {
                self.container(container);
            }
        }
        for keeper in &mut view.kept_by {
            match keeper {
                Keeper::Descriptor { comm, .. } | Keeper::Thread { comm, .. } => *comm = self.text(comm),
                Keeper::Bind { mount_point, .. } => *mount_point = self.path(mount_point),
            }
        }
    }

    fn mount(&mut self, mount: &mut Mount) {
        mount.mount_point = self.path(&mount.mount_point);
        // A root that is no path is the name of a namespace, which is a number.
        if mount.root.is_absolute() {
            mount.root = self.path(&mount.root);
        }
        mount.source = self.words(&mount.source);
        let options: Vec<String> = mount.super_options.split(',').map(|option| self.option(option)).collect();
        mount.super_options = options.join(",");
    }

    fn container(&mut self, container: &mut Container) {
        container.id = self.text(&container.id);
        container.name = container.name.as_deref().map(|name| self.text(name));
        if let Some(pod) = &mut container.pod {
            for name in [&mut pod.uid, &mut pod.namespace, &mut pod.name].into_iter().flatten() {
                *name = self.text(name);
            }
        }
    }

    fn path(&mut self, path: &Path) -> PathBuf {
        let parts = path.as_os_str().as_bytes().split(|&byte| byte == b'/');
        let parts: Vec<String> = parts.map(|part| self.name(part)).collect();
        PathBuf::from(OsString::from_vec(parts.join("/").into_bytes()))
    }

    /// `KEY=VALUE` with the value's names replaced; a word alone is a flag of the file system, and stays.
    fn option(&mut self, option: &str) -> String {
        match option.split_once('=') {
            Some((key, value)) => format!("{key}={}", self.words(value)),
            None => option.to_owned(),
        }
    }

    /// Paths with colons between them, as overlayfs has them, or other words.
    fn words(&mut self, text: &str) -> String {
        let is_number =
            |word: &str| word.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G', '%']).parse::<u64>().is_ok();
        let words = text.split(':').map(|word| match word {
            word if is_number(word) => word.to_owned(),
            word => readable(self.path(Path::new(OsStr::new(word))).as_os_str().as_bytes()),
        });
        words.collect::<Vec<_>>().join(":")
    }

    fn text(&mut self, text: &str) -> String {
        self.name(text.as_bytes())
    }

    fn name(&mut self, name: &[u8]) -> String {
        if let Ok(text) = std::str::from_utf8(name)
            && (KNOWN.contains(&text) || !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        {
            return text.to_owned();
        }
        let next = self.given.len() + 1;
        self.given.entry(name.to_vec()).or_insert_with(|| format!("name-{next}")).clone()
    }
}
