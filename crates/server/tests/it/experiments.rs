//! Experiments and their runs: shapes of the description, what outlives a request, turns, leases, cancellation, what is refused.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use server::{Caps, Settings};

use crate::support::{Answer, Lab};

/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_mins(1);

/// A run of a store that does nothing, at a rate that costs nothing.
pub(crate) fn null_plan(seconds: u32) -> Value {
    json!({
        "name": "null", "database_type": "null",
        "config": {
            "workload": "ycsb:c", "settings": { "records": 10 }, "target": "null:?latency=1ms", "collect": [],
            "load": { "rate": "50/s", "for": format!("{seconds}s"), "sessions": 2, "workers": 1, "warm_up": "0s" },
        },
    })
}

/// Makes an experiment and returns its id.
pub(crate) fn create(lab: &Lab, body: &Value) -> String {
    let made = lab.post("/api/v1/experiments", body).send().expect(201);
    made.json()["id"].as_str().expect("an id").to_owned()
}

/// Runs an experiment and returns the run's id.
pub(crate) fn run(lab: &Lab, experiment: &str) -> String {
    let accepted = lab.ask("POST", &format!("/api/v1/experiments/{experiment}/run")).send().expect(202);
    accepted.json()["run_id"].as_str().expect("an id").to_owned()
}

