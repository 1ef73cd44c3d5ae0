//! One registry over HTTP: requests, and becoming whom it lets in (OCI distribution spec 1.1, docker's token
//! authentication).
//!
//! **Architecture invariant:** credentials go to the registry (or mirror) that they are kept for, and to the token
//! service that it names, over TLS or on loopback. Never along with a redirect to another host.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::challenge::{Challenge, parse_challenges};
use super::credentials::Credential;
use super::registries::{Address, is_loopback};
use super::registry_error::RegistryError;
use crate::error::{Error, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Until headers come; some registries fetch from elsewhere first.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
/// For a few kilobytes, 4 MiB at most.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// Nobody waits longer because a registry says so.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Of an error's text, and of a token service's answer.
const MAX_ANSWER: u64 = 256 * 1024;
const MAX_MESSAGE: usize = 300;
/// Tokens in a row of which not one lets us in.
const MAX_RENEWALS: u32 = 3;
/// Of one request; others may use up a token before we do.
const MAX_ROUNDS: usize = 10;
const USER_AGENT: &str = concat!("rhizome/", env!("CARGO_PKG_VERSION"));

/// A registry or a mirror of it, for one repository.
pub(crate) struct Endpoint {
    address: Address,
    repository: String,
    agent: Agent,
    credentials: Vec<Credential>,
    auth: Mutex<Auth>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ask<'a> {
    /// Only the head, for the digest in it.
    Digest {
        /// Media types.
        accept: &'a str,
    },
    /// All of something small, soon.
    Document {
        /// Media types.
        accept: Option<&'a str>,
    },
    /// Something large, from a byte on, however long it takes.
    Blob {
        /// The first byte.
        offset: u64,
    },
}

/// How far we came with convincing it. Shared by all who fetch at once.
#[derive(Default)]
struct Auth {
    /// The `Authorization` that is sent.
    header: Option<String>,
    /// The credential that it is from has let us in.
    proven: bool,
    /// Tokens that were fetched with it since.
    renewals: u32,
    challenges: Vec<Challenge>,
    /// Which credential the header is from.
    current: usize,
    begun: bool,
}

/// Answers of token services.
#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// Bodies of refusals.
#[derive(Deserialize)]
struct Refusal {
    errors: Vec<RefusalEntry>,
}

#[derive(Deserialize)]
struct RefusalEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Endpoint {
    /// For `repository` at that address.
    pub(crate) fn new(
        address: Address,
        repository: &str,
        agent: Agent,
        credentials: Vec<Credential>,
    ) -> Endpoint {
        let repository = format!("{}{repository}", address.prefix);
        Endpoint { address, repository, agent, credentials, auth: Mutex::default() }
    }

    /// Host and port, for messages.
    pub(crate) fn name(&self) -> &str {
        &self.address.registry
    }

    /// The URL of something in the repository: `manifests/latest`.
    pub(crate) fn url(&self, what: &str) -> String {
        let scheme = if self.address.secure { "https" } else { "http" };
        let url = format!("{scheme}://{}/v2/{}/{what}", self.address.host, self.repository);
        match &self.address.mirror_of {
            // One mirror may stand for several registries.
            Some(registry) => format!("{url}?ns={}", encoded(registry)),
            None => url,
        }
    }

    /// Asks for something, authenticating if need be. Gives only answers of 200 and 206.
    pub(crate) fn ask(&self, what: &str, ask: Ask<'_>) -> Result<Response<Body>, RegistryError> {
        let url = self.url(what);
        // Each round but the last uses up a credential or renews a token.
        for _ in 0..self.credentials.len() + MAX_ROUNDS {
            let sent = self.lock().header.clone();
            let mut response = self.send(&url, ask, sent.as_deref()).map_err(|e| request_error(&url, e))?;
            match response.status() {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
                    let mut auth = self.lock();
                    if auth.header == sent {
                        (auth.proven, auth.renewals) = (true, 0);
                    }
                    return Ok(response);
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    self.authorize(&mut response, sent.as_ref())?
                }
                _ => return Err(refusal(&url, &mut response)),
            }
        }
        Err(self.denied(String::new()))
    }

    fn send(
        &self,
        url: &str,
        ask: Ask<'_>,
        authorization: Option<&str>,
    ) -> Result<Response<Body>, ureq::Error> {
        let mut request =
            if matches!(ask, Ask::Digest { .. }) { self.agent.head(url) } else { self.agent.get(url) };
        if let Some(authorization) = authorization {
            request = request.header("Authorization", authorization);
        }
        match ask {
            Ask::Digest { accept } | Ask::Document { accept: Some(accept) } => {
                request = request.header("Accept", accept);
            }
            Ask::Blob { offset: offset @ 1.. } => {
                request = request.header("Range", format!("bytes={offset}-"))
            }
            Ask::Document { accept: None } | Ask::Blob { offset: 0 } => {}
        }
        if matches!(ask, Ask::Blob { .. }) {
            return request.call();
        }
        request.config().timeout_recv_body(Some(DOCUMENT_TIMEOUT)).build().call()
    }

    fn lock(&self) -> MutexGuard<'_, Auth> {
        self.auth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prepares the next `Authorization` after a refusal: a fresh token where the old one has worked, else the next
    /// credential. Others who were refused at the same time wait and then use the same.
    fn authorize(&self, response: &mut Response<Body>, sent: Option<&String>) -> Result<(), RegistryError> {
        let mut auth = self.lock();
        if auth.header.as_ref() != sent {
            return Ok(());
        }
        let values = response.headers().get_all("www-authenticate");
        let offered: Vec<_> =
            values.iter().filter_map(|v| v.to_str().ok()).flat_map(parse_challenges).collect();
        if !offered.is_empty() {
            auth.challenges = offered;
        }
        let mut message = message(response);
        let renew = auth.begun && auth.proven && auth.renewals < MAX_RENEWALS;
        let next = match (auth.begun, renew) {
            (false, _) => 0,
            (true, true) => auth.current,
            (true, false) => auth.current + 1,
        };
        auth.renewals = if renew { auth.renewals + 1 } else { 0 };
        (auth.begun, auth.proven) = (true, renew);
        for current in next..self.credentials.len().max(1) {
            auth.current = current;
            match self.header(&auth.challenges, self.credentials.get(current)) {
                Ok(header) => {
                    auth.header = Some(header);
                    return Ok(());
                }
                Err(RegistryError::Status { status: 400 | 401 | 403, message: said, .. }) => message = said,
                Err(error) => return Err(error),
            }
        }
        Err(self.denied(message))
    }

    fn denied(&self, message: String) -> RegistryError {
        let who: Vec<_> = self.credentials.iter().map(Credential::who).collect();
        RegistryError::Denied {
            registry: self.name().to_owned(),
            repository: self.repository.clone(),
            who: if who.is_empty() { "anonymous".to_owned() } else { who.join(", ") },
            message,
        }
    }

    fn header(
        &self,
        challenges: &[Challenge],
        credential: Option<&Credential>,
    ) -> Result<String, RegistryError> {
        if let Some(Credential::Bearer(token)) = credential {
            return Ok(format!("Bearer {token}"));
        }
        if let Some(challenge) = challenges.iter().find(|c| c.scheme == "bearer") {
            return self.token(challenge, credential).map(|token| format!("Bearer {token}"));
        }
        match (challenges.iter().any(|c| c.scheme == "basic"), credential) {
            (true, Some(Credential::Basic { user, password })) => Ok(Credential::basic(user, password)),
            // The same words as a server's, so that the caller goes on to the next credential.
            (true, _) => Err(RegistryError::Status {
                url: self.url(""),
                status: 401,
                message: "it wants a user name and a password".to_owned(),
                retry_after: None,
            }),
            (false, _) if challenges.is_empty() => Err(RegistryError::Status {
                url: self.url(""),
                status: 403,
                message: "it does not say how to authenticate".to_owned(),
                retry_after: None,
            }),
            (false, _) => {
                let offered: Vec<_> = challenges.iter().map(|c| c.scheme.as_str()).collect();
                let reason = format!("it offers only {}", offered.join(", "));
                Err(RegistryError::Challenge { registry: self.name().to_owned(), reason })
            }
        }
    }

    /// Gets a token for reading the repository.
    fn token(&self, challenge: &Challenge, credential: Option<&Credential>) -> Result<String, RegistryError> {
        let fail = |reason: String| RegistryError::Challenge { registry: self.name().to_owned(), reason };
        let realm =
            challenge.get("realm").ok_or_else(|| fail("its token service has no address".to_owned()))?;
        self.check_realm(realm)?;
        let scope = format!("repository:{}:pull", self.repository);
        let mut fields = vec![("scope", challenge.get("scope").unwrap_or(&scope))];
        fields.extend(challenge.get("service").map(|service| ("service", service)));
        let response = if let Some(Credential::Identity(token)) = credential {
            fields.extend([
                ("grant_type", "refresh_token"),
                ("refresh_token", token),
                ("client_id", "rhizome"),
            ]);
            let form = joined(&fields);
            let request = self.agent.post(realm).content_type("application/x-www-form-urlencoded");
            request.config().timeout_recv_body(Some(DOCUMENT_TIMEOUT)).build().send(&form)
        } else {
            let separator = if realm.contains('?') { '&' } else { '?' };
            let mut request = self.agent.get(format!("{realm}{separator}{}", joined(&fields)));
            if let Some(Credential::Basic { user, password }) = credential {
                request = request.header("Authorization", Credential::basic(user, password));
            }
            request.config().timeout_recv_body(Some(DOCUMENT_TIMEOUT)).build().call()
        };
        let mut response = response.map_err(|e| request_error(realm, e))?;
        if response.status() != StatusCode::OK {
            return Err(refusal(realm, &mut response));
        }
        let mut text = Vec::new();
        let read = response.body_mut().as_reader().take(MAX_ANSWER).read_to_end(&mut text);
        read.map_err(|e| request_error(realm, ureq::Error::Io(e)))?;
        let token: Token = serde_json::from_slice(&text).map_err(|_| {
            fail(format!("its token service {realm} answers with something that is no token"))
        })?;
        let token = if token.token.is_empty() { token.access_token } else { token.token };
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(fail(format!("its token service {realm} answers without a token")));
        }
        Ok(token)
    }

    /// A token service gets passwords: over TLS, or from this machine to this machine.
    fn check_realm(&self, realm: &str) -> Result<(), RegistryError> {
        let fail = |reason: &str| RegistryError::Challenge {
            registry: self.name().to_owned(),
            reason: format!("its token service {realm:?} {reason}"),
        };
        if realm.starts_with("https://") {
            return Ok(());
        }
        let rest = realm.strip_prefix("http://").ok_or_else(|| fail("has no address in HTTP"))?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => host,
            _ => authority,
        };
        if !self.address.secure && is_loopback(host) {
            Ok(())
        } else {
            Err(fail("would get credentials in plain HTTP"))
        }
    }
}

