//! The driver against a real server: a `redis-server` of the test's own, on a free port of loopback.

mod cluster;
mod hostile;
mod operations;
mod records;
mod redirects;
mod server;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ::store::{
    Counters, DataSize, Dataset, Driver, Error, ErrorKind, LoadPart, LoadState, Namespace, NullSource, OperationRows,
    Record, RecordSource, RecordTable, Request, Result, Rows, Session, SessionSpec, Store, Target, Value, execute,
};

use self::server::Server;
use super::Redis;
use super::connection::{Address, Connection};
use super::reply::Replies;

/// Bytes of a field of the tests' records.
const FIELD_LENGTH: usize = 8;

/// Records `user0000` … with two fields that hold their number.
struct Numbered;

impl RecordSource for Numbered {
    fn fill(&self, number: u64, record: &mut Record) {
        record.key = format!("user{number:04}");
        record.fields = format!("{number:08}{number:08}").into_bytes();
    }
}

/// A row that was shown: its key where it came with one, and its values by column.
type SeenRow = (Option<String>, Vec<(usize, String)>);

/// Writes down what it is shown.
#[derive(Default)]
struct Seen(Vec<SeenRow>);

impl Rows for Seen {
    fn row(&mut self, key: Option<&str>) {
        self.0.push((key.map(str::to_owned), Vec::new()));
    }

    fn value(&mut self, column: usize, value: Value<'_>) {
        let text = String::from_utf8_lossy(value.as_bytes().expect("records hold text")).into_owned();
        let row = self.0.last_mut().expect("a row begins before its values");
        row.1.push((column, text));
        // A server may give the fields in any order.
        row.1.sort_unstable();
    }
}

fn records(count: u64) -> Dataset {
    let namespace = Namespace::new("records").expect("valid");
    Dataset::Records(RecordTable {
        namespace,
        table: "t",
        records: count,
        field_count: 2,
        field_length: FIELD_LENGTH,
        key_length_max: 8,
    })
}

fn rows(count: u64, size: DataSize) -> Dataset {
    let namespace = Namespace::new("rows").expect("valid");
    Dataset::Operations(OperationRows { namespace, rows: count, size, seed: 42 })
}

async fn connect(url: &str) -> Result<Arc<dyn Store>> {
    Redis.connect(&Target::parse(url).expect("a URL of the test's own")).await
}

/// Creates the dataset and loads it in two parts.
async fn load(store: &dyn Store, dataset: &Dataset) {
    store.create(dataset).await.expect("nothing is in the way");
    let (source, progress): (&dyn RecordSource, _) = match dataset {
        Dataset::Records(_) => (&Numbered, AtomicU64::new(0)),
        Dataset::Operations(_) | Dataset::Tables(_) => (&NullSource, AtomicU64::new(0)),
    };
    for index in 0..2 {
        store.load(dataset, LoadPart { index, of: 2 }, source, &progress).await.expect("the server takes the data");
    }
    assert_eq!(progress.into_inner(), dataset.rows());
    assert_eq!(store.load_state(dataset).await.expect("readable"), LoadState::Partial);
    store.finish_load(dataset).await.expect("writable");
    let complete = LoadState::Loaded(dataset.fingerprint());
    assert_eq!(store.load_state(dataset).await.expect("readable"), complete);
}

async fn session(store: &dyn Store, dataset: &Dataset, depth: usize) -> Box<dyn Session> {
    store.session(SessionSpec { dataset: Some(dataset), depth }).await.expect("the server takes another connection")
}

/// Runs a request and gives its number of rows or the kind of its error.
async fn run(session: &mut dyn Session, request: Request<'_>, rows: &mut dyn Rows) -> Result<u64, ErrorKind> {
    execute(session, &request, rows).await.map(|outcome| outcome.rows).map_err(|error| error.kind())
}

/// A connection of the test's own, to look at the server and to change it behind the driver's back.
async fn beside(server: &Server) -> Connection {
    let target = Target::parse(&server.url()).expect("a URL of the test's own");
    Connection::open(&Address::of(&target).expect("valid")).await.expect("the server runs")
}

async fn key_count(connection: &mut Connection) -> i64 {
    let read = |replies: &mut Replies<'_>| replies.integer();
    connection.ask(&[b"DBSIZE"], read).await.expect("a number")
}

