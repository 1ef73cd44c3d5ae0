//! The network of a pod, for who forwards connections into it.

use super::{Client, ClientError, PodView, Result};
use runtime::Network;

impl PodView {
    /// The network namespace that the pod's containers share.
    ///
    /// # Errors
    /// None of them runs.
    pub fn network(&self, client: &Client) -> Result<Network> {
        let dirs = client.root.runtime_dirs();
        let mut failed = None;
        // One that ends meanwhile is no matter while there is another.
        for container in self.state().containers.iter().filter(|container| container.running()) {
            match runtime::network(&dirs, &container.id) {
                Ok(network) => return Ok(network),
                Err(error) => failed = Some(error),
            }
        }
        let container = self.state().containers.first().map(|c| c.name.clone()).unwrap_or_default();
        let stopped = ClientError::NotRunning { pod: self.pod.key.clone(), container };
        Err(failed.map_or(stopped, |error| ClientError::Runtime(Box::new(error))))
    }
}
