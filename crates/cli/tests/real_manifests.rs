//! Manifests that people really wrote, planned, run on a machine made for it, and every cell of every matrix tried.
//!
//! They are not part of the repository: `RHIZOME_MANIFESTS` names their folder. Their programs are not to be had, so each
//! container sleeps in busybox; ports, probes, environment and users go, and a claim is an emptyDir. What mounts are about
//! stays as it is: volumes, mounts, modes, `privileged`, the root's being read-only, init containers and sidecars.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/namespace.rs"]
mod namespace;
mod support;

use machine::Machine;
use mount_table::{Mount, MountId, MountTable};
use namespace::Namespace;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const NAME: &str = "real_pods_do_what_was_planned";

#[test]
fn real_pods_do_what_was_planned() {
    let Some(folder) = std::env::var_os("RHIZOME_MANIFESTS").map(PathBuf::from) else {
        return support::skipped(NAME, "none (RHIZOME_MANIFESTS)");
    };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|word| word == "yaml" || word == "yml"));
    files.sort();
    let mut total = Told::default();
    for file in files {
        let Some(machine) = Machine::new(NAME) else { return };
        let told = try_file(&machine, &file);
        println!("{}: {told}", file.file_name().unwrap().to_string_lossy());
        total.add(told);
    }
    let Told { pods, containers, places, cells, left_out, .. } = &total;
    println!(
        "in all: {pods} pods, {containers} containers, {places} places, {cells} cells, {} left out",
        left_out.len()
    );
    assert_eq!(total.wrong, [""; 0]);
    assert!(total.cells > 0);
}

/// What came of a file.
#[derive(Default)]
struct Told {
    pods: usize,
    containers: usize,
    places: usize,
    cells: usize,
    left_out: Vec<String>,
    wrong: Vec<String>,
}

impl Told {
    fn add(&mut self, other: Told) {
        self.pods += other.pods;
        self.containers += other.containers;
        self.places += other.places;
        self.cells += other.cells;
        self.left_out.extend(other.left_out);
        self.wrong.extend(other.wrong);
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Told { pods, containers, places, cells, left_out, wrong } = self;
        write!(
            f,
            "{pods} pods, {containers} containers, {places} places, {cells} cells, {} wrong",
            wrong.len()
        )?;
        left_out.iter().try_for_each(|why| write!(f, "\n  left out: {why}"))?;
        wrong.iter().try_for_each(|what| write!(f, "\n  WRONG: {what}"))
    }
}

fn try_file(machine: &Machine, file: &Path) -> Told {
    let bytes = std::fs::read(file).unwrap();
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let mut survey = manifest::survey(&manifest::Source { name: &name, bytes: &bytes });
    manifest::load::look_through_claims(&mut survey.objects.iter_mut().collect::<Vec<_>>());
    let pods: Vec<Value> = survey
        .objects
        .iter()
        .filter_map(|object| object.pod.as_ref())
        .map(|pod| serde_json::to_value(&pod.spec).unwrap())
        .collect();
    let pods: Vec<Value> = pods.iter().enumerate().map(|(at, spec)| stripped(at, spec)).collect();
    let mut told = Told { pods: pods.len(), ..Told::default() };
    if pods.is_empty() {
        return told;
    }
    let mut objects = objects_for(&pods);
    let mut shell = machine.shell();
    pods.iter().for_each(|pod| provide(&mut shell, pod));
    objects.extend(pods);
    let text = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let planned = machine.rhizome(&["plan", "--here", "-o", "json", "-"], text.as_bytes());
    let plan: Value =
        serde_json::from_str(&planned.stdout).unwrap_or_else(|error| panic!("{error}: {planned:?}"));
    let ran = machine.rhizome(&["run", "-d", "-"], text.as_bytes());
    let faults = faults(&plan);
    if ran.status != 0 && faults.is_empty() {
        told.wrong.push(format!("does not run: {}", ran.stderr));
    }
    let real = Real::find(machine, &plan, wait_until_started(machine, &faults, &mut told));
    told.containers = real.shells.len() - 1;
    for place in plan["places"].as_array().unwrap() {
        real.try_place(place, &mut told);
    }
    let removed = machine.rhizome(&["rm", "-fa"], b"");
    assert_eq!(removed.status, 0, "{removed:?}");
    told
}

