//! What goes in comes out, also through other handles and while others write.

use experiment::{COMPARISON_SCHEMA, Comparison, Side, Sink, Status};
use results::Access;

use crate::on::{On, place};
use crate::{fixture, keep, open, short_run};

pub(crate) fn a_run_comes_back(on: On) {
    let (_folder, path) = place(on);
    let mut results = open(&path);
    assert_eq!((results.access(), results.location()), (Access::ReadWrite, &path));
    let (mut record, samples, histograms) = short_run("checkout");
    results.started(&fixture::started("checkout", record.id)).expect("started");
    assert_eq!(results.record(record.id).expect("there").status, Status::Running);
    for sample in &samples {
        results.sampled(record.id, sample).expect("sampled");
    }
    results.ended(&record, &histograms).expect("ended");
    let mut other = open(&path);
    assert_eq!(other.record(record.id).expect("there"), record);
    assert_eq!(other.samples(record.id).expect("there"), samples);
    let mut expect: Vec<_> = histograms.into_iter().filter(|kept| !kept.histogram.is_empty()).collect();
    expect.sort_by_key(|kept| (kept.phase, kept.operation.clone(), kept.metric.name()));
    assert_eq!(other.histograms(record.id).expect("there"), expect);
    let listed = other.runs(10).expect("listed");
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].id, listed[0].status, listed[0].valid), (record.id, Status::Completed, Some(true)));
    assert_eq!(listed[0].throughput_per_second, Some(record.throughput_per_second));
    assert!(other.report(record.id).expect("drawn").contains("Latency over time"));
    let side = Side { label: "base".to_owned(), runs: vec![(record.id, record.name.clone())], valid: true };
    let compared = Comparison {
        schema: COMPARISON_SCHEMA.to_owned(),
        sides: vec![side.clone(), Side { label: "candidate".to_owned(), ..side }],
        metrics: Vec::new(),
        confidence: 0.95,
        method: "none".to_owned(),
        differences: Vec::new(),
        overruled: Vec::new(),
    };
    let page = other.report_comparison(&compared).expect("drawn");
    assert!(page.contains("candidate against base") && page.contains("Latency by percentile"));
    // The end may be written again, as when the report's path becomes known after it.
    record.report = Some("report.html".to_owned());
    results.ended(&record, &[]).expect("ended again");
    assert_eq!(other.record(record.id).expect("there").report.as_deref(), Some("report.html"));
}

pub(crate) fn several_handles(on: On) {
    let (_folder, path) = place(on);
    let mut first = open(&path);
    let (record, samples, histograms) = short_run("first");
    first.started(&fixture::started("first", record.id)).expect("started");
    let mut second = open(&path);
    assert!(second.recover().expect("read").is_empty(), "the owner of the run lives");
    for sample in &samples {
        first.sampled(record.id, sample).expect("sampled");
        assert_eq!(second.samples(record.id).expect("there").last(), Some(sample));
    }
    let others: Vec<_> = (0..4)
        .map(|number| {
            let path = path.clone();
            std::thread::spawn(move || keep(&mut open(&path), &format!("other {number}")))
        })
        .collect();
    first.ended(&record, &histograms).expect("ended");
    for other in others {
        let kept = other.join().expect("no panic");
        assert_eq!(second.record(kept.id).expect("there"), kept);
    }
    assert_eq!(second.runs(3).expect("listed").len(), 3, "as many as asked for");
    assert_eq!(second.runs(100).expect("listed").len(), 5);
}

pub(crate) fn several_makers(on: On) {
    let (_folder, path) = place(on);
    let makers: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || open(&path).runs(1).expect("listed").len())
        })
        .collect();
    for maker in makers {
        assert_eq!(maker.join().expect("no panic"), 0);
    }
}
