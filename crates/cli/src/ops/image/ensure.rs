//! The images of pods that are about to be created: pulled as their `imagePullPolicy` says, in this process, before there
//! is anything of the pods.

use super::progress::Drawing;
use super::pull;
use crate::args::Global;
use crate::exit::{Context as _, Result};
use crate::output;
use crate::world;
use image::{DockerConfig, PullDecision, PullOptions, PullPolicy, Store, message};
use k8s_openapi::api::core::v1::{Pod, Secret};
use manifest::Loaded;
use manifest::images::{self, PodImage};
use std::collections::BTreeSet;

/// Pulls what is to be pulled. Whatever is not here then is refused by name.
pub(crate) fn ensure(global: &Global, loaded: &Loaded) -> Result<()> {
    let root = world::root(global).open()?;
    let store = Store::open(root.images())?;
    let mut pulled = BTreeSet::new();
    for pod in loaded.pods() {
        let mut options = None;
        for PodImage { reference, policy, .. } in pod.spec.iter().flat_map(images::of) {
            // Validation has seen to it that the policy is known.
            let policy = policy.parse().unwrap_or(PullPolicy::IfNotPresent);
            if !needs_pull(&store, reference, policy)? || !pulled.insert(reference) {
                continue;
            }
            let options = match &mut options {
                Some(options) => options,
                empty => empty.insert(with_secrets(pull::options(&root.lib, None)?, pod, loaded)),
            };
            output::stderr_line(&message::pulling(reference));
            let drawing = Drawing::new(false);
            let result = store.pull(reference, options, &|progress| drawing.take(progress));
            drawing.end();
            result.context("nothing was created")?;
        }
    }
    Ok(())
}

/// Pulls one image if it is not here.
pub(crate) fn ensure_one(global: &Global, reference: &str) -> Result<()> {
    let root = world::root(global).open()?;
    let store = Store::open(root.images())?;
    if needs_pull(&store, reference, PullPolicy::IfNotPresent)? {
        output::stderr_line(&message::pulling(reference));
        let drawing = Drawing::new(false);
        let result =
            store.pull(reference, &pull::options(&root.lib, None)?, &|progress| drawing.take(progress));
        drawing.end();
        result?;
    }
    Ok(())
}

fn needs_pull(store: &Store, reference: &str, policy: PullPolicy) -> Result<bool> {
    let decision = store.pull_decision(reference, policy).context(format!("image {reference}"))?;
    Ok(decision == PullDecision::Pull)
}

/// With the pod's `imagePullSecrets`, as far as they are among what was loaded. As for the kubelet, one that is not to be
/// had is no error yet.
fn with_secrets(mut options: PullOptions, pod: &Pod, loaded: &Loaded) -> PullOptions {
    let wanted = pod.spec.as_ref().and_then(|spec| spec.image_pull_secrets.as_deref()).unwrap_or_default();
    let mut unusable = Vec::new();
    for name in wanted.iter().map(|reference| reference.name.as_str()) {
        let here = |secret: &&Secret| {
            secret.metadata.name.as_deref() == Some(name)
                && secret.metadata.namespace == pod.metadata.namespace
        };
        match loaded.secrets().find(here).and_then(credentials) {
            Some(config) => options.secrets.push(config),
            None => unusable.push(name),
        }
    }
    if !unusable.is_empty() {
        output::warning(&format!(
            "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
            unusable.join(", ")
        ));
    }
    options
}

fn credentials(secret: &Secret) -> Option<DockerConfig> {
    let data = secret.data.as_ref()?;
    let value = data.get(".dockerconfigjson").or_else(|| data.get(".dockercfg"))?;
    DockerConfig::parse_secret(&value.0, "pull secret").ok()
}
