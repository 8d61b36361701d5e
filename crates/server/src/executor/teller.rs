//! What a run tells, in numbered messages: each is on disk before it is told to viewers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use experiment::{Event, Record, SampleRecord};
use runner::Load;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Means;
use super::sink::Kept;
use crate::live::{Channel, Hub, Kind, Message, sample_body};
use crate::metrics::{RunSeries, Runs};
use crate::shapes::Gathered;

/// How often the progress of loading is told: as often as anything else.
const LOADING_INTERVAL: Duration = Duration::from_secs(1);

/// Messages of a run beside its samples. A search that tries loads for hours, or a store that warns of everything, must not
/// grow the results without end.
const MESSAGES_MAX: u64 = 2_000;

/// The messages of one run.
pub(super) struct Teller {
    run: Uuid,
    kept: Kept,
    live: Arc<Hub>,
    pub(super) channel: Arc<Channel>,
    number: u64,
    messages: u64,
    /// Name of each phase, and whether it counts.
    phases: Vec<(String, bool)>,
    phase: Option<u16>,
    loading_told: Option<Instant>,
    /// The load of the run, once it is known.
    load: Option<Load>,
    runs: Arc<Runs>,
    /// The trace in which somebody asked for the run.
    trace: Option<String>,
    /// What Prometheus sees of it, from its start on.
    series: Option<RunSeries>,
    /// What is needed of its seconds.
    pub(super) gathered: Gathered,
}

impl Teller {
    /// Opens the channel of a run.
    pub(super) fn new(run: Uuid, kept: Kept, means: &Means, trace: Option<&str>) -> Self {
        Self {
            run,
            kept,
            live: Arc::clone(&means.live),
            channel: means.live.open(run),
            number: 0,
            messages: 0,
            phases: Vec::new(),
            phase: None,
            loading_told: None,
            load: None,
            runs: Arc::clone(&means.runs),
            trace: trace.map(str::to_owned),
            series: None,
            gathered: Gathered::default(),
        }
    }

    /// Says what the load of the run is to be, where that is not searched for.
    pub(super) fn expect(&mut self, load: &Load) {
        self.load = Some(load.clone());
    }

    /// Tells what happens.
    pub(super) fn tell(&mut self, event: &Event<'_>) {
        match event {
            Event::Starting(engine) => self.event(&json!({ "event": "starting", "engine": engine })),
            Event::Connected(url) => self.event(&json!({ "event": "connected", "target": url })),
            Event::Loading(rows, of) => self.loading(*rows, *of),
            Event::Reusing => self.event(&json!({ "event": "reusing" })),
            Event::Started(record) => self.started(record),
            Event::Waiting(ready, of) => self.event(&json!({ "event": "waiting", "ready": ready, "of": of })),
            Event::Searched(point, _) => self.event(&json!({ "event": "searched", "point": point })),
            Event::Found(search, load) => {
                self.phases = load.phases.iter().map(|phase| (phase.name.clone(), phase.recorded)).collect();
                self.expect(load);
                self.event(&json!({ "event": "found", "search": search }));
            }
            Event::Sampled(sample) => self.sampled(sample),
            Event::Verifying => self.event(&json!({ "event": "verifying" })),
            Event::Warning(text) => self.message(Kind::Warning, &json!({ "text": text })),
        }
    }

    /// Tells what conditions came to, and that the run is over; nothing comes after that.
    pub(super) fn end(mut self, record: Option<&Record>, body: &Value) {
        for threshold in record.iter().flat_map(|record| &record.verdict.thresholds) {
            self.message(Kind::Threshold, &serde_json::to_value(threshold).unwrap_or_default());
        }
        // The end is told in any case.
        self.messages = 0;
        self.message(Kind::Ended, body);
    }

    fn started(&mut self, record: &Record) {
        self.phases = record.phases.iter().map(|phase| (phase.name.clone(), phase.recorded)).collect();
        // A server that cannot do all that is asked for has fewer phases than were planned, each at another time.
        self.load = self.load.take().filter(|load| load.phases.len() == self.phases.len());
        let (workload, variant) = (&record.workload.name, record.workload.variant.as_deref());
        let trace = self.trace.as_deref();
        self.series = Some(self.runs.begin(self.run, workload, variant, &record.target.driver, trace));
        let phases: Vec<_> =
            self.phases.iter().map(|(name, recorded)| json!({ "name": name, "recorded": recorded })).collect();
        self.message(
            Kind::Started,
            &json!({
                "name": record.name,
                "started_at": record.started_at,
                "target": record.target,
                "workload": record.workload,
                "load": record.load,
                "phases": phases,
            }),
        );
    }

    fn loading(&mut self, rows: u64, of: u64) {
        if self.loading_told.is_none_or(|told| told.elapsed() >= LOADING_INTERVAL) {
            self.loading_told = Some(Instant::now());
            self.event(&json!({ "event": "loading", "rows": rows, "of": of }));
        }
    }

    /// A second, and the phase that was first seen in it. The second is on disk already, and so before the phase in the
    /// numbers.
    fn sampled(&mut self, sample: &SampleRecord) {
        self.number += 1;
        self.channel.tell(Message::new(self.run, self.number, Kind::Sample, &sample_body(sample)));
        let phases = &self.phases;
        let is_recorded = |phase: u16| phases.get(usize::from(phase)).is_none_or(|(_, recorded)| *recorded);
        self.gathered.add(sample, is_recorded);
        if let Some(series) = &self.series {
            series.sampled(sample, self.load.as_ref());
        }
        let newest = sample.operations.iter().filter(|one| one.succeeded + one.failed > 0).map(|one| one.phase).max();
        if let Some(phase) = newest.filter(|phase| self.phase.is_none_or(|before| before < *phase)) {
            self.phase = Some(phase);
            let (name, recorded) = self.phases.get(usize::from(phase)).cloned().unwrap_or_default();
            let body = json!({ "phase": phase, "name": name, "recorded": recorded, "second": sample.second });
            self.message(Kind::Phase, &body);
        }
    }

    fn event(&mut self, body: &Value) {
        self.message(Kind::Event, body);
    }

    fn message(&mut self, kind: Kind, body: &Value) {
        if self.messages >= MESSAGES_MAX {
            return;
        }
        self.messages += 1;
        self.number += 1;
        let kept = self.kept.borrow_mut().keep_message(self.run, self.number, kind.name(), &body.to_string());
        if let Err(error) = kept {
            // Of a store that is full the run's own seconds tell, which end it; viewers hear this all the same.
            tracing::debug!(run = %self.run, %error, "a message of a run is not kept");
        }
        self.channel.tell(Message::new(self.run, self.number, kind, body));
    }
}

impl Drop for Teller {
    /// Also where the run's thread panics: viewers must not wait for ever.
    fn drop(&mut self) {
        self.live.close(self.run);
    }
}
