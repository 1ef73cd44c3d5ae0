//! What the API server warns of though it accepts it (`pkg/api/pod/warnings.go`), as far as such Pods run here.

use super::{spec::all_containers, text};
use crate::field::{FieldErrors, Path};
use crate::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, ContainerPort, PodSpec};
use std::collections::{HashMap, HashSet};

/// The warnings of a valid Pod's spec, which stands at `path`, in the form of errors.
pub(super) fn pod(path: &Path, spec: &PodSpec) -> FieldErrors {
    let mut warnings = FieldErrors::default();
    let mut addresses = HashSet::new();
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        if !addresses.insert(&alias.ip) {
            let here = path.child("hostAliases").index(index).child("ip");
            warnings.other(&here, &format!("duplicate ip {:?}", alias.ip));
        }
    }
    let containers = all_containers(path, spec);
    for (path, container) in &containers {
        fractions(&mut warnings, path, container);
        hidden_variables(&mut warnings, path, container);
    }
    ports(&mut warnings, &containers);
    port_names(&mut warnings, &containers);
    warnings
}

/// `memory: 100m` is a tenth of a byte.
fn fractions(warnings: &mut FieldErrors, path: &Path, container: &Container) {
    let Some(resources) = &container.resources else { return };
    for name in ["memory", "ephemeral-storage"] {
        for (kind, amounts) in [("limits", &resources.limits), ("requests", &resources.requests)] {
            let amount = amounts.as_ref().and_then(|amounts| amounts.get(name));
            let Some(amount) = amount.and_then(|amount| Quantity::parse(&amount.0).ok()) else { continue };
            if amount.milli_value() % 1000 != 0 {
                let text =
                    format!("fractional byte value {:?} is invalid, must be an integer", amount.canonical());
                warnings.other(&path.child("resources").child(kind).key(name), &text);
            }
        }
    }
}

/// A variable that is given twice and does not build on its first value.
fn hidden_variables(warnings: &mut FieldErrors, path: &Path, container: &Container) {
    let mut seen = HashSet::new();
    for (index, variable) in container.env.iter().flatten().enumerate() {
        if seen.insert(&variable.name) {
            continue;
        }
        let (value, reference) = (text(&variable.value), format!("$({})", variable.name));
        if variable.value_from.is_some() || value == reference || !value.contains(&reference) {
            let name = crate::problem::go_quote(&variable.name);
            let text = format!("hides previous definition of {name}, which may be dropped when using apply");
            warnings.other(&path.child("env").index(index), &text);
        }
    }
}

fn ports(warnings: &mut FieldErrors, containers: &[(Path, &Container)]) {
    let mut seen: HashMap<(i32, &str), Vec<(Path, &ContainerPort)>> = HashMap::new();
    for (path, container) in containers {
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let here = path.child("ports").index(index);
            let others = seen.entry((port.container_port, text(&port.protocol))).or_default();
            for (other_path, other) in others.iter() {
                if let Some(word) = overlap(port, other) {
                    warnings.other(&here, &format!("{word} port definition with {}", other_path.as_said()));
                }
            }
            others.push((here, port));
        }
    }
}

/// In what way two equal ports of containers are in one another's way on the node.
fn overlap(a: &ContainerPort, b: &ContainerPort) -> Option<&'static str> {
    let (a_port, b_port) = (a.host_port.unwrap_or_default(), b.host_port.unwrap_or_default());
    let (a_ip, b_ip) = (text(&a.host_ip), text(&b.host_ip));
    if a_port == b_port && a_ip == b_ip {
        Some("duplicate")
    } else if a_port == 0 || b_port == 0 {
        Some("overlapping")
    } else if a_port == b_port && (a_ip.is_empty() != b_ip.is_empty()) {
        Some("dangerously ambiguous")
    } else {
        None
    }
}

fn port_names(warnings: &mut FieldErrors, containers: &[(Path, &Container)]) {
    let mut seen: HashMap<&str, Path> = HashMap::new();
    for (path, container) in containers {
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let (here, name) = (path.child("ports").index(index), text(&port.name));
            match seen.get(name).map(Path::as_said) {
                Some(other) => warnings.other(
                    &here,
                    &format!(
                        "duplicate port name {name:?} with {other}, services and probes that select ports by name will use {other}"
                    ),
                ),
                None if name.is_empty() => {}
                None => drop(seen.insert(name, here)),
            }
        }
    }
}
