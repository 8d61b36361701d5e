//! Servers that answer what none would, and URLs of the environment.

use std::sync::Arc;

use ::store::{
    DataSize, Dataset, Driver, ErrorKind, Fields, Namespace, OperationRows, RecordTable, Request, SessionSpec, Store,
    Target, Values, execute,
};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{AGGREGATE, InfluxDb, QUERY, WRITE};
use crate::hostile::{self, within_patience};

const HEALTH: &str = r#"{"name":"influxdb","message":"ready","status":"pass","version":"v2.9.1","commit":"x"}"#;
const ORGANISATIONS: &str = r#"{"orgs":[{"id":"0123456789abcdef","name":"lab"}]}"#;

/// What a peer says: to be asked for its health, for its organisations, and all else.
#[derive(Debug, Clone)]
struct Answers {
    health: Vec<u8>,
    organisations: Vec<u8>,
    rest: (u16, Vec<u8>),
}

impl Answers {
    /// Those of a server up to the rest.
    fn then(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { health: HEALTH.into(), organisations: ORGANISATIONS.into(), rest: (status, body.into()) }
    }

    fn to(&self, request: &str) -> (u16, &[u8]) {
        if request.starts_with("GET /health ") {
            (200, &self.health)
        } else if request.starts_with("GET /api/v2/orgs?") {
            (200, &self.organisations)
        } else {
            (self.rest.0, &self.rest.1)
        }
    }
}

/// A peer that says so on every connection.
async fn peer(answers: Answers) -> (JoinHandle<()>, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("our own connection");
            tokio::spawn(serve(stream, answers.clone()));
        }
    });
    (task, port)
}

/// Answers until whoever asks has gone.
async fn serve(mut stream: TcpStream, answers: Answers) {
    let mut request = Vec::new();
    loop {
        let mut buffer = vec![0; 64 << 10];
        match stream.read(&mut buffer).await {
            Ok(length @ 1..) => request.extend_from_slice(&buffer[..length]),
            _ => return,
        }
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() < length.map_or(0, |length| length.parse().expect("a length")) {
            continue;
        }
        let (status, body) = answers.to(&text);
        // A reply of that status has no body by definition.
        let body = if status == 204 { b"" } else { body };
        let head = if status == 204 { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let reply = [format!("HTTP/1.1 {status} x\r\n{head}\r\n").as_bytes(), body].concat();
        if stream.write_all(&reply).await.is_err() {
            return;
        }
        request.clear();
    }
}

async fn connect(port: u16) -> ::store::Result<Arc<dyn Store>> {
    let target = Target::parse(&format!("influxdb://token:secret@127.0.0.1:{port}/lab?connect_timeout=20"));
    within_patience(InfluxDb.connect(&target.expect("a URL"))).await
}

fn namespace() -> Namespace {
    Namespace::new("x").expect("valid")
}

fn records() -> Dataset {
    Dataset::Records(RecordTable {
        namespace: namespace(),
        table: "usertable",
        records: 10,
        field_count: 3,
        field_length: 4,
        key_length_max: 32,
    })
}

fn readings() -> Dataset {
    Dataset::Operations(OperationRows { namespace: namespace(), rows: 20, size: DataSize::Small, seed: 1 })
}

/// What a server says to queries, more or less.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let well_formed = prop_oneof![
        Just(&b",result,table,_value,_field\r\n,_result,0,abcd,field0\r\n,_result,0,\"a\"\"b\",field2\r\n\r\n"[..]),
        Just(&b",result,table,_value\r\n,_result,0,k1\r\n,_result,0,k2\r\n\r\n"[..]),
        Just(&b",result,table,_value,_field,id\r\n,_result,0,abcd,field0,k1\r\n,_result,0,x,field99999,k2\r\n\r\n"[..]),
        Just(&b",result,table,_time,_value,_field\r\n,_result,0,2020-01-01T00:00:00Z,7,value\r\n\r\n"[..]),
        Just(
            &b",result,table,_time,_value\r\n,mean,0,2020-01-01T00:01:00Z,4.5\r\n,max,0,2020-01-01T00:01:00Z,9\r\n"[..]
        ),
        Just(&b"\r\n"[..]),
        Just(&br#"{"code":"internal error","message":"no"}"#[..]),
    ]
    .prop_map(<[u8]>::to_vec);
    prop_oneof![3 => hostile::mutated(well_formed.clone()), 1 => well_formed, 1 => vec(any::<u8>(), 0..100)]
}

