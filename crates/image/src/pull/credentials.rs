//! Who we are to a registry: docker's `config.json`, and the same document as a Kubernetes pull secret.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::helper;
use super::registry_error::RegistryError;
use crate::error::{Error, Result};

/// What docker calls its own registry in this file.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
const MAX_FILE: u64 = 1 << 20;
/// docker pads; people who write secrets by hand sometimes do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Credentials for registries, as `docker login` keeps them.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DockerConfig {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "lowercase", default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

/// One way to be somebody.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// Name and password.
    Basic { user: String, password: String },
    /// To be exchanged for tokens (OAuth 2 refresh token).
    Identity(String),
    /// A token as it is.
    Bearer(String),
}

impl Credential {
    /// `Authorization: Basic …`
    pub(crate) fn basic(user: &str, password: &str) -> String {
        format!("Basic {}", BASE64.encode(format!("{user}:{password}")))
    }

    /// Who that is, for messages.
    pub(crate) fn who(&self) -> String {
        match self {
            Credential::Basic { user, .. } => format!("user {user:?}"),
            Credential::Identity(_) => "an identity token".to_owned(),
            Credential::Bearer(_) => "a registry token".to_owned(),
        }
    }
}

/// Never the secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.who())
    }
}

impl fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerConfig").field("hosts", &self.auths.keys()).finish_non_exhaustive()
    }
}

impl DockerConfig {
    /// A user's own file, credential helpers included. `name` is for messages.
    ///
    /// # Errors
    /// [`Error::Document`] for what is no such document.
    pub fn parse(bytes: &[u8], name: &str) -> Result<DockerConfig> {
        serde_json::from_slice(bytes).map_err(|e| Error::document(name)(without_contents(e)))
    }

    /// A pull secret: the value of `.dockerconfigjson`, or of the older `.dockercfg`.
    ///
    /// Helpers in it are ignored: who may write a Secret does not decide what is executed on the node.
    ///
    /// # Errors
    /// [`Error::Document`] for what is no such document.
    pub fn parse_secret(bytes: &[u8], name: &str) -> Result<DockerConfig> {
        let failed = |e| Error::document(name)(without_contents(e));
        let value: BTreeMap<String, serde_json::Value> = serde_json::from_slice(bytes).map_err(failed)?;
        let auths = if value.contains_key("auths") {
            DockerConfig::parse(bytes, name)?.auths
        } else {
            serde_json::from_slice(bytes).map_err(failed)?
        };
        Ok(DockerConfig { auths, ..DockerConfig::default() })
    }

    /// Reads a user's file; one that is not there is empty.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Document`].
    pub fn read(path: &Path) -> Result<DockerConfig> {
        match super::read_bounded(path, MAX_FILE)? {
            Some(bytes) => DockerConfig::parse(&bytes, &path.display().to_string()),
            None => Ok(DockerConfig::default()),
        }
    }

    /// All that may open this registry for this repository, the most specific first. Also what failed on the way: a
    /// helper that is not there does not stop anyone from what is public.
    pub(crate) fn find(&self, registry: &str, repository: &str) -> (Vec<Credential>, Vec<RegistryError>) {
        let (mut found, mut failed) = (Vec::new(), Vec::new());
        let server = if registry == "docker.io" { DOCKER_HUB } else { registry };
        let helper = [registry, server].iter().find_map(|key| self.cred_helpers.get(*key));
        for program in helper.into_iter().chain(Some(&self.creds_store).filter(|name| !name.is_empty())) {
            match helper::get(program, server) {
                Ok(credential) => found.extend(credential),
                Err(error) => failed.push(error),
            }
        }
        let mut entries: Vec<_> = self
            .auths
            .iter()
            .filter_map(|(key, entry)| Some((matches(key, registry, repository)?, key, entry)))
            .collect();
        entries.sort_by_key(|(path, ..)| std::cmp::Reverse(*path));
        for (_, key, entry) in entries {
            match entry.credential() {
                Ok(credential) => found.extend(credential),
                Err(reason) => failed.push(RegistryError::Credentials { host: key.clone(), reason }),
            }
        }
        (found, failed)
    }
}

