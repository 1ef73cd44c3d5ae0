//! The volumes of the node's pods, as the real kubectl sees them: PersistentVolumes and claims. What is expected is what
//! kubectl and an API server 1.36 say on a cluster without a default storage class.

#[path = "support/node.rs"]
mod node;
mod support;
#[path = "support/world.rs"]
mod world;

use node::{Node, columns};

fn with_claim(claim: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: user}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox
    command: [sh, -c, 'echo written > /data/by-pod; sleep 1000']
    volumeMounts: [{{name: data, mountPath: /data, mountPropagation: HostToContainer}}]
  volumes: [{{name: data, persistentVolumeClaim: {{claimName: {claim}}}}}]
"
    )
}

const CLAIM: &str = "apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";

fn volume(name: &str, path: &str, more: &str) -> String {
    format!(
        "apiVersion: v1
kind: PersistentVolume
metadata: {{name: {name}}}
spec: {{capacity: {{storage: 2Gi}}, accessModes: [ReadWriteOnce, ReadOnlyMany], hostPath: {{path: {path}}}{more}}}
"
    )
}

#[test]
fn a_pod_waits_for_its_claim_and_the_claim_for_a_volume() {
    let Some(node) = Node::start("a_pod_waits_for_its_claim_and_the_claim_for_a_volume") else { return };
    let create = |manifest: &str| node.with_input(&["create", "-f", "-"], manifest.as_bytes()).stdout;
    assert_eq!(create(&with_claim("data")), "pod/user created\n");
    let why = |text: &str| {
        format!(
            "0/1 nodes are available: {text}. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        )
    };
    let condition = ["get", "pod", "user", "-o", "jsonpath={.status.conditions[0].message}"];
    node.until(&condition, |text| text == why("persistentvolumeclaim \"data\" not found"));
    assert_eq!(
        columns(&node.ok(&["get", "pods", "-o", "wide"])),
        "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES\nuser 0/1 Pending 0 AGE <none> <none> <none> <none>\n"
    );
    assert_eq!(create(CLAIM), "persistentvolumeclaim/data created\n");
    node.until(&condition, |text| text == why("pod has unbound immediate PersistentVolumeClaims"));
    assert_eq!(
        columns(&node.ok(&["get", "pvc"])),
        "NAME STATUS VOLUME CAPACITY ACCESS MODES STORAGECLASS VOLUMEATTRIBUTESCLASS AGE\ndata Pending <unset> AGE\n"
    );
    let told = [
        "get",
        "events",
        "-o",
        "jsonpath={range .items[*]}{.involvedObject.kind} {.type} {.reason} {.source.component}{.reportingComponent}: {.message}{\"\\n\"}{end}",
    ];
    node.until(&told, |text| {
        text.contains("PersistentVolumeClaim Normal FailedBinding persistentvolume-controllerpersistentvolume-controller: no persistent volumes available for this claim and no storage class is set\n")
    });
    assert!(
        node.ok(&told).contains("Pod Warning FailedScheduling default-scheduler: 0/1 nodes are available: ")
    );
    // A volume that is made in time ends the waiting.
    let path = node.world.volume().display().to_string();
    assert_eq!(create(&volume("disk", &path, "")), "persistentvolume/disk created\n");
    node.wait_ready(&["user"]);
    assert_eq!(node.world.on_host(&format!("cat {path}/by-pod")).stdout, "written\n");
    assert_eq!(
        columns(&node.ok(&["get", "pv,pvc", "-o", "wide"])),
        "NAME CAPACITY ACCESS MODES RECLAIM POLICY STATUS CLAIM STORAGECLASS VOLUMEATTRIBUTESCLASS REASON AGE VOLUMEMODE\n\
         persistentvolume/disk 2Gi RWO,ROX Retain Bound default/data <unset> AGE Filesystem\n\n\
         NAME STATUS VOLUME CAPACITY ACCESS MODES STORAGECLASS VOLUMEATTRIBUTESCLASS AGE VOLUMEMODE\n\
         persistentvolumeclaim/data Bound disk 2Gi RWO,ROX <unset> AGE Filesystem\n"
    );
    let described = node.ok(&["describe", "pvc", "data"]);
    for line in [
        "Status:        Bound",
        "Volume:        disk",
        "Finalizers:    [kubernetes.io/pvc-protection]",
        "Used By:       user",
    ] {
        assert!(described.lines().any(|found| found == line), "{line} in {described}");
    }
    // It receives what the host mounts, as asked: a claim is a hostPath in every respect.
    node.world
        .on_host(&format!("mkdir -p {path}/sub && mount -t tmpfs x {path}/sub && touch {path}/sub/arrived"));
    assert_eq!(node.ok(&["exec", "user", "--", "ls", "/data/sub"]), "arrived\n");
    node.world.on_host(&format!("umount {path}/sub"));
}

#[test]
fn what_is_used_stays_until_it_is_not() {
    let Some(mut node) = Node::start("what_is_used_stays_until_it_is_not") else { return };
    let path = node.world.volume().display().to_string();
    let all = [
        volume("disk", &path, ", storageClassName: fast"),
        CLAIM.replace("spec: {", "spec: {storageClassName: fast, "),
        with_claim("data"),
    ];
    node.with_input(&["create", "-f", "-"], all.join("---\n").as_bytes());
    node.wait_ready(&["user"]);
    node.ok(&["delete", "pvc", "data", "--wait=false"]);
    node.ok(&["delete", "pv", "disk", "--wait=false"]);
    let states = ["get", "pv,pvc", "--no-headers"];
    let going = "persistentvolume/disk 2Gi RWO,ROX Retain Terminating default/data fast <unset> AGE\npersistentvolumeclaim/data Terminating disk 2Gi RWO,ROX fast <unset> AGE\n";
    assert_eq!(columns(&node.ok(&states)), going);
    node.end(rustix::process::Signal::KILL);
    node.run();
    assert_eq!(columns(&node.ok(&states)), going, "bound for good");
    node.ok(&["delete", "pod", "user"]);
    node.until(&states, str::is_empty);
    // A volume whose claim has gone is nobody else's before it is freed; and a namespace takes its claims with it.
    node.ok(&["create", "namespace", "dev"]);
    node.with_input(&["create", "-f", "-"], volume("kept", &path, "").as_bytes());
    node.with_input(&["create", "-n", "dev", "-f", "-"], CLAIM.as_bytes());
    let phase = ["get", "pv", "kept", "-o", "jsonpath={.status.phase}"];
    node.until(&phase, |text| text == "Bound");
    node.ok(&["delete", "namespace", "dev"]);
    node.until(&phase, |text| text == "Released");
    node.with_input(&["create", "-f", "-"], CLAIM.as_bytes());
    let claimed = ["get", "pvc", "data", "-o", "jsonpath={.status.phase} {.spec.volumeName}"];
    node.until(&["get", "events", "-o", "jsonpath={.items[*].reason}"], |text| {
        text.contains("FailedBinding")
    });
    assert_eq!(node.ok(&claimed), "Pending ");
    node.ok(&[
        "patch",
        "pv",
        "kept",
        "--type=json",
        "-p",
        "[{\"op\": \"remove\", \"path\": \"/spec/claimRef\"}]",
    ]);
    node.until(&claimed, |text| text == "Bound kept");
    let refused = node.kubectl(&["patch", "pvc", "data", "-p", "{\"spec\": {\"storageClassName\": \"x\"}}"]);
    assert_eq!(
        refused.stderr,
        "The PersistentVolumeClaim \"data\" is invalid: spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"
    );
    // Nothing of it is deleted, and that is said.
    node.ok(&["patch", "pv", "kept", "-p", "{\"spec\": {\"persistentVolumeReclaimPolicy\": \"Delete\"}}"]);
    node.ok(&["delete", "pvc", "data"]);
    node.until(&phase, |text| text == "Failed");
    assert!(node.ok(&["describe", "pv", "kept"]).contains("VolumeFailedDelete"));
    node.ok(&["delete", "pv", "kept"]);
}

#[test]
fn what_changes_in_a_config_map_reaches_the_pods_that_run() {
    let Some(node) = Node::start("what_changes_in_a_config_map_reaches_the_pods_that_run") else { return };
    node.ok(&["create", "configmap", "words", "--from-literal=key=one", "--from-literal=gone=x"]);
    node.ok(&["create", "secret", "generic", "hidden", "--from-literal=key=one"]);
    let pod = "apiVersion: v1
kind: Pod
metadata: {name: reader, labels: {of: before}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox
    command: [sleep, '1000']
    env: [{name: KEY, valueFrom: {configMapKeyRef: {name: words, key: key}}}]
    volumeMounts:
    - {name: words, mountPath: /words}
    - {name: words, mountPath: /alone, subPath: key}
    - {name: all, mountPath: /all}
  volumes:
  - {name: words, configMap: {name: words}}
  - name: all
    projected:
      sources:
      - secret: {name: hidden}
      - downwardAPI: {items: [{path: of, fieldRef: {fieldPath: \"metadata.labels['of']\"}}]}
";
    node.with_input(&["create", "-f", "-"], pod.as_bytes());
    node.wait_ready(&["reader"]);
    let inside = |script: &str| node.ok(&["exec", "reader", "--", "sh", "-c", script]);
    let shown = "cd /words; cat key; ls; cat /alone /all/key /all/of; echo $KEY";
    assert_eq!(inside(shown), "onegone\nkey\noneonebeforeone\n");
    // Who has a file open reads on in it; who opens one gets the new ones, all of them at once.
    let before = inside("readlink /words/..data");
    node.ok(&[
        "patch",
        "configmap",
        "words",
        "-p",
        "{\"data\": {\"key\": \"two\", \"gone\": null, \"new\": \"y\"}}",
    ]);
    let begun = std::time::Instant::now();
    node.until(&["exec", "reader", "--", "cat", "/words/key"], |text| text == "two");
    assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_ne!(inside("readlink /words/..data"), before);
    node.ok(&["patch", "secret", "hidden", "-p", "{\"stringData\": {\"key\": \"two\"}}"]);
    node.ok(&["label", "pod", "reader", "of=after", "--overwrite"]);
    node.until(&["exec", "reader", "--", "cat", "/all/key", "/all/of"], |text| text == "twoafter");
    // A file by itself and a variable are what they were.
    assert_eq!(inside(shown), "twokey\nnew\nonetwoafterone\n");
    // What is missing is told, and what there was stays.
    node.ok(&["delete", "configmap", "words"]);
    let told =
        ["get", "events", "--field-selector", "reason=FailedMount", "-o", "jsonpath={.items[*].message}"];
    node.until(&told, |text| {
        text == "MountVolume.SetUp failed for volume \"words\" : configmap \"words\" not found"
    });
    assert_eq!(inside("cat /words/key"), "two");
    assert_eq!(
        node.ok(&["get", "pod", "reader", "-o", "jsonpath={.status.containerStatuses[0].restartCount}"]),
        "0"
    );
}

#[test]
fn mounts_that_come_and_go_in_a_volume_are_told() {
    let Some(node) = Node::start("mounts_that_come_and_go_in_a_volume_are_told") else {
        return;
    };
    let volume = node.world.volume().display().to_string();
    for (name, mode) in [("slave", "HostToContainer"), ("peer", "Bidirectional")] {
        node.with_input(&["create", "-f", "-"], node.manifest(name, mode).as_bytes());
    }
    node.wait_ready(&["slave", "peer"]);
    let told = |pod: &str, reason: &str| {
        let of = format!("involvedObject.name={pod},reason={reason}");
        let range = "jsonpath={range .items[*]}{.message}{\"\\n\"}{end}";
        ["get", "events", "--field-selector", &of, "-o", range].map(str::to_owned)
    };
    let until = |pod: &str, reason: &str, reached: &dyn Fn(&str) -> bool| {
        let args = told(pod, reason);
        node.until(&args.each_ref().map(String::as_str), reached)
    };
    // Who watches begins when the first such pod is there: what it sees is only from then on.
    let attempts = std::time::Instant::now();
    let mut round = 0;
    while node.ok(&told("slave", "MountArrived").each_ref().map(String::as_str)).is_empty() {
        assert!(attempts.elapsed() < node::PATIENCE * 4);
        node.world.on_host(&format!("mkdir -p {volume}/sub{round} && mount -t tmpfs x {volume}/sub{round}"));
        round += 1;
        std::thread::sleep(std::time::Duration::from_secs(2));
    }
    let arrived = until("slave", "MountArrived", &|text| !text.is_empty());
    assert!(arrived.starts_with("main: a mount (tmpfs) came at /home/sub"), "{arrived}");
    // On a machine that is very busy it may be found by reading again.
    let from = ["by propagation, from the host (", "from where is not known"];
    assert!(
        arrived.contains("/home is HostToContainer") && from.iter().any(|from| arrived.contains(from)),
        "{arrived}"
    );
    node.world.on_host(&format!("umount {volume}/sub*"));
    until("slave", "MountLeft", &|text| text.contains("a mount (tmpfs) went at /home/sub"));
    // What the pod mounts itself goes to the host, and to the other.
    node.ok(&["exec", "peer", "--", "sh", "-c", "mkdir /home/own && mount -t tmpfs x /home/own"]);
    until("peer", "MountArrived", &|text| text.lines().any(|line| line.contains("at /home/own ")));
    until("slave", "MountArrived", &|text| text.lines().any(|line| line.contains("at /home/own ")));
    node.ok(&["exec", "peer", "--", "umount", "/home/own"]);
}
