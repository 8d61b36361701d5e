//! What the view shows, as events change it. It knows no terminal and no clock.

use std::collections::{BTreeMap, VecDeque};

use experiment::{Event, Record, SampleRecord};
use runner::{Limit, Load, Mode};
use stats::Histogram;

use crate::knee;
use crate::progress::{loaded, waiting};
use crate::terminal::{plain, thousands};

/// Seconds that charts go back: more columns than that no terminal has.
const HISTORY_SECONDS_MAX: usize = 600;
/// Events that are kept; a tall terminal shows fewer.
const EVENTS_MAX: usize = 100;
/// Where so many operations a second are usual, one without any is no chance: were they independent, it would come once in
/// e^10 = 22,000 seconds.
const USUAL_PER_SECOND_MIN: f64 = 10.0;

/// What is known of a run.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The run's name.
    pub(super) name: String,
    /// What runs on what.
    pub(super) subject: String,
    pub(super) stage: Stage,
    pub(super) phases: Vec<PhaseView>,
    /// The place of the phase that goes on.
    pub(super) phase: usize,
    /// Seconds of the load that have ended.
    pub(super) seconds: u64,
    /// The last second.
    pub(super) now: Figures,
    /// Everything that counts.
    pub(super) so_far: Figures,
    pub(super) operations: Vec<OperationView>,
    /// Successes of each second, the last one last.
    pub(super) throughput: VecDeque<u64>,
    /// 99th percentiles of each second, in microseconds.
    pub(super) latency_us_p99: VecDeque<u64>,
    /// What was measured beside the client in the last second.
    pub(super) gauges: BTreeMap<&'static str, f64>,
    /// The latest send so far, in microseconds.
    pub(super) lateness_us_max: f64,
    /// Failures by kind since the load began.
    pub(super) errors: BTreeMap<&'static str, u64>,
    pub(super) events: VecDeque<Entry>,
    /// Since which second no operation has ended well.
    silent_since: Option<u64>,
    /// Since which second operations have failed in each, and how many.
    failing_since: Option<(u64, u64)>,
}

/// What a run is at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Stage {
    #[default]
    Connecting,
    Starting(String),
    Loading(u64, u64),
    Measuring,
    Verifying,
}

/// A phase of the load.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PhaseView {
    pub(super) name: String,
    pub(super) is_recorded: bool,
    pub(super) mode: Mode,
    pub(super) limit: Limit,
    /// When it is expected to end, in seconds since the load's start.
    end_seconds: Option<f64>,
    /// Operations of it that have ended.
    ended: u64,
}

/// Counts and latencies of a time.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    /// Seconds that they are of.
    pub(super) seconds: u64,
    pub(super) latency: Histogram,
    /// The latencies at [`PERCENTILES`], in microseconds; of the last second that was closed.
    pub(super) latency_us: [f64; PERCENTILES.len()],
}

/// The percentiles that are shown, and the greatest latency: their names, and their quantiles.
pub(super) const PERCENTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

impl Default for Figures {
    fn default() -> Self {
        Self { succeeded: 0, failed: 0, seconds: 0, latency: Histogram::new(), latency_us: [0.0; PERCENTILES.len()] }
    }
}

impl Figures {
    /// Forgets everything, keeping the memory.
    fn clear(&mut self) {
        let mut latency = std::mem::take(&mut self.latency);
        latency.clear();
        *self = Self { latency, ..Self::default() };
    }

    fn add(&mut self, succeeded: u64, failed: u64, latency: &Histogram) {
        self.succeeded += succeeded;
        self.failed += failed;
        self.latency.merge(latency);
    }

    fn close_second(&mut self) {
        self.seconds += 1;
        self.latency_us = percentiles_us(&self.latency);
    }

    /// Successes a second.
    pub(super) fn per_second(&self) -> Option<f64> {
        (self.seconds > 0).then(|| self.succeeded as f64 / self.seconds as f64)
    }
}

/// The latencies at [`PERCENTILES`], in microseconds.
fn percentiles_us(latency: &Histogram) -> [f64; PERCENTILES.len()] {
    PERCENTILES.map(|(_, quantile)| {
        let nanoseconds = if quantile < 1.0 { latency.quantile(quantile) } else { latency.max() };
        nanoseconds as f64 / 1e3
    })
}

