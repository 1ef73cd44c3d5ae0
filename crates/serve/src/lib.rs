//! The doors of a node: a Kubernetes API for one machine that the real `kubectl` talks to.
//!
//! ```text
//! kubectl ─TLS─ http ─ route ─ verbs ─ store ─ journal        objects as the API knows them, kept
//!                        │       │       │
//!                        │       └ decode, patch, selector, table     pure: bytes and values in, values out
//!                        │               │
//!                        ├ logs          └ pods ─ agent::Client ─ a supervisor a pod       what really runs
//!                        └ websocket or remote_command (SPDY) ─ session (exec, attach) ─ executor: our own program again
//! ```
//!
//! The store is to this node what etcd is to a cluster, [`pods`] what the kubelet is: it brings what runs to what is
//! stored, through `agent`'s client alone, and writes what became of it into the objects' status. So a node that is killed
//! loses nothing: the objects are in the journal, the pods run on under their supervisors, and the next start finds both.
//!
//! Architecture invariant: async lives here and nowhere below. Nothing async forks: supervisors are executed by
//! `agent`, and a process in a container is made by [`executor`], a process of its own with one thread.
//! Architecture invariant: a write that was answered is on the disk. What can be found again (status, events) is not
//! written at all.
//! Architecture invariant: every queue and buffer has a bound. A watcher has no queue: it has a place in the store's
//! history, and is told that it is gone (410) when the history has left it behind.
//! Architecture invariant: nobody without a client certificate of this node's own authority, or this user's rights on
//! its socket, gets past 401.
//!
//! Deliberately absent: scheduling, controllers and services (a cluster has those), server-side apply (refused
//! by name), answers in protobuf (clients take JSON), HTTP/2 (kubectl speaks 1.1 as well, and an upgrade needs it), and any kind that is not done.
#![forbid(unsafe_code)]

mod accept;
mod claims;
mod controllers;
mod daemon_sets;
mod decode;
mod delete;
mod discovery;
mod ephemeral;
mod error;
mod events;
pub mod executor;
mod hangup;
mod http;
mod images;
mod journal;
mod kinds;
mod list;
mod logs;
mod metrics;
mod mount_events;
mod node;
mod notify;
mod object;
mod openapi;
mod patch;
mod pki;
mod pods;
mod port_forward;
mod propagation;
mod protobuf;
mod query;
mod remote_command;
mod route;
mod selector;
mod server;
mod session;
mod static_pods;
mod store;
mod streams;
mod table;
mod verbs;
mod watch;
mod websocket;

pub use error::NodeError;
pub use pki::kubeconfig_path;
pub use server::{Config, Ready, run};
