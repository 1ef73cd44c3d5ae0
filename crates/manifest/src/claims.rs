//! PersistentVolumes and the claims on them: which claim gets which volume, as Kubernetes' volume controller binds them
//! (`pkg/controller/volume/persistentvolume`, `FindMatchingVolume`), and where the files of a claim are.
//!
//! Only what comes in the same files is looked at. A claim that no volume of them fits is a folder of this node's, as
//! if a provisioner had made one for it.

use crate::quantity::Quantity;
use crate::validate::selects;
use k8s_openapi::api::core::v1::{
    HostPathVolumeSource, ObjectReference, PersistentVolume, PersistentVolumeClaim,
    PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, PersistentVolumeSpec, PodSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where the files of a claim are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClaimPlace {
    /// The hostPath of the volume that it is bound to.
    HostPath(HostPathVolumeSource),
    /// The directory of the local volume that it is bound to: used as a hostPath, and given to the pod's fsGroup.
    Local(HostPathVolumeSource),
    /// A folder that this node keeps for it.
    Folder,
}

/// Why a claim cannot be used; in Kubernetes it would stay `Pending`, with such an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unbound {
    /// `storageClassName: ""` asks for a volume that is there.
    #[error("no persistent volumes available for this claim and no storage class is set")]
    NoVolume,
    /// `volumeName` names none of these files.
    #[error("volume {0:?} not found")]
    NotFound(String),
    /// `volumeName` names one that is another claim's.
    #[error("volume {0:?} already bound to a different claim.")]
    Taken(String),
    /// `volumeName` names one that does not have what the claim asks.
    #[error("Cannot bind to requested volume {volume:?}: {why}")]
    Mismatch {
        /// The volume.
        volume: String,
        /// What it has not.
        why: &'static str,
    },
}

/// Where each claim is, in their order. Each volume goes to one claim at most.
#[must_use]
pub fn bind(
    volumes: &[&PersistentVolume],
    claims: &[&PersistentVolumeClaim],
) -> Vec<Result<ClaimPlace, Unbound>> {
    let place = |found: Option<usize>| found.map_or(ClaimPlace::Folder, |index| place(volumes[index]));
    choose(volumes, claims).into_iter().map(|found| found.map(place)).collect()
}

/// The index of each claim's volume, in the claims' order; none where no volume fits and a provisioner could make one. Each
/// volume goes to one claim at most.
#[must_use]
pub fn choose(
    volumes: &[&PersistentVolume],
    claims: &[&PersistentVolumeClaim],
) -> Vec<Result<Option<usize>, Unbound>> {
    let mut taken = vec![false; volumes.len()];
    let mut found: Vec<Option<Result<Option<usize>, Unbound>>> = vec![None; claims.len()];
    // Who names a volume, or is named by one, comes before those who take what fits.
    for by_name in [true, false] {
        for (claim, found) in claims.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
            let named = is_named(claim, volumes);
            if named == by_name {
                *found = Some(choose_one(claim, volumes, &mut taken));
            }
        }
    }
    found.into_iter().map(|found| found.unwrap_or(Ok(None))).collect()
}

fn spec_of(claim: &PersistentVolumeClaim) -> PersistentVolumeClaimSpec {
    claim.spec.clone().unwrap_or_default()
}

fn name_of(volume: &PersistentVolume) -> &str {
    volume.metadata.name.as_deref().unwrap_or_default()
}

fn is_named(claim: &PersistentVolumeClaim, volumes: &[&PersistentVolume]) -> bool {
    let by_claim = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
    !by_claim.is_empty() || volumes.iter().any(|volume| reference(volume).is_some_and(|of| refers(of, claim)))
}

fn reference(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume.spec.as_ref()?.claim_ref.as_ref()
}

/// Whether a volume's reference is to this claim, and not to an earlier one of its name.
#[must_use]
pub fn refers(reference: &ObjectReference, claim: &PersistentVolumeClaim) -> bool {
    let (meant, has) = (reference.uid.as_deref().unwrap_or_default(), claim.metadata.uid.as_deref());
    reference.name == claim.metadata.name
        && reference.namespace == claim.metadata.namespace
        && (meant.is_empty() || has.is_none_or(|uid| uid == meant))
}

fn choose_one(
    claim: &PersistentVolumeClaim,
    volumes: &[&PersistentVolume],
    taken: &mut [bool],
) -> Result<Option<usize>, Unbound> {
    let spec = spec_of(claim);
    let named = spec.volume_name.as_deref().unwrap_or_default();
    let found = if named.is_empty() {
        fitting(claim, &spec, volumes, taken)
    } else {
        Some(named_volume(claim, &spec, named, volumes, taken)?)
    };
    match found {
        Some(index) => {
            taken[index] = true;
            Ok(Some(index))
        }
        None if spec.storage_class_name.as_deref() == Some("") => Err(Unbound::NoVolume),
        None => Ok(None),
    }
}

