//! Plans of manifests, on nodes that are assumed or made up.

use super::*;
use mount_table::MountTable;
use std::path::Path;

/// A pod whose one container is privileged; `mounts` and `volumes` in YAML's flow style.
fn pod(name: &str, mounts: &str, volumes: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n  - name: main\n    image: busybox\n    \
         securityContext: {{privileged: true}}\n    volumeMounts: [{mounts}]\n  volumes: [{volumes}]\n---\n"
    )
}

fn volume(mode: &str) -> String {
    let mode = if mode.is_empty() { String::new() } else { format!(", mountPropagation: {mode}") };
    format!("{{name: v, mountPath: /mnt/test{mode}}}")
}

const AT: &str = "{name: v, hostPath: {path: /srv/v}}";

fn planned_on(node: &Node, text: &str, then: &[&str]) -> Plan {
    let manifests = Manifests::survey(&[manifest::Source { name: "f.yaml", bytes: text.as_bytes() }]);
    let then: Vec<String> = then.iter().map(|line| (*line).to_owned()).collect();
    plan(&manifests, &Request { node, then: &then, restarts: 3 }).unwrap()
}

fn planned(text: &str) -> Plan {
    planned_on(&Node::assumed(), text, &[])
}

fn at<'a>(plan: &'a Plan, place: &str) -> &'a Matrix {
    plan.matrices.iter().find(|matrix| matrix.place == Path::new(place)).unwrap()
}

fn ids(plan: &Plan) -> Vec<&'static str> {
    plan.findings.iter().map(|finding| finding.id).collect()
}

/// A node with these rows.
fn node(rows: &str) -> Node {
    Node::new(Origin::Snapshot, MountTable::parse_mountinfo(rows.as_bytes()).unwrap())
}

/// `/`, shared, with `below` under it: place, type, optional fields.
fn shared_node(below: &[(&str, &str, &str)]) -> Node {
    let mut rows = String::from("21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n");
    for (index, (place, fs_type, fields)) in below.iter().enumerate() {
        let id = 30 + index;
        let fields = if fields.is_empty() { String::new() } else { format!("{fields} ") };
        rows += &format!("{id} 21 0:{id} / {place} rw {fields}- {fs_type} none rw\n");
    }
    node(&rows)
}

/// The table of Kubernetes' end-to-end test of mount propagation (test/e2e/node/mount_propagation.go), and why it is so.
#[test]
fn kubernetes_own_table() {
    let pods =
        [("master", "Bidirectional"), ("slave", "HostToContainer"), ("private", "None"), ("default", "")];
    let text: String = pods.iter().map(|(name, mode)| pod(name, &volume(mode), AT)).collect();
    let plan = planned(&text);
    assert!(plan.is_good(), "{:?} {:?}", plan.refused, plan.containers);
    let matrix = at(&plan, "/srv/v");
    let names: Vec<&str> = matrix.parties.iter().map(|party| party.name.as_str()).collect();
    assert_eq!(names, ["host", "master/main", "slave/main", "private/main", "default/main"]);
    let seen: Vec<Vec<bool>> =
        matrix.cells.iter().map(|row| row.iter().map(|cell| cell.mounts.reaches).collect()).collect();
    assert_eq!(
        seen,
        [
            [true, true, true, false, false],
            [true, true, true, false, false],
            [false, false, true, false, false],
            [false, false, false, true, false],
            [false, false, false, false, true],
        ]
    );
    let why: Vec<&str> =
        matrix.cells[1].iter().map(|cell| cell.mounts.rule.map_or("", |rule| rule.id())).collect();
    assert_eq!(why, ["receive-peer", "attach-on-top", "receive-slave", "make-private", "make-private"]);
    let up = matrix.cells[2][0].mounts;
    assert_eq!((up.reaches, up.rule.unwrap().id()), (false, "make-slave-of-peer"));
    // A Bidirectional container takes the node's mounts away; one with HostToContainer only its own sight of them.
    let gone = |actor: usize| -> Vec<Option<bool>> {
        matrix.cells[actor].iter().map(|cell| cell.unmounts.map(|reach| reach.reaches)).collect()
    };
    assert_eq!(gone(1), [Some(true), Some(true), Some(true), None, None]);
    assert_eq!(gone(2), [Some(false), Some(false), Some(true), None, None]);
    assert_eq!(gone(3), [None; 5]);
}