/// The containers that would not start, and why.
fn faults(plan: &Value) -> BTreeMap<String, String> {
    let with =
        plan["containers"].as_array().unwrap().iter().filter(|container| !container["fault"].is_null());
    with.map(|container| (id_of(container), container["fault"]["message"].as_str().unwrap().to_owned()))
        .collect()
}

fn id_of(container: &Value) -> String {
    format!("{}/{}", container["pod"].as_str().unwrap(), container["name"].as_str().unwrap())
}

/// Waits until every container runs, but those that would not start; the uids of the pods.
fn wait_until_started(
    machine: &Machine,
    faults: &BTreeMap<String, String>,
    told: &mut Told,
) -> BTreeMap<String, String> {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let list = machine.rhizome(&["ps", "-aA", "-o", "json"], b"");
        let list: Value =
            serde_json::from_str(&list.stdout).unwrap_or_else(|error| panic!("{error}: {list:?}"));
        let mut waiting = Vec::new();
        let mut uids = BTreeMap::new();
        for pod in list["items"].as_array().unwrap() {
            let name = pod["metadata"]["name"].as_str().unwrap();
            uids.insert(name.to_owned(), pod["metadata"]["uid"].as_str().unwrap().to_owned());
            for container in pod["spec"]["containers"].as_array().unwrap() {
                let container = container["name"].as_str().unwrap();
                let statuses = pod["status"]["containerStatuses"].as_array();
                let status = statuses.into_iter().flatten().find(|status| status["name"] == container);
                let state = status.map_or(&Value::Null, |status| &status["state"]);
                let id = format!("{name}/{container}");
                match (state["running"].is_object(), faults.get(&id)) {
                    (true, Some(fault)) => told.wrong.push(format!("{id} runs, planned was: {fault}")),
                    (false, None) => {
                        waiting.push(format!("{id} does not run: {state} {}", pod["status"]["message"]))
                    }
                    _ => {}
                }
            }
        }
        if waiting.is_empty() || Instant::now() > deadline {
            told.wrong.extend(waiting);
            return uids;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A pod with what mounts are about, and busybox.
fn stripped(at: usize, spec: &Value) -> Value {
    let container = |container: &Value, init: bool| {
        let sidecar = container["restartPolicy"] == "Always";
        let command = if init && !sidecar { json!(["true"]) } else { json!(["sleep", "100000"]) };
        let mut kept = Map::new();
        for key in ["name", "volumeMounts", "restartPolicy", "terminationMessagePath"] {
            kept.extend(container.get(key).map(|value| (key.to_owned(), value.clone())));
        }
        let security: Map<String, Value> = ["privileged", "readOnlyRootFilesystem"]
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), container["securityContext"].get(key)?.clone())))
            .collect();
        kept.extend([
            ("image".to_owned(), json!("busybox")),
            ("command".to_owned(), command),
            ("securityContext".to_owned(), security.into()),
        ]);
        Value::from(kept)
    };
    let all = |key: &str, init| -> Vec<Value> {
        spec[key].as_array().into_iter().flatten().map(|each| container(each, init)).collect()
    };
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("p{at}")}, "spec": {
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": false,
        "containers": all("containers", false),
        "initContainers": all("initContainers", true),
        "volumes": spec["volumes"].as_array().into_iter().flatten().map(volume).collect::<Vec<_>>(),
    }})
}

fn volume(volume: &Value) -> Value {
    let here = ["hostPath", "emptyDir", "configMap", "secret"].iter().find(|key| volume.get(**key).is_some());
    match here {
        Some(key) => json!({"name": volume["name"], *key: volume[*key]}),
        None if volume.get("projected").is_some() => {
            json!({"name": volume["name"], "configMap": {"name": "projected"}})
        }
        None => json!({"name": volume["name"], "emptyDir": {}}),
    }
}