/// One operation.
#[derive(Debug, Default)]
pub(super) struct OperationView {
    pub(super) name: String,
    /// Successes of the last second.
    pub(super) now: u64,
    /// Latencies of the last second, in microseconds.
    pub(super) latency_us: [f64; PERCENTILES.len()],
    /// Since the load began, what does not count included.
    pub(super) succeeded: u64,
    pub(super) failed: u64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Seconds of the load; none before it.
    pub(super) at: Option<u64>,
    pub(super) text: String,
    pub(super) is_warning: bool,
}

impl View {
    /// Learns the phases of the load that is coming.
    pub(super) fn expect(&mut self, load: &Load) {
        let phases = load.phases.iter().zip(load.ends_seconds());
        self.phases = phases
            .map(|(phase, end_seconds)| PhaseView {
                name: plain(&phase.name).into_owned(),
                is_recorded: phase.recorded,
                mode: phase.mode,
                limit: phase.limit,
                end_seconds,
                ended: 0,
            })
            .collect();
        self.phase = 0;
    }

    /// Takes in an event.
    pub(super) fn tell(&mut self, event: &Event<'_>) {
        match event {
            Event::Starting(name) => {
                self.log(&format!("starting a throw-away {name}"), false);
                self.stage = Stage::Starting(plain(name).into_owned());
            }
            Event::Connected(url) => {
                self.log(&format!("connected to {url}"), false);
                self.stage = Stage::Connecting;
            }
            Event::Loading(rows, of) => {
                if rows == of && self.stage != Stage::Loading(*rows, *of) {
                    self.log(&format!("loaded {}", loaded(*rows, *of)), false);
                }
                self.stage = Stage::Loading(*rows, *of);
            }
            Event::Reusing => self.log("using the data that are loaded", false),
            Event::Started(record) => self.started(record),
            Event::Searched(point, dimension) => self.log(&knee::tried(point, *dimension), false),
            Event::Found(search, load) => {
                self.expect(load);
                self.log(&format!("knee: {}", knee::line(search)), false);
            }
            Event::Waiting(ready, of) => self.log(&waiting(*ready, *of), false),
            Event::Sampled(sample) => self.sampled(sample),
            Event::Verifying => {
                self.log("the load has ended; verifying the data", false);
                self.stage = Stage::Verifying;
            }
            Event::Warning(text) => self.log(text, true),
        }
    }

    /// The phase that goes on, with its place from 1.
    pub(super) fn current(&self) -> Option<(usize, &PhaseView)> {
        self.phases.get(self.phase).map(|phase| (self.phase + 1, phase))
    }

    /// How much of the load is behind us, from 0 to 1, where that can be told.
    pub(super) fn share_done(&self) -> Option<f64> {
        if let Some(end) = self.end_seconds() {
            return Some((self.seconds as f64 / end).min(1.0));
        }
        match &self.phases[..] {
            [PhaseView { limit: Limit::Count(count), ended, .. }] => Some((*ended as f64 / *count as f64).min(1.0)),
            _ => None,
        }
    }

    /// When the load is expected to end, in seconds since its start.
    pub(super) fn end_seconds(&self) -> Option<f64> {
        self.phases.last().and_then(|phase| phase.end_seconds)
    }

    /// Operations a second that were planned for the last second, where its phase is open.
    pub(super) fn planned_per_second(&self) -> Option<f64> {
        let middle = self.seconds as f64 - 0.5;
        let phase = self.phases.iter().find(|phase| phase.end_seconds.is_none_or(|end| middle < end))?;
        let Mode::Open { from, to, .. } = phase.mode else { return None };
        let (Limit::Duration(duration), Some(end)) = (phase.limit, phase.end_seconds) else { return Some(from.get()) };
        let left = (end - middle) / duration.as_secs_f64();
        Some(to.get() + (from.get() - to.get()) * left.clamp(0.0, 1.0))
    }

    fn started(&mut self, record: &Record) {
        let variant = record.workload.variant.as_deref().map(|variant| format!(":{variant}")).unwrap_or_default();
        let subject = format!(
            "{}{variant} on {} · {} · seed {}",
            record.workload.name, record.target.url, record.target.server, record.seed
        );
        self.begin(&record.name, &subject);
    }

