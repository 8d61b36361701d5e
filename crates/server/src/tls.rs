//! The certificate and key that the service shows, read from files in PEM.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use store::{Error, Result};
use tokio_rustls::TlsAcceptor;

use crate::settings::TlsFiles;

/// What connections are encrypted with.
///
/// # Errors
/// `Config` where a file cannot be read, has nothing of its kind, or the two do not belong together.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor> {
    let unreadable = |path: &Path, what: &str, error: pem::Error| {
        Error::config(format!("{} cannot be read as {what}: {error}", path.display()))
            .with_hint("give files in PEM, the certificate first and then those that lead to its root")
    };
    let certificates = CertificateDer::pem_file_iter(&files.certificates)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| unreadable(&files.certificates, "certificates", error))?;
    if certificates.is_empty() {
        return Err(Error::config(format!("{} holds no certificate", files.certificates.display())));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unreadable(&files.key, "a key", error))?;
    let unusable = |error: rustls::Error| {
        Error::config("the certificate and the key cannot be used")
            .with_source(error)
            .with_hint("give a pair that belongs together")
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
