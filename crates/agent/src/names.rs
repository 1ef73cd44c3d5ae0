//! What the pods of a root are called, for whoever shows whose mounts are whose.

use crate::client::Client;
use crate::root::Root;
use mount_table::node::{Container, Pod, Runtime};
use observe::Names;

/// What the pods of our root are called. A root that is not there, or not ours, has none: their containers are then
/// called by their ids.
#[must_use]
pub fn read(root: &Root) -> Names {
    let mut names = Names::default();
    if !root.lib.exists() || !root.run.exists() {
        return names;
    }
    let Ok(listed) = Client::open(root).and_then(|client| client.list(None)) else {
        return names;
    };
    for view in listed.pods {
        let pod = Pod {
            uid: Some(view.pod.uid.to_string()),
            namespace: Some(view.pod.key.namespace.clone()),
            name: Some(view.pod.key.name.clone()),
        };
        for container in &view.state().containers {
            let known = Container {
                runtime: Some(Runtime::Rhizome),
                id: container.id.clone(),
                name: Some(container.name.clone()),
                pod: Some(pod.clone()),
            };
            names.containers.insert(container.id.clone(), known);
        }
        names.pods.insert(view.pod.uid.to_string(), pod);
    }
    names
}