pub(crate) fn show(lab: &Lab, experiment: &str) -> Value {
    lab.get(&format!("/api/v1/experiments/{experiment}")).send().expect(200).json()
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn await_status(lab: &Lab, experiment: &str, wanted: &str) -> Value {
    let mut found = Value::Null;
    eventually(wanted, || {
        found = show(lab, experiment);
        found["status"] == wanted
    });
    found
}

fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<_> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn an_experiment_has_the_shapes_of_the_description_from_its_creation_to_its_results() {
    let lab = Lab::open();
    let config = json!({ "rows": 200, "operations": ["insert", "select"] });
    let body = json!({ "name": "SQLite Insert Benchmark", "database_type": "sqlite", "config": config });
    let made = lab.post("/api/v1/experiments/", &body).send().expect(201);
    let created = made.json();
    assert_eq!(names(&created), ["config", "created_at", "database_type", "id", "name", "results", "status"]);
    assert_eq!(
        (&created["status"], &created["results"], &created["config"]),
        (&json!("pending"), &Value::Null, &config)
    );
    let id = created["id"].as_str().expect("an id");
    assert_eq!(made.header("location"), Some(format!("/api/v1/experiments/{id}").as_str()));
    let accepted = lab.ask("POST", &format!("/api/v1/experiments/{id}/run")).send().expect(202).json();
    assert_eq!((names(&accepted), &accepted["status"]), (vec!["id", "run_id", "status"], &json!("queued")));
    let done = await_status(&lab, id, "completed");
    let results = &done["results"];
    assert_eq!(names(results), ["benchmark_results", "performance_metrics"]);
    assert_eq!(names(&results["benchmark_results"]), ["insert", "select"]);
    let insert = &results["benchmark_results"]["insert"];
    assert_eq!(names(insert), ["rows_inserted", "rows_per_second", "time_seconds"]);
    assert_eq!(insert["rows_inserted"], 200);
    let select = &results["benchmark_results"]["select"];
    assert_eq!(names(select), ["avg_time_seconds", "max_time_seconds", "min_time_seconds", "queries_executed"]);
    let metrics = &results["performance_metrics"];
    assert_eq!(
        names(metrics),
        ["cpu_percent", "duration_seconds", "latency_ms", "memory_mb", "ops_per_second", "total_queries"]
    );
    assert_eq!(names(&metrics["latency_ms"]), ["avg", "p50", "p95", "p99"]);
    assert_eq!(metrics["total_queries"], 400);
    let run = accepted["run_id"].as_str().expect("an id");
    let record = lab.get(&format!("/api/v1/runs/{run}")).send().expect(200).json();
    assert_eq!((&record["schema"], &record["id"]), (&json!("storelab.run/1"), &json!(run)));
    assert_eq!(metrics["ops_per_second"], record["throughput_per_second"]);
    assert_eq!(metrics["duration_seconds"], record["duration_seconds"]);
    let p99 = record["total"]["latency_us"]["p99"].as_f64().expect("a number") / 1e3;
    assert_eq!(metrics["latency_ms"]["p99"].as_f64(), Some(p99));
    let listed = lab.get("/api/v1/experiments/").send().expect(200).json();
    assert_eq!(listed["items"][0], done);
}

#[test]
fn what_is_wrong_is_refused_with_its_field_and_a_remedy() {
    let lab = Lab::open();
    let with =
        |database_type: &str, config: Value| json!({ "name": "x", "database_type": database_type, "config": config });
    let prometheus = |asked: Value| with("sqlite", json!({ "collect": ["prometheus"], "prometheus": asked }));
    for (body, field, remedy) in [
        (with("postgers", json!({})), "database_type", "did you mean `postgres`?"),
        (with("sqlite", json!({ "rows": 0 })), "config.rows", "from 1 to"),
        (with("sqlite", json!({ "rows": -1 })), "config.rows", ""),
        (with("sqlite", json!({ "rows": u64::MAX })), "config.rows", "from 1 to"),
        (with("sqlite", json!({ "warmup_rows": u64::MAX })), "config.warmup_rows", "from 0 to"),
        (with("sqlite", json!({ "warmup_operations": u64::MAX })), "config.warmup_operations", "from 0 to"),
        (with("sqlite", json!({ "concurrent_users": 0 })), "config.concurrent_users", "from 1 to"),
        (with("sqlite", json!({ "concurrent_users": 4_000_000 })), "config.concurrent_users", "from 1 to"),
        (with("sqlite", json!({ "steady_state_duration": 0 })), "config.steady_state_duration", "over 0"),
        (with("sqlite", json!({ "steady_state_duration": 1e300 })), "config.steady_state_duration", "at most"),
        (with("sqlite", json!({ "priority": i64::MIN })), "config.priority", ""),
        (with("sqlite", json!({ "priority": 2_147_483_648_u64 })), "config.priority", ""),
        (with("sqlite", json!({ "data_size": "huge" })), "config.data_size", ""),
        (
            with("sqlite", json!({ "operations": ["insert", "selekt"] })),
            "config.operations[1]",
            "did you mean `select`?",
        ),
        (with("sqlite", json!({ "operations": ["sortedset"] })), "config.operations[0]", "redis"),
        (with("sqlite", json!({ "operations": [] })), "config.operations", "leave the field out"),
        (with("sqlite", json!({ "operations": "insert" })), "config.operations", ""),
        (with("sqlite", json!({ "tarket": "x" })), "config.tarket", ""),
        (with("sqlite", json!({ "on_restart": "again" })), "config.on_restart", ""),
        (
            with("null", json!({ "on_restart": "resume", "load": { "find": { "rate": {}, "under": "p99 < 1ms" } } })),
            "config.on_restart",
            "`rerun`",
        ),
        (with("sqlite", json!({ "collect": ["prometheus"] })), "config.prometheus", "PROMETHEUS_URL"),
        (
            with("sqlite", json!({ "prometheus": { "url": "http://127.0.0.1:1" } })),
            "config.prometheus",
            "config.collect",
        ),
        (prometheus(json!({ "url": "http://example.org:9090" })), "config.prometheus.url", "administrator"),
        (prometheus(json!({ "url": "redis://127.0.0.1" })), "config.prometheus.url", "http://"),
        (prometheus(json!({ "url": "http://u:p@127.0.0.1:1" })), "config.prometheus.url", "PROMETHEUS_URL"),
        (
            prometheus(json!({ "url": "http://127.0.0.1:1", "queries": { "up": "" } })),
            "config.prometheus.queries.up",
            "PromQL",
        ),
        (prometheus(json!({ "uri": "http://127.0.0.1:1" })), "config.prometheus.uri", ""),
        (with("sqlite", json!([])), "config", ""),
        (with("sqlite", json!({ "load": [] })), "config.load", ""),
        (with("sqlite", json!({ "load": { "sesions": 3 } })), "config.load.sesions", ""),
        (with("sqlite", json!({ "load": { "rate": "fast" } })), "config.load.rate", ""),
        (with("sqlite", json!({ "workload": "ycbs:a" })), "config.workload", "did you mean `ycsb`?"),
        (
            with("sqlite", json!({ "workload": "ycsb:a", "operations": ["insert"] })),
            "config.operations",
            "config.workload",
        ),
        (
            with("sqlite", json!({ "workload": "ycsb:a", "settings": { "recrods": 3 } })),
            "config.settings.recrods",
            "did you mean `records`?",
        ),
        (
            with("sqlite", json!({ "thresholds": ["errors < 1%", "p99(selekt) < 1ms"] })),
            "config.thresholds[1]",
            "did you mean `select`?",
        ),
        (with("redis", json!({ "target": "redis://127.0.0.1", "parts": 2 })), "config.parts", "PostgreSQL"),
        (with("sqlite", json!({ "parts": 0 })), "config.parts", "number of agents"),
        (with("sqlite", json!({ "parts": -1 })), "config.parts", ""),
        (with("sqlite", json!({ "parts_within": "1m" })), "config.parts_within", "config.parts"),
        (with("sqlite", json!({ "parts": 2, "parts_within": "soon" })), "config.parts_within", ""),
        (with("sqlite", json!({ "target": "redis://127.0.0.1" })), "config.target", "database_type"),
        (with("sqlite", json!({ "target": "sqlite:/etc/passwd" })), "config.target", "thrown away"),
        (with("redis", json!({ "target": "redis://127.0.0.2:1.:1" })), "config.target", ""),
        (with("redis", json!({ "target": "redis://example.org" })), "config.target", "administrator"),
        (json!({ "name": "", "database_type": "sqlite" }), "name", "1 to"),
        (json!({ "name": "x".repeat(201), "database_type": "sqlite" }), "name", "1 to"),
        (json!({ "database_type": "sqlite" }), "name", ""),
        (json!([{ "name": "x", "database_type": "sqlite" }]), "body", ""),
    ] {
        let problem = lab.post("/api/v1/experiments", &body).send().problem(422);
        assert_eq!(problem["field"], field, "{body}: {problem}");
        let told = problem["remedy"].as_str().expect("a remedy");
        assert!(told.contains(remedy) && !told.contains("--"), "{body}: {problem}");
    }
    assert_eq!(lab.get("/api/v1/experiments").send().expect(200).json()["items"], json!([]));
}

#[test]
fn caps_of_the_operator_are_kept() {
    let caps = Caps { rate_max: 100.0, seconds_max: 10.0, rows_max: 50, sessions_max: 4, ..Caps::default() };
    let lab = Lab::with(Settings { caps, ..Settings::default() });
    let with = |config: Value| json!({ "name": "x", "database_type": "sqlite", "config": config });
    for (config, field) in [
        (json!({ "rows": 51 }), "config.rows"),
        (json!({ "rows": 1, "concurrent_users": 5 }), "config.concurrent_users"),
        (json!({ "rows": 1, "load": { "sessions": 5 } }), "config.load.sessions"),
        (json!({ "rows": 1, "concurrent_users": 1, "load": { "rate": "101/s" } }), "config.load.rate"),
        (json!({ "rows": 1, "concurrent_users": 1, "workload": "ycsb:c", "load": { "for": "11s" } }), "config.load"),
    ] {
        let problem = lab.post("/api/v1/experiments", &with(config.clone())).send().problem(422);
        assert_eq!(problem["field"], field, "{config}: {problem}");
    }
}

#[test]
fn a_store_that_does_not_answer_is_told_when_it_is_to_run() {
    let lab = Lab::open();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let body =
        json!({ "name": "x", "database_type": "redis", "config": { "target": format!("redis://u:canary@{closed}") } });
    let id = create(&lab, &body);
    let problem = lab.ask("POST", &format!("/api/v1/experiments/{id}/run")).send().problem(503);
    assert_eq!(problem["field"], "config.target");
    assert!(!problem.to_string().contains("canary"), "{problem}");
    let shown = show(&lab, &id);
    assert_eq!(
        (&shown["status"], &shown["config"]["target"]),
        (&json!("pending"), &json!(format!("redis://u:***@{closed}")))
    );
}

#[test]
fn a_run_outlives_its_request_has_one_at_a_time_and_can_be_cancelled() {
    let lab = Lab::open();
    let id = create(&lab, &null_plan(60));
    let run = run(&lab, &id);
    await_status(&lab, &id, "running");
    lab.ask("POST", &format!("/api/v1/experiments/{id}/run")).send().problem(409);
    lab.ask("DELETE", &format!("/api/v1/experiments/{id}")).send().problem(409);
    lab.ask("DELETE", &format!("/api/v1/runs/{run}")).send().problem(409);
    eventually("a second is kept", || samples(&lab, &run) > 0);
    lab.ask("POST", &format!("/api/v1/experiments/{id}/cancel")).send().expect(202);
    let cancelled = await_status(&lab, &id, "cancelled");
    assert!(
        cancelled["results"]["performance_metrics"]["total_queries"].as_u64().is_some_and(|count| count > 0),
        "{cancelled}"
    );
    let record = lab.get(&format!("/api/v1/runs/{run}")).send().expect(200).json();
    assert_eq!(record["status"], "interrupted");
    lab.ask("POST", &format!("/api/v1/experiments/{id}/cancel")).send().problem(409);
    lab.ask("DELETE", &format!("/api/v1/experiments/{id}")).send().expect(204);
    lab.get(&format!("/api/v1/experiments/{id}")).send().problem(404);
    lab.get(&format!("/api/v1/runs/{run}")).send().expect(200);
    lab.ask("DELETE", &format!("/api/v1/runs/{run}")).send().expect(204);
    lab.get(&format!("/api/v1/runs/{run}")).send().problem(404);
}

fn samples(lab: &Lab, run: &str) -> usize {
    let answer = lab.get(&format!("/api/v1/runs/{run}/samples?limit=200")).send().expect(200);
    answer.json()["items"].as_array().map_or(0, Vec::len)
}

#[test]
fn what_waits_goes_by_priority_and_the_kill_switch_ends_all() {
    let caps = Caps { runs_max: 1, ..Caps::default() };
    let lab = Lab::with(Settings { caps, ..Settings::default() });
    let first = create(&lab, &null_plan(60));
    run(&lab, &first);
    await_status(&lab, &first, "running");
    let prioritised = |priority: i32, seconds| {
        let mut plan = null_plan(seconds);
        plan["config"]["priority"] = json!(priority);
        let id = create(&lab, &plan);
        run(&lab, &id);
        id
    };
    let (low, high) = (prioritised(i32::MIN, 1), prioritised(i32::MAX, 60));
    lab.ask("POST", &format!("/api/v1/experiments/{first}/cancel")).send().expect(202);
    await_status(&lab, &high, "running");
    assert_eq!(show(&lab, &low)["status"], "queued");
    let stopped = lab.ask("POST", "/api/v1/stop").send().expect(200).json();
    assert_eq!(stopped["running"], 1, "{stopped}");
    for id in [&low, &high] {
        await_status(&lab, id, "cancelled");
    }
}

#[test]
fn two_runs_on_one_target_are_one_after_the_other() {
    let lab = Lab::open();
    let Ok(server) = redis() else { return };
    let plan = |seconds: u32| {
        let mut plan = null_plan(seconds);
        plan["database_type"] = json!("redis");
        plan["config"]["target"] = json!(server.url());
        plan
    };
    let (first, second) = (create(&lab, &plan(60)), create(&lab, &plan(1)));
    run(&lab, &first);
    await_status(&lab, &first, "running");
    run(&lab, &second);
    let elsewhere = create(&lab, &null_plan(1));
    run(&lab, &elsewhere);
    await_status(&lab, &elsewhere, "completed");
    assert_eq!(show(&lab, &second)["status"], "queued", "the target is taken");
    lab.ask("POST", &format!("/api/v1/experiments/{first}/cancel")).send().expect(202);
    await_status(&lab, &second, "completed");
}

/// A throw-away server; an error, which is said, where none is installed.
fn redis() -> Result<provision::Server, ()> {
    let engine = provision::engine("redis").expect("an engine of that name");
    let folder = tempfile::tempdir().expect("a folder").keep();
    let options = provision::Options { home: Some(provision::Home::at(folder)), ..provision::Options::default() };
    provision::Server::start(engine, &options).map_err(|error| skipped(&format!("redis is not started: {error}")))
}

#[expect(clippy::print_stdout, reason = "the test's own output is where a skipped part is looked for")]
fn skipped(why: &str) {
    println!("skipped: {why}");
}

#[test]
fn lists_are_paged_and_filtered() {
    let lab = Lab::open();
    let ids: Vec<_> = (0..7)
        .map(|number| {
            let body =
                json!({ "name": format!("n{number}"), "database_type": if number < 3 { "sqlite" } else { "null" } });
            create(&lab, &body)
        })
        .collect();
    let (mut listed, mut path) = (Vec::new(), "/api/v1/experiments?limit=3".to_owned());
    loop {
        let page = lab.get(&path).send().expect(200).json();
        listed.extend(
            page["items"].as_array().expect("a list").iter().map(|item| item["id"].as_str().expect("an id").to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/experiments?limit=3&cursor={next}");
    }
    assert!(listed.iter().eq(ids.iter().rev()), "newest first, each once");
    for (query, count) in
        [("database_type=sqlite", 3), ("status=pending", 7), ("status=failed", 0), ("name=N6", 1), ("name=%25", 0)]
    {
        let page = lab.get(&format!("/api/v1/experiments?{query}")).send().expect(200).json();
        assert_eq!(page["items"].as_array().map(Vec::len), Some(count), "{query}");
    }
    for (query, field) in [
        ("status=pnding", "status"),
        ("database_type=sqlit", "database_type"),
        ("cursor=eA", "cursor"),
        ("limit=0", "limit"),
        ("x=1", "x"),
    ] {
        let problem = lab.get(&format!("/api/v1/experiments?{query}")).send().problem(422);
        assert_eq!(problem["field"], field, "{query}");
    }
}

#[test]
fn the_same_key_makes_one_experiment_and_one_run() {
    let lab = Lab::open();
    let body = null_plan(60);
    let made: Vec<Answer> = (0..2)
        .map(|_| lab.post("/api/v1/experiments", &body).header("Idempotency-Key", "a").send().expect(201))
        .collect();
    assert_eq!(made[0].json(), made[1].json());
    let id = made[0].json()["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/v1/experiments/{id}/run");
    let runs: Vec<_> =
        (0..2).map(|_| lab.ask("POST", &path).header("Idempotency-Key", "b").send().expect(202).json()).collect();
    assert_eq!(runs[0], runs[1]);
    assert_eq!(lab.get("/api/v1/experiments").send().expect(200).json()["items"].as_array().map(Vec::len), Some(1));
    lab.ask("POST", "/api/v1/stop").send().expect(200);
}

#[test]
fn plans_are_kept_by_version_and_run() {
    let lab = Lab::open();
    let body = json!({ "database_type": "null", "config": null_plan(1)["config"] });
    let put = |tag: Option<(&str, &str)>| {
        let request = lab.ask("PUT", "/api/v1/plans/nightly").json(&body);
        tag.map_or(request.clone(), |(name, value)| request.header(name, value)).send()
    };
    let made = put(Some(("If-None-Match", "*"))).expect(201);
    assert_eq!((made.header("etag"), made.json()["version"].as_u64()), (Some("\"1\""), Some(1)));
    put(Some(("If-None-Match", "*"))).problem(412);
    assert_eq!(put(Some(("If-Match", "\"1\""))).expect(200).header("etag"), Some("\"2\""));
    put(Some(("If-Match", "\"1\""))).problem(412);
    assert_eq!(put(Some(("If-Match", "x"))).problem(422)["field"], "If-Match");
    let listed = lab.get("/api/v1/plans").send().expect(200).json();
    assert_eq!(listed["items"][0]["name"], "nightly");
    let wrong =
        lab.ask("PUT", "/api/v1/plans/other").json(&json!({ "database_type": "null", "config": { "rows": 0 } })).send();
    assert_eq!(wrong.problem(422)["field"], "config.rows");
    let started = lab.ask("POST", "/api/v1/plans/nightly/run").send().expect(202).json();
    await_status(&lab, started["id"].as_str().expect("an id"), "completed");
    lab.ask("DELETE", "/api/v1/plans/nightly").header("If-Match", "\"1\"").send().problem(412);
    lab.ask("DELETE", "/api/v1/plans/nightly").send().expect(204);
    lab.get("/api/v1/plans/nightly").send().problem(404);
    lab.ask("POST", "/api/v1/plans/nightly/run").send().problem(404);
}

#[test]
fn a_run_is_reported_exported_judged_and_compared() {
    let lab = Lab::open();
    let runs: Vec<_> = (0..2)
        .map(|_| {
            let id = create(&lab, &null_plan(5));
            let run = run(&lab, &id);
            await_status(&lab, &id, "completed");
            run
        })
        .collect();
    let report = lab.get(&format!("/api/v1/runs/{}/report", runs[0])).send().expect(200);
    let policy = report.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("script-src 'unsafe"), "{policy}");
    let formats = lab.get("/api/v1/exports").send().expect(200).json();
    for format in formats["items"].as_array().expect("a list") {
        let name = format["name"].as_str().expect("a name");
        let exported = lab.get(&format!("/api/v1/runs/{}/exports/{name}", runs[0])).send().expect(200);
        assert!(!exported.body.is_empty(), "{name}");
    }
    let near = lab.get(&format!("/api/v1/runs/{}/exports/csv-secnds", runs[0])).send().problem(404);
    assert_eq!(near["remedy"], "did you mean `csv-seconds`?");
    let checked = lab
        .post(
            "/api/v1/thresholds/check",
            &json!({ "expressions": ["p99(read) < 10s", "p99(raed) < 1ms", "rate() >"], "run": runs[0] }),
        )
        .send()
        .expect(200)
        .json();
    let thresholds = &checked["thresholds"];
    assert_eq!((&checked["valid"], &thresholds[0]["judgement"]["passed"]), (&json!(false), &json!(true)), "{checked}");
    let wrong = &thresholds[1]["error"];
    assert_eq!(
        (&wrong["start"], &wrong["end"], &wrong["hint"]),
        (&json!(4), &json!(8), &json!("did you mean `read`?")),
        "{checked}"
    );
    let compared = lab.post("/api/v1/comparisons", &json!({ "runs": runs })).send().expect(200).json();
    assert_eq!(compared["sides"].as_array().map(Vec::len), Some(2), "{compared}");
    for (accept, start) in [("text/markdown", "#"), ("text/html", "<!")] {
        let shown =
            lab.post("/api/v1/comparisons", &json!({ "runs": runs })).header("Accept", accept).send().expect(200);
        assert!(!shown.body.is_empty(), "{accept} {start}");
        assert!(shown.header("content-type").is_some_and(|found| found.starts_with(accept)), "{accept}");
    }
    assert_eq!(lab.post("/api/v1/comparisons", &json!({ "runs": [runs[0]] })).send().problem(422)["field"], "runs");
    lab.post("/api/v1/comparisons", &json!({ "runs": [runs[0], uuid::Uuid::nil()] })).send().problem(404);
}
