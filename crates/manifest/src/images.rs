//! The images that a Pod needs.

use k8s_openapi::api::core::v1::{Container, PodSpec};

/// An image, and when it is to be pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodImage<'a> {
    /// What it is called in the Pod.
    pub reference: &'a str,
    /// `imagePullPolicy`, or the volume's `pullPolicy`; empty where there is none.
    pub policy: &'a str,
    /// Who waits for it: its container, or the first one that mounts its volume.
    pub container: Option<&'a str>,
}

/// Those of volumes first, then those of the containers in the order in which they start.
pub fn of(spec: &PodSpec) -> impl Iterator<Item = PodImage<'_>> {
    let containers = || spec.init_containers.iter().flatten().chain(&spec.containers);
    let of_volumes = spec.volumes.iter().flatten().filter_map(move |volume| {
        let source = volume.image.as_ref()?;
        let mounts = |c: &&Container| c.volume_mounts.iter().flatten().any(|m| m.name == volume.name);
        Some(PodImage {
            reference: source.reference.as_deref()?,
            policy: source.pull_policy.as_deref().unwrap_or_default(),
            container: containers().find(mounts).map(|container| container.name.as_str()),
        })
    });
    let of_containers = containers().filter_map(|container| {
        Some(PodImage {
            reference: container.image.as_deref()?,
            policy: container.image_pull_policy.as_deref().unwrap_or_default(),
            container: Some(&container.name),
        })
    });
    of_volumes.chain(of_containers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_come_first_and_say_who_waits() {
        let spec: PodSpec = serde_json::from_value(serde_json::json!({
            "volumes": [{"name": "v", "image": {"reference": "data:1", "pullPolicy": "Never"}}, {"name": "e", "emptyDir": {}}],
            "initContainers": [{"name": "first", "image": "a"}],
            "containers": [{"name": "main", "image": "b", "imagePullPolicy": "Always", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        }))
        .unwrap();
        let image = |reference, policy, container| PodImage { reference, policy, container: Some(container) };
        let expected =
            [image("data:1", "Never", "main"), image("a", "", "first"), image("b", "Always", "main")];
        assert_eq!(of(&spec).collect::<Vec<_>>(), expected);
    }
}
