//! What is measured.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::measure::{Account, Sample, children_cpu_ms, median, memory_of, processes_with, run};
use super::peers::{self, Cgroups, Containerd, Contender, Podman};
use super::{node, pods};
use crate::host;

/// The figures by name, in the order of the page.
pub(crate) const NAMES: &[&str] = &[
    "life",
    "pod",
    "larger",
    "hundred",
    "idle",
    "memory",
    "receivers",
    "commands",
    "manifests",
    "model",
    "snapshot",
    "watch",
    "api",
];

/// One table of the page.
pub(crate) struct Figure {
    pub(crate) title: &'static str,
    /// What exactly was done and counted.
    pub(crate) about: String,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<(String, Vec<f64>)>,
    /// The column that the picture shows; none is drawn where rows are no contenders.
    pub(crate) drawn: Option<usize>,
}

/// Pods that are alive at once in `hundred`.
const MANY: usize = 100;
/// Pods whose memory is measured.
const PODS: usize = 10;
/// How long after the last start it is measured.
const SETTLE: Duration = Duration::from_secs(1);

pub(crate) struct Bench {
    root: PathBuf,
    images: PathBuf,
    rhizome: PathBuf,
    rounds: usize,
    absent: Vec<String>,
    podman: Option<Podman>,
    containerd: Option<Containerd>,
}

impl Bench {
    pub(crate) fn new(root: &Path, images: &Path, rhizome: &Path, rounds: usize) -> Result<Bench> {
        let (root, images, rhizome) = (root.to_owned(), images.to_owned(), rhizome.to_owned());
        let mut bench =
            Bench { root, images, rhizome, rounds, absent: Vec::new(), podman: None, containerd: None };
        let archive = bench.images.join("busybox.tar");
        run(bench.rhizome().args(["image", "import"]).arg(archive).args(["--name", "busybox:latest"]))?;
        let manifest = bench.manifest("bench", "")?;
        match Podman::new(&bench.root.join("podman"), &bench.images, &manifest) {
            Ok(podman) => bench.podman = Some(podman),
            Err(error) => bench.absent.push(format!("podman: {error:#}")),
        }
        match Containerd::start(&bench.root.join("containerd"), &bench.images) {
            Ok(containerd) => bench.containerd = Some(containerd),
            Err(error) => bench.absent.push(format!("containerd: {error:#}")),
        }
        Ok(bench)
    }

    /// The folder of all state.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Rhizome.
    pub(super) fn program(&self) -> &Path {
        &self.rhizome
    }

    /// Peers without a row, each with the reason.
    pub(crate) fn absent(&self) -> &[String] {
        &self.absent
    }

    /// What the figures depend on.
    pub(crate) fn machine(&self) -> Result<String> {
        let read = |path: &str| std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
        let kernel = read("/proc/sys/kernel/osrelease")?;
        let processor = read("/proc/cpuinfo")?;
        let model = processor.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or_default();
        let model = model.trim_start_matches(['\t', ' ', ':']);
        let count = processor.lines().filter(|l| l.starts_with("processor")).count();
        let load = read("/proc/loadavg")?;
        let date = String::from_utf8(host::output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?)?;
        let mut text = format!("{}, Linux {}, {count} × {model}", date.trim(), kernel.trim());
        let _ = write!(text, ", load at the end {}", load.split(' ').next().unwrap_or_default());
        let versions: Vec<String> = ["crun", "runc", "youki", "bwrap", "podman", "containerd"]
            .into_iter()
            .filter(|program| host::find(program).is_some())
            .map(peers::version)
            .collect();
        let _ = write!(
            text,
            ". {}; {}",
            peers::version(&self.rhizome.display().to_string()),
            versions.join("; ")
        );
        Ok(text)
    }

    pub(crate) fn measure(&mut self, name: &str) -> Result<Vec<Figure>> {
        match name {
            "life" => self.life(),
            "pod" => self.pod(),
            "larger" => self.larger(),
            "hundred" => self.hundred(),
            "idle" => self.idle(),
            "memory" => self.memory(),
            "receivers" => self.receivers(),
            "commands" => self.commands(),
            "manifests" => self.manifests(),
            "model" => super::model::figures(),
            "api" => self.api(),
            "snapshot" => Ok(vec![node::snapshot(&self.rhizome)?]),
            "watch" => Ok(vec![node::watch(&self.rhizome)?]),
            other => bail!("there is no figure {other:?}"),
        }
    }

    pub(super) fn rounds(&self) -> usize {
        self.rounds
    }