    /// A run begins: what an earlier one left is forgotten, but for its events.
    pub(super) fn begin(&mut self, name: &str, subject: &str) {
        self.name = plain(name).into_owned();
        self.subject = plain(subject).into_owned();
        self.stage = Stage::Measuring;
        self.phase = 0;
        self.phases.iter_mut().for_each(|phase| phase.ended = 0);
        self.seconds = 0;
        self.now.clear();
        self.so_far.clear();
        self.operations.clear();
        self.throughput.clear();
        self.latency_us_p99.clear();
        self.gauges.clear();
        self.errors.clear();
        self.lateness_us_max = 0.0;
        (self.silent_since, self.failing_since) = (None, None);
        self.log_phase();
    }

    fn sampled(&mut self, sample: &SampleRecord) {
        self.seconds = sample.second + 1;
        self.now.clear();
        for operation in &mut self.operations {
            operation.now = 0;
            operation.latency_us = [0.0; PERCENTILES.len()];
        }
        let mut is_counted = false;
        for sampled in &sample.operations {
            let phase = usize::from(sampled.phase);
            self.now.add(sampled.succeeded, sampled.failed, &sampled.latency);
            if let Some(phase) = self.phases.get_mut(phase) {
                phase.ended += sampled.succeeded + sampled.failed;
                if phase.is_recorded {
                    is_counted = true;
                    self.so_far.add(sampled.succeeded, sampled.failed, &sampled.latency);
                }
            }
            let operation = self.operation(&sampled.operation);
            operation.now += sampled.succeeded;
            operation.succeeded += sampled.succeeded;
            operation.failed += sampled.failed;
            operation.latency_us = percentiles_us(&sampled.latency);
        }
        let newest = sample.operations.iter().map(|sampled| usize::from(sampled.phase)).max().unwrap_or(0);
        self.enter_phase(newest);
        is_counted |=
            sample.operations.is_empty() && self.phases.get(self.phase).is_some_and(|phase| phase.is_recorded);
        self.now.close_second();
        if is_counted {
            self.so_far.close_second();
        }
        remember(&mut self.throughput, self.now.succeeded);
        remember(&mut self.latency_us_p99, self.now.latency.quantile(0.99) / 1_000);
        self.gauges.clone_from(&sample.gauges);
        self.lateness_us_max = self.lateness_us_max.max(self.gauge("generator.lateness_us_max").unwrap_or(0.0));
        for (kind, count) in errors_by_kind(&sample.gauges) {
            *self.errors.entry(kind).or_default() += count;
        }
        self.notice_silence();
        self.notice_failures();
    }

    /// A gauge of the last second.
    pub(super) fn gauge(&self, name: &str) -> Option<f64> {
        self.gauges.get(name).copied()
    }

    fn operation(&mut self, name: &str) -> &mut OperationView {
        let name = plain(name);
        let place = self.operations.iter().position(|operation| operation.name == name).unwrap_or_else(|| {
            self.operations.push(OperationView { name: name.into_owned(), ..OperationView::default() });
            self.operations.len() - 1
        });
        &mut self.operations[place]
    }

    /// Moves on to the phase that the clock says, or what has ended does: whichever is further.
    fn enter_phase(&mut self, newest: usize) {
        let now = self.seconds as f64;
        // Of phases that are counted, and those after them, the clock knows nothing.
        let by_clock = self.phases.iter().position(|phase| phase.end_seconds.is_none_or(|end| now < end));
        let phase = newest.max(by_clock.unwrap_or(0)).min(self.phases.len().saturating_sub(1));
        while self.phase < phase {
            self.phase += 1;
            self.log_phase();
        }
    }

    fn log_phase(&mut self) {
        if let Some((_, phase)) = self.current() {
            let counts = if phase.is_recorded { "" } else { ", which does not count" };
            self.log(&format!("phase {}{counts}", phase.name), false);
        }
    }

    /// Notes when the store falls silent, and when it answers again.
    fn notice_silence(&mut self) {
        let is_waiting = self.now.failed > 0
            || ["generator.in_flight", "generator.backlog"].iter().any(|name| self.gauge(name) > Some(0.0));
        let second = self.seconds - 1;
        match self.silent_since {
            Some(since) if self.now.succeeded > 0 => {
                self.silent_since = None;
                self.log(&format!("operations end well again, after {} s", second - since), false);
            }
            None if self.now.succeeded == 0 && is_waiting && self.is_usual_to_succeed() => {
                self.silent_since = Some(second);
                self.log("no operation ended well in this second", true);
            }
            _ => {}
        }
    }