/// Connections to an address. `ca` is a file of certificates to trust instead of the system's.
pub(crate) fn agent(address: &Address, ca: Option<&Path>, stall: Duration) -> Result<Agent> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .https_only(address.secure)
        .redirect_auth_headers(ureq::config::RedirectAuthHeaders::SameHost)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(RESPONSE_TIMEOUT))
        .timeout_per_read(Some(stall))
        .timeout_per_write(Some(stall))
        .user_agent(USER_AGENT);
    let host = address.host.rsplit_once(':').map_or(address.host.as_str(), |(host, _)| host);
    if is_loopback(host) || is_loopback(&address.host) {
        config = config.proxy(None);
    }
    // Also without TLS: a registry on loopback may redirect to a store elsewhere.
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::from(authorities(ca, address.secure)?))
        .build();
    Ok(config.tls_config(tls).build().new_agent())
}

/// The certificates in `ca`, or those that the system trusts (`SSL_CERT_FILE`, `SSL_CERT_DIR`, else where
/// distributions keep them).
fn authorities(ca: Option<&Path>, needed: bool) -> Result<Vec<Certificate<'static>>> {
    let (found, file): (Vec<_>, String) = match ca {
        Some(path) => {
            let text = std::fs::read(path).map_err(Error::io("read", path))?;
            let items = ureq::tls::parse_pem(&text);
            let certificates = items.filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            });
            (certificates.collect(), path.display().to_string())
        }
        None => {
            let system = rustls_native_certs::load_native_certs();
            let certificates = system.certs.iter().map(|der| Certificate::from_der(der).to_owned());
            (certificates.collect(), "the system's store".to_owned())
        }
    };
    if needed && found.is_empty() {
        return Err(RegistryError::NoAuthorities { file }.into());
    }
    Ok(found)
}