    pub(super) fn containerd(&self) -> Option<&Containerd> {
        self.containerd.as_ref()
    }

    pub(super) fn podman(&self) -> Option<&Podman> {
        self.podman.as_ref()
    }

    pub(super) fn rhizome(&self) -> Command {
        let mut command = Command::new(&self.rhizome);
        command.arg("--root").arg(self.root.join("rhizome"));
        command
    }

    /// A pod with one container that sleeps; `mounts` is added to container and pod.
    pub(super) fn manifest(&self, name: &str, extra: &str) -> Result<PathBuf> {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec:\n  restartPolicy: Never\n  \
             terminationGracePeriodSeconds: 0\n  containers:\n  - name: main\n    \
             image: docker.io/library/busybox:latest\n    imagePullPolicy: IfNotPresent\n    \
             command: [sleep, \"100000\"]\n{extra}"
        );
        let path = self.root.join(format!("{name}.yaml"));
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Measures all in turn, once for nothing and then as often as asked.
    pub(super) fn in_turn(&self, contenders: &[Contender]) -> Result<Vec<(String, Vec<f64>)>> {
        let tracks: Vec<Track<'_>> = contenders.iter().map(|contender| (contender, None)).collect();
        let names = contenders.iter().map(|contender| contender.name.clone());
        Ok(names.zip(self.medians(&tracks)?).collect())
    }

    /// Wall and processor time of each, in milliseconds.
    fn medians(&self, tracks: &[Track<'_>]) -> Result<Vec<Vec<f64>>> {
        let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); tracks.len()];
        for round in 0..=self.rounds {
            for ((contender, cgroups), samples) in tracks.iter().zip(&mut samples) {
                let sample = contender.run(*cgroups).with_context(|| contender.name.clone())?;
                if round > 0 {
                    samples.push(sample);
                }
            }
        }
        let middle = |samples: &Vec<Sample>, of: fn(&Sample) -> f64| {
            median(&samples.iter().map(of).collect::<Vec<f64>>())
        };
        Ok(samples
            .iter()
            .map(|samples| vec![middle(samples, |s| s.wall_ms), middle(samples, |s| s.cpu_ms)])
            .collect())
    }

    fn life(&mut self) -> Result<Vec<Figure>> {
        let work = self.root.join("life");
        let layer = work.join("layer");
        peers::make_layer(&layer)?;
        let once = self.rhizome.parent().context("rhizome is in no folder")?.join("examples/once");
        let (theirs, absent) = peers::for_one_life(&work, &layer)?;
        self.absent.extend(absent);
        let (ours, floor) = (once.clone(), once);
        let (our_layer, floor_layer, state) = (layer.clone(), layer, work.join("once"));
        let mut contenders = vec![
            Contender::new("rhizome (the CRI verbs)", move || {
                let mut command = Command::new(&ours);
                command.arg(&our_layer).arg(&state).arg("/bin/true");
                command
            }),
            Contender::new("floor", move || {
                let mut command = Command::new(&floor);
                command.arg("--floor").arg(&floor_layer).arg("/bin/true");
                command
            }),
        ];
        contenders.extend(theirs);
        let (first, second) = (Cgroups::of_version(1)?, Cgroups::of_version(2)?);
        let mut views = vec![None];
        views.extend(second.as_ref().map(Some));
        // By contender and view; where the machine as it is is refused, with version 1 alone.
        let mut tracks: Vec<Track<'_>> = Vec::new();
        let mut rows = Vec::new();
        for contender in &contenders {
            let mut name = contender.name.clone();
            let mut row = Vec::new();
            for view in &views {
                let mut tried = contender.run(*view).map(|_| *view);
                if tried.is_err()
                    && view.is_none()
                    && let Some(first) = &first
                {
                    tried = contender.run(Some(first)).map(|_| Some(first));
                    name = format!("{name} (on the left: v1 alone)");
                }
                match tried {
                    Ok(view) => {
                        row.push(Some(tracks.len()));
                        tracks.push((contender, view));
                    }
                    Err(error) => {
                        row.push(None);
                        self.absent.push(format!("{}: {error:#}", contender.name));
                    }
                }
            }
            rows.push((name, row));
        }
        let measured = self.medians(&tracks)?;
        let values = |row: Vec<Option<usize>>| -> Vec<f64> {
            row.into_iter().flat_map(|at| at.map_or(vec![f64::NAN; 2], |at| measured[at].clone())).collect()
        };
        let mut columns = vec!["wall ms", "CPU ms"];
        if views.len() > 1 {
            columns = vec!["v1 and v2, wall ms", "CPU ms", "v2 alone, wall ms", "CPU ms"];
        }
        Ok(vec![Figure {
            title: "One container's life",
            about: "From a fresh process: sandbox and container made, `true` started, its exit seen, everything removed; \
                    the root file system is there. The floor is what no runtime can do without: clone3 into the same \
                    namespaces, a bind of the root, /proc, /dev and /sys, pivot_root, execve, wait; it makes no cgroup. On a \
                    machine with both versions of cgroups the same is measured in a mount namespace with version 2 alone, as \
                    most machines have it: that is one directory a cgroup to make and remove instead of ten."
                .to_owned(),
            columns,
            rows: rows.into_iter().map(|(name, row)| (name, values(row))).collect(),
            drawn: Some(0),
        }])
    }