#[test]
fn what_is_below_a_bidirectional_volume_leaks_and_doubles_but_with_rhizome() {
    let mounts = format!("{}, {{name: w, mountPath: /mnt/test/inner}}", volume("Bidirectional"));
    // Measured with runc and crun: 1, 2, 4, 8 in the volume; and what comes to be on its own source.
    for source in ["emptyDir: {medium: Memory}", "emptyDir: {}"] {
        let text = pod("p", &mounts, &format!("{AT}, {{name: w, {source}}}"));
        let plan = planned(&text);
        for report in &plan.runtimes {
            let growth = &report.containers[0];
            let mounts: Vec<usize> = growth.starts.iter().map(|start| start.in_volumes).collect();
            if report.runtime == Runtime::Rhizome {
                assert_eq!((mounts.as_slice(), growth.leaks()), ([0; 4].as_slice(), false));
            } else {
                assert_eq!(mounts, [1, 2, 4, 8], "{} {source}", report.runtime.name());
                assert_eq!(growth.places, [PathBuf::from("/srv/v/inner")]);
                let last = growth.starts[3];
                assert_eq!((last.mounts, last.left), (15, 15), "it stays");
            }
        }
        let old = Node { set_group: false, ..Node::assumed() };
        let growth = &planned_on(&old, &text, &[]).runtimes[0].containers[0];
        assert!(growth.leaks(), "before Linux 5.15 rhizome's appears as well");
    }
}

#[test]
fn the_limit_of_mounts_ends_it() {
    let mounts = format!("{}, {{name: w, mountPath: /mnt/test/inner}}", volume("Bidirectional"));
    let text = pod("p", &mounts, &format!("{AT}, {{name: w, emptyDir: {{medium: Memory}}}}"));
    let node = Node { mount_max: 30, ..Node::assumed() };
    let plan = planned_on(&node, &text, &[]);
    let starts = &plan.runtimes[1].containers[0].starts;
    assert_eq!(starts.last().unwrap().refused.unwrap().id(), "mount-max", "{starts:?}");
}

#[test]
fn implicit_mounts_leak_too() {
    let mounts = "{name: v, mountPath: /var/run, mountPropagation: Bidirectional}";
    let plan = planned(&pod("p", mounts, "{name: v, hostPath: {path: /run}}"));
    // The service account's token: /var/run leads to /run in the image.
    let places = |at: usize| plan.runtimes[at].containers[0].places.clone();
    assert_eq!(places(1), [PathBuf::from("/run/secrets/kubernetes.io/serviceaccount")]);
    assert_eq!((places(0), places(3)), (vec![], vec![]), "neither rhizome nor podman has one");
}

#[test]
fn sources_that_are_not_shared_are_refused_in_containerds_words() {
    let node = node("21 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 21 0:30 / /srv rw master:7 - tmpfs none rw\n");
    for (path, mode, expected) in [
        ("/data", "Bidirectional", Some("path \"/data\" is mounted on \"/\" but it is not a shared mount")),
        (
            "/data",
            "HostToContainer",
            Some("path \"/data\" is mounted on \"/\" but it is not a shared or slave mount"),
        ),
        (
            "/srv/v",
            "Bidirectional",
            Some("path \"/srv/v\" is mounted on \"/srv\" but it is not a shared mount"),
        ),
        ("/srv/v", "HostToContainer", None),
        ("/data", "None", None),
    ] {
        let text = pod("p", &volume(mode), &format!("{{name: v, hostPath: {{path: {path}}}}}"));
        let plan = planned_on(&node, &text, &[]);
        let fault = plan.containers[0].fault.as_ref();
        let said = expected.map(|text| format!("failed to generate spec: {text}"));
        assert_eq!(fault.map(|fault| fault.text.clone()), said, "{path} {mode}");
        let refuses: Vec<bool> =
            plan.runtimes.iter().map(|report| report.containers[0].fault.is_some()).collect();
        let asks = expected.is_some();
        assert_eq!(refuses, [asks, asks, asks, false], "podman does not look: {path} {mode}");
    }
    // What the pod lets rhizome share is shared.
    let text = pod("p", &volume("Bidirectional"), "{name: v, hostPath: {path: /data}}")
        .replace("{name: p}", "{name: p, annotations: {rhizome.dev/make-shared: \"true\"}}");
    assert!(planned_on(&node, &text, &[]).is_good());
}

