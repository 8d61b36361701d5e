//! The harness floor: what an operation costs when the data store does nothing.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use runner::{Limit, Load, RunSpec, Stop};
use store::{Dataset, Fields, LocalBoxFuture, NullSource, Outcome, RecordSource, Request, Result, Rows, Store, Token};
use workload::{Call, Check, Client, ClientSpec, Instance, Progress, Turn};

/// Long enough for a mean that is steady to a few per cent, short enough not to be noticed.
const DURATION: Duration = Duration::from_millis(10);

/// Mean time of a scheduled and recorded operation on the null driver, one session, in microseconds.
///
/// # Errors
/// Those of a run.
pub(crate) fn harness_floor_us(runtime: &tokio::runtime::LocalRuntime) -> Result<f64> {
    let (driver, target) = drivers::resolve("null:")?;
    let store = runtime.block_on(driver.connect(&target))?;
    let spec = RunSpec {
        load: Load::closed(NonZeroU32::MIN, Limit::Duration(DURATION)),
        store,
        instance: Arc::new(Floor),
        seed: 0,
        workers: Some(NonZeroU32::MIN),
        io: runner::Io::Auto,
        pin: false,
        blocking_client: false,
        stop: Stop::default(),
        part: None,
        gate: None,
    };
    let outcome = runner::run(&spec, &mut |_| {})?;
    let phase = &outcome.phases[0];
    Ok(phase.duration.as_secs_f64() * 1e6 / phase.accounting.succeeded.max(1) as f64)
}

/// Reads one key for ever.
struct Floor;

impl Instance for Floor {
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
        Box::new(FloorClient)
    }
    fn verify<'a>(&'a self, _store: &'a dyn Store) -> LocalBoxFuture<'a, Result<Vec<Check>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

struct FloorClient;

impl Rows for FloorClient {}

impl Client for FloorClient {
    fn next(&mut self, _turn: Turn) -> Call<'_> {
        Call { operation: 0, request: self.resume(0) }
    }
    fn complete(&mut self, _token: Token, result: Result<Outcome>) -> Result<Progress> {
        result.map(|_| Progress::Done)
    }
    fn resume(&mut self, _token: Token) -> Request<'_> {
        Request::Read { key: "user", fields: Fields::All }
    }
}
