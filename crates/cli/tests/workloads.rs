//! The kinds that make Pods, from the command line: how their Pods are made, named and found.

mod support;
#[path = "support/world.rs"]
mod world;

use std::time::{Duration, Instant};
use world::World;

/// What stands between a workload and its selector.
const SELECTOR: &str = "selector: {matchLabels: {app: a}}";

/// A workload whose Pods sleep until they are told to stop.
fn workload(group: &str, kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: {group}/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  {spec}\n  template:\n    \
         metadata: {{labels: {{app: a}}}}\n    spec:\n      terminationGracePeriodSeconds: 0\n      \
         containers:\n      - {{name: main, image: busybox, command: [sleep, \"1000\"]}}\n---\n"
    )
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// An agent on every node, as debuggers bring one: the node's processes, its cgroups, a directory in which it mounts for
/// others, and places of container runtimes that need not be there.
fn agent(world: &World) -> String {
    let volume = world.volume();
    let volume = volume.display();
    format!(
        "apiVersion: apps/v1
kind: DaemonSet
metadata:
  labels: {{app: node-agent}}
  name: node-agent
spec:
  selector:
    matchLabels: {{app: node-agent}}
  template:
    metadata:
      labels: {{app: node-agent}}
    spec:
      hostPID: true
      terminationGracePeriodSeconds: 0
      tolerations: [{{key: node-role.kubernetes.io/control-plane, effect: NoSchedule}}]
      containers:
      - name: agent
        image: example/node-agent:latest
        imagePullPolicy: Always
        command: [sh, -c, 'mkdir /www; echo ok > /www/healthz; busybox httpd -p 10027 -h /www; exec sleep 1000']
        securityContext: {{privileged: true}}
        livenessProbe: {{httpGet: {{path: /healthz, port: 10027, scheme: HTTP}}, periodSeconds: 1, failureThreshold: 3, timeoutSeconds: 30}}
        startupProbe: {{httpGet: {{path: /healthz, port: http}}, periodSeconds: 1, failureThreshold: 60, timeoutSeconds: 30}}
        ports: [{{containerPort: 10027, hostPort: 10027, name: http, protocol: TCP}}]
        volumeMounts:
        - {{name: cgroup, mountPath: /sys/fs/cgroup}}
        - {{name: shared, mountPath: /var/lib/shared, mountPropagation: Bidirectional}}
        - {{name: socket, mountPath: /var/run/runtime.sock}}
        - {{name: state, mountPath: /run/runtime}}
      volumes:
      - {{name: cgroup, hostPath: {{path: /sys/fs/cgroup}}}}
      - {{name: shared, hostPath: {{path: {volume}/shared, type: DirectoryOrCreate}}}}
      - {{name: socket, hostPath: {{path: {volume}/runtime.sock}}}}
      - {{name: state, hostPath: {{path: {volume}/state}}}}
  updateStrategy:
    rollingUpdate: {{maxUnavailable: 5}}
    type: RollingUpdate
"
    )
}

#[test]
fn a_daemon_set_of_a_node_agent_runs_as_it_is() {
    let Some(world) = World::isolated("a_daemon_set_of_a_node_agent_runs_as_it_is") else { return };
    let image = support::images("").unwrap().join("busybox.tar");
    let imported =
        world.run(&["image", "import", image.to_str().unwrap(), "--name", "example/node-agent:latest"]);
    assert_eq!(imported.status, 0, "{imported:?}");
    let file = world.file("agent.yaml", &agent(&world));
    let ran = world.run(&world.run_args(&["-d", &file]));
    assert_eq!(ran.status, 0, "{ran:?}");
    let name = ran.stdout.trim().to_owned();
    assert!(name.starts_with("pod/node-agent-") && name.len() == "pod/node-agent-".len() + 5, "{name}");
    for note in [
        "note: DaemonSet \"node-agent\": accepted, without meaning on one machine: spec.updateStrategy, spec.template.spec.tolerations",
        "no port of the node leads to the pod: without a network configuration it has only its own loopback",
        "runtime.sock was missing and is now an empty directory",
    ] {
        assert!(ran.stderr.contains(note), "{note}: {}", ran.stderr);
    }
    world.remember_pods();

    let mounted = world.run(&["exec", "ds/node-agent", "--", "mount", "-t", "tmpfs", "x", "/var/lib/shared"]);
    assert_eq!(mounted.status, 0, "{mounted:?}");
    let shared = world.volume().join("shared");
    assert!(world.on_host(&format!("grep {} /proc/self/mountinfo", shared.display())).status == 0);
    let unmounted = world.on_host(&format!("umount {}", shared.display()));
    assert_eq!(unmounted.status, 0, "{unmounted:?}");
    let inside = world.run(&[
        "exec",
        "ds/node-agent/agent",
        "--",
        "grep",
        "-c",
        "^x /var/lib/shared tmpfs ",
        "/proc/mounts",
    ]);
    assert_eq!(inside.stdout, "0\n", "{inside:?}");
    // The node's processes are there: the program runs, and is not process 1.
    let first = world.run(&["exec", "ds/node-agent", "--", "cat", "/proc/1/comm"]);
    assert_ne!(first.stdout, "sleep\n", "{first:?}");

    // It answers its probes: it is ready, as it only is after the first, and was never started again.
    let deadline = Instant::now() + Duration::from_secs(60);
    let started = || world.run(&["inspect", "ds/node-agent"]).stdout.contains("started: true");
    while !started() {
        assert!(Instant::now() < deadline, "{:?}", world.run(&["inspect", "ds/node-agent"]));
        std::thread::sleep(Duration::from_millis(100));
    }
    let inspected = world.run(&["inspect", "ds/node-agent"]).stdout;
    assert!(inspected.contains("restartCount: 0"), "{inspected}");

    let again = world.run(&world.run_args(&["-d", &file]));
    assert_eq!(again.status, 1);
    assert!(again.stderr.contains(&format!("error: pods {:?} already exists", &name[4..])), "{again:?}");
    let removed = world.run(&["rm", "-f", "--file", &file]);
    assert_eq!((removed.status, removed.stdout), (0, format!("{name} removed\n")));
    world.assert_nothing_left();
}

#[test]
fn every_kind_makes_its_pods_and_each_is_found_by_its_workload() {
    let Some(world) = World::isolated("every_kind_makes_its_pods_and_each_is_found_by_its_workload") else {
        return;
    };
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {clusterIP: None}\n---\n";
    let all = service.to_owned()
        + &workload("apps", "Deployment", "web", &format!("replicas: 2\n  {SELECTOR}"))
        + &workload("apps", "ReplicaSet", "set", SELECTOR)
        + &workload("apps", "StatefulSet", "db", &format!("replicas: 2\n  {SELECTOR}\n  serviceName: web"))
        + &workload("apps", "DaemonSet", "agent", SELECTOR);
    let file = world.file("all.yaml", &all);
    let ran = world.run(&world.run_args(&["-d", &file]));
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(
        ran.stderr.contains("note: Service \"web\": accepted, without meaning on one machine\n"),
        "{ran:?}"
    );
    world.remember_pods();
    let names = lines(&ran.stdout);
    assert_eq!(names.len(), 6, "{names:?}");
    for (name, beginning) in names.iter().zip(["web-", "web-", "set-", "db-0", "db-1", "agent-"]) {
        assert!(name.starts_with(&format!("pod/{beginning}")), "{names:?}");
    }
    let object: serde_json::Value =
        serde_json::from_str(&world.run(&["inspect", names[0], "-o", "json"]).stdout).unwrap();
    let metadata = &object["metadata"];
    let hash = metadata["labels"]["pod-template-hash"].as_str().unwrap();
    assert_eq!(metadata["ownerReferences"][0]["kind"], "ReplicaSet");
    assert_eq!(metadata["ownerReferences"][0]["name"], format!("web-{hash}"));
    assert_eq!(world.run(&["exec", "sts/db", "--", "hostname"]).stdout, "db-0\n");
    let hosts = world.run(&["exec", "sts/db", "--", "tail", "-n1", "/etc/hosts"]).stdout;
    assert_eq!(hosts, "127.0.0.1\tdb-0.web.default.svc.cluster.local\tdb-0\n");

    // By name, from here on.
    let mut web = [names[0], names[1]];
    web.sort_unstable();
    let said = |what: &str| format!("{} {what}\n{} {what}\n", web[0], web[1]);
    let stopped = world.run(&["stop", "deployment/web"]);
    assert_eq!(stopped.stdout, said("stopped"), "{stopped:?}");
    let started = world.run(&["start", "--all"]);
    assert_eq!(started.stdout, said("started"), "{started:?}");
    let missing = world.run(&["stop", "ds/web"]);
    assert_eq!((missing.status, missing.stderr.as_str()), (1, "error: daemonsets.apps \"web\" not found\n"));
    let part = world.file("part.yaml", &workload("apps", "StatefulSet", "db", SELECTOR));
    let removed = world.run(&["rm", "-f", "--file", &part]);
    assert_eq!(removed.stdout, "pod/db-0 removed\npod/db-1 removed\n", "{removed:?}");
    // What is gone already is no complaint with -f.
    let rest = world.run(&["rm", "-f", "--file", &file]);
    assert_eq!((rest.status, lines(&rest.stdout).len()), (0, 4), "{rest:?}");
    let gone = world.run(&["rm", "--file", &file]);
    assert_eq!(gone.status, 1);
    assert!(gone.stderr.contains("error: deployments.apps \"web\" not found\n"), "{gone:?}");
    world.assert_nothing_left();
}

#[test]
fn a_job_runs_to_its_end_in_the_foreground() {
    let Some(world) = World::isolated("a_job_runs_to_its_end_in_the_foreground") else { return };
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: sum}\nspec:\n  completions: 2\n  \
               completionMode: Indexed\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      \
               - {name: main, image: busybox, command: [sh, -c, 'echo part $JOB_COMPLETION_INDEX']}\n";
    let started = Instant::now();
    let ran = world.run_with_input(&world.run_args(&["-"]), job.as_bytes());
    assert_eq!(ran.status, 0, "{ran:?}");
    let mut said: Vec<&str> =
        ran.stdout.lines().filter_map(|line| line.split_once("| ")).map(|l| l.1).collect();
    said.sort_unstable();
    assert_eq!(said, ["part 0", "part 1"], "{ran:?}");
    assert!(started.elapsed() < Duration::from_secs(120));
    world.assert_nothing_left();
}

/// A Job with one container that runs a shell command; `/v` is a folder of the host.
fn job(world: &World, name: &str, policy: &str, spec: &str, script: &str) -> String {
    let volume = world.volume();
    let text = format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  {spec}\n  template:\n    spec:\n      \
         restartPolicy: {policy}\n      terminationGracePeriodSeconds: 0\n      volumes: [{{name: v, hostPath: {{path: {}}}}}]\n      \
         containers:\n      - name: main\n        image: busybox\n        command: [sh, -c, '{script}']\n        \
         volumeMounts: [{{name: v, mountPath: /v}}]\n",
        volume.display()
    );
    world.file(&format!("{name}.yaml"), &text)
}

fn reason_of(world: &World, pod: &str) -> String {
    let object: serde_json::Value =
        serde_json::from_str(&world.run(&["inspect", pod, "-o", "json"]).stdout).expect("JSON");
    object["status"]["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_job_is_tried_again_until_it_ends_well_or_its_limit_is_passed() {
    let Some(world) = World::isolated("a_job_is_tried_again_until_it_ends_well_or_its_limit_is_passed")
    else {
        return;
    };
    let script = "echo try; test -e /v/once || { touch /v/once; exit 3; }";
    let file = job(&world, "twice", "Never", "backoffLimit: 1", script);
    let ran = world.run(&world.run_args(&[&file]));
    assert_eq!((ran.status, ran.stdout.matches("try").count()), (0, 2), "{ran:?}");
    assert!(world.volume().join("once").exists());

    let file = job(&world, "bad", "OnFailure", "backoffLimit: 1", "echo try; exit 4");
    let ran = world.run(&world.run_args(&["-d", &file]));
    assert_eq!(ran.status, 0, "{ran:?}");
    world.remember_pods();
    let pod = ran.stdout.trim();
    let ended = world.run(&["wait", "--for=jsonpath={.status.phase}=Failed", pod, "--timeout=60s"]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert_eq!(reason_of(&world, pod), "BackoffLimitExceeded");
    let inspected = world.run(&["inspect", pod]).stdout;
    assert!(inspected.contains("restartCount: 1"), "{inspected}");

    // A failure of one Pod is one of the Job's, which ends the other.
    let script = "test $JOB_COMPLETION_INDEX = 1 && exit 5; exec sleep 1000";
    let spec = "completions: 2\n  parallelism: 2\n  completionMode: Indexed\n  backoffLimit: 0";
    let file = job(&world, "pair", "Never", spec, script);
    let ran = world.run(&world.run_args(&["-d", &file]));
    let pods = lines(&ran.stdout);
    assert_eq!(pods.len(), 2, "{ran:?}");
    for pod in pods {
        let ended = world.run(&["wait", "--for=jsonpath={.status.phase}=Failed", pod, "--timeout=60s"]);
        assert_eq!(ended.status, 0, "{pod}: {ended:?}");
        assert_eq!(reason_of(&world, pod), "BackoffLimitExceeded", "{pod}");
    }
    let removed = world.run(&["rm", "-f", "--all"]);
    assert_eq!(removed.status, 0, "{removed:?}");
    assert!(!world.root().join("run/jobs").read_dir().is_ok_and(|mut left| left.next().is_some()));
    world.assert_nothing_left();
}

#[test]
fn a_jobs_pods_run_as_many_at_a_time_as_it_says_and_no_longer() {
    let Some(world) = World::isolated("a_jobs_pods_run_as_many_at_a_time_as_it_says_and_no_longer") else {
        return;
    };
    // Who finds another there has failed.
    let script = "mkdir /v/busy || exit 9; echo $JOB_COMPLETION_INDEX >> /v/order; sleep 0.3; rmdir /v/busy";
    let spec = "completions: 4\n  completionMode: Indexed\n  backoffLimit: 0";
    let file = job(&world, "row", "Never", spec, script);
    let ran = world.run(&world.run_args(&[&file]));
    assert_eq!(ran.status, 0, "{ran:?}");
    let order = std::fs::read_to_string(world.volume().join("order")).unwrap();
    let mut order = lines(&order);
    order.sort_unstable();
    assert_eq!(order, ["0", "1", "2", "3"]);

    let spec = "completions: 2\n  activeDeadlineSeconds: 2";
    let file = job(&world, "late", "Never", spec, "exec sleep 1000");
    let ran = world.run(&world.run_args(&["-d", &file]));
    for pod in lines(&ran.stdout) {
        let ended = world.run(&["wait", "--for=jsonpath={.status.phase}=Failed", pod, "--timeout=60s"]);
        assert_eq!(ended.status, 0, "{pod}: {ended:?}");
        assert_eq!(reason_of(&world, pod), "DeadlineExceeded", "{pod}");
    }
    let removed = world.run(&["rm", "-f", "job/late", "job/row"]);
    assert!([0, 1].contains(&removed.status), "{removed:?}");
    world.assert_nothing_left();
}

#[test]
fn claims_are_volumes_of_the_files_or_folders_that_stay() {
    let Some(world) = World::isolated("claims_are_volumes_of_the_files_or_folders_that_stay") else { return };
    let volume = world.volume();
    let objects = format!(
        "apiVersion: v1
kind: PersistentVolume
metadata: {{name: disk, labels: {{kind: disk}}}}
spec: {{capacity: {{storage: 1Gi}}, accessModes: [ReadWriteOnce], hostPath: {{path: {}, type: Directory}}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: disk}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}, selector: {{matchLabels: {{kind: disk}}}}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  selector: {{matchLabels: {{app: db}}}}
  volumeClaimTemplates:
  - metadata: {{name: data}}
    spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}
  template:
    metadata: {{labels: {{app: db}}, annotations: {{rhizome.dev/make-shared: \"true\"}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: busybox
        command: [sh, -c, 'echo again >> /data/file; exec sleep 1000']
        securityContext: {{privileged: true}}
        volumeMounts:
        - {{name: data, mountPath: /data}}
        - {{name: disk, mountPath: /disk, mountPropagation: Bidirectional}}
      volumes: [{{name: disk, persistentVolumeClaim: {{claimName: disk}}}}]
",
        volume.display()
    );
    let file = world.file("db.yaml", &objects);
    let planned = world.run(&["run", "--dry-run", &file]);
    assert_eq!(planned.status, 0, "{planned:?}");
    assert!(planned.stdout.contains("/lib/claims/default/data-db-0"), "{planned:?}");
    for life in 1..=2 {
        let ran = world.run(&world.run_args(&["-d", &file]));
        assert_eq!((ran.status, ran.stdout.as_str()), (0, "pod/db-0\n"), "{ran:?}");
        assert!(
            ran.stderr.contains("note: PersistentVolumeClaim \"data-db-0\": a folder of the root"),
            "{ran:?}"
        );
        world.remember_pods();
        let read = world.run(&["exec", "db-0", "--", "cat", "/data/file"]);
        assert_eq!(read.stdout, "again\n".repeat(life), "{read:?}");
        let mounted =
            world.run(&["exec", "db-0", "--", "sh", "-c", "mkdir -p /disk/a && mount -t tmpfs x /disk/a"]);
        assert_eq!(mounted.status, 0, "{mounted:?}");
        let there = world.on_host(&format!("umount {}/a", volume.display()));
        assert_eq!(there.status, 0, "what is mounted in the claim is on the host: {there:?}");
        let removed = world.run(&["rm", "-f", "db-0"]);
        assert_eq!(removed.stdout, "pod/db-0 removed\n", "{removed:?}");
    }
    let folder = world.root().join("lib/claims/default/data-db-0");
    assert_eq!(std::fs::read_to_string(folder.join("file")).unwrap().lines().count(), 2);
    let ran = world.run(&world.run_args(&["-d", &file]));
    assert_eq!(ran.status, 0, "{ran:?}");
    let removed = world.run(&["rm", "-f", "--volumes", "--file", &file]);
    assert_eq!(removed.stdout, format!("pod/db-0 removed\n{} removed\n", folder.display()), "{removed:?}");
    assert!(!folder.exists() && volume.exists());
    world.assert_nothing_left();
}

#[test]
fn a_claim_that_no_volume_fits_and_that_wants_no_folder_is_refused() {
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: c}\nspec:\n  storageClassName: \"\"\n  \
                 accessModes: [ReadWriteOnce]\n  resources: {requests: {storage: 1Gi}}\n";
    let ran = support::run_with_input(&["run", "--dry-run", "-"], claim.as_bytes());
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stderr.contains("no persistent volumes available for this claim"), "{ran:?}");
    assert!(ran.stderr.contains("STDIN:4:1"), "{ran:?}");
}

/// What is not done is an error that names it, never something that is passed over.
#[test]
fn what_is_not_done_is_refused_by_name() {
    let container = "containers: [{name: c, image: busybox}]";
    let pod = |spec: &str| {
        format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{{spec}, {container}}}\n")
    };
    let job = |spec: &str| {
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: j}}\nspec: {{{spec}, template: {{spec: {{restartPolicy: Never, {container}}}}}}}\n"
        )
    };
    let cron = format!(
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: j}}\nspec: {{schedule: '* * * * *', jobTemplate: {{spec: {{template: {{spec: {{restartPolicy: Never, {container}}}}}}}}}}}\n"
    );
    let cases = [
        (
            pod("securityContext: {windowsOptions: {runAsUserName: u}}"),
            "windows options cannot be set for a linux pod",
        ),
        (pod("os: {name: windows}"), "spec.os.name: \"windows\" is not supported yet"),
        (
            pod("resources: {limits: {hugepages-2Mi: 2Mi, cpu: 1}}"),
            "spec.resources.limits[hugepages-2Mi]: not supported yet",
        ),
        (pod("resourceClaims: [{name: r, resourceClaimName: x}]"), "spec.resourceClaims: not supported yet"),
        (
            job("podFailurePolicy: {rules: [{action: Ignore, onExitCodes: {operator: In, values: [1]}}]}"),
            "spec.podFailurePolicy: not supported yet",
        ),
        (job("suspend: true"), "spec.suspend: \"true\" is not supported yet"),
        (
            job("backoffLimitPerIndex: 1"),
            "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
        ),
        (cron, "CronJob is not supported: nothing here makes Pods by the clock"),
    ];
    for (text, words) in cases {
        let ran = support::run_with_input(&["run", "--dry-run", "-"], text.as_bytes());
        assert!(ran.status == 1 && ran.stderr.contains(words), "{words}: {ran:?}");
    }
}
