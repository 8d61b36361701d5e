//! A message of a run, written once for all who follow it.

use axum::body::Bytes;
use axum::extract::ws::Utf8Bytes;
use experiment::{QuarterRecord, Record, SampleRecord};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::openapi::schema::{Schema, SchemaType, Type};
use uuid::Uuid;

use crate::config::described;

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The load begins.
    Started,
    /// A phase of the load begins.
    Phase,
    /// A second has ended.
    Sample,
    /// A quarter of a second has ended, for viewers who want that. It is not numbered, and not kept.
    Quarter,
    /// Something around the load: a server starts, data are loaded, a search has tried a load.
    Event,
    /// Something to know that does not stop the run.
    Warning,
    /// A condition was judged.
    Threshold,
    /// The run is over: the last message.
    Ended,
    /// The viewer did not keep up and is dropped; it is not numbered.
    Dropped,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Started,
        Self::Phase,
        Self::Sample,
        Self::Quarter,
        Self::Event,
        Self::Warning,
        Self::Threshold,
        Self::Ended,
        Self::Dropped,
    ];

    /// The name in messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Phase => "phase",
            Self::Sample => "sample",
            Self::Quarter => "quarter",
            Self::Event => "event",
            Self::Warning => "warning",
            Self::Threshold => "threshold",
            Self::Ended => "ended",
            Self::Dropped => "dropped",
        }
    }

    /// Whether messages of the kind have numbers of their own, behind which a viewer can go on.
    const fn is_numbered(self) -> bool {
        !matches!(self, Self::Quarter | Self::Dropped)
    }

    /// The kind of a name that was kept; what a later version kept is an event here.
    pub(crate) fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.name() == name).unwrap_or(Self::Event)
    }
}

/// A message, as JSON and as an event of a stream; the one lies within the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    number: u64,
    kind: Kind,
    event: Bytes,
    json: std::ops::Range<usize>,
}

impl Message {
    /// A message of a run, with its number, or that of the last one before it where its kind has none. Its body is an object.
    pub(crate) fn new(run: Uuid, number: u64, kind: Kind, body: &impl Serialize) -> Self {
        let body = serde_json::to_value(body).unwrap_or_default();
        let mut object = Map::new();
        object.insert("number".to_owned(), number.into());
        object.insert("kind".to_owned(), kind.name().into());
        object.insert("run_id".to_owned(), run.to_string().into());
        if let Value::Object(fields) = body {
            object.extend(fields);
        }
        let json = Value::Object(object).to_string();
        // JSON has no line breaks of its own, so it is one line of data.
        let id = if kind.is_numbered() { format!("id: {number}\n") } else { String::new() };
        let head = format!("{id}event: {}\ndata: ", kind.name());
        let json_at = head.len()..head.len() + json.len();
        Self { number, kind, event: Bytes::from(format!("{head}{json}\n\n")), json: json_at }
    }

    /// Its number, or that of the last one before it; the first is 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// What it is about.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// As an event of a stream (text/event-stream), shared.
    pub(crate) fn event(&self) -> Bytes {
        self.event.clone()
    }

    /// As a text of a WebSocket, shared.
    pub(crate) fn text(&self) -> Utf8Bytes {
        Utf8Bytes::try_from(self.event.slice(self.json.clone())).expect("it was written as text")
    }
}

/// A second as clients see it.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct SampleBody {
    /// Which second since the start, from 0.
    #[schema(example = 3)]
    pub(crate) second: u64,
    /// Operations that ended well.
    #[schema(example = 1987)]
    pub(crate) succeeded: u64,
    /// Operations that ended with an error.
    #[schema(example = 0)]
    pub(crate) failed: u64,
    /// By phase and operation.
    pub(crate) operations: Vec<SampledOperationBody>,
    /// Everything else, by name: `server.cpu_percent`, `generator.backlog` …
    #[schema(schema_with = gauges_schema)]
    pub(crate) gauges: Map<String, Value>,
}

fn gauges_schema() -> Schema {
    described(
        SchemaType::new(Type::Object),
        "Everything else, by name: `server.cpu_percent`, `generator.backlog` …",
        json!({ "server.cpu_percent": 35.5 }),
    )
}

/// A quarter of a second as clients see it: as a second, and which one it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct QuarterBody {
    /// Which one of its second, from 0.
    quarter: u8,
    /// How long it is.
    seconds: f64,
    /// What ended in it.
    #[serde(flatten)]
    sample: SampleBody,
}

/// One operation during one second.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct SampledOperationBody {
    /// The phase's place, from 0.
    #[schema(example = 0)]
    phase: u16,
    /// The operation.
    #[schema(example = "select")]
    operation: String,
    /// Ended well.
    #[schema(example = 1987)]
    succeeded: u64,
    /// Ended with an error.
    #[schema(example = 0)]
    failed: u64,
    /// Of the successes, in microseconds; none where there were none.
    latency_us: Option<SampledLatency>,
}

/// Latency of a second in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct SampledLatency {
    /// Median.
    #[schema(example = 92.0)]
    p50: f64,
    /// 95th percentile.
    #[schema(example = 201.0)]
    p95: f64,
    /// 99th percentile.
    #[schema(example = 348.0)]
    p99: f64,
    /// Greatest.
    #[schema(example = 1210.0)]
    max: f64,
}

/// A second as clients see it.
pub(crate) fn sample_body(sample: &SampleRecord) -> SampleBody {
    // In the order in which the store gives them back, so that a second is the same live and afterwards.
    let mut operations: Vec<_> = sample.operations.iter().collect();
    operations.sort_by(|a, b| (a.phase, &a.operation).cmp(&(b.phase, &b.operation)));
    let operations = operations.into_iter().map(|one| {
        let summary = one.latency.summary();
        SampledOperationBody {
            phase: one.phase,
            operation: one.operation.clone(),
            succeeded: one.succeeded,
            failed: one.failed,
            latency_us: (!one.latency.is_empty()).then_some(SampledLatency {
                p50: summary.p50,
                p95: summary.p95,
                p99: summary.p99,
                max: summary.max,
            }),
        }
    });
    SampleBody {
        second: sample.second,
        succeeded: sample.operations.iter().map(|one| one.succeeded).sum(),
        failed: sample.operations.iter().map(|one| one.failed).sum(),
        operations: operations.collect(),
        gauges: sample.gauges.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect(),
    }
}

/// A quarter of a second as clients see it.
pub(crate) fn quarter_body(quarter: &QuarterRecord) -> QuarterBody {
    QuarterBody { quarter: quarter.quarter, seconds: 0.25, sample: sample_body(&quarter.sample) }
}

/// The body of the last message of a run.
pub(crate) fn ended_body(record: &Record, reason: Option<&str>) -> Value {
    json!({
        "status": record.status.name(),
        "reason": reason,
        "throughput_per_second": record.throughput_per_second,
        "latency_us_p99": record.total.latency_us.p99,
        "verdict": record.verdict,
        "verification_passed": record.verification.passed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_the_same_in_both_forms() {
        let message = Message::new(Uuid::nil(), 7, Kind::Warning, &json!({"text": "two\nlines"}));
        let event = String::from_utf8(message.event().to_vec()).expect("text");
        let read: Value = serde_json::from_str(&message.text()).expect("JSON");
        assert_eq!(
            read,
            json!({"number": 7, "kind": "warning", "run_id": Uuid::nil().to_string(), "text": "two\nlines"})
        );
        assert_eq!(event, format!("id: 7\nevent: warning\ndata: {}\n\n", message.text().as_str()));
        for kind in Kind::ALL {
            assert_eq!(Kind::named(kind.name()), kind);
        }
    }
}
