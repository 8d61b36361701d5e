//! From what was written to what is meant: every name is held against those that the run has.

use runner::{Mode, Phase};
use store::ErrorKind;

use super::evaluate::Measure;
use super::metric::{FUNCTIONS, GAUGES, LatenessStatistic, Metric, Percentile, Series, Statistic};
use super::seconds::Value;
use super::{Call, Condition, Gauge, GaugeSource, Of, Quantity, Threshold, ThresholdError, Word};
use crate::record::Metric as Recorded;

/// All operations together.
const TOTAL: &str = "total";
/// The key that chooses phases.
const PHASE: &str = "phase";
/// The key that chooses errors.
const KIND: &str = "kind";

/// What there is to be named in a run.
#[derive(Debug, Clone)]
pub struct Names<'a> {
    /// The workload's operations.
    pub operations: &'a [&'static str],
    /// The load's phases.
    pub phases: &'a [Phase],
    /// Gauges that this run does not sample, by who would take them: why, and what to do.
    pub unsampled: Vec<(GaugeSource, &'static str, &'static str)>,
}

impl Names<'_> {
    fn has_operation(&self, name: &str) -> bool {
        name == TOTAL || self.operations.contains(&name)
    }

    fn is_sampled(&self, gauge: &Gauge) -> bool {
        self.unsampled.iter().all(|(source, ..)| *source != gauge.source)
    }

    fn gauges(&self) -> impl Iterator<Item = &'static Gauge> {
        GAUGES.iter().filter(|gauge| self.is_sampled(gauge))
    }

    /// Names of gauges, whole and short.
    fn gauge_names(&self) -> impl Iterator<Item = &str> {
        self.gauges().flat_map(|gauge| [gauge.short, gauge.name])
    }

    fn operation_names(&self) -> impl Iterator<Item = &str> {
        [TOTAL].into_iter().chain(self.operations.iter().copied())
    }
}

/// The keys of an expression.
#[derive(Default)]
struct Scope<'a> {
    phase: Option<&'a Word>,
    kind: Option<&'a Word>,
}

impl Threshold {
    /// Finds out what its names mean.
    ///
    /// # Errors
    /// A name that this run does not have, with the nearest that it has; a limit whose unit does not fit.
    pub fn resolve(&self, names: &Names<'_>) -> Result<Condition, ThresholdError> {
        let resolver = Resolver { threshold: self, names };
        let (measure, scope) = resolver.measure(&self.left)?;
        let phases = resolver.phases(&measure, scope.phase)?;
        resolver.check_limit(&measure)?;
        let planned = phases.iter().map(|phase| names.phases[usize::from(*phase)].duration()).collect();
        Ok(Condition::new(self, measure, phases, planned))
    }
}

struct Resolver<'a> {
    threshold: &'a Threshold,
    names: &'a Names<'a>,
}

type Found<T> = Result<T, ThresholdError>;

impl<'a> Resolver<'a> {
    fn error(&self, word: &Word, message: impl Into<String>) -> ThresholdError {
        self.threshold.error(&word.span, message)
    }

    fn measure(&self, call: &'a Call) -> Found<(Measure, Scope<'a>)> {
        let Some(statistic) = Statistic::named(&call.name.text) else {
            let (metric, scope) = self.metric(call, true)?;
            return Ok((Measure::Phases(metric), scope));
        };
        match &call.of {
            Some(Of::Call(inner)) => {
                let (metric, mut scope) = self.metric(inner, false)?;
                let outer = self.scope(call, &[PHASE])?;
                if let (Some(_), Some(again)) = (scope.phase, outer.phase) {
                    return Err(self.error(again, "`phase` is given twice"));
                }
                scope.phase = scope.phase.or(outer.phase);
                Ok((Measure::Seconds(statistic, Value::Metric(self.by_second(inner, metric)?)), scope))
            }
            Some(Of::Name(name)) if self.names.has_operation(&name.text) => {
                if !statistic.is_of_latencies() {
                    let outer = &call.name;
                    return Err(self
                        .error(name, format!("`{outer}` is of what every second has, not of an operation"))
                        .with_hint(format!("write {outer}(p99({name})) or {outer}(rate({name}))")));
                }
                self.latency(call, Recorded::Latency, statistic).map(|(metric, scope)| (Measure::Phases(metric), scope))
            }
            Some(Of::Name(name)) => {
                let scope = self.scope(call, &[PHASE])?;
                if let Some(gauge) = self.gauge(name)? {
                    return Ok((Measure::Seconds(statistic, Value::Gauge(gauge)), scope));
                }
                let inner = self.bare_metric(name, statistic)?;
                Ok((Measure::Seconds(statistic, Value::Metric(inner)), scope))
            }
            None if statistic.is_of_latencies() => {
                self.latency(call, Recorded::Latency, statistic).map(|(metric, scope)| (Measure::Phases(metric), scope))
            }
            None => {
                let name = &call.name.text;
                Err(self
                    .error(&call.name, format!("`{name}` is of what every second has: it must be said of what"))
                    .with_hint(format!("write {name}(rate), {name}(p99(read)) or {name}(generator.backlog)")))
            }
        }
    }

