//! The driver against peers that say whatever they like, on ports of loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::mongodb::bson::{Document, RawDocumentBuf, doc};
use ::store::{
    Dataset, Driver, Error, ErrorKind, Fields, Namespace, Node, Reach, RecordTable, Request, Result, SessionSpec,
    Store, Target, execute,
};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::MongoDb;
use crate::hostile::{self, End, within_patience};

const OP_MSG: i32 = 2013;

/// What a peer says to a command: a document, or bytes that are sent as they are.
#[derive(Debug, Clone)]
enum Says {
    Document(Document),
    Bytes(Vec<u8>, End),
}

/// A peer, and how many connections it has had.
struct Peer {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Peer {
    /// One at that address that answers each command, by its name, as `answer` says.
    async fn start(address: &str, answer: impl Fn(&str, u16) -> Says + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((address, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let (connections, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let answer = Arc::clone(&answer);
                tokio::spawn(async move {
                    // Whoever it talks to may be gone, which ends it.
                    let _ = serve(stream, |name| answer(name, port)).await;
                });
            }
        });
        Self { port, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, answer: impl Fn(&str) -> Says) -> std::io::Result<()> {
    loop {
        let length = stream.read_i32_le().await? as usize;
        let mut message = vec![0; length - 4];
        stream.read_exact(&mut message).await?;
        // Behind the header's rest come the flags and the kind of the only section.
        let command = RawDocumentBuf::from_bytes(message[17..].to_vec()).expect("the library sends documents");
        let (name, _) = command.iter().next().expect("a command").expect("BSON");
        match answer(name.as_str()) {
            Says::Document(document) => {
                let body = RawDocumentBuf::try_from(&document).expect("BSON").into_bytes();
                let request = i32::from_le_bytes(message[..4].try_into().expect("four bytes"));
                stream.write_all(&reply(request, &body)).await?;
            }
            Says::Bytes(bytes, end) => {
                stream.write_all(&bytes).await?;
                if matches!(end, End::Closes) {
                    return Ok(());
                }
            }
        }
    }
}

fn reply(request: i32, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 21).cast_signed();
    let mut bytes: Vec<u8> = [length, 1, request, OP_MSG, 0].into_iter().flat_map(i32::to_le_bytes).collect();
    bytes.push(0);
    bytes.extend_from_slice(body);
    bytes
}

/// What a member of a replica set says it is.
fn hello(is_primary: bool, primary: &str, hosts: &[String]) -> Document {
    doc! {
        "isWritablePrimary": is_primary, "ismaster": is_primary, "secondary": !is_primary, "helloOk": true,
        "setName": "set", "setVersion": 1, "hosts": hosts, "primary": primary, "me": &hosts[0],
        "minWireVersion": 0, "maxWireVersion": 17, "maxBsonObjectSize": 16_777_216,
        "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000, "logicalSessionTimeoutMinutes": 30, "ok": 1.0,
    }
}

fn is_hello(command: &str) -> bool {
    command.eq_ignore_ascii_case("hello") || command.eq_ignore_ascii_case("isMaster")
}

fn nothing_found() -> Says {
    Says::Document(doc! { "cursor": { "id": 0_i64, "ns": "storelab.x", "firstBatch": [] }, "ok": 1.0 })
}

async fn connect(port: u16, rest: &str) -> Result<Arc<dyn Store>> {
    let target = Target::parse(&format!("mongodb://127.0.0.1:{port}/{rest}")).expect("a URL");
    within_patience(MongoDb.connect(&target)).await
}

fn refused(result: Result<Arc<dyn Store>>) -> Error {
    let error = result.err().expect("it cannot be reached");
    assert!(error.hint().is_some(), "what to do about `{error}`?");
    error
}

#[tokio::test]
async fn members_that_a_target_does_not_list_are_never_contacted() {
    let stranger = Peer::start("127.0.0.2", |command, port| {
        if is_hello(command) {
            let own = format!("127.0.0.2:{port}");
            return Says::Document(hello(true, &own, std::slice::from_ref(&own)));
        }
        nothing_found()
    })
    .await;
    let named = format!("127.0.0.2:{}", stranger.port);
    let (is_primary, hosts) = (Arc::new(AtomicUsize::new(0)), named.clone());
    let role = Arc::clone(&is_primary);
    let member = Peer::start("127.0.0.1", move |command, port| {
        if is_hello(command) {
            let hosts = [format!("127.0.0.1:{port}"), hosts.clone()];
            let is_primary = role.load(Ordering::Relaxed) == 1;
            return Says::Document(hello(is_primary, &hosts[usize::from(!is_primary)], &hosts));
        }
        nothing_found()
    })
    .await;
    // A secondary says who the primary is: that is not gone to, and told.
    let error = refused(connect(member.port, "").await);
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert!(error.to_string().contains(&named), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains(&format!("nodes={named}"))), "{:?}", error.hint());
    // A primary names other members, whom the library would watch.
    is_primary.store(1, Ordering::Relaxed);
    let store = connect(member.port, "").await.expect("it is the primary");
    let session = store.session(SessionSpec { dataset: None, depth: 1 }).await.expect("it answers");
    store.counters().await.expect("it has none");
    drop(session);
    assert!(member.connections() > 2);
    assert_eq!(stranger.connections(), 0, "nobody may go there");
    // Where it is listed, it is asked.
    is_primary.store(0, Ordering::Relaxed);
    connect(member.port, &format!("?nodes={named}")).await.expect("the primary is listed");
    assert!(stranger.connections() > 0);
    let error = refused(connect(member.port, &format!("?nodes={named}&replica_set=other")).await);
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

/// Permits 127.0.0.1 alone.
#[derive(Debug)]
struct Home;

impl Reach for Home {
    fn permits(&self, _node: &Node, address: SocketAddr) -> bool {
        address.ip() == Ipv4Addr::LOCALHOST
    }

