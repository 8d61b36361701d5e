//! Is it faster, slower, or is there no significant change?
//!
//! A change is called only where the interval of its true size lies beyond the noise whole, after allowing for how many
//! metrics are looked at: an effect that is smaller than what identical runs differ by is none.

use std::collections::BTreeSet;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;
use runner::Mode;
use stats::{Observed, Pairing, Statistic, cliffs_delta, compared, holm};
use store::{Error, Result};

use super::noise::ERRORS;
use super::sameness::{conflicts, differences};
use super::side::TOTAL;
use super::{COMPARISON_SCHEMA, Change, ComparedMetric, Comparison, Noise, Side, SideData};

/// How sure an interval is.
const CONFIDENCE: f64 = 0.95;

/// Resamples: with so many, a bound of the interval is off by a thirtieth of its width.
const REPLICATES: usize = 4_000;

/// The same comparison has the same answer.
const SEED: u64 = 42;

/// Operations beyond a percentile from which on it is known at all.
const TAIL_MIN: f64 = 10.0;

/// Sides that are compared at once: more make a table that nobody reads.
const SIDES_MAX: usize = 10;

/// The share of what was scheduled below which an open load was not delivered, so that its throughput says something.
const DELIVERED_MIN: f64 = 0.99;

/// Metrics of each operation: name, unit, whether more is better, and whether it is a headline of the total.
const METRICS: [Metric; 8] = [
    Metric { name: "throughput", unit: "/s", statistic: Statistic::Throughput, is_headline: true },
    Metric { name: "mean", unit: "us", statistic: Statistic::Mean, is_headline: true },
    Metric { name: "p50", unit: "us", statistic: Statistic::Quantile(0.5), is_headline: true },
    Metric { name: "p90", unit: "us", statistic: Statistic::Quantile(0.9), is_headline: false },
    Metric { name: "p95", unit: "us", statistic: Statistic::Quantile(0.95), is_headline: false },
    Metric { name: "p99", unit: "us", statistic: Statistic::Quantile(0.99), is_headline: true },
    Metric { name: "p99.9", unit: "us", statistic: Statistic::Quantile(0.999), is_headline: false },
    Metric { name: ERRORS, unit: "%", statistic: Statistic::FailedShare, is_headline: true },
];

struct Metric {
    name: &'static str,
    unit: &'static str,
    statistic: Statistic,
    is_headline: bool,
}

/// How to compare.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CompareOptions {
    /// Whether runs that did not do the same are compared all the same.
    pub force: bool,
    /// What identical runs differ by.
    pub noise: Noise,
}

/// Compares sides with the first of them.
///
/// # Errors
/// `Config` for fewer than two sides, for runs that have not ended or are too short, and, unless forced, for runs of
/// different workload, load or size of data, each difference with its values.
pub fn compare(sides: &[SideData], options: &CompareOptions) -> Result<Comparison> {
    if sides.len() < 2 || sides.len() > SIDES_MAX || sides.iter().any(|side| side.runs.is_empty()) {
        return Err(Error::config(format!("{} sides cannot be compared", sides.len()))
            .with_hint(format!("give a baseline and 1 to {} runs beside it", SIDES_MAX - 1)));
    }
    let overruled = conflicts(sides)?;
    if !overruled.is_empty() && !options.force {
        return Err(Error::config(format!("these runs did not do the same: {}", overruled.join("; ")))
            .with_hint("compare runs of the same plan, or use --force to compare them all the same"));
    }
    refuse_twice(sides)?;
    let mut metrics = Vec::new();
    let names: BTreeSet<&str> = sides.iter().flat_map(SideData::operations).collect();
    for operation in std::iter::once(TOTAL).chain(names) {
        let observed: Vec<Option<Observed>> = sides.iter().map(|side| side.observed(operation)).collect();
        if operation == TOTAL {
            refuse_short(sides, &observed)?;
        }
        let Some(baseline) = &observed[0] else { continue };
        for (side, observed) in observed.iter().enumerate().skip(1) {
            let Some(observed) = observed else { continue };
            let pair = Pair { operation, side, sides: [&sides[0], &sides[side]], observed: [baseline, observed] };
            metrics.extend(METRICS.iter().filter_map(|metric| pair.metric(metric, &options.noise)));
        }
    }
    adjust(&mut metrics);
    Ok(Comparison {
        schema: COMPARISON_SCHEMA.to_owned(),
        sides: sides.iter().map(described).collect(),
        method: method(sides, &metrics, &options.noise),
        metrics,
        confidence: CONFIDENCE,
        differences: differences(sides),
        overruled,
    })
}