    /// `max(rate)`: a metric of all operations without parentheses.
    fn bare_metric(&self, name: &Word, statistic: Statistic) -> Found<Metric> {
        let bare = Call {
            name: Word { text: Percentile::canonical(&name.text), span: name.span.clone() },
            of: None,
            keys: Vec::new(),
            has_parentheses: false,
        };
        let is_metric = FUNCTIONS.iter().any(|function| function.name == name.text)
            || Series::split(&name.text).is_some()
            || Statistic::named(&bare.name.text).is_some();
        if !is_metric {
            return Err(self.unknown_subject(name, statistic));
        }
        let (metric, _) = self.metric(&bare, false)?;
        self.by_second(&bare, metric)
    }

    /// The error of a name that is no operation, gauge or metric.
    fn unknown_subject(&self, name: &Word, statistic: Statistic) -> ThresholdError {
        let text = name.text.as_str();
        let functions = FUNCTIONS.iter().map(|function| function.name);
        if text.contains('.') {
            return self
                .error(name, format!("there is no gauge `{text}` in this run"))
                .with_nearest(text, self.names.gauge_names());
        }
        if statistic.is_of_latencies() {
            return self
                .error(name, format!("there is no operation `{text}` in this workload"))
                .with_nearest(text, self.names.operation_names());
        }
        self.error(name, format!("there is no gauge or metric `{text}`"))
            .with_nearest(text, self.names.gauge_names().chain(functions))
    }

    /// A metric, if it is kept of each second.
    fn by_second(&self, call: &Call, metric: Metric) -> Found<Metric> {
        if metric.is_kept_by_second() {
            return Ok(metric);
        }
        Err(self
            .error(&call.name, format!("`{}` is not kept of each second", call.name.text))
            .with_hint("of each second there are latencies, rate, count, succeeded, failed and errors of all kinds"))
    }

