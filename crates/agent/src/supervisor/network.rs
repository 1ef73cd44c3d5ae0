//! The wiring of the pod's network by CNI plugins: in a child of ours, since a plugin may take its time. What it has is
//! given back when the sandbox is removed, which is `runtime`'s.

use super::Supervisor;
use super::acts::chain;
use super::tasks::Wired;
use crate::lifecycle::{Event, LIMITED};
use crate::volumes::node_files;
use manifest::cri::{NamespaceMode, PodSandboxConfig};
use runtime::cni::{self, Configuration, NetworkError};

impl Supervisor {
    /// The network that the sandbox is to be wired to: none where the pod is on the node's, or this machine has none.
    pub(super) fn find_network(
        &self,
        config: &PodSandboxConfig,
    ) -> Result<Option<Configuration>, NetworkError> {
        let own = config.namespace_options.network != NamespaceMode::Node;
        let Some(places) = self.record.network.as_ref().filter(|_| own) else {
            return Ok(None);
        };
        cni::find_configuration(places)
    }

    /// Ordered; [`Supervisor::wired`] is what comes of it.
    pub(super) fn wire(&mut self, network: Configuration) {
        let (Some(sandbox), Some(places)) = (&self.sandbox, &self.record.network) else { return };
        let (id, config) = (sandbox.id().to_owned(), sandbox.config().clone());
        if !config.port_mappings.is_empty() && !network.has_capability("portMappings") {
            let message = format!(
                "no port of the node leads to the pod: network {:?} has no plugin with the capability portMappings",
                network.name
            );
            self.queue.push_back(Event::Warning { reason: LIMITED.into(), message, hint: None });
        }
        let namespace = sandbox.network_path().unwrap_or_default();
        let (dirs, places) = (self.dirs.clone(), places.clone());
        let wire = move || {
            let wired = cni::attach(&dirs, &id, &config, network, &places, &namespace);
            wired.map(|ips| ips.iter().map(ToString::to_string).collect()).map_err(|e| (chain(&e), e.hint()))
        };
        if let Err(message) = self.tasks.wire(wire) {
            self.wired(Err((message, None)));
        }
    }

    /// The pod has addresses; or not, and then nothing is left of its sandbox.
    pub(super) fn wired(&mut self, wired: Wired) {
        let done = wired.and_then(|ips| {
            let config = self.sandbox.as_ref().map(|sandbox| sandbox.config().clone()).unwrap_or_default();
            let folder = self.root.pod_lib(&self.uid);
            let written = node_files::write(&folder, &self.record.pod, config.dns_config.as_ref(), &ips);
            written.map(|_| ips).map_err(|(path, e)| (format!("cannot write {}: {e}", path.display()), None))
        });
        match done {
            Ok(ips) => self.queue.extend([Event::NetworkUp { ips }, Event::SandboxReady]),
            Err((message, hint)) => {
                if let Some(Err(left)) = self.sandbox.take().map(runtime::Sandbox::remove) {
                    // The next try, or `rm`, tries again.
                    tracing::warn!(error = %chain(&left), "a sandbox without a network left something");
                }
                let message = format!("Failed to create pod sandbox: {message}");
                self.queue.push_back(Event::SandboxFailed { message, hint });
            }
        }
    }

    /// Asks the plugins whether the network of a sandbox that was taken over still is what it was: CNI's CHECK.
    pub(super) fn look_at_network(&mut self) {
        let Some((id, namespace)) =
            self.sandbox.as_ref().and_then(|s| Some((s.id().to_owned(), s.network_path()?)))
        else {
            return;
        };
        let dirs = self.dirs.clone();
        if !cni::is_attached(&dirs, &id) {
            return;
        }
        let look = move || cni::check(&dirs, &id, &namespace).err().map(|error| chain(&error));
        if let Err(error) = self.tasks.look_at_network(look) {
            tracing::error!(error, "the pod's network cannot be looked at");
        }
    }

    /// Without a network of CNI, ports of the node lead nowhere.
    pub(super) fn note_ports(&mut self) {
        let Some(config) = self.sandbox.as_ref().map(runtime::Sandbox::config) else { return };
        if config.port_mappings.is_empty() {
            return;
        }
        let message = "no port of the node leads to the pod: without a network configuration it has only its own loopback";
        let hint = "`hostNetwork: true`, or a CNI configuration (docs/guides/network.md)".to_owned();
        let (reason, message) = (LIMITED.to_owned(), message.to_owned());
        self.queue.push_back(Event::Warning { reason, message, hint: Some(hint) });
    }
}
