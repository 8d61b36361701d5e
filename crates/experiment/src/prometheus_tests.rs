//! What is asked, and what is made of each kind of answer. The Prometheus here is a listener that says what the real one
//! does, as <https://prometheus.io/docs/prometheus/latest/querying/api/> documents it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};

use store::Node;

use super::*;
use crate::data::local_runtime;

const EMPTY: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;

fn plan(text: &str) -> Plan {
    Plan::parse(text).expect("a plan")
}

fn asked(text: &str, driver: &str, url: Option<&str>) -> Result<Option<Prometheus>> {
    Prometheus::of(&plan(text), driver, &|name| url.filter(|_| name == "PROMETHEUS_URL").map(str::to_owned))
}

/// Gives each connection the next answer, and the requests' first lines at the end.
fn double(answers: Vec<String>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let asked = thread::spawn(move || {
        let serve = |answer: String| {
            let (mut stream, _) = listener.accept().expect("our own connection");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a whole request");
                request.extend(byte);
            }
            let length = answer.len();
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{answer}").expect("somebody reads");
            String::from_utf8(request).expect("text").lines().next().unwrap_or_default().to_owned()
        };
        answers.into_iter().map(serve).collect()
    });
    (address, asked)
}

fn read(text: &str, url: &str) -> PrometheusRecord {
    let moment = |seconds| Timestamp::from_second(seconds).expect("a date");
    let prometheus = asked(text, "postgres", Some(url)).expect("valid").expect("collected");
    prometheus.read(&local_runtime().expect("a runtime"), moment(1_700_000_000), moment(1_700_000_010))
}

#[test]
fn a_gauge_is_a_query_over_the_seconds_of_the_run() {
    let values = r#"[[1700000000,"1"],[1700000001.5,"3"],[1700000002,"NaN"],[1700000003,"+Inf"]]"#;
    let one = format!(
        r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{}},"values":{values}}}]}}}}"#
    );
    let (address, asked) = double(vec![one]);
    let text = "{ collect: [prometheus], prometheus: { queries: { up: 'sum(up{job=\"a b\"})' } } }";
    let record = read(text, &format!("http://lab:canary@{address}/behind/"));
    let lines = asked.join().expect("it has answered");
    let expected = "GET /behind/api/v1/query_range?query=sum%28up%7Bjob%3D%22a%20b%22%7D%29\
        &start=1700000000.000&end=1700000010.000&step=1 HTTP/1.1";
    assert_eq!(lines, [expected]);
    let gauge = &record.gauges[0];
    assert_eq!(gauge.name, "prometheus.up");
    assert_eq!(gauge.points, [(0.0, 1.0), (1.5, 3.0)], "what is no number is left out");
    assert_eq!((gauge.mean, gauge.max, gauge.reason.as_deref()), (Some(2.0), Some(3.0), None));
    assert!(!format!("{record:?}").contains("canary"), "{record:?}");
}

#[test]
fn what_cannot_be_had_is_told_and_the_rest_is_kept() {
    let series = r#"{"metric":{"a":"1"},"values":[[1700000000,"1"]]}"#;
    let two = format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{series},{series}]}}}}"#);
    let wrong = r#"{"status":"error","errorType":"bad_data","error":"parse error: unexpected end"}"#;
    let vector = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
    let answers = [EMPTY, &two, wrong, vector, "<html>", "{}"].map(str::to_owned).to_vec();
    let (address, asked) = double(answers);
    let text = "{ collect: [prometheus], prometheus: { queries: { a: a, b: b, c: c, d: d, e: e, f: f } } }";
    let record = read(text, &format!("http://{address}"));
    asked.join().expect("all were asked");
    let reasons = ["no data", "2 series", "parse error", "no range", "no Prometheus", "refused"];
    assert_eq!(record.gauges.len(), reasons.len());
    for (gauge, reason) in record.gauges.iter().zip(reasons) {
        assert!(gauge.reason.as_ref().is_some_and(|said| said.contains(reason)), "{reason}: {gauge:?}");
        assert_eq!((gauge.mean, gauge.points.len()), (None, 0), "{gauge:?}");
    }
}

#[test]
fn one_that_is_away_is_asked_once() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    let record = read("{ collect: [prometheus] }", &format!("http://127.0.0.1:{port}"));
    assert_eq!(record.gauges.len(), 1, "{record:?}");
    assert!(record.gauges[0].reason.is_some(), "{record:?}");
}

#[derive(Debug)]
struct Nowhere;

impl Reach for Nowhere {
    fn permits(&self, _: &Node, _: SocketAddr) -> bool {
        false
    }

    fn permits_file(&self, _: &std::path::Path) -> bool {
        false
    }

    fn remedy(&self) -> &'static str {
        "ask an administrator"
    }
}

#[test]
fn one_that_may_not_be_reached_is_not_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("it can");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let prometheus = asked("{ collect: [prometheus] }", "redis", Some(&url)).expect("valid").expect("collected");
    let now = Timestamp::now();
    let record = prometheus.with_reach(Arc::new(Nowhere)).read(&local_runtime().expect("a runtime"), now, now);
    assert!(record.gauges[0].reason.as_ref().is_some_and(|reason| reason.contains("not permitted")), "{record:?}");
    assert!(listener.accept().is_err(), "nobody came");
}

#[test]
fn without_queries_those_of_the_usual_exporters_are_asked() {
    let names = |driver: &str| {
        let prometheus =
            asked("{ collect: [prometheus] }", driver, Some("http://h")).expect("valid").expect("collected");
        prometheus
            .queries
            .iter()
            .map(|(name, _)| name.split('_').next().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    for (driver, of) in [("postgres", "postgres"), ("mariadb", "mysql"), ("redis", "redis"), ("cassandra", "node")] {
        let names = names(driver);
        assert!(
            names.iter().any(|name| name == of) && names.iter().all(|name| name == of || name == "node"),
            "{names:?}"
        );
    }
    let all: Vec<_> = QUERIES.iter().map(|(_, name, query)| ((*name).to_owned(), (*query).to_owned())).collect();
    check(&all).expect("the table keeps its own rules");
    assert!(QUERIES.is_sorted_by_key(|(_, name, _)| name), "QUERIES is sorted by name");
}

#[test]
fn what_cannot_be_asked_is_refused_with_its_field() {
    let many: String = (0..40).map(|number| format!("q{number}: up")).collect::<Vec<_>>().join(", ");
    for (text, url, part) in [
        ("{ collect: [prometheus] }", None, "where it is"),
        ("{ prometheus: { url: 'http://h' } }", None, "does not collect"),
        ("{ collect: [prometheus] }", Some("redis://h"), "`redis:`"),
        ("{ collect: [prometheus], prometheus: { queries: { 'a b': up } } }", Some("http://h"), "`a b`"),
        ("{ collect: [prometheus], prometheus: { queries: { a: '' } } }", Some("http://h"), "queries.a"),
        (
            &format!("{{ collect: [prometheus], prometheus: {{ queries: {{ {many} }} }} }}"),
            Some("http://h"),
            "40 queries",
        ),
    ] {
        let error = asked(text, "redis", url).expect_err(text);
        assert!(error.to_string().contains(part) && error.hint().is_some(), "{text}: {error}");
    }
    assert!(asked("{ collect: [host] }", "redis", Some("http://h")).expect("valid").is_none());
}

proptest::proptest! {
    #[test]
    fn any_answer_is_points_or_an_error(text in ".{0,200}") {
        if let Ok(document) = serde_json::from_str::<Value>(&text) {
            let _ = series(&document, 0.0);
        }
    }
}
