//! A root of its own, with busybox in it, whose pods are gone when it is dropped.
#![allow(dead_code, unreachable_pub, missing_docs)]

use crate::support::{Ran, images, is_root, ran, rhizome};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A root, and a folder of volumes beside it.
pub struct World {
    directory: tempfile::TempDir,
    root: String,
    isolated: bool,
}

impl World {
    /// A world with mounts of its own, or the reason why there is none was said.
    pub fn isolated(name: &str) -> Option<World> {
        World::new(name, true)
    }

    /// A world in the mounts of whoever runs the tests.
    pub fn new(name: &str, isolated: bool) -> Option<World> {
        if !is_root(name) {
            return None;
        }
        let image = images(name)?.join("busybox.tar");
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root").to_str().unwrap().to_owned();
        std::fs::create_dir(directory.path().join("volume")).unwrap();
        let world = World { directory, root, isolated };
        let imported = world.run(&["image", "import", image.to_str().unwrap(), "--name", "busybox"]);
        assert_eq!((imported.status, imported.stderr.as_str()), (0, ""));
        Some(world)
    }

    /// A command with this root.
    pub fn command(&self, args: &[&str]) -> Command {
        rhizome(&[&["--root", self.root.as_str()], args].concat())
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        ran(self.command(args).output().unwrap())
    }

    /// Runs it with something on standard input.
    pub fn run_with_input(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may end without reading all of it.
        let _ = child.stdin.take().unwrap().write_all(input);
        ran(child.wait_with_output().unwrap())
    }

    /// The arguments of a `run` in this world.
    pub fn run_args<'a>(&self, more: &[&'a str]) -> Vec<&'a str> {
        let isolated: &[&str] = if self.isolated { &["--isolated"] } else { &[] };
        [&["run"], isolated, more].concat()
    }

    /// `run -d`, which must succeed.
    pub fn start(&self, manifest: &str) {
        let ran = self.run_with_input(&self.run_args(&["-d", "-"]), manifest.as_bytes());
        assert_eq!(ran.status, 0, "{ran:?}\n{manifest}");
    }

    /// A manifest in a file.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A folder that pods can have as a hostPath.
    pub fn volume(&self) -> PathBuf {
        self.directory.path().join("volume")
    }

    /// The root.
    pub fn root(&self) -> &Path {
        Path::new(&self.root)
    }

    /// The keeper of its mounts, if there is one that lives.
    pub fn keeper(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.root().join("lib/keeper.json")).ok()?;
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        let pid = record["pid"].as_u64().unwrap() as u32;
        std::fs::exists(format!("/proc/{pid}")).unwrap().then_some(pid)
    }

    /// Runs a shell command where a person at the node would, that is among the root's own mounts.
    pub fn on_host(&self, script: &str) -> Ran {
        let keeper = self.keeper().expect("isolated and in use").to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &keeper, "--mount", "sh", "-c", script]).stdin(Stdio::null());
        ran(command.output().unwrap())
    }

    /// Processes whose command line names the root: supervisors and keepers.
    pub fn processes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap() {
            let line = std::fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(&self.root) && line.starts_with("rhizome ") {
                found.push(line);
            }
        }
        found
    }

    /// The pids of this root's supervisors.
    pub fn supervisors(&self) -> Vec<u32> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap() {
            let path = entry.unwrap().path();
            let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(&self.root) && line.starts_with("rhizome supervise ") {
                found.extend(path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
            }
        }
        found
    }

    /// How many cgroups this root has, in all hierarchies.
    pub fn cgroups(&self) -> usize {
        fn below(folder: &Path) -> usize {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            folders.map(|entry| 1 + below(&entry.path())).sum()
        }
        let hash = agent::Root::at(self.root()).root_hash();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let cgroups = mounts.lines().filter(|line| line.contains(" - cgroup"));
        cgroups
            .filter_map(|line| line.split(' ').nth(4))
            .map(|at| below(&Path::new(at).join("rhizome").join(&hash)))
            .sum()
    }

    /// Waits until nothing of ours runs or is mounted any more, and that what lies there is only the images.
    pub fn assert_nothing_left(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.processes().is_empty() {
            assert!(Instant::now() < deadline, "{:?}", self.processes());
            std::thread::sleep(Duration::from_millis(10));
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&self.root), "{mounts}");
        for folder in ["lib/pods", "lib/containers", "lib/kept", "run/pods", "run/runtime"] {
            let folder = self.root().join(folder);
            let names =
                std::fs::read_dir(&folder).map(|all| all.map(|e| e.unwrap().file_name()).collect::<Vec<_>>());
            assert_eq!(names.unwrap_or_default(), [""; 0], "{}", folder.display());
        }
        let cgroups = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        for line in cgroups.lines().filter(|line| line.contains(" - cgroup")) {
            let mount_point = line.split(' ').nth(4).unwrap();
            let ours = Path::new(mount_point).join("rhizome");
            assert!(self.cgroups_below(&ours).is_empty(), "{}", ours.display());
        }
    }

    /// Cgroups of this root's pods: its folders are named by a hash, so they are known by their pods' uids.
    fn cgroups_below(&self, folder: &Path) -> Vec<PathBuf> {
        let uids = std::fs::read_to_string(self.directory.path().join("uids")).unwrap_or_default();
        let mut found = Vec::new();
        for root in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            for pod in std::fs::read_dir(root.path()).into_iter().flatten().flatten() {
                let name = pod.file_name().to_string_lossy().into_owned();
                if uids.lines().any(|uid| name == format!("pod{uid}")) {
                    found.push(pod.path());
                }
            }
        }
        found
    }

    /// Remembers the pods that are there, so that [`World::assert_nothing_left`] looks for their cgroups.
    pub fn remember_pods(&self) {
        let list = self.run(&["ps", "-aA", "-o", "json"]);
        let list: serde_json::Value = serde_json::from_str(&list.stdout).unwrap();
        let uids =
            list["items"].as_array().unwrap().iter().map(|pod| pod["metadata"]["uid"].as_str().unwrap());
        std::fs::write(self.directory.path().join("uids"), uids.collect::<Vec<_>>().join("\n")).unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.run(&["rm", "-fa"]);
    }
}
