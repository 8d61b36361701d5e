//! Requests and replies of one HTTP connection, with peers of all kinds.

use proptest::collection::vec;
use proptest::prelude::*;
use rcgen::{CertifiedKey, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use store::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::hostile::{self, End, Script, within_patience};

fn endpoint(port: u16, rest: &str) -> Result<Endpoint> {
    let target = Target::parse(&format!("elasticsearch://127.0.0.1:{port}{rest}")).expect("a URL");
    Endpoint::of(&target, 9200, TlsMode::Off)
}

/// A peer that answers each request, whose body has as many bytes as its path says, with the reply that is next.
async fn peer(replies: Vec<Vec<u8>>) -> (JoinHandle<Vec<String>>, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("our own connection");
        let mut requests = Vec::new();
        for reply in replies {
            let mut request = Vec::new();
            while !is_whole(&request) {
                let mut buffer = vec![0; 64 << 10];
                let length = stream.read(&mut buffer).await.expect("our own connection");
                assert_ne!(length, 0, "the request has ended early");
                request.extend_from_slice(&buffer[..length]);
            }
            requests.push(String::from_utf8(request).expect("text"));
            stream.write_all(&reply).await.expect("our own connection");
        }
        requests
    });
    (task, port)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().expect("a length"))
}

fn reply(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn requests_and_replies_go_over_one_connection_whole() {
    let long = "x".repeat(3_000_000);
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".to_vec();
    let replies = vec![reply("200 OK", "first"), chunked, reply("404 Not Found", &long), reply("204 No Content", "")];
    let (task, port) = peer(replies).await;
    let mut connection = Connection::open(&endpoint(port, "").expect("valid")).await.expect("listening");
    let json = (HeaderName::from_static("content-type"), HeaderValue::from_static("application/json"));
    for (method, path, body, expect) in [
        (Method::GET, "/", "", (200, "first")),
        (Method::POST, "/a?b=c", "{}", (200, "abcde")),
        (Method::PUT, "/long", long.as_str(), (404, long.as_str())),
        (Method::DELETE, "/x", "", (204, "")),
    ] {
        let reply =
            connection.send(method, path, std::slice::from_ref(&json), body.as_bytes()).await.expect("answered");
        assert!((reply.status.as_u16(), reply.body) == (expect.0, expect.1.as_bytes()), "{path}");
    }
    assert!(!connection.is_broken());
    assert!(connection.reply.capacity() <= BUFFER_BYTES_RETAINED_MAX, "{}", connection.reply.capacity());
    let requests = task.await.expect("no panic");
    let expect = format!(
        "POST /a?b=c HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n\
        content-length: 2\r\n\r\n{{}}"
    );
    assert_eq!(requests[1], expect);
    assert!(requests[2].ends_with(&long));
    // The peer has closed the connection.
    for _ in 0..2 {
        let error = connection.send(Method::GET, "/", &[], b"").await.expect_err("closed");
        assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Unreachable, true));
        assert!(connection.is_broken());
    }
}

#[tokio::test]
async fn who_enters_is_said_in_a_header_and_nowhere_else() {
    let plain = || endpoint(1, "").expect("valid");
    let basic = Endpoint::of(&Target::parse("http://lab:p%40ss@h").expect("a URL"), 1, TlsMode::Off).expect("valid");
    for (endpoint, expect) in [
        (basic, "Basic bGFiOnBAc3M="),
        (plain().authorized("Bearer", "abc").expect("valid"), "Bearer abc"),
        (plain().entered_as("a", "").expect("valid"), "Basic YTo="),
    ] {
        let value = endpoint.authorization.expect("set");
        assert!(value.is_sensitive());
        assert_eq!(value, expect);
    }
    for error in [plain().authorized("Bearer", "a\nsecret").err(), plain().entered_as("a:b", "secret").err()] {
        let error = error.expect("refused");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    assert!(Endpoint::of(&Target::parse("http://:x@h").expect("a URL"), 1, TlsMode::Off).is_err());
}

/// Answers one request over TLS, with a certificate that nobody but `tls_ca` knows.
async fn encrypted_peer(certified: &CertifiedKey<KeyPair>) -> (JoinHandle<()>, u16) {
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).expect("a key");
    let configuration = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .expect("valid");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("our own connection");
        // Who does not trust the certificate hangs up.
        let Ok(mut stream) = TlsAcceptor::from(Arc::new(configuration)).accept(stream).await else { return };
        let mut request = vec![0; 4 << 10];
        if matches!(stream.read(&mut request).await, Ok(1..)) {
            stream.write_all(&reply("200 OK", "secret")).await.expect("our own connection");
            stream.flush().await.expect("our own connection");
        }
    });
    (task, port)
}

