//! Encrypted connections.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use server::{Settings, TlsFiles};

use crate::support::{Answer, Lab};

#[test]
fn answers_come_encrypted_and_say_so_to_browsers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let files = TlsFiles { certificates: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    std::fs::write(&files.certificates, made.cert.pem()).expect("written");
    std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
    let lab = Lab::with(Settings { tls: Some(files), ..Settings::default() });
    let request = lab.get("/health/live").header("Host", &format!("localhost:{}", lab.address().port()));

    let mut stream = encrypted(&lab, made.cert.der());
    stream.write_all(&request.bytes()).expect("it is taken");
    let mut read = Vec::new();
    stream.read_to_end(&mut read).expect("it is closed");
    let answer = Answer::parse(&read, "GET").expect("an answer").expect(200);
    assert!(answer.header("strict-transport-security").is_some());

    let mut plain = TcpStream::connect(lab.address()).expect("it listens");
    plain.write_all(&request.bytes()).expect("it is taken");
    let mut read = Vec::new();
    let _ = plain.read_to_end(&mut read);
    assert!(Answer::parse(&read, "GET").is_none(), "it does not speak without encryption");
}

fn encrypted(lab: &Lab, certificate: &CertificateDer<'static>) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
    StreamOwned::new(connection, TcpStream::connect(lab.address()).expect("it listens"))
}

#[test]
fn files_that_do_not_fit_are_told_at_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").expect("written");
    let files = TlsFiles { certificates: empty.clone(), key: empty };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let location = results::Location::File(folder.path().join("results.db"));
    let settings = Settings { tls: Some(files), ..Settings::default() };
    let error = server::Service::start(settings, &location, listener).err().expect("there is no certificate");
    assert_eq!(error.kind(), store::ErrorKind::Config);
}
