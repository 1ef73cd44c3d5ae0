//! `rhizome plan`: what it says, and that pods then do just that.

mod support;
#[path = "support/world.rs"]
mod world;

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use support::{Ran, ran, run, run_with_input};
use world::World;

const MODES: [(&str, &str); 3] = [("a", "None"), ("b", "HostToContainer"), ("c", "Bidirectional")];

/// A type of volume: its source, and whether it is one of files that cannot be written.
struct Kind {
    name: &'static str,
    source: String,
    files: bool,
}

fn kinds(world: &World) -> Vec<Kind> {
    let kind = |name, source: &str, files| Kind { name, source: source.to_owned(), files };
    let path = world.volume();
    vec![
        kind("host", &format!("hostPath: {{path: {}}}", path.display()), false),
        kind("disk", "emptyDir: {}", false),
        kind("memory", "emptyDir: {medium: Memory}", false),
        kind("config", "configMap: {name: c}", true),
        kind("secret", "secret: {secretName: s}", true),
    ]
}

/// Three containers, one a mode, on one volume; with another volume below it in each if `nested`.
fn pod(world: &World, name: &str, kind: &Kind, nested: bool) -> String {
    let below = match kind.files {
        true => format!("hostPath: {{path: {}, type: FileOrCreate}}", world.volume().join("file").display()),
        false => "emptyDir: {}".to_owned(),
    };
    let mut text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n"
    );
    for (container, mode) in MODES {
        let below = if nested { ", {name: below, mountPath: /v/nested}" } else { "" };
        text += &format!(
            "  - name: {container}\n    image: busybox\n    command: [sleep, \"1000\"]\n    \
             securityContext: {{privileged: true}}\n    \
             volumeMounts: [{{name: v, mountPath: /v, mountPropagation: {mode}}}{below}]\n"
        );
    }
    let below = if nested { format!(", {{name: below, {below}}}") } else { String::new() };
    text + &format!("  volumes: [{{name: v, {}}}{below}]\n---\n", kind.source)
}

/// Somebody who has a volume: a process of it, and where it has it.
struct Party {
    name: String,
    pid: u32,
    path: String,
}

impl Party {
    fn mounts(&self) -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(format!("/proc/{}/mountinfo", self.pid)).unwrap();
        let below = format!("{}/", self.path);
        let row = |line: &str| {
            let fields: Vec<&str> = line.split(' ').collect();
            (fields[4] == self.path || fields[4].starts_with(&below)).then(|| {
                let optional = fields[6..].iter().take_while(|field| **field != "-");
                let tags: Vec<&str> = optional.filter_map(|tag| tag.split(':').next()).collect();
                (fields[0].to_owned(), format!("{} {}", fields[4], tags.join("+")))
            })
        };
        text.lines().filter_map(row).collect()
    }

    fn ids(&self) -> BTreeSet<String> {
        self.mounts().into_keys().collect()
    }

    /// Runs a script where it is. The shell is that of the place.
    fn sh(&self, script: &str) -> Ran {
        let pid = self.pid.to_string();
        let mut command = Command::new("nsenter");
        ran(command
            .args(["--target", &pid, "--mount", "sh", "-c", script])
            .stdin(Stdio::null())
            .output()
            .unwrap())
    }

    fn must(&self, script: &str) {
        let ran = self.sh(script);
        assert_eq!(ran.status, 0, "{}: {script}: {ran:?}", self.name);
    }
}

/// The processes of all containers, by pod and container.
fn processes(world: &World) -> BTreeMap<(String, String), u32> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(world.root().join("run/runtime")).unwrap() {
        let Ok(text) = std::fs::read(entry.unwrap().path().join("state.json")) else { continue };
        let state: Value = serde_json::from_slice(&text).unwrap();
        let label = |name: &str| {
            state["config"]["labels"][format!("io.kubernetes.{name}")].as_str().unwrap().to_owned()
        };
        let pid = state["init"]["pid"].as_u64().unwrap() as u32;
        found.insert((label("pod.name"), label("container.name")), pid);
    }
    found
}

