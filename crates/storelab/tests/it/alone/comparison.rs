//! `compare`, `run --baseline --repeat` and `calibrate`, on a store whose service time is known.

use serde_json::Value;

use crate::support::{Lab, ProcessorTime, skipped, text};

const SCHEMA: &str = include_str!("../../../../../docs/schema/comparison-1.schema.json");

/// Seconds that a run must have for its figures to be judged.
const JUDGED: &[&str] = &["--for", "5s", "--warm-up", "500ms", "--sessions", "8", "--workload", "ycsb:c", "--quiet"];

/// The words of a side's metrics of all operations together.
fn word<'a>(comparison: &'a Value, side: u64, metric: &str) -> &'a str {
    let metrics = comparison["metrics"].as_array().expect("metrics");
    let found = metrics
        .iter()
        .find(|found| found["side"] == side && found["operation"] == "total" && found["metric"] == metric);
    found.unwrap_or_else(|| panic!("{metric} of {side}: {comparison}"))["change_word"].as_str().expect("a word")
}

fn assert_published(comparison: &Value) {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let faults: Vec<_> =
        validator.iter_errors(comparison).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
    assert!(faults.is_empty(), "{faults:?}");
}

#[test]
fn identical_runs_show_no_change_and_a_slower_one_is_slower() {
    let lab = Lab::alone();
    // Long enough that what else the machine does is little beside it.
    for (name, target) in [("a", "null:?latency=50ms"), ("same", "null:?latency=50ms"), ("slow", "null:?latency=60ms")]
    {
        let ended = lab.run(&[&["run", target, "--name", name], JUDGED].concat());
        assert!(matches!(ended.code, Some(0 | 4)), "{ended:?}");
    }
    // The noise is that of a machine where tests run, on which only the middle of the latencies can be relied on. What the
    // words follow from is tested on series without it.
    let compare = |more: &[&str]| {
        lab.run(&[&["compare", "a", "same", "slow", "--noise", "5%", "--accept-invalid"], more].concat())
    };
    let ended = compare(&["--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let comparison: Value = serde_json::from_str(&ended.stdout).expect("one document");
    assert_published(&comparison);
    assert_eq!(word(&comparison, 1, "p50"), "no_significant_change", "{comparison}");
    assert_eq!(word(&comparison, 2, "p50"), "slower", "{comparison}");
    assert_eq!(word(&comparison, 2, "errors"), "no_significant_change");
    let target = comparison["differences"].as_array().expect("a list").iter().find(|found| found["what"] == "target");
    assert_eq!(target.expect("it differs")["values"][2], "null:?latency=60ms");

    let ended = compare(&[]);
    assert!(ended.stdout.contains("slow is slower than a") && ended.code == Some(0), "{ended:?}");
    assert!(ended.stdout.contains("95 % INTERVAL") && ended.stdout.contains("no significant change"), "{ended:?}");
    let ended = compare(&["--markdown", "-", "--fail-on", "slower"]);
    assert!(ended.stdout.contains("**slow is slower than a") && ended.code == Some(99), "{ended:?}");
    let within_noise = ["compare", "a", "slow", "--noise", "99%", "--accept-invalid", "--fail-on", "slower"];
    assert_eq!(lab.run(&within_noise).code, Some(0));

    // From a copy of the store, as from another machine.
    let copy = lab.path("copy.db");
    std::fs::copy(lab.path("results.db"), &copy).expect("copied");
    let ended = lab.run(&["compare", &format!("{}:a", text(&copy)), "slow", "--json", "--accept-invalid"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn runs_that_did_not_do_the_same_are_refused_with_what_differs() {
    let lab = Lab::new();
    for (name, sessions, records) in [("a", "2", "records=100"), ("b", "3", "records=200")] {
        let load = ["--for", "4s", "--warm-up", "0s", "--quiet", "--sessions", sessions, "--set", records];
        let ended = lab.run(&[&["run", "null:?latency=5ms", "--name", name], &load[..]].concat());
        assert!(matches!(ended.code, Some(0 | 4)), "{ended:?}");
    }
    let ended = lab.run(&["compare", "a", "b"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for part in ["sessions: 2 and 3", "parameter records: 100 and 200", "hint:", "--force"] {
        assert!(ended.stderr.contains(part), "{part}: {ended:?}");
    }
    let ended = lab.run(&["compare", "a", "b", "--force", "--accept-invalid"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("warning: not the same: sessions: 2 and 3"), "{ended:?}");

    let record = lab.run(&["show", "a", "--json"]).stdout;
    let record = lab.write("a.json", &record);
    for (arguments, part) in [
        (&["compare", text(&record), "b"][..], "without its seconds"),
        (&["run", "null:", "--baseline", text(&record)], "without its seconds"),
        (&["compare", "a", "a"], "named twice"),
        (&["compare", "a", "nobody"], "nobody"),
        (&["run", "null:", "--force"], "nothing to compare"),
        (&["compare", "missing.db:a", "b"], "no results store"),
    ] {
        let ended = lab.run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(part) && ended.stderr.contains("hint:"), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn repeats_are_made_in_turns_and_compared_in_pairs() {
    const TRIES: usize = 3;
    let lab = Lab::new();
    let plan = |latency: &str| {
        format!("target: 'null:?latency={latency}'\nworkload: ycsb:c\nload: {{ sessions: 4, for: 4s, warm_up: 0s }}\n")
    };
    let before = lab.write("before.yaml", &format!("name: before\n{}", plan("20ms")));
    let after = lab.write("after.yaml", &format!("name: after\n{}", plan("40ms")));
    let arguments = ["run", text(&after), "--baseline", text(&before), "--repeat", "2", "--seed", "7", "--json"];
    let is_told = (0..TRIES).any(|_| {
        let time = ProcessorTime::so_far();
        let ended = lab.run(&arguments);
        assert!(matches!(ended.code, Some(0 | 4)), "{ended:?}");
        let comparison: Value = serde_json::from_str(&ended.stdout).expect("one document");
        assert_published(&comparison);
        let method = comparison["method"].as_str().expect("words");
        assert!(method.contains("2 and 2 runs a side, in pairs"), "{method}");
        let lines = ended.stderr.lines().filter(|line| line.starts_with("run ")).count();
        assert_eq!(lines, 4, "one line a run: {}", ended.stderr);
        // Where other guests had the processors, runs of the same plan differ by as much.
        let is_slower = word(&comparison, 1, "p50") == "slower";
        assert!(is_slower || time.was_hindered(), "{comparison}");
        is_slower
    });
    if !is_told {
        skipped("a target that is twice as slow, since others had the processors");
    }
    // The newest first: A B B A.
    let runs: Value = serde_json::from_str(&lab.run(&["runs", "--json"]).stdout).expect("one document");
    let found = names(&runs);
    assert_eq!(found[..4], ["before", "after", "after", "before"]);

    let ended = lab.run(&["run", "memory:", "--repeat", "2", "--for", "200ms", "--warm-up", "0s", "--quiet"]);
    assert!(matches!(ended.code, Some(0 | 4)), "{ended:?}");
    assert!(ended.stdout.contains("2 runs of") && ended.stdout.contains("SPREAD"), "{ended:?}");
}

/// The names in a list of runs.
fn names(runs: &Value) -> Vec<&str> {
    let list = runs.as_array().expect("a list");
    list.iter().map(|run| run["name"].as_str().expect("a name")).collect()
}

#[test]
fn what_a_calibration_measures_is_the_noise_of_later_comparisons() {
    let lab = Lab::new();
    let load = ["--for", "4s", "--warm-up", "0s", "--sessions", "4", "--workload", "ycsb:c", "--quiet"];
    let ended = lab.run(&[&["calibrate", "null:?latency=5ms", "--pairs", "5", "--json"], &load[..]].concat());
    assert!(matches!(ended.code, Some(0 | 4)), "{ended:?}");
    let calibration: Value = serde_json::from_str(&ended.stdout).expect("one document");
    assert_eq!((&calibration["pairs"], &calibration["subject"]["driver"]), (&5.into(), &"null".into()));
    let differences = calibration["metrics"]["p50"]["differences"].as_array().expect("a list");
    let greatest = differences.iter().map(|found| found.as_f64().expect("a number").abs()).fold(0.0, f64::max);
    let noise = calibration["metrics"]["p50"]["noise"].as_f64().expect("a number");
    assert!(differences.len() == 5 && (noise - greatest).abs() < 1e-9, "{calibration}");

    let runs: Value = serde_json::from_str(&lab.run(&["runs", "--json"]).stdout).expect("one document");
    assert_eq!(names(&runs).len(), 10);
    let list = runs.as_array().expect("a list");
    let id = |place: usize| list[place]["id"].as_str().expect("an id");
    let ended = lab.run(&["compare", id(1), id(0), "--json", "--accept-invalid"]);
    let comparison: Value = serde_json::from_str(&ended.stdout).expect("one document");
    let method = comparison["method"].as_str().expect("words");
    assert!(method.contains("by 5 pairs of identical runs of ycsb:c on null"), "{method}");
    let p50 = comparison["metrics"].as_array().expect("metrics").iter().find(|found| found["metric"] == "p50");
    let used = p50.expect("it is there")["noise"].as_f64().expect("a number");
    assert!((used - noise.max(0.005)).abs() < 1e-9, "{used} {noise}");
}
