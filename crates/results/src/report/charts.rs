//! The three charts of a run: the percentile curve, latency over time, throughput over time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use experiment::{HistogramRecord, Metric, Record};
use runner::Mode;
use stats::Histogram;

use super::axis::Axis;
use super::chart::{Band, BandKind, Chart, Line, Look, Mark, Weight};
use super::format::{Unit, push, time};
use stats::{Keep, Points, Series, downsampled};

/// Points of a line over time: about one for each pixel pair of the page.
pub(super) const POINTS_MAX: usize = 600;

/// Operations with a line of their own; the others are in the total and in the table.
const OPERATIONS_MAX: usize = 6;

/// Points of a percentile curve for each halving of the distance to 1.
const CURVE_STEPS_PER_HALF: u32 = 5;

/// A share of the last second below which its rate says nothing.
const LAST_SECOND_SHARE_MIN: f64 = 0.2;

/// Ticks on the axis of time that fit a page.
const TIME_TICKS: f64 = 10.0;

const TOTAL: Look = Look { colour: 0, dashes: 0, weight: Weight::Heavy };

/// Colour and dashes of the operation at a place.
fn look_of(place: usize) -> Look {
    Look { colour: (place % 7 + 1) as u8, dashes: (place % 5) as u8, weight: Weight::Normal }
}

/// How long the run is on the axis of time.
pub(super) fn end_seconds(record: &Record, series: &Series) -> f64 {
    let phases = record.phases.iter().map(|phase| phase.start_seconds + phase.duration_seconds);
    let planned = phases.fold(0.0, f64::max);
    // Seconds after the last phase are those in which late answers were waited for.
    let sampled = series.length() as f64;
    if planned > 0.0 && sampled - planned <= 1.0 { planned } else { planned.max(sampled) }
}

/// The phases as bands.
pub(super) fn bands(record: &Record) -> Vec<Band> {
    let phases = record.phases.iter().map(|phase| Band {
        name: phase.name.clone(),
        from: phase.start_seconds,
        to: phase.start_seconds + phase.duration_seconds,
        kind: if phase.recorded { BandKind::Recorded } else { BandKind::Idle },
    });
    phases.chain(outage(record)).collect()
}

/// The longest time that nobody answered.
fn outage(record: &Record) -> Option<Band> {
    let recovery = &record.recovery;
    let start = recovery.longest_start_seconds?;
    let name = format!("nobody answered for {}", time(rounded(recovery.longest_seconds)));
    Some(Band { name, from: start, to: start + recovery.longest_seconds, kind: BandKind::Event })
}

/// What happened during the run, in order.
pub(super) fn marks(record: &Record) -> Vec<Mark> {
    let gone = outage(record).map(|outage| Mark {
        name: format!("gone {}", time(rounded(record.recovery.longest_seconds))),
        at: outage.from,
    });
    let aborted = record.verdict.thresholds.iter().filter_map(|threshold| {
        Some(Mark { name: format!("{} missed", threshold.expression), at: threshold.aborted_at_seconds? })
    });
    let mut marks: Vec<_> = gone.into_iter().chain(aborted).collect();
    marks.sort_by(|a, b| a.at.total_cmp(&b.at));
    marks
}

/// Seconds to the hundredth, below a minute.
fn rounded(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}

/// Whether a phase of the run was open, so that latency and service time differ.
pub(super) fn is_open(record: &Record) -> bool {
    planned_modes(record).iter().any(|mode| matches!(mode, Mode::Open { .. }))
}

