//! Intended start times of an open phase.
//!
//! Arrivals live on a unit scale: arrival `k` of a constant schedule is at `u = k`, those of a Poisson schedule at sums of
//! exponential gaps of mean 1. The rate's integral Λ(t) stretches that scale to time: `t = Λ⁻¹(u)` (the time-change
//! theorem for non-homogeneous Poisson processes; Çinlar 1975). So constant, Poisson, steps and ramps are one formula.
//!
//! Sessions share a schedule: a constant one is dealt to them in turn; a Poisson one is thinned into independent streams
//! whose sum is again Poisson of the full rate. A worker draws the arrivals of its sessions only.

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::clock::{Nanoseconds, nanoseconds};
use crate::load::{Arrivals, Limit, Mode, Phase};

/// The arrivals of some of a phase's sessions, in order: nanoseconds since the phase's start.
#[derive(Debug, Clone)]
pub struct Schedule {
    integral: RateIntegral,
    spacing: Spacing,
    /// Arrivals past this unit are not part of the phase.
    unit_end: f64,
    next: Option<Nanoseconds>,
    following: Option<Nanoseconds>,
}

#[derive(Debug, Clone)]
enum Spacing {
    Constant {
        /// Sessions in all, and the first and number of ours: we take arrivals whose number modulo all is ours.
        all: u64,
        ours: u64,
        /// Number of the first arrival of this round, and our place within it.
        round: u64,
        place: u64,
    },
    Poisson {
        unit: f64,
        /// All sessions over ours: the mean gap of our thinned stream, in units.
        gap: f64,
        /// Arrivals still to come, where the phase is limited by count.
        remaining: Option<u64>,
        random: Box<Xoshiro256PlusPlus>,
    },
}

impl Schedule {
    /// The arrivals of sessions `first..first + ours` of `all`, or none for a closed phase.
    pub fn new(phase: &Phase, seed: u64, first: u32, ours: u32, all: u32) -> Option<Self> {
        let Mode::Open { from, to, arrivals } = phase.mode else {
            return None;
        };
        let (all, ours, first) = (u64::from(all), u64::from(ours), u64::from(first));
        let integral = RateIntegral::new(from.get(), to.get(), phase.duration()?.as_secs_f64());
        let spacing = match arrivals {
            Arrivals::Constant => Spacing::Constant { all, ours, round: first, place: 0 },
            Arrivals::Poisson => Spacing::Poisson {
                unit: 0.0,
                gap: all as f64 / ours as f64,
                remaining: match phase.limit {
                    Limit::Count(count) => Some(dealt(count, first, ours, all)),
                    Limit::Duration(_) => None,
                },
                random: Box::new(Xoshiro256PlusPlus::seed_from_u64(seed)),
            },
        };
        let unit_end = match (phase.limit, arrivals) {
            (Limit::Count(count), Arrivals::Constant) => count as f64,
            (Limit::Count(_), Arrivals::Poisson) => f64::INFINITY,
            // A product such as 0.1/s × 30 s may miss its whole number by rounding.
            (Limit::Duration(_), Arrivals::Constant) => (integral.total() + 1e-6).floor(),
            (Limit::Duration(_), Arrivals::Poisson) => integral.total(),
        };
        let mut schedule = Self { integral, spacing, unit_end, next: None, following: None };
        schedule.advance();
        schedule.advance();
        Some(schedule)
    }

    /// The next arrival, without taking it.
    #[inline]
    pub fn peek(&self) -> Option<Nanoseconds> {
        self.next
    }

    /// The arrival after the next one.
    #[inline]
    pub fn peek_following(&self) -> Option<Nanoseconds> {
        self.following
    }

    fn advance(&mut self) {
        self.next = self.following;
        let unit = match &mut self.spacing {
            Spacing::Constant { all, ours, round, place } => {
                let number = *round + *place;
                *place += 1;
                if *place == *ours {
                    *place = 0;
                    *round += *all;
                }
                number as f64
            }
            Spacing::Poisson { unit, gap, remaining, random } => {
                match remaining {
                    Some(0) => {
                        self.following = None;
                        return;
                    }
                    Some(count) => *count -= 1,
                    None => {}
                }
                // 1 - u is in (0, 1], so that the logarithm is finite.
                *unit -= (1.0 - random.random::<f64>()).ln() * *gap;
                *unit
            }
        };
        self.following = (unit < self.unit_end).then(|| self.integral.time_ns(unit));
    }
}

impl Iterator for Schedule {
    type Item = Nanoseconds;

    fn next(&mut self) -> Option<Nanoseconds> {
        let next = self.next?;
        self.advance();
        Some(next)
    }
}

/// How many of `count` things dealt in turn to `all` hands come to the hands `first..first + ours`.
pub(crate) fn dealt(count: u64, first: u64, ours: u64, all: u64) -> u64 {
    (count / all) * ours + (count % all).saturating_sub(first).min(ours)
}

/// Λ(t) of a rate that changes linearly.
#[derive(Debug, Clone, Copy)]
struct RateIntegral {
    from: f64,
    to: f64,
    seconds: f64,
}

impl RateIntegral {
    fn new(from: f64, to: f64, seconds: f64) -> Self {
        Self { from, to, seconds }
    }

    /// Λ at the end: the expected number of arrivals.
    fn total(&self) -> f64 {
        f64::midpoint(self.from, self.to) * self.seconds
    }

    /// Λ⁻¹: when the expected number of arrivals reaches `unit`.
    fn time_ns(&self, unit: f64) -> Nanoseconds {
        let slope = (self.to - self.from) / self.seconds;
        // The root of slope/2·t² + from·t = unit, in the form that does not cancel and holds for slope 0.
        let discriminant = (self.from * self.from + 2.0 * slope * unit).max(0.0);
        let seconds = 2.0 * unit / (self.from + discriminant.sqrt());
        (seconds * 1e9).round() as Nanoseconds
    }
}

