//! How connections are encrypted: one rustls configuration for every driver that speaks over a network.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use store::{Error, Result, Target, TargetOption, TlsMode};

/// The URL parameter that names how a connection is encrypted.
pub(crate) const TLS_OPTION: TargetOption =
    TargetOption { name: "tls", summary: "off, verify (check the server's certificate) or insecure (do not)" };

/// The URL parameter that names whom to trust.
pub(crate) const TLS_CA_OPTION: TargetOption =
    TargetOption { name: "tls_ca", summary: "a PEM file of the authorities to trust instead of the public ones" };

/// The configuration for connections to the target; none where they go in clear text.
///
/// # Errors
/// `Config` for an unknown `tls` mode, or a `tls_ca` file that cannot be read or holds no certificate; `Rejected` for one
/// that the target's limits forbid.
pub fn client_config(target: &Target, default: TlsMode) -> Result<Option<Arc<ClientConfig>>> {
    let mode = target.tls(default)?;
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring has the suites of TLS 1.2 and 1.3");
    Ok(match mode {
        TlsMode::Off => None,
        TlsMode::Verify => Some(Arc::new(builder.with_root_certificates(roots(target)?).with_no_client_auth())),
        TlsMode::Insecure => {
            let verifier = Arc::new(AnyCertificate(provider));
            Some(Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
        }
    })
}

/// The name that the server's certificate must carry.
///
/// # Errors
/// `Config` where the host is neither a name nor an address.
pub(crate) fn server_name(target: &Target) -> Result<ServerName<'static>> {
    host_name(target.host())
}

/// The same for another host of the target's.
///
/// # Errors
/// As [`server_name`].
pub(crate) fn host_name(host: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned())
        .map_err(|source| Error::config("the target's host cannot be in a certificate").with_source(source))
}

fn roots(target: &Target) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(file) = target.option(TLS_CA_OPTION.name) else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    };
    target.limits().permit_file(Path::new(file))?;
    let unusable = |reason: String| {
        Error::config(format!("the target's `tls_ca={file}` is not usable: {reason}"))
            .with_hint("name a readable PEM file that holds the authority's certificate")
    };
    let certificates = CertificateDer::pem_file_iter(file).map_err(|source| unusable(source.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|source| unusable(source.to_string()))?;
        roots.add(certificate).map_err(|source| unusable(source.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("it holds no certificate".to_owned()));
    }
    Ok(roots)
}

/// Accepts every certificate, for `tls=insecure`. That the peer holds the certificate's key is still checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use store::ErrorKind;

    use super::*;

    #[test]
    fn the_mode_comes_from_the_url() {
        let config = |url: &str, default| client_config(&Target::parse(url).expect("valid"), default);
        assert!(config("redis://h", TlsMode::Off).expect("valid").is_none());
        assert!(config("redis://h", TlsMode::Verify).expect("valid").is_some());
        assert!(config("redis://h?tls=insecure", TlsMode::Off).expect("valid").is_some());
        for bad in ["redis://h?tls=maybe", "redis://h?tls=verify&tls_ca=/nowhere.pem", "redis://h?tls=verify&tls_ca=/"]
        {
            let error = config(bad, TlsMode::Off).expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::Config, "{bad}");
            assert!(error.hint().is_some(), "{bad}");
        }
    }
}
