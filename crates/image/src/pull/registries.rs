//! Where a registry is really asked: mirrors and certificates, from a small file of the administrator's.
//!
//! ```json
//! {
//!   "registries": {
//!     "docker.io": { "mirrors": ["mirror.example.test", "harbor.example.test/hub"] },
//!     "registry.example.test:5000": { "ca": "/etc/ssl/example.pem" },
//!     "*": { "mirrors": ["localhost:5000"] }
//!   }
//! }
//! ```
//!
//! A mirror is `[https://]HOST[:PORT][/PREFIX]`; the prefix comes before the name of the repository. Mirrors are asked in
//! their order, then the registry itself. `*` is for the registries that are not named.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::registry_error::RegistryError;
use crate::error::{Error, Result};

const MAX_FILE: u64 = 1 << 20;
/// For machines whose roots have no file of their own.
const OF_THE_MACHINE: &str = "/etc/rhizome/registries.json";
/// docker.io is a name; this is where it lives.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// Mirrors and certificates, by registry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registries {
    #[serde(default)]
    registries: BTreeMap<String, Settings>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    mirrors: Vec<String>,
    ca: Option<PathBuf>,
}

/// Whom to ask, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// With TLS.
    pub(crate) secure: bool,
    /// Host and port, as they are connected to.
    pub(crate) host: String,
    /// Host and port, as credentials and certificates are kept for them.
    pub(crate) registry: String,
    /// What comes before the repository's name, with a slash at its end.
    pub(crate) prefix: String,
    /// For a mirror: which registry it stands for.
    pub(crate) mirror_of: Option<String>,
}

impl Registries {
    /// Reads the text of such a file. `name` is for messages.
    ///
    /// # Errors
    /// [`Error::Document`] for what is no such document or has unknown fields, [`Error::Registry`] for an address that
    /// cannot be used.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Registries> {
        let registries: Registries = serde_json::from_slice(bytes).map_err(Error::document(name))?;
        for mirror in registries.registries.values().flat_map(|settings| &settings.mirrors) {
            parse_address(mirror)?;
        }
        Ok(registries)
    }

    /// Reads a file; one that is not there is empty.
    ///
    /// # Errors
    /// As [`Registries::parse`], and [`Error::Io`].
    pub fn read(path: &Path) -> Result<Registries> {
        match super::read_bounded(path, MAX_FILE)? {
            Some(bytes) => Registries::parse(&bytes, &path.display().to_string()),
            None => Ok(Registries::default()),
        }
    }

    /// The settings of a root's state folder, else the machine's.
    ///
    /// # Errors
    /// As [`Registries::read`].
    pub fn of_root(lib: &Path) -> Result<Registries> {
        let own = lib.join("registries.json");
        Registries::read(if own.exists() { &own } else { Path::new(OF_THE_MACHINE) })
    }

    /// Whom to ask for images of this registry: its mirrors in order, itself last.
    pub(crate) fn addresses(&self, registry: &str) -> Result<Vec<Address>, RegistryError> {
        let settings = self.registries.get(registry).or_else(|| self.registries.get("*"));
        let mut addresses = Vec::new();
        for mirror in settings.iter().flat_map(|settings| &settings.mirrors) {
            let mut address = parse_address(mirror)?;
            address.mirror_of = Some(registry.to_owned());
            addresses.push(address);
        }
        addresses.push(parse_address(registry)?);
        Ok(addresses)
    }

    /// The certificates that the host is to be known by, instead of those of the system.
    pub(crate) fn ca(&self, registry: &str) -> Option<&Path> {
        self.registries.get(registry)?.ca.as_deref()
    }
}

/// `[SCHEME://]HOST[:PORT][/PREFIX]`. Without a scheme it is `https`, and `http` on loopback (but for port 443).
fn parse_address(text: &str) -> Result<Address, RegistryError> {
    let fail = |reason| RegistryError::Address { address: text.to_owned(), reason };
    let (secure, rest) = match text.split_once("://") {
        Some(("https", rest)) => (Some(true), rest),
        Some(("http", rest)) => (Some(false), rest),
        Some(_) => return Err(fail("only https:// and http:// are known")),
        None => (None, text),
    };
    let (registry, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_matches('/');
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:[]".contains(&b);
    if registry.is_empty() || !rest.bytes().all(harmless) || prefix.split('/').any(|part| part == "..") {
        return Err(fail("it must be HOST, HOST:PORT or HOST/PREFIX"));
    }
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    };
    let loopback = is_loopback(host);
    let secure = secure.unwrap_or(!loopback || port == Some("443"));
    if !secure && !loopback {
        return Err(RegistryError::PlainHttp { address: text.to_owned() });
    }
    Ok(Address {
        secure,
        host: if registry == "docker.io" { DOCKER_HUB_HOST.to_owned() } else { registry.to_owned() },
        registry: registry.to_owned(),
        prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
        mirror_of: None,
    })
}

/// Whether it stays on this machine: `localhost`, 127.0.0.0/8, `[::1]`.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let read = |text: &str| {
            let a = parse_address(text).unwrap();
            format!("{} {} {}", if a.secure { "https" } else { "http" }, a.host, a.prefix)
        };
        assert_eq!(read("docker.io"), "https registry-1.docker.io ");
        assert_eq!(read("reg.example.test:5000"), "https reg.example.test:5000 ");
        assert_eq!(read("harbor.example.test/hub/"), "https harbor.example.test hub/");
        assert_eq!(read("localhost:5000"), "http localhost:5000 ");
        assert_eq!(read("localhost:443"), "https localhost:443 ");
        assert_eq!(read("127.1.2.3:80/a/b"), "http 127.1.2.3:80 a/b/");
        assert_eq!(read("[::1]:5000"), "http [::1]:5000 ");
        assert_eq!(read("https://localhost:5000"), "https localhost:5000 ");
        for bad in ["http://reg.example.test", "http://10.0.0.1:5000", "http://localhost.evil.test"] {
            assert!(matches!(parse_address(bad), Err(RegistryError::PlainHttp { .. })), "{bad}");
        }
        for bad in ["", "ftp://x", "https://", "user@host", "a/../b", "a?b", "a b"] {
            assert!(matches!(parse_address(bad), Err(RegistryError::Address { .. })), "{bad}");
        }
    }

    #[test]
    fn mirrors_come_first_and_in_order() {
        let text = br#"{"registries":{"docker.io":{"mirrors":["b.example.test","a.example.test/hub"]},
            "*":{"mirrors":["localhost:5000"]},"quiet.example.test":{"ca":"/x.pem"}}}"#;
        let registries = Registries::parse(text, "registries.json").unwrap();
        let hosts = |registry: &str| -> Vec<String> {
            registries.addresses(registry).unwrap().into_iter().map(|a| a.host).collect()
        };
        assert_eq!(hosts("docker.io"), ["b.example.test", "a.example.test", "registry-1.docker.io"]);
        assert_eq!(hosts("other.example.test"), ["localhost:5000", "other.example.test"]);
        assert_eq!(hosts("quiet.example.test"), ["quiet.example.test"]);
        assert_eq!(registries.ca("quiet.example.test"), Some(Path::new("/x.pem")));
        assert_eq!(registries.addresses("docker.io").unwrap()[0].mirror_of.as_deref(), Some("docker.io"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [
            &br#"{"registry":{}}"#[..],
            br#"{"registries":{"a.test":{"mirror":[]}}}"#,
            br#"{"registries":{"a.test":{"mirrors":["http://b.test"]}}}"#,
            b"[]x",
        ] {
            assert!(Registries::parse(bad, "registries.json").is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
