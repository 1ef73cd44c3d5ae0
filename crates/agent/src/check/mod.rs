//! What a probe or a lifecycle hook does: a command in the container, a request over HTTP or gRPC, a connection. Commands
//! and what is plain on the network are done in steps in the supervisor's loop ([`Command`], [`Dial`]); the rest by a child
//! of the supervisor that may wait as long as it likes, with everything resolved before.
//!
//! Texts are those of the kubelet's probes (`pkg/probe`) and of Go's network library, which users know.

mod dial;
mod exec;
mod grpc;
mod http;
mod net;
mod tls;

pub(crate) use dial::{Dial, Progress};
pub(crate) use exec::Command;

use crate::lifecycle::Outcome;
use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use net::Deadline;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;
use sys::namespace::Namespaces;

/// The most of what a probe's command or server says that is looked at (`maxReadLength`, `maxRespBodyLength`).
const MAX_OUTPUT_BYTES: usize = 10 * 1024;

/// Where a check without a host goes. The kubelet takes the pod's address; a pod has only its loopback here.
const POD_HOST: &str = "127.0.0.1";

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Check {
    /// A command in the container.
    Exec(Vec<String>),
    /// A GET.
    Http(http::Get),
    /// A connection.
    Tcp {
        /// A name or an address.
        host: String,
        /// To which port.
        port: u16,
    },
    /// `grpc.health.v1.Health/Check`
    Grpc {
        /// To which port.
        port: u16,
        /// `service`, often empty.
        service: String,
    },
}

/// What a hook does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Something that can fail.
    Check(Check),
    /// Nothing, for a while.
    Sleep(Duration),
}

/// What a probe does.
///
/// # Errors
/// In the kubelet's words: a port that has no number.
pub(crate) fn of_probe(probe: &api::Probe, container: &api::Container) -> Result<Check, String> {
    let given = (&probe.exec, &probe.http_get, &probe.tcp_socket, &probe.grpc);
    match given {
        (Some(exec), ..) => Ok(Check::Exec(exec.command.clone().unwrap_or_default())),
        (_, Some(get), ..) => Ok(Check::Http(http::Get::of(get, port(&get.port, container)?))),
        (_, _, Some(socket), _) => Ok(Check::Tcp {
            host: socket.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| POD_HOST.into()),
            port: port(&socket.port, container)?,
        }),
        (_, _, _, Some(grpc)) => Ok(Check::Grpc {
            port: number(i64::from(grpc.port))?,
            service: grpc.service.clone().unwrap_or_default(),
        }),
        _ => Err(format!("missing probe handler for container {}", container.name)),
    }
}

/// What a hook does.
///
/// # Errors
/// In the kubelet's words. A `tcpSocket` hook fails there whenever it is run.
pub(crate) fn of_hook(hook: &api::LifecycleHandler, container: &api::Container) -> Result<Hook, String> {
    match (&hook.exec, &hook.http_get, &hook.sleep) {
        (Some(exec), ..) => Ok(Hook::Check(Check::Exec(exec.command.clone().unwrap_or_default()))),
        (_, Some(get), _) => Ok(Hook::Check(Check::Http(http::Get::of(get, port(&get.port, container)?)))),
        (_, _, Some(sleep)) => {
            Ok(Hook::Sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or_default())))
        }
        _ => {
            Err("invalid handler: hooks are exec, httpGet or sleep; tcpSocket fails in Kubernetes too".into())
        }
    }
}

/// A port by number, or by its name among the container's.
fn port(port: &IntOrString, container: &api::Container) -> Result<u16, String> {
    match port {
        IntOrString::Int(value) => number(i64::from(*value)),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|p| p.name.as_deref() == Some(name));
            match named {
                Some(port) => number(i64::from(port.container_port)),
                None => name.parse().map_err(|_| format!("couldn't find port: {name}")),
            }
        }
    }
}

fn number(port: i64) -> Result<u16, String> {
    u16::try_from(port).ok().filter(|p| *p > 0).ok_or_else(|| format!("invalid port number: {port}"))
}