/// The ConfigMaps and Secrets that the pods need, with the files that they name.
fn objects_for(pods: &[Value]) -> Vec<Value> {
    let mut found: BTreeMap<(bool, String), BTreeSet<String>> = BTreeMap::new();
    for spec in pods.iter().map(|pod| &pod["spec"]) {
        for volume in spec["volumes"].as_array().unwrap() {
            let (secret, source) = match (&volume["configMap"], &volume["secret"]) {
                (Value::Null, Value::Null) => continue,
                (Value::Null, source) => (true, source),
                (source, _) => (false, source),
            };
            let name = source[if secret { "secretName" } else { "name" }].as_str().unwrap().to_owned();
            let keys = found.entry((secret, name)).or_default();
            keys.insert("key".to_owned());
            let items = source["items"].as_array().into_iter().flatten();
            keys.extend(items.filter_map(|item| item["key"].as_str().map(str::to_owned)));
            for container in
                ["containers", "initContainers"].iter().flat_map(|key| spec[*key].as_array().unwrap())
            {
                let mounts = container["volumeMounts"].as_array().into_iter().flatten();
                let of_it = mounts.filter(|mount| mount["name"] == volume["name"]);
                keys.extend(of_it.filter_map(|mount| mount["subPath"].as_str().map(str::to_owned)));
            }
        }
    }
    let object = |((secret, name), keys): ((bool, String), BTreeSet<String>)| {
        let (kind, field) = if secret { ("Secret", "stringData") } else { ("ConfigMap", "data") };
        let data: Map<String, Value> = keys.into_iter().map(|key| (key, json!("text"))).collect();
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, field: data})
    };
    found.into_iter().map(object).collect()
}

/// Makes what the kubelet would ask for at hostPaths, and sockets where the name says so.
fn provide(shell: &mut Namespace, pod: &Value) {
    for volume in pod["spec"]["volumes"].as_array().unwrap() {
        let Some(path) = volume["hostPath"]["path"].as_str() else { continue };
        let kind = volume["hostPath"]["type"].as_str().unwrap_or_default();
        let make = match kind {
            "Directory" => format!("mkdir -p '{path}'"),
            "File" => format!(": > '{path}'"),
            "CharDevice" => format!("mknod '{path}' c 1 3"),
            "BlockDevice" => format!("mknod '{path}' b 7 200"),
            "Socket" => socket(path),
            "" if path.ends_with(".sock") => socket(path),
            _ => continue,
        };
        // Not in /sys, for one: then the plan knows it, too.
        shell.succeeds(&format!(
            "test -e '{path}' || {{ mkdir -p \"$(dirname '{path}')\" && {make}; }} 2> /dev/null"
        ));
    }
}

fn socket(path: &str) -> String {
    format!(
        "perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0) && bind(S, sockaddr_un(shift)) or die' '{path}'"
    )
}

/// The machine and its containers, with a shell in each.
struct Real {
    pids: BTreeMap<String, u32>,
    shells: BTreeMap<String, std::cell::RefCell<Namespace>>,
    uids: BTreeMap<String, String>,
}

/// Somebody who has a place.
struct Party<'a> {
    real: &'a Real,
    name: String,
    path: String,
}

impl Party<'_> {
    fn table(&self) -> MountTable {
        let text = std::fs::read(format!("/proc/{}/mountinfo", self.real.pids[&self.name]));
        let text = text.unwrap_or_else(|error| panic!("{} is gone: {error}", self.name));
        MountTable::parse_mountinfo(&text).unwrap()
    }

    /// The mounts at and below the place, covered ones as well.
    fn ids(&self) -> BTreeSet<MountId> {
        let table = self.table();
        let here = table.mounts.iter().filter(|mount| mount.mount_point.starts_with(&self.path));
        here.map(|mount| mount.id).collect()
    }

    fn at(&self, name: &str) -> String {
        Path::new(&self.path).join(name).to_str().unwrap().trim_end_matches('/').to_owned()
    }

    fn run(&self, line: &str) -> bool {
        self.real.shells[&self.name].borrow_mut().succeeds(line)
    }
}