/// When a phase that starts at `start` ends, where that is known beforehand.
pub(crate) fn phase_end(phase: &Phase, start: Nanoseconds) -> Option<Nanoseconds> {
    phase.duration().map(|duration| start.saturating_add(nanoseconds(duration)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::load::Rate;

    fn open(from: f64, to: f64, arrivals: Arrivals, limit: Limit) -> Phase {
        let rate = |value| Rate::per_second(value).expect("positive");
        Phase {
            name: "p".to_owned(),
            recorded: true,
            mode: Mode::Open { from: rate(from), to: rate(to), arrivals },
            limit,
            operation: None,
        }
    }

    fn seconds(value: u64) -> Limit {
        Limit::Duration(Duration::from_secs(value))
    }

    fn all_arrivals(phase: &Phase, seed: u64) -> Vec<u64> {
        Schedule::new(phase, seed, 0, 1, 1).expect("open").collect()
    }

    #[test]
    fn a_constant_rate_offers_the_exact_count() {
        for (rate, time, count) in [(1000.0, 20, 20_000), (0.1, 30, 3), (3.0, 7, 21), (99_999.0, 3, 299_997)] {
            let arrivals = all_arrivals(&open(rate, rate, Arrivals::Constant, seconds(time)), 0);
            assert_eq!(arrivals.len(), count, "{rate}/s for {time} s");
            assert!(arrivals.last().expect("some") < &(time * 1_000_000_000));
        }
        let counted = all_arrivals(&open(500.0, 500.0, Arrivals::Constant, Limit::Count(1234)), 0);
        assert_eq!(counted.len(), 1234);
        assert_eq!(counted[1], 2_000_000);
    }

    #[test]
    fn a_ramp_offers_the_area_under_it() {
        let arrivals = all_arrivals(&open(100.0, 300.0, Arrivals::Constant, seconds(10)), 0);
        assert_eq!(arrivals.len(), 2000);
        let first_half = arrivals.iter().filter(|time| **time < 5_000_000_000).count();
        assert_eq!(first_half, 750);
        let falling = all_arrivals(&open(300.0, 100.0, Arrivals::Constant, seconds(10)), 0);
        assert_eq!(falling.len(), 2000);
        assert!(falling.windows(2).all(|pair| pair[0] < pair[1]));
    }

    /// Kolmogorov-Smirnov: the greatest distance of the empirical from the exponential distribution of gaps, against the
    /// 1 % critical value 1.628/√n (asymptotic; n is large).
    fn gaps_are_exponential(arrivals: &[u64], rate: f64) -> bool {
        let mut gaps: Vec<f64> = std::iter::once(0)
            .chain(arrivals.iter().copied())
            .zip(arrivals)
            .map(|(before, after)| (after - before) as f64 / 1e9)
            .collect();
        gaps.sort_by(f64::total_cmp);
        let n = gaps.len() as f64;
        let distance = gaps.iter().enumerate().fold(0.0_f64, |distance, (rank, gap)| {
            let expected = 1.0 - (-rate * gap).exp();
            distance.max((expected - rank as f64 / n).abs()).max(((rank + 1) as f64 / n - expected).abs())
        });
        distance < 1.628 / n.sqrt()
    }

    #[test]
    fn poisson_gaps_pass_kolmogorov_smirnov_alone_and_when_merged_from_shares() {
        let phase = open(1000.0, 1000.0, Arrivals::Poisson, seconds(50));
        for seed in [1, 2, 3] {
            let alone = all_arrivals(&phase, seed);
            assert!(gaps_are_exponential(&alone, 1000.0), "seed {seed}");
            let mut merged: Vec<u64> = (0..3)
                .flat_map(|share| Schedule::new(&phase, seed * 100 + share, share as u32 * 2, 2, 6).expect("open"))
                .collect();
            merged.sort_unstable();
            assert!(gaps_are_exponential(&merged, 1000.0), "merged, seed {seed}");
            // 50,000 expected; five standard deviations are 1,118.
            assert!(merged.len().abs_diff(50_000) < 1_118);
        }
        assert!(!gaps_are_exponential(
            &all_arrivals(&open(1000.0, 1000.0, Arrivals::Constant, seconds(50)), 0),
            1000.0
        ));
    }

    #[test]
    fn a_poisson_phase_limited_by_count_has_that_count() {
        let phase = open(1000.0, 1000.0, Arrivals::Poisson, Limit::Count(1001));
        let shares: usize = [(0, 2), (2, 3)]
            .map(|(first, ours)| Schedule::new(&phase, 1, first, ours, 5).expect("open").count())
            .iter()
            .sum();
        assert_eq!(shares, 1001);
    }

    proptest! {
        #[test]
        fn shares_of_a_constant_schedule_make_the_whole(
            rate in 1.0_f64..5000.0, count in 1_u64..2000, sizes in prop::collection::vec(1_u32..5, 1..6)
        ) {
            let phase = open(rate, rate, Arrivals::Constant, Limit::Count(count));
            let all: u32 = sizes.iter().sum();
            let mut first = 0;
            let mut merged = Vec::new();
            for ours in sizes {
                let share: Vec<_> = Schedule::new(&phase, 0, first, ours, all).expect("open").collect();
                prop_assert_eq!(share.len() as u64, dealt(count, first.into(), ours.into(), all.into()));
                merged.extend(share);
                first += ours;
            }
            merged.sort_unstable();
            prop_assert_eq!(merged, all_arrivals(&phase, 0));
        }
    }
}
