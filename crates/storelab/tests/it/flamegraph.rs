//! Flame graphs from the command line to the file: of a server, of the program itself, and where there can be none.

use std::process::Command;

use serde_json::Value;

use crate::support::{Lab, skipped};

/// Whether `perf` works here at all, asked of itself.
fn perf_works() -> bool {
    let tried = Command::new("perf").args(["record", "--quiet", "--output", "/dev/null", "--", "true"]).output();
    let works = tried.is_ok_and(|tried| tried.status.success());
    if !works {
        skipped("flame graphs: perf is not installed, or may not look");
    }
    works
}

fn profile(record: &Value, of: &str) -> Value {
    let profiles = record["profiles"].as_array().expect("a list");
    profiles.iter().find(|profile| profile["of"] == of).unwrap_or_else(|| panic!("{of} is not in {profiles:?}")).clone()
}

fn kept(lab: &Lab, file: &str, of: &str) -> String {
    let path = lab.path(file);
    let ended = lab.run(&["report", "last", &format!("--flamegraph={of}"), "-o", path.to_str().expect("plain")]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    std::fs::read_to_string(path).expect("it was written")
}

#[test]
fn a_run_keeps_the_flame_graphs_of_its_server_and_of_itself() {
    if !perf_works() {
        return;
    }
    let lab = Lab::new();
    let Some(server) = lab.server("redis") else { return };
    let run = ["run", server.url(), "--workload", "ycsb:c", "--set", "records=1000", "--for", "2s", "--sessions", "4"];
    let collect = ["--collect", "host,server,flamegraph,flamegraph-generator", "--json", "--quiet"];
    let ended = lab.run(&[&run[..], &collect[..]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let record = ended.record();
    for of in ["server", "generator"] {
        let profile = profile(&record, of);
        assert_eq!(profile["reason"], Value::Null, "{profile}");
        assert!(profile["samples"].as_u64().is_some_and(|samples| samples > 0), "{profile}");
        assert!(!profile["hottest"].as_array().expect("a list").is_empty(), "{profile}");
        let svg = kept(&lab, "flame.svg", of);
        assert!(svg.starts_with("<?xml") && svg.contains("</svg>"), "{of}");
        let folded = kept(&lab, "flame.folded", of);
        let samples = |line: &str| line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok());
        let sampled: Option<u64> = folded.lines().map(samples).sum();
        assert_eq!(sampled, profile["samples"].as_u64(), "each line is a stack and how often it was seen");
    }
    let html = lab.path("report.html");
    assert_eq!(lab.run(&["report", "last", "-o", html.to_str().expect("plain")]).code, Some(0));
    let html = std::fs::read_to_string(html).expect("it was written");
    assert!(html.contains("download=\"flamegraph-server.svg\"") && html.contains("data:image/svg+xml;base64,"));
}

#[test]
fn what_cannot_be_profiled_is_refused_before_the_run() {
    let lab = Lab::new();
    for (arguments, words) in [
        (&["run", "memory:", "--collect", "flamegraph"][..], ["inside of the generator", "flamegraph_generator"]),
        (&["run", "redis://192.0.2.1", "--collect", "flamegraph"][..], ["another host", "run where the server runs"]),
    ] {
        let ended = lab.run(arguments);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        for word in words {
            assert!(ended.stderr.contains(word), "{word} is missing: {ended:?}");
        }
    }
    // Without perf, whatever this machine has.
    let mut command = lab.command(&["run", "memory:", "--collect", "flamegraph-generator", "--for", "1s"]);
    let ended =
        crate::support::Ended::of(command.env("PATH", lab.path("nothing")).output().expect("the program starts"));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("perf is not installed") && ended.stderr.contains("hint: install it"), "{ended:?}");
    assert_eq!(lab.run(&["runs"]).stdout.matches("memory").count(), 0, "nothing was started");
}

#[test]
fn a_run_without_one_says_how_to_get_one() {
    let lab = Lab::new();
    let ended = lab.run(&["run", "memory:", "--operations", "100", "--quiet"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended = lab.run(&["report", "last", "--flamegraph"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.stderr.contains("no flame graph of the server")
            && ended.stderr.contains("--collect host,server,flamegraph")
    );
}
