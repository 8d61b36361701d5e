//! Runs as they might have been, for tests: made from a seed, second by second, so that samples, histograms and record agree.

use std::collections::BTreeMap;

use experiment::{
    AccountingRecord, CheckOutcome, CheckRecord, Dimension, ErrorMessage, GeneratorRecord, HistogramRecord, Lateness,
    LoadPlan, Metric, OperationRecord, PhasePlan, PhaseRecord, Provenance, Record, RecoveryRecord, SCHEMA,
    SampleRecord, SampledOperation, ScalabilityRecord, SearchPoint, SearchRecord, ServerRecord, Stage, Status,
    TargetRecord, ThresholdRecord, ValidityCheck, Verdict, Verification, WorkloadRecord,
};
use serde_json::json;
use stats::Histogram;
use uuid::Uuid;

/// Seconds before anything counts.
const WARM_UP_SECONDS: u64 = 5;

/// A store of a test's own.
pub(crate) fn open(path: &std::path::Path) -> super::Results {
    super::Results::open(&super::Location::File(path.to_owned())).expect("it opens")
}

/// What kind of run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) seconds: u64,
    pub(crate) operations: &'static [(&'static str, f64)],
    pub(crate) rate_per_second: u64,
    /// A second in which the server stops for two.
    pub(crate) stall_at: Option<u64>,
    pub(crate) is_open: bool,
}

/// A minute of an open load on two operations.
pub(crate) const MINUTE: Shape = Shape {
    seconds: 60,
    operations: &[("read", 0.95), ("update", 0.05)],
    rate_per_second: 2000,
    stall_at: None,
    is_open: true,
};

/// Half an hour of five operations with a stall in it.
pub(crate) const HALF_HOUR: Shape = Shape {
    seconds: 1800,
    operations: &[("read", 0.5), ("update", 0.25), ("scan", 0.1), ("insert", 0.1), ("read_modify_write", 0.05)],
    rate_per_second: 1000,
    stall_at: Some(1100),
    is_open: true,
};

/// A small random generator (`SplitMix64`, Steele et al. 2014): a fixture is the same every time.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Nearly normal: the sum of twelve uniforms.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// A run without what only its end brings.
pub(crate) fn started(name: &str, id: Uuid) -> Record {
    let start = "2026-03-14T09:26:53.589793Z".parse().expect("a time");
    record(name, id, start, MINUTE)
}

/// The one place where a record is made: a field that is added is added here.
fn record(name: &str, id: Uuid, start: jiff::Timestamp, shape: Shape) -> Record {
    let phase = |name: &str, recorded, start_seconds, duration_seconds| PhaseRecord {
        name: name.to_owned(),
        recorded,
        start_seconds,
        duration_seconds,
        throughput_per_second: 0.0,
        accounting: AccountingRecord::default(),
        operations: Vec::new(),
        total: OperationRecord::default(),
    };
    let warm_up = WARM_UP_SECONDS as f64;
    Record {
        schema: SCHEMA.to_owned(),
        id,
        name: name.to_owned(),
        status: Status::Running,
        started_at: start,
        ended_at: start,
        seed: 42,
        target: TargetRecord {
            driver: "postgres".to_owned(),
            url: "postgres://lab:***@127.0.0.1:5544/lab".to_owned(),
            server: "PostgreSQL 15.18 (Debian 15.18-0+deb12u1)".to_owned(),
        },
        workload: WorkloadRecord {
            name: "ycsb".to_owned(),
            variant: Some("b".to_owned()),
            parameters: BTreeMap::from([
                ("records".to_owned(), json!(100_000)),
                ("distribution".to_owned(), json!("zipfian")),
                ("field_bytes".to_owned(), json!(100)),
            ]),
        },
        load: load(shape),
        accounting: AccountingRecord::default(),
        duration_seconds: 0.0,
        throughput_per_second: 0.0,
        operations: Vec::new(),
        total: OperationRecord::default(),
        phases: vec![
            phase("warm-up", false, 0.0, warm_up),
            phase("steady", true, warm_up, shape.seconds as f64 - warm_up),
        ],
        generator: GeneratorRecord::default(),
        recovery: RecoveryRecord::default(),
        host: json!({}),
        server: ServerRecord::default(),
        verification: Verification::default(),
        verdict: Verdict::default(),
        search: None,
        error_messages: Vec::new(),
        prometheus: None,
        profiles: Vec::new(),
        parts: Vec::new(),
        resumed: None,
        provenance: Provenance {
            storelab: "0.1.0".to_owned(),
            host: json!({ "kernel": "Linux 6.12.8", "processors": 2, "memory_bytes": 8_318_443_520_u64,
                "processor": "AMD EPYC 9R14" }),
        },
        report: None,
    }
}

