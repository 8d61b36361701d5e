//! The bootstrap's promises, on series whose truth is known: how often its intervals hold the truth, how often what is
//! alike is called different, and how often what differs is seen.

use std::time::Duration;

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use statrs::distribution::{ContinuousCDF, Normal};

use crate::{Evidence, Histogram, Observed, Pairing, Statistic, Unit, compared, measured};

/// Fewer than a comparison takes, for speed; what is claimed holds with them already.
const REPLICATES: usize = 800;

type Random = Xoshiro256PlusPlus;

fn normal(random: &mut Random) -> f64 {
    Normal::standard().inverse_cdf(random.random_range(1e-12..1.0))
}

/// A second with these latencies in nanoseconds.
fn second(latencies_ns: impl IntoIterator<Item = f64>, scratch: &mut Histogram) -> Unit {
    scratch.clear();
    latencies_ns.into_iter().for_each(|latency_ns| scratch.record(latency_ns as u64));
    let mut unit = Unit::lasting(Duration::from_secs(1));
    unit.add(scratch.count(), 0, scratch);
    unit
}

/// A series with its true mean.
struct Series {
    name: &'static str,
    mean: f64,
    draw: fn(&mut Random, &mut f64) -> f64,
}

/// The second argument is the last deviation, for series with memory.
const SERIES: [Series; 4] = [
    Series { name: "lognormal", mean: 1.648_721, draw: |random, _| normal(random).exp() },
    Series { name: "exponential", mean: 1.0, draw: |random, _| -random.random_range(1e-12..1.0_f64).ln() },
    Series {
        name: "first-order autoregressive, 0.5",
        mean: 10.0,
        draw: |random, last| {
            *last = 0.5 * *last + normal(random);
            10.0 + *last
        },
    },
    Series {
        name: "skewed and autocorrelated",
        mean: 2.0,
        draw: |random, last| {
            *last = 0.5 * *last - random.random_range(1e-12..1.0_f64).ln();
            *last
        },
    },
];

#[test]
fn intervals_of_means_hold_the_truth_of_skewed_and_autocorrelated_series() {
    const TRIALS: u32 = 1_000;
    let mut scratch = Histogram::new();
    for Series { name, mean, draw } in SERIES {
        for seconds in [30, 60] {
            let mut random = Random::seed_from_u64(seconds);
            let mut covered = 0;
            for _ in 0..TRIALS {
                let mut last = mean - if mean > 5.0 { 10.0 } else { 0.0 };
                for _ in 0..50 {
                    draw(&mut random, &mut last);
                }
                let units = (0..seconds).map(|_| second([1e6 * draw(&mut random, &mut last)], &mut scratch));
                let observed = Observed::new(&[vec![units.collect()]]);
                let evidence = measured(&observed, Statistic::Mean, REPLICATES, &mut random).expect("values");
                let [low, high] = evidence.interval(0.95).map(|end| end.exp() / 1e6);
                covered += u32::from((low..high).contains(&mean));
            }
            let share = f64::from(covered) / f64::from(TRIALS);
            assert!(share >= 0.93, "{name}, {seconds} s: {share}");
        }
    }
}

/// Seconds of a run: each with so many latencies about 1 ms; latencies, seconds and runs vary by these shares.
struct Shape {
    seconds: usize,
    latencies: usize,
    latencies_vary: f64,
    seconds_vary: f64,
    runs_vary: f64,
}

impl Shape {
    fn run(&self, factor: f64, random: &mut Random, scratch: &mut Histogram) -> Vec<Vec<Unit>> {
        let run = factor * (self.runs_vary * normal(random)).exp();
        let units = (0..self.seconds).map(|_| {
            let mean = 1e6 * run * (self.seconds_vary * normal(random)).exp();
            second((0..self.latencies).map(|_| mean * (self.latencies_vary * normal(random)).exp()), scratch)
        });
        vec![units.collect()]
    }

    fn observed(&self, runs: usize, factor: f64, random: &mut Random, scratch: &mut Histogram) -> Observed {
        Observed::new(&(0..runs).map(|_| self.run(factor, random, scratch)).collect::<Vec<_>>())
    }

    /// The share of comparisons of so many runs a side that call the second one different, which is slower by `slower`.
    fn called(&self, statistic: Statistic, runs: [usize; 2], pairing: Pairing, slower: f64, noise: f64) -> f64 {
        const TRIALS: u32 = 300;
        let mut random = Random::seed_from_u64(11);
        let mut scratch = Histogram::new();
        let mut called = 0;
        for _ in 0..TRIALS {
            let baseline = self.observed(runs[0], 1.0, &mut random, &mut scratch);
            let side = self.observed(runs[1], 1.0 + slower, &mut random, &mut scratch);
            let evidence: Evidence =
                compared(&baseline, &side, statistic, pairing, REPLICATES, &mut random).expect("values");
            called += u32::from(evidence.p_value(noise.ln_1p()) < 0.05);
        }
        f64::from(called) / f64::from(TRIALS)
    }
}

const P99: Statistic = Statistic::Quantile(0.99);
const STEADY: Shape = Shape { seconds: 12, latencies: 100, latencies_vary: 0.3, seconds_vary: 0.01, runs_vary: 0.0 };

