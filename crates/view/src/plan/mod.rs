//! What manifests will do: for reading, and as the document `Plan`.

mod document;
mod growth;
mod matrix;

pub use document::document;

use crate::findings;
use crate::simulation;
use crate::table::table;
use crate::text::{Paint, printable, wrap};
use explain::plan::{ContainerPlan, Fault, Origin, Plan, Sort};
use std::fmt::Write as _;

/// The plan for reading, in `columns`.
pub fn plan(plan: &Plan, origin: Origin, columns: usize, paint: Paint) -> String {
    let mut text = format!("{} {}\n", paint.label("node:"), node(origin));
    for problem in &plan.refused {
        let _ = write!(text, "\n{}", problem.render(paint.colour));
    }
    if !plan.refused.is_empty() {
        let told = "planned all the same, as if the API server had taken it; what it cannot read is left out";
        let _ = writeln!(text, "\n{} {told}", paint.label("note:"));
    }
    for problem in &plan.unsupported {
        let _ = write!(text, "\n{}", problem.render_warning(paint.colour));
    }
    if !plan.unsupported.is_empty() {
        let told = "an API server takes this, but `rhizome run` does not: planned as if it did";
        let _ = writeln!(text, "\n{} {told}", paint.label("note:"));
    }
    if plan.containers.is_empty() && plan.refused.is_empty() {
        let _ = writeln!(text, "\nnothing to plan: here is no Pod, and nothing that makes one");
    }
    plan.containers.iter().for_each(|container| write_container(&mut text, container, columns, paint));
    text + &outcome(plan, columns, paint)
}