#[tokio::test]
async fn certificates_are_verified_unless_the_user_says_otherwise() {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("made");
    let folder = tempfile::tempdir().expect("made");
    let file = folder.path().join("server.crt");
    std::fs::write(&file, certified.cert.pem()).expect("written");
    for (options, is_trusted) in [
        ("?tls=verify".to_owned(), false),
        ("?tls=insecure".to_owned(), true),
        (format!("?tls=verify&tls_ca={}", file.display()), true),
    ] {
        let (_task, port) = encrypted_peer(&certified).await;
        match Connection::open(&endpoint(port, &options).expect("valid")).await {
            Ok(mut connection) => {
                assert!(is_trusted, "{options}");
                let reply = connection.send(Method::GET, "/", &[], b"").await.expect("answered");
                assert_eq!((reply.status, reply.body), (StatusCode::OK, &b"secret"[..]));
            }
            Err(error) => {
                assert!(!is_trusted, "{options}: {error}");
                assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Rejected, true), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_redirect_is_named_and_not_followed() {
    for (location, expect) in [
        ("http://u:secret@127.0.0.2:9200/a", "http://127.0.0.2:9200,"),
        ("/elsewhere", "/elsewhere,"),
        ("https://127.0.0.2", "https://127.0.0.2,"),
    ] {
        let moved = format!("HTTP/1.1 307 Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n").into_bytes();
        let (_task, port) = peer(vec![moved, reply("200 OK", "")]).await;
        let mut connection = Connection::open(&endpoint(port, "").expect("valid")).await.expect("listening");
        let error = connection.send(Method::GET, "/", &[], b"").await.expect_err("refused");
        assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Rejected, true));
        assert!(error.to_string().contains(expect) && !error.to_string().contains("secret"), "{error}");
        assert!(connection.send(Method::GET, "/", &[], b"").await.is_ok(), "the connection is still good");
    }
}

#[tokio::test]
async fn a_reply_is_not_taken_beyond_its_bound() {
    let endless = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", "5\r\nabcde\r\n".repeat(100));
    for bytes in [b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nabc".to_vec(), endless.into_bytes()] {
        let (_task, port) = peer(vec![bytes]).await;
        let mut connection = Connection::open(&endpoint(port, "").expect("valid")).await.expect("listening");
        connection.reply_bytes_max = 100;
        let error = connection.send(Method::GET, "/", &[], b"").await.expect_err("too long");
        assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Unreachable, true));
        assert!(connection.is_broken() && connection.reply.len() <= 100);
    }
}

#[tokio::test]
async fn a_silent_peer_and_a_request_that_is_given_up_leave_the_connection_broken() {
    let (_task, port) = hostile::peer(Script::new(b"", b"", &[], End::FallsSilent)).await;
    let endpoint = endpoint(port, "?connect_timeout=0.01").expect("valid");
    let mut connection = Connection::open(&endpoint).await.expect("listening");
    let asked = async { connection.send(Method::GET, "/", &[], b"").await.map(|_| ()) };
    let error = within_patience(endpoint.in_time(asked)).await.expect_err("silent");
    assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Unreachable, true));
    assert!(connection.is_broken());
    assert!(connection.send(Method::GET, "/", &[], b"").await.is_err());
}

#[tokio::test]
async fn nobody_there_is_told_by_name() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let endpoint = endpoint(port, "").expect("valid");
    let error = Connection::open(&endpoint).await.err().expect("closed");
    assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Unreachable, true));
    assert!(error.to_string().contains(&endpoint.node().to_string()), "{error}");
}

/// Whatever comes back: an error or a reply, in time, and a connection that is broken only for being lost.
#[test]
fn what_a_peer_may_send_is_a_reply_or_a_lost_connection() {
    let well_formed = prop_oneof![
        Just(reply("200 OK", r#"{"found":true}"#)),
        Just(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n".to_vec()),
    ];
    let bytes = prop_oneof![
        vec(any::<u8>(), 0..200),
        hostile::mutated(well_formed),
        vec(any::<u8>(), 0..40).prop_map(|rest| [b"HTTP/1.1 200 OK\r\n".to_vec(), rest].concat()),
        Just(b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n".to_vec()),
        Just([b"HTTP/1.1 200 OK\r\na: ".to_vec(), vec![b'x'; 2 << 20]].concat()),
        Just([b"HTTP/1.1 200 OK\r\n".to_vec(), b"a: b\r\n".repeat(100_000)].concat()),
    ];
    hostile::check(&(bytes, hostile::cuts()), |runtime, (bytes, cuts)| {
        runtime.block_on(async {
            let (task, port) = hostile::peer(Script::new(b"", &bytes, &cuts, End::Closes)).await;
            let mut connection = Connection::open(&endpoint(port, "").expect("valid")).await.expect("listening");
            // The peer sends nothing before it is told something twice: a request that takes two reads.
            let request = vec![b'x'; 100 << 10];
            let result = within_patience(connection.send(Method::POST, "/", &[], &request)).await;
            match result.map(|reply| reply.body.len()) {
                Ok(length) => assert!(length <= bytes.len()),
                Err(error) => {
                    let expect = if connection.is_broken() { ErrorKind::Unreachable } else { ErrorKind::Rejected };
                    assert_eq!((error.kind(), error.hint().is_some()), (expect, true), "{error}");
                }
            }
            task.abort();
        });
    });
}