fn hinted(error: &Error) -> ErrorKind {
    assert!(error.hint().is_some(), "no hint: {error}");
    error.kind()
}

#[tokio::test]
async fn the_manifest_protects_what_is_not_ours() {
    let Some(server) = Server::start(&[]) else { return };
    let store = connect(&server.url()).await.expect("the server runs");
    let mut beside = beside(&server).await;
    let dataset = records(50);
    beside.tell(&[b"SET", b"storelab_records:theirs", b"1"]).await.expect("writable");
    beside.tell(&[b"SET", b"user0001", b"precious"]).await.expect("writable");
    assert_eq!(hinted(&store.create(&dataset).await.expect_err("a key is in the way")), ErrorKind::Config);
    assert_eq!(store.load_state(&dataset).await.expect("readable"), LoadState::Absent);
    assert_eq!(key_count(&mut beside).await, 2, "nothing was made");

    beside.tell(&[b"DEL", b"storelab_records:theirs"]).await.expect("writable");
    load(store.as_ref(), &dataset).await;
    let owned = store.owned().await.expect("readable");
    assert_eq!((owned.len(), owned[0].kind.as_str(), owned[0].name.as_str()), (1, "keys", "storelab_records:*"));
    // 50 records, their index, the manifest, and the key that was there before.
    assert_eq!(key_count(&mut beside).await, 53);
    load(store.as_ref(), &records(20)).await;
    assert_eq!(key_count(&mut beside).await, 23, "a load replaces the one before");

    // An entry that cannot be Storelab's must not widen what is removed.
    beside.tell(&[b"HSET", b"storelab_manifest", b"*", b"loaded"]).await.expect("writable");
    let other = Namespace::new("other").expect("valid");
    assert_eq!(store.clean(Some(&other)).await.expect("possible"), []);
    assert_eq!(store.clean(None).await.expect("possible"), owned);
    beside.tell(&[b"HDEL", b"storelab_manifest", b"*"]).await.expect("writable");
    assert_eq!(store.clean(None).await.expect("cleaning nothing is fine"), []);
    assert_eq!(key_count(&mut beside).await, 1, "only what was there before is left");
    let kept = beside.ask(&[b"GET", b"user0001"], |replies| Ok(replies.bytes()?.to_vec())).await.expect("there");
    assert_eq!(kept, b"precious");

    beside.tell(&[b"SET", b"storelab_manifest", b"theirs"]).await.expect("writable");
    assert_eq!(hinted(&store.create(&dataset).await.expect_err("in the way")), ErrorKind::Config);
}

#[tokio::test]
async fn the_server_is_described_and_counted() {
    let Some(server) = Server::start(&["--maxmemory", "100mb", "--maxmemory-policy", "noeviction"]) else { return };
    let store = connect(&server.url()).await.expect("the server runs");
    let info = store.server().await.expect("readable");
    assert!(info.version.starts_with("Redis ") || info.version.starts_with("Valkey "), "{}", info.version);
    assert_eq!(info.process_id, Some(server.process_id()));
    assert_eq!(info.settings["maxmemory"], "104857600");
    assert_eq!(info.settings["maxmemory-policy"], "noeviction");
    let before = store.counters().await.expect("readable");
    let after = store.counters().await.expect("readable");
    for name in ["total_commands_processed", "commandstats_calls"] {
        assert!(after[name] > before[name], "{name} grows");
    }
    for name in ["used_memory", "used_cpu_user", "connected_clients", "commandstats_usec"] {
        assert!(after.contains_key(name), "{name} is counted");
    }
    let connections = |counters: &Counters| counters["total_connections_received"] as u64;
    assert_eq!(connections(&after), connections(&before), "the connection is kept");
}

