//! Laws of the language, and known answers.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use runner::{Arrivals, Limit as PhaseLimit, Load, Phase, Rate};
use stats::Histogram;

use super::metric::{FUNCTIONS, GAUGES, Percentile};
use super::parse::LETTERS_MAX;
use super::*;
use crate::plan::Plan;
use crate::record::{
    AccountingRecord, HistogramRecord, Lateness, Metric as Recorded, OperationRecord, PhaseRecord, SampleRecord,
    SampledOperation,
};
use crate::spec::Spec;

const OPERATIONS: [&str; 3] = ["read", "update", "count"];

fn phases(open: bool) -> Vec<Phase> {
    let limit = PhaseLimit::Duration(Duration::from_secs(4));
    let rate = Rate::per_second(100.0).expect("positive");
    let load = if open {
        Load::open(NonZeroU32::MIN, rate, Arrivals::Constant, limit)
    } else {
        Load::closed(NonZeroU32::MIN, limit)
    };
    let steady = load.phases[0].clone();
    let warm_up = Phase {
        name: "warm-up".to_owned(),
        recorded: false,
        limit: PhaseLimit::Duration(Duration::from_secs(1)),
        ..steady.clone()
    };
    let spike = Phase { name: "spike 2/s".to_owned(), ..steady.clone() };
    vec![warm_up, steady, spike]
}

fn names(phases: &[Phase]) -> Names<'_> {
    let embedded = (GaugeSource::Server, "the store runs inside the generator", "ask of generator.cpu");
    Names { operations: &OPERATIONS, phases, unsampled: vec![embedded] }
}

fn condition(text: &str) -> Result<Condition, ThresholdError> {
    Threshold::parse(text)?.resolve(&names(&phases(true)))
}

#[test]
fn what_is_written_is_written_out_in_one_spelling() {
    for (text, canonical) in [
        ("p99(read)<20ms", "p99(read) < 20ms"),
        ("  p99_9 ( read , phase = steady ) <= 1_500µs ", "p99.9(read, phase=steady) <= 1500us"),
        ("p50.0 < 1.50 s", "p50 < 1.5s"),
        ("service.p99_99(update) < 1ms", "service.p99.99(update) < 1ms"),
        ("queueing.max < 1ms", "queueing.max < 1ms"),
        ("lateness.p99 < 1ms", "lateness.p99 < 1ms"),
        ("errors < 0.1%", "errors < 0.1%"),
        ("errors(read, kind=timeout) == 0%", "errors(read, kind=timeout) == 0%"),
        ("failed(kind=timeout) == 0", "failed(kind=timeout) == 0"),
        ("rate(total) >= 4_900/s", "rate(total) >= 4900/s"),
        ("min(rate()) > 294_000/m", "min(rate()) > 294000/m"),
        ("max( p99( read ) ) < 50ms", "max(p99(read)) < 50ms"),
        ("max(server.rss) < 1.5GiB", "max(server.rss) < 1.5GiB"),
        ("p99(phase=\"spike 2/s\") < 9ms", "p99(phase=\"spike 2/s\") < 9ms"),
        ("p99(read, phase=2) < 9ms", "p99(read, phase=2) < 9ms"),
    ] {
        let threshold = Threshold::parse(text).expect(text);
        assert_eq!(threshold.to_string(), canonical);
        assert_eq!(threshold.text(), text.trim());
        assert_eq!(Threshold::parse(canonical).expect(canonical), threshold);
    }
}