    fn permits_file(&self, _path: &Path) -> bool {
        false
    }

    fn remedy(&self) -> &'static str {
        "stay at home"
    }
}

#[tokio::test]
async fn members_that_are_listed_and_not_permitted_are_never_contacted() {
    let stranger = Peer::start("127.0.0.2", |_, _| nothing_found()).await;
    let named = format!("127.0.0.2:{}", stranger.port);
    let hosts = named.clone();
    let member = Peer::start("127.0.0.1", move |command, port| {
        if is_hello(command) {
            let hosts = [format!("127.0.0.1:{port}"), hosts.clone()];
            return Says::Document(hello(false, &hosts[1], &hosts));
        }
        nothing_found()
    })
    .await;
    // By its name too, which the library must not resolve by itself.
    for host in ["127.0.0.1", "localhost"] {
        let text = format!("mongodb://{host}:{}/?nodes={named}", member.port);
        let target = Target::parse(&text).expect("a URL").with_reach(Arc::new(Home));
        let error = refused(within_patience(MongoDb.connect(&target)).await);
        assert_eq!((error.kind(), error.hint()), (ErrorKind::Rejected, Some("stay at home")), "{error}");
        assert!(error.to_string().contains(&named), "{error}");
    }
    assert!(member.connections() > 1, "the other one was asked");
    assert_eq!(stranger.connections(), 0, "nobody may go there");
}

#[tokio::test]
async fn a_certificate_is_not_verified_against_another_name_than_the_targets() {
    let target = |host: &str, tls: &str| {
        let target = Target::parse(&format!("mongodb://{host}:1/?connect_timeout=0.5&tls={tls}")).expect("a URL");
        target.with_reach(Arc::new(Home))
    };
    let error = refused(within_patience(MongoDb.connect(&target("localhost", "verify"))).await);
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    for (host, tls) in [("127.0.0.1", "verify"), ("localhost", "insecure"), ("localhost", "off")] {
        let error = refused(within_patience(MongoDb.connect(&target(host, tls))).await);
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{host} {tls}: {error}");
    }
}

#[tokio::test]
async fn a_set_without_a_primary_is_unreachable_for_now() {
    let member = Peer::start("127.0.0.1", |_, port| {
        let own = format!("127.0.0.1:{port}");
        Says::Document(hello(false, "", std::slice::from_ref(&own)))
    })
    .await;
    let error = refused(connect(member.port, "").await);
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
}

/// Bytes that begin like a reply, or do not.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let announced =
        prop_oneof![Just(i32::MAX), Just(i32::MIN), Just(-1), Just(0), Just(15), Just(16), Just(20), 17..400];
    let header = (announced, any::<i32>(), prop_oneof![Just(OP_MSG), Just(1), any::<i32>()], vec(any::<u8>(), 0..64));
    let framed = header.prop_map(|(length, number, kind, rest)| {
        let mut bytes: Vec<u8> = [length, number, 0, kind].into_iter().flat_map(i32::to_le_bytes).collect();
        bytes.extend(rest);
        bytes
    });
    let good =
        Just(reply(0, &RawDocumentBuf::try_from(&hello(true, "", &[String::new()])).expect("BSON").into_bytes()));
    prop_oneof![
        vec(any::<u8>(), 0..64),
        framed,
        hostile::mutated(good),
        Just(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())
    ]
}