/// Where the files of a claim are that is bound to a volume.
#[must_use]
pub fn place(volume: &PersistentVolume) -> ClaimPlace {
    let spec = volume.spec.clone().unwrap_or_default();
    match (spec.host_path, spec.local) {
        (Some(source), _) => ClaimPlace::HostPath(source),
        // A local volume has to be there; a directory is all that is not formatted first.
        (None, Some(local)) => {
            ClaimPlace::Local(HostPathVolumeSource { path: local.path, type_: Some("Directory".into()) })
        }
        (None, None) => ClaimPlace::Folder,
    }
}

fn named_volume(
    claim: &PersistentVolumeClaim,
    spec: &PersistentVolumeClaimSpec,
    name: &str,
    volumes: &[&PersistentVolume],
    taken: &[bool],
) -> Result<usize, Unbound> {
    let index = volumes.iter().position(|volume| name_of(volume) == name);
    let index = index.ok_or_else(|| Unbound::NotFound(name.to_owned()))?;
    let volume = volumes[index];
    if taken[index] || reference(volume).is_some_and(|of| !refers(of, claim)) {
        return Err(Unbound::Taken(name.to_owned()));
    }
    let mismatch = |why| Err(Unbound::Mismatch { volume: name.to_owned(), why });
    let of_volume = volume.spec.clone().unwrap_or_default();
    if storage(of_volume.capacity.as_ref()) < requested(spec) {
        return mismatch("requested PV is too small");
    }
    if class(&of_volume.storage_class_name) != class(&spec.storage_class_name) {
        return mismatch("storageClassName does not match");
    }
    if !has_modes(&of_volume, spec) {
        return mismatch("incompatible accessMode");
    }
    Ok(index)
}

/// The one that was made for this claim, else the smallest that has what it asks.
fn fitting(
    claim: &PersistentVolumeClaim,
    spec: &PersistentVolumeClaimSpec,
    volumes: &[&PersistentVolume],
    taken: &[bool],
) -> Option<usize> {
    let fits = |(index, volume): &(usize, &&PersistentVolume)| {
        let of_volume = volume.spec.clone().unwrap_or_default();
        let selected = spec
            .selector
            .as_ref()
            .is_none_or(|selector| selects(selector, volume.metadata.labels.as_ref()) == Some(true));
        !taken[*index]
            && reference(volume).is_none_or(|of| refers(of, claim))
            && storage(of_volume.capacity.as_ref()) >= requested(spec)
            && class(&of_volume.storage_class_name) == class(&spec.storage_class_name)
            && has_modes(&of_volume, spec)
            && selected
    };
    let order = |(_, volume): &(usize, &&PersistentVolume)| {
        let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref());
        (reference(volume).is_none(), storage(capacity))
    };
    volumes.iter().enumerate().filter(fits).min_by_key(order).map(|(index, _)| index)
}

/// There is no default class, so none is the same as the empty one.
fn class(name: &Option<String>) -> &str {
    name.as_deref().unwrap_or_default()
}

/// Bytes of storage; what is no quantity was refused before.
fn storage(amounts: Option<&BTreeMap<String, ApiQuantity>>) -> i64 {
    let amount = amounts.and_then(|amounts| amounts.get("storage"));
    amount.and_then(|amount| Quantity::parse(&amount.0).ok()).map_or(0, Quantity::value)
}

