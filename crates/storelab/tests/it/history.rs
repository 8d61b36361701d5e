//! A metric over many runs, of a server whose latency is known.

use serde_json::Value;

use crate::support::Lab;

/// Runs on each side of the change.
const RUNS: usize = 6;

fn run(lab: &Lab, latency: &str) {
    let target = format!("null:?latency={latency}");
    let ended = lab.run(&[
        "run",
        &target,
        "--name",
        "nightly",
        "--workload",
        "ycsb:c",
        "--set",
        "records=100",
        "--sessions",
        "4",
        "--operations",
        "40",
        "--quiet",
    ]);
    // Whether the generator had the machine to itself does not matter here.
    assert!(matches!(ended.code, Some(0 | 4)), "{ended:?}");
}

#[test]
fn a_server_that_became_slower_is_found_where_it_did() {
    let lab = Lab::new();
    for latency in ["5ms", "60ms"] {
        (0..RUNS).for_each(|_| run(&lab, latency));
    }
    let ended = lab.run(&["history", "nightly", "--all", "--metric", "p50(read)", "--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let history = ended.record();
    assert_eq!(history["schema"], "storelab.history/1");
    assert_eq!(history["points"].as_array().map(Vec::len), Some(2 * RUNS), "{history}");
    let places: Vec<_> =
        history["change_points"].as_array().expect("a list").iter().map(|point| point["index"].as_u64()).collect();
    assert!(places.contains(&Some(RUNS as u64)), "{history}");
    // What was planted is twelve times the latency: less than five times is what else this machine did.
    let great =
        lab.run(&["history", "nightly", "--all", "--metric", "p50(read)", "--min-change", "400%", "--json"]).record();
    let [point] = great["change_points"].as_array().expect("a list").as_slice() else { panic!("one: {great}") };
    assert_eq!(point["index"].as_u64(), Some(RUNS as u64), "{great}");
    let figure = |name: &str| point[name].as_f64().expect("a number");
    assert!(figure("before") >= 5_000.0 && figure("after") >= 60_000.0 && figure("p_value") < 0.001, "{great}");

    let text = lab.run(&["history", "last", "--all", "--metric", "p50(read)", "--min-change", "400%"]);
    assert_eq!(text.code, Some(0), "{text:?}");
    for part in ["p50(read) of nightly: 12 runs", "▲", "1 change point (", "worse", "<0.0001"] {
        assert!(text.stdout.contains(part), "{part}: {text:?}");
    }
    let few = lab.run(&["history", "nightly", "--all", "--limit", "3"]);
    assert_eq!(few.code, Some(0), "{few:?}");
    assert!(few.stdout.contains("no change points") && few.stdout.contains("only 3 runs: a change"), "{few:?}");
}

#[test]
fn what_there_is_no_history_of_is_a_usage_error() {
    let lab = Lab::new();
    run(&lab, "100us");
    for (arguments, message, hint) in [
        (["nightli", "p99"], "there is no run `nightli`", "did you mean `nightly`?"),
        (["nightly", "p99(reed)"], "no run of `nightly` has an operation `reed`", "did you mean `read`?"),
        (["nightly", "pp99"], "there is no metric `pp99`", "write p99"),
    ] {
        let ended = lab.run(&["history", arguments[0], "--all", "--metric", arguments[1]]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        assert!(ended.stderr.contains(message) && ended.stderr.contains(hint), "{ended:?}");
    }
    let document = lab.run(&["history", "nightly", "--all", "--json"]);
    let history: Value = document.record();
    assert_eq!(history["points"].as_array().map(Vec::len), Some(1), "{history}");
}