#[test]
fn a_volume_of_the_pods_own_propagates_on_a_node_where_nothing_is_shared() {
    let node = node("21 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
    for source in
        ["emptyDir: {}", "emptyDir: {medium: Memory}", "configMap: {name: c}", "secret: {secretName: s}"]
    {
        let plan =
            planned_on(&node, &pod("p", &volume("Bidirectional"), &format!("{{name: v, {source}}}")), &[]);
        assert!(plan.is_good(), "{source}: {:?}", plan.containers[0].fault);
        assert!(plan.matrices[0].cells[1][0].mounts.reaches, "{source}");
    }
}

#[test]
fn what_lies_at_a_host_path_is_judged_in_the_kubelets_words() {
    let said = |kind: &str, there: There| {
        let mut node = Node::assumed();
        let source = Source { canonical: "/srv/v".into(), there };
        node.sources.insert("/srv/v".into(), source);
        let kind = if kind.is_empty() { String::new() } else { format!(", type: {kind}") };
        let volume_text = format!("{{name: v, hostPath: {{path: /srv/v{kind}}}}}");
        let plan = planned_on(&node, &pod("p", &volume("None"), &volume_text), &[]);
        let fault = plan.containers[0].fault.clone();
        (fault.map_or(String::new(), |fault| fault.text), ids(&plan).contains(&"source-missing"))
    };
    let set_up = |text: &str| format!("MountVolume.SetUp failed for volume \"v\" : {text}");
    assert_eq!(said("Directory", There::Directory), (String::new(), false));
    assert_eq!(said("", There::Missing), (String::new(), true));
    assert_eq!(
        said("Directory", There::Missing).0,
        set_up("hostPath type check failed: /srv/v is not a directory")
    );
    assert_eq!(
        said("Socket", There::File).0,
        set_up("hostPath type check failed: /srv/v is not a socket file")
    );
    assert_eq!(said("DirectoryOrCreate", There::Dead).0, set_up("mkdir /srv/v: file exists"));
    assert!(said("", There::Dead).0.ends_with("transport endpoint is not connected"));
}

#[test]
fn a_volume_that_cannot_be_set_up_keeps_the_whole_pod_from_starting() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {name: a, image: i}\n  - name: b\n    \
                image: i\n    volumeMounts: [{name: v, mountPath: /v}]\n  volumes: [{name: v, hostPath: {path: /v, type: Directory}}]\n";
    let mut node = Node::assumed();
    node.sources.insert("/v".into(), Source { canonical: "/v".into(), there: There::Missing });
    let faulty = |text: &str| -> Vec<bool> {
        planned_on(&node, text, &[]).containers.iter().map(|container| container.fault.is_some()).collect()
    };
    assert_eq!(faulty(text), [true, true]);
    // One that nobody mounts is not set up.
    assert_eq!(faulty(&text.replace("    volumeMounts: [{name: v, mountPath: /v}]\n", "")), [false, false]);
}

#[test]
fn what_is_mounted_in_a_read_only_volume_must_be_there() {
    let text = pod("p", "{name: v, mountPath: /dev, readOnly: true}", "{name: v, hostPath: {path: /dev}}");
    let manifests = Manifests::survey(&[manifest::Source { name: "f.yaml", bytes: text.as_bytes() }]);
    let log = PathBuf::from("/dev/termination-log");
    assert!(manifests.host_paths().contains(&log));
    let fault = |there| {
        let mut node = Node::assumed();
        node.sources.insert(log.clone(), Source { canonical: log.clone(), there });
        planned_on(&node, &text, &[]).containers[0].fault.clone()
    };
    assert_eq!(fault(There::File), None);
    let told = fault(There::Missing).unwrap();
    assert!(told.text.starts_with("cannot mount at /dev/termination-log: mkdir"), "{told:?}");
    // It can be made where the volume is writable, and is not needed where a mount lies between.
    let writable = text.replace(", readOnly: true", "");
    let manifests = Manifests::survey(&[manifest::Source { name: "f.yaml", bytes: writable.as_bytes() }]);
    assert!(!manifests.host_paths().contains(&log));
}