/// Every mode × every type of volume × with and without another volume in it × with and without a mount of the node in it:
/// planned, then run; every cell of every matrix is then tried.
#[test]
fn pods_do_what_was_planned() {
    let Some(world) = World::isolated("pods_do_what_was_planned") else { return };
    // So that there is a node to plan for.
    world.start(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: first}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n  \
         - {name: main, image: busybox, command: [sleep, \"1000\"]}\n",
    );
    let volume = world.volume();
    let before = format!("mkdir {0}/before {0}/before/x && mount -t tmpfs none {0}/before", volume.display());
    assert_eq!(world.on_host(&before).status, 0);
    let objects = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {key: one, nested: two}\n---\n\
                   apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {key: one, nested: two}\n---\n";
    let kinds = kinds(&world);
    let mut manifest = objects.to_owned();
    let mut pods = Vec::new();
    for kind in &kinds {
        for nested in [false, true] {
            let name = format!("{}-{}", kind.name, if nested { "nested" } else { "plain" });
            manifest += &pod(&world, &name, kind, nested);
            pods.push((name, kind));
        }
    }
    let file = world.file("pods.yaml", &manifest);
    let planned = world.run(&["plan", "--here", "-o", "json", &file]);
    let plan: Value = serde_json::from_str(&planned.stdout).unwrap();
    let faults: Vec<&Value> =
        plan["containers"].as_array().unwrap().iter().filter(|c| !c["fault"].is_null()).collect();
    assert_eq!((planned.status, planned.stderr.as_str()), (0, ""), "{:#?}{faults:#?}", plan["refused"]);
    world.start(&manifest);
    let uids = uids(&world);
    let processes = processes(&world);
    let keeper = world.keeper().unwrap();
    let mut tried = 0;
    for (name, kind) in &pods {
        let place = place_of(&plan, name);
        // Those of other pods are not asked: hostPaths are the same for two.
        let ours =
            |party: &&Value| party["name"] == "host" || party["name"].as_str().unwrap().starts_with(name);
        let parties: Vec<Party> = place["parties"]
            .as_array()
            .unwrap()
            .iter()
            .filter(ours)
            .map(|party| {
                let party_name = party["name"].as_str().unwrap().to_owned();
                let container = party_name.split_once('/').map(|(pod, c)| (pod.to_owned(), c.to_owned()));
                let path = party["path"].as_str().unwrap().replace(&format!("uid-of-{name}"), &uids[name]);
                let pid = container.map_or(keeper, |container| processes[&container]);
                let party_of = Party { name: party_name, pid, path };
                compare_types(&party_of, party, place);
                party_of
            })
            .collect();
        assert_eq!(parties.len(), 4, "{name}");
        tried += try_cells(place, &parties, kind);
    }
    assert_eq!(tried, 10 * 4 * 4 * 2, "cells");
    world.remember_pods();
    let removed = world.run(&["rm", "-fa"]);
    assert_eq!(removed.status, 0, "{removed:?}");
    world.assert_nothing_left();
}

fn uids(world: &World) -> BTreeMap<String, String> {
    let list: Value = serde_json::from_str(&world.run(&["ps", "-o", "json"]).stdout).unwrap();
    let of = |pod: &Value, field: &str| pod["metadata"][field].as_str().unwrap().to_owned();
    list["items"].as_array().unwrap().iter().map(|pod| (of(pod, "name"), of(pod, "uid"))).collect()
}

/// What the plan says of the place that a pod's volume `v` is of.
fn place_of<'a>(plan: &'a Value, pod: &str) -> &'a Value {
    let containers = plan["containers"].as_array().unwrap();
    let container = containers.iter().find(|container| container["pod"] == pod).unwrap();
    assert_eq!(container["fault"], Value::Null, "{container}");
    let mounts = container["mounts"].as_array().unwrap();
    let place = &mounts.iter().find(|mount| mount["volume"] == "v").unwrap()["place"];
    plan["places"].as_array().unwrap().iter().find(|known| known["place"] == *place).unwrap()
}

/// The mount that carries a volume is of the type that was planned, and so are those that were there before.
fn compare_types(party: &Party, planned: &Value, place: &Value) {
    let mounts = party.mounts();
    let type_at = |path: &str| {
        let prefix = format!("{path} ");
        let tags = mounts.values().find_map(|row| row.strip_prefix(&prefix))?;
        Some(match tags {
            "" => "private",
            "master" => "slave",
            "shared+master" => "shared+slave",
            other => other,
        })
    };
    // The node's volume need not be a mount of its own.
    if let Some(real) = type_at(&party.path) {
        assert_eq!(real, planned["type"], "{} {}", party.name, party.path);
    }
    let at = place["parties"].as_array().unwrap().iter().position(|other| other["name"] == planned["name"]);
    for before in place["mountedBefore"].as_array().unwrap() {
        let rest = before["path"].as_str().unwrap().strip_prefix(place["place"].as_str().unwrap()).unwrap();
        let real = type_at(&format!("{}{rest}", party.path));
        assert_eq!(real, before["types"][at.unwrap()].as_str(), "{} {rest}", party.name);
    }
}

/// What a party runs.
type Script = fn(&Party) -> String;

