//! The way to a collector: a queue, a thread that empties it, and one request a batch.

use std::fmt;
use std::time::Duration;

use drivers::web::{self, Question};
use experiment::TargetText;
use opentelemetry::{KeyValue, global};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};
use prost::Message;
use store::{Error, Result, Target};
use tokio::runtime;

/// Spans that wait to be sent; those of some seconds at the most requests that the service is made for. More are dropped.
const QUEUE_MAX: usize = 4096;

/// Spans of one request.
const BATCH_MAX: usize = 512;

/// How long spans wait for others.
const BATCH_DELAY: Duration = Duration::from_secs(1);

/// How long the collector may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the end of the program may wait for the last spans to leave.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);

/// Where below the endpoint traces go, as the specification of the exporter has it.
const PATH: &str = "/v1/traces";

/// An OpenTelemetry collector.
#[derive(Clone)]
pub struct Collector {
    /// `http://host:4318`, without the path.
    pub endpoint: String,
    /// Headers of each request, which may hold secrets.
    pub headers: Vec<(String, String)>,
    /// The share of requests that are traced, where whoever asks has not decided it.
    pub sample_ratio: f64,
}

impl fmt::Debug for Collector {
    /// Without the headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = TargetText::from(self.endpoint.as_str());
        f.debug_struct("Collector").field("endpoint", &endpoint).finish_non_exhaustive()
    }
}

/// Spans are sent as long as this lives, and until [`end`](Self::end).
#[derive(Debug)]
pub struct Sending(SdkTracerProvider);

impl Collector {
    /// From now on, spans are made and sent there. To be called once.
    ///
    /// # Errors
    /// `Config` for an endpoint that is none.
    pub fn start(self) -> Result<Sending> {
        let target = Target::parse(&self.endpoint)?;
        if !["http", "https"].contains(&target.scheme()) {
            return Err(Error::config(format!("traces cannot be sent by `{}:`", target.scheme()))
                .with_hint("write the endpoint as http://HOST:4318"));
        }
        let path = format!("{}{PATH}", target.path().trim_end_matches('/'));
        let resource = ResourceAttributesWithSchema::default();
        let exporter = Exporter { target, path, headers: self.headers, resource };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(BATCH_DELAY)
            .build();
        let service = Resource::builder()
            .with_service_name("storelab")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(self.sample_ratio))))
            .with_resource(service)
            .build();
        global::set_tracer_provider(provider.clone());
        Ok(Sending(provider))
    }
}

impl Sending {
    /// Sends what is left, as far as the collector takes it in time.
    pub fn end(self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST_TIMEOUT) {
            tracing::debug!(%error, "the last spans were not sent");
        }
    }
}

/// Posts batches. It is called by the thread that empties the queue, which has no runtime and waits for nothing else.
struct Exporter {
    target: Target,
    path: String,
    headers: Vec<(String, String)>,
    resource: ResourceAttributesWithSchema,
}

impl fmt::Debug for Exporter {
    /// Without the headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("target", &self.target.to_string()).finish_non_exhaustive()
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let request =
            ExportTraceServiceRequest { resource_spans: group_spans_by_resource_and_scope(batch, &self.resource) };
        self.post(&request.encode_to_vec()).map_err(|error| OTelSdkError::InternalFailure(error.to_string()))
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

impl Exporter {
    fn post(&self, body: &[u8]) -> Result<()> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::bug("no runtime for a batch of spans").with_source(source))?;
        let configured = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let headers: Vec<_> = std::iter::once(("content-type", "application/x-protobuf")).chain(configured).collect();
        let question = Question { path: &self.path, headers: &headers, body: Some(body) };
        let answer = runtime.block_on(web::ask(&self.target, question, ANSWER_TIMEOUT))?;
        if (200..300).contains(&answer.status) {
            return Ok(());
        }
        let error = Error::rejected(format!("the collector refused spans: HTTP {}: {}", answer.status, answer.shown()));
        tracing::debug!(%error, "spans are lost");
        Err(error)
    }
}
