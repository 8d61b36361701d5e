//! Thresholds as a user meets them: flags and plans, tables, JUnit files, runs that end early.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use experiment::{FUNCTIONS, GAUGES, GaugeSource, Quantity};
use results::Results;
use serde_json::Value;

use crate::support::{Lab, assert_exact, text};

#[test]
fn a_name_that_nothing_has_is_refused_before_anything_is_reached() {
    let lab = Lab::new();
    // Nobody listens there: who looked would have said so, with another code.
    let url = "redis://127.0.0.1:1";
    let plan = lab.write(
        "plan.yaml",
        &format!("target: '{url}'\nthresholds:\n  - errors < 1%\n  - p99(read, phase=stedy) < 20ms\n"),
    );
    for (arguments, parts) in [
        (
            &["run", url, "--threshold", "p99(raed) < 20ms"][..],
            &["no operation `raed`", "\n  | p99(raed) < 20ms\n  |     ^^^^\n", "hint: did you mean `read`?"][..],
        ),
        (
            &["run", url, "--threshold", "p99(read) < 20%"],
            &["|             ^^^\n", "hint: write a limit such as 800us"],
        ),
        (&["run", url, "--threshold", "max(server.cpu) < 80%", "--collect", "host"], &["`server`", "hint:"]),
        (&["run", url, "--abort-on-fail"], &["no threshold", "hint:"]),
        (&["run", url, "--abort-on-fail=soon", "--threshold", "p99 < 1s"], &["soon"]),
        (&["run", text(&plan)], &["no phase `stedy`", "hint: did you mean `steady`?"]),
    ] {
        let ended = lab.run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        for part in parts {
            assert!(ended.stderr.contains(part), "{arguments:?} does not say `{part}`: {}", ended.stderr);
        }
    }
}

#[test]
fn values_and_verdicts_are_in_the_record_the_tables_and_the_junit_file() {
    let lab = Lab::new();
    let junit = lab.path("ci/junit.xml");
    let plan = lab.write(
        "plan.yaml",
        "name: with thresholds
target: 'null:?latency=2ms'
workload: ycsb:c
load: { phases: [ { for: 1s, record: false }, { for: 2s, name: steady } ], sessions: 8 }
thresholds:
  - p50(read, phase=steady) >= 2ms
  - { expr: rate(total) > 1_000_000/s, abort_on_fail: false }
  - max(p99(read)) < 10m
",
    );
    let broken = lab.run(&["run", text(&plan)]);
    assert!(broken.code == Some(2) && broken.stderr.contains("no unit `m`"), "{broken:?}");
    let fixed = std::fs::read_to_string(&plan).expect("ours").replace("10m", "600s");
    std::fs::write(&plan, fixed).expect("ours");
    let ended = lab.run(&[
        "run",
        text(&plan),
        "--threshold",
        "errors <= 0%",
        "--threshold",
        "max(generator.connected) < 9",
        "--junit",
        text(&junit),
    ]);
    let words: Vec<_> = ended.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(words, ["throughput", "p99", "report"], "thresholds are talk");
    let shown = lab.run(&["show", "last"]);
    for said in [&ended.stderr, &shown.stdout] {
        let line =
            |expression: &str| said.lines().find(|line| line.contains(expression)).unwrap_or_default().to_owned();
        assert!(line("p50(read, phase=steady) >= 2ms").contains("passed"), "{said}");
        assert!(line("rate(total) > 1_000_000/s").contains("FAILED"), "{said}");
        assert!(line("errors <= 0%").contains("0%"), "{said}");
    }
    let record: Value = serde_json::from_str(&lab.run(&["show", "last", "--json"]).stdout).expect("JSON");
    assert_eq!(ended.code, Some(99), "{ended:?}");
    let thresholds = record["verdict"]["thresholds"].as_array().expect("a list");
    let passed: Vec<_> = thresholds.iter().map(|threshold| threshold["passed"].as_bool().expect("a flag")).collect();
    assert_eq!(passed, [true, false, true, true, true], "{thresholds:?}");
    assert!(thresholds[0]["value"].as_f64().is_some_and(|value| value >= 2_000.0 * 0.999), "{thresholds:?}");
    assert_eq!(
        (&thresholds[0]["unit"], &thresholds[0]["limit"], &thresholds[0]["aborted_at_seconds"]),
        (&"us".into(), &2_000.0.into(), &Value::Null)
    );
    let xml = std::fs::read_to_string(&junit).expect("its folder was made too");
    assert!(xml.contains("<testsuite name=\"with thresholds\""), "{xml}");
    assert_eq!(xml.matches("<failure type=\"threshold\"").count(), 1, "{xml}");
}