fn load(shape: Shape) -> LoadPlan {
    let rate = shape.is_open.then(|| format!("{}/s", shape.rate_per_second).parse().expect("a rate"));
    let phase = |seconds: u64, record| PhasePlan {
        duration: Some(format!("{seconds}s").parse().expect("a duration")),
        rate,
        record,
        ..PhasePlan::default()
    };
    let phases = vec![phase(WARM_UP_SECONDS, Some(false)), phase(shape.seconds - WARM_UP_SECONDS, None)];
    LoadPlan { phases: Some(phases), sessions: std::num::NonZeroU32::new(32), ..LoadPlan::default() }
}

/// One operation over a phase.
#[derive(Clone, Default)]
struct Counted {
    succeeded: u64,
    failed: u64,
    latency: Histogram,
    service: Histogram,
    queueing: Histogram,
}

impl Counted {
    fn merge(&mut self, other: &Self) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.latency.merge(&other.latency);
        self.service.merge(&other.service);
        self.queueing.merge(&other.queueing);
    }

    fn record(&self, name: &str) -> OperationRecord {
        let errors = [("timeout".to_owned(), self.failed)].into_iter().filter(|(_, count)| *count > 0);
        OperationRecord {
            name: name.to_owned(),
            succeeded: self.succeeded,
            failed: self.failed,
            errors: errors.collect(),
            latency_us: self.latency.summary(),
            service_time_us: self.service.summary(),
            queueing_time_us: self.queueing.summary(),
        }
    }

    fn accounting(&self) -> AccountingRecord {
        let Self { succeeded, failed, .. } = *self;
        AccountingRecord { scheduled: succeeded + failed, succeeded, failed, shed: 0, unfinished: 0 }
    }
}

/// A whole run; its seconds are handed over one at a time, since an hour of histograms does not fit memory.
pub(crate) fn run(name: &str, shape: Shape, mut sample: impl FnMut(SampleRecord)) -> (Record, Vec<HistogramRecord>) {
    let id = Uuid::parse_str("0195935f-7a45-7c3e-9d2a-3b1c5e8f9a01").expect("an id");
    let mut record = record(name, id, started(name, id).started_at, shape);
    let mut random = Random(42);
    let mut phases = vec![vec![Counted::default(); shape.operations.len()]; 2];
    for second in 0..shape.seconds {
        let phase = usize::from(second >= WARM_UP_SECONDS);
        let mut operations = Vec::new();
        for (place, (operation, share)) in shape.operations.iter().enumerate() {
            let counted = counted(&mut random, shape, second, place, *share);
            phases[phase][place].merge(&counted);
            operations.push(SampledOperation {
                phase: phase as u16,
                operation: (*operation).to_owned(),
                succeeded: counted.succeeded,
                failed: counted.failed,
                latency: counted.latency,
            });
        }
        sample(SampleRecord { second, operations, gauges: gauges(&mut random, shape, second) });
    }
    finish(&mut record, shape, &phases);
    let mut histograms = Vec::new();
    for (phase, operations) in phases.into_iter().enumerate() {
        for ((operation, _), counted) in shape.operations.iter().zip(operations) {
            let Counted { latency, service, queueing, .. } = counted;
            let parts = [(Metric::Latency, latency), (Metric::ServiceTime, service), (Metric::QueueingTime, queueing)];
            histograms.extend(parts.map(|(metric, histogram)| HistogramRecord {
                phase: phase as u16,
                operation: (*operation).to_owned(),
                metric,
                histogram,
            }));
        }
    }
    (record, histograms)
}