/// In time, as an error of a kind that somebody can act on, and without the memory that is announced.
#[test]
fn whatever_a_server_says_first_is_an_error_in_time() {
    hostile::check(&(bytes(), hostile::end()), |runtime, (bytes, end)| {
        runtime.block_on(async {
            let peer = Peer::start("127.0.0.1", move |_, _| Says::Bytes(bytes.clone(), end)).await;
            let error = refused(connect(peer.port, "?connect_timeout=0.1").await);
            assert!(matches!(error.kind(), ErrorKind::Rejected | ErrorKind::Unreachable), "{error} ({})", error.kind());
        });
    });
}

#[test]
fn whatever_a_server_answers_to_a_read_ends_it() {
    let namespace = Namespace::new("t").expect("valid");
    let (table, records, field_count, field_length, key_length_max) = ("t", 1, 2, 4, 8);
    let dataset =
        Dataset::Records(RecordTable { namespace, table, records, field_count, field_length, key_length_max });
    hostile::check(&bytes(), |runtime, bytes| {
        runtime.block_on(async {
            let asked = Arc::new(AtomicUsize::new(0));
            let peer = Peer::start("127.0.0.1", move |command, port| {
                let own = format!("127.0.0.1:{port}");
                match command {
                    // The first is what connecting looks for.
                    "find" if asked.fetch_add(1, Ordering::Relaxed) > 0 => Says::Bytes(bytes.clone(), End::Closes),
                    "find" | "listCollections" => nothing_found(),
                    "endSessions" => Says::Document(doc! { "ok": 1.0 }),
                    _ => Says::Document(hello(true, &own, std::slice::from_ref(&own))),
                }
            })
            .await;
            let store = connect(peer.port, "").await.expect("so far it is a server");
            let spec = SessionSpec { dataset: Some(&dataset), depth: 1 };
            let mut session = within_patience(store.session(spec)).await.expect("so far it is a server");
            let read = Request::Read { key: "k", fields: Fields::All };
            let result = within_patience(execute(session.as_mut(), &read, &mut ())).await;
            let error = result.expect_err("that was no answer");
            if !session.is_broken() {
                // It was a refusal, as far as one could tell.
                return assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
            }
            assert!(error.hint().is_some(), "{error}");
            let again = within_patience(execute(session.as_mut(), &read, &mut ())).await;
            assert_eq!(again.expect_err("it is broken").kind(), ErrorKind::Unreachable);
        });
    });
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_given_up_in_time() {
    let peer = Peer::start("127.0.0.1", |_, _| Says::Bytes(Vec::new(), End::FallsSilent)).await;
    let start = std::time::Instant::now();
    let error = refused(connect(peer.port, "?connect_timeout=0.2").await);
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert!(start.elapsed() < Duration::from_secs(9), "it took the library's own time");
}