    /// What a function means that is asked of no second.
    fn metric<'b>(&self, call: &'b Call, may_be_gauge: bool) -> Found<(Metric, Scope<'b>)> {
        let name = call.name.text.as_str();
        if let Some(statistic) = Statistic::named(name) {
            if !statistic.is_of_latencies() {
                return Err(self
                    .error(&call.name, format!("`{name}` is no metric of a second"))
                    .with_hint("latencies have mean, max and percentiles"));
            }
            return self.latency(call, Recorded::Latency, statistic);
        }
        if let Some((series, statistic)) = Series::split(name) {
            return self.series(call, series, statistic);
        }
        let Some(function) = FUNCTIONS.iter().find(|function| function.name == name) else {
            return Err(self.unknown_function(&call.name, may_be_gauge));
        };
        let operation = self.operation(call)?;
        if let (Some(operation), false) = (&operation, function.of_operations) {
            return Err(self
                .error(of_word(call), format!("`{name}` is not known of `{operation}` alone"))
                .with_hint(format!("write {name}")));
        }
        let keys: &[&str] = if function.of_kinds { &[PHASE, KIND] } else { &[PHASE] };
        let scope = self.scope(call, keys)?;
        let kind = scope.kind.map(|word| self.kind(word)).transpose()?;
        Ok(((function.metric)(operation, kind), scope))
    }

    fn series<'b>(&self, call: &'b Call, series: Series, statistic: &str) -> Found<(Metric, Scope<'b>)> {
        let known = Statistic::named(statistic).filter(|statistic| statistic.is_of_latencies());
        let of = match series {
            Series::Service => Recorded::ServiceTime,
            Series::Queueing => Recorded::QueueingTime,
            Series::Lateness => {
                let lateness = match statistic {
                    "p50" => LatenessStatistic::P50,
                    "p99" => LatenessStatistic::P99,
                    "max" => LatenessStatistic::Max,
                    _ => {
                        return Err(self
                            .error(&call.name, format!("`{statistic}` is not kept of send lateness"))
                            .with_hint("there are lateness.p50, lateness.p99 and lateness.max"));
                    }
                };
                if self.operation(call)?.is_some() {
                    return Err(self
                        .error(of_word(call), "send lateness is not known of one operation alone")
                        .with_hint(format!("write {}", call.name)));
                }
                return Ok((Metric::Lateness(lateness), self.scope(call, &[])?));
            }
        };
        let statistic = known.ok_or_else(|| {
            self.error(&call.name, format!("there is no statistic `{statistic}` of latencies"))
                .with_hint("there are mean, max and percentiles such as p50, p99 and p99.9")
        })?;
        self.latency(call, of, statistic)
    }

    fn latency<'b>(&self, call: &'b Call, of: Recorded, statistic: Statistic) -> Found<(Metric, Scope<'b>)> {
        let operation = self.operation(call)?;
        Ok((Metric::Latency { of, statistic, operation }, self.scope(call, &[PHASE])?))
    }

    /// The operation that a function is asked of; none for all together.
    fn operation(&self, call: &Call) -> Found<Option<String>> {
        match &call.of {
            None => Ok(None),
            Some(Of::Name(word)) if word.text == TOTAL => Ok(None),
            Some(Of::Name(word)) if self.names.has_operation(&word.text) => Ok(Some(word.text.clone())),
            Some(Of::Name(word)) if Gauge::named(&word.text).is_some() => Err(self
                .error(word, format!("`{}` cannot be asked of a gauge", call.name))
                .with_hint(format!("write max({word}), mean({word}) or a percentile"))),
            Some(Of::Name(word)) => Err(self
                .error(word, format!("there is no operation `{}` in this workload", word.text))
                .with_nearest(&word.text, self.names.operation_names())),
            Some(Of::Call(inner)) => Err(self
                .error(&inner.name, format!("`{}` cannot be asked of another metric", call.name))
                .with_hint(format!("write max({inner}), min({inner}) or mean({inner})"))),
        }
    }

    /// The gauge of a name, if it is one; an error where this run does not sample it.
    fn gauge(&self, word: &Word) -> Found<Option<&'static Gauge>> {
        let Some(gauge) = Gauge::named(&word.text) else { return Ok(None) };
        match self.names.unsampled.iter().find(|(source, ..)| *source == gauge.source) {
            None => Ok(Some(gauge)),
            Some((_, why, what)) => {
                Err(self.error(word, format!("`{}` is not measured in this run: {why}", gauge.name)).with_hint(*what))
            }
        }
    }

    fn unknown_function(&self, word: &Word, may_be_gauge: bool) -> ThresholdError {
        let text = word.text.as_str();
        if may_be_gauge && Gauge::named(text).is_some() {
            return self
                .error(word, format!("the gauge `{text}` has a value every second"))
                .with_hint(format!("write max({word}), mean({word}) or a percentile"));
        }
        if Series::ALL.into_iter().any(|series| series.name() == text) {
            return self
                .error(word, format!("`{text}` is a series of times"))
                .with_hint(format!("write {text}.p99 or {text}.max"));
        }
        let statistics = Statistic::NAMED.into_iter().map(|(name, _)| name);
        let percentiles = ["p50", "p90", "p95", "p99", "p99.9", "service.p99", "queueing.p99", "lateness.p99"];
        let functions = FUNCTIONS.iter().map(|function| function.name).chain(statistics).chain(percentiles);
        let gauges = self.names.gauge_names().filter(|_| text.contains('.'));
        let error = self.error(word, format!("there is no metric `{text}`"));
        if self.names.has_operation(text) {
            return error.with_hint(format!("write p99({word}), rate({word}) or errors({word})"));
        }
        error.with_nearest(text, functions.chain(gauges))
    }

    /// The keys of a call, of those that are allowed, each at most once.
    fn scope<'b>(&self, call: &'b Call, allowed: &[&'static str]) -> Found<Scope<'b>> {
        let mut scope = Scope::default();
        for (key, value) in &call.keys {
            let place = match key.text.as_str() {
                text if !allowed.contains(&text) => {
                    let message = format!("`{}` takes no `{text}`", call.name);
                    let error = self.error(key, message);
                    return Err(match allowed {
                        [] => error.with_hint("it is of the whole run"),
                        allowed => error.with_nearest(text, allowed.iter().copied()),
                    });
                }
                PHASE => &mut scope.phase,
                _ => &mut scope.kind,
            };
            if place.replace(value).is_some() {
                return Err(self.error(key, format!("`{key}` is given twice")));
            }
        }
        Ok(scope)
    }

    fn kind(&self, word: &Word) -> Found<ErrorKind> {
        ErrorKind::ALL.into_iter().find(|kind| kind.name() == word.text).ok_or_else(|| {
            self.error(word, format!("there is no kind of error `{}`", word.text))
                .with_nearest(&word.text, ErrorKind::ALL.into_iter().map(ErrorKind::name))
        })
    }

    /// The places of the phases that are meant: those of that name, else the one of that number, else all that count.
    fn phases(&self, measure: &Measure, word: Option<&Word>) -> Found<Vec<u16>> {
        let all = self.names.phases;
        let places = |is_meant: &dyn Fn(usize, &Phase) -> bool| -> Vec<u16> {
            all.iter()
                .enumerate()
                .filter(|(place, phase)| is_meant(*place, phase))
                .map(|(place, _)| place as u16)
                .collect()
        };
        let chosen = match word {
            None => places(&|_, phase| phase.recorded),
            Some(word) => {
                let named = places(&|_, phase| phase.name == word.text);
                let numbered = || places(&|place, _| word.text == (place + 1).to_string());
                let chosen = if named.is_empty() { numbered() } else { named };
                if chosen.is_empty() {
                    return Err(self
                        .error(word, format!("there is no phase `{}` in this load", word.text))
                        .with_nearest(&word.text, all.iter().map(|phase| phase.name.as_str())));
                }
                chosen
            }
        };
        let is_open = |place: &u16| all[usize::from(*place)].mode != Mode::Closed;
        let only_open = match measure {
            Measure::Phases(Metric::Offered) => "what a closed load offers follows its answers",
            Measure::Phases(Metric::Lateness(_)) => "in a closed load no send has a time to keep",
            Measure::Phases(Metric::Latency { of: Recorded::QueueingTime, .. }) => "in a closed load nothing queues",
            _ => return Ok(chosen),
        };
        let open: Vec<u16> = chosen.into_iter().filter(is_open).collect();
        if open.is_empty() {
            return Err(self
                .threshold
                .error(&self.threshold.left.name.span, format!("{only_open}: such a threshold says nothing"))
                .with_hint("give the load a rate, or leave the threshold out"));
        }
        Ok(open)
    }

    /// Refuses limits of another kind, and equality of what is measured rather than counted.
    fn check_limit(&self, measure: &Measure) -> Found<()> {
        let (threshold, quantity) = (self.threshold, measure.quantity());
        let limit = threshold.limit;
        if limit.quantity() != quantity {
            let is = match limit.unit.name() {
                "" => "has no unit".to_owned(),
                _ => format!("is {}", limit.quantity().noun()),
            };
            return Err(threshold
                .error(
                    &threshold.limit_span,
                    format!("`{}` is {}, but `{limit}` {is}", threshold.left, quantity.noun()),
                )
                .with_hint(format!("write a limit such as {}", quantity.examples())));
        }
        let is_counted = matches!(measure, Measure::Phases(metric) if metric.quantity() == Quantity::Count);
        if threshold.relation.is_exact() && !is_counted {
            return Err(threshold
                .error(&threshold.relation_span, format!("`{}` is measured, and hardly ever exact", threshold.left))
                .with_hint("write one of < <= > >="));
        }
        Ok(())
    }
}

/// Where a call says of what.
fn of_word(call: &Call) -> &Word {
    match &call.of {
        Some(Of::Name(word)) => word,
        Some(Of::Call(inner)) => &inner.name,
        None => &call.name,
    }
}
