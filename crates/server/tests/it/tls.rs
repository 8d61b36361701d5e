//! Encrypted connections.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use server::{Settings, TlsFiles};
use tempfile::TempDir;

use crate::support::{Answer, Lab, Request};

/// How long a new certificate may take to be shown on a busy machine; the service looks once a second.
const PATIENCE: Duration = Duration::from_mins(1);

/// Longer than between two looks of the service at its files.
const LOOKED_AT_LEAST_ONCE: Duration = Duration::from_millis(1_500);

/// Files for a certificate and its key.
fn files_in(folder: &TempDir) -> TlsFiles {
    TlsFiles { certificates: folder.path().join("cert.pem"), key: folder.path().join("key.pem") }
}

/// A certificate of the service's own.
fn made() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate")
}

fn write(files: &TlsFiles, made: &CertifiedKey<KeyPair>) {
    std::fs::write(&files.certificates, made.cert.pem()).expect("written");
    std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
}

#[test]
fn answers_come_encrypted_and_say_so_to_browsers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (files, made) = (files_in(&folder), made());
    write(&files, &made);
    let lab = Lab::with(Settings { tls: Some(files), ..Settings::default() });
    let request = live(&lab);

    let answer = ask(&mut encrypted(&lab, made.cert.der()), &request).expect("an answer").expect(200);
    assert!(answer.header("strict-transport-security").is_some());

    let mut plain = TcpStream::connect(lab.address()).expect("it listens");
    plain.write_all(&request.bytes()).expect("it is taken");
    let mut read = Vec::new();
    let _ = plain.read_to_end(&mut read);
    assert!(Answer::parse(&read, "GET").is_none(), "it does not speak without encryption");
}

#[test]
fn a_renewed_certificate_is_shown_to_whoever_comes_and_a_broken_one_to_nobody() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (files, first, second) = (files_in(&folder), made(), made());
    write(&files, &first);
    let lab = Lab::with(Settings { tls: Some(files.clone()), ..Settings::default() });
    let request = live(&lab).without("Connection");
    let shows = |made: &CertifiedKey<KeyPair>| ask(&mut encrypted(&lab, made.cert.der()), &request).is_ok();
    let mut old = encrypted(&lab, first.cert.der());
    ask(&mut old, &request).expect("an answer").expect(200);
    assert!(!shows(&second), "the client takes no other certificate than the one that it knows");

    write(&files, &second);
    let renewed_at = Instant::now();
    while !shows(&second) {
        assert!(renewed_at.elapsed() < PATIENCE, "the new certificate is not shown");
    }
    assert!(!shows(&first));
    ask(&mut old, &request).expect("a connection goes on with what it began with").expect(200);

    std::fs::write(&files.key, "no key").expect("written");
    let broken_at = Instant::now();
    while broken_at.elapsed() < LOOKED_AT_LEAST_ONCE {
        assert!(shows(&second), "what is broken takes nobody's place");
    }
    write(&files, &first);
    let mended_at = Instant::now();
    while !shows(&first) {
        assert!(mended_at.elapsed() < PATIENCE, "the mended certificate is not shown");
    }
}

fn live(lab: &Lab) -> Request {
    lab.get("/health/live").header("Host", &format!("localhost:{}", lab.address().port()))
}

/// A request and its answer, after which the connection may go on.
fn ask(stream: &mut (impl Read + Write), request: &Request) -> std::io::Result<Answer> {
    stream.write_all(&request.bytes())?;
    let mut read = Vec::new();
    loop {
        let answer = Answer::parse(&read, "GET");
        let length = |answer: &Answer| answer.header("content-length").and_then(|length| length.parse().ok());
        if let Some(answer) = answer.filter(|answer| Some(answer.body.len()) == length(answer)) {
            return Ok(answer);
        }
        let mut chunk = [0; 4_096];
        match stream.read(&mut chunk)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            bytes => read.extend_from_slice(&chunk[..bytes]),
        }
    }
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