#[test]
fn whatever_a_server_answers_is_an_outcome_or_an_error_and_the_session_goes_on() {
    let statuses = proptest::sample::select(vec![200_u16, 200, 200, 204, 206, 400, 401, 404, 422, 429, 500, 503, 504]);
    hostile::check(&(statuses, bodies()), |runtime, (status, body)| {
        runtime.block_on(async {
            let (task, port) = peer(Answers::then(status, body)).await;
            let store = connect(port).await.expect("so far it is a server");
            let values = Values { bytes: b"abcd", length: 4, first: 1 };
            for (dataset, requests) in [
                (
                    records(),
                    vec![
                        Request::Read { key: "k1", fields: Fields::All },
                        Request::Read { key: "k1", fields: Fields::One(u16::MAX) },
                        Request::Scan { start: "k", limit: 5 },
                        Request::Update { key: "k1", values },
                        Request::Delete { key: "k1" },
                    ],
                ),
                (
                    readings(),
                    [WRITE, QUERY, AGGREGATE].map(|operation| Request::Operation { operation, row: 3 }).into(),
                ),
            ] {
                let spec = SessionSpec { dataset: Some(&dataset), depth: 1 };
                let mut session = store.session(spec).await.expect("listening");
                for request in requests {
                    if let Err(error) = within_patience(execute(session.as_mut(), &request, &mut ())).await {
                        let kind = error.kind();
                        let is_told = matches!(kind, ErrorKind::WrongResult | ErrorKind::Rejected | ErrorKind::Timeout);
                        assert!(is_told && error.hint().is_some(), "{request:?}: {error} ({kind})");
                    }
                    assert!(!session.is_broken(), "{request:?}");
                }
                for result in [store.load_state(&dataset).await.map(drop), store.create(&dataset).await] {
                    assert!(result.is_err_and(|error| error.hint().is_some()), "that is no list of buckets");
                }
            }
            assert!(store.counters().await.map_or_else(|error| error.hint().is_some(), |_| true));
            task.abort();
        });
    });
}

#[test]
fn whoever_is_no_influxdb_is_refused_with_a_hint() {
    let text = |text: &'static str| Just(text.as_bytes().to_vec());
    let health =
        prop_oneof![hostile::mutated(text(HEALTH)), text("{}"), text("[]"), vec(any::<u8>(), 0..40), text(HEALTH)];
    let organisations =
        prop_oneof![hostile::mutated(text(ORGANISATIONS)), text(r#"{"orgs":[]}"#), vec(any::<u8>(), 0..40)];
    hostile::check(&(health, organisations), |runtime, (health, organisations)| {
        runtime.block_on(async {
            let answers = Answers { health, organisations, ..Answers::then(404, "") };
            let (task, port) = peer(answers).await;
            if let Err(error) = connect(port).await {
                assert!(matches!(error.kind(), ErrorKind::Rejected | ErrorKind::Config), "{error} ({})", error.kind());
                assert!(error.hint().is_some() && !error.to_string().contains("secret"), "{error}");
            }
            task.abort();
        });
    });
}

#[tokio::test]
async fn versions_that_speak_otherwise_are_told_apart() {
    for (health, expect) in [
        (HEALTH.replace("v2.9.1", "1.8.10"), "version 2 is spoken"),
        (HEALTH.replace("v2.9.1", "v3.0.0"), "version 2 is spoken"),
        (HEALTH.replace("influxdb", "elasticsearch"), "not as InfluxDB does"),
    ] {
        let (task, port) = peer(Answers { health: health.into(), ..Answers::then(200, "") }).await;
        let error = connect(port).await.err().expect("refused");
        assert!(error.kind() == ErrorKind::Rejected && error.to_string().contains(expect), "{error}");
        task.abort();
    }
    let two = r#"{"orgs":[{"id":"0123456789abcdef"},{"id":"0123456789abcdee"}]}"#;
    let (task, port) = peer(Answers { organisations: two.into(), ..Answers::then(200, "") }).await;
    assert_eq!(connect(port).await.err().expect("which of them?").kind(), ErrorKind::Config);
    task.abort();
}

#[tokio::test]
async fn keys_out_of_order_are_noticed() {
    let body = ",result,table,_value\r\n,_result,0,k3\r\n,_result,0,k2\r\n\r\n";
    let (task, port) = peer(Answers::then(200, body)).await;
    let store = connect(port).await.expect("so far it is a server");
    let dataset = records();
    let mut session = store.session(SessionSpec { dataset: Some(&dataset), depth: 1 }).await.expect("listening");
    let error = execute(session.as_mut(), &Request::Scan { start: "k", limit: 2 }, &mut ()).await.expect_err("noticed");
    assert_eq!(error.kind(), ErrorKind::WrongResult);
    task.abort();
}

#[test]
fn the_environments_url_has_its_parts() {
    let url = |variables: &[(&str, &str)]| {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        InfluxDb.url_from_environment(&lookup).expect("there is always one")
    };
    for (variables, expect) in [
        (&[][..], "influxdb://127.0.0.1:8086/"),
        (&[("INFLUXDB_URL", "http://influxdb:8086")], "influxdb://influxdb:8086/"),
        (&[("INFLUXDB_URL", "https://db.example/")], "influxdb://db.example/?tls=verify"),
        (
            &[("INFLUXDB_ORG", "my org"), ("INFLUXDB_TOKEN", "a/b=="), ("INFLUXDB_BUCKET", "x")],
            "influxdb://token:a%2Fb%3D%3D@127.0.0.1:8086/my%20org",
        ),
    ] {
        assert_eq!(url(variables), expect);
        let target = Target::parse(expect).expect("a URL");
        target.check_options(InfluxDb.options()).expect("known options");
        assert!(!target.to_string().contains("a/b=="), "{target}");
    }
}