/// One operation in one second.
fn counted(random: &mut Random, shape: Shape, second: u64, place: usize, share: f64) -> Counted {
    let mut counted = Counted::default();
    let stalled = |at: u64| second.checked_sub(at);
    let phase = shape.stall_at.and_then(stalled);
    let planned = shape.rate_per_second as f64 * share * (1.0 + 0.02 * random.normal());
    if matches!(phase, Some(0 | 1)) {
        return counted;
    }
    let median_us = 220.0 * (1.0 + place as f64 * 0.7);
    // A checkpoint once a minute, and a cold start.
    let slow = if second % 60 > 50 { 2.2 } else { 1.0 } * if second < 3 { 3.0 } else { 1.0 };
    let mut record = |waited_us: f64, random: &mut Random| {
        let tail = if random.unit() < 0.004 { 12.0 } else { 1.0 };
        let service = median_us * slow * tail * (0.35 * random.normal()).exp();
        counted.succeeded += 1;
        counted.latency.record(((service + waited_us) * 1e3) as u64);
        counted.service.record((service * 1e3) as u64);
        counted.queueing.record((waited_us * 1e3) as u64 + 1);
    };
    if phase == Some(2) {
        for number in 0..(planned * 2.0) as u64 {
            record(2e6 * (1.0 - number as f64 / (planned * 2.0)), random);
        }
    }
    for _ in 0..planned as u64 {
        record(3.0, random);
    }
    if second % 60 == 55 || phase == Some(2) {
        counted.failed = 2 + place as u64;
    }
    counted
}

fn gauges(random: &mut Random, shape: Shape, second: u64) -> BTreeMap<&'static str, f64> {
    const MEBIBYTE: f64 = 1024.0 * 1024.0;
    let is_stalled = shape.stall_at.is_some_and(|at| (at..at + 2).contains(&second));
    let work = if is_stalled { 0.05 } else { 1.0 };
    let checkpoint = if second % 60 > 50 { 6.0 } else { 1.0 };
    let noise = 1.0 + 0.05 * random.normal();
    BTreeMap::from([
        ("generator.cpu_percent", 31.0 * noise * work),
        ("generator.rss_bytes", 48.0 * MEBIBYTE),
        ("generator.backlog", if is_stalled { 1950.0 } else { 0.0 }),
        ("generator.in_flight", if is_stalled { 32.0 } else { (1.2 * noise).round() }),
        ("generator.connected", 32.0),
        ("generator.lateness_us_max", 70.0 * (0.6 * random.normal()).exp()),
        ("host.cpu_percent", 118.0 * noise * work),
        ("host.cpu_iowait_percent", 3.0 * checkpoint * noise),
        ("host.cpu_steal_percent", 0.0),
        ("host.memory_available_bytes", 5100.0 * MEBIBYTE - second as f64 * 30_000.0),
        ("host.disk_read_bytes_per_second", 0.2 * MEBIBYTE * noise),
        ("host.disk_write_bytes_per_second", 6.0 * MEBIBYTE * checkpoint * noise * work),
        ("host.network_receive_bytes_per_second", 1.1 * MEBIBYTE * noise * work),
        ("host.network_send_bytes_per_second", 1.4 * MEBIBYTE * noise * work),
        ("host.pressure_cpu_percent", 2.0 * noise),
        ("host.pressure_io_percent", 1.5 * checkpoint * noise),
        ("host.pressure_memory_percent", 0.0),
        ("server.cpu_percent", 71.0 * noise * work),
        ("server.rss_bytes", 210.0 * MEBIBYTE + second as f64 * 20_000.0),
    ])
}

