//! A run's way to the store, shared with what it tells.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use experiment::{Artifact, HistogramRecord, QuarterRecord, Record, SampleRecord, Sink};
use results::Results;
use results::service::Job;
use runner::Watch;
use store::{Error, Result};
use uuid::Uuid;

use crate::live::Channel;

/// The store of one run, for its sink and for what it tells: both on the run's own thread.
pub(super) type Kept = Rc<RefCell<Results>>;

/// Keeps a run as long as it is this process's.
pub(super) struct FencedSink<'a> {
    pub(super) kept: Kept,
    pub(super) job: &'a Job,
    /// Where quarters of its seconds go, which are not kept.
    pub(super) channel: Arc<Channel>,
}

impl Sink for FencedSink<'_> {
    /// A run that was taken away while its server was started or its data were loaded never begins.
    fn started(&mut self, record: &Record) -> Result<()> {
        if self.kept.borrow_mut().start_claimed(self.job, record)? {
            Ok(())
        } else {
            Err(Error::rejected("the run is not this process's any more"))
        }
    }

    fn sampled(&mut self, run: Uuid, sample: &SampleRecord) -> Result<()> {
        self.kept.borrow_mut().sampled(run, sample)
    }

    fn watch(&self) -> Watch {
        self.channel.watch()
    }

    fn glimpsed(&mut self, _: Uuid, quarter: &QuarterRecord) {
        self.channel.glimpse(quarter);
    }

    fn attached(&mut self, run: Uuid, artifact: &Artifact) -> Result<()> {
        self.kept.borrow_mut().attached(run, artifact)
    }

    fn ended(&mut self, record: &Record, histograms: &[HistogramRecord]) -> Result<()> {
        Ok(self.kept.borrow_mut().end_claimed(self.job, record, histograms)?)
    }
}
