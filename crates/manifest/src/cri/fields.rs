//! What `fieldRef` and `resourceFieldRef` stand for, in variables and in downwardAPI volumes (the kubelet's
//! `pkg/fieldpath` and `pkg/api/v1/resource`).

use super::NodeFacts;
use crate::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, ObjectFieldSelector, Pod, ResourceFieldSelector};
use std::collections::BTreeMap;

/// The value of a field of a Pod.
///
/// # Errors
/// A field that cannot be asked for, in the kubelet's words.
pub fn of_pod(pod: &Pod, selector: &ObjectFieldSelector, node: &NodeFacts<'_>) -> Result<String, String> {
    let metadata = &pod.metadata;
    let path = selector.field_path.as_str();
    let entry = |map: &Option<BTreeMap<String, String>>, key: &str| {
        map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default()
    };
    if let Some((map, key)) = path.strip_suffix(']').and_then(|path| path.split_once("['")) {
        let key = key.trim_end_matches('\'');
        match map {
            "metadata.labels" => return Ok(entry(&metadata.labels, key)),
            "metadata.annotations" => return Ok(entry(&metadata.annotations, key)),
            _ => {}
        }
    }
    Ok(match path {
        "metadata.name" => metadata.name.clone().unwrap_or_default(),
        "metadata.namespace" => metadata.namespace.clone().unwrap_or_default(),
        "metadata.uid" => metadata.uid.clone().unwrap_or_default(),
        "metadata.labels" => lines(metadata.labels.as_ref()),
        "metadata.annotations" => lines(metadata.annotations.as_ref()),
        "spec.nodeName" => node.name.to_owned(),
        "spec.serviceAccountName" => {
            pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone()).unwrap_or_default()
        }
        "status.hostIP" => node.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => node.host_ips.join(","),
        "status.podIP" => node.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => node.pod_ips.join(","),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// Labels or annotations as a file has them: `key="value"`, a line each.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let line = |(key, value): (&String, &String)| format!("{key}={}", crate::problem::go_quote(value));
    map.into_iter().flatten().map(line).collect::<Vec<_>>().join("\n")
}

/// The value of a request or limit of a container: the one that is named, else `own`. Where there is no limit, what the
/// node has.
///
/// # Errors
/// No such container, or a resource that cannot be asked for.
pub fn of_container(
    pod: &Pod,
    own: &str,
    selector: &ResourceFieldSelector,
    node: &NodeFacts<'_>,
) -> Result<String, String> {
    let named = selector.container_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(own);
    let spec = pod.spec.as_ref();
    let init = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    let main = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let container = init.iter().chain(main).find(|container| container.name == named);
    let container = container.ok_or_else(|| format!("container {named} not found"))?;
    let wrong = || format!("unsupported container resource: {}", selector.resource);
    let (kind, name) = selector.resource.split_once('.').ok_or_else(wrong)?;
    let amount = match kind {
        "limits" => amount(container, true, name).unwrap_or_else(|| of_node(name, node)),
        "requests" => amount(container, false, name).unwrap_or_default(),
        _ => return Err(wrong()),
    };
    let divisor = selector.divisor.as_ref().and_then(|divisor| Quantity::parse(&divisor.0).ok());
    let divisor = divisor.filter(|divisor| !divisor.is_zero()).map(|divisor| scaled(name, divisor));
    // Positive once it is valid.
    let divisor = divisor.unwrap_or(if name == "cpu" { 1000 } else { 1 }).max(1);
    Ok((amount / divisor + i64::from(amount % divisor > 0)).to_string())
}

/// CPU is counted in thousandths.
fn scaled(name: &str, amount: Quantity) -> i64 {
    if name == "cpu" { amount.milli_value() } else { amount.value() }
}

/// A limit or request that a container says.
fn amount(container: &Container, limit: bool, name: &str) -> Option<i64> {
    let resources = container.resources.as_ref()?;
    let amounts = if limit { &resources.limits } else { &resources.requests };
    let amount = amounts.as_ref()?.get(name)?;
    let amount = Quantity::parse(&amount.0).ok().filter(|amount| !amount.is_zero())?;
    Some(scaled(name, amount))
}

fn of_node(name: &str, node: &NodeFacts<'_>) -> i64 {
    match name {
        "cpu" => node.cpu_millis,
        "memory" => node.memory_bytes,
        "ephemeral-storage" => node.storage_bytes,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NODE: NodeFacts<'_> = NodeFacts {
        name: "n",
        host_ips: &[],
        pod_ips: &[],
        memory_bytes: 3 << 20,
        cpu_millis: 2500,
        storage_bytes: 5,
        recursive_read_only: true,
    };

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "labels": {"b": "x \"y\"", "a": "1"}},
            "spec": {
                "initContainers": [{"name": "init", "resources": {"requests": {"memory": "1Ki"}}}],
                "containers": [{"name": "main", "resources": {"limits": {"cpu": "1500m"}, "requests": {"cpu": "250m"}}}],
            }
        }))
        .unwrap()
    }

    fn resource(selector: serde_json::Value) -> Result<String, String> {
        of_container(&pod(), "main", &serde_json::from_value(selector).unwrap(), &NODE)
    }

    #[test]
    fn resources_are_divided_and_rounded_up() {
        for (selector, expected) in [
            (json!({"resource": "limits.cpu"}), "2"),
            (json!({"resource": "limits.cpu", "divisor": "1m"}), "1500"),
            (json!({"resource": "requests.cpu"}), "1"),
            (json!({"resource": "requests.memory"}), "0"),
            (json!({"resource": "requests.memory", "containerName": "init"}), "1024"),
            (json!({"resource": "limits.memory"}), "3145728"),
            (json!({"resource": "limits.memory", "divisor": "1Mi"}), "3"),
            (json!({"resource": "limits.memory", "divisor": "2M"}), "2"),
            (json!({"resource": "limits.cpu", "containerName": "init"}), "3"),
            (json!({"resource": "limits.ephemeral-storage"}), "5"),
        ] {
            assert_eq!(resource(selector.clone()).as_deref(), Ok(expected), "{selector}");
        }
        let missing = resource(json!({"resource": "limits.cpu", "containerName": "x"}));
        assert_eq!(missing, Err("container x not found".to_owned()));
        assert_eq!(
            resource(json!({"resource": "cpu"})),
            Err("unsupported container resource: cpu".to_owned())
        );
    }

    #[test]
    fn all_labels_are_a_line_each() {
        let field = |path: &str| {
            let selector = serde_json::from_value(json!({"fieldPath": path})).unwrap();
            of_pod(&pod(), &selector, &NODE)
        };
        assert_eq!(field("metadata.labels").as_deref(), Ok("a=\"1\"\nb=\"x \\\"y\\\"\""));
        assert_eq!(field("metadata.annotations").as_deref(), Ok(""));
        assert_eq!(field("metadata.labels['a']").as_deref(), Ok("1"));
        assert_eq!(field("status.phase"), Err("unsupported fieldPath: status.phase".to_owned()));
    }
}
