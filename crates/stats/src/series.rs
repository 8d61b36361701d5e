//! A run second by second: counts, a few percentiles and gauges.

use std::collections::{BTreeMap, BTreeSet};

use crate::Histogram;

/// A run second by second, some hundred bytes each.
#[derive(Debug, Default)]
pub struct Series {
    seconds: BTreeMap<u64, Second>,
    /// All operations of a second together; kept for its memory.
    merged: Histogram,
}

/// One second.
#[derive(Debug, Default)]
pub struct Second {
    /// Operations that ended well.
    pub succeeded: u64,
    /// Operations that ended with an error.
    pub failed: u64,
    /// Those that ended well, by operation.
    pub succeeded_by_operation: BTreeMap<String, u64>,
    /// Of all operations together; `None` where none ended well.
    pub latency: Option<Percentiles>,
    /// Everything else that was measured, by name.
    pub gauges: BTreeMap<&'static str, f64>,
}

/// Latencies of a second in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Percentiles {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Greatest.
    pub max: f64,
}

/// Which of the points that share a place survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The greatest: spikes.
    Greatest,
    /// The least and the greatest, in their order: spikes and dips.
    Extremes,
}

/// A value a second; `None` where there is none.
pub type Points = Vec<(f64, Option<f64>)>;

impl Series {
    /// Adds what happened during a second: for each operation its name, how many succeeded and failed, and the latencies
    /// of the successes; and gauges by name, of which those that are not finite are left out.
    pub fn add<'a>(
        &mut self,
        second: u64,
        operations: impl IntoIterator<Item = (&'a str, u64, u64, &'a Histogram)>,
        gauges: impl IntoIterator<Item = (&'static str, f64)>,
    ) {
        let second = self.seconds.entry(second).or_default();
        self.merged.clear();
        for (name, succeeded, failed, latency) in operations {
            second.succeeded += succeeded;
            second.failed += failed;
            *second.succeeded_by_operation.entry(name.to_owned()).or_default() += succeeded;
            self.merged.merge(latency);
        }
        if !self.merged.is_empty() {
            let at = |quantile| self.merged.quantile(quantile) as f64 / 1e3;
            let max = self.merged.max() as f64 / 1e3;
            second.latency = Some(Percentiles { p50: at(0.5), p95: at(0.95), p99: at(0.99), max });
        }
        second.gauges.extend(gauges.into_iter().filter(|(_, value)| value.is_finite()));
    }

    /// Whether there is no second.
    pub fn is_empty(&self) -> bool {
        self.seconds.is_empty()
    }

    /// How many seconds there are, from the start to the last.
    pub fn length(&self) -> u64 {
        self.seconds.last_key_value().map_or(0, |(second, _)| second + 1)
    }

    /// A value of each second, in order, seconds without a sample included; placed in the middle of the second.
    pub fn points(&self, value: impl Fn(&Second) -> Option<f64>) -> Points {
        let nothing = Second::default();
        let at = |second| (second as f64 + 0.5, value(self.seconds.get(&second).unwrap_or(&nothing)));
        (0..self.length()).map(at).collect()
    }

    /// A gauge of each second; `None` where it was never measured.
    pub fn gauge(&self, name: &str) -> Option<Points> {
        let is_there = self.seconds.values().any(|second| second.gauges.contains_key(name));
        is_there.then(|| self.points(|second| second.gauges.get(name).copied()))
    }

    /// The operations that were seen.
    pub fn operations(&self) -> BTreeSet<&str> {
        let names = self.seconds.values().flat_map(|second| second.succeeded_by_operation.keys());
        names.map(String::as_str).collect()
    }

    /// Seconds in which operations failed, with how many.
    pub fn failures(&self) -> impl Iterator<Item = (u64, u64)> {
        self.seconds.iter().filter(|(_, second)| second.failed > 0).map(|(second, found)| (*second, found.failed))
    }
}

/// At most `limit` points that look like all of them: each of equal stretches is its extremes. Where values are absent in
/// a whole stretch the gap stays.
pub fn downsampled(points: Points, limit: usize, keep: Keep) -> Points {
    if points.len() <= limit {
        return points;
    }
    let each = match keep {
        Keep::Greatest => points.len().div_ceil(limit),
        Keep::Extremes => points.len().div_ceil(limit / 2),
    };
    let mut kept = Vec::with_capacity(limit);
    for stretch in points.chunks(each) {
        let known = || stretch.iter().filter_map(|(x, y)| y.map(|y| (*x, y)));
        let greatest = known().max_by(|a, b| a.1.total_cmp(&b.1));
        let least = known().min_by(|a, b| a.1.total_cmp(&b.1));
        match (keep, least, greatest) {
            (Keep::Extremes, Some(least), Some(greatest)) if (least.0 - greatest.0).abs() > f64::EPSILON => {
                let (first, second) = if least.0 < greatest.0 { (least, greatest) } else { (greatest, least) };
                kept.extend([(first.0, Some(first.1)), (second.0, Some(second.1))]);
            }
            (_, _, Some(greatest)) => kept.push((greatest.0, Some(greatest.1))),
            (_, _, None) => kept.push((stretch[0].0, None)),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spikes_and_dips_survive() {
        let mut points: Points = (0..1800).map(|second| (f64::from(second), Some(10.0))).collect();
        points[777].1 = Some(99.0);
        points[901].1 = Some(1.0);
        for (keep, expect) in [(Keep::Greatest, vec![99.0]), (Keep::Extremes, vec![99.0, 1.0])] {
            let kept = downsampled(points.clone(), 600, keep);
            assert!(kept.len() <= 600);
            let unusual: Vec<_> = kept.iter().filter_map(|(_, y)| y.filter(|y| (y - 10.0).abs() > 1.0)).collect();
            assert_eq!(unusual, expect, "{keep:?}");
            assert!(kept.is_sorted_by(|a, b| a.0 < b.0), "in order of time");
        }
    }

    #[test]
    fn gaps_stay_and_short_series_are_left_alone() {
        let mut points: Points = (0..1200).map(|second| (f64::from(second), Some(1.0))).collect();
        points[300..330].fill((300.0, None));
        assert!(downsampled(points, 600, Keep::Greatest).iter().any(|(_, y)| y.is_none()));
        let short: Points = vec![(0.0, Some(1.0)), (1.0, None)];
        assert_eq!(downsampled(short.clone(), 600, Keep::Extremes), short);
    }
}