/// Latency by percentile: a line for each operation, one for all, and service time beside it where the load was open.
pub(super) fn percentiles(record: &Record, histograms: &[HistogramRecord]) -> Option<Chart> {
    let curves = Curves::of(record, histograms);
    let latency = curves.merged(Metric::Latency);
    if latency.is_empty() {
        return None;
    }
    let service = if is_open(record) { curves.merged(Metric::ServiceTime) } else { BTreeMap::new() };
    let mut names: Vec<&str> = latency.keys().copied().collect();
    names.sort_by_key(|name| std::cmp::Reverse(latency[name].count()));
    let hidden = names.len().saturating_sub(OPERATIONS_MAX);
    names.truncate(OPERATIONS_MAX);
    let mut lines = Vec::new();
    let mut add = |name: &str, look: Look, latency: &Histogram, service: Option<&Histogram>| {
        // The service time has the colour of its operation and dashes of its own, and needs no label.
        let line = |name: String, look, histogram: &Histogram, is_labelled| Line {
            name,
            look,
            points: curve(histogram),
            is_labelled,
        };
        if let Some(service) = service.filter(|service| !service.is_empty()) {
            let look = Look { dashes: 2, weight: Weight::Light, ..look };
            lines.push(line(format!("{name}, service time"), look, service, false));
        }
        lines.push(line(name.to_owned(), Look { dashes: 0, ..look }, latency, true));
    };
    for (place, name) in names.iter().enumerate() {
        add(name, look_of(place), latency[name], service.get(name).copied());
    }
    let (total, total_service) = (sum(latency.values()), sum(service.values()));
    if latency.len() > 1 {
        add("total", TOTAL, &total, Some(&total_service));
    }
    let values = || lines.iter().flat_map(|line| line.points.iter().filter_map(|(_, y)| *y)).filter(|y| *y > 0.0);
    let y = Axis::log(Unit::Microseconds, values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    let mut note = if service.is_empty() {
        "of the recorded phases, from the send to the answer".to_owned()
    } else {
        "of the recorded phases; solid: from the intended start, dashed: from the send".to_owned()
    };
    if hidden > 0 {
        push!(note, "; {hidden} rarer operations are in the table only");
    }
    let x = Axis::nines((total.count() as f64).log10().max(1.0));
    Some(Chart::new("Latency by percentile", note, x, y, lines))
}

/// Percentiles of each second.
pub(super) fn latency_over_time(record: &Record, series: &Series) -> Option<Chart> {
    let line = |name: &str, colour, dashes, weight, value: fn(&stats::Percentiles) -> f64| {
        let points = series.points(|second| second.latency.as_ref().map(value));
        let points = downsampled(points, POINTS_MAX, Keep::Greatest);
        Line { name: name.to_owned(), look: Look { colour, dashes, weight }, points, is_labelled: true }
    };
    let lines = vec![
        line("max", 4, 3, Weight::Light, |latency| latency.max),
        line("p99", 2, 0, Weight::Normal, |latency| latency.p99),
        line("p95", 3, 1, Weight::Normal, |latency| latency.p95),
        line("p50", 1, 0, Weight::Normal, |latency| latency.p50),
    ];
    let values = || lines.iter().flat_map(|line| line.points.iter().filter_map(|(_, y)| *y)).filter(|y| *y > 0.0);
    let least = values().fold(f64::INFINITY, f64::min);
    if !least.is_finite() {
        return None;
    }
    let y = Axis::log(Unit::Microseconds, least, values().fold(0.0, f64::max));
    let note = format!("percentiles of {} over all operations", stretch(series));
    let x = Axis::time(end_seconds(record, series), TIME_TICKS);
    let chart = Chart::new("Latency over time", note, x, y, lines);
    Some(Chart { bands: bands(record), marks: marks(record), ..chart })
}

/// Operations that ended well in each second, with what was planned and what failed.
pub(super) fn throughput_over_time(record: &Record, series: &Series) -> Option<Chart> {
    if series.is_empty() {
        return None;
    }
    let end = end_seconds(record, series);
    let line = |name: &str, look, value: &dyn Fn(&stats::Second) -> u64| {
        let points = whole_seconds(series.points(|second| Some(value(second) as f64)), end);
        Line { name: name.to_owned(), look, points: downsampled(points, POINTS_MAX, Keep::Extremes), is_labelled: true }
    };
    let mut lines = Vec::new();
    if let Some(points) = planned_rate(record, end) {
        let look = Look { colour: 7, dashes: 1, weight: Weight::Light };
        lines.push(Line { name: "planned".to_owned(), look, points, is_labelled: true });
    }
    let operations = series.operations();
    if operations.len() > 1 {
        let mut operations: Vec<_> =
            record.operations.iter().filter(|found| operations.contains(found.name.as_str())).collect();
        operations.sort_by_key(|operation| std::cmp::Reverse(operation.succeeded));
        for (place, operation) in operations.into_iter().take(OPERATIONS_MAX).enumerate() {
            let of = |second: &stats::Second| {
                second.succeeded_by_operation.get(&operation.name).copied().unwrap_or_default()
            };
            lines.push(line(&operation.name, look_of(place), &of));
        }
    }
    lines.push(line("total", TOTAL, &|second| second.succeeded));
    let greatest = lines.iter().flat_map(|line| line.points.iter().filter_map(|(_, y)| *y)).fold(0.0, f64::max);
    let note = if series.length() as usize > POINTS_MAX {
        format!("operations that succeeded, the least and the greatest second of {}", stretch_length(series, 2))
    } else {
        "operations that succeeded in each second".to_owned()
    };
    let (x, y) = (Axis::time(end, TIME_TICKS), Axis::linear(Unit::PerSecond, greatest, 5.0));
    let chart = Chart::new("Throughput over time", note, x, y, lines);
    Some(Chart { bands: bands(record), marks: marks(record), failures: series.failures().collect(), ..chart })
}

/// What a point over time stands for.
fn stretch(series: &Series) -> String {
    if series.length() as usize > POINTS_MAX {
        format!("the worst second of {}", stretch_length(series, 1))
    } else {
        "each second".to_owned()
    }
}

fn stretch_length(series: &Series, points_each: usize) -> String {
    format!("every {}", (series.length() as usize).div_ceil(POINTS_MAX / points_each))
}

/// The last second counts by the part of it that the run had, or not at all.
pub(super) fn whole_seconds(mut points: Points, end: f64) -> Points {
    if let Some((middle, value)) = points.last_mut() {
        let share = end - (*middle - 0.5);
        if share < LAST_SECOND_SHARE_MIN {
            points.pop();
        } else if share < 1.0 {
            *value = value.map(|value| value / share);
            *middle = end - share / 2.0;
        }
    }
    points
}

/// The mode of each phase as it was planned; of a workload that runs its operations one after another the same for all.
fn planned_modes(record: &Record) -> Vec<Mode> {
    let Ok(load) = record.load.to_load(&[], 0) else { return Vec::new() };
    let modes: Vec<_> = load.phases.iter().map(|phase| phase.mode).collect();
    if modes.len() == record.phases.len() || record.phases.is_empty() {
        return modes;
    }
    match modes.as_slice() {
        [first, rest @ ..] if rest.iter().all(|mode| mode == first) => vec![*first; record.phases.len()],
        _ => Vec::new(),
    }
}

/// The rate that was planned, where a phase was open.
fn planned_rate(record: &Record, end: f64) -> Option<Points> {
    /// Points over the whole run, so that the crosshair finds one near.
    const POINTS: f64 = 60.0;
    let mut points: Points = Vec::new();
    for (phase, mode) in record.phases.iter().zip(planned_modes(record)) {
        let (start, duration) = (phase.start_seconds, phase.duration_seconds);
        match mode {
            Mode::Open { from, to, .. } => {
                let steps = (duration / end * POINTS).ceil().clamp(1.0, POINTS) as u32;
                points.extend((0..=steps).map(|step| {
                    let share = f64::from(step) / f64::from(steps);
                    (start + duration * share, Some(from.get() + (to.get() - from.get()) * share))
                }));
            }
            Mode::Closed => points.push((start, None)),
        }
    }
    points.iter().any(|(_, rate)| rate.is_some()).then_some(points)
}

/// Histograms of the recorded phases, merged over phases.
pub(super) struct Curves(BTreeMap<(&'static str, String), Histogram>);

impl Curves {
    pub(super) fn of(record: &Record, histograms: &[HistogramRecord]) -> Self {
        let is_recorded = |phase: u16| record.phases.get(usize::from(phase)).is_none_or(|phase| phase.recorded);
        let mut merged: BTreeMap<_, Histogram> = BTreeMap::new();
        for kept in histograms.iter().filter(|kept| is_recorded(kept.phase) && !kept.histogram.is_empty()) {
            let key = (kept.metric.name(), kept.operation.clone());
            merged.entry(key).or_default().merge(&kept.histogram);
        }
        Self(merged)
    }

    pub(super) fn merged(&self, metric: Metric) -> BTreeMap<&str, &Histogram> {
        let of_metric = self.0.iter().filter(|((name, _), _)| *name == metric.name());
        of_metric.map(|((_, operation), histogram)| (operation.as_str(), histogram)).collect()
    }
}

pub(super) fn sum<'a>(histograms: impl Iterator<Item = &'a &'a Histogram>) -> Histogram {
    let mut total = Histogram::new();
    histograms.for_each(|histogram| total.merge(histogram));
    total
}

/// The curve of a histogram up to the quantile that its count can tell.
pub(super) fn curve(histogram: &Histogram) -> Points {
    let greatest = 1.0 - 1.0 / (histogram.count().max(2) as f64);
    let mut points: Points = vec![(0.0, Some(histogram.quantile(0.0) as f64 / 1e3))];
    for point in histogram.curve(CURVE_STEPS_PER_HALF) {
        points.push((point.quantile.min(greatest), Some(point.latency_us)));
    }
    // The end is the greatest of all, whichever quantile it is told at.
    points.push((greatest, Some(histogram.max() as f64 / 1e3)));
    points.dedup();
    points
}