impl Check {
    /// A name to be looked up on the node, before the pod's network is entered.
    fn target(&self) -> Option<(&str, u16)> {
        match self {
            Check::Exec(_) => None,
            Check::Http(get) => Some((&get.host, get.port)),
            Check::Tcp { host, port } => Some((host, *port)),
            Check::Grpc { port, .. } => Some((POD_HOST, *port)),
        }
    }

    /// What is said of it where it did not end in its time and had to be killed.
    pub(crate) fn timed_out(&self, timeout: Duration) -> String {
        match self {
            Check::Exec(command) => exec::timed_out(command, timeout),
            Check::Http(get) => get.timed_out(),
            Check::Tcp { host, port } => format!("dial tcp {host}:{port}: i/o timeout"),
            Check::Grpc { port, .. } => grpc::timed_out(*port, timeout),
        }
    }

    /// The first half: looks the host up, and goes into the pod's network. Without it [`Check::probe`] goes nowhere.
    pub(crate) fn go_there(&self, init: BorrowedFd<'_>) -> Result<Option<SocketAddr>, String> {
        let Some((host, port)) = self.target() else { return Ok(None) };
        let address = net::look_up(host, port)?;
        sys::namespace::enter_of(init, Namespaces::NETWORK)
            .map_err(|errno| format!("cannot enter the pod's network: {errno}"))?;
        Ok(Some(address))
    }

    /// The second half, as a probe.
    pub(crate) fn probe(&self, address: Option<SocketAddr>, timeout: Duration) -> Outcome {
        let deadline = Deadline::after(timeout);
        match (self, address) {
            (Check::Exec(_), _) => Outcome::Error("a command is not run here".into()),
            (Check::Http(get), Some(address)) => get.probe(address, &deadline),
            (Check::Tcp { .. }, Some(address)) => match net::connect(address, &deadline) {
                Ok(_) => Outcome::Success,
                Err(text) => Outcome::Failure(text),
            },
            (Check::Grpc { service, .. }, Some(address)) => grpc::probe(address, service, &deadline, timeout),
            (_, None) => Outcome::Error("no address".into()),
        }
    }

    /// The second half, as a hook: for as long as it takes. Any answer over HTTP is a success, as for the kubelet.
    pub(crate) fn hook(&self, address: Option<SocketAddr>) -> Result<(), String> {
        match (self, address) {
            (Check::Http(get), Some(address)) => get.ask(address, &Deadline::never()).map(drop),
            _ => Err("no such hook".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn container() -> api::Container {
        serde_json::from_value(json!({"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}))
            .unwrap()
    }

    #[test]
    fn a_probe_is_resolved() {
        let of = |probe| of_probe(&serde_json::from_value(probe).unwrap(), &container());
        assert_eq!(of(json!({"exec": {"command": ["x"]}})), Ok(Check::Exec(vec!["x".into()])));
        let tcp = |host: &str, port| Ok(Check::Tcp { host: host.into(), port });
        assert_eq!(of(json!({"tcpSocket": {"port": "web"}})), tcp("127.0.0.1", 8080));
        assert_eq!(of(json!({"tcpSocket": {"host": "h", "port": 1}})), tcp("h", 1));
        assert_eq!(of(json!({"tcpSocket": {"port": "nosuch"}})), Err("couldn't find port: nosuch".into()));
        assert_eq!(of(json!({"tcpSocket": {"port": 0}})), Err("invalid port number: 0".into()));
        let grpc = Check::Grpc { port: 9, service: "s".into() };
        assert_eq!(of(json!({"grpc": {"port": 9, "service": "s"}})), Ok(grpc));
    }

    #[test]
    fn a_tcp_hook_fails_as_the_kubelets() {
        let hook = |hook| of_hook(&serde_json::from_value(hook).unwrap(), &container());
        assert!(hook(json!({"tcpSocket": {"port": 1}})).is_err());
        assert_eq!(hook(json!({"sleep": {"seconds": 3}})), Ok(Hook::Sleep(Duration::from_secs(3))));
    }
}
