//! What Prometheus is told of runs, in both forms that it reads.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::experiments::{await_status, create, eventually, null_plan, run};
use crate::support::Lab;

/// A page as a scraper reads it: the kind of each family, and the value of each series by its name and labels as written.
struct Scraped {
    families: BTreeMap<String, String>,
    series: BTreeMap<String, f64>,
}

const PLAIN: &str = "text/plain";
const OPEN: &str = "application/openmetrics-text";

/// Asks for the page in a form, and reads it as strictly as the formats have it: families whole and announced, series once.
fn scrape(lab: &Lab, form: &str) -> Scraped {
    let answer = lab.get("/metrics").header("Accept", form).send().expect(200);
    assert!(answer.header("content-type").is_some_and(|value| value.starts_with(form)), "{:?}", answer.headers);
    let page = String::from_utf8(answer.body).expect("text");
    let body = match page.strip_suffix("# EOF\n") {
        Some(body) if form == OPEN => body,
        None if form == PLAIN => page.as_str(),
        _ => panic!("the wrong end: {page}"),
    };
    let (mut scraped, mut family) = (Scraped { families: BTreeMap::new(), series: BTreeMap::new() }, String::new());
    let mut helped = BTreeSet::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help");
            assert!(!help.is_empty() && helped.insert(name.to_owned()), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a kind");
            assert!(helped.contains(name), "{line}");
            assert_eq!(scraped.families.insert(name.to_owned(), kind.to_owned()), None, "{line}");
            name.clone_into(&mut family);
        } else {
            // Labels of ours have no spaces in them.
            let (series, value) = line.split_once(' ').expect("a value");
            let name = series.split('{').next().expect("a name");
            let rest = name.strip_prefix(&*family).unwrap_or_else(|| panic!("{line} among {family}"));
            let endings: &[&str] = match scraped.families[&family].as_str() {
                "counter" if form == OPEN => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(endings.contains(&rest), "{line}");
            let value = value.split(" # ").next().expect("a value").parse().expect("a number");
            assert_eq!(scraped.series.insert(series.to_owned(), value), None, "{line}");
        }
    }
    scraped
}

impl Scraped {
    fn of_runs(&self) -> Vec<&String> {
        self.series.keys().filter(|series| series.starts_with("storelab_run_")).collect()
    }
}

#[test]
fn a_run_that_goes_on_has_series_which_go_with_it() {
    let lab = Lab::open();
    let mut plan = null_plan(3);
    plan["config"]["target"] = json!("null:?latency=2ms");
    let id = create(&lab, &plan);
    assert!(scrape(&lab, PLAIN).of_runs().is_empty());
    let run = run(&lab, &id);
    let labels = format!("run=\"{run}\",workload=\"ycsb:c\",driver=\"null\"");
    let succeeded = format!("storelab_run_operations_total{{{labels},outcome=\"succeeded\"}}");
    let mut seen = None;
    eventually("a second has ended", || {
        let scraped = scrape(&lab, PLAIN);
        let is_there = scraped.series.get(&succeeded).is_some_and(|count| *count > 0.0);
        seen = is_there.then_some(scraped);
        seen.is_some()
    });
    let seen = seen.expect("it was seen");
    let value = |name: &str, more: &str| seen.series[&format!("{name}{{{labels}{more}}}")];
    let count = |name: &str, more: &str| value(name, more) as u64;
    let succeeded = count("storelab_run_operations_total", ",outcome=\"succeeded\"");
    let ended = succeeded + count("storelab_run_operations_total", ",outcome=\"failed\"");
    assert_eq!(count("storelab_run_latency_seconds_count", ""), succeeded);
    assert_eq!(count("storelab_run_latency_seconds_bucket", ",le=\"+Inf\""), succeeded);
    assert_eq!(count("storelab_run_latency_seconds_bucket", ",le=\"0.001\""), 0, "the store takes two milliseconds");
    assert!(value("storelab_run_latency_seconds_sum", "") >= 0.002 * succeeded as f64);
    assert!(count("storelab_run_offered_operations_total", "") >= ended);
    let planned = count("storelab_run_planned_operations_total", "");
    assert!(planned >= 50 && planned.is_multiple_of(50), "50 a second are planned: {planned}");
    assert_eq!(seen.families["storelab_run_latency_seconds"], "histogram");
    // Of the target there is the driver's name, and nothing of its URL.
    assert!(seen.series.keys().all(|series| !series.contains("latency=")), "{:?}", seen.of_runs());
    assert!(seen.of_runs().len() <= 24, "{:?}", seen.of_runs());
    let open = scrape(&lab, OPEN);
    assert_eq!(open.families["storelab_http_requests"], "counter");
    await_status(&lab, &id, "completed");
    eventually("the series are gone", || scrape(&lab, OPEN).of_runs().is_empty());
    assert_eq!(scrape(&lab, PLAIN).series["storelab_runs_without_series"] as u64, 0);
}