#[test]
fn findings_are_what_the_world_says() {
    let below = [("/srv/v/disk", "ext4", "shared:9"), ("/srv/v/own", "tmpfs", "")];
    let node = shared_node(&below);
    let ids_of = |mounts: &str| {
        let mut found = ids(&planned_on(&node, &pod("p", mounts, AT), &[]));
        found.sort_unstable();
        found
    };
    assert_eq!(ids_of(&volume("")), ["pins-mounts"]);
    assert_eq!(ids_of(&volume("HostToContainer")), ["private-below"]);
    assert_eq!(ids_of(&volume("Bidirectional")), ["left-at-exit", "private-below"]);
    let read_only = volume("HostToContainer").replace('}', ", readOnly: true}");
    assert_eq!(ids_of(&read_only), ["private-below", "writable-below-read-only"]);
    let all = volume("").replace('}', ", readOnly: true, recursiveReadOnly: Enabled}");
    assert_eq!(ids_of(&all), ["pins-mounts"]);
    let sub_path = volume("HostToContainer").replace('}', ", subPath: disk}");
    assert_eq!(ids_of(&sub_path), ["subpath-hides-mounts"]);
    let nested = format!("{}, {{name: w, mountPath: /mnt/test/inner}}", volume("HostToContainer"));
    let text = pod("p", &nested, &format!("{AT}, {{name: w, emptyDir: {{}}}}"));
    assert_eq!(ids(&planned_on(&node, &text, &[])), ["private-below", "unmount-takes-ours"]);
    let fuse = shared_node(&[("/srv/v", "fuse.sshfs", "shared:3")]);
    let plan = planned_on(&fuse, &pod("p", &volume("HostToContainer"), AT), &[]);
    assert_eq!(ids(&plan), ["remount-not-seen"]);
    let inner = node_in_a_container();
    assert_eq!(
        ids(&planned_on(&inner, &pod("p", &volume("Bidirectional"), AT), &[])),
        ["ends-at-slave", "left-at-exit"]
    );
}

fn node_in_a_container() -> Node {
    node("21 1 8:1 / / rw shared:2 master:1 - ext4 /dev/sda1 rw\n")
}

#[test]
fn what_is_mounted_before_is_told_with_its_types() {
    let node = shared_node(&[("/srv/v/disk", "ext4", "shared:9")]);
    let text = pod("a", &volume("None"), AT) + &pod("b", &volume("HostToContainer"), AT);
    let plan = planned_on(&node, &text, &[]);
    let nested = &at(&plan, "/srv/v").nested;
    let types: Vec<&str> =
        nested[0].types.iter().map(|kind| kind.map_or("-", |kind| kind.in_words())).collect();
    assert_eq!((nested.len(), types), (1, vec!["shared", "private", "slave"]));
}

#[test]
fn sub_paths_show_their_part_of_the_volume() {
    let text = pod("whole", &volume("Bidirectional"), AT)
        + &pod("part", &volume("HostToContainer").replace('}', ", subPath: a/b}"), AT);
    let plan = planned(&text);
    let matrix = at(&plan, "/srv/v/a/b");
    let paths: Vec<&str> = matrix.parties.iter().map(|party| party.path.to_str().unwrap()).collect();
    assert_eq!(paths, ["/srv/v/a/b", "/mnt/test/a/b", "/mnt/test"]);
    assert!(matrix.cells[1][2].mounts.reaches, "{matrix:?}");
    assert_eq!(at(&plan, "/srv/v").parties.len(), 2, "the part is not the whole");
}

