//! What needs no server: addresses, errors, and peers that are no `DynamoDB`. The rest is the conformance suite's.

use std::time::Duration;

use ::store::{Driver, ErrorKind, Fields, Request, Target, execute};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::DynamoDb;
use super::address::{Address, url_from_environment};
use super::link::Link;
use super::session;
use crate::hostile::{self, End, Script, within_patience};

fn address(url: &str) -> ::store::Result<Address> {
    let target = Target::parse(url).expect("a URL");
    target.check_options(DynamoDb.options())?;
    Address::of(&target)
}

fn at(port: u16) -> Address {
    address(&format!("dynamodb://127.0.0.1:{port}?shards=2")).expect("valid")
}

fn dataset() -> ::store::Dataset {
    ::store::Dataset::Records(::store::RecordTable {
        namespace: ::store::Namespace::new("t").expect("valid"),
        table: "usertable",
        records: 10,
        field_count: 2,
        field_length: 3,
        key_length_max: 20,
    })
}

#[test]
fn this_machine_is_reached_in_clear_text_and_everybody_else_encrypted() {
    for (url, expect, region) in [
        ("dynamodb://127.0.0.1", "http://127.0.0.1:8000", "us-east-1"),
        ("dynamodb://localhost:8123?region=eu-west-1", "http://localhost:8123", "eu-west-1"),
        ("dynamodb://[::1]", "http://[::1]:8000", "us-east-1"),
        ("dynamodb://127.0.0.1:8443?tls=verify", "https://127.0.0.1:8443", "us-east-1"),
        ("dynamodb://k:s@dynamodb.eu-north-1.amazonaws.com", "https://dynamodb.eu-north-1.amazonaws.com", "eu-north-1"),
        ("dynamodb://k:s@dynamodb.example?tls=off&region=here", "http://dynamodb.example:8000", "here"),
        ("dynamodb://k:s@dynamodb.example:8443", "https://dynamodb.example:8443", "us-east-1"),
    ] {
        let address = address(url).expect("valid");
        assert_eq!((address.url.as_str(), address.region.as_str()), (expect, region), "{url}");
    }
}

