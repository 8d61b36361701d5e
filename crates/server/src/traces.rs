//! Traces of requests and runs for an OpenTelemetry collector, where one is configured; else nothing is made.
//!
//! A request is a span, below that of whoever asked where a W3C `traceparent` came with it. A run is a span below the request
//! that asked for it, and each of its phases one below the run: these are made of the record once it is there, so that measuring knows
//! nothing of them. Names and attributes follow the semantic conventions of OpenTelemetry.
//!
//! Spans go into a bounded queue, from which a thread sends them as OTLP over HTTP. Where it is full, or the collector is away,
//! spans are lost and nothing waits.

#[cfg(feature = "otlp")]
mod collector;
#[cfg(feature = "otlp")]
mod spans;
#[cfg(not(feature = "otlp"))]
#[path = "traces/without.rs"]
mod spans;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

#[cfg(feature = "otlp")]
pub use collector::{Collector, Sending};
pub(crate) use spans::RequestSpan;
pub use spans::run;

/// Runs whose callers are remembered, more than may wait by default; those of others have traces of their own.
const CALLERS_MAX: usize = 1_000;

tokio::task_local! {
    /// The span of the request that a task answers.
    static CURRENT: RequestSpan;
}

impl RequestSpan {
    /// The work of answering, in which this is the request.
    pub(crate) fn around<T>(&self, work: impl Future<Output = T>) -> impl Future<Output = T> {
        CURRENT.scope(self.clone(), work)
    }
}

/// The trace that a `traceparent` names, where whoever wrote it keeps that (W3C Trace Context, section 3.2).
pub(crate) fn trace_of(traceparent: &str) -> Option<&str> {
    let mut fields = traceparent.split('-').skip(1);
    let (trace, flags) = (fields.next()?, fields.nth(1)?);
    let is_sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
    is_sampled.then_some(trace)
}

/// Which request asked for a run that has not begun: its `traceparent`. In memory alone: after a restart a run has a trace of its
/// own.
#[derive(Debug, Default)]
pub(crate) struct Callers(Mutex<HashMap<Uuid, String>>);

impl Callers {
    /// Remembers that the request that is being answered asks for a run.
    pub(crate) fn note(&self, run: Uuid) {
        let Some(caller) = CURRENT.try_with(RequestSpan::traceparent).ok().flatten() else { return };
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() < CALLERS_MAX {
            callers.insert(run, caller);
        }
    }

    /// Who asked for a run that begins.
    pub(crate) fn take(&self, run: Uuid) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&run)
    }
}

#[cfg(all(test, feature = "otlp"))]
mod tests;