#[test]
fn intervals_of_percentiles_of_merged_seconds_hold_the_truth() {
    const TRIALS: u32 = 300;
    let (mut random, mut scratch, mut covered) = (Random::seed_from_u64(3), Histogram::new(), 0);
    // Of a lognormal distribution.
    let truth = 1e6 * Normal::standard().inverse_cdf(0.99).exp();
    for _ in 0..TRIALS {
        let units = (0..30)
            .map(|_| second((0..100).map(|_| 1e6 * normal(&mut random).exp()).collect::<Vec<_>>(), &mut scratch));
        let observed = Observed::new(&[vec![units.collect()]]);
        let evidence = measured(&observed, P99, REPLICATES, &mut random).expect("values");
        let [low, high] = evidence.interval(0.95).map(f64::exp);
        covered += u32::from((low..high).contains(&truth));
    }
    let share = f64::from(covered) / f64::from(TRIALS);
    assert!(share >= 0.93, "{share}");
}

#[test]
fn what_is_alike_is_seldom_called_different() {
    for statistic in [Statistic::Mean, Statistic::Quantile(0.5), P99] {
        for (noise, most) in [(0.0, 0.06), (0.01, 0.05)] {
            let share = STEADY.called(statistic, [1, 1], Pairing::Independent, 0.0, noise);
            assert!(share <= most, "{statistic:?} with {noise}: {share}");
        }
    }
}

#[test]
fn five_percent_more_are_seen_beyond_the_noise() {
    for (seconds, seconds_vary, statistic) in [
        (5, 0.005, Statistic::Mean),
        (10, 0.01, Statistic::Mean),
        (20, 0.02, Statistic::Mean),
        (20, 0.01, Statistic::Quantile(0.5)),
    ] {
        let shape = Shape { seconds, latencies: 400, latencies_vary: 0.05, seconds_vary, runs_vary: 0.0 };
        let share = shape.called(statistic, [1, 1], Pairing::Independent, 0.05, 0.01);
        assert!(share >= 0.95, "{statistic:?} of {seconds} s that vary by {seconds_vary}: {share}");
    }
}

#[test]
fn repeats_see_what_runs_differ_by() {
    let shape = Shape { seconds: 8, runs_vary: 0.02, ..STEADY };
    let called = |runs, pairing| shape.called(Statistic::Mean, runs, pairing, 0.0, 0.0);
    let single = called([1, 1], Pairing::Independent);
    assert!(single > 0.15, "one run a side cannot know what runs differ by: {single}");
    for (runs, pairing) in [
        ([4, 4], Pairing::Independent),
        ([4, 4], Pairing::Paired),
        ([2, 2], Pairing::Paired),
        ([1, 5], Pairing::Independent),
    ] {
        let share = called(runs, pairing);
        assert!(share <= 0.07, "{runs:?} {pairing:?}: {share}");
    }
    let share = shape.called(Statistic::Mean, [8, 8], Pairing::Paired, 0.08, 0.01);
    assert!(share >= 0.95, "8 % of eight pairs: {share}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn figures_are_those_of_the_merged_histograms(
        seconds in prop::collection::vec(prop::collection::vec(1_u64..100_000_000, 1..30), 1..8),
        share in 0.0..1.0_f64,
        cut in 1_usize..8,
    ) {
        let mut whole = Histogram::new();
        let units: Vec<Unit> = seconds.iter().map(|latencies| {
            let mut histogram = Histogram::new();
            for latency_ns in latencies {
                histogram.record(*latency_ns);
            }
            whole.merge(&histogram);
            let mut unit = Unit::lasting(Duration::from_secs(1));
            unit.add(histogram.count(), 1, &histogram);
            unit
        }).collect();
        let count = units.len() as f64;
        let (before, after) = units.split_at(cut.min(units.len()));
        for runs in [vec![vec![units.clone()]], vec![vec![before.to_vec(), after.to_vec()]], vec![vec![after.to_vec()], vec![before.to_vec()]]] {
            let observed = Observed::new(&runs);
            prop_assert_eq!(observed.value(Statistic::Quantile(share)), Some(whole.quantile(share) as f64));
            let near = |statistic, expect: f64| {
                observed.value(statistic).is_some_and(|found| (found - expect).abs() <= 1e-9 * expect.abs() + 1.0)
            };
            prop_assert!(near(Statistic::Mean, whole.mean()));
            prop_assert!(near(Statistic::Throughput, whole.count() as f64 / count));
            let failed = observed.value(Statistic::FailedShare).expect("some ended");
            prop_assert!((failed - count / (count + whole.count() as f64)).abs() < 1e-12);
        }
    }

    #[test]
    fn what_changed_one_way_changed_back_the_other_way(
        a in prop::collection::vec(1_u64..1_000_000, 4..20), b in prop::collection::vec(1_u64..1_000_000, 4..20), seed: u64,
    ) {
        let observed = |values: &[u64]| {
            let mut scratch = Histogram::new();
            Observed::new(&[vec![values.iter().map(|value| second([*value as f64], &mut scratch)).collect()]])
        };
        let (a, b) = (observed(&a), observed(&b));
        let mut random = Random::seed_from_u64(seed);
        let mut change = |from, to| compared(from, to, Statistic::Mean, Pairing::Independent, 100, &mut random);
        let (there, back) = (change(&a, &b).expect("values"), change(&b, &a).expect("values"));
        prop_assert!((there.estimate() + back.estimate()).abs() < 1e-9);
        let [low, high] = there.interval(0.95);
        prop_assert!(low <= there.estimate() && there.estimate() <= high);
        prop_assert!((0.0..=1.0).contains(&there.p_value(0.01)));
    }
}