#[test]
fn what_is_wrong_is_shown_where_it_stands() {
    // The expression, the words of the message, what the carets are under, the hint.
    for (text, part, marked, hint) in [
        ("", "empty", "", "p99(read) < 20ms"),
        ("< 20ms", "a metric is missing", "<", "p99(read) < 20ms"),
        ("p99(read 20ms", "`,` or `)`", "2", ""),
        ("p99(read", "`,` or `)`", "", ""),
        ("p99(read) 20ms", "a comparison is missing", "2", "one of"),
        ("p99(read) = 20ms", "a comparison is missing", "=", "=="),
        ("p99(read) < fast", "not a number", "fast", "20ms"),
        ("p99(read) < 20mss", "no unit `mss`", "mss", "did you mean `ms`?"),
        ("p99(read, update) < 20ms", "only one thing", "update", "phase=steady"),
        ("max(min(p99(read))) < 20ms", "nested too deeply", "p99", "max(p99(read))"),
        ("p99(\"read) < 20ms", "not closed", "\"read) < 20ms", ""),
        ("p99(raed) < 20ms", "no operation `raed`", "raed", "did you mean `read`?"),
        ("p999(read) < 20ms", "no metric `p999`", "p999", "did you mean `p99.9`?"),
        ("eror(read) < 1%", "no metric `eror`", "eror", "did you mean `errors`?"),
        ("read < 1%", "no metric `read`", "read", "p99(read)"),
        ("p99(read, phase=stedy) < 20ms", "no phase `stedy`", "stedy", "did you mean `steady`?"),
        ("p99(read, phase=4) < 20ms", "no phase `4`", "4", "warm-up"),
        ("p99(read, fase=2) < 20ms", "takes no `fase`", "fase", "did you mean `phase`?"),
        ("p99(read, kind=timeout) < 20ms", "takes no `kind`", "kind", "phase"),
        ("p99(phase=1, phase=2) < 20ms", "given twice", "phase", ""),
        ("max(p99(phase=1), phase=2) < 20ms", "given twice", "2", ""),
        ("errors(kind=timeot) < 1%", "no kind of error", "timeot", "did you mean `timeout`?"),
        ("max(host.cp) < 80%", "no gauge `host.cp`", "host.cp", "did you mean `host.cpu`?"),
        ("host.cpu < 80%", "value every second", "host.cpu", "max(host.cpu)"),
        ("max(server.cpu) < 80%", "not measured in this run", "server.cpu", "generator.cpu"),
        ("rate(host.cpu) < 80/s", "cannot be asked of a gauge", "host.cpu", "max(host.cpu)"),
        ("rate(p99(read)) < 80/s", "cannot be asked of another metric", "p99", "max(p99(read))"),
        ("min(read) < 8ms", "not of an operation", "read", "min(p99(read))"),
        ("lats(rat) < 8/s", "no metric `lats`", "lats", "did you mean `last`?"),
        ("min(rat) < 8/s", "no gauge or metric `rat`", "rat", "did you mean `rate`?"),
        ("min < 8ms", "must be said of what", "min", "min(rate)"),
        ("shed(read) < 8", "not known of `read`", "read", "write shed"),
        ("lateness < 8ms", "series of times", "lateness", "lateness.p99"),
        ("lateness.p95 < 8ms", "not kept of send lateness", "lateness.p95", "lateness.p99"),
        ("lateness.p99(read) < 8ms", "not known of one operation", "read", "lateness.p99"),
        ("lateness.p99(phase=2) < 8ms", "takes no `phase`", "phase", "whole run"),
        ("service.min < 8ms", "no statistic `min`", "service.min", "p99.9"),
        ("max(service.p99(read)) < 8ms", "not kept of each second", "service.p99", "latencies"),
        ("max(errors(kind=timeout)) < 8%", "not kept of each second", "errors", "latencies"),
        ("max(min(read)) < 8ms", "no metric of a second", "min", "percentiles"),
        ("p99(read) < 20", "has no unit", "20", "20ms"),
        ("p99(read) < 20%", "is a share", "20%", "20ms"),
        ("errors < 5", "is a share, but `5` has no unit", "5", "0.1%"),
        ("rate >= 4900", "is a rate", "4900", "5000/s"),
        ("max(generator.rss) < 5", "an amount of memory", "5", "512MiB"),
        ("max(host.disk_read) < 5MiB", "bytes a second", "5MiB", "20MiB/s"),
        ("p99(read) == 20ms", "hardly ever exact", "==", "one of"),
        ("min(count()) != 20", "hardly ever exact", "!=", "one of"),
    ] {
        let error = condition(text).expect_err(text);
        assert!(error.message().contains(part), "{text}: {error}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{text}: {:?}", error.hint());
        assert_eq!(&text[error.span()], marked, "{error}");
    }
}

