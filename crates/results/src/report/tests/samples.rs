//! A comparison and a history as they might have been, for the pages that show them.

use experiment::{
    COMPARISON_SCHEMA, Change, ChangePoint, ComparedMetric, Comparison, Difference, HISTORY_SCHEMA, History,
    HistoryPoint, Side,
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::super::Drawn;

/// What is compared of each operation, with how much its figure moves on one side.
const METRICS: [(&str, &str, f64); 8] = [
    ("throughput", "/s", -0.004),
    ("mean", "us", 0.031),
    ("p50", "us", 0.002),
    ("p90", "us", 0.044),
    ("p95", "us", 0.068),
    ("p99", "us", 0.123),
    ("p99.9", "us", 0.31),
    ("errors", "%", -0.02),
];

/// The runs, the first beside each of the others.
pub(super) fn comparison(runs: &[Drawn]) -> Comparison {
    let side = |run: &Drawn| Side {
        label: run.record.name.clone(),
        runs: vec![(run.record.id, run.record.name.clone())],
        valid: run.record.verdict.valid,
    };
    let mut metrics = Vec::new();
    for (place, run) in runs.iter().enumerate().skip(1) {
        for operation in run.record.operations.iter().chain([&run.record.total]) {
            let of_operation = METRICS.iter().map(|(metric, unit, change)| {
                let is_total = operation.name == "total";
                metric_of(place, &operation.name, metric, unit, if is_total { *change } else { change / 2.0 })
            });
            metrics.extend(of_operation);
        }
    }
    Comparison {
        schema: COMPARISON_SCHEMA.to_owned(),
        sides: runs.iter().map(side).collect(),
        metrics,
        confidence: 0.95,
        method: "moving-block bootstrap over seconds, 10,000 resamples; Holm's correction over the headline".to_owned(),
        differences: vec![
            Difference {
                what: "settings.shared_buffers".to_owned(),
                values: runs.iter().enumerate().map(|(place, _)| Some(format!("{} MB", 128 << place))).collect(),
            },
            Difference {
                what: "host.kernel".to_owned(),
                values: runs
                    .iter()
                    .enumerate()
                    .map(|(place, _)| (place > 0).then(|| "Linux 6.13".to_owned()))
                    .collect(),
            },
        ],
        overruled: vec!["the hosts' kernels differ".to_owned()],
    }
}

fn metric_of(side: usize, operation: &str, metric: &str, unit: &str, change: f64) -> ComparedMetric {
    let (baseline, width) = (1_000.0, 0.02 + change.abs() / 4.0);
    let more_is_better = metric == "throughput";
    let change_word = match (change.abs() > width + 0.01, (change > 0.0) == more_is_better) {
        (false, _) => Change::NoSignificantChange,
        (true, true) => Change::Faster,
        (true, false) => Change::Slower,
    };
    ComparedMetric {
        side,
        operation: operation.to_owned(),
        metric: metric.to_owned(),
        unit: unit.to_owned(),
        is_headline: operation == "total" && metric != "p99.9",
        more_is_better,
        baseline,
        value: baseline * (1.0 + change),
        change,
        interval: [change - width, change + width],
        p_value: if change_word == Change::NoSignificantChange { 0.41 } else { 0.000_2 },
        effect_size: (change * 6.0).clamp(-1.0, 1.0),
        noise: 0.01,
        change_word,
    }
}

/// So many runs, one every six hours, that became slower twice and better once.
pub(super) fn history(runs: usize) -> History {
    let start: Timestamp = "2026-01-05T02:00:00Z".parse().expect("a time");
    let changes = [(runs / 4, 1_840.0, 2_050.0), (runs / 2, 2_050.0, 1_700.0), (runs * 4 / 5, 1_700.0, 1_980.0)];
    let level = |index: usize| {
        changes.iter().rev().find(|(from, ..)| index >= *from).map_or(changes[0].1, |(_, _, after)| *after)
    };
    let points = (0..runs).map(|index| HistoryPoint {
        run: Uuid::from_u128(0x0195_935f_7a45_7c3e_9d2a_0000_0000_0000 + index as u128),
        started_at: start + SignedDuration::from_hours(6) * i32::try_from(index).expect("few runs"),
        server: if index < runs / 2 { "PostgreSQL 15.18" } else { "PostgreSQL 16.10" }.to_owned(),
        // Multiples of the golden ratio are spread evenly and look like noise.
        value: level(index) * (1.0 + 0.08 * ((index as f64 * 0.618_034).fract() - 0.5)),
    });
    let change_points = changes.map(|(index, before, after)| ChangePoint {
        index,
        before,
        after,
        change: after / before - 1.0,
        p_value: 0.000_1,
    });
    History {
        schema: HISTORY_SCHEMA.to_owned(),
        name: "nightly".to_owned(),
        metric: "p99(read)".to_owned(),
        unit: "us".to_owned(),
        points: points.collect(),
        change_points: change_points.into(),
        method: "Hunter: windows of 50 runs, Student's t-test, p below 0.001".to_owned(),
        notes: vec!["2 runs that are not valid were left out".to_owned()],
    }
}