    /// Whether the seconds before had so many successes that one without is no chance.
    fn is_usual_to_succeed(&self) -> bool {
        /// What is looked back at, the second itself left out.
        const SECONDS: usize = 10;
        let before = self.throughput.iter().rev().skip(1).take(SECONDS);
        let (count, sum) = before.fold((0_u32, 0), |(count, sum), successes| (count + 1, sum + successes));
        count > 0 && sum as f64 / f64::from(count) >= USUAL_PER_SECOND_MIN
    }

    /// Notes when operations begin to fail, and when none does any more.
    fn notice_failures(&mut self) {
        let second = self.seconds - 1;
        let failed = self.now.failed;
        match self.failing_since {
            Some((since, before)) if failed == 0 => {
                self.failing_since = None;
                self.log(&format!("{} operations failed within {} s", thousands(before), second - since), true);
            }
            Some((since, before)) => self.failing_since = Some((since, before + failed)),
            None if failed > 0 => {
                self.failing_since = Some((second, failed));
                self.log("operations fail", true);
            }
            None => {}
        }
    }

    fn log(&mut self, text: &str, is_warning: bool) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        let at = (self.stage == Stage::Measuring || self.stage == Stage::Verifying).then_some(self.seconds);
        self.events.push_back(Entry { at, text: plain(text).into_owned(), is_warning });
    }
}

/// Of the gauges those that count failures, by their kinds.
fn errors_by_kind<'a>(gauges: &'a BTreeMap<&'static str, f64>) -> impl Iterator<Item = (&'static str, u64)> + 'a {
    gauges.iter().filter_map(|(name, count)| Some((name.strip_prefix("errors.")?, *count as u64)))
}

fn remember(history: &mut VecDeque<u64>, value: u64) {
    if history.len() == HISTORY_SECONDS_MAX {
        history.pop_front();
    }
    history.push_back(value);
}

#[cfg(test)]
pub(super) mod tests {
    use std::num::NonZeroU32;

    use experiment::SampledOperation;
    use runner::{Arrivals, Phase, Rate};

    use super::*;

    fn rate(per_second: f64) -> Rate {
        Rate::per_second(per_second).expect("positive")
    }

    /// Two seconds that do not count, then a ramp of ten from 100/s to 200/s.
    pub(crate) fn load() -> Load {
        let seconds = |seconds| Limit::Duration(std::time::Duration::from_secs(seconds));
        let mut load = Load::open(NonZeroU32::MIN, rate(100.0), Arrivals::Constant, seconds(2));
        let steady = Phase {
            name: "steady".to_owned(),
            mode: Mode::Open { from: rate(100.0), to: rate(200.0), arrivals: Arrivals::Constant },
            limit: seconds(10),
            ..load.phases[0].clone()
        };
        load.phases[0] = Phase { name: "warm-up".to_owned(), recorded: false, ..load.phases[0].clone() };
        load.phases.push(steady);
        load
    }

    /// A second in which reads of a phase took a millisecond each, or failed.
    pub(crate) fn second(second: u64, phase: u16, succeeded: u64, failed: u64) -> SampleRecord {
        let mut latency = Histogram::new();
        (0..succeeded).for_each(|_| latency.record(1_000_000));
        let operation = SampledOperation { phase, operation: "read".to_owned(), succeeded, failed, latency };
        let operations = if succeeded + failed > 0 { vec![operation] } else { Vec::new() };
        let mut gauges = BTreeMap::from([
            ("generator.cpu_percent", 12.3),
            ("generator.in_flight", 3.0),
            ("generator.lateness_us_max", 40.0),
            ("host.cpu_percent", 33.9),
        ]);
        if failed > 0 {
            gauges.insert("errors.timeout", failed as f64);
        }
        SampleRecord { second, operations, gauges }
    }

    fn told(samples: &[SampleRecord]) -> View {
        let mut view = View::default();
        view.expect(&load());
        view.begin("run", "ycsb:b on null:");
        for sample in samples {
            view.tell(&Event::Sampled(sample));
        }
        view
    }

    fn said(view: &View) -> Vec<(Option<u64>, &str)> {
        view.events.iter().map(|entry| (entry.at, entry.text.as_str())).collect()
    }