#[test]
fn the_place_is_shown_under_the_expression() {
    let error = condition("p99(\tréad , phase=steady) < 20ms").expect_err("misspelt");
    assert_eq!(
        error.to_string(),
        "there is no operation `réad` in this workload\n  | p99( réad , phase=steady) < 20ms\n  |      ^^^^"
    );
    let error = Threshold::parse(&"x".repeat(LETTERS_MAX + 1)).expect_err("too long");
    assert!(error.message().contains("longer than 200"), "{error}");
    let ours = store::Error::from(condition("p99(raed) < 20ms").expect_err("misspelt"));
    assert_eq!((ours.kind(), ours.hint()), (store::ErrorKind::Config, Some("did you mean `read`?")));
}

#[test]
fn what_a_closed_load_has_not_is_refused() {
    for text in ["offered >= 99%", "delivered >= 99%", "lateness.p99 < 1ms", "queueing.p99 < 1ms"] {
        let error = Threshold::parse(text).expect(text).resolve(&names(&phases(false))).expect_err(text);
        assert!(error.message().contains("in a closed load") || error.message().contains("a closed load"), "{error}");
        assert!(condition(text).is_ok(), "{text} of an open load");
    }
}

fn histogram(latencies_ms: &[u64]) -> Histogram {
    let mut histogram = Histogram::new();
    for latency in latencies_ms {
        histogram.record(latency * 1_000_000);
    }
    histogram
}

/// A run of a warm-up of a second, a phase of four seconds and one that was not reached: reads of 1 to 100 ms, a tenth of
/// the updates failed, half of them by time-out.
fn measured() -> (Vec<PhaseRecord>, Vec<HistogramRecord>, Vec<SampleRecord>) {
    let phase = |name: &str, recorded, start_seconds, duration_seconds, of: u64| PhaseRecord {
        name: name.to_owned(),
        recorded,
        start_seconds,
        duration_seconds,
        throughput_per_second: 0.0,
        accounting: AccountingRecord {
            scheduled: of * 210 / 100,
            succeeded: of * 190 / 100,
            failed: of / 10,
            shed: of * 6 / 100,
            unfinished: of * 4 / 100,
        },
        operations: vec![
            OperationRecord { name: "read".to_owned(), succeeded: of, ..OperationRecord::default() },
            OperationRecord {
                name: "update".to_owned(),
                succeeded: of * 90 / 100,
                failed: of / 10,
                errors: BTreeMap::from([("timeout".to_owned(), of / 20), ("conflict".to_owned(), of / 20)]),
                ..OperationRecord::default()
            },
        ],
        total: OperationRecord {
            name: "total".to_owned(),
            succeeded: of * 190 / 100,
            failed: of / 10,
            errors: BTreeMap::from([("timeout".to_owned(), of / 20), ("conflict".to_owned(), of / 20)]),
            ..OperationRecord::default()
        },
    };
    // The drain lasted half a second longer than the phase was to take.
    let phases = vec![
        phase("warm-up", false, 0.0, 1.0, 100),
        phase("steady", true, 1.0, 4.5, 400),
        phase("spike 2/s", true, 0.0, 0.0, 0),
    ];
    let kept = |phase, operation: &str, metric, latencies: &[u64]| HistogramRecord {
        phase,
        operation: operation.to_owned(),
        metric,
        histogram: histogram(latencies),
    };
    let hundred: Vec<u64> = (1..=100).collect();
    let histograms = vec![
        kept(0, "read", Recorded::Latency, &[900]),
        kept(1, "read", Recorded::Latency, &hundred),
        kept(1, "read", Recorded::ServiceTime, &[7]),
        kept(1, "read", Recorded::QueueingTime, &[3]),
        kept(1, "update", Recorded::Latency, &[500]),
    ];
    let second = |second: u64, succeeded, failed, latency: u64, cpu: f64| SampleRecord {
        second,
        operations: vec![SampledOperation {
            phase: u16::from(second > 0),
            operation: "read".to_owned(),
            succeeded,
            failed,
            latency: if succeeded > 0 { histogram(&[latency]) } else { Histogram::new() },
        }],
        gauges: BTreeMap::from([("host.cpu_percent", cpu)]),
    };
    // The warm-up, four whole seconds, of which one has no sample, and the drain.
    let seconds = vec![
        second(0, 1, 9, 900, 99.0),
        second(1, 100, 0, 10, 20.0),
        second(2, 80, 20, 40, 60.0),
        second(4, 90, 0, 30, 40.0),
        second(5, 3, 0, 800, 5.0),
    ];
    (phases, histograms, seconds)
}

