//! What happened in a stretch of a run, in the least that comparisons need: durations, counts, and the latencies' buckets
//! that are not empty. A [`Histogram`] takes 270 kB a second, this a few.

use std::time::Duration;

use crate::Histogram;

/// A stretch of a run, a second or more: what a bootstrap draws. Units merge exactly and in any order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unit {
    /// How long it took.
    pub duration: Duration,
    /// Operations that ended well.
    pub succeeded: u64,
    /// Operations that ended with an error.
    pub failed: u64,
    /// Of the successes, in nanoseconds: an integer, so that the order of merging does not show.
    latency_ns_sum: u128,
    /// Latencies in nanoseconds with their counts, in order.
    buckets: Vec<(u64, u64)>,
}

impl Unit {
    /// An empty stretch of some length.
    pub fn lasting(duration: Duration) -> Self {
        Self { duration, ..Self::default() }
    }

    /// Adds operations that ended in it, with the latencies of the successes.
    pub fn add(&mut self, succeeded: u64, failed: u64, latency: &Histogram) {
        self.succeeded += succeeded;
        self.failed += failed;
        self.latency_ns_sum += (latency.mean() * latency.count() as f64).round() as u128;
        self.add_buckets(latency.buckets());
    }

    /// Adds another stretch: what happened in both, over both their times.
    pub fn merge(&mut self, other: &Self) {
        self.duration += other.duration;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.latency_ns_sum += other.latency_ns_sum;
        self.add_buckets(other.buckets.iter().copied());
    }

    /// Latencies in nanoseconds with their counts, in order.
    pub fn buckets(&self) -> &[(u64, u64)] {
        &self.buckets
    }

    /// The sum of the latencies in nanoseconds.
    pub fn latency_ns_sum(&self) -> f64 {
        self.latency_ns_sum as f64
    }

    fn add_buckets(&mut self, added: impl Iterator<Item = (u64, u64)>) {
        let mut merged = Vec::with_capacity(self.buckets.len());
        let mut kept = self.buckets.iter().copied().peekable();
        for (latency_ns, count) in added {
            while let Some(bucket) = kept.next_if(|(kept_ns, _)| *kept_ns < latency_ns) {
                merged.push(bucket);
            }
            let same = kept.next_if(|(kept_ns, _)| *kept_ns == latency_ns).map_or(0, |(_, count)| count);
            merged.push((latency_ns, count + same));
        }
        merged.extend(kept);
        self.buckets = merged;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unit_of(milliseconds: u64, failed: u64, latencies_ns: &[u64]) -> Unit {
        let mut histogram = Histogram::new();
        for latency_ns in latencies_ns {
            histogram.record(*latency_ns);
        }
        let mut unit = Unit::lasting(Duration::from_millis(milliseconds));
        unit.add(latencies_ns.len() as u64, failed, &histogram);
        unit
    }

    fn merged<'a>(units: impl IntoIterator<Item = &'a Unit>) -> Unit {
        units.into_iter().fold(Unit::default(), |mut whole, unit| {
            whole.merge(unit);
            whole
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn merging_is_exact_in_any_order_and_grouping(
            parts in prop::collection::vec((1_u64..2_000, 0_u64..5, prop::collection::vec(1_u64..1_000_000_000, 0..40)), 1..6),
            cut in 0_usize..6,
        ) {
            let units: Vec<_> = parts.iter().map(|(time, failed, values)| unit_of(*time, *failed, values)).collect();
            let forward = merged(&units);
            prop_assert_eq!(&merged(units.iter().rev()), &forward);
            let (left, right) = units.split_at(cut.min(units.len()));
            prop_assert_eq!(&merged([&merged(left), &merged(right)]), &forward);
            // One histogram of all values has the same buckets.
            let all: Vec<u64> = parts.iter().flat_map(|(_, _, values)| values.iter().copied()).collect();
            let single = unit_of(0, 0, &all);
            prop_assert_eq!(single.buckets(), forward.buckets());
            prop_assert!((single.latency_ns_sum() - forward.latency_ns_sum()).abs() <= parts.len() as f64);
        }
    }
}