/// What the network says, and whether it may say something else next time.
pub(crate) fn request_error(url: &str, error: ureq::Error) -> RegistryError {
    let transient = match &error {
        ureq::Error::Io(e) => is_passing(e.kind()),
        ureq::Error::Timeout(_) | ureq::Error::Protocol(_) | ureq::Error::ConnectionFailed => true,
        _ => false,
    };
    let source: Box<dyn std::error::Error + Send + Sync> = match error {
        // One layer of words less.
        ureq::Error::Io(e) => e.into(),
        other => other.into(),
    };
    RegistryError::Request { url: url.to_owned(), transient, source }
}

/// Networks recover. Names that do not exist and certificates that nobody vouches for (`InvalidData`, from rustls) do not.
fn is_passing(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            | ErrorKind::TimedOut
            | ErrorKind::WouldBlock
            | ErrorKind::Interrupted
    )
}

/// Any other answer as an error.
pub(crate) fn refusal(url: &str, response: &mut Response<Body>) -> RegistryError {
    let after = response.headers().get("retry-after").and_then(|v| v.to_str().ok()?.trim().parse().ok());
    RegistryError::Status {
        url: url.to_owned(),
        status: response.status().as_u16(),
        retry_after: after.map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER)),
        message: message(response),
    }
}

/// The registry's own words, on one line. Not what is no JSON: web servers' error pages say nothing more than the status.
fn message(response: &mut Response<Body>) -> String {
    let mut text = Vec::new();
    if response.body_mut().as_reader().take(MAX_ANSWER).read_to_end(&mut text).is_err() {
        return String::new();
    }
    let Ok(refusal) = serde_json::from_slice::<Refusal>(&text) else { return String::new() };
    let entry = |e: &RefusalEntry| if e.message.is_empty() { e.code.clone() } else { e.message.clone() };
    let words: Vec<_> = refusal.errors.iter().map(entry).filter(|words| !words.is_empty()).collect();
    words.join(", ").chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect()
}

fn joined(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    pairs.join("&")
}

/// For a query or a form.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