impl Real {
    fn find(machine: &Machine, plan: &Value, uids: BTreeMap<String, String>) -> Real {
        let mut pids = BTreeMap::from([("host".to_owned(), machine.pid())]);
        // Nothing is there if no pod could be begun with.
        for entry in std::fs::read_dir(machine.root().join("run/runtime")).into_iter().flatten() {
            let Ok(text) = std::fs::read(entry.unwrap().path().join("state.json")) else { continue };
            let state: Value = serde_json::from_slice(&text).unwrap();
            let labels = &state["config"]["labels"];
            let label = |name: &str| labels[format!("io.kubernetes.{name}")].as_str().unwrap().to_owned();
            let (Some(pid), false) = (state["init"]["pid"].as_u64(), state["exit"].is_object()) else {
                continue;
            };
            let id = format!("{}/{}", label("pod.name"), label("container.name"));
            let is_init = |c: &Value| c["sort"] == "initContainer" && id_of(c) == id;
            if !plan["containers"].as_array().unwrap().iter().any(is_init) {
                pids.insert(id, pid as u32);
            }
        }
        let shell = |(name, pid): (&String, &u32)| {
            let mut command = std::process::Command::new("nsenter");
            command.args(["--target", &pid.to_string()]);
            (name.clone(), Namespace::spawn(command, &["--mount"]).into())
        };
        let shells = pids.iter().map(shell).collect();
        Real { pids, shells, uids }
    }

    /// Tries every cell of a place.
    fn try_place(&self, planned: &Value, told: &mut Told) {
        let place = planned["place"].as_str().unwrap();
        let mut parties = Vec::new();
        for party in planned["parties"].as_array().unwrap() {
            let name = party["name"].as_str().unwrap().to_owned();
            if !self.pids.contains_key(&name) {
                told.left_out.push(format!("{place}: {name} does not run"));
                return;
            }
            let path = self.canonical(&name, &self.with_uid(party["path"].as_str().unwrap()));
            parties.push(Party { real: self, name, path });
        }
        told.places += 1;
        compare_types(planned, &parties, told);
        let Some(name) = probe(&parties[0], planned) else {
            told.left_out.push(format!("{place}: nothing in it to mount on"));
            return;
        };
        try_cells(planned, &parties, &name, told);
        if name == OWN {
            parties[0].run(&format!("rmdir '{}'", parties[0].at(&name)));
        }
    }

    /// A path without links: a file of a ConfigMap is one.
    fn canonical(&self, party: &str, path: &str) -> String {
        let mut command = std::process::Command::new("nsenter");
        command.args(["--target", &self.pids[party].to_string(), "--mount", "readlink", "-f", path]);
        let ran = support::ran(command.output().unwrap());
        assert_eq!(ran.status, 0, "{party}: {path}: {ran:?}");
        ran.stdout.trim_end().to_owned()
    }

    fn with_uid(&self, path: &str) -> String {
        let uids = self.uids.iter();
        uids.fold(path.to_owned(), |path, (pod, uid)| {
            path.replace(&format!("uid-of-{pod}/"), &format!("{uid}/"))
        })
    }
}

/// What is made in a place to mount on.
const OWN: &str = "rhizome-own";

/// A name in a place to mount on: one of our own, else one that is there (in /proc and the like), empty for a file.
fn probe(host: &Party<'_>, planned: &Value) -> Option<String> {
    if planned["directory"] == false {
        return Some(String::new());
    }
    let own = OWN.to_owned();
    if host.run(&format!("mkdir '{}' 2> /dev/null", host.at(&own))) {
        return Some(own);
    }
    let table = host.table();
    let there = ["bus", "fs", "block", "class", "kernel", "tty", "driver", "ipv4", "random"];
    let free = |name: &&&str| {
        table.topmost_at(Path::new(&host.at(name))).is_none()
            && host.run(&format!("test -d '{}'", host.at(name)))
    };
    there.iter().find(free).map(|name| (*name).to_owned())
}

