//! A run goes on from the seconds that another one left.

use std::rc::Rc;

use experiment::{
    DataPolicy, HistogramRecord, Options, Plan, Record, SampleRecord, Sink, Spec, Status, run, run_driven,
};
use results::Results;
use results::service::Resumption;
use runner::Stop;
use uuid::Uuid;

use crate::on::{On, place};
use crate::open;

const PLAN: &str = "target: 'null:'\nload: { sessions: 1, rate: 200/s, for: 3s, warm_up: 0s }";

fn spec() -> Spec {
    Spec::new(&Plan::parse(PLAN).expect("a plan"), &|_| None).expect("it can be run")
}

fn options() -> Options<'static> {
    Options { run: None, data: DataPolicy::Clean, report: &|_| None, accepts_invalid: true }
}

/// Keeps what it is told, and asks for the end after the first second.
struct Impatient {
    results: Results,
    stop: Stop,
}

impl Sink for Impatient {
    fn started(&mut self, record: &Record) -> store::Result<()> {
        self.results.started(record)
    }

    fn sampled(&mut self, run: Uuid, sample: &SampleRecord) -> store::Result<()> {
        self.stop.request();
        self.results.sampled(run, sample)
    }

    fn ended(&mut self, record: &Record, histograms: &[HistogramRecord]) -> store::Result<()> {
        self.results.ended(record, histograms)
    }
}

pub(crate) fn ends_where_it_is_stopped(on: On) {
    let (_folder, location) = place(on);
    let mut results = open(&location);
    let whole = run(spec(), options(), &mut results, &Stop::default(), &mut |_| {}).expect("carried out").record;
    let seconds = results.samples(whole.id).expect("there");
    assert!(seconds.len() >= 3, "{} seconds were kept", seconds.len());
    let stop = Stop::default();
    let mut sink = Impatient { results, stop: stop.clone() };
    let resumption = Resumption::of(&spec(), &location, whole.id).expect("it can go on");
    let stopped = run_driven(Rc::new(resumption), spec(), options(), &mut sink, &stop, &mut |_| {});
    let stopped = stopped.expect("carried out").record;
    let kept = sink.results.samples(stopped.id).expect("there");
    assert_eq!(kept.len(), 1, "what came after the stop is not taken over: {kept:?}");
    let resumed = stopped.resumed.as_ref().expect("it tells where it comes from");
    assert_eq!((resumed.run, resumed.seconds), (whole.id, 1));
    assert_eq!(stopped.status, Status::Interrupted);
    let first: u64 = seconds[0].operations.iter().map(|operation| operation.succeeded).sum();
    assert_eq!(stopped.total.succeeded, first, "nothing was driven beside what was taken over");
    let sum = stopped.accounting;
    assert_eq!(sum.scheduled, sum.succeeded + sum.failed + sum.shed + sum.unfinished);
}