#[test]
fn what_cannot_work_is_the_users_to_correct() {
    for (url, what) in [
        ("dynamodb://k:canary@127.0.0.1/tables", "tables"),
        ("dynamodb://k:canary@127.0.0.1?consistency=sometimes", "consistency"),
        ("dynamodb://k:canary@127.0.0.1?shards=0", "shards"),
        ("dynamodb://k:canary@127.0.0.1?shards=257", "shards"),
        ("dynamodb://k:canary@127.0.0.1?table_timeout=0", "table_timeout"),
        ("dynamodb://k:canary@127.0.0.1?table_timeout=inf", "table_timeout"),
        ("dynamodb://k:canary@127.0.0.1?region=a/b", "region"),
        ("dynamodb://k:canary@127.0.0.1?tls=perhaps", "tls"),
        ("dynamodb://k@127.0.0.1", "access key"),
        ("dynamodb://:canary@127.0.0.1", "access key"),
        ("dynamodb://dynamodb.eu-west-1.amazonaws.com", "access key"),
    ] {
        let error = address(url).err().expect("it cannot work");
        assert_eq!(error.kind(), ErrorKind::Config, "{url}: {error}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(what) && !shown.contains("canary"), "{url}: {shown}");
    }
}

#[test]
fn the_environment_names_our_own_variables_only() {
    let url = |variables: &[(&str, &str)]| {
        url_from_environment(&|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    };
    assert_eq!(url(&[("AWS_ACCESS_KEY_ID", "x"), ("AWS_REGION", "x")]), "dynamodb://127.0.0.1:8000");
    let account = [("DYNAMODB_ACCESS_KEY", "AK"), ("DYNAMODB_SECRET_KEY", "a/b+c"), ("DYNAMODB_REGION", "eu-west-1")];
    assert_eq!(url(&account), "dynamodb://AK:a%2Fb%2Bc@127.0.0.1:8000/?region=eu%2Dwest%2D1");
    let host = "dynamodb.eu-west-1.amazonaws.com";
    let found = url(&[&account[..2], &[("DYNAMODB_HOST", host)]].concat());
    assert_eq!(address(&found).expect("valid").url, format!("https://{host}"));
    assert_eq!(url(&[("DYNAMODB_HOST", "::1"), ("DYNAMODB_PORT", "1")]), "dynamodb://[::1]:1");
}

/// A reply with a body.
fn reply(status: &str, body: &str) -> Vec<u8> {
    let head = "content-type: application/x-amz-json-1.0\r\n";
    format!("HTTP/1.1 {status}\r\n{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A peer that gives each connection its replies, one to each request, and then closes it; the requests that it was sent.
async fn peer(connections: Vec<Vec<Vec<u8>>>) -> (JoinHandle<Vec<String>>, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let task = tokio::spawn(async move {
        let mut requests = Vec::new();
        for replies in connections {
            let (mut stream, _) = listener.accept().await.expect("our own connection");
            for reply in replies {
                requests.push(request(&mut stream).await);
                stream.write_all(&reply).await.expect("our own connection");
            }
        }
        requests
    });
    (task, port)
}

async fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = vec![0; 64 << 10];
        let length = stream.read(&mut buffer).await.expect("our own connection");
        assert_ne!(length, 0, "the request has ended early");
        bytes.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().expect("a length")) {
            return text.into_owned();
        }
    }
}

#[tokio::test]
async fn requests_are_signed_for_the_targets_key_and_region() {
    let (task, port) = peer(vec![vec![reply("200 OK", r#"{"TableNames":[]}"#)]]).await;
    let url = format!("dynamodb://AKTEST:canary@127.0.0.1:{port}?region=eu-west-1&session_token=token7");
    let link = Link::open(&address(&url).expect("valid")).await.expect("listening");
    link.client.list_tables().send().await.expect("answered");
    let request = task.await.expect("no panic").remove(0);
    let head = request.to_ascii_lowercase();
    assert!(head.starts_with("post / http/1.1\r\n"), "{request}");
    for wanted in [
        format!("\r\nhost: 127.0.0.1:{port}\r\n"),
        "credential=aktest/".to_owned(),
        "/eu-west-1/dynamodb/aws4_request".to_owned(),
        "\r\nx-amz-security-token: token7\r\n".to_owned(),
        "\r\nx-amz-target: dynamodb_20120810.listtables\r\n".to_owned(),
    ] {
        assert!(head.contains(&wanted), "{wanted} is not in {request}");
    }
    assert_eq!(head.matches("\r\nhost:").count(), 1, "{request}");
    assert!(!head.contains("canary"), "{request}");
}

#[tokio::test]
async fn errors_of_the_service_are_sorted_by_who_must_act() {
    for (status, code, expect) in [
        ("400 Bad Request", "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", ErrorKind::Rejected),
        ("400 Bad Request", "com.amazonaws.dynamodb.v20120810#TransactionConflictException", ErrorKind::Conflict),
        (
            "400 Bad Request",
            "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
            ErrorKind::Rejected,
        ),
        ("400 Bad Request", "com.amazon.coral.service#UnrecognizedClientException", ErrorKind::Rejected),
        ("400 Bad Request", "com.amazon.coral.validate#ValidationException", ErrorKind::Rejected),
        ("500 Internal Server Error", "com.amazonaws.dynamodb.v20120810#InternalServerError", ErrorKind::Rejected),
        ("503 Service Unavailable", "", ErrorKind::Rejected),
    ] {
        let body = if code.is_empty() { String::new() } else { format!(r#"{{"__type":"{code}","message":"canary"}}"#) };
        let (task, port) = peer(vec![vec![reply(status, &body)]]).await;
        let mut session =
            session::open(Link::open(&at(port)).await.expect("listening"), Some(&dataset()), at(port).settings);
        let read = Request::Read { key: "k", fields: Fields::All };
        let error = within_patience(execute(session.as_mut(), &read, &mut ())).await.expect_err("refused");
        assert_eq!(error.kind(), expect, "{code}: {error}");
        assert!(!session.is_broken(), "{code}");
        assert!(expect == ErrorKind::Conflict || error.hint().is_some(), "{code}");
        assert_eq!(error.to_string().contains("canary"), !code.contains("UnrecognizedClient") && !code.is_empty());
        // It was asked once: nothing is repeated.
        assert_eq!(task.await.expect("no panic").len(), 1, "{code}");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_opened_anew_and_any_other_is_lost() {
    let answer = reply("200 OK", r#"{"TableNames":[]}"#);
    let (task, port) = peer(vec![vec![answer.clone()], vec![answer], vec![]]).await;
    let link = Link::open(&at(port)).await.expect("listening");
    link.client.list_tables().send().await.expect("answered");
    // The peer has closed it; so long after the last request that is no surprise.
    let asked = async {
        loop {
            link.rest();
            if link.client.list_tables().send().await.is_ok() || link.is_broken() {
                return;
            }
        }
    };
    within_patience(asked).await;
    assert!(!link.is_broken());
    let lost = within_patience(link.client.list_tables().send()).await.map_err(super::fault::error);
    assert_eq!(lost.expect_err("closed just now").kind(), ErrorKind::Unreachable);
    assert!(link.is_broken());
    let lost = link.client.list_tables().send().await.map_err(super::fault::error);
    assert_eq!(lost.expect_err("and stays so").kind(), ErrorKind::Unreachable);
    task.abort();
}

#[tokio::test]
async fn a_request_that_is_given_up_closes_its_connection() {
    let (task, port) = hostile::peer(Script::new(b"", b"", &[], End::FallsSilent)).await;
    let link = Link::open(&at(port)).await.expect("listening");
    let asked = tokio::time::timeout(Duration::from_millis(5), link.client.list_tables().send()).await;
    assert!(asked.is_err() && link.is_broken());
    drop(link);
    // Nothing of it is left: the peer reads to the end.
    within_patience(task).await.expect("no panic");
}

/// Whatever comes back to whichever request: an error or an answer, in time.
#[test]
fn what_a_peer_may_send_is_an_answer_or_an_error() {
    let answers = prop_oneof![
        Just(
            r#"{"Item":{"storelab_shard":{"N":"1"},"ycsb_key":{"S":"k"},"field0":{"S":"abc"},"field1":{"S":"d\u00e9"}}}"#
        ),
        Just(
            r#"{"Items":[{"ycsb_key":{"S":"k"},"field0":{"S":"x"}}],"Count":1,"LastEvaluatedKey":{"ycsb_key":{"S":"k"}}}"#
        ),
        Just(r#"{"Items":[],"Count":0,"ScannedCount":0}"#),
        Just(r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"no"}"#),
        Just(r#"{"Attributes":{"a":{"M":{"b":{"L":[{"B":"AAA="},{"BOOL":true},{"NULL":true},{"NS":["1"]}]}}}}}"#),
    ];
    let answers = answers.prop_map(|text| text.as_bytes().to_vec());
    let deep = format!(r#"{{"Item":{{"a":{}"#, r#"{"L":["#.repeat(200_000)).into_bytes();
    let bodies = prop_oneof![
        8 => hostile::mutated(answers),
        4 => vec(any::<u8>(), 0..100),
        1 => Just(deep),
        1 => Just(br#"{"Item":{"field0":{"S":1e999999999}}}"#.to_vec()),
    ];
    let requests = 0..5_u8;
    hostile::check(&(bodies, any::<bool>(), requests), |runtime, (body, is_error, request)| {
        runtime.block_on(async {
            let status = if is_error { "400 Bad Request" } else { "200 OK" };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
            let answer = [head.into_bytes(), body].concat();
            let (task, port) = hostile::peer(Script::new(&answer, b"", &[], End::Closes)).await;
            let address = at(port);
            let link = within_patience(Link::open(&address)).await.expect("listening");
            let mut session = session::open(link, Some(&dataset()), address.settings);
            let values = ::store::Values { bytes: b"abcdef", length: 3, first: 0 };
            let submit = |session: &mut dyn ::store::Session, token| {
                let request = match request {
                    0 => Request::Read { key: "k", fields: Fields::All },
                    1 => Request::Scan { start: "", limit: 3 },
                    2 => Request::Insert { key: "k", values },
                    3 => Request::Update { key: "k", values },
                    _ => Request::Delete { key: "k" },
                };
                session.submit(token, &request)
            };
            hostile::drive(session.as_mut(), submit, task).await;
        });
    });
}
