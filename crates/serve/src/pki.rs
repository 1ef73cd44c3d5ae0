//! Keys and certificates: an authority of this node's own, made at the first start, that nobody else trusts and that trusts
//! nobody else.
//!
//! On the disk are its key and certificate (mode 0600) and a kubeconfig (mode 0600) with a client's key and certificate.
//! The server's own are made at every start and are never written.

use crate::error::{NodeError, file};
use agent::Root;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use runtime::atomic_file::{self, Survives};
use serde_json::json;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, version};

/// The name that the authority signs with.
const AUTHORITY: &str = "rhizome-node";
/// Names in the kubeconfig: its cluster, user and context.
const CONTEXT: &str = "rhizome";

/// The node's folder in a root.
pub(crate) fn folder(root: &Root) -> PathBuf {
    root.lib.join("node")
}

/// Where a root's kubeconfig is.
pub fn kubeconfig_path(root: &Root) -> PathBuf {
    folder(root).join("kubeconfig")
}

fn failed(error: impl std::fmt::Display) -> NodeError {
    NodeError::Certificates { reason: error.to_string() }
}

/// The authority.
pub(crate) struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Reads the authority of a folder, or makes one.
    pub(crate) fn open(folder: &Path) -> Result<Authority, NodeError> {
        let (key_path, certificate_path) = (folder.join("authority.key"), folder.join("authority.crt"));
        let read = |path: &Path| match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file("read", path)(error)),
        };
        if let (Some(key), Some(certificate_pem)) = (read(&key_path)?, read(&certificate_path)?) {
            let key = KeyPair::from_pem(&key).map_err(failed)?;
            return Ok(Authority { certificate_pem, issuer: Issuer::new(authority_parameters()?, key) });
        }
        let key = KeyPair::generate().map_err(failed)?;
        let parameters = authority_parameters()?;
        let certificate_pem = parameters.self_signed(&key).map_err(failed)?.pem();
        // The key last: without it the next start makes both anew.
        write_private(&certificate_path, certificate_pem.as_bytes())?;
        write_private(&key_path, key.serialize_pem().as_bytes())?;
        Ok(Authority { certificate_pem, issuer: Issuer::new(parameters, key) })
    }

    fn sign(&self, parameters: &CertificateParams) -> Result<(String, KeyPair), NodeError> {
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = parameters.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok((certificate.pem(), key))
    }

    /// What a TLS server needs that is reached at these addresses. A client may come without a certificate: it then gets no
    /// further than 401. One with a certificate of another authority does not even get that far.
    pub(crate) fn server(&self, addresses: &[IpAddr]) -> Result<ServerConfig, NodeError> {
        let names: Vec<String> = addresses
            .iter()
            .map(IpAddr::to_string)
            .chain(["localhost".to_owned(), "kubernetes".to_owned(), "kubernetes.default".to_owned()])
            .collect();
        let mut parameters = parameters("rhizome-node-server", Some(names))?;
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let (certificate, key) = self.sign(&parameters)?;
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.certificate_pem.as_bytes()).map_err(failed)?)
            .map_err(failed)?;
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(failed)?;
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(failed)?];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).map_err(failed)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(failed)?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .map_err(failed)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Writes the kubeconfig for a server at an address, with a client's key that only this file has.
    pub(crate) fn write_kubeconfig(&self, path: &Path, server: SocketAddr) -> Result<(), NodeError> {
        let mut parameters = parameters("rhizome-admin", None)?;
        parameters.distinguished_name.push(DnType::OrganizationName, "system:masters");
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (certificate, key) = self.sign(&parameters)?;
        let document = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": CONTEXT, "cluster": {
                "server": format!("https://{server}"),
                "certificate-authority-data": STANDARD.encode(&self.certificate_pem),
            }}],
            "users": [{"name": CONTEXT, "user": {
                "client-certificate-data": STANDARD.encode(certificate),
                "client-key-data": STANDARD.encode(key.serialize_pem()),
            }}],
            "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
            "current-context": CONTEXT,
        });
        write_private(path, view::document::yaml(&document).as_bytes())
    }
}

fn authority_parameters() -> Result<CertificateParams, NodeError> {
    let mut parameters = parameters(AUTHORITY, None)?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    Ok(parameters)
}

/// Parameters that are the same for all. They have no end: who has the key's file has the node's folder, and with that all
/// that a certificate could give.
fn parameters(name: &str, names: Option<Vec<String>>) -> Result<CertificateParams, NodeError> {
    let mut parameters = CertificateParams::new(names.unwrap_or_default()).map_err(failed)?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    Ok(parameters)
}

/// Replaces a file, which only this user can read from its first byte on.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), NodeError> {
    atomic_file::write(path, bytes, Survives::PowerCut).map_err(file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_authority_stays_and_its_files_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = Authority::open(dir.path()).unwrap();
        let again = Authority::open(dir.path()).unwrap();
        assert_eq!(first.certificate_pem, again.certificate_pem);
        again.server(&["127.0.0.1".parse().unwrap()]).unwrap();
        let path = dir.path().join("kubeconfig");
        again.write_kubeconfig(&path, "127.0.0.1:6443".parse().unwrap()).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("https://127.0.0.1:6443"));
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