#[test]
fn a_threshold_ends_the_run_keeps_what_was_measured_and_takes_the_data_out() {
    let lab = Lab::new();
    let url = format!("sqlite:{}", text(&lab.path("mine.db")));
    let started = Instant::now();
    let ended = lab.run(&[
        "run",
        &url,
        "--set",
        "records=500",
        "--for",
        "10m",
        "--warm-up",
        "1s",
        "--sessions",
        "2",
        "--threshold",
        "errors < 50%",
        "--threshold",
        "rate(total) < 1/s",
        "--abort-on-fail=1s",
        "--json",
    ]);
    assert!(started.elapsed() < Duration::from_mins(2), "{:?}", started.elapsed());
    let record = ended.record();
    assert_eq!(ended.code, Some(99), "{ended:?}");
    assert_exact(&record);
    assert_eq!(record["status"], "interrupted");
    let thresholds = &record["verdict"]["thresholds"];
    assert_eq!((&thresholds[0]["passed"], &thresholds[1]["passed"]), (&true.into(), &false.into()));
    assert!(thresholds[0]["aborted_at_seconds"].is_null(), "{thresholds}");
    // A second of warm-up, a second of delay; seconds that the machine was too busy for come on top.
    assert!(thresholds[1]["aborted_at_seconds"].as_f64().is_some_and(|seconds| seconds >= 2.0), "{thresholds}");
    assert!(record["phases"][1]["accounting"]["succeeded"].as_u64().is_some_and(|count| count > 0));
    assert!(lab.run(&["show", "last"]).stdout.contains("FAILED: ended the run after"));
    let left = lab.run(&["clean", &url]);
    assert!(left.stdout.is_empty(), "its data were taken out: {left:?}");
}

#[test]
fn every_gauge_of_a_run_can_be_named() {
    let lab = Lab::new();
    let server = lab.server("redis");
    let url = server.as_ref().map_or("memory:", |server| server.url());
    let store = lab.path("results.db");
    let ended = lab.run(&["run", url, "--set", "records=100", "--for", "2s", "--store", text(&store)]);
    assert!(matches!(ended.code, Some(0 | 4)), "{ended:?}");
    let mut results = Results::open(&results::Location::File(store)).expect("it opens");
    let mut seen = BTreeSet::new();
    let run = results.find("last").expect("it is kept");
    results.each_sample(run, |sample| seen.extend(sample.gauges.into_keys())).expect("its samples are read");
    let known: BTreeSet<_> = GAUGES.iter().map(|gauge| gauge.name).collect();
    assert!(seen.is_subset(&known), "{:?} cannot be named", seen.difference(&known));
    let of = |source| GAUGES.iter().filter(move |gauge| gauge.source == source).map(|gauge| gauge.name);
    let expected = of(GaugeSource::Generator).chain(of(GaugeSource::Server).filter(|_| server.is_some()));
    for name in expected.chain(["host.cpu_percent"]) {
        assert!(seen.contains(name), "{name} was not sampled");
    }
}

#[test]
fn the_page_lists_every_metric_and_gauge() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/statistics/thresholds.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let unit = |quantity: Quantity| match quantity {
        Quantity::Count => "a plain number",
        other => other.unit(),
    };
    for function in FUNCTIONS {
        let of = if function.of_operations { "(read)" } else { "" };
        let row = format!("| `{}{of}` | {} | {} |", function.name, unit(function.quantity()), function.summary);
        assert!(page.contains(&row), "docs/statistics/thresholds.md lacks {row}");
    }
    for gauge in GAUGES {
        let name = format!("`{}`", gauge.name);
        assert!(page.contains(&name), "docs/statistics/thresholds.md lacks {name}");
    }
}
