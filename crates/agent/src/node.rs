//! What of this machine a pod's variables, files and scores depend on: read once where it is needed.

use crate::root::Root;
use manifest::cri::NodeFacts;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// The node's name and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    name: String,
    memory_bytes: i64,
    cpu_millis: i64,
    storage_bytes: i64,
    recursive_read_only: bool,
    host_ips: [String; 1],
}

/// The node's address. With a network that pods are wired to it is the one that a packet to elsewhere would have as its
/// source; loopback, where the API is served too, without, and where the node itself reaches nobody.
#[must_use]
pub fn read_address(wired: bool) -> IpAddr {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    if !wired {
        return loopback;
    }
    // Connecting a datagram socket looks up a route and sends nothing. An address of documentation (RFC 5737), so that no
    // network has a route of its own for it.
    let route = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    route().map_or(loopback, |address| address.ip())
}

impl Node {
    /// The node with this root. What cannot be read counts as nothing: then a pod that asks for it is told 0.
    #[must_use]
    pub fn read(root: &Root) -> Node {
        Node::read_wired(root, false)
    }

    /// The same for a pod that may have a network of CNI.
    #[must_use]
    pub(crate) fn read_wired(root: &Root, wired: bool) -> Node {
        let info = rustix::system::sysinfo();
        let memory = u128::from(info.totalram) * u128::from(info.mem_unit);
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        let storage = rustix::fs::statvfs(&root.lib)
            .map_or(0, |stat| u128::from(stat.f_blocks) * u128::from(stat.f_frsize));
        let clamped = |number: u128| i64::try_from(number).unwrap_or(i64::MAX);
        Node {
            name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            memory_bytes: clamped(memory),
            cpu_millis: clamped(cpus as u128 * 1000),
            storage_bytes: clamped(storage),
            recursive_read_only: sys::features::Features::ask().mount_setattr == sys::features::Support::Yes,
            host_ips: [read_address(wired).to_string()],
        }
    }

    /// As `manifest` takes it.
    #[must_use]
    pub fn facts(&self) -> NodeFacts<'_> {
        NodeFacts {
            name: &self.name,
            host_ips: &self.host_ips,
            pod_ips: &[],
            memory_bytes: self.memory_bytes,
            cpu_millis: self.cpu_millis,
            storage_bytes: self.storage_bytes,
            recursive_read_only: self.recursive_read_only,
        }
    }
}