fn kept(condition: &Condition, samples: &[SampleRecord]) -> Seconds {
    let mut seconds = Seconds::of([condition]);
    for sample in samples {
        seconds.add(sample);
    }
    seconds
}

fn evidence<'a>(phases: &'a [PhaseRecord], histograms: &'a [HistogramRecord], seconds: &'a Seconds) -> Evidence<'a> {
    Evidence { phases, lateness_us: Lateness { p50: 10.0, p99: 60.0, max: 400.0 }, histograms, seconds }
}

fn evaluate(text: &str) -> crate::record::ThresholdRecord {
    let condition = condition(text).expect(text);
    let (phases, histograms, samples) = measured();
    let seconds = kept(&condition, &samples);
    condition.evaluate(&evidence(&phases, &histograms, &seconds))
}

#[test]
fn values_are_those_that_were_measured() {
    for (text, value, limit, unit, passed) in [
        ("p99(read) < 20ms", 99e3, 20e3, "us", false),
        ("p99(read) <= 99.1ms", 99e3, 99_100.0, "us", true),
        ("p12.5(read) < 1s", 13e3, 1e6, "us", true),
        ("mean(read) < 51ms", 50_500.0, 51e3, "us", true),
        ("max(read) < 1s", 100e3, 1e6, "us", true),
        ("max < 1s", 500e3, 1e6, "us", true),
        ("max(total) < 1s", 500e3, 1e6, "us", true),
        ("max(read, phase=warm-up) < 1s", 900e3, 1e6, "us", true),
        ("max(read, phase=1) < 1s", 900e3, 1e6, "us", true),
        ("service.p50(read) < 8ms", 7e3, 8e3, "us", true),
        ("queueing.max(read) < 2ms", 3e3, 2e3, "us", false),
        // Where the service time was not kept by itself, it is the latency.
        ("service.max(read, phase=warm-up) < 1s", 900e3, 1e6, "us", true),
        ("lateness.p99 < 1ms", 60.0, 1e3, "us", true),
        ("errors < 5%", 5.0, 5.0, "%", false),
        ("errors <= 5%", 5.0, 5.0, "%", true),
        ("errors(update) < 20%", 10.0, 20.0, "%", true),
        ("errors(update, kind=timeout) < 20%", 5.0, 20.0, "%", true),
        ("failed == 40", 40.0, 40.0, "1", true),
        ("failed(kind=conflict) != 20", 20.0, 20.0, "1", false),
        ("succeeded(read) >= 400", 400.0, 400.0, "1", true),
        ("count > 1_000", 800.0, 1000.0, "1", false),
        ("shed < 10", 24.0, 10.0, "1", false),
        ("unfinished <= 16", 16.0, 16.0, "1", true),
        // 840 came due in the first of two phases of 400 each.
        ("offered >= 99%", 105.0, 99.0, "%", true),
        ("offered(phase=steady) <= 210%", 210.0, 210.0, "%", true),
        ("delivered >= 99%", 800.0 / 840.0 * 100.0, 99.0, "%", false),
        ("rate >= 9_000/m", 760.0 / 4.5, 150.0, "/s", true),
        ("rate(read) < 5_000/s", 400.0 / 4.5, 5000.0, "/s", true),
        ("min(rate) > 50/s", 0.0, 50.0, "/s", false),
        ("max(rate()) <= 100/s", 100.0, 100.0, "/s", true),
        ("mean(succeeded) > 60", 67.5, 60.0, "1", true),
        ("last(count()) < 91", 90.0, 91.0, "1", true),
        ("max(errors) < 10%", 20.0, 10.0, "%", false),
        ("max(p99) < 50ms", 40e3, 50e3, "us", true),
        ("max(p99(read)) < 50ms", 40e3, 50e3, "us", true),
        ("p50(p99(read)) < 50ms", 30e3, 50e3, "us", true),
        ("min(max(read), phase=warm-up) < 1s", 900e3, 1e6, "us", true),
        ("max(host.cpu) < 80%", 60.0, 80.0, "%", true),
        ("mean(host.cpu_percent) < 80%", 40.0, 80.0, "%", true),
        ("last(host.cpu, phase=warm-up) < 80%", 99.0, 80.0, "%", false),
    ] {
        let found = evaluate(text);
        let measured = found.value.unwrap_or_else(|| panic!("{text}: {found:?}"));
        // A histogram is off by a thousandth.
        assert!((measured - value).abs() <= value * 0.001 + 1e-9, "{text}: {measured} instead of {value}");
        assert!((found.limit.expect("always") - limit).abs() < 1e-6, "{text}: {found:?}");
        assert_eq!((found.unit.as_str(), found.passed, found.expression.as_str()), (unit, passed, text));
    }
}