#[test]
fn lines_are_run_in_containers_by_name() {
    let text = pod("a", &volume("Bidirectional"), AT);
    let plan =
        planned_on(&Node::assumed(), &text, &["mount -t tmpfs none /srv/v/x", "@a/main umount /mnt/test/x"]);
    let events = |step: usize| -> Vec<String> {
        let events = plan.then[step].calls[0].events.iter();
        let place = |path: &Option<PathBuf>| path.clone().unwrap().display().to_string();
        let mut places: Vec<_> =
            events.map(|e| format!("{} {}", e.namespace.clone().unwrap(), place(&e.path))).collect();
        places.dedup();
        places
    };
    assert_eq!(events(0), ["host /srv/v/x", "a/main /mnt/test/x"]);
    assert_eq!(events(1), ["a/main /mnt/test/x", "host /srv/v/x"]);
    let manifests = Manifests::default();
    let node = Node::assumed();
    let then = ["@nobody umount /x".to_owned()];
    assert!(plan_of(&manifests, &node, &then).is_err());
}

fn plan_of(manifests: &Manifests, node: &Node, then: &[String]) -> Result<Plan, ScriptError> {
    plan(manifests, &Request { node, then, restarts: 0 })
}

#[test]
fn what_other_runtimes_rewrite_is_told() {
    let plan = planned(&pod(
        "p",
        "{name: v, mountPath: /host, mountPropagation: None}",
        "{name: v, hostPath: {path: /}}",
    ));
    let otherwise: Vec<usize> =
        plan.runtimes.iter().map(|report| report.containers[0].otherwise.len()).collect();
    assert_eq!(otherwise, [0, 0, 1, 1], "CRI-O and podman");
}

