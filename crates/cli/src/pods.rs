//! Finding pods and containers of a root by the names that were typed, and saying what they left.

use crate::args::Global;
use crate::exit::{Failure, Result};
use crate::target::{Target, without_kind, workload};
use crate::{keeper, output};
use agent::Root;
use agent::client::{Client, ClientError, PodRef, PodView, StartFailure};
use agent::lifecycle::{ContainerState, PodEvent};
use agent::status_file::LeftMount;
use serde_json::{Value, json};
use std::path::Path;

/// The namespace of pods that is meant.
pub(crate) fn namespace(global: &Global) -> &str {
    global.namespace.as_deref().unwrap_or("default")
}

/// The pod of that name; of a workload the first.
pub(crate) fn find(client: &Client, global: &Global, name: &str) -> Result<PodRef> {
    Ok(find_all(client, global, name)?.remove(0))
}

/// The pod of that name, or those of a workload (`ds/NAME`), of which there is at least one.
pub(crate) fn find_all(client: &Client, global: &Global, name: &str) -> Result<Vec<PodRef>> {
    let name = without_kind(name);
    if let Some((kind, name)) = workload(name)
        && !name.contains('/')
    {
        return Ok(client.pods_of(namespace(global), kind, name)?);
    }
    if name.contains('/') {
        return Err(Failure::wrong_use(format!(
            "{name:?} is not a pod: a container is named only to exec and logs"
        )));
    }
    Ok(vec![client.resolve(namespace(global), name)?.pod])
}

/// The pod of that name, looked at.
pub(crate) fn look(client: &Client, global: &Global, name: &str) -> Result<PodView> {
    Ok(client.view(&find(client, global, name)?)?)
}

/// The Kubernetes object, with its status. What its containers left on the host is an annotation.
pub(crate) fn object(pod: &PodView) -> Result<Value> {
    let mut object = serde_json::to_value(pod.to_api())?;
    object["apiVersion"] = "v1".into();
    object["kind"] = "Pod".into();
    if !pod.status.left_mounts.is_empty() {
        let places: Vec<_> =
            pod.status.left_mounts.iter().map(|left| left.mount_point.display().to_string()).collect();
        object["metadata"]["annotations"]["rhizome.dev/left-mounts"] = json!(places).to_string().into();
    }
    Ok(object)
}

/// The container that is meant: the one named, else the one that the pod's annotation names, else the first, which
/// is said where there are several (kubectl's rules and words).
pub(crate) fn container<'a>(pod: &'a PodView, target: &Target) -> Result<&'a ContainerState> {
    let annotations = pod.record.pod.metadata.annotations.as_ref();
    let annotated = annotations.and_then(|all| all.get("kubectl.kubernetes.io/default-container"));
    let named = target.container.as_deref().or(annotated.map(String::as_str));
    let names = || pod.container_names();
    match (named, pod.state().mains().next()) {
        (Some(name), _) => Ok(pod.state().container(name).ok_or_else(|| ClientError::NoContainer {
            container: name.to_owned(),
            pod: pod.pod.key.clone(),
            known: names(),
        })?),
        (None, Some(first)) => {
            if pod.state().containers.len() > 1 {
                output::stderr_line(&format!(
                    "Defaulted container {:?} out of: {}",
                    first.name,
                    names().join(", ")
                ));
            }
            Ok(first)
        }
        (None, None) => Err(Failure::no(anyhow::anyhow!("pod {} has no containers", target.pod))),
    }
}

/// Says which mounts containers of the pod left on the host, and how to detach them.
pub(crate) fn say_left(root: &Root, pod: &PodRef, left: &[LeftMount]) {
    for mount in left {
        output::note(&format!(
            "pod {} left {} mounted ({}, in volume {}); to detach it: {}",
            pod.key.name,
            mount.mount_point.display(),
            mount.fs_type,
            mount.volume,
            detach_command(root, mount)
        ));
    }
}

/// The command that detaches a mount. A root with mounts of its own has them there, and not where it will be typed.
pub(crate) fn detach_command(root: &Root, mount: &LeftMount) -> String {
    let command = mount.command();
    match keeper::pid(root) {
        None => command,
        Some(pid) => {
            let command = mount_table::shell_word(Path::new(&command));
            format!("nsenter --target {pid} --mount sh -c {command}")
        }
    }
}

/// Says what of a pod that starts is not quite as its manifest has it.
pub(crate) fn say_remark(pod: &PodRef, event: &PodEvent) {
    output::warning(&format!("pod {}: {}", pod.key.name, event.message));
}

/// Why a pod could not be started, a failure each, the last of them being the command's.
pub(crate) fn not_started(pod: &PodRef, failures: &[StartFailure]) -> Failure {
    let mut said: Vec<Failure> = failures
        .iter()
        .map(|failure| {
            let container =
                failure.container.as_ref().map_or(String::new(), |name| format!("container {name}: "));
            let name = &pod.key.name;
            let text = format!("pod {name}: {container}{}: {}", failure.reason, failure.message);
            let words = Failure::no(anyhow::Error::msg(text));
            failure.hint.iter().fold(words, |words, hint| words.hint(hint))
        })
        .collect();
    let last =
        said.pop().unwrap_or_else(|| Failure::no(anyhow::anyhow!("pod {} was not started", pod.key.name)));
    for failure in said {
        crate::report::status(Err(failure));
    }
    last
}