fn requested(spec: &PersistentVolumeClaimSpec) -> i64 {
    storage(spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
}

fn has_modes(volume: &PersistentVolumeSpec, claim: &PersistentVolumeClaimSpec) -> bool {
    let has = volume.access_modes.as_deref().unwrap_or_default();
    claim.access_modes.iter().flatten().all(|mode| has.contains(mode))
}

/// The volumes that a StatefulSet's claim templates are to its Pod `pod`, put in the place of those of the same name;
/// and the claims.
pub(crate) fn of_templates(
    templates: &[PersistentVolumeClaim],
    namespace: Option<&str>,
    pod: &str,
    spec: &mut PodSpec,
) -> Vec<PersistentVolumeClaim> {
    let volumes = spec.volumes.get_or_insert_default();
    let mut claims = Vec::new();
    for template in templates {
        let name = template.metadata.name.clone().unwrap_or_default();
        let claim_name = format!("{name}-{pod}");
        volumes.retain(|volume| volume.name != name);
        volumes.push(volume(&name, &claim_name));
        let mut claim = template.clone();
        claim.metadata.name = Some(claim_name);
        claim.metadata.namespace = namespace.map(str::to_owned);
        crate::defaults::claim(&mut claim);
        claims.push(claim);
    }
    claims
}

/// A volume that is a claim.
pub(crate) fn volume(name: &str, claim: &str) -> Volume {
    let source = PersistentVolumeClaimVolumeSource { claim_name: claim.to_owned(), read_only: None };
    Volume { name: name.to_owned(), persistent_volume_claim: Some(source), ..Volume::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn volume_of(name: &str, size: &str, more: Value) -> PersistentVolume {
        let mut spec = json!({
            "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": format!("/{name}")}
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let labels = json!({"disk": name});
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}, "spec": spec})).unwrap()
    }

    fn claim_of(name: &str, size: &str, more: Value) -> PersistentVolumeClaim {
        let mut spec =
            json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let metadata = json!({"name": name, "namespace": "default"});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    /// The paths that the claims get, `folder`, or why none.
    fn bound(volumes: &[PersistentVolume], claims: &[PersistentVolumeClaim]) -> Vec<String> {
        let places = bind(&volumes.iter().collect::<Vec<_>>(), &claims.iter().collect::<Vec<_>>());
        let said = |place: Result<ClaimPlace, Unbound>| match place {
            Ok(ClaimPlace::HostPath(source) | ClaimPlace::Local(source)) => source.path,
            Ok(ClaimPlace::Folder) => "folder".to_owned(),
            Err(error) => error.to_string(),
        };
        places.into_iter().map(said).collect()
    }

    #[test]
    fn a_claim_gets_the_smallest_volume_that_fits_and_each_volume_one_claim() {
        let volumes = [
            volume_of("big", "10Gi", json!({})),
            volume_of("small", "1Gi", json!({})),
            volume_of("many", "1Gi", json!({"accessModes": ["ReadWriteOnce", "ReadWriteMany"]})),
            volume_of("classy", "1Gi", json!({"storageClassName": "fast"})),
        ];
        let claims = [
            claim_of("a", "1Gi", json!({})),
            claim_of("b", "2Gi", json!({})),
            claim_of("c", "1Gi", json!({"accessModes": ["ReadWriteMany"]})),
            claim_of("d", "1Gi", json!({"storageClassName": "fast"})),
            claim_of("e", "1Gi", json!({"storageClassName": "fast"})),
            claim_of("f", "1Gi", json!({"storageClassName": ""})),
        ];
        assert_eq!(
            bound(&volumes, &claims),
            [
                "/small",
                "/big",
                "/many",
                "/classy",
                "folder",
                "no persistent volumes available for this claim and no storage class is set"
            ]
        );
    }

    #[test]
    fn names_go_before_what_fits() {
        let of = |name: &str| json!({"claimRef": {"name": name, "namespace": "default"}});
        let volumes = [volume_of("x", "1Gi", json!({})), volume_of("y", "1Gi", of("b"))];
        let claims = [
            claim_of("a", "1Gi", json!({})),
            claim_of("b", "1Gi", json!({})),
            claim_of("c", "1Gi", json!({"volumeName": "x"})),
        ];
        assert_eq!(bound(&volumes, &claims), ["folder", "/y", "/x"]);
        let named = |more| bound(&volumes, &[claim_of("z", "2Gi", more)]).remove(0);
        assert_eq!(named(json!({"volumeName": "none"})), "volume \"none\" not found");
        assert_eq!(named(json!({"volumeName": "y"})), "volume \"y\" already bound to a different claim.");
        assert_eq!(
            named(json!({"volumeName": "x"})),
            "Cannot bind to requested volume \"x\": requested PV is too small"
        );
    }

    #[test]
    fn a_volume_that_was_another_claims_is_not_given_to_one_of_the_same_name() {
        let of = |uid: &str| json!({"claimRef": {"name": "a", "namespace": "default", "uid": uid}});
        let volumes = [volume_of("x", "1Gi", of("old")), volume_of("y", "2Gi", of("new"))];
        let mut claim = claim_of("a", "1Gi", json!({}));
        claim.metadata.uid = Some("new".into());
        assert_eq!(bound(&volumes, std::slice::from_ref(&claim)), ["/y"]);
        assert_eq!(bound(&volumes[..1], &[claim]), ["folder"]);
    }

    #[test]
    fn a_selector_chooses_by_label_and_a_local_volume_is_a_directory() {
        let local = json!({"hostPath": null, "local": {"path": "/disks/y"}});
        let volumes = [volume_of("x", "1Gi", json!({})), volume_of("y", "1Gi", local)];
        let claim = claim_of("a", "1Gi", json!({"selector": {"matchLabels": {"disk": "y"}}}));
        let places = bind(&volumes.iter().collect::<Vec<_>>(), &[&claim]);
        let Ok(ClaimPlace::Local(source)) = &places[0] else { panic!("{places:?}") };
        assert_eq!((source.path.as_str(), source.type_.as_deref()), ("/disks/y", Some("Directory")));
    }
}