#[test]
fn podman_starts_what_cannot_propagate() {
    let told = |node: &Node, mode: &str| {
        let plan = planned_on(node, &pod("p", &volume(mode), AT), &[]);
        let podman = &plan.runtimes[3].containers[0];
        assert_eq!(podman.fault, None);
        podman.otherwise.iter().map(|(_, what)| what.split(':').next().unwrap()).collect::<Vec<_>>()
    };
    let private = node("21 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
    let slave = node("21 1 8:1 / / rw master:1 - ext4 /dev/sda1 rw\n");
    assert_eq!(told(&private, "Bidirectional"), ["None"]);
    assert_eq!(told(&private, "HostToContainer"), ["None"]);
    assert_eq!(told(&private, "None"), Vec::<&str>::new());
    assert_eq!(told(&slave, "Bidirectional"), ["HostToContainer"]);
    assert_eq!(told(&slave, "HostToContainer"), Vec::<&str>::new());
    assert_eq!(told(&Node::assumed(), "Bidirectional"), Vec::<&str>::new());
}

/// `private` and not `rprivate`: with crun that is the same, and nothing gets out.
#[test]
fn podmans_none_is_private_but_for_what_runc_makes_of_it() {
    let told = |mode: &str, disk: &str| {
        let node = shared_node(&[("/srv/v/disk", "ext4", disk)]);
        let mounts = format!(
            "{}, {{name: w, mountPath: /w, mountPropagation: Bidirectional}}, {{name: t, mountPath: /mnt/test/disk/t}}",
            volume(mode)
        );
        let volumes = format!("{AT}, {{name: w, hostPath: {{path: /srv/w}}}}, {{name: t, emptyDir: {{}}}}");
        let plan = planned_on(&node, &pod("p", &mounts, &volumes), &[]);
        let told = plan.runtimes.iter().map(|report| {
            let growth = &report.containers[0];
            assert_eq!(growth.starts.iter().map(|start| start.mounts).sum::<usize>(), 0, "{growth:?}");
            growth.otherwise.len()
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(told("None", "shared:9"), [0, 0, 0, 1]);
    assert_eq!(told("", "shared:9"), [0; 4], "not written, it is rprivate");
    assert_eq!(told("None", ""), [0; 4], "what is below is private itself");
}

#[test]
fn what_the_machine_is_made_of_is_not_told_to_be_held() {
    let of = |path: &str| {
        let found =
            planned(&pod("p", &volume(""), &format!("{{name: v, hostPath: {{path: {path}}}}}"))).findings;
        found.into_iter().map(|finding| (finding.id, finding.evidence)).collect::<Vec<_>>()
    };
    assert_eq!(of("/dev"), []);
    assert_eq!(of("/sys"), []);
    assert_eq!(of("/"), [("pins-mounts", vec!["/run".to_owned()])]);
}

#[test]
fn what_to_do_is_never_what_the_api_server_refuses() {
    let node = shared_node(&[("/srv/v/disk", "ext4", "shared:9")]);
    let mend = |fields: &str| {
        let text = pod("p", &volume("").replace('}', fields), AT);
        let found = planned_on(&node, &text, &[]).findings;
        found.iter().find(|finding| finding.id == "pins-mounts").unwrap().mends.len()
    };
    assert_eq!(mend("}"), 1);
    assert_eq!(mend(", readOnly: true, recursiveReadOnly: Enabled}"), 0, "not together with propagation");
}

#[test]
fn a_mount_point_in_a_read_only_volume_is_told_where_nobody_has_looked() {
    let inner = "{name: w, mountPath: /mnt/test/inner}, {name: w, mountPath: /mnt/test/inner/deeper}";
    let volumes = format!("{AT}, {{name: w, emptyDir: {{}}}}");
    let told = |node: &Node, fields: &str| {
        let mounts = format!("{}, {inner}", volume("").replace('}', fields));
        let found = planned_on(node, &pod("p", &mounts, &volumes), &[]).findings;
        let found = found.into_iter().find(|finding| finding.id == "mount-point-in-read-only");
        found.map(|finding| finding.evidence)
    };
    let mut node = Node::assumed();
    assert_eq!(told(&node, ", readOnly: true}"), Some(vec!["/srv/v/inner".to_owned()]));
    assert_eq!(told(&node, "}"), None, "it can be made");
    let there = Source { canonical: "/srv/v/inner".into(), there: There::Directory };
    node.sources.insert("/srv/v/inner".into(), there);
    assert_eq!(told(&node, ", readOnly: true}"), None, "it is there");
}

#[test]
fn a_mount_point_that_somebody_makes_is_not_told() {
    let told = |volume: &str, first: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers:\n{first}  - name: main\n    image: busybox\n    \
             volumeMounts: [{{name: v, mountPath: /v, readOnly: true}}, {{name: w, mountPath: /v/w}}]\n  \
             volumes: [{{name: v, {volume}}}, {{name: w, emptyDir: {{}}}}]\n"
        );
        ids(&planned(&text)).contains(&"mount-point-in-read-only")
    };
    let maker = "  - name: first\n    image: busybox\n    volumeMounts: [{name: v, mountPath: /x}, {name: w, mountPath: /x/w}]\n";
    assert!(told("emptyDir: {}", ""));
    assert!(!told("emptyDir: {}", maker), "it is made with the first container");
    assert!(told("emptyDir: {}", &maker.replace("/x}", "/x, readOnly: true}")));
    assert!(!told("configMap: {name: m}", ""), "the kubelet makes it");
    assert!(!told("secret: {secretName: s}", ""), "the kubelet makes it");
}

#[test]
fn mounts_of_pods_are_not_for_the_operator_to_share() {
    let text = pod(
        "p",
        "{name: v, mountPath: /host, mountPropagation: HostToContainer}, {name: s, mountPath: /s}",
        "{name: v, hostPath: {path: /}}, {name: s, secret: {secretName: s}}",
    );
    assert_eq!(ids(&planned(&text)), Vec::<&str>::new());
}

#[test]
fn what_is_made_of_a_missing_source_is_told_where_no_type_asks_for_it() {
    let told = |kind: &str| {
        let mut node = Node::assumed();
        node.sources.insert("/srv/v".into(), Source { canonical: "/srv/v".into(), there: There::Missing });
        let volume = format!("{{name: v, hostPath: {{path: /srv/v, type: {kind}}}}}");
        ids(&planned_on(&node, &pod("p", &self::volume(""), &volume), &[]))
    };
    assert_eq!(told("''"), ["source-missing"]);
    assert_eq!(told("DirectoryOrCreate"), Vec::<&str>::new());
}

#[test]
fn nothing_of_a_manifest_makes_it_panic() {
    let pods = [
        pod("p", "{name: v, mountPath: /}", AT),
        pod("p", "{name: v, mountPath: ''}", AT),
        pod("p", "{name: nobody, mountPath: /a}", AT),
        pod("p", "{name: v, mountPath: /a/../../b, subPath: ../../x, mountPropagation: Bidirectional}", AT),
        pod(
            "p",
            "{name: v, mountPath: /proc, mountPropagation: Bidirectional}",
            "{name: v, hostPath: {path: /proc}}",
        ),
        pod("p", "{name: v, mountPath: /a, mountPropagation: Sideways}", AT),
        pod(
            "p",
            "{name: v, mountPath: /h, mountPropagation: Bidirectional}",
            "{name: v, hostPath: {path: /}}",
        ),
        pod("p", "{name: v, mountPath: /a}, {name: v, mountPath: /a}, {name: v, mountPath: /a/b}", AT),
        pod("p", "{name: v, mountPath: /etc/hosts}", "{name: v, hostPath: {path: '', type: Nonsense}}"),
        "kind: Pod\napiVersion: v1\nmetadata: {name: ''}\nspec: {containers: [{name: ''}]}\n".to_owned(),
        String::new(),
    ];
    for text in &pods {
        let plan = planned(text);
        assert!(plan.matrices.iter().all(|matrix| matrix.cells.len() == matrix.parties.len()), "{text}");
    }
    assert!(!planned(&pods.concat()).is_good());
}

/// Everyone is asked about everyone, up to a number of them.
#[test]
fn of_many_pods_some_are_left_out() {
    let text: String = (0..200).map(|at| pod(&format!("p{at}"), &volume("Bidirectional"), AT)).collect();
    let plan = planned(&text);
    let matrix = at(&plan, "/srv/v");
    assert_eq!((matrix.parties.len(), matrix.left_out), (MAX_PARTIES, 201 - MAX_PARTIES));
}

/// What is of other pods is not looked at, but for what is tied to what is.
#[test]
fn a_large_node_is_as_a_small_one() {
    let below = [
        ("/srv/v/disk", "ext4", "shared:9"),
        ("/mirror", "ext4", "shared:9"),
        ("/slave", "ext4", "master:9"),
    ];
    let small = shared_node(&below);
    let mut large = small.clone();
    for at in 0..3_000 {
        let mut mount = small.mounts.mounts[1].clone();
        mount.id = mount_table::MountId(1_000 + at);
        mount.mount_point = format!("/var/lib/kubelet/pods/{at}/volumes/v").into();
        mount.propagation = mount_table::Propagation::PRIVATE;
        large.mounts.mounts.push(mount);
    }
    let text = pod(
        "p",
        &format!("{}, {{name: w, mountPath: /mnt/test/inner}}", volume("Bidirectional")),
        &format!("{AT}, {{name: w, emptyDir: {{}}}}"),
    );
    let (one, other) = (planned_on(&small, &text, &[]), planned_on(&large, &text, &[]));
    assert_eq!((&one.matrices, &one.runtimes), (&other.matrices, &other.runtimes));
    assert_eq!(one.findings, other.findings);
    let manifests = Manifests::survey(&[manifest::Source { name: "f", bytes: text.as_bytes() }]);
    let pods: Vec<PodAsked> =
        manifests.objects.iter().filter_map(|object| PodAsked::of(object, &large)).collect();
    let paths: Vec<PathBuf> =
        node::concerned(&large, &pods).mounts.into_iter().map(|mount| mount.mount_point).collect();
    assert_eq!(paths, ["/", "/srv/v/disk", "/mirror", "/slave"].map(PathBuf::from));
}

/// A claim, and the volume of the same files that it is bound to.
const CLAIMED: &str = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\n\
    spec: {storageClassName: '', accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n---\n\
    apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: disk}\nspec:\n  capacity: {storage: 2Gi}\n  \
    accessModes: [ReadWriteOnce]\n  hostPath: {path: /srv/v}\n---\n";

#[test]
fn claims_are_looked_through_to_the_volumes_of_the_same_files() {
    let claim = "{name: v, persistentVolumeClaim: {claimName: data}}";
    let node = shared_node(&[("/srv/v/disk", "ext4", "shared:9")]);
    let text =
        pod("direct", &volume("HostToContainer"), AT) + &pod("claimed", &volume("Bidirectional"), claim);
    let plan = planned_on(&node, &(text.clone() + CLAIMED), &[]);
    assert!(plan.is_good(), "{:?}", plan.refused);
    let parties: Vec<&str> = at(&plan, "/srv/v").parties.iter().map(|party| party.name.as_str()).collect();
    assert_eq!(parties, ["host", "direct/main", "claimed/main"]);
    // Read-only, as the claim says; and without the volume it is a driver's.
    let read_only =
        pod("p", &volume(""), "{name: v, persistentVolumeClaim: {claimName: data, readOnly: true}}");
    let plan = planned_on(&node, &(CLAIMED.to_owned() + &read_only), &[]);
    assert!(plan.containers[0].asked.mounts[0].mount.readonly);
    let plan = planned_on(&node, &text, &[]);
    assert_eq!(plan.containers[1].asked.mounts[0].kind, VolumeKind::Driver);
    // What lies there is looked at as well.
    let manifests = Manifests::survey(&[manifest::Source {
        name: "f",
        bytes: (text.replace(AT, claim) + CLAIMED).as_bytes(),
    }]);
    assert_eq!(manifests.host_paths(), BTreeSet::from(["/srv/v".into()]));
}

#[test]
fn a_stateful_set_has_its_templates_claims_as_volumes() {
    let text = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: s}\nspec:\n  serviceName: s\n  \
        selector: {matchLabels: {a: b}}\n  template:\n    metadata: {labels: {a: b}}\n    spec:\n      containers:\n      \
        - name: c\n        image: busybox\n        volumeMounts: [{name: data, mountPath: /data, mountPropagation: HostToContainer}]\n  \
        volumeClaimTemplates:\n  - metadata: {name: data}\n    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n";
    let plan = planned(text);
    assert!(plan.is_good(), "{:?} {:?}", plan.refused, plan.containers[0].fault);
    let volume = "---\napiVersion: v1\nkind: PersistentVolume\nmetadata: {name: disk}\nspec:\n  capacity: {storage: 2Gi}\n  \
        accessModes: [ReadWriteOnce]\n  claimRef: {name: data-s-0, namespace: default}\n  hostPath: {path: /srv/v}\n";
    let plan = planned(&(text.to_owned() + volume));
    assert_eq!(plan.containers[0].asked.mounts[0].place, Path::new("/srv/v"));
}

#[test]
fn in_a_user_namespace_mounts_arrive_and_go_out_only_if_the_pod_says_so() {
    let users = |text: String| text.replace("spec:\n", "spec:\n  hostUsers: false\n");
    let plan = planned(&users(pod("p", &volume("HostToContainer"), AT)));
    assert!(
        plan.is_good() && plan.unsupported.is_empty(),
        "{:?} {:?}",
        plan.unsupported,
        plan.containers[0].fault
    );
    let matrix = at(&plan, "/srv/v");
    assert_eq!(matrix.parties[1].propagation.in_words(), "slave");
    assert!(matrix.cells[0][1].mounts.reaches && !matrix.cells[1][0].mounts.reaches);

    let both = users(pod("p", &volume("Bidirectional"), AT));
    let refused = planned(&both);
    assert_eq!(refused.unsupported.len(), 1, "{:?}", refused.unsupported);
    assert!(refused.unsupported[0].message.contains("rhizome.dev/bidirectional-in-userns"));
    let opted =
        both.replace("{name: p}", "{name: p, annotations: {rhizome.dev/bidirectional-in-userns: 'true'}}");
    let plan = planned(&opted);
    assert!(plan.is_good() && plan.unsupported.is_empty(), "{:?}", plan.unsupported);
    let matrix = at(&plan, "/srv/v");
    assert!(matrix.cells[0][1].mounts.reaches && matrix.cells[1][0].mounts.reaches);
    // Of containerd and runc it is one way, silently; crun's is both.
    let otherwise: Vec<usize> =
        plan.runtimes.iter().map(|report| report.containers[0].otherwise.len()).collect();
    assert_eq!(otherwise, [0, 1, 0, 0]);
}