/// What comes of it, without the containers: who sees whose mounts, what appears on the node, what else to know.
pub fn outcome(plan: &Plan, columns: usize, paint: Paint) -> String {
    let mut text = String::new();
    matrix::write_matrices(&mut text, &plan.matrices, columns, paint);
    growth::write_growth(&mut text, &plan.runtimes, columns, paint);
    if !plan.findings.is_empty() {
        let _ = writeln!(text, "\n{}", paint.strong("what else to know"));
        text.push_str(&findings::grouped(&plan.findings, columns, paint));
    }
    if !plan.then.is_empty() {
        let _ = writeln!(text, "\n{}", paint.strong("then"));
        plan.then.iter().for_each(|step| simulation::write_step(&mut text, step, paint));
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn node(origin: Origin) -> &'static str {
    match origin {
        Origin::Here => {
            "this one; what its tables do not tell (locks, orders, what is in use) is taken to be absent"
        }
        Origin::Snapshot => {
            "of the snapshot; what its tables do not tell (locks, orders, what is in use) is taken to be absent"
        }
        Origin::Assumed => {
            "assumed, as systemd makes them: / and what is mounted on it is shared (--here looks at this one)"
        }
    }
}

fn title(container: &ContainerPlan) -> String {
    let asked = &container.asked;
    let sort = match asked.sort {
        Sort::Main => "container",
        Sort::Init => "init container",
        Sort::Sidecar => "sidecar",
        Sort::Ephemeral => "ephemeral container",
    };
    printable(&format!("pod {}, {sort} {}", asked.pod, asked.name)).into_owned()
}

fn write_container(text: &mut String, container: &ContainerPlan, columns: usize, paint: Paint) {
    let asked = &container.asked;
    let _ = writeln!(text, "\n{}", paint.strong(&title(container)));
    let rows: Vec<[String; 5]> = asked
        .mounts
        .iter()
        .map(|mount| {
            let access = match (mount.mount.readonly, mount.mount.recursive_read_only) {
                (_, true) => "read-only, recursively",
                (true, false) => "read-only",
                (false, false) => "writable",
            };
            [
                mount.mount.container_path.display().to_string(),
                mount.mount.volume.clone().unwrap_or_default(),
                mount.mode.clone().unwrap_or_else(|| "None (unset)".to_owned()),
                access.to_owned(),
                mount.place.display().to_string(),
            ]
        })
        .collect();
    if rows.is_empty() {
        // Of one that does not start, what could not be set up is left out.
        if container.fault.is_none() {
            let _ = writeln!(text, "  no volumes");
        }
    } else {
        let table =
            table(Some(["MOUNT PATH", "VOLUME", "PROPAGATION", "ACCESS", "PLACE ON THE NODE"]), &rows);
        table.lines().for_each(|line| {
            let _ = writeln!(text, "  {line}");
        });
    }
    write_fault(text, container, columns, paint);
}

/// Which containers would not start; for what is told elsewhere of the others.
pub fn faults(plan: &Plan, columns: usize, paint: Paint) -> String {
    let mut text = String::new();
    for container in plan.containers.iter().filter(|container| container.fault.is_some()) {
        let _ = writeln!(text, "\n{}", paint.strong(&title(container)));
        write_fault(&mut text, container, columns, paint);
    }
    text
}

fn write_fault(text: &mut String, container: &ContainerPlan, columns: usize, paint: Paint) {
    let Some(Fault { who, text: fault, hint }) = &container.fault else { return };
    write_said(text, "would not start:", &format!("{who}: {fault}"), columns, |label| paint.bad(label));
    if let Some(hint) = hint {
        write_said(text, "hint:", hint, columns, |label| paint.label(label));
    }
}

/// `  label said`, wrapped together: the label is painted afterwards, since colours have no width.
fn write_said(text: &mut String, label: &str, said: &str, columns: usize, paint: impl Fn(&str) -> String) {
    let said = wrap(&format!("{} {}", label.replace(' ', "\u{a0}"), printable(said)), columns, 4);
    let said = said.get(label.replace(' ', "\u{a0}").len()..).unwrap_or_default();
    let _ = writeln!(text, "  {}{said}", paint(label));
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use explain::plan::{Manifests, Node, Request};
    use manifest::Source;
    use serde_json::{Value, json};

    const PODS: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: maker}
spec:
  containers:
  - name: main
    image: busybox
    securityContext: {privileged: true}
    volumeMounts:
    - {name: v, mountPath: /mnt, mountPropagation: Bidirectional}
    - {name: w, mountPath: /mnt/inner}
  volumes: [{name: v, hostPath: {path: /srv/v}}, {name: w, emptyDir: {medium: Memory}}]
---
apiVersion: v1
kind: Pod
metadata: {name: user}
spec:
  containers:
  - name: main
    image: busybox
    volumeMounts: [{name: v, mountPath: /mnt, mountPropagation: Bidirectional}]
  volumes: [{name: v, hostPath: {path: /srv/v}}]
";

    fn planned() -> (Plan, Origin) {
        let manifests = Manifests::survey(&[Source { name: "f.yaml", bytes: PODS.as_bytes() }]);
        let node = Node::assumed();
        let then = ["@maker/main mount -t tmpfs none /mnt/x".to_owned()];
        let request = Request { node: &node, then: &then, restarts: 3 };
        (explain::plan::plan(&manifests, &request).unwrap(), node.origin)
    }

    #[test]
    fn for_reading() {
        let (planned, origin) = planned();
        expect![[r#"
            node: assumed, as systemd makes them: / and what is mounted on it is shared (--here looks at this one)

            error: The Pod "user" is invalid: spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers
               --> f.yaml:21:65
                |
             21 |     volumeMounts: [{name: v, mountPath: /mnt, mountPropagation: Bidirectional}]
                |                                                                 ^^^^^^^^^^^^^

            note: planned all the same, as if the API server had taken it; what it cannot read is left out

            pod maker, container main
              MOUNT PATH   VOLUME   PROPAGATION     ACCESS     PLACE ON THE NODE
              /mnt         v        Bidirectional   writable   /srv/v
              /mnt/inner   w        None (unset)    writable   /var/lib/rhizome/pods/uid-of-maker/volumes/kubernetes.io~empty-dir/w

            pod user, container main
              MOUNT PATH   VOLUME   PROPAGATION     ACCESS     PLACE ON THE NODE
              /mnt         v        Bidirectional   writable   /srv/v

            /srv/v: who mounts in it (a row each), and who sees that
                                             host      maker/main   user/main
                host                         yes [1]   yes [2]      yes [2]
                maker/main (Bidirectional)   yes [2]   yes [1]      yes [2]
                user/main (Bidirectional)    yes [2]   yes [2]      yes [1]
              what the node mounted there: who unmounts it, and for whom it goes
                                             host      maker/main   user/main
                host                         yes [3]   yes [4]      yes [4]
                maker/main (Bidirectional)   yes [4]   yes [3]      yes [4]
                user/main (Bidirectional)    yes [4]   yes [4]      yes [3]

            mounts and unmounts pass neither in nor out (None)
              /var/lib/rhizome/pods/uid-of-maker/volumes/kubernetes.io~empty-dir/w

              [1] attach-on-top: a tree is attached on the topmost mount at its destination and hides what
                  was seen there
              [2] receive-peer: a peer of the destination receives a copy that is a peer of the source
              [3] unmount-target: the mount at the given place is unmounted
              [4] unmount-received: what is mounted at the same place in a mount that receives from the
                  parent is unmounted too, whoever mounted it

            mounts that the runtime makes for the container and that appear on the node, in 4 starts
              CONTAINER    rhizome   runc/containerd       crun/CRI-O            podman
              maker/main   0         1 2 4 8 (in all 15)   1 2 4 8 (in all 15)   1 2 4 8 (in all 15)
              maker/main on the node at /srv/v/inner
              in all: with those where what is mounted comes from, which is shared too
              none with any runtime: user/main

            what else to know
            limit[left-at-exit]: maker/main: volume v at /mnt: what it mounts there stays on the node when it
              ends
              also: user/main: volume v at /mnt
              why:  So it is in Kubernetes, and right for a driver that mounts for others. What the container
                    mounts anew at every start, without unmounting it, is stacked once more each time. `rhizome
                    ps` and `rm` name what is left.
              mend: in the manifest: rhizome.dev/mounts-at-end: detach
                    an annotation of the pod, if the mounts are of no use without it: with rhizome they then go
                    with it
            limit[unmount-takes-ours]: maker/main: volume v at /mnt: 1 mount of the container's own in it can
              be unmounted from outside
              why:  Unmounts propagate by place: should the node, or another container that the volume reaches,
                    mount something at the same place and unmount that, the container's own mount there goes
                    too. Mounted beside the volume it would not.
              seen: /mnt/inner

            then
              1 @maker/main mount -t tmpfs none /mnt/x
                  maker/main:/mnt/x   private becomes shared    [source-becomes-shared]
                  maker/main:/mnt/x   mounted, on top, shared   [attach-on-top]
                  user/main:/mnt/x    mounted, on top, shared   [receive-peer]
                  host:/srv/v/x       mounted, on top, shared   [receive-peer]
        "#]].assert_eq(&plan(&planned, origin, 100, Paint::NONE));
    }

    #[test]
    fn the_document_has_the_fields_of_the_interface() {
        let (planned, origin) = planned();
        let document = document(&planned, origin);
        assert_eq!((&document["kind"], &document["node"]), (&json!("Plan"), &json!("assumed")));
        assert_eq!(document["refused"][0]["object"], json!({"kind": "Pod", "name": "user"}));
        assert_eq!(document["containers"][0]["mounts"][0]["mountPropagation"], "Bidirectional");
        let places = document["places"].as_array().unwrap();
        let place = places.iter().find(|place| place["place"] == "/srv/v").unwrap();
        let cell = |actor: &str, viewer: &str| {
            let cells = place["cells"].as_array().unwrap();
            cells.iter().find(|cell| cell["actor"] == actor && cell["viewer"] == viewer).unwrap().clone()
        };
        let seen = json!({"reaches": true, "rule": "receive-peer", "errno": null});
        assert_eq!(cell("maker/main", "host")["mount"], seen);
        assert!(document["rules"]["receive-peer"].is_string());
        let starts = &document["runtimes"][1]["containers"][0]["starts"];
        assert_eq!((&starts[3]["mounts"], &starts[3]["inVolumes"]), (&json!(15), &json!(8)), "{starts}");
        assert_eq!(document["then"][0]["errno"], Value::Null);
    }

    fn text_of(manifests: &str) -> String {
        let manifests = Manifests::survey(&[Source { name: "f.yaml", bytes: manifests.as_bytes() }]);
        let node = Node::assumed();
        let request = Request { node: &node, then: &[], restarts: 0 };
        outcome(&explain::plan::plan(&manifests, &request).unwrap(), 100, Paint::NONE)
    }

    fn pod(mounts: &str, rest: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers:\n  - name: c\n    image: busybox\n    \
             securityContext: {{privileged: true}}\n    volumeMounts: [{mounts}]\n  volumes:\n  - {{name: v, hostPath: {{path: /srv/v}}}}\n  \
             - {{name: w, hostPath: {{path: /srv/w}}}}\n{rest}"
        )
    }

    #[test]
    fn a_container_that_has_a_place_twice_is_told_apart_by_its_paths() {
        let text = text_of(&pod(
            "{name: v, mountPath: /a}, {name: v, mountPath: /b, mountPropagation: HostToContainer}",
            "",
        ));
        expect![[r#"

            /srv/v: who mounts in it (a row each), and who sees that
                a  host
                b  p/c at /a (None)
                c  p/c at /b (HostToContainer)

                    a         b         c
                a   yes [1]   no [2]    yes [3]
                b   no [2]    yes [1]   no [2]
                c   no [4]    no [4]    yes [1]
              what the node mounted there: who unmounts it, and for whom it goes
                    a         b   c
                a   yes [5]   -   yes [6]
                c   no [4]    -   yes [5]

              [1] attach-on-top: a tree is attached on the topmost mount at its destination and hides what
                  was seen there
              [2] make-private: a mount made private leaves its peers and its master
              [3] receive-slave: a slave of the destination receives a copy that is a slave of the copy
                  above it
              [4] make-slave-of-peer: a shared mount with other peers made slave leaves them and becomes
                  their slave (a former master is not kept)
              [5] unmount-target: the mount at the given place is unmounted
              [6] unmount-received: what is mounted at the same place in a mount that receives from the
                  parent is unmounted too, whoever mounted it
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn what_is_the_same_of_several_places_is_told_once() {
        let both = "{name: v, mountPath: /a, mountPropagation: Bidirectional}, {name: w, mountPath: /b, mountPropagation: Bidirectional}";
        let text = text_of(&pod(both, ""));
        assert_eq!(text.matches("who mounts").count(), 1, "{text}");
        assert!(text.contains("/srv/v, /srv/w: who mounts in one of them (a row each)"), "{text}");
        assert_eq!(text.matches("left-at-exit").count(), 1, "{text}");
        assert!(text.contains("volume v at /a: what it mounts there"), "{text}");
        assert!(text.contains("  also: p/c: volume w at /b\n"), "{text}");
        assert!(text.contains("in 1 start\n  none with any runtime: p/c\n"), "{text}");
        // Not the same where the modes differ.
        let text = text_of(&pod(&both.replacen("Bidirectional", "HostToContainer", 1), ""));
        assert_eq!(text.matches("who mounts").count(), 2, "{text}");
    }

    /// runc makes no more of it than HostToContainer, which is no refusal.
    #[test]
    fn refused_is_only_what_a_runtime_refuses() {
        let mounts = "{name: v, mountPath: /a, mountPropagation: Bidirectional}";
        let text = text_of(&pod(mounts, "  hostUsers: false\n"));
        assert!(!text.contains("refused"), "{text}");
        assert!(text.contains("runc/containerd has /a of p/c as HostToContainer"), "{text}");
    }

    #[test]
    fn nothing_to_plan_is_said() {
        let manifests =
            Manifests::survey(&[Source { name: "values.yaml", bytes: b"node: {enabled: true}\n" }]);
        let node = Node::assumed();
        let planned = explain::plan::plan(&manifests, &Request { node: &node, then: &[], restarts: 0 });
        let text = plan(&planned.unwrap(), node.origin, 100, Paint::NONE);
        assert!(text.ends_with("nothing to plan: here is no Pod, and nothing that makes one\n"), "{text}");
    }

    #[test]
    fn what_does_not_start_fits_the_columns() {
        let text = pod("{name: v, mountPath: /a, mountPropagation: Bidirectional}", "");
        let manifests = Manifests::survey(&[Source { name: "f.yaml", bytes: text.as_bytes() }]);
        let mut node = Node::assumed();
        node.mounts.mounts.iter_mut().for_each(|mount| mount.propagation = mount_table::Propagation::PRIVATE);
        let planned = explain::plan::plan(&manifests, &Request { node: &node, then: &[], restarts: 0 });
        let text = plan(&planned.unwrap(), Origin::Snapshot, 60, Paint::NONE);
        let told: String = text
            .lines()
            .skip_while(|line| !line.contains("would not"))
            .take(11)
            .map(|line| format!("{line}\n"))
            .collect();
        expect![[r#"
              would not start: containerd: failed to generate spec:
                path "/srv/v" is mounted on "/" but it is not a shared
                mount
              hint: make a shared mount of just this directory: mount
                --bind /srv/v /srv/v && mount --make-shared /srv/v
                (mounts already below it stay outside), or let rhizome
                do and undo that: annotate the pod with
                rhizome.dev/make-shared: "true"

            mounts that the runtime makes for the container and that appear on the node, in 1 start
              CONTAINER   rhizome   runc/containerd   crun/CRI-O   podman
        "#]]
        .assert_eq(&told);
    }

    #[test]
    fn who_does_not_start_for_a_volume_is_not_told_to_have_none() {
        let text = pod("{name: v, mountPath: /a}", "").replace("path: /srv/v", "path: /srv/v, type: Socket");
        let manifests = Manifests::survey(&[Source { name: "f.yaml", bytes: text.as_bytes() }]);
        let mut node = Node::assumed();
        let there = explain::plan::There::Directory;
        node.sources.insert("/srv/v".into(), explain::plan::Source { canonical: "/srv/v".into(), there });
        let planned = explain::plan::plan(&manifests, &Request { node: &node, then: &[], restarts: 0 });
        let text = plan(&planned.unwrap(), Origin::Here, 100, Paint::NONE);
        assert!(text.contains("/srv/v is not a socket file") && !text.contains("no volumes"), "{text}");
    }
}
