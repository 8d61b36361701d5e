//! Tries loads on a store until the search is over.
//!
//! Every try is a run of its own, with connections of its own, so that nothing that waited in an overloaded one is left for
//! the next. What it had scheduled may end within a short drain, and before the next one the store must answer a single
//! session as quickly again as it did at its least load. A workload that adds or removes rows gets its data anew each time.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use runner::{Limit, Load, Outcome, Stop};
use stats::Scalability;
use store::{Capability, ErrorKind, Result};
use tokio::runtime::LocalRuntime;
use workload::Instance;

use super::plan::Find;
use super::record::{Dimension, ScalabilityRecord, SearchPoint, SearchRecord};
use super::state::{Answer, Search, Try, shown};
use crate::beside::Beside;
use crate::figures::{fill_figures, generator, histograms, sample_record};
use crate::plan::{Collect, LoadPlan};
use crate::record::{GeneratorRecord, Record, ThresholdRecord};
use crate::run::{Connected, Event};
use crate::threshold::{Condition, Evidence, Names, Seconds, Threshold};
use crate::units::Span;
use crate::verdict::{CPU_PERCENT_MAX, LATENESS_US_MAX, STOPPED_PERCENT_MAX};

/// What is not recorded at the start of a try, as a share of it: connections warm up and queues fill.
const WARM_UP_SHARE: f64 = 0.2;
const WARM_UP_MAX: Duration = Duration::from_secs(1);
/// How long after a try operations may still end: enough for what is kept, too short for the backlog of an overload, whose
/// operations count as lost.
const DRAIN: Duration = Duration::from_secs(2);
/// How long a store may take to come to rest after an overload.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// Between two looks whether it has.
const SETTLE_POLL: Duration = Duration::from_millis(50);
/// Operations of a single session that show whether it has.
const SETTLE_OPERATIONS: u64 = 16;
/// It has when their median is at most so many times that of the least load.
const SETTLE_FACTOR: f64 = 2.0;
/// Where the condition fails and sends were late by this share of the latency, p99 each, it is the generator that failed it.
const LATENESS_SHARE_MAX: f64 = 0.5;

/// What is searched for, all names resolved.
#[derive(Debug, Clone)]
pub(crate) struct Sought {
    pub(crate) find: Find,
    pub(crate) condition: Condition,
}

impl Sought {
    /// Resolves the condition.
    ///
    /// # Errors
    /// `Config`, naming what the condition is about and is not there.
    pub(crate) fn new(find: Find, names: &Names<'_>) -> Result<Self> {
        let condition = Threshold::parse(&find.under)?.resolve(names)?;
        Ok(Self { find, condition })
    }

    /// Searches for the greatest load that keeps the condition, writes what it finds into the record after every try, and
    /// returns the load at which the run is to be made; none where no load keeps the condition, or the search was stopped.
    ///
    /// # Errors
    /// What keeps a try from being carried out at all.
    pub(crate) fn search(
        &self,
        runtime: &LocalRuntime,
        connected: &Connected,
        record: &mut Record,
        stop: &Stop,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<f64>> {
        let mut search = Search::new(self.find.bounds);
        let mut prober = Prober {
            sought: self,
            runtime,
            connected,
            stop,
            template: record.clone(),
            tries: 0,
            median_us_least: f64::INFINITY,
            was_overloaded: false,
            remarks: Vec::new(),
        };
        record.search = Some(self.record(&search, &prober, Vec::new()));
        while let Some(tried) = search.next() {
            let Some((point, answer)) = prober.try_load(tried)? else { break };
            search.answer(tried, answer);
            tell(Event::Searched(&point, self.find.dimension));
            let mut points = record.search.take().map(|kept| kept.points).unwrap_or_default();
            points.push(point);
            record.search = Some(self.record(&search, &prober, points));
        }
        if prober.was_overloaded {
            prober.settle()?;
        }
        if stop.is_requested() {
            return Ok(None);
        }
        let at = search.knee().found.map(|found| found * self.find.share.unwrap_or(1.0));
        Ok(at.map(|load| if self.find.bounds.whole { load.round().max(1.0) } else { load }))
    }

    fn record(&self, search: &Search, prober: &Prober<'_>, points: Vec<SearchPoint>) -> SearchRecord {
        let knee = search.knee();
        let mut notes = prober.remarks.clone();
        if search.next().is_none() {
            notes.extend(search.notes(self.find.unit()));
        }
        SearchRecord {
            dimension: self.find.dimension,
            condition: self.find.under.clone(),
            found: knee.found,
            knee: knee.at,
            interval: knee.interval,
            confirmed: knee.confirmed,
            share: self.find.share,
            notes,
            scalability: scalability(self.find.dimension, &points),
            points,
        }
    }
}

/// How throughput grows with sessions, of all points that the generator did not limit.
fn scalability(dimension: Dimension, points: &[SearchPoint]) -> Option<ScalabilityRecord> {
    if dimension == Dimension::Rate {
        return None;
    }
    let valid = points.iter().filter(|point| point.valid);
    let law = Scalability::fit(&valid.map(|point| (point.load, point.throughput_per_second)).collect::<Vec<_>>())?;
    Some(ScalabilityRecord {
        lambda: law.lambda,
        sigma: law.sigma,
        kappa: law.kappa,
        peak_sessions: law.peak(),
        r_squared: law.r_squared,
    })
}

struct Prober<'a> {
    sought: &'a Sought,
    runtime: &'a LocalRuntime,
    connected: &'a Connected,
    stop: &'a Stop,
    /// The run's record, for the parts of it that a condition is evaluated on.
    template: Record,
    tries: u64,
    /// Of all tries, the least median latency.
    median_us_least: f64,
    was_overloaded: bool,
    remarks: Vec<String>,
}

