//! After all is read: which claim gets which volume, and what is to be said of it.

use super::{Loader, Object};
use crate::claims::{ClaimPlace, bind};
use crate::problem::ObjectId;
use crate::support::{Note, Remark};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};

impl Loader<'_> {
    /// Binds every claim, and notes which claims are folders: those that no volume fits, and those of Pods that are not
    /// in these files.
    pub(super) fn bind_claims(&mut self) {
        let objects = &self.loaded.objects;
        let claims: Vec<&PersistentVolumeClaim> =
            objects.iter().filter_map(|loaded| loaded.claim()).collect();
        let volumes: Vec<&PersistentVolume> = objects
            .iter()
            .filter_map(|loaded| match &loaded.object {
                Object::PersistentVolume(volume) => Some(volume.as_ref()),
                _ => None,
            })
            .collect();
        let mut notes = Vec::new();
        for ((claim, place), problem) in claims.iter().zip(bind(&volumes, &claims)).zip(&self.of_claims) {
            let name = claim.metadata.name.clone().unwrap_or_default();
            let namespace = claim.metadata.namespace.clone().unwrap_or_default();
            match place {
                Ok(place) => {
                    if place == ClaimPlace::Folder {
                        let text = folder_text(&namespace, &name);
                        notes.push(Note { object: problem.object.clone(), remark: Remark::Other(text) });
                    }
                    self.loaded.claims.entry(namespace).or_default().insert(name, place);
                }
                Err(why) => {
                    let mut problem = problem.clone();
                    problem.message = why.to_string();
                    self.problems.push(problem);
                }
            }
        }
        let known = |namespace: &str, claim: &str| {
            self.loaded.claims.get(namespace).is_some_and(|claims| claims.contains_key(claim))
        };
        for pod in self.loaded.pods() {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            for claim in claims_of(pod).filter(|claim| !known(namespace, claim)) {
                let object = ObjectId {
                    api_version: "v1".into(),
                    kind: "Pod".into(),
                    name: pod.metadata.name.clone().unwrap_or_default(),
                    namespace: namespace.to_owned(),
                };
                let text =
                    format!("claim {claim:?} is not in these files: {}", folder_text(namespace, claim));
                notes.push(Note { object, remark: Remark::Other(text) });
            }
        }
        self.loaded.notes.append(&mut notes);
    }
}

impl super::LoadedObject {
    fn claim(&self) -> Option<&PersistentVolumeClaim> {
        match &self.object {
            Object::PersistentVolumeClaim(claim) => Some(claim),
            _ => None,
        }
    }
}

/// Names of the claims that a Pod uses.
fn claims_of(pod: &Pod) -> impl Iterator<Item = &str> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    volumes.iter().filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
}

fn folder_text(namespace: &str, claim: &str) -> String {
    format!("a folder of the root, claims/{namespace}/{claim}, which stays when pods are removed")
}