/// Tries every cell; how many answers were compared.
fn try_cells(place: &Value, parties: &[Party], kind: &Kind) -> usize {
    let cell = |actor: &Party, viewer: &Party| {
        let cells = place["cells"].as_array().unwrap();
        let same =
            |cell: &&Value| cell["actor"] == actor.name.as_str() && cell["viewer"] == viewer.name.as_str();
        cells.iter().find(same).unwrap().clone()
    };
    let (mount, unmount): (Script, Script) = match kind.files {
        true => (
            |party| format!("mount --bind /etc/hostname {}/key", party.path),
            |party| format!("umount {}/key", party.path),
        ),
        false => (
            |party| format!("mkdir -p {0}/own && mount -t tmpfs none {0}/own", party.path),
            |party| format!("umount {}/own", party.path),
        ),
    };
    let ids = || -> Vec<BTreeSet<String>> { parties.iter().map(Party::ids).collect() };
    let bare = ids();
    let mut tried = 0;
    for actor in parties {
        actor.must(&mount(actor));
        for (viewer, bare) in parties.iter().zip(&bare) {
            let reaches = viewer.ids() != *bare;
            let planned = &cell(actor, viewer)["mount"];
            assert_eq!(planned["reaches"], reaches, "{} mounts, {}: {planned}", actor.name, viewer.name);
            tried += 1;
        }
        actor.must(&unmount(actor));
        assert_eq!(ids(), bare, "what {} mounted goes everywhere", actor.name);
    }
    let host = &parties[0];
    for actor in parties {
        host.must(&mount(host));
        let with = ids();
        let has = |at: usize| with[at] != bare[at];
        let actor_has = has(parties.iter().position(|party| party.name == actor.name).unwrap());
        if actor_has {
            actor.must(&unmount(actor));
        }
        for (at, viewer) in parties.iter().enumerate() {
            let planned = &cell(actor, viewer)["unmount"];
            let real = (actor_has && has(at)).then(|| viewer.ids() == bare[at]);
            assert_eq!(
                planned["reaches"].as_bool(),
                real,
                "{} unmounts, {}: {planned}",
                actor.name,
                viewer.name
            );
            tried += 1;
        }
        if ids()[0] != bare[0] {
            host.must(&unmount(host));
        }
        assert_eq!(ids(), bare, "after {}", actor.name);
    }
    tried
}

const PODS: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  containers:
  - name: main
    image: no/such:image
    securityContext: {privileged: true}
    volumeMounts: [{name: v, mountPath: /mnt, mountPropagation: Bidirectional}]
  volumes: [{name: v, hostPath: {path: /srv/v}}]
";

#[test]
fn needs_neither_rights_nor_images() {
    let ran = run_with_input(&["plan", "-"], PODS.as_bytes());
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.contains("\n/srv/v: who mounts in it"), "{}", ran.stdout);
    let yaml = run_with_input(&["plan", "-o", "yaml", "-"], PODS.as_bytes());
    assert!(yaml.stdout.contains("\nkind: Plan\n"), "{}", yaml.stdout);
}

#[test]
fn what_is_refused_is_a_no() {
    let text = PODS.replace("privileged: true", "privileged: false");
    let ran = run_with_input(&["plan", "-"], text.as_bytes());
    assert_eq!(ran.status, 1);
    let words = "Forbidden: Bidirectional mount propagation is available only to privileged containers";
    assert!(ran.stdout.contains(words), "{}", ran.stdout);
}

#[test]
fn a_snapshot_is_a_node_and_a_wrong_one_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let private = r#"[{"id": 1, "mounts": [{"id": 21, "parent": 1, "device": {"major": 8, "minor": 1}, "root": "/",
        "mount_point": "/", "options": "rw", "propagation": {"shared": null, "master": null, "propagate_from": null,
        "unbindable": false}, "fs_type": "ext4", "source": "/dev/sda1", "super_options": "rw"}]}]"#;
    let snapshot = file("node.json", private);
    let ran = run_with_input(&["plan", "--snapshot", &snapshot, "-"], PODS.as_bytes());
    assert_eq!(ran.status, 1, "{ran:?}");
    let told = ran.stdout.replace("\n    ", " ");
    assert!(told.contains("but it is not a shared mount"), "{told}");
    let wrong = file("wrong.json", "{}");
    assert_eq!(run_with_input(&["plan", "--snapshot", &wrong, "-"], PODS.as_bytes()).status, 2);
    let then = run_with_input(&["plan", "--then", "@nobody umount /x", "-"], PODS.as_bytes());
    assert_eq!(then.status, 2, "{then:?}");
    assert!(
        then.stderr.contains("there is no namespace `nobody` yet; there is: a/main, host"),
        "{}",
        then.stderr
    );
    assert_eq!(run(&["plan", "/no/such/file.yaml"]).status, 2);
}

#[test]
fn more_pods_than_a_node_has_are_an_error() {
    let pod = |at| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p{at}}}\nspec: {{containers: [{{name: c, image: busybox}}]}}\n---\n"
        )
    };
    let ran = run_with_input(&["plan", "-"], (0..2001).map(pod).collect::<String>().as_bytes());
    let said = "error: 2001 pods are too many for one node: at most 2000 are planned together\n";
    assert_eq!((ran.status, ran.stderr.as_str()), (2, said));
}
