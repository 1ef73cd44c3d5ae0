//! What the mounts of a pod's volumes really do, against what was asked: read from the mount tables of its containers and of
//! the host, and told as an annotation (for programs) and a condition (for people).

use crate::object;
use agent::Root;
use agent::lifecycle::PodState;
use k8s_openapi::api::core::v1 as api;
use mount_table::{Mount, MountTable};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The condition's type. The annotation's name is the same, [`manifest::annotations::PROPAGATION`].
pub(crate) const CONDITION: &str = manifest::annotations::PROPAGATION;

/// What is found of one pod.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Found {
    /// By container and path.
    annotation: Value,
    /// Volumes whose mounts do less than was asked.
    short: Vec<String>,
    /// Mounts that do less than was asked, in words.
    less: Vec<String>,
    /// Mounts that do what was asked, in words.
    as_asked: Vec<String>,
}

/// The ids of the containers that run, which say when to look again.
pub(crate) fn running(state: &PodState) -> Vec<String> {
    state.containers.iter().filter(|c| c.running()).map(|c| c.id.clone()).collect()
}

/// Looks at the containers that run; none where nothing but the default was asked for, or nothing can be read.
pub(crate) fn read(root: &Root, pod: &api::Pod, state: &PodState) -> Option<Found> {
    let spec = pod.spec.as_ref()?;
    let wanted =
        |container: &api::Container| container.volume_mounts.iter().flatten().any(|m| asked(m).is_some());
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let containers: Vec<&api::Container> = containers.filter(|container| wanted(container)).collect();
    if containers.is_empty() {
        return None;
    }
    let host = observe::read_own_mounts().ok()?;
    let mut found = Found::default();
    for container in containers {
        let Some(running) = state.container(&container.name).filter(|c| c.running()) else { continue };
        let Ok(record) = runtime::status(&root.runtime_dirs(), &running.id) else { continue };
        let Some(pid) = record.init.and_then(|init| u32::try_from(init.pid).ok()) else { continue };
        let Ok(table) = observe::read_mounts_of(pid) else { continue };
        found.add(container, &table, &host);
    }
    Some(found)
}

/// What a mount asks for, if it is more than the default.
pub(crate) fn asked(mount: &api::VolumeMount) -> Option<&str> {
    mount.mount_propagation.as_deref().filter(|mode| *mode != "None")
}

impl Found {
    /// Whether there are mounts that do less than was asked, and others than before.
    pub(crate) fn does_less_than(&self, before: Option<&Found>) -> bool {
        !self.less.is_empty() && before.is_none_or(|before| before.less != self.less)
    }

    /// That, in words, and what brings it back.
    pub(crate) fn less_and_mend(&self, pod: &Value) -> (String, String) {
        let volumes = object::items(pod, "/spec/volumes").iter();
        let of_host = volumes.filter(|volume| self.short.iter().any(|name| volume["name"] == name.as_str()));
        let paths: Vec<&str> = of_host.filter_map(|volume| volume["hostPath"]["path"].as_str()).collect();
        let mend = match paths.as_slice() {
            [] => "delete the pod and create it again: its volumes are shared when they are made".to_owned(),
            paths => {
                let each = paths
                    .iter()
                    .map(|path| format!("mount --make-rshared \"$(findmnt -n -o TARGET -T {path})\""));
                let each: Vec<String> = each.collect();
                format!(
                    "share the host's mount again ({}), then delete the pod and create it again: a mount that has left its peer group does not come back into it",
                    each.join("; ")
                )
            }
        };
        (self.less.join("; "), mend)
    }

    fn add(&mut self, container: &api::Container, table: &MountTable, host: &MountTable) {
        let mut mounts = Map::new();
        for mount in container.volume_mounts.iter().flatten() {
            let Some(asked) = asked(mount) else { continue };
            let path = normal(&mount.mount_path);
            let Some(there) = table.topmost_at(Path::new(&path)) else { continue };
            let (sends, receives) = reach(there, host);
            let holds = match asked {
                "Bidirectional" => sends && receives,
                _ => receives,
            };
            mounts.insert(
                mount.mount_path.clone(),
                json!({
                    "asked": asked,
                    "kernel": there.propagation.in_words(),
                    "peerGroup": there.propagation.shared.map(|group| group.0),
                    "master": there.propagation.master.map(|group| group.0),
                    "toHost": sends,
                    "fromHost": receives,
                }),
            );
            let way = match (sends, receives) {
                (true, true) => "to and from the host",
                (false, true) => "from the host only",
                (true, false) => "to the host only",
                (false, false) => "neither to nor from the host",
            };
            let text = format!(
                "{}: {} is {asked}, and the kernel has it {} ({way})",
                container.name,
                mount.mount_path,
                there.propagation.in_words()
            );
            if holds {
                self.as_asked.push(text);
            } else {
                self.less.push(text);
                self.short.push(mount.name.clone());
            }
        }
        // `null` becomes a mapping with its first entry.
        self.annotation[&container.name] = Value::Object(mounts);
    }