/// Of all credentials that are at hand for an image of `reference`'s registry: secrets first, as the kubelet does.
pub(crate) fn all(
    secrets: &[DockerConfig],
    own: &DockerConfig,
    registry: &str,
    repository: &str,
) -> (Vec<Credential>, Vec<RegistryError>) {
    const MOST: usize = 8;
    let (mut found, mut failed): (Vec<Credential>, Vec<RegistryError>) = Default::default();
    for config in secrets.iter().chain([own]) {
        let (some, problems) = config.find(registry, repository);
        found.extend(some);
        failed.extend(problems);
    }
    let mut unique: Vec<Credential> = Vec::new();
    for credential in found {
        if !unique.contains(&credential) && unique.len() < MOST {
            unique.push(credential);
        }
    }
    (unique, failed)
}

impl Entry {
    /// Nothing for the empty entries that docker leaves beside a credentials store.
    fn credential(&self) -> Result<Option<Credential>, &'static str> {
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credential::Bearer(self.registrytoken.clone())));
        }
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credential::Identity(self.identitytoken.clone())));
        }
        if !self.auth.is_empty() {
            let decoded = BASE64.decode(self.auth.trim()).map_err(|_| "its `auth` is not base64")?;
            let text = String::from_utf8(decoded).map_err(|_| "its `auth` is not UTF-8")?;
            let (user, password) = text.split_once(':').ok_or("its `auth` is not `user:password`")?;
            // Old versions of docker padded with zero bytes.
            let password = password.trim_end_matches('\0').to_owned();
            return Ok(Some(Credential::Basic { user: user.to_owned(), password }));
        }
        if self.username.is_empty() {
            return Ok(None);
        }
        Ok(Some(Credential::Basic { user: self.username.clone(), password: self.password.clone() }))
    }
}

/// Whether a key of `auths` is about this repository, and how much of its path it names.
///
/// Keys are `HOST`, `HOST:PORT`, `HOST/PATH`, each also as a URL with docker's `/v1/` or `/v2/` behind it. As in
/// the kubelet (Kubernetes, "Images", "Interpretation of config.json"), `*` stands for one label of the host or a part of one.
fn matches(key: &str, registry: &str, repository: &str) -> Option<usize> {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = path.trim_end_matches('/');
    let path = if matches!(path, "v1" | "v2") { "" } else { path };
    let host = if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host };
    let inside =
        || repository.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    (is_host(host, registry) && (path.is_empty() || inside())).then_some(path.len())
}

fn is_host(pattern: &str, registry: &str) -> bool {
    let split = |text: &str| match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host.to_owned(), port.to_owned()),
        _ => (text.to_owned(), String::new()),
    };
    let ((pattern, pattern_port), (host, port)) = (split(pattern), split(registry));
    let labels: Vec<_> = pattern.split('.').collect();
    let parts: Vec<_> = host.split('.').collect();
    pattern_port == port
        && labels.len() == parts.len()
        && labels.iter().zip(parts).all(|(label, part)| is_label(label, part))
}

/// One star at most means something; the kubelet's globs know more, which nobody writes into host names.
fn is_label(pattern: &str, label: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern.eq_ignore_ascii_case(label),
        Some((before, after)) => {
            label.len() >= before.len() + after.len() && label.starts_with(before) && label.ends_with(after)
        }
    }
}

