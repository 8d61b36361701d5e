//! Spans of requests, runs and phases.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, Method, StatusCode};
use experiment::{PhaseRecord, Record, Status};
use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span, SpanBuilder, SpanKind, Status as SpanStatus, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// What the spans are said to be made by.
const SCOPE: &str = "storelab";

/// The header that a trace comes and goes by, and its version 00.
const TRACEPARENT: &str = "traceparent";

fn tracer() -> BoxedTracer {
    global::tracer(SCOPE)
}

/// The span of a request that is being answered.
#[derive(Debug, Clone)]
pub(crate) struct RequestSpan(Context);

impl RequestSpan {
    /// Begins it, below that of whoever asked where the headers name one.
    pub(crate) fn begin(headers: &HeaderMap, method: &Method, route: Option<&str>, path: &str, id: &str) -> Self {
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
        // A span's name must be one of few, which a path of somebody's making is not.
        let name = route.map_or_else(|| method.to_string(), |route| format!("{method} {route}"));
        let mut attributes = vec![
            KeyValue::new("http.request.method", method.to_string()),
            KeyValue::new("url.path", path.to_owned()),
            KeyValue::new("storelab.request.id", id.to_owned()),
        ];
        attributes.extend(route.map(|route| KeyValue::new("http.route", route.to_owned())));
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Server).with_attributes(attributes);
        let span = tracer().build_with_context(builder, &parent);
        Self(parent.with_span(span))
    }

    /// By which later spans name this one as their parent; none where nothing is traced.
    pub(crate) fn traceparent(&self) -> Option<String> {
        let mut carrier = HashMap::new();
        TraceContextPropagator::new().inject_context(&self.0, &mut carrier);
        carrier.remove(TRACEPARENT)
    }

    /// The trace that it is in, where that is kept.
    pub(crate) fn trace(&self) -> Option<String> {
        let span = self.0.span();
        let context = span.span_context();
        (context.is_valid() && context.is_sampled()).then(|| context.trace_id().to_string())
    }

    /// Ends it with what was answered.
    pub(crate) fn end(&self, status: StatusCode) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        if status.is_server_error() {
            span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
            span.set_status(SpanStatus::error(status.canonical_reason().unwrap_or_default()));
        }
        span.end();
    }
}

/// Headers as a propagator asks for them.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}

/// Makes the spans of a run that is over, below the one that `traceparent` names.
pub fn run(record: &Record, traceparent: Option<&str>) {
    let carrier: HashMap<String, String> =
        traceparent.map(|parent| (TRACEPARENT.to_owned(), parent.to_owned())).into_iter().collect();
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    let ended = SystemTime::from(record.ended_at);
    let tracer = tracer();
    let builder = SpanBuilder::from_name(format!("run {}", record.workload.name))
        .with_kind(SpanKind::Internal)
        .with_start_time(record.started_at)
        .with_attributes(run_attributes(record));
    let mut span = tracer.build_with_context(builder, &parent);
    if record.status == Status::Failed {
        span.set_status(SpanStatus::error(record.verdict.reasons.join("; ")));
    }
    let context = parent.with_span(span);
    let last = record.phases.iter().map(|phase| phase.start_seconds + phase.duration_seconds).fold(0.0, f64::max);
    let load_began = ended.checked_sub(Duration::from_secs_f64(last)).unwrap_or(ended);
    for phase in &record.phases {
        phase_span(&tracer, &context, phase, load_began);
    }
    context.span().end_with_timestamp(ended);
}

fn run_attributes(record: &Record) -> Vec<KeyValue> {
    vec![
        KeyValue::new("db.system.name", system_name(&record.target.driver).to_owned()),
        KeyValue::new("storelab.run.id", record.id.to_string()),
        KeyValue::new("storelab.run.name", record.name.clone()),
        KeyValue::new("storelab.run.status", record.status.name()),
        KeyValue::new("storelab.run.valid", record.verdict.valid),
        KeyValue::new("storelab.throughput_per_second", record.throughput_per_second),
        KeyValue::new("storelab.latency_p99_us", record.total.latency_us.p99),
    ]
}

fn phase_span(tracer: &BoxedTracer, run: &Context, phase: &PhaseRecord, load_began: SystemTime) {
    let begins = load_began + Duration::from_secs_f64(phase.start_seconds.max(0.0));
    let ends = begins + Duration::from_secs_f64(phase.duration_seconds.max(0.0));
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let attributes = vec![
        KeyValue::new("storelab.phase.name", phase.name.clone()),
        KeyValue::new("storelab.phase.recorded", phase.recorded),
        KeyValue::new("storelab.operations.succeeded", count(phase.accounting.succeeded)),
        KeyValue::new("storelab.operations.failed", count(phase.accounting.failed)),
    ];
    let builder = SpanBuilder::from_name("phase").with_start_time(begins).with_attributes(attributes);
    tracer.build_with_context(builder, run).end_with_timestamp(ends);
}

/// What the semantic conventions call a driver's product.
fn system_name(driver: &str) -> &str {
    match driver {
        "dynamodb" => "aws.dynamodb",
        "postgres" => "postgresql",
        other => other,
    }
}