    /// Who starts and removes a pod: the name, the start of a pod of a name and a manifest, its removal.
    fn of_pods(&self) -> Vec<OfPods<'_>> {
        let mut all = vec![OfPods {
            name: "rhizome",
            begin: Box::new(|_, manifest| {
                let mut command = self.rhizome();
                command.args(["run", "-d"]).arg(manifest);
                command
            }),
            remove: Box::new(|name| {
                let mut command = self.rhizome();
                command.args(["rm", "-f", name]);
                command
            }),
            beside: Box::new(|| {
                processes_with(&["supervise", &self.root.join("rhizome").display().to_string()])
            }),
        }];
        all.extend(self.podman.as_ref().map(|podman| OfPods {
            name: "podman",
            begin: Box::new(|_, manifest| podman.play(manifest)),
            remove: Box::new(|name| podman.remove(name)),
            beside: Box::new(|| podman.processes()),
        }));
        all.extend(self.containerd.as_ref().map(|containerd| OfPods {
            name: "containerd",
            begin: Box::new(|name, _| containerd.begin(name)),
            remove: Box::new(|name| containerd.remove(name)),
            beside: Box::new(|| containerd.processes()),
        }));
        all
    }

    fn pod(&mut self) -> Result<Vec<Figure>> {
        let manifest = self.manifest("bench", "")?;
        let contenders = self.of_pods();
        let mut took = vec![(Vec::new(), Vec::new()); contenders.len()];
        for round in 0..=self.rounds {
            for (contender, (start, removal)) in contenders.iter().zip(&mut took) {
                let begun = run(&mut (contender.begin)("bench", &manifest))?;
                let ended = run(&mut (contender.remove)("bench"))?;
                if round > 0 {
                    start.push(begun.wall_ms);
                    removal.push(ended.wall_ms);
                }
            }
        }
        let row = |(contender, (start, removal)): (&OfPods<'_>, &(Vec<f64>, Vec<f64>))| {
            (contender.name.to_owned(), vec![median(start), median(removal)])
        };
        Ok(vec![Figure {
            title: "A pod's start and removal",
            about: "A Pod with one container (`sleep`), the image there: from the command's start until it has returned, the \
                    container running; then its forced removal until nothing is left. podman (`play kube`, `pod rm`) has no network here, as a \
                    pod of ours, and calls runc through a script that takes resource limits out of the bundle which only \
                    CAP_SYS_RESOURCE may raise: a shell and a sed each time. containerd (`ctr run`, `task rm`, \
                    `container rm`) makes a container without a pod around it: its client for pods, crictl, is in no \
                    package of Debian's."
                .to_owned(),
            columns: vec!["run -d, wall ms", "rm -f, wall ms"],
            rows: contenders.iter().zip(&took).map(row).collect(),
            drawn: Some(0),
        }])
    }

    /// A pod with three containers and six volumes beside one with one and none.
    fn larger(&mut self) -> Result<Vec<Figure>> {
        let large = self.root.join("bench-large.yaml");
        std::fs::write(&large, pods::LARGE)?;
        let pods = [("bench", self.manifest("bench", "")?), ("bench-large", large)];
        let mut took = [Vec::new(), Vec::new()];
        for round in 0..=self.rounds {
            for ((name, manifest), took) in pods.iter().zip(&mut took) {
                let begun = run(self.rhizome().args(["run", "-d"]).arg(manifest))?;
                run(self.rhizome().args(["rm", "-f", name]))?;
                if round > 0 {
                    took.push(begun.wall_ms);
                }
            }
        }
        let times = took.map(|took| median(&took));
        let names = ["1 container", "3 containers, 6 volumes"];
        let rows = names.iter().zip(times).map(|(name, ms)| ((*name).to_owned(), vec![ms, ms / times[0]]));
        Ok(vec![Figure {
            title: "A larger pod",
            about: "`run -d` of a Pod with three containers and six volumes (emptyDir on disk and in memory, hostPath, \
                    configMap, secret, downwardAPI), each mounted in two of them, beside the one of before."
                .to_owned(),
            columns: vec!["run -d, wall ms", "times"],
            rows: rows.collect(),
            drawn: None,
        }])
    }

    /// What supervisors use of a processor while nothing happens but probes. They are put in a cgroup of their own, in which
    /// the processes that they make are too.
    fn idle(&mut self) -> Result<Vec<Figure>> {
        let Some(account) = Account::open()? else {
            self.absent
                .push("the cost of idle pods: there is no cgroup hierarchy that accounts for it".to_owned());
            return Ok(Vec::new());
        };
        let mut rows = Vec::new();
        for (name, probes) in [
            ("none", ""),
            ("httpGet and tcpSocket", pods::PROBES_OF_NETWORK),
            ("exec", pods::PROBE_OF_COMMAND),
        ] {
            for n in 0..MANY {
                let manifest = self.root.join("bench-idle.yaml");
                std::fs::write(&manifest, pods::IDLE.replace("NUMBER", &n.to_string()) + probes)?;
                let mut command = account.command(&self.rhizome);
                command.arg("--root").arg(self.root.join("rhizome")).args(["run", "-d"]).arg(&manifest);
                run(&mut command)?;
            }
            std::thread::sleep(SETTLE);
            let (begun, before) = (Instant::now(), account.used_ms()?);
            std::thread::sleep(IDLE_FOR);
            let used = account.used_ms()? - before;
            rows.push((name.to_owned(), vec![used / (begun.elapsed().as_secs_f64() * 1000.0) * 100.0]));
            if name == "exec" {
                rows.push(("exec: the command alone".to_owned(), vec![bare_command()?]));
            }
            run(self.rhizome().args(["rm", "-f", "--all"]))?;
        }
        self.check_nothing_left()?;
        Ok(vec![Figure {
            title: "A hundred idle pods",
            about: format!(
                "{MANY} pods with one container, which serves HTTP; what all processes of ours use of one core, by the \
                 kernel's account of a cgroup that only they are in, over {} seconds. Probes every 10 seconds, as Kubernetes \
                 has it where nothing is said: a readinessProbe by httpGet with a livenessProbe by tcpSocket; or one that \
                 runs a command (`true` of the container's busybox). The last row is its floor: that command as often, by vfork and \
                 execve alone, in no cgroup or namespace of its own, and of that only what the child takes.",
                IDLE_FOR.as_secs()
            ),
            columns: vec!["% of a core"],
            rows,
            drawn: None,
        }])
    }

    fn hundred(&mut self) -> Result<Vec<Figure>> {
        let (mut starts, mut removals) = (Vec::new(), Vec::new());
        for n in 0..MANY {
            let manifest = self.manifest(&format!("bench-{n}"), "")?;
            starts.push(run(self.rhizome().args(["run", "-d"]).arg(&manifest))?.wall_ms);
        }
        let ps = self.in_turn(&[self.ps()])?;
        for n in 0..MANY {
            removals.push(run(self.rhizome().args(["rm", "-f", &format!("bench-{n}")]))?.wall_ms);
        }
        self.check_nothing_left()?;
        let tens = |values: &[f64]| vec![median(&values[..10]), median(&values[values.len() - 10..])];
        let rows = vec![("run -d".to_owned(), tens(&starts)), ("rm -f".to_owned(), tens(&removals))];
        Ok(vec![
            Figure {
                title: "A hundred pods",
                about: format!(
                    "{MANY} pods started one after the other, then removed; nothing of them is left behind, which is \
                     checked: no process, cgroup, mount or file."
                ),
                columns: vec!["first ten, wall ms", "last ten, wall ms"],
                rows,
                drawn: None,
            },
            Figure {
                title: "`rhizome ps`",
                about: format!("With {MANY} running pods."),
                columns: vec!["wall ms", "CPU ms"],
                rows: ps,
                drawn: None,
            },
        ])
    }

    fn ps(&self) -> Contender {
        let (rhizome, root) = (self.rhizome.clone(), self.root.join("rhizome"));
        Contender::new("rhizome ps", move || {
            let mut command = Command::new(&rhizome);
            command.arg("--root").arg(&root).arg("ps");
            command
        })
    }

    fn check_nothing_left(&self) -> Result<()> {
        let root = self.root.join("rhizome").display().to_string();
        let until = Instant::now() + Duration::from_secs(10);
        // A supervisor ends a moment after the answer that its pod is gone.
        while !processes_with(&["supervise", &root]).is_empty() {
            if Instant::now() > until {
                bail!("supervisors are left behind");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        if let Some(line) = mounts.lines().find(|line| line.contains(&format!("{root}/"))) {
            bail!("a mount is left behind: {line}");
        }
        for folder in ["lib/pods", "run/pods", "lib/containers", "run/runtime"] {
            let path = self.root.join("rhizome").join(folder);
            let left = std::fs::read_dir(&path).into_iter().flatten().flatten().find(|e| e.path().is_dir());
            if let Some(entry) =
                left.filter(|entry| std::fs::read_dir(entry.path()).is_ok_and(|d| d.count() > 0))
            {
                bail!("{} is left behind", entry.path().display());
            }
        }
        Ok(())
    }

    fn memory(&mut self) -> Result<Vec<Figure>> {
        let mut rows = Vec::new();
        for contender in self.of_pods() {
            for n in 0..PODS {
                let name = format!("bench-{n}");
                run(&mut (contender.begin)(&name, &self.manifest(&name, "")?))?;
            }
            // A supervisor gives back what the start needed, a moment after it.
            std::thread::sleep(SETTLE);
            rows.push((contender.name.to_owned(), a_pod(&(contender.beside)())?));
            for n in 0..PODS {
                run(&mut (contender.remove)(&format!("bench-{n}")))?;
            }
        }
        Ok(vec![Figure {
            title: "Memory beside a running pod",
            about: format!(
                "{PODS} pods with one container each: all processes that are not the containers' own, a pod. podman: \
                 two conmon and the pause process; containerd: a shim, without the daemon that all of them share. \
                 Proportional: what several processes share is divided among them."
            ),
            columns: vec!["resident KiB", "proportional KiB"],
            rows,
            drawn: Some(1),
        }])
    }

    fn receivers(&mut self) -> Result<Vec<Figure>> {
        let place = self.root.join("shared");
        std::fs::create_dir_all(&place)?;
        host::run(Command::new("mount").args(["-t", "tmpfs", "bench"]).arg(&place))?;
        host::run(Command::new("mount").arg("--make-shared").arg(&place))?;
        std::fs::create_dir_all(place.join("from"))?;
        std::fs::create_dir_all(place.join("to"))?;
        let mut rows = vec![("nobody".to_owned(), {
            let us = self.mount_us(&place)?;
            vec![us, us]
        })];
        for count in [1, 10, 100, 1000] {
            let ours = self.with_containers(&place, count)?;
            let bare = self.with_namespaces(&place, count)?;
            rows.push((format!("{count}"), vec![ours, bare]));
        }
        host::run(Command::new("umount").arg("-l").arg(&place))?;
        Ok(vec![Figure {
            title: "A mount on the host and its receivers",
            about: "One mount on the host below a HostToContainer volume, and its unmount, with that many containers that \
                    receive it, and with as many bare mount namespaces (`unshare --propagation slave`)."
                .to_owned(),
            columns: vec!["containers, µs", "bare namespaces, µs"],
            rows,
            drawn: None,
        }])
    }

    /// Bind mount and unmount, by system calls; the median in microseconds.
    fn mount_us(&self, place: &Path) -> Result<f64> {
        use std::os::fd::AsFd as _;
        let open =
            |name: &str| sys::mount::open_root(&place.join(name)).with_context(|| format!("open {name}"));
        let (from, to) = (open("from")?, open("to")?);
        let mut took = Vec::new();
        for _ in 0..self.rounds.max(5) * 5 {
            let begun = Instant::now();
            let tree = sys::mount::clone_tree(from.as_fd(), false).context("open_tree")?;
            sys::mount::move_mount(tree.as_fd(), to.as_fd()).context("move_mount")?;
            sys::mount::unmount(tree.as_fd(), true).context("umount2")?;
            took.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        Ok(median(&took))
    }

    fn with_containers(&self, place: &Path, count: usize) -> Result<f64> {
        let in_one = count.min(100);
        let pods = count / in_one;
        for pod in 0..pods {
            let mut text = format!(
                "apiVersion: v1\nkind: Pod\nmetadata:\n  name: many-{pod}\nspec:\n  restartPolicy: Never\n  \
                 terminationGracePeriodSeconds: 0\n  volumes:\n  - name: v\n    hostPath:\n      path: {}\n  containers:\n",
                place.display()
            );
            for n in 0..in_one {
                let _ = write!(
                    text,
                    "  - name: c{n}\n    image: busybox\n    imagePullPolicy: IfNotPresent\n    command: [sleep, \"100000\"]\n    \
                     volumeMounts:\n    - name: v\n      mountPath: /v\n      mountPropagation: HostToContainer\n"
                );
            }
            let path = self.root.join("many.yaml");
            std::fs::write(&path, text)?;
            run(self.rhizome().args(["run", "-d"]).arg(&path))?;
        }
        // What the starts have left to be done behind them (of RCU, of cgroups) is not what is measured.
        std::thread::sleep(SETTLE);
        let us = self.mount_us(place)?;
        run(self.rhizome().args(["rm", "-f", "--all"]))?;
        Ok(us)
    }

    fn with_namespaces(&self, place: &Path, count: usize) -> Result<f64> {
        let mut children = Namespaces(Vec::new());
        for _ in 0..count {
            let mut command = Command::new("unshare");
            command.args(["--mount", "--propagation", "slave", "sh", "-c", "echo; exec sleep 100000"]);
            children.0.push(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
        }
        for child in &mut children.0 {
            let stdout = child.stdout.as_mut().context("no pipe")?;
            std::io::Read::read_exact(stdout, &mut [0])?;
        }
        std::thread::sleep(SETTLE);
        self.mount_us(place)
    }

    fn commands(&mut self) -> Result<Vec<Figure>> {
        let rhizome = self.rhizome.clone();
        let version = Contender::new("rhizome --version", move || {
            let mut command = Command::new(&rhizome);
            command.arg("--version");
            command
        });
        Ok(vec![Figure {
            title: "Commands",
            about: "From start to end of the process.".to_owned(),
            columns: vec!["wall ms", "CPU ms"],
            rows: self.in_turn(&[version, self.ps()])?,
            drawn: None,
        }])
    }
}

/// A contender, and how it sees the machine's cgroups.
type Track<'a> = (&'a Contender, Option<&'a Cgroups>);

/// What the command of the exec probes takes of one core, in percent, if it is started as often by the least there is.
fn bare_command() -> Result<f64> {
    let pid = processes_with(&["httpd", "8080"]).into_iter().next().context("no pod runs")?;
    let (begun, before, mut lives) = (Instant::now(), children_cpu_ms()?, 0.0);
    while begun.elapsed() < IDLE_FOR {
        let mut command = Command::new(format!("/proc/{pid}/exe"));
        let status = command.arg0("true").stdin(Stdio::null()).stdout(Stdio::null()).status();
        if !status.context("cannot start busybox")?.success() {
            bail!("`true` has failed");
        }
        lives += 1.0;
        std::thread::sleep(PROBES_EVERY / MANY as u32);
    }
    let each_ms = (children_cpu_ms()? - before) / lives;
    Ok(each_ms * MANY as f64 / (PROBES_EVERY.as_secs_f64() * 1000.0) * 100.0)
}

/// A probe's period where nothing is said.
const PROBES_EVERY: Duration = Duration::from_secs(10);
/// For how long idle pods are watched: twice a probe's period.
const IDLE_FOR: Duration = Duration::from_secs(20);

type Begin<'a> = dyn Fn(&str, &Path) -> Command + 'a;

/// Somebody who starts and removes pods.
struct OfPods<'a> {
    name: &'static str,
    /// By a pod's name and its manifest.
    begin: Box<Begin<'a>>,
    /// By its name.
    remove: Box<dyn Fn(&str) -> Command + 'a>,
    /// What runs beside the containers of all its pods.
    beside: Box<dyn Fn() -> Vec<u32> + 'a>,
}

/// Children that end with us.
struct Namespaces(Vec<Child>);

impl Drop for Namespaces {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The memory of processes, a pod.
fn a_pod(pids: &[u32]) -> Result<Vec<f64>> {
    if pids.is_empty() {
        bail!("no process was found to measure");
    }
    let all: Vec<_> = pids.iter().map(|pid| memory_of(*pid)).collect::<Result<_>>()?;
    let sum = |of: fn(&super::measure::Memory) -> f64| all.iter().map(of).sum::<f64>() / PODS as f64;
    Ok(vec![sum(|m| m.resident_kib), sum(|m| m.proportional_kib)])
}