/// The mount that carries a place is of the type that was planned, and so are those that were there before.
fn compare_types(planned: &Value, parties: &[Party<'_>], told: &mut Told) {
    let place = planned["place"].as_str().unwrap();
    let host = parties[0].table();
    for (at, party) in parties.iter().enumerate() {
        let table = party.table();
        let kind = |mount: &Mount| mount.propagation.in_words();
        let planned_type = planned["parties"][at]["type"].as_str().unwrap();
        let real = table.topmost_at(Path::new(&party.path)).map(kind);
        if real.is_some_and(|real| real != planned_type) {
            told.wrong.push(format!("{place}: {} has it as {real:?}, planned {planned_type}", party.name));
        }
        for before in planned["mountedBefore"].as_array().unwrap() {
            let path = party.real.with_uid(before["path"].as_str().unwrap());
            let rest = Path::new(&path).strip_prefix(&parties[0].path).unwrap();
            let of_node = host.topmost_at(Path::new(&path));
            let real = table.topmost_at(&Path::new(&party.path).join(rest));
            let same = |mount: &&Mount| {
                of_node.is_some_and(|other| other.device == mount.device && other.root == mount.root)
            };
            let (real, planned) = (real.filter(same).map(kind), before["types"][at].as_str());
            if real != planned {
                told.wrong.push(format!(
                    "{place}: {} has {} as {real:?}, planned {planned:?}",
                    party.name,
                    rest.display()
                ));
            }
        }
    }
}

fn try_cells(planned: &Value, parties: &[Party<'_>], name: &str, told: &mut Told) {
    let place = planned["place"].as_str().unwrap();
    let cell = |actor: usize, viewer: usize| &planned["cells"][actor * parties.len() + viewer];
    let mount = |party: &Party<'_>| match name {
        "" => party.run(&format!("mount --bind /etc/hostname '{}'", party.path)),
        name => party.run(&format!("mount -t tmpfs own '{}'", party.at(name))),
    };
    let unmount = |party: &Party<'_>| party.run(&format!("umount '{}'", party.at(name)));
    let ids = || -> Vec<BTreeSet<MountId>> { parties.iter().map(Party::ids).collect() };
    let bare = ids();
    for (at, actor) in parties.iter().enumerate() {
        let done = mount(actor);
        let with = ids();
        for (seen, viewer) in parties.iter().enumerate() {
            let planned = &cell(at, seen)["mount"];
            let real = with[seen] != bare[seen];
            if planned["reaches"] != real || planned["errno"].is_null() != done {
                told.wrong
                    .push(format!("{place}: {} mounts, for {} {real}: {planned}", actor.name, viewer.name));
            }
            told.cells += 1;
        }
        if (done && !unmount(actor)) || ids() != bare {
            told.wrong.push(format!("{place}: what {} mounted stays", actor.name));
            return;
        }
    }
    for (at, actor) in parties.iter().enumerate() {
        if !mount(&parties[0]) {
            return;
        }
        let with = ids();
        let has = |at: usize| with[at] != bare[at];
        let done = has(at) && unmount(actor);
        let after = ids();
        for (seen, viewer) in parties.iter().enumerate() {
            let planned = &cell(at, seen)["unmount"];
            let real = (has(at) && has(seen)).then(|| after[seen] == bare[seen]);
            if planned["reaches"].as_bool() != real || (has(at) && !done && planned["errno"].is_null()) {
                told.wrong.push(format!(
                    "{place}: {} unmounts, for {} {real:?}: {planned}",
                    actor.name, viewer.name
                ));
            }
            told.cells += 1;
        }
        if (after[0] != bare[0] && !unmount(&parties[0])) || ids() != bare {
            told.wrong.push(format!("{place}: what the node mounted and {} unmounted stays", actor.name));
            return;
        }
    }
}