fn finish(record: &mut Record, shape: Shape, phases: &[Vec<Counted>]) {
    let names = shape.operations.iter().map(|(name, _)| *name);
    for (phase, counted) in record.phases.iter_mut().zip(phases) {
        let mut total = Counted::default();
        for counted in counted {
            total.merge(counted);
        }
        phase.operations = names.clone().zip(counted).map(|(name, counted)| counted.record(name)).collect();
        phase.total = total.record("total");
        phase.accounting = total.accounting();
        phase.throughput_per_second = total.succeeded as f64 / phase.duration_seconds;
    }
    let steady = record.phases[1].clone();
    record.status = Status::Completed;
    record.ended_at = record.started_at + jiff::SignedDuration::from_secs(shape.seconds.cast_signed());
    record.accounting = steady.accounting;
    record.duration_seconds = steady.duration_seconds;
    record.throughput_per_second = steady.throughput_per_second;
    record.operations = steady.operations;
    record.total = steady.total;
    record.generator = GeneratorRecord {
        cpu_seconds: 0.31 * shape.seconds as f64,
        cpu_us_per_operation: 15.4,
        cpu_share: 0.16,
        max_rss_bytes: 50_331_648,
        context_switches: 8_123_456,
        lateness_us: Lateness { p50: 12.0, p99: 61.0, max: 412.0 },
        harness_floor_us: 1.9,
        workers: 2,
        io: "epoll".to_owned(),
        reconnects: 0,
        connects_failed: 0,
    };
    if let Some(at) = shape.stall_at {
        record.recovery = RecoveryRecord {
            outages: 1,
            gone_seconds: 2.0,
            longest_seconds: 2.0,
            longest_start_seconds: Some(at as f64),
            is_gone: false,
            session_seconds_max: 2.25,
        };
    }
    record.host = json!({ "cpu_seconds": { "user": 41.2, "system": 18.9, "iowait": 0.6 }, "steal_percent": 0.0 });
    record.server = ServerRecord {
        cpu_seconds: Some(0.71 * shape.seconds as f64),
        max_rss_bytes: Some(257_425_408),
        counters: (0..40)
            .map(|place| (format!("pg_stat_database.counter_{place}"), f64::from(place * place * 997)))
            .collect(),
        settings: [("shared_buffers", "128MB"), ("synchronous_commit", "on"), ("max_wal_size", "1GB"), ("fsync", "on")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        missing: vec!["pg_stat_io: PostgreSQL 16 brings it".to_owned()],
    };
    let check =
        |name: &str, detail: &str| CheckRecord { name: name.to_owned(), passed: true, detail: detail.to_owned() };
    record.verification = Verification { passed: true, checks: vec![check("row count", "100,000 as expected")] };
    record.verdict = Verdict {
        valid: true,
        reasons: Vec::new(),
        warnings: if shape.is_open { Vec::new() } else { vec!["closed load: blind to stalls".to_owned()] },
        accepted: false,
        checks: vec![ValidityCheck {
            name: "generator_cpu".to_owned(),
            outcome: CheckOutcome::Passed,
            value: Some(31.0),
            doubtful_limit: Some(80.0),
            limit: Some(95.0),
            unit: "%".to_owned(),
            detail: "the generator used 31 % of its processors".to_owned(),
            remedy: "lower the load, or give it more processors".to_owned(),
        }],
        thresholds: vec![ThresholdRecord {
            expression: "p99(read) < 20ms".to_owned(),
            passed: true,
            value: Some(1_840.0),
            limit: Some(20_000.0),
            unit: "us".to_owned(),
            aborted_at_seconds: None,
            reason: None,
        }],
    };
    record.search = Some(search());
    record.error_messages = vec![ErrorMessage {
        kind: "timeout".to_owned(),
        message: "no answer within 10 s: canceling statement due to statement timeout".to_owned(),
        count: record.accounting.failed,
    }];
}

/// A search for the knee that was found between two rates.
fn search() -> SearchRecord {
    let point = |stage, load: f64, p99: f64| SearchPoint {
        stage,
        load,
        seconds: 5.0,
        throughput_per_second: load,
        value: Some(p99),
        latency_us_p50: p99 / 4.0,
        latency_us_p99: p99,
        kept: p99 < 10_000.0,
        valid: true,
    };
    SearchRecord {
        dimension: Dimension::Rate,
        condition: "p99(read) < 10ms".to_owned(),
        points: vec![
            point(Stage::Coarse, 1_000.0, 1_900.0),
            point(Stage::Coarse, 2_000.0, 2_400.0),
            point(Stage::Coarse, 4_000.0, 41_000.0),
            point(Stage::Bisection, 2_828.0, 6_100.0),
            point(Stage::Confirmation, 2_828.0, 6_000.0),
        ],
        found: Some(2_828.0),
        knee: Some(3_050.0),
        interval: Some([2_828.0, 4_000.0]),
        confirmed: true,
        share: Some(0.7),
        notes: Vec::new(),
        scalability: Some(ScalabilityRecord {
            lambda: 1_000.0,
            sigma: 0.02,
            kappa: 0.000_4,
            peak_sessions: Some(49.5),
            r_squared: 0.998,
        }),
    }
}
