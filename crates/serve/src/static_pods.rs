//! Pods of a folder of manifests, as the kubelet's static pods: each file's are run under their names with the node's behind
//! it, made again when the file changes, and deleted with it.
//!
//! A file that cannot be understood is told of once, and as long as there is one no pod of the folder is deleted: it may be
//! the one that the pod is from.

use crate::decode::DeleteOptions;
use crate::delete;
use crate::kinds::Resource;
use crate::object::{self, Key, text};
use crate::server::Shared;
use crate::verbs::create_object;
use k8s_openapi::api::core::v1::Pod;
use manifest::{Options, Source};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

/// As the kubelet marks them.
const SOURCE: &str = "kubernetes.io/config.source";
const HASH: &str = "kubernetes.io/config.hash";
pub(crate) const MIRROR: &str = "kubernetes.io/config.mirror";

/// The longest manifest.
const MAX_BYTES: u64 = 3 << 20;
/// Files that are looked at.
const MOST_FILES: usize = 1000;

/// Looks at the folder and does what is to be done. `told` is what was complained of the last time.
pub(crate) fn look(shared: &Arc<Shared>, folder: &Path, told: &mut String) {
    let (wanted, complaint) = match read(folder, &shared.facts.name) {
        Ok(read) => read,
        Err(error) => (BTreeMap::new(), format!("{}: {error}", folder.display())),
    };
    if complaint != *told && !complaint.is_empty() {
        tracing::warn!("static pods: {complaint}");
    }
    let whole = complaint.is_empty();
    *told = complaint;
    for (key, stored) in shared.store.list(Resource::Pods, None).0 {
        let pod = stored.value();
        let annotation = |name: &str| pod["metadata"]["annotations"][name].as_str().unwrap_or_default();
        if annotation(SOURCE) != "file" || object::is_going(&pod) {
            continue;
        }
        let stays = wanted.get(&key).map_or(!whole, |pod| hash_of(pod) == annotation(HASH));
        if !stays {
            let _ = delete::delete(shared, &key, &DeleteOptions::default());
        }
    }
    for (key, pod) in wanted {
        if shared.store.get(&key).is_none() {
            shared.ensure_namespace(&key.namespace);
            if let Err(error) = create_object(shared, Resource::Pods, &key.namespace, pod, false) {
                tracing::warn!(pod = %key, error = error.message(), "a static pod cannot be made");
            }
        }
    }
}

fn hash_of(pod: &Value) -> &str {
    pod["metadata"]["annotations"][HASH].as_str().unwrap_or_default()
}

/// The pods of a folder, and what is wrong with its files.
fn read(folder: &Path, node: &str) -> io::Result<(BTreeMap<Key, Value>, String)> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let extension = path.extension().and_then(|extension| extension.to_str());
        !hidden && matches!(extension, Some("yaml" | "yml" | "json")) && path.is_file()
    });
    paths.sort();
    let (mut pods, mut wrong) = (BTreeMap::new(), Vec::new());
    for path in paths.iter().take(MOST_FILES) {
        let mut bytes = Vec::new();
        let name = path.display().to_string();
        if let Err(error) =
            std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
        {
            wrong.push(format!("{name}: {error}"));
            continue;
        }
        match manifest::load(&[Source { name: &name, bytes: &bytes }], &Options::default()) {
            Ok(loaded) => pods.extend(loaded.pods().filter_map(|pod| as_object(pod, node))),
            Err(problems) => {
                wrong.extend(problems.first().map(|problem| format!("{name}: {}", problem.headline())))
            }
        }
    }
    Ok((pods, wrong.join("; ")))
}

/// The object of a pod, under its name on this node.
fn as_object(pod: &Pod, node: &str) -> Option<(Key, Value)> {
    let mut pod = pod.clone();
    let name = format!("{}-{node}", pod.metadata.name.as_deref().filter(|name| !name.is_empty())?);
    pod.metadata.name = Some(name.clone());
    manifest::defaults::admit(&mut pod);
    let namespace = pod.metadata.namespace.get_or_insert_with(|| "default".to_owned()).clone();
    let hash = crate::discovery::hash(&serde_json::to_value(&pod).ok()?).to_lowercase();
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(SOURCE.to_owned(), "file".to_owned());
    annotations.insert(HASH.to_owned(), hash.clone());
    annotations.insert(MIRROR.to_owned(), hash);
    let object = serde_json::to_value(&pod).ok()?;
    debug_assert_eq!(text(&object, "/metadata/name"), name);
    Some((Key::new(Resource::Pods, &namespace, &name), object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folders_pods_have_the_nodes_name_and_change_with_their_file() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: main, image: a}]}\n";
        write("web.yaml", pod);
        write(".hidden.yaml", pod);
        write("note.txt", "no manifest");
        let (pods, wrong) = read(dir.path(), "n").unwrap();
        let keys: Vec<String> = pods.keys().map(Key::to_string).collect();
        assert_eq!((keys, wrong.as_str()), (vec!["pods/default/web-n".to_owned()], ""));
        let before = hash_of(pods.values().next().unwrap()).to_owned();
        write("web.yaml", &pod.replace("image: a", "image: b"));
        write("bad.yaml", "kind: Pod\n");
        let (pods, wrong) = read(dir.path(), "n").unwrap();
        assert_ne!(hash_of(pods.values().next().unwrap()), before);
        assert!(wrong.contains("bad.yaml: "), "{wrong}");
        assert!(read(&dir.path().join("nosuch"), "n").is_err());
    }
}