#[tokio::test]
async fn entering_a_server_fails_with_who_must_act() {
    let Some(server) = Server::start(&["--requirepass", "canary"]) else { return };
    let port = server.port();
    let check = async |url: String, expect: Option<ErrorKind>| {
        let found = connect(&url).await.err();
        if let Some(error) = &found {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("canary") && !shown.contains("wrong1"), "a password is shown: {shown}");
        }
        assert_eq!(found.as_ref().map(hinted), expect, "{url}");
    };
    check(format!("redis://:canary@127.0.0.1:{port}"), None).await;
    check(format!("redis://default:canary@127.0.0.1:{port}/3"), None).await;
    check(format!("redis://:wrong1@127.0.0.1:{port}"), Some(ErrorKind::Rejected)).await;
    check(format!("redis://nobody:canary@127.0.0.1:{port}"), Some(ErrorKind::Rejected)).await;
    check(format!("redis://127.0.0.1:{port}"), Some(ErrorKind::Rejected)).await;
    check(format!("redis://nobody@127.0.0.1:{port}"), Some(ErrorKind::Config)).await;
    check(format!("redis://:canary@127.0.0.1:{port}/x"), Some(ErrorKind::Config)).await;
    drop(server);
    check(format!("redis://127.0.0.1:{port}"), Some(ErrorKind::Unreachable)).await;
}

#[tokio::test]
async fn what_is_no_server_of_this_kind_is_recognised() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let answers: [(&[u8], bool, ErrorKind); 3] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", true, ErrorKind::Rejected),
        (b"", true, ErrorKind::Unreachable),
        (b"", false, ErrorKind::Unreachable),
    ];
    for (answer, closes, expect) in answers {
        let peer = async {
            let (mut stream, _) = listener.accept().await.expect("our own connection");
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.expect("the driver listens");
            if closes { None } else { Some(stream) }
        };
        let url = format!("redis://127.0.0.1:{port}?connect_timeout=0.2");
        let (_kept_open, store) = futures_util::future::join(peer, connect(&url)).await;
        assert_eq!(store.err().as_ref().map(hinted), Some(expect), "{:?}", String::from_utf8_lossy(answer));
    }
}

#[tokio::test]
async fn a_server_that_is_killed_ends_all_requests_in_flight() {
    let Some(mut server) = Server::start(&[]) else { return };
    let store = connect(&server.url()).await.expect("the server runs");
    let dataset = records(10);
    load(store.as_ref(), &dataset).await;
    let mut session = session(store.as_ref(), &dataset, 16).await;
    // The server takes the requests but does not answer them, so that it dies with them in its hands.
    beside(&server).await.tell(&[b"CLIENT", b"PAUSE", b"60000"]).await.expect("allowed");
    for token in 0..16 {
        let request = Request::Read { key: "user0001", fields: ::store::Fields::All };
        session.submit(token, &request).expect("below the depth");
    }
    std::future::poll_fn(|context| {
        assert!(session.poll_completion(context, &mut ()).is_pending(), "the server is paused");
        std::task::Poll::Ready(())
    })
    .await;
    server.kill();
    for token in 0..16 {
        let completion = ::store::complete(session.as_mut(), &mut ()).await;
        assert_eq!(completion.token, token);
        assert_eq!(hinted(&completion.result.expect_err("nobody answered")), ErrorKind::Unreachable);
    }
    assert!(session.is_broken() && session.in_flight() == 0);
    assert_eq!(store.counters().await.expect_err("nobody answers").kind(), ErrorKind::Unreachable);
}

#[tokio::test]
async fn connections_are_encrypted_and_certificates_verified() {
    let Some((server, authority)) = Server::start_encrypted() else { return };
    let port = server.port();
    let authority = authority.display();
    let store = connect(&format!("rediss://127.0.0.1:{port}?tls_ca={authority}")).await.expect("it is trusted");
    let dataset = rows(300, DataSize::Large);
    load(store.as_ref(), &dataset).await;
    let mut session = session(store.as_ref(), &dataset, 16).await;
    for row in 0..300 {
        assert_eq!(operations::by_name(session.as_mut(), "pipeline", row).await.expect("verified"), 16);
    }
    connect(&format!("rediss://127.0.0.1:{port}?tls=insecure")).await.expect("not verified");
    let error = connect(&format!("rediss://127.0.0.1:{port}")).await.err().expect("an unknown authority");
    assert_eq!(hinted(&error), ErrorKind::Rejected);
    let error = connect(&format!("redis://127.0.0.1:{port}")).await.err().expect("not in clear text");
    assert_eq!(hinted(&error), ErrorKind::Unreachable);
}
