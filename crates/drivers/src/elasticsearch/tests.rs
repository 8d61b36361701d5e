//! The driver against replies that no server would send, and its requests read back.

use ::store::{
    DataSize, Dataset, ErrorKind, Fields, Namespace, OperationRows, RecordTable, Request, Secret, SessionSpec, Values,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::client::{Address, Client};
use super::json::{self, Document, Found};
use super::operations::OPERATIONS;
use super::session::Worker;
use super::*;
use crate::hostile::{self, Script};
use crate::lane::{LaneSession, serve};
use crate::rows::RowBuffer;

fn records() -> Dataset {
    Dataset::Records(RecordTable {
        namespace: Namespace::new("x").expect("valid"),
        table: "usertable",
        records: 3,
        field_count: 2,
        field_length: 3,
        key_length_max: 10,
    })
}

fn rows() -> Dataset {
    let namespace = Namespace::new("x").expect("valid");
    Dataset::Operations(OperationRows { namespace, rows: 10, size: DataSize::Small, seed: 7 })
}

async fn session(port: u16, dataset: &Dataset) -> LaneSession {
    let target = Target::parse(&format!("opensearch://127.0.0.1:{port}")).expect("a URL");
    let address = Address::of(&target).expect("valid");
    let client = Client::open(&address).await.expect("listening");
    let worker = Worker::new(client, &address, SessionSpec { dataset: Some(dataset), depth: 1 });
    LaneSession::new(Elasticsearch.capabilities(), None, |slot| Box::pin(async { serve(worker, slot).await }))
}

/// Well-formed replies to something.
fn reply() -> impl Strategy<Value = Vec<u8>> {
    let hit =
        r#"{"_index":"i","_id":"k\"1","_score":null,"_source":{"key":"k","field0":"a\\b","field1":"c"},"sort":["k"]}"#;
    let bodies = [
        r#"{"_index":"i","_id":"k","found":true,"_source":{"key":"k","field0":"abc","field1":"d\"e"}}"#.to_owned(),
        r#"{"_index":"i","_id":"7","result":"updated","_shards":{"total":1}}"#.to_owned(),
        r#"{"error":{"type":"version_conflict_engine_exception","reason":"no"},"status":409}"#.to_owned(),
        r#"{"error":"text","status":400}"#.to_owned(),
        format!(r#"{{"took":1,"timed_out":false,"hits":{{"hits":[{hit},{hit}]}}}}"#),
        r#"{"timed_out":false,"hits":{"hits":[]},"aggregations":{"customers":{"buckets":[]},"total":{"value":0.0}}}"#
            .to_owned(),
        "[".repeat(100_000),
        String::new(),
    ];
    let status =
        prop_oneof![Just("200 OK"), Just("201 Created"), Just("404 Not Found"), Just("409 Conflict"), Just("500 No")];
    (status, proptest::sample::select(bodies.to_vec())).prop_map(|(status, body)| {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    })
}

#[test]
fn whatever_a_server_sends_is_an_answer_or_an_error() {
    let bytes = prop_oneof![reply(), hostile::mutated(reply()), vec(any::<u8>(), 0..200)];
    let input = (bytes, hostile::cuts(), hostile::end(), 0..5 + OPERATIONS.len() as u16);
    hostile::check(&input, |runtime, (bytes, cuts, end, kind)| {
        runtime.block_on(async {
            // The peer answers what it is told second; the first is the beginning of a request that takes two reads.
            let long = "x".repeat(80 << 10);
            let (task, port) = hostile::peer(Script::new(b"", &bytes, &cuts, end)).await;
            let dataset = if kind < 5 { records() } else { rows() };
            let mut session = session(port, &dataset).await;
            let values = Values { bytes: long.as_bytes(), length: 1 << 10, first: 0 };
            let submit = |session: &mut dyn ::store::Session, token| {
                let request = match kind {
                    0 => Request::Read { key: "k", fields: Fields::All },
                    1 => Request::Read { key: "k", fields: Fields::One(1) },
                    2 => Request::Scan { start: &long, limit: 10 },
                    3 => Request::Insert { key: "k", values },
                    4 => Request::Update { key: "k", values },
                    operation => Request::Operation { operation: operation - 5, row: 7 },
                };
                session.submit(token, &request)
            };
            hostile::within_patience(hostile::drive(&mut session, submit, task)).await;
        });
    });
}

proptest! {
    #[test]
    fn what_is_written_as_json_is_read_back(texts in vec("\\PC*|[\\x00-\\x7f]*", 1..6), field in 0..100_u16) {
        let mut out = Vec::new();
        for text in &texts {
            out.clear();
            json::push_text(&mut out, text.as_bytes());
            prop_assert_eq!(&serde_json::from_slice::<String>(&out).expect("JSON"), text);
        }
        // Fields come back by their numbers, in whatever order they are.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.rotate_left(usize::from(field) % texts.len());
        let pairs: Vec<_> = order.iter().map(|place| format!("\"field{place}\":{}", serde_json::json!(texts[*place]))).collect();
        let source = format!("{{\"found\":true,\"_source\":{{\"key\":\"k\",{}}}}}", pairs.join(","));
        let document: Document<'_> = json::parse(source.as_bytes()).expect("JSON");
        let mut rows = RowBuffer::default();
        rows.begin_row();
        json::push_record(document.source.expect("there"), Fields::All, &mut rows).expect("a record");
        let found: Vec<_> = rows.row(0).filter_map(|value| value.as_bytes().map(<[u8]>::to_vec)).collect();
        let expect: Vec<_> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        prop_assert_eq!(found, expect);
    }
}

#[test]
fn records_that_are_none_are_wrong_results() {
    for source in [r#"{"field0":1}"#, r#"{"field1":"a"}"#, r#"{"field0":"a","field0":"b"}"#, "[]", r#"{"field0":null}"#]
    {
        let text = format!("{{\"found\":true,\"_source\":{source}}}");
        let document: Document<'_> = json::parse(text.as_bytes()).expect("JSON");
        let mut rows = RowBuffer::default();
        rows.begin_row();
        let error = json::push_record(document.source.expect("there"), Fields::All, &mut rows).expect_err(source);
        assert_eq!(error.kind(), ErrorKind::WrongResult, "{source}");
    }
    let cut_short = br#"{"timed_out":true,"hits":{"hits":[]}}"#;
    let error = Found::<'_, IgnoredAny>::of(cut_short).err().expect("a part is no result");
    assert_eq!(error.kind(), ErrorKind::WrongResult);
}

#[test]
fn targets_say_how_they_are_entered_and_what_writes_wait_for() {
    let address = |rest: &str| Address::of(&Target::parse(&format!("elasticsearch://{rest}")).expect("a URL"));
    let plain = address("h").expect("valid");
    assert_eq!((plain.refresh, plain.shards, plain.replicas, plain.prefix.as_str()), ("true", 1, 0, ""));
    let other = address("h/a%20b/c?refresh=wait_for&shards=3&replicas=1&api_key=id:secret").expect("valid");
    assert_eq!((other.refresh, other.shards, other.replicas, other.prefix.as_str()), ("wait_for", 3, 1, "/a%20b/c"));
    for bad in
        ["h?refresh=maybe", "h?shards=0", "h?shards=x", "h?replicas=-1", "u:p@h?api_key=secret", "h?api_key=%0Asecret"]
    {
        let error = address(bad).err().expect(bad);
        assert_eq!(error.kind(), ErrorKind::Config, "{bad}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let target = Target::parse("elasticsearch://h?api_key=id:secret").expect("a URL");
    assert!(!target.to_string().contains("secret"), "{target}");
}

#[test]
fn the_documented_environment_is_understood() {
    let url = |given: &[(&str, &str)]| {
        let given: Vec<_> = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let found = move |name: &str| given.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        Elasticsearch.url_from_environment(&found).expect("there are such variables")
    };
    assert_eq!(url(&[]), "elasticsearch://elastic:changeme@127.0.0.1:9200");
    let odd = [("ELASTICSEARCH_URL", "https://[::1]:9201/"), ("ELASTICSEARCH_PASSWORD", "p@ss/:ä")];
    let target = Target::parse(&url(&odd)).expect("valid");
    assert_eq!((target.host(), target.port(), target.option("tls")), ("::1", Some(9201), Some("verify")));
    assert_eq!(target.password().map(Secret::expose), Some("p@ss/:ä"));
    assert_eq!(url(&[("ELASTICSEARCH_URL", "opensearch://u:p@h:1?tls=off")]), "opensearch://u:p@h:1?tls=off");
}