#[test]
fn what_was_not_measured_does_not_hold_and_says_why() {
    for (text, why) in [
        ("p99(count) < 1h", ""),
        ("p99(count) < 1s", "no count succeeded"),
        ("errors(count) < 100%", "no count ended"),
        ("failed(phase=3) == 0", "ended before that phase"),
        ("max(host.pressure_io) < 100%", "could not be sampled"),
        ("max(p99(update)) < 100s", "nothing ended in any second"),
    ] {
        let Ok(_) = condition(text) else {
            assert!(why.is_empty(), "{text}");
            continue;
        };
        let found = evaluate(text);
        assert!(!found.passed && found.value.is_none(), "{text}: {found:?}");
        assert!(found.reason.as_deref().is_some_and(|reason| reason.contains(why)), "{text}: {found:?}");
    }
    let condition = condition("max(rate) < 1/s").expect("valid");
    let (mut phases, histograms, samples) = measured();
    let found = condition.evaluate(&evidence(&phases, &histograms, &Seconds::default()));
    assert_eq!(found.reason.as_deref(), Some("no second was kept"));
    phases[1].duration_seconds = 0.9;
    let seconds = kept(&condition, &samples);
    let found = condition.evaluate(&evidence(&phases, &histograms, &seconds));
    assert_eq!(found.reason.as_deref(), Some("its phases had no whole second"));
}

#[test]
fn a_name_is_first_of_an_operation_then_of_a_metric() {
    // `count` is an operation of this workload, so that its latency is meant; `count()` is the metric.
    assert!(condition("max(count) < 20ms").is_ok());
    assert!(condition("max(count()) < 20").is_ok());
    assert!(condition("min(count()) < 20").is_ok());
    assert!(condition("min(count) < 20").is_err(), "of an operation, whose least latency is not kept");
    assert!(condition("max(rate) < 20/s").is_ok(), "no operation has that name");
}

