//! Runs as they might have been, for the tests of comparisons.

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::json;
use stats::Histogram;

use super::RunData;
use crate::record::{Record, SampleRecord, SampledOperation};

/// A closed run with a warm-up, its seconds made from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Seconds {
    pub(crate) seed: u64,
    pub(crate) started_at: i64,
    pub(crate) start: f64,
    pub(crate) duration: f64,
    /// Of the median latency, and so of the rate.
    pub(crate) slower: f64,
    /// One of so many fails; 0 for none.
    pub(crate) fail_every: u64,
}

impl Default for Seconds {
    fn default() -> Self {
        Self { seed: 1, started_at: 0, start: 1.0, duration: 20.0, slower: 0.0, fail_every: 0 }
    }
}

/// A run: two operations, some 400 a second of 10 ms, latencies and seconds varying.
pub(crate) fn run_of(shape: &Seconds) -> RunData {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(shape.seed);
    let mut normal = move || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
    let end = shape.start + shape.duration;
    let mut whole = Histogram::new();
    let mut samples = Vec::new();
    let mut count = 0_u64;
    let mut failed_in_all = 0;
    // The last operations end a little after the phase.
    for second in 0..=(end.floor() as u64) {
        let of_second = (second as f64 + 1.0).min(end + 0.05) - (second as f64).max(shape.start);
        let recorded = of_second > 0.0;
        let mut latencies = [Histogram::new(), Histogram::new()];
        let mut failed = 0;
        let pace = (1.0 + shape.slower) * (0.01 * normal()).exp();
        let planned = if recorded { 400.0 * of_second / pace } else { 200.0 };
        for number in 0..planned.round() as u64 {
            let latency = (1e7 * pace * (0.2 * normal()).exp()) as u64;
            count += u64::from(recorded);
            if recorded && shape.fail_every > 0 && count.is_multiple_of(shape.fail_every) {
                failed += 1;
                continue;
            }
            latencies[usize::from(number % 10 == 0)].record(latency);
            if recorded {
                whole.record(latency);
            }
        }
        failed_in_all += failed;
        let operation = |name: &str, latency: Histogram, failed| SampledOperation {
            phase: u16::from(recorded),
            operation: name.to_owned(),
            succeeded: latency.count(),
            failed,
            latency,
        };
        let [read, update] = latencies;
        let operations = vec![operation("read", read, failed), operation("update", update, 0)];
        samples.push(SampleRecord { second, operations, gauges: std::collections::BTreeMap::default() });
    }
    let mut data = RunData::new(record(shape, &whole, failed_in_all));
    for sample in &samples {
        data.add(sample);
    }
    data
}

/// The same with another record.
pub(crate) fn changed(data: RunData, change: impl FnOnce(&mut Record)) -> RunData {
    let mut data = data;
    change(&mut data.record);
    data
}

fn record(shape: &Seconds, whole: &Histogram, failed: u64) -> Record {
    let operation = |succeeded: u64, failed: u64| {
        json!({ "name": "total", "succeeded": succeeded, "failed": failed, "errors": {},
            "latency_us": whole.summary(), "service_time_us": whole.summary(), "queueing_time_us": stats::Summary::default() })
    };
    let ended = whole.count() + failed;
    let accounting =
        json!({ "scheduled": ended, "succeeded": whole.count(), "failed": failed, "shed": 0, "unfinished": 0 });
    let throughput = whole.count() as f64 / shape.duration;
    let phase = |name: &str, recorded: bool, start: f64, duration: f64| {
        json!({ "name": name, "recorded": recorded, "start_seconds": start, "duration_seconds": duration,
            "throughput_per_second": throughput, "accounting": accounting, "operations": [],
            "total": operation(whole.count(), failed) })
    };
    let started_at = jiff::Timestamp::from_second(1_700_000_000 + shape.started_at * 60).expect("a time");
    let record = json!({
        "schema": crate::record::SCHEMA, "id": uuid::Uuid::from_u64_pair(shape.seed, shape.started_at.cast_unsigned()),
        "name": "checkout", "status": "completed", "started_at": started_at, "ended_at": started_at, "seed": shape.seed,
        "target": { "driver": "postgres", "url": "postgres://lab@127.0.0.1:5544/lab", "server": "PostgreSQL 15" },
        "workload": { "name": "ycsb", "variant": "b", "parameters": { "records": 1000 } },
        "load": { "sessions": 4, "for": format!("{}ms", shape.duration * 1e3) },
        "accounting": accounting, "duration_seconds": shape.duration, "throughput_per_second": throughput,
        "operations": [], "total": operation(whole.count(), failed),
        "phases": [phase("warm-up", false, 0.0, shape.start), phase("steady", true, shape.start, shape.duration)],
        "generator": crate::record::GeneratorRecord::default(), "host": {},
        "server": crate::record::ServerRecord::default(),
        "verification": { "passed": true, "checks": [] },
        "verdict": crate::record::Verdict { valid: true, ..crate::record::Verdict::default() },
        "error_messages": [],
        "provenance": { "storelab": "0.1.0", "host": { "kernel": "6.1", "cpu_model": "some", "cores_allowed": 2 } },
        "report": null,
    });
    serde_json::from_value(record).expect("a record")
}
