//! A workload of one operation, and runs of it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use runner::{Limit, Load, Outcome, Rate, RunSpec, Sample, Stop};
use store::{Dataset, Fields, LocalBoxFuture, NullSource, RecordSource, Request, Result, Rows, Store, Token};
use workload::{Call, Check, Client, ClientSpec, Instance, Progress, Turn};

/// The same request for ever.
pub(crate) struct Repeat(pub(crate) Request<'static>);

/// Reads one key.
pub(crate) const READ: Repeat = Repeat(Request::Read { key: "key", fields: Fields::All });

impl Instance for Repeat {
    fn variant(&self) -> Option<&str> {
        None
    }
    fn parameters(&self) -> BTreeMap<String, serde_json::Value> {
        BTreeMap::new()
    }
    fn dataset(&self) -> Option<&Dataset> {
        None
    }
    fn source(&self) -> &dyn RecordSource {
        &NullSource
    }
    fn operations(&self) -> &[&'static str] {
        &["read"]
    }
    fn adds_rows(&self) -> bool {
        false
    }
    fn client(&self, _spec: ClientSpec) -> Box<dyn Client> {
        Box::new(RepeatClient(self.0))
    }
    fn verify<'a>(&'a self, _store: &'a dyn Store) -> LocalBoxFuture<'a, Result<Vec<Check>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

struct RepeatClient(Request<'static>);

impl Rows for RepeatClient {}

impl Client for RepeatClient {
    fn next(&mut self, _turn: Turn) -> Call<'_> {
        Call { operation: 0, request: self.resume(0) }
    }
    fn complete(&mut self, _token: Token, result: Result<store::Outcome>) -> Result<Progress> {
        result.map(|_| Progress::Done)
    }
    fn resume(&mut self, _token: Token) -> Request<'_> {
        self.0
    }
}

pub(crate) fn count(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).expect("not zero")
}

pub(crate) fn rate(per_second: f64) -> Rate {
    Rate::per_second(per_second).expect("positive")
}

pub(crate) fn for_ms(milliseconds: u64) -> Limit {
    Limit::Duration(Duration::from_millis(milliseconds))
}

/// A run on the store of that URL.
pub(crate) fn spec(url: &str, load: Load) -> RunSpec {
    let (driver, target) = drivers::resolve(url).expect("a driver for the URL");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let store = runtime.block_on(driver.connect(&target)).expect("connects");
    RunSpec {
        load,
        store,
        instance: Arc::new(READ),
        seed: 1,
        workers: None,
        io: runner::Io::Auto,
        pin: false,
        blocking_client: false,
        stop: Stop::default(),
        part: None,
        gate: None,
    }
}

/// Runs it and checks what must hold of every run.
pub(crate) fn run(spec: &RunSpec) -> (Outcome, Vec<Sample>) {
    let mut samples = Vec::new();
    let outcome = runner::run(spec, &mut |sample| samples.push(sample.clone())).expect("the run takes place");
    for (phase, of_phase) in outcome.phases.iter().enumerate() {
        let accounting = of_phase.accounting;
        assert!(accounting.is_exact(), "phase {phase}: {accounting:?}");
        let total = of_phase.cells.total();
        assert_eq!((total.succeeded, total.failed), (accounting.succeeded, accounting.failed), "phase {phase}");
        assert_eq!(total.latency.count(), total.succeeded, "phase {phase}");
        assert_eq!(total.errors.iter().sum::<u64>(), total.failed, "phase {phase}");
        let sampled: u64 = samples
            .iter()
            .flat_map(|sample| &sample.phases)
            .filter(|(of, _)| usize::from(*of) == phase)
            .map(|(_, cells)| cells.total().succeeded)
            .sum();
        assert_eq!(sampled, accounting.succeeded, "the seconds of phase {phase} make the whole");
    }
    (outcome, samples)
}