#[test]
fn only_what_can_fail_for_good_may_end_a_run() {
    for (text, can) in [
        ("p99 < 20ms", true),
        ("errors < 1%", true),
        ("max(host.cpu) < 80%", true),
        ("rate > 20/s", true),
        ("failed < 20", true),
        ("succeeded > 20", false),
        ("failed == 0", false),
        ("shed < 20", false),
        ("unfinished < 20", false),
        ("offered > 20%", false),
        ("delivered > 20%", false),
        ("lateness.p99 < 20ms", false),
        ("min(count()) > 20", true),
    ] {
        assert_eq!(condition(text).expect(text).can_end_a_run(), can, "{text}");
    }
}

/// Expressions that can be written, with every kind of name in every place.
fn expressions() -> impl Strategy<Value = String> {
    let word = prop_oneof!["[a-z][a-z0-9_.-]{0,8}", "\"[a-zµ /(),=<]{1,8}\"", "p[0-9]{1,2}[._][0-9]{1,6}"];
    let key = (word.clone(), word.clone()).prop_map(|(key, value)| format!(", {key} = {value}"));
    let keys = prop::collection::vec(key, 0..3).prop_map(|keys| keys.concat());
    let inner = (word.clone(), word.clone(), keys.clone()).prop_map(|(name, of, keys)| format!("{name}( {of}{keys})"));
    let of = prop_oneof![word.clone(), inner];
    let left = prop_oneof![
        word.clone(),
        word.clone().prop_map(|name| format!("{name} ()")),
        (word, of, keys).prop_map(|(name, of, keys)| format!("{name}({of}{keys})")),
    ];
    let sign = prop::sample::select(Relation::ALL.map(Relation::sign).to_vec());
    let unit = prop::sample::select(Unit::names().chain(["", "µs"]).collect::<Vec<_>>());
    let number = prop_oneof!["[0-9]{1,15}", "[0-9]{1,6}\\.[0-9]{1,8}", "[0-9]{1,3}_[0-9]{3}"];
    (left, sign, number, unit).prop_map(|(left, sign, number, unit)| format!("{left}{sign}{number} {unit}"))
}

proptest! {
    #[test]
    fn what_is_written_out_reads_the_same(text in expressions()) {
        let threshold = Threshold::parse(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let shown = threshold.to_string();
        let again = Threshold::parse(&shown).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&again, &threshold);
        prop_assert_eq!(again.to_string(), shown);
    }

    #[test]
    fn any_text_is_read_or_refused_with_its_place(text in "\\PC{0,60}|[a-z0-9()=<>,.\"%/ _-]{0,60}|(?s).{0,450}") {
        match Threshold::parse(&text) {
            Ok(threshold) => prop_assert!(threshold.resolve(&names(&phases(true))).map_or_else(
                |error| !error.to_string().is_empty(),
                |condition| condition.threshold() == &threshold,
            )),
            Err(error) => prop_assert!(text.trim().get(error.span()).is_some() && error.to_string().lines().count() == 3),
        }
    }

    #[test]
    fn a_name_that_nothing_has_is_refused(word in "[a-z_][a-z0-9_.]{0,11}") {
        let known = OPERATIONS.contains(&word.as_str())
            || word == "total"
            || FUNCTIONS.iter().any(|function| function.name == word)
            || GAUGES.iter().any(|gauge| gauge.name == word || gauge.short == word)
            || Percentile::named(&word).is_some()
            || ["min", "mean", "max", "last", "phase", "kind"].contains(&word.as_str())
            || ["service.", "queueing.", "lateness."].iter().any(|series| word.starts_with(series))
            || phases(true).iter().any(|phase| phase.name == word);
        prop_assume!(!known);
        for unit in Unit::names().chain([""]) {
            for left in [
                word.clone(),
                format!("{word}(read)"),
                format!("p99({word})"),
                format!("max({word})"),
                format!("min({word})"),
                format!("rate({word})"),
                format!("max(p99({word}))"),
                format!("max({word}(read))"),
                format!("service.{word}(read)"),
                format!("p99(read, phase={word})"),
                format!("errors(kind=x{word})"),
                format!("errors({word}=timeout)"),
            ] {
                prop_assert!(condition(&format!("{left} < 1{unit}")).is_err(), "{left} < 1{unit}");
            }
        }
    }
}