impl Prober<'_> {
    /// One try; none where it was stopped.
    fn try_load(&mut self, tried: Try) -> Result<Option<(SearchPoint, Answer)>> {
        let spec = &self.connected.spec;
        if self.was_overloaded {
            self.settle()?;
        }
        // The data of the first try are as they were loaded.
        let fresh = match self.tries {
            0 => Ok(Arc::clone(&spec.instance)),
            _ => self.connected.fresh(self.runtime, self.stop),
        };
        if self.stop.is_requested() {
            return Ok(None);
        }
        let instance = fresh?;
        let load = self.load(tried, &*instance)?;
        self.tries += 1;
        let names = instance.operations();
        let mut beside = Beside::new(self.connected.server_process(), spec.collect.contains(&Collect::Host));
        // Its phases are other ones than the run's.
        let condition = self.sought.condition.threshold().resolve(&Names { phases: &load.phases, ..spec.names() })?;
        let mut seconds = Seconds::of([&condition]);
        // Each try has arrivals and operations of its own, all from the run's seed.
        let seed = spec.seed.wrapping_add(self.tries);
        let run_spec = self.connected.run_spec(load, Arc::clone(&instance), seed, self.stop);
        beside.start();
        let outcome = runner::run(&run_spec, &mut |sample| seconds.add(&sample_record(sample, names, &mut beside)));
        beside.stop();
        let outcome = match outcome {
            Ok(outcome) if outcome.interrupted => return Ok(None),
            Ok(outcome) => outcome,
            Err(error) if self.is_refusal(error.kind()) => {
                let remark = format!("{} could not be had: {error}", shown(tried.load) + self.sought.find.unit());
                self.remarks.push(remark);
                self.was_overloaded = true;
                let answer = Answer { kept: false, valid: true, excess: None };
                return Ok(Some((SearchPoint::unanswered(tried.stage, tried.load), answer)));
            }
            Err(error) => return Err(error),
        };
        let load = &run_spec.load;
        let mut record = self.template.clone();
        fill_figures(&mut record, load, &outcome, names);
        record.generator = generator(&outcome, &beside, self.template.generator.harness_floor_us);
        let histograms = histograms(&outcome, names);
        let judged = condition.evaluate(&Evidence::of(&record, &histograms, &seconds));
        let stopped = beside.conditions().stops.map_or(0.0, |stops| stops.share());
        Ok(Some(self.judge(tried, &record, &judged, stopped, &outcome)))
    }

    fn judge(
        &mut self,
        tried: Try,
        record: &Record,
        judged: &ThresholdRecord,
        stopped: f64,
        outcome: &Outcome,
    ) -> (SearchPoint, Answer) {
        let accounting = record.accounting;
        let lost = accounting.failed + accounting.shed + accounting.unfinished;
        // What never ended well is beyond any limit on latency, so no more of it than the percentile leaves out.
        let is_whole = lost as f64 <= accounting.scheduled as f64 * (1.0 - self.sought.find.quantile);
        let kept = judged.passed && is_whole;
        let latency = record.total.latency_us;
        let embedded = self.connected.spec.driver.capabilities().has(Capability::Embedded);
        let doubt = doubt(&record.generator, stopped, latency.p99, kept, embedded);
        if let Some(doubt) = &doubt {
            self.remarks.push(format!("at {}: {doubt}", shown(tried.load) + self.sought.find.unit()));
        }
        if latency.p50 > 0.0 {
            self.median_us_least = self.median_us_least.min(latency.p50);
        }
        self.was_overloaded = !kept || outcome.phases.iter().any(|phase| phase.accounting.unfinished > 0);
        let point = SearchPoint {
            stage: tried.stage,
            load: tried.load,
            seconds: record.duration_seconds,
            throughput_per_second: record.throughput_per_second,
            value: judged.value,
            latency_us_p50: latency.p50,
            latency_us_p99: latency.p99,
            kept,
            valid: doubt.is_none(),
        };
        let excess = if is_whole { excess(judged) } else { None };
        (point, Answer { kept, valid: doubt.is_none(), excess })
    }

    /// The load of a try.
    fn load(&self, tried: Try, instance: &dyn Instance) -> Result<Load> {
        let duration = Duration::from_secs_f64(tried.seconds);
        let plan = self.sought.find.plan_at(&self.connected.spec.load_plan, tried.load)?;
        let plan = LoadPlan {
            duration: Some(Span(duration)),
            warm_up: Some(Span(duration.mul_f64(WARM_UP_SHARE).min(WARM_UP_MAX))),
            warm_up_operations: None,
            drain: Some(Span(plan.drain.map_or(DRAIN, |drain| drain.0.min(DRAIN)))),
            ..plan
        };
        crate::spec::load_for(&plan, instance)
    }

    /// Waits until a single session is answered as quickly as at the least load, within a bound. What it asks for may add
    /// rows; where that matters the next try has its data anew.
    fn settle(&self) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < SETTLE_MAX && !self.stop.is_requested() {
            thread::sleep(SETTLE_POLL);
            let spec = &self.connected.spec;
            let mut load = Load::closed(NonZeroU32::MIN, Limit::Count(SETTLE_OPERATIONS));
            load.timeout = load.timeout.min(SETTLE_MAX);
            load.phases[0].operation = spec.load.phases[0].operation;
            let run = self.connected.run_spec(load, Arc::clone(&spec.instance), spec.seed, self.stop);
            match runner::run(&run, &mut |_| {}) {
                Ok(outcome) => {
                    let median_us = outcome.phases[0].cells.total().latency.quantile(0.5) as f64 / 1e3;
                    if median_us > 0.0 && median_us <= SETTLE_FACTOR * self.median_us_least {
                        return Ok(());
                    }
                }
                // An overload may have left the store without connections to give.
                Err(error) if error.kind() != ErrorKind::Bug => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the store gave as many sessions before, and refuses more now: that is its limit, not the run's failure.
    fn is_refusal(&self, kind: ErrorKind) -> bool {
        let refuses = matches!(kind, ErrorKind::Rejected | ErrorKind::Unreachable | ErrorKind::Timeout);
        self.sought.find.dimension == Dimension::Sessions && self.median_us_least.is_finite() && refuses
    }
}

/// The figure over its limit, so that more than 1 fails, whichever side of the limit is the right one.
fn excess(judged: &ThresholdRecord) -> Option<f64> {
    let ratio = judged.value? / judged.limit?;
    let usable = ratio.is_finite() && ratio > 0.0;
    usable.then(|| if (ratio > 1.0) == judged.passed { ratio.recip() } else { ratio })
}

/// Why a try says nothing about the store; `stopped` is the share of its time that the generator stood still.
fn doubt(generator: &GeneratorRecord, stopped: f64, latency_us_p99: f64, kept: bool, embedded: bool) -> Option<String> {
    let late_us = generator.lateness_us.p99;
    // What an embedded store works is the generator's work.
    if !embedded && generator.cpu_share * 100.0 > CPU_PERCENT_MAX {
        return Some(format!("the generator used {:.0} % of its processors", generator.cpu_share * 100.0));
    }
    // What kept its condition did so in spite of that.
    if !kept && stopped * 100.0 > STOPPED_PERCENT_MAX {
        return Some(format!("the generator stood still for {:.1} % of the time", stopped * 100.0));
    }
    let failed_it = !kept && !embedded && late_us > LATENESS_SHARE_MAX * latency_us_p99;
    (late_us > LATENESS_US_MAX || failed_it).then(|| format!("sends were late by {:.1} ms at p99", late_us / 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Lateness;

    #[test]
    fn a_figure_beyond_its_limit_is_above_one_on_either_side() {
        let judged = |value, limit, passed| ThresholdRecord {
            value: Some(value),
            limit: Some(limit),
            passed,
            ..ThresholdRecord::default()
        };
        for (value, limit, passed, expect) in [
            (5.0, 10.0, true, Some(0.5)),
            (20.0, 10.0, false, Some(2.0)),
            (20.0, 10.0, true, Some(0.5)),
            (5.0, 10.0, false, Some(2.0)),
            (0.0, 10.0, true, None),
            (3.0, 0.0, false, None),
        ] {
            assert_eq!(excess(&judged(value, limit, passed)), expect, "{value} against {limit}");
        }
        assert_eq!(excess(&ThresholdRecord { value: None, ..judged(1.0, 1.0, true) }), None);
    }

    #[test]
    fn what_the_generator_failed_is_doubted() {
        let check_stopped = |stopped, cpu_share, p99, kept, embedded| {
            let lateness_us = Lateness { p50: 0.0, p99, max: p99 };
            let generator = GeneratorRecord { cpu_share, lateness_us, ..GeneratorRecord::default() };
            doubt(&generator, stopped, 4_000.0, kept, embedded).is_some()
        };
        let check = |cpu_share, p99, kept, embedded| check_stopped(0.0, cpu_share, p99, kept, embedded);
        assert!(!check(0.5, 100.0, false, false));
        assert!(check(0.99, 100.0, true, false) && !check(0.99, 100.0, true, true), "the store's work is its own");
        assert!(check(0.5, 20_000.0, true, true), "not the planned load");
        assert!(check(0.5, 3_000.0, false, false) && !check(0.5, 3_000.0, true, false), "it failed the condition");
        assert!(check_stopped(0.02, 0.5, 100.0, false, true) && !check_stopped(0.005, 0.5, 100.0, false, true));
        assert!(!check_stopped(0.02, 0.5, 100.0, true, false), "it was kept all the same");
    }
}