    /// Writes it into a pod's object: the annotation, and the condition among those of the status, which holds since when it
    /// did in the status before.
    pub(crate) fn write(&self, object: &mut Value, status_before: &Value) {
        let annotations = object::metadata_mut(object).entry("annotations").or_insert_with(|| json!({}));
        annotations[CONDITION] = self.annotation.to_string().into();
        let generation = object["metadata"]["generation"].clone();
        let (status, reason) = match self.less.is_empty() {
            true => ("True", "AsAsked"),
            false => ("False", "LessThanAsked"),
        };
        let message = [self.less.as_slice(), &self.as_asked].concat().join("; ");
        let before = object::items(status_before, "/conditions");
        let since = before.iter().find(|c| c["type"] == CONDITION && c["status"] == status);
        let since = since.map_or_else(|| object::now_text().into(), |c| c["lastTransitionTime"].clone());
        let condition = json!({
            "type": CONDITION, "status": status, "lastProbeTime": null, "lastTransitionTime": since,
            "observedGeneration": generation, "reason": reason, "message": message,
        });
        if let Some(conditions) = object["status"]["conditions"].as_array_mut() {
            conditions.retain(|c| c["type"] != CONDITION);
            conditions.push(condition);
        }
    }
}

/// Whether mounts made below go to the host, and whether the host's come here.
fn reach(mount: &Mount, host: &MountTable) -> (bool, bool) {
    let in_host = |group| host.mounts.iter().any(|there| group == there.propagation.shared);
    let peer = mount.propagation.shared.is_some() && in_host(mount.propagation.shared);
    let slave = mount.propagation.master.is_some() && in_host(mount.propagation.master);
    (peer, peer || slave)
}

/// A path as the kernel shows it: no slash at its end, none twice.
pub(crate) fn normal(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &str) -> MountTable {
        MountTable::parse_mountinfo(rows.as_bytes()).unwrap()
    }

    #[test]
    fn what_the_kernel_has_is_told_against_what_was_asked() {
        let host = table("20 1 8:1 / / rw - ext4 /dev/a rw\n30 20 8:2 / /mnt rw shared:7 - ext4 /dev/b rw\n");
        let inside = table(
            "50 40 8:1 / / rw - ext4 /dev/a rw\n51 50 8:2 / /home rw shared:7 - ext4 /dev/b rw\n52 50 8:2 / /slave rw master:7 - ext4 /dev/b rw\n53 50 8:2 / /other rw shared:9 - ext4 /dev/b rw\n",
        );
        let container: api::Container = serde_json::from_value(json!({"name": "main", "volumeMounts": [
            {"name": "v", "mountPath": "/home/", "mountPropagation": "Bidirectional"},
            {"name": "v", "mountPath": "/slave", "mountPropagation": "HostToContainer"},
            {"name": "v", "mountPath": "/other", "mountPropagation": "Bidirectional"},
            {"name": "v", "mountPath": "/none"},
        ]}))
        .unwrap();
        let mut found = Found::default();
        found.add(&container, &inside, &host);
        assert_eq!(
            found.less,
            ["main: /other is Bidirectional, and the kernel has it shared (neither to nor from the host)"]
        );
        assert_eq!(
            found.as_asked[1],
            "main: /slave is HostToContainer, and the kernel has it slave (from the host only)"
        );
        assert_eq!(found.annotation["main"]["/home/"]["peerGroup"], 7);
        let mut pod = json!({"metadata": {"name": "a"}, "status": {"conditions": [{"type": "Ready"}]}});
        found.write(&mut pod, &Value::Null);
        found.write(&mut pod, &Value::Null);
        assert_eq!(pod["status"]["conditions"].as_array().unwrap().len(), 2);
        assert_eq!(pod["status"]["conditions"][1]["reason"], "LessThanAsked");
    }
}