/// A run beside itself is no evidence of anything.
fn refuse_twice(sides: &[SideData]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for run in sides.iter().flat_map(|side| &side.runs) {
        if !seen.insert(run.record().id) {
            return Err(Error::config(format!("the run {} ({}) is named twice", run.record().name, run.record().id))
                .with_hint("name each run once"));
        }
    }
    Ok(())
}

fn refuse_short(sides: &[SideData], observed: &[Option<Observed>]) -> Result<()> {
    let Some(short) = sides.iter().zip(observed).find(|(_, observed)| observed.is_none()) else { return Ok(()) };
    let (side, _) = short;
    let seconds = side.runs.iter().map(|run| run.record().duration_seconds).fold(f64::INFINITY, f64::min);
    Err(Error::config(format!(
        "{} has {seconds:.1} s that count, too few to know how sure its figures are",
        side.label
    ))
    .with_hint("let each run go on for 4 s at the least, better 30 s"))
}

/// An operation on two sides.
struct Pair<'a> {
    operation: &'a str,
    side: usize,
    sides: [&'a SideData; 2],
    observed: [&'a Observed; 2],
}

impl Pair<'_> {
    /// What became of a metric; none where one of the sides does not have it, or hardly.
    fn metric(&self, metric: &Metric, noise: &Noise) -> Option<ComparedMetric> {
        let [baseline, observed] = self.observed;
        if let Statistic::Quantile(share) = metric.statistic
            && self.observed.iter().any(|observed| observed.succeeded() * (1.0 - share) < TAIL_MIN)
        {
            return None;
        }
        let pairing = if self.sides[0].alternates_with(self.sides[1]) { Pairing::Paired } else { Pairing::Independent };
        let mut random = Xoshiro256PlusPlus::seed_from_u64(SEED);
        let evidence = compared(baseline, observed, metric.statistic, pairing, REPLICATES, &mut random)?;
        let is_share = metric.statistic == Statistic::FailedShare;
        let change = |scaled: f64| if is_share { scaled } else { scaled.exp_m1() };
        let noise = noise.of(metric.name);
        let limit = if is_share { noise } else { noise.ln_1p() };
        let shown = match metric.unit {
            "us" => 1e-3,
            "%" => 100.0,
            _ => 1.0,
        };
        Some(ComparedMetric {
            side: self.side,
            operation: self.operation.to_owned(),
            metric: metric.name.to_owned(),
            unit: metric.unit.to_owned(),
            is_headline: self.operation == TOTAL && metric.is_headline && self.has_say(metric),
            more_is_better: metric.statistic == Statistic::Throughput,
            baseline: baseline.value(metric.statistic)? * shown,
            value: observed.value(metric.statistic)? * shown,
            change: change(evidence.estimate()),
            interval: evidence.interval(CONFIDENCE).map(change),
            p_value: evidence.p_value(limit),
            effect_size: self.effect_size(metric.statistic),
            noise,
            change_word: Change::NoSignificantChange,
        })
    }

    /// In an open load throughput is what was offered, and says nothing of the store as long as it is delivered.
    fn has_say(&self, metric: &Metric) -> bool {
        if metric.statistic != Statistic::Throughput {
            return true;
        }
        self.sides.iter().flat_map(|side| &side.runs).any(|run| {
            let record = run.record();
            let ended = (record.accounting.succeeded + record.accounting.failed) as f64;
            // What the plan's phases are follows without the operations that a workload runs one after another.
            let is_closed = record
                .load
                .to_load(&[], 0)
                .is_ok_and(|load| load.phases.iter().any(|phase| phase.recorded && phase.mode == Mode::Closed));
            is_closed || ended < DELIVERED_MIN * record.accounting.scheduled as f64
        })
    }

    /// Of the repeats where both sides have some, else of the seconds.
    fn effect_size(&self, statistic: Statistic) -> f64 {
        let has_repeats = self.sides.iter().all(|side| side.runs.len() > 1);
        let [baseline, side] = self
            .observed
            .map(|observed| if has_repeats { observed.run_values(statistic) } else { observed.unit_values(statistic) });
        cliffs_delta(&baseline, &side)
    }
}

/// Allows for the number of metrics: the headlines among themselves, all others among themselves. Then finds the words.
fn adjust(metrics: &mut [ComparedMetric]) {
    for is_headline in [true, false] {
        let mut family: Vec<&mut ComparedMetric> =
            metrics.iter_mut().filter(|metric| metric.is_headline == is_headline).collect();
        let p_values: Vec<f64> = family.iter().map(|metric| metric.p_value).collect();
        for (metric, p_value) in family.iter_mut().zip(holm(&p_values)) {
            metric.p_value = p_value;
            metric.change_word = match p_value < 1.0 - CONFIDENCE {
                false => Change::NoSignificantChange,
                true if (metric.change > 0.0) == metric.more_is_better => Change::Faster,
                true => Change::Slower,
            };
        }
    }
}

