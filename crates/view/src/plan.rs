//! What manifests will do: for reading, and as the document `Plan`.

use crate::findings;
use crate::simulation;
use crate::table::table;
use crate::text::{Paint, printable, width, wrap};
use explain::plan::{
    Cell, ContainerPlan, Fault, Growth, Matrix, Origin, Party, Plan, Reach, RuntimeReport, Sort,
};
use manifest::problem::Problem;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use subtree_model::RuleId;

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
    plan.containers.iter().for_each(|container| write_container(&mut text, container, columns, paint));
    text + &outcome(plan, columns, paint)
}

/// What comes of it, without the containers: who sees whose mounts, what appears on the node, what else to know.
pub fn outcome(plan: &Plan, columns: usize, paint: Paint) -> String {
    let mut text = String::new();
    let mut legend = Legend::default();
    let (told, silent): (Vec<&Matrix>, Vec<&Matrix>) = plan.matrices.iter().partition(|m| propagates(m));
    told.iter().for_each(|matrix| write_matrix(&mut text, matrix, &mut legend, paint));
    write_silent(&mut text, &silent, columns, paint);
    legend.write(&mut text, columns, paint);
    write_growth(&mut text, &plan.runtimes, columns, paint);
    if !plan.findings.is_empty() {
        let _ = writeln!(text, "\n{}", paint.strong("what else to know"));
        text.push_str(&findings::list(&plan.findings, columns, paint));
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

fn write_container(text: &mut String, container: &ContainerPlan, columns: usize, paint: Paint) {
    let asked = &container.asked;
    let sort = match asked.sort {
        Sort::Main => "container",
        Sort::Init => "init container",
        Sort::Sidecar => "sidecar",
        Sort::Ephemeral => "ephemeral container",
    };
    let _ = writeln!(
        text,
        "\n{}",
        paint.strong(&printable(&format!("pod {}, {sort} {}", asked.pod, asked.name)))
    );
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
        let _ = writeln!(text, "  no volumes");
    } else {
        let table =
            table(Some(["MOUNT PATH", "VOLUME", "PROPAGATION", "ACCESS", "PLACE ON THE NODE"]), &rows);
        table.lines().for_each(|line| {
            let _ = writeln!(text, "  {line}");
        });
    }
    let Some(Fault { who, text: fault, hint }) = &container.fault else { return };
    let said = wrap(&printable(&format!("{who}: {fault}")), columns, 4);
    let _ = writeln!(text, "  {} {said}", paint.bad("would not start:"));
    if let Some(hint) = hint {
        let _ = writeln!(text, "  {} {}", paint.label("hint:"), wrap(&printable(hint), columns, 4));
    }
}

fn propagates(matrix: &Matrix) -> bool {
    matrix.parties.iter().any(|party| party.mode.is_some_and(|mode| mode != "None"))
}

/// Rules by number, in the order in which they are first told.
#[derive(Default)]
struct Legend {
    rules: Vec<RuleId>,
}

impl Legend {
    fn cell(&mut self, reach: Reach) -> String {
        let word = if reach.reaches { "yes" } else { "no" };
        let errno = reach.errno.map_or(String::new(), |errno| format!(" {errno}"));
        let Some(rule) = reach.rule else { return format!("{word}{errno}") };
        let number = self.rules.iter().position(|known| *known == rule).unwrap_or_else(|| {
            self.rules.push(rule);
            self.rules.len() - 1
        });
        format!("{word}{errno} [{}]", number + 1)
    }

    fn write(&self, text: &mut String, columns: usize, paint: Paint) {
        for (index, rule) in self.rules.iter().enumerate() {
            let number = format!("[{}]", index + 1);
            let lead = format!("  {number} {}:", rule.id());
            let body = wrap(&format!("{lead} {}", rule.meaning()), columns, 6);
            if index == 0 {
                text.push('\n');
            }
            let _ = writeln!(text, "  {}", paint.dim(body.trim_start()));
        }
    }
}

fn write_matrix(text: &mut String, matrix: &Matrix, legend: &mut Legend, paint: Paint) {
    let place = printable(&matrix.place.display().to_string()).into_owned();
    let title = match matrix.directory {
        true => format!("{place}: who mounts in it (a row each), and who sees that"),
        false => format!("{place}: who mounts on it (a row each), and who sees that"),
    };
    let _ = writeln!(text, "\n{}", paint.strong(&title));
    write_cells(text, matrix, |cell| Some(legend.cell(cell.mounts)));
    let _ = writeln!(text, "  what the node mounted there: who unmounts it, and for whom it goes");
    write_cells(text, matrix, |cell| cell.unmounts.map(|reach| legend.cell(reach)));
    if matrix.left_out > 0 {
        let _ = writeln!(text, "  and {} more that have it, which are not looked at", matrix.left_out);
    }
    if !matrix.nested.is_empty() {
        let _ = writeln!(text, "  mounted there before: as what, for whom");
        let rows = matrix.nested.iter().map(|nested| {
            let types = nested.types.iter().map(|kind| kind.map_or("-".to_owned(), |kind| kind.to_string()));
            std::iter::once(nested.path.display().to_string()).chain(types).collect()
        });
        write_rows(text, &matrix.parties, rows.collect());
    }
}

fn write_cells(text: &mut String, matrix: &Matrix, mut cell: impl FnMut(&Cell) -> Option<String>) {
    let rows = matrix.parties.iter().zip(&matrix.cells).map(|(party, cells)| {
        let cells: Vec<Option<String>> = cells.iter().map(&mut cell).collect();
        (party, cells)
    });
    // Who never had it has nothing to say.
    let rows: Vec<Vec<String>> = rows
        .filter(|(_, cells)| cells.iter().any(Option::is_some))
        .map(|(party, cells)| {
            let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
            std::iter::once(named(party)).chain(cells).collect()
        })
        .collect();
    write_rows(text, &matrix.parties, rows);
}

fn named(party: &Party) -> String {
    party.mode.map_or_else(|| party.name.clone(), |mode| format!("{} ({mode})", party.name))
}

/// Rows of a matrix under the names of the parties.
fn write_rows(text: &mut String, parties: &[Party], rows: Vec<Vec<String>>) {
    let head = std::iter::once(String::new()).chain(parties.iter().map(|party| party.name.clone()));
    let mut all = vec![head.collect::<Vec<String>>()];
    all.extend(rows);
    all.iter_mut().flatten().for_each(|cell| *cell = printable(cell).into_owned());
    let widths: Vec<usize> = (0..=parties.len())
        .map(|at| all.iter().filter_map(|row| row.get(at)).map(|cell| width(cell)).max().unwrap_or(0))
        .collect();
    for row in &all {
        let mut line = String::from("   ");
        for (cell, most) in row.iter().zip(&widths) {
            line.push(' ');
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', most - width(cell) + 2));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

/// Places that nobody has with propagation, in a few lines.
fn write_silent(text: &mut String, silent: &[&Matrix], columns: usize, paint: Paint) {
    if silent.is_empty() {
        return;
    }
    let places: Vec<String> =
        silent.iter().map(|matrix| printable(&matrix.place.display().to_string()).into_owned()).collect();
    let _ = writeln!(text, "\n{}", paint.strong("mounts and unmounts pass neither in nor out (None)"));
    let _ = writeln!(text, "  {}", wrap(&places.join(", "), columns, 2));
}

/// What each runtime leaves on the node, for the containers that could.
fn write_growth(text: &mut String, runtimes: &[RuntimeReport], columns: usize, paint: Paint) {
    let mut rows: BTreeMap<usize, [String; 5]> = BTreeMap::new();
    let mut places: Vec<(String, String)> = Vec::new();
    for (column, report) in runtimes.iter().enumerate().take(4) {
        for (index, growth) in report.containers.iter().enumerate() {
            if growth.starts.is_empty() {
                continue;
            }
            let row = rows.entry(index).or_default();
            row[0].clone_from(&growth.container);
            row[column + 1] = counts(growth);
            let named: Vec<String> = growth.places.iter().map(|place| place.display().to_string()).collect();
            if !named.is_empty() && !places.iter().any(|(container, _)| *container == growth.container) {
                places.push((growth.container.clone(), named.join(", ")));
            }
        }
    }
    if !rows.is_empty() {
        let restarts = runtimes.iter().flat_map(|r| &r.containers).map(|g| g.starts.len()).max().unwrap_or(1);
        let title = format!(
            "mounts that the runtime makes for the container and that appear on the node, in {restarts} starts"
        );
        let _ = writeln!(text, "\n{}", paint.strong(&title));
        let heads: [&str; 5] = std::array::from_fn(|at| match at {
            0 => "CONTAINER",
            at => runtimes.get(at - 1).map_or("", |report| report.runtime.name()),
        });
        let mut all: Vec<[String; 5]> = rows.into_values().collect();
        all.iter_mut().flatten().filter(|cell| cell.is_empty()).for_each(|cell| "refused".clone_into(cell));
        table(Some(heads), &all).lines().for_each(|line| {
            let _ = writeln!(text, "  {line}");
        });
        for (container, places) in places {
            let _ = writeln!(text, "  {}", wrap(&printable(&format!("{container}: {places}")), columns, 4));
        }
    }
    for report in runtimes {
        for growth in &report.containers {
            for (path, what) in &growth.otherwise {
                let said = format!(
                    "{} has {} of {} as {what}",
                    report.runtime.name(),
                    path.display(),
                    growth.container
                );
                let _ = writeln!(text, "  {}", wrap(&printable(&said), columns, 4));
            }
        }
    }
}

fn counts(growth: &Growth) -> String {
    let one = |start: &explain::plan::Start| match start.refused.and_then(RuleId::errno) {
        Some(errno) => errno.to_string(),
        None => start.in_volumes.to_string(),
    };
    if !growth.leaks() {
        return "0".to_owned();
    }
    let counts = growth.starts.iter().map(one).collect::<Vec<_>>().join(" ");
    match growth.starts.iter().rev().find(|start| start.refused.is_none()) {
        Some(last) if last.mounts > last.in_volumes => format!("{counts} (in all {})", last.mounts),
        _ => counts,
    }
}

/// The document: its fields are an interface.
pub fn document(plan: &Plan, origin: Origin) -> Value {
    let rules = plan.matrices.iter().flat_map(|m| m.cells.iter().flatten()).flat_map(|cell| {
        [Some(cell.mounts), cell.unmounts].into_iter().flatten().filter_map(|reach| reach.rule)
    });
    let rules: Map<String, Value> = rules.map(|rule| (rule.id().to_owned(), json!(rule.meaning()))).collect();
    json!({
        "apiVersion": "rhizome.dev/v1",
        "kind": "Plan",
        "node": match origin {
            Origin::Here => "here",
            Origin::Snapshot => "snapshot",
            Origin::Assumed => "assumed",
        },
        "refused": plan.refused.iter().map(problem).collect::<Vec<_>>(),
        "unsupported": plan.unsupported.iter().map(problem).collect::<Vec<_>>(),
        "containers": plan.containers.iter().map(container).collect::<Vec<_>>(),
        "places": plan.matrices.iter().map(matrix).collect::<Vec<_>>(),
        "runtimes": plan.runtimes.iter().map(runtime).collect::<Vec<_>>(),
        "findings": plan.findings,
        "then": plan.then.iter().map(simulation::step).collect::<Vec<_>>(),
        "rules": rules,
    })
}

fn problem(problem: &Problem) -> Value {
    json!({
        "file": problem.source_name,
        "line": problem.position.line,
        "column": problem.position.column,
        "object": {"kind": problem.object.kind, "name": problem.object.name},
        "message": problem.headline(),
        "kubectl": problem.kubectl(),
        "hint": problem.hint,
    })
}

fn container(container: &ContainerPlan) -> Value {
    let asked = &container.asked;
    let mounts = asked.mounts.iter().map(|mount| {
        json!({
            "mountPath": mount.mount.container_path.to_string_lossy(),
            "volume": mount.mount.volume,
            "mountPropagation": mount.mode,
            "readOnly": mount.mount.readonly,
            "recursiveReadOnly": mount.mount.recursive_read_only,
            "place": mount.place.to_string_lossy(),
            "subPath": mount.sub_path.as_ref().map(|path| path.to_string_lossy()),
        })
    });
    json!({
        "pod": asked.pod,
        "name": asked.name,
        "sort": match asked.sort {
            Sort::Main => "container",
            Sort::Init => "initContainer",
            Sort::Sidecar => "sidecar",
            Sort::Ephemeral => "ephemeralContainer",
        },
        "mounts": mounts.collect::<Vec<_>>(),
        "fault": fault(container.fault.as_ref()),
        "operations": container.operations,
    })
}

fn fault(fault: Option<&Fault>) -> Value {
    fault.map_or(Value::Null, |fault| json!({"who": fault.who, "message": fault.text, "hint": fault.hint}))
}

fn matrix(matrix: &Matrix) -> Value {
    let reach = |reach: Reach| {
        json!({
            "reaches": reach.reaches,
            "rule": reach.rule.map(RuleId::id),
            "errno": reach.errno.map(|errno| errno.to_string()),
        })
    };
    let mut cells = Vec::new();
    for (actor, row) in matrix.parties.iter().zip(&matrix.cells) {
        for (viewer, cell) in matrix.parties.iter().zip(row) {
            cells.push(json!({
                "actor": actor.name,
                "actorPath": actor.path.to_string_lossy(),
                "viewer": viewer.name,
                "viewerPath": viewer.path.to_string_lossy(),
                "mount": reach(cell.mounts),
                "unmount": cell.unmounts.map(reach),
            }));
        }
    }
    let party = |party: &Party| {
        json!({
            "name": party.name,
            "path": party.path.to_string_lossy(),
            "mountPropagation": party.mode,
            "type": party.propagation.in_words(),
            "rule": party.rule.map(RuleId::id),
        })
    };
    let nested = |nested: &explain::plan::Nested| {
        let types = nested.types.iter().map(|kind| kind.map(|kind| kind.in_words()));
        json!({
            "path": nested.path.to_string_lossy(),
            "filesystem": nested.fs_type,
            "types": types.collect::<Vec<_>>(),
        })
    };
    json!({
        "place": matrix.place.to_string_lossy(),
        "directory": matrix.directory,
        "parties": matrix.parties.iter().map(party).collect::<Vec<_>>(),
        "leftOut": matrix.left_out,
        "cells": cells,
        "mountedBefore": matrix.nested.iter().map(nested).collect::<Vec<_>>(),
    })
}

fn runtime(report: &RuntimeReport) -> Value {
    let start = |start: &explain::plan::Start| json!({"mounts": start.mounts, "inVolumes": start.in_volumes, "left": start.left, "refused": start.refused.map(RuleId::id)});
    let growth = |growth: &Growth| {
        let otherwise = growth
            .otherwise
            .iter()
            .map(|(path, what)| json!({"mountPath": path.to_string_lossy(), "becomes": what}));
        json!({
            "container": growth.container,
            "fault": fault(growth.fault.as_ref()),
            "places": growth.places.iter().map(|place| place.to_string_lossy()).collect::<Vec<_>>(),
            "starts": growth.starts.iter().map(start).collect::<Vec<_>>(),
            "otherwise": otherwise.collect::<Vec<_>>(),
        })
    };
    json!({
        "runtime": report.runtime.name(),
        "containers": report.containers.iter().map(growth).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use explain::plan::{Manifests, Node, Request};
    use manifest::Source;

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
              user/main    0         0                     0                     0
              maker/main: /srv/v/inner

            what else to know
            limit[left-at-exit]: maker/main: volume v at /mnt: what it mounts there stays on the node when it
              ends
              why:  So it is in Kubernetes, and one more is stacked at each start. `rhizome ps` and `rm` name
                    them.
              mend: in the manifest: rhizome.dev/mounts-at-end: detach
                    an annotation of the pod; with rhizome they then go with it
            limit[unmount-takes-ours]: maker/main: volume v at /mnt: 1 mount of the container's own in it
              why:  They go nowhere else, but unmounts propagate by place: should the node, or a peer, mount at
                    the same place and unmount that, the container's own goes too.
              seen: /mnt/inner
            limit[left-at-exit]: user/main: volume v at /mnt: what it mounts there stays on the node when it
              ends
              why:  So it is in Kubernetes, and one more is stacked at each start. `rhizome ps` and `rm` name
                    them.
              mend: in the manifest: rhizome.dev/mounts-at-end: detach
                    an annotation of the pod; with rhizome they then go with it

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
}
