//! A plan as the document `Plan`.

use crate::simulation;
use explain::plan::{ContainerPlan, Fault, Growth, Matrix, Origin, Party, Plan, Reach, RuntimeReport, Sort};
use manifest::problem::Problem;
use serde_json::{Map, Value, json};
use subtree_model::RuleId;

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