fn described(side: &SideData) -> Side {
    Side {
        label: side.label.clone(),
        runs: side.runs.iter().map(|run| (run.record().id, run.record().name.clone())).collect(),
        valid: side.runs.iter().all(|run| run.record().verdict.valid),
    }
}

fn method(sides: &[SideData], metrics: &[ComparedMetric], noise: &Noise) -> String {
    let percent = CONFIDENCE * 100.0;
    let counted = |is_headline| metrics.iter().filter(|metric| metric.is_headline == is_headline).count();
    let seconds: Vec<String> = sides
        .iter()
        .map(|side| format!("{:.0}", side.runs.iter().map(|run| run.record().duration_seconds).sum::<f64>()))
        .collect();
    let text = format!(
        "{percent:.0} % intervals by block bootstrap of {} seconds ({REPLICATES} resamples). A change is called where its \
         interval lies beyond the noise whole, by Holm's method over {} headline metrics and over the {} others. Noise: {}.",
        seconds.join(" and "),
        counted(true),
        counted(false),
        noise.source(),
    );
    let most = sides.iter().map(|side| side.runs.len()).max().unwrap_or(1);
    if most == 1 {
        return text
            + " With one run a side, what identical runs differ by is in the noise only, not in the intervals: \
               `run --baseline PLAN --repeat 4` measures it.";
    }
    let runs: Vec<String> = sides.iter().map(|side| side.runs.len().to_string()).collect();
    let are_pairs = sides[1..].iter().all(|side| sides[0].alternates_with(side));
    let how = if are_pairs { ", in pairs, since they alternated" } else { "" };
    format!("{text} Intervals hold what runs differ by, from {} runs a side{how}.", runs.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::RunData;
    use crate::comparison::fixture::{Seconds, changed, run_of};

    fn side(label: &str, runs: impl IntoIterator<Item = Seconds>) -> SideData {
        SideData::new(label, runs.into_iter().map(|shape| run_of(&shape)).collect())
    }

    fn of(seed: u64, slower: f64) -> Seconds {
        Seconds { seed, slower, ..Seconds::default() }
    }

    fn words(comparison: &Comparison, is_headline: bool) -> Vec<(&str, Change)> {
        let metrics = comparison.metrics.iter().filter(|metric| metric.is_headline == is_headline);
        metrics.map(|metric| (metric.metric.as_str(), metric.change_word)).collect()
    }

    #[test]
    fn five_percent_slower_is_slower_and_the_other_way_round_faster() {
        for (slower, word) in [(0.05, Change::Slower), (-0.05, Change::Faster), (0.0, Change::NoSignificantChange)] {
            let comparison =
                compare(&[side("a", [of(1, 0.0)]), side("b", [of(2, slower)])], &CompareOptions::default())
                    .expect("they did the same");
            let found = words(&comparison, true);
            for name in ["throughput", "mean", "p50"] {
                assert!(found.contains(&(name, word)), "{slower}: {found:?}");
            }
            assert!(found.contains(&(ERRORS, Change::NoSignificantChange)), "{found:?}");
            let mean = comparison.metrics.iter().find(|metric| metric.metric == "mean").expect("it is there");
            assert!(
                (mean.change - slower).abs() < 0.02 && mean.interval[0] < slower && slower < mean.interval[1],
                "{mean:?}"
            );
            assert!((mean.baseline - 10_200.0).abs() < 300.0 && mean.unit == "us", "{mean:?}");
            assert_eq!(
                comparison.metrics.iter().map(|metric| metric.operation.as_str()).collect::<BTreeSet<_>>().len(),
                3
            );
        }
    }

    #[test]
    fn identical_pairs_are_seldom_called_different_and_slower_ones_nearly_always() {
        const PAIRS: u64 = 60;
        let (mut called, mut seen) = (0, 0);
        for pair in 0..PAIRS {
            let label = |name: &str, run, slower| side(name, [of(1_000 + 3 * pair + run, slower)]);
            let sides = [label("a", 0, 0.0), label("same", 1, 0.0), label("slower", 2, 0.05)];
            let is = |side: &SideData, word| {
                let comparison =
                    compare(&[sides[0].clone(), side.clone()], &CompareOptions::default()).expect("they did the same");
                words(&comparison, true).iter().any(|(_, found)| *found == word)
            };
            called += u64::from(is(&sides[1], Change::Slower) || is(&sides[1], Change::Faster));
            seen += u64::from(is(&sides[2], Change::Slower));
        }
        assert!(called * 20 <= PAIRS, "{called} of {PAIRS} identical pairs were called different");
        assert!(seen * 20 >= PAIRS * 19, "{seen} of {PAIRS} slower ones were called slower");
    }

    #[test]
    fn errors_are_compared_by_their_difference() {
        let failing = Seconds { fail_every: 50, ..of(2, 0.0) };
        let comparison = compare(&[side("a", [of(1, 0.0)]), side("b", [failing])], &CompareOptions::default())
            .expect("they did the same");
        let errors = comparison.metrics.iter().find(|metric| metric.metric == ERRORS).expect("it is there");
        assert_eq!(errors.change_word, Change::Slower, "{errors:?}");
        assert!(errors.baseline.abs() < 1e-9 && (errors.value - 2.0).abs() < 0.1, "{errors:?}");
        assert!((errors.change - 0.02).abs() < 0.001 && (errors.effect_size - 1.0).abs() < 1e-9, "{errors:?}");
    }

    #[test]
    fn what_is_not_the_same_is_refused_unless_forced() {
        let other = |shape: Seconds| {
            let change = |record: &mut crate::record::Record| record.load.sessions = std::num::NonZeroU32::new(8);
            SideData::new("b", vec![changed(run_of(&shape), change)])
        };
        let sides = [side("a", [of(1, 0.0)]), other(of(2, 0.0))];
        let error = compare(&sides, &CompareOptions::default()).expect_err("refused");
        assert!(error.to_string().contains("sessions: 4 and 8"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("--force")), "{error}");
        let forced = compare(&sides, &CompareOptions { force: true, ..CompareOptions::default() }).expect("forced");
        assert_eq!(forced.overruled, ["sessions: 4 and 8"]);
    }

    #[test]
    fn what_says_nothing_is_refused() {
        let short = || side("short", [Seconds { duration: 2.0, ..of(5, 0.0) }]);
        let another = side("b", [Seconds { duration: 2.0, ..of(6, 0.0) }]);
        for (sides, part) in [
            (vec![short(), another], "2.0 s that count"),
            (vec![side("a", [of(1, 0.0)]), side("b", [of(1, 0.0)])], "named twice"),
            (vec![side("a", [of(1, 0.0)])], "1 sides"),
        ] {
            let error = compare(&sides, &CompareOptions::default()).expect_err(part);
            assert!(error.to_string().contains(part) && error.hint().is_some(), "{error}");
        }
    }

    #[test]
    fn an_open_load_has_no_headline_of_its_throughput_while_it_is_delivered() {
        let open = |seed, shed: u64| {
            let change = |record: &mut crate::record::Record| {
                record.load.rate = Some("400/s".parse().expect("a rate"));
                record.accounting.shed = shed;
                record.accounting.scheduled += shed;
            };
            SideData::new("open", vec![changed(run_of(&of(seed, 0.0)), change)])
        };
        for (shed, expect) in [(0, false), (1_000, true)] {
            let comparison =
                compare(&[open(1, 0), open(2, shed)], &CompareOptions::default()).expect("they did the same");
            assert_eq!(words(&comparison, true).iter().any(|(name, _)| *name == "throughput"), expect);
        }
    }

    #[test]
    fn repeats_see_that_runs_differ_and_are_paired_where_they_alternate() {
        let runs = |slower: [f64; 4], first: i64, step: i64| -> Vec<RunData> {
            let shape = |(place, slower): (i64, f64)| Seconds {
                started_at: first + place * step,
                ..of((100 + first * 50 + place).cast_unsigned(), slower)
            };
            (0..).zip(slower).map(shape).map(|shape| run_of(&shape)).collect()
        };
        // The weather changes by 20 %, for both sides alike.
        let weather = [0.0, 0.2, 0.05, 0.15];
        let worse = weather.map(|slower| slower * 1.05 + 0.05);
        for (step, expect) in [(2, Change::Slower), (1, Change::NoSignificantChange)] {
            // Alternating, or one side after the other.
            let first = if step == 2 { [0, 1] } else { [0, 4] };
            let sides =
                [SideData::new("a", runs(weather, first[0], step)), SideData::new("b", runs(worse, first[1], step))];
            let comparison = compare(&sides, &CompareOptions::default()).expect("they did the same");
            assert_eq!(words(&comparison, true)[1], ("mean", expect), "{:?}", comparison.metrics[1]);
            assert_eq!(comparison.method.contains("in pairs"), step == 2, "{}", comparison.method);
        }
    }
}
