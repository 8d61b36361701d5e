//! What a collector is sent. The collector here is a listener that takes OTLP over HTTP as the specification has it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use experiment::{DataPolicy, Nowhere, Options, Plan, Record, Spec};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use runner::Stop;

use super::{Collector, RequestSpan, run, trace_of};

/// No test waits longer for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Takes requests and gives them: the head and the body of each.
fn collector() -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if matches!(reader.read_line(&mut head), Ok(0) | Err(_)) {
                    return;
                }
            }
            let lower = head.to_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.and_then(|length| length.trim().parse().ok()).unwrap_or(0)];
            reader.read_exact(&mut body).expect("a whole body");
            let answer = reader.into_inner().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            if answer.is_err() || sender.send((head, body)).is_err() {
                return;
            }
        }
    });
    (endpoint, receiver)
}

/// A run with two phases.
fn a_record() -> Record {
    let plan =
        "target: 'null:'\nload: { sessions: 1, phases: [ { operations: 50, record: false }, { operations: 100 } ] }";
    let spec = Spec::new(&Plan::parse(plan).expect("a plan"), &|_| None).expect("it can be run");
    let options = Options { run: None, data: DataPolicy::Clean, report: &|_| None, accepts_invalid: true };
    let finished = experiment::run(spec, options, &mut Nowhere, &Stop::default(), &mut |_| {});
    finished.expect("it is carried out").record
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let value = attributes.iter().find(|one| one.key == key)?.value.as_ref()?.value.as_ref()?;
    if let Value::StringValue(text) = value { Some(text) } else { None }
}

fn number(attributes: &[KeyValue], key: &str) -> Option<i64> {
    let value = attributes.iter().find(|one| one.key == key)?.value.as_ref()?.value.as_ref()?;
    if let Value::IntValue(number) = value { Some(*number) } else { None }
}

/// The headers of somebody who traces, and has decided for or against this one.
fn asked_by(trace: &str, span: &str, is_sampled: bool) -> HeaderMap {
    let value = format!("00-{trace}-{span}-0{}", u8::from(is_sampled));
    HeaderMap::from_iter([(
        axum::http::HeaderName::from_static("traceparent"),
        HeaderValue::from_str(&value).expect("a header"),
    )])
}

/// One after the other: a process has one collector.
#[test]
fn spans_go_to_the_collector_and_hold_up_nobody() {
    a_collector_gets_requests_with_their_runs_and_phases_below_them();
    a_collector_that_never_answers_holds_up_nobody();
}

fn a_collector_gets_requests_with_their_runs_and_phases_below_them() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const CALLER: &str = "b7ad6b7169203331";
    const UNSAMPLED: &str = "1af7651916cd43dd8448eb211c80319c";
    let (endpoint, received) = collector();
    let headers = vec![("authorization".to_owned(), "Bearer canary".to_owned())];
    let sending = Collector { endpoint, headers, sample_ratio: 1.0 }.start().expect("an endpoint");
    let route = Some("/api/v1/experiments/{id}/run");
    let begin = |trace, is_sampled| {
        RequestSpan::begin(
            &asked_by(trace, CALLER, is_sampled),
            &Method::POST,
            route,
            "/api/v1/experiments/7/run",
            "r-1",
        )
    };
    let request = begin(TRACE, true);
    let below = request.traceparent().expect("it is traced");
    assert_eq!((request.trace().as_deref(), trace_of(&below)), (Some(TRACE), Some(TRACE)));
    request.end(StatusCode::ACCEPTED);
    let unsampled = begin(UNSAMPLED, false);
    // Nobody could look at a trace that is not kept.
    assert_eq!((unsampled.trace(), unsampled.traceparent().as_deref().and_then(trace_of)), (None, None));
    unsampled.end(StatusCode::OK);
    let record = a_record();
    run(&record, Some(&below));
    sending.end();
    // Batches leave as they come; the last has left by now.
    let (head, body) = received.recv_timeout(PATIENCE).expect("a batch");
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    let lower = head.to_lowercase();
    assert!(lower.contains("content-type: application/x-protobuf") && head.contains("Bearer canary"), "{head}");
    let rest = received.try_iter().map(|(_, body)| body);
    let requests =
        std::iter::once(body).chain(rest).map(|body| ExportTraceServiceRequest::decode(&body[..]).expect("OTLP"));
    let resources: Vec<_> = requests.flat_map(|request| request.resource_spans).collect();
    let service = &resources[0].resource.as_ref().expect("who sends").attributes;
    assert_eq!(text(service, "service.name"), Some("storelab"));
    let spans: Vec<Span> = resources
        .into_iter()
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans)
        .filter(|span| hex(&span.trace_id) == TRACE || hex(&span.trace_id) == UNSAMPLED)
        .collect();
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let [request] = named("POST /api/v1/experiments/{id}/run")[..] else { panic!("one request is traced: {spans:?}") };
    assert_eq!((hex(&request.trace_id), hex(&request.parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));
    assert_eq!(request.kind, 2, "a server's");
    assert_eq!(text(&request.attributes, "http.route"), route);
    assert_eq!(text(&request.attributes, "storelab.request.id"), Some("r-1"));
    assert_eq!(number(&request.attributes, "http.response.status_code"), Some(202));
    let [run] = named("run ycsb")[..] else { panic!("one run is traced: {spans:?}") };
    assert_eq!((&run.trace_id, &run.parent_span_id), (&request.trace_id, &request.span_id));
    assert_eq!(text(&run.attributes, "storelab.run.id"), Some(record.id.to_string().as_str()));
    let phases = named("phase");
    assert_eq!(phases.len(), 2, "{spans:?}");
    for phase in phases {
        assert_eq!(phase.parent_span_id, run.span_id);
        assert!(
            phase.start_time_unix_nano <= phase.end_time_unix_nano
                && phase.end_time_unix_nano <= run.end_time_unix_nano
        );
    }
}

/// Whoever ends a span waits for nobody: it is the end of this function that shows it.
fn a_collector_that_never_answers_holds_up_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let sending = Collector { endpoint, headers: Vec::new(), sample_ratio: 1.0 }.start().expect("an endpoint");
    // More than the queue takes.
    for _ in 0..10_000 {
        RequestSpan::begin(&HeaderMap::new(), &Method::GET, None, "/", "r").end(StatusCode::OK);
    }
    sending.end();
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to text cannot fail");
        text
    })
}