    #[test]
    fn only_what_counts_is_in_the_figures_so_far() {
        let view = told(&[second(0, 0, 70, 0), second(1, 0, 80, 0), second(2, 1, 100, 0), second(3, 1, 120, 2)]);
        assert_eq!((view.so_far.succeeded, view.so_far.failed, view.so_far.seconds), (220, 2, 2));
        assert_eq!(view.so_far.per_second(), Some(110.0));
        assert_eq!(
            (view.now.succeeded, view.throughput.iter().copied().collect::<Vec<_>>()),
            (120, vec![70, 80, 100, 120])
        );
        let [read] = &view.operations[..] else { panic!("one operation: {:?}", view.operations) };
        assert_eq!((read.now, read.succeeded, read.failed), (120, 370, 2));
        assert!((990.0..=1_001.0).contains(&view.so_far.latency_us[0]), "{:?}", view.so_far);
    }

    #[test]
    fn the_clock_says_which_phase_goes_on_and_what_is_planned() {
        let mut view = told(&[]);
        for (at, phase, planned, done) in [
            (0, "warm-up", 100.0, 1.0 / 12.0),
            (1, "steady", 100.0, 2.0 / 12.0),
            (2, "steady", 105.0, 3.0 / 12.0),
            (11, "steady", 195.0, 1.0),
        ] {
            view.tell(&Event::Sampled(&second(at, u16::from(at > 1), 5, 0)));
            assert_eq!(view.current().map(|(_, phase)| phase.name.as_str()), Some(phase), "{at}");
            let figures = (view.planned_per_second().expect("open"), view.share_done().expect("it ends"));
            assert!((figures.0 - planned).abs() < 1e-9 && (figures.1 - done).abs() < 1e-9, "{at}: {figures:?}");
        }
        assert_eq!(said(&view), [(Some(0), "phase warm-up, which does not count"), (Some(2), "phase steady")]);
    }

    #[test]
    fn phases_that_are_counted_go_on_with_what_has_ended() {
        let mut view = View::default();
        let mut load = load();
        load.phases.iter_mut().for_each(|phase| (phase.limit, phase.mode) = (Limit::Count(50), Mode::Closed));
        view.expect(&load);
        view.begin("run", "");
        for (at, phase) in [(0, 0), (1, 0), (2, 1)] {
            view.tell(&Event::Sampled(&second(at, phase, 25, 0)));
            assert_eq!(view.phase, usize::from(phase), "{at}");
            assert_eq!((view.share_done(), view.planned_per_second()), (None, None));
        }
    }

    #[test]
    fn silence_and_failures_are_noted_when_they_begin_and_when_they_end() {
        let quiet = |at| second(at, 1, 0, 0);
        let view = told(&[second(0, 0, 70, 0), second(1, 0, 80, 0), quiet(2), quiet(3), second(4, 1, 60, 0)]);
        let silent =
            [(Some(3), "no operation ended well in this second"), (Some(5), "operations end well again, after 2 s")];
        assert_eq!(said(&view)[2..], silent);
        let view = told(&[second(0, 0, 70, 0), second(1, 0, 70, 3), second(2, 1, 70, 4), second(3, 1, 70, 0)]);
        assert_eq!(said(&view)[2..], [(Some(2), "operations fail"), (Some(4), "7 operations failed within 2 s")]);
        assert_eq!(view.errors, BTreeMap::from([("timeout", 7)]));
        // Where few are usual, a second without any says nothing.
        let view = told(&[second(0, 0, 2, 0), second(1, 0, 3, 0), quiet(2)]);
        assert_eq!(said(&view).len(), 2);
    }

    #[test]
    fn a_run_after_another_begins_anew() {
        let mut view = told(&[second(0, 0, 70, 1), second(2, 1, 70, 1)]);
        view.begin("next", "");
        assert_eq!((view.seconds, view.phase, view.so_far.succeeded, view.throughput.len()), (0, 0, 0, 0));
        assert!(view.errors.is_empty() && view.operations.is_empty() && view.so_far.latency.is_empty());
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let mut view = told(&[]);
        for at in 0..HISTORY_SECONDS_MAX as u64 + 10 {
            view.tell(&Event::Sampled(&second(at, 1, 1, 0)));
            view.tell(&Event::Warning("again"));
        }
        assert_eq!((view.throughput.len(), view.events.len()), (HISTORY_SECONDS_MAX, EVENTS_MAX));
    }
}