#[test]
fn a_plan_says_which_thresholds_end_the_run() {
    let spec = |text: &str| Plan::parse(text).and_then(|plan| Spec::new(&plan, &|_| None));
    let abort = |text: &str| -> Vec<Option<u64>> {
        let spec = spec(&format!("target: 'null:'\nload: {{ rate: 10/s }}\n{text}")).expect(text);
        spec.thresholds.iter().map(|threshold| threshold.abort_after.map(|delay| delay.as_secs())).collect()
    };
    assert_eq!(abort("thresholds: [p99(read) < 20ms]"), [None]);
    assert_eq!(abort("thresholds: [{ expr: errors < 1%, abort_on_fail: true }]"), [Some(5)]);
    assert_eq!(abort("thresholds: [{ expr: errors < 1%, abort_on_fail: true, delay: 2s }]"), [Some(2)]);
    let all = "thresholds: [p99(read) < 20ms, shed == 0, { expr: errors < 1%, abort_on_fail: false }, \
               { expr: rate > 1/s, delay: 9s }]\nabort_on_fail: 3s";
    assert_eq!(abort(all), [Some(3), None, None, Some(9)]);
    for (text, part) in [
        ("thresholds: [{ expr: shed == 0, abort_on_fail: true }]", "`shed == 0` cannot end the run"),
        ("thresholds: [{ expr: errors < 1%, delay: 2s }]", "`delay`"),
        ("thresholds: [{ abort_on_fail: true }]", "`expr`"),
        ("thresholds: [3]", "a threshold is an expression"),
        ("abort_on_fail: 3s", "no threshold"),
        ("thresholds: [p99(raed) < 20ms]", "no operation `raed`"),
        ("thresholds: [max(server.cpu) < 20%]", "inside of the generator"),
        ("thresholds: [max(host.cpu) < 20%]\ncollect: [server]", "does not collect `host`"),
        ("thresholds: [p99 < 20ms, p99 <]", "not a number"),
    ] {
        let error = spec(&format!("target: 'null:'\n{text}")).err().unwrap_or_else(|| panic!("{text} is taken"));
        assert!(error.kind() == store::ErrorKind::Config && error.to_string().contains(part), "{text}: {error}");
    }
    let remote = "target: 'postgres://lab@192.0.2.1/lab'\nthresholds: [max(server.cpu) < 20%]";
    assert!(spec(remote).err().is_some_and(|error| error.to_string().contains("another host")));
}

#[test]
fn chance_is_no_load_that_was_not_offered() {
    let mut planned = phases(true);
    for phase in &mut planned {
        let rate = Rate::per_second(100.0).expect("positive");
        phase.mode = runner::Mode::Open { from: rate, to: rate, arrivals: Arrivals::Poisson };
    }
    let threshold = Threshold::parse("offered(phase=steady) >= 99%").expect("valid");
    let condition = threshold.resolve(&names(&planned)).expect("valid");
    let (mut phases, histograms, _) = measured();
    // 400 arrivals are expected, give or take 80.
    for (scheduled, value) in [(400, 100.0), (321, 100.0), (479, 100.0), (200, 70.0), (600, 130.0)] {
        phases[1].accounting.scheduled = scheduled;
        let found = condition.evaluate(&evidence(&phases, &histograms, &Seconds::default()));
        assert_eq!((found.value, found.passed), (Some(value), value >= 99.0), "{scheduled}");
    }
}