/// serde's messages quote what they found, which here may be a password.
fn without_contents(error: serde_json::Error) -> serde_json::Error {
    use serde::de::Error as _;
    let what = match error.classify() {
        serde_json::error::Category::Data => "a field is not of the type that it should be",
        _ => "not JSON",
    };
    serde_json::Error::custom(format!("{what}, at line {} column {}", error.line(), error.column()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(user: &str, password: &str) -> Credential {
        Credential::Basic { user: user.into(), password: password.into() }
    }

    #[test]
    fn what_docker_login_writes_is_understood() {
        // `printf alice:s3cret: | base64`: only the first colon separates.
        let text = br#"{"auths":{"https://index.docker.io/v1/":{"auth":"YWxpY2U6czNjcmV0Og=="},
            "reg.example.test:5000":{"username":"bob","password":"pw"},
            "token.example.test":{"auth":"PHRva2VuPjo=","identitytoken":"refresh"},
            "plain.example.test":{"registrytoken":"bearer"},
            "empty.example.test":{}},
            "HttpHeaders":{"User-Agent":"x"},"currentContext":"y"}"#;
        let config = DockerConfig::parse(text, "config.json").unwrap();
        let find = |host: &str| config.find(host, "a/b").0;
        assert_eq!(find("docker.io"), [basic("alice", "s3cret:")]);
        assert_eq!(find("reg.example.test:5000"), [basic("bob", "pw")]);
        assert_eq!(find("reg.example.test"), []);
        assert_eq!(find("token.example.test"), [Credential::Identity("refresh".into())]);
        assert_eq!(find("plain.example.test"), [Credential::Bearer("bearer".into())]);
        assert_eq!(find("empty.example.test"), []);
        assert_eq!(find("other.example.test"), []);
    }

    #[test]
    fn secrets_match_as_the_kubelet_does() {
        let entry = |user: &str| format!(r#"{{"username":"{user}","password":"p"}}"#);
        let text = format!(
            r#"{{"auths":{{"*.example.test":{},"reg.example.test/team":{},"https://reg.example.test/v2/":{}}}}}"#,
            entry("any"),
            entry("team"),
            entry("host"),
        );
        let config = DockerConfig::parse_secret(text.as_bytes(), "secret").unwrap();
        let users = |host: &str, repository: &str| -> Vec<String> {
            let found = config.find(host, repository).0;
            found.iter().map(|c| c.who().replace("user ", "").replace('"', "")).collect()
        };
        assert_eq!(users("reg.example.test", "team/tool"), ["team", "any", "host"]);
        assert_eq!(users("reg.example.test", "teams/tool"), ["any", "host"]);
        assert_eq!(users("other.example.test", "x"), ["any"]);
        assert_eq!(users("a.b.example.test", "x"), [""; 0]);
        assert_eq!(users("example.test", "x"), [""; 0]);
        assert_eq!(users("reg.example.test:5000", "x"), [""; 0]);
        let old = DockerConfig::parse_secret(br#"{"reg.example.test":{"auth":"YTpi"}}"#, "old").unwrap();
        assert_eq!(old.find("reg.example.test", "x").0, [basic("a", "b")]);
    }

    #[test]
    fn a_secret_executes_nothing() {
        let text = br#"{"auths":{},"credsStore":"evil","credHelpers":{"reg.example.test":"evil"}}"#;
        let (found, failed) = DockerConfig::parse_secret(text, "s").unwrap().find("reg.example.test", "x");
        assert!(found.is_empty() && failed.is_empty(), "{failed:?}");
        let (_, failed) = DockerConfig::parse(text, "s").unwrap().find("reg.example.test", "x");
        assert_eq!(failed.len(), 2, "{failed:?}");
    }

    #[test]
    fn errors_and_debug_texts_never_show_secrets() {
        let text = br#"{"auths":{"a.test":{"username":"bob","password":["hunter2"]}}}"#;
        let error = DockerConfig::parse(text, "config.json").unwrap_err();
        let shown = format!("{error:?} {:?}", std::error::Error::source(&error).map(ToString::to_string));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!format!("{:?}", basic("u", "hunter2")).contains("hunter2"));
        let good = DockerConfig::parse(br#"{"auths":{"a.test":{"password":"hunter2"}}}"#, "").unwrap();
        assert!(!format!("{good:?}").contains("hunter2"));
        let bad = DockerConfig::parse(br#"{"auths":{"a.test":{"auth":"!!"}}}"#, "").unwrap();
        let (found, failed) = bad.find("a.test", "x");
        assert!(found.is_empty());
        assert_eq!(
            failed[0].to_string(),
            "the credentials for a.test cannot be used: its `auth` is not base64"
        );
    }
}
