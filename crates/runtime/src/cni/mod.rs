//! A pod's network by CNI plugins: the Container Network Interface, as github.com/containernetworking/cni SPEC.md has it.
//!
//! [`find_configuration`] says which network there is (as libcni: the first file by name), [`attach`] wires a sandbox's
//! network namespace to it, [`check`] asks whether it still is, [`detach`] gives back what it has (addresses, port
//! mappings). The plugins are programs of the node's: `protocol` runs one, `answer` reads what it says, and what was
//! begun is on record (`record`) before it begins, below `<lib>`, since a plugin's own books outlive a reboot too.
//!
//! No namespace is pinned by a mount: a plugin is given `/proc/PID/fd/N` of who holds the namespace while it works. Where
//! nobody holds it any more (every process of the pod was killed), DEL is called without one, as the specification has
//! it.
//!
//! Deliberately absent: several networks in a pod, and the verbs that are about no pod (GC, STATUS, VERSION).

mod answer;
mod attachment;
mod configuration;
mod protocol;
mod record;

pub use attachment::{attach, check, detach};
pub use configuration::{Configuration, find_configuration};
pub use record::{is_attached, list, list_marked};

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where configurations are, as libcni has it.
pub const CONFIGURATION_FOLDER: &str = "/etc/cni/net.d";
/// Where plugins are: libcni's place, then distributions' (Debian and Alpine; Fedora).
pub const PLUGIN_FOLDERS: [&str; 3] = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];

/// The device that a pod gets, besides its loopback.
const INTERFACE: &str = "eth0";
/// How long one plugin may take to wire. A kubelet gives a sandbox two minutes as a whole.
const ADD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one plugin may take to give back, or to look.
const DEL_TIMEOUT: Duration = Duration::from_secs(20);

/// Where this machine's network configuration and its plugins are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Places {
    /// The folder of configurations.
    pub configurations: PathBuf,
    /// The folders of plugins, the first that has one counts.
    pub plugins: Vec<PathBuf>,
}

impl Default for Places {
    fn default() -> Self {
        Places {
            configurations: CONFIGURATION_FOLDER.into(),
            plugins: PLUGIN_FOLDERS.map(PathBuf::from).into(),
        }
    }
}

/// Which of a plugin's verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Add,
    Check,
    Delete,
}

impl Verb {
    /// `CNI_COMMAND`
    fn command(self) -> &'static str {
        match self {
            Verb::Add => "ADD",
            Verb::Check => "CHECK",
            Verb::Delete => "DEL",
        }
    }

    /// As libcni says it.
    fn in_words(self) -> &'static str {
        match self {
            Verb::Add => "add",
            Verb::Check => "check",
            Verb::Delete => "delete",
        }
    }

    fn timeout(self) -> Duration {
        match self {
            Verb::Add => ADD_TIMEOUT,
            Verb::Check | Verb::Delete => DEL_TIMEOUT,
        }
    }
}

/// Why a network could not be had, looked at or given back. In the words of libcni and of CRI runtimes where they have
/// some.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A configuration cannot be read.
    #[error("cannot read the network configuration {}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// A configuration is none.
    #[error("the network configuration {} is not valid: {reason}", path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An ADD has failed; what it and those before it had done is undone.
    #[error("failed to setup network for sandbox {sandbox:?}")]
    SetUp {
        /// The sandbox.
        sandbox: String,
        /// Why.
        #[source]
        source: Box<PluginError>,
    },
    /// A DEL has failed.
    #[error("failed to destroy network for sandbox {sandbox:?}")]
    Destroy {
        /// The sandbox.
        sandbox: String,
        /// Why.
        #[source]
        source: Box<PluginError>,
        /// Its record, without which it is not tried again.
        record: PathBuf,
    },
    /// A CHECK has failed.
    #[error("the network of sandbox {sandbox:?} is not as it was set up")]
    Check {
        /// The sandbox.
        sandbox: String,
        /// Why.
        #[source]
        source: Box<PluginError>,
    },
    /// Somebody else is at it.
    #[error("another process still sets up or destroys the network of sandbox {sandbox:?}")]
    Busy {
        /// The sandbox.
        sandbox: String,
    },
    /// The record cannot be written, read or removed.
    #[error("cannot {action} {}", path.display())]
    Record {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the kernel said, or what is wrong with what is there.
        #[source]
        source: std::io::Error,
    },
}

/// What one plugin has failed in.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// It is in none of the folders.
    #[error("failed to find plugin {name:?} in path [{}]", folders_in_words(folders))]
    Missing {
        /// Its name (`type`).
        name: String,
        /// Where it was looked for.
        folders: Vec<PathBuf>,
    },
    /// It has said so, or ended without an answer that is one.
    #[error("plugin type={plugin:?} name={network:?} failed ({verb}): {reason}")]
    Failed {
        /// Its name (`type`).
        plugin: String,
        /// The network's name.
        network: String,
        /// `add`, `check` or `delete`.
        verb: &'static str,
        /// Its words, or what it did.
        reason: String,
    },
    /// It cannot be executed.
    #[error("cannot execute {}", path.display())]
    Execute {
        /// The program.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
}

impl NetworkError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            NetworkError::Configuration { .. } | NetworkError::Unreadable { .. } => {
                Some("mend the file, or run without a network of CNI: `--cni-conf-dir none`".to_owned())
            }
            NetworkError::SetUp { source, .. } if matches!(**source, PluginError::Missing { .. }) => Some(
                "install the plugins (on Debian: containernetworking-plugins), name their folder with --cni-bin-dir, or run \
                 without a network of CNI: `--cni-conf-dir none`"
                    .to_owned(),
            ),
            NetworkError::SetUp { .. } => {
                Some("pods can do without: `--cni-conf-dir none` leaves them their loopback".to_owned())
            }
            NetworkError::Destroy { record, .. } => {
                Some(format!("to give up what the plugin holds for the pod: `rm -r {}`", record.display()))
            }
            _ => None,
        }
    }

    fn record(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> NetworkError {
        let path = path.to_owned();
        move |source| NetworkError::Record { action, path, source }
    }
}

fn folders_in_words(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(" ")
}
