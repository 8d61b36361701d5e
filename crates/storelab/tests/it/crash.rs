//! Servers that die, and a program that is killed.

use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Ended, Lab, assert_exact, connections_to, eventually, is_alive, signal, with_every_engine};

/// Waits until the run has connected and its first second is kept.
pub(crate) fn await_load(lab: &Lab, child: &mut Child, port: u16) {
    eventually("the run connects", Duration::from_mins(1), || {
        assert!(child.try_wait().expect("our child").is_none(), "the run ended before its load");
        connections_to(port) >= 8
    });
    eventually("a second of the run is kept", Duration::from_mins(1), || {
        assert!(child.try_wait().expect("our child").is_none(), "the run ended before its load");
        let runs = lab.run(&["runs", "--json", "--limit", "1"]);
        let runs: Value = serde_json::from_str(&runs.stdout).expect("JSON");
        runs[0]["status"] == "running" && runs[0]["seconds"].as_u64().is_some_and(|seconds| seconds > 0)
    });
}

#[test]
fn a_server_killed_under_load_gives_counted_errors_and_no_hang() {
    with_every_engine(|lab, engine| {
        for load in [&["--rate", "200/s"][..], &[]] {
            let Some(server) = lab.server(engine.name()) else { return };
            let work = ["--json", "--sessions", "8", "--for", "4s", "--drain", "1s", "--set", "records=200"];
            let mut child = lab.spawn(&[&["run", server.url()][..], &work, load].concat());
            await_load(lab, &mut child, server.port());
            server.kill().expect("the server is ours");
            let killed = Instant::now();
            let ended = Ended::of(child.wait_with_output().expect("it ends"));
            let name = engine.name();
            assert!(killed.elapsed() < Duration::from_secs(40), "{name}: it ends soon after its time");
            let record = ended.record();
            assert_exact(&record);
            let errors = errors_of(&record);
            assert!(errors.contains_key("unreachable"), "{name} {load:?}: {errors:?}");
            assert_eq!(ended.code, Some(3), "{name} {load:?}: {}", ended.stderr);
        }
    });
}

/// What operations of all phases failed with.
pub(crate) fn errors_of(record: &Value) -> serde_json::Map<String, Value> {
    let mut all = serde_json::Map::new();
    for phase in record["phases"].as_array().expect("a list") {
        all.extend(phase["total"]["errors"].as_object().expect("a map").clone());
    }
    all
}

#[test]
fn a_server_that_comes_back_is_used_again() {
    let lab = Lab::new();
    let Some(mut server) = lab.server("postgres") else { return };
    let mut child = lab.spawn(&[
        "run",
        server.url(),
        "--json",
        "--rate",
        "200/s",
        "--sessions",
        "8",
        "--for",
        "8s",
        "--workload",
        "ycsb:c",
    ]);
    await_load(&lab, &mut child, server.port());
    server.kill().expect("the server is ours");
    server.restart().expect("it comes back");
    let ended = Ended::of(child.wait_with_output().expect("it ends"));
    let record = ended.record();
    assert_exact(&record);
    // A busy host makes the generator late, which the verdict says; what is shown here is that it goes on.
    assert!(matches!(ended.code, Some(0 | 4)), "{}", ended.stderr);
    assert!(record["generator"]["reconnects"].as_u64().expect("a count") >= 8, "{}", record["generator"]);
    let recovery = &record["recovery"];
    let longest = recovery["longest_seconds"].as_f64().expect("seconds");
    assert!(recovery["outages"].as_u64() >= Some(1) && recovery["is_gone"] == false, "{recovery}");
    assert!(longest > 0.0 && longest < 8.0 && recovery["session_seconds_max"].as_f64() > Some(0.0), "{recovery}");
    let accounting = &record["accounting"];
    let succeeded = accounting["succeeded"].as_u64().expect("a count");
    assert!(succeeded > 800, "most of the 1,600 operations succeed: {accounting}");
}

#[test]
fn a_standby_that_takes_over_is_used_for_the_rest() {
    let lab = Lab::new();
    let Some(mut cluster) = lab.cluster("postgres", 2) else { return };
    let url = format!("{}&target_session_attrs=read-write", cluster.url());
    let mut child = lab.spawn(&[
        "run",
        &url,
        "--json",
        "--rate",
        "200/s",
        "--sessions",
        "8",
        "--for",
        "10s",
        "--set",
        "records=500",
        "--workload",
        "ycsb:a",
    ]);
    await_load(&lab, &mut child, cluster.nodes()[0].port());
    cluster.nodes_mut()[0].kill().expect("the server is ours");
    let standby = &cluster.nodes()[1];
    // What `pg_ctl promote` does.
    std::fs::write(standby.site().data.join("promote"), "").expect("the folder is ours");
    let process = Pid::from_raw(standby.process_id().cast_signed()).expect("a process id");
    kill_process(process, Signal::USR1).expect("the server is ours");
    let record = Ended::of(child.wait_with_output().expect("it ends")).record();
    assert_exact(&record);
    let (recovery, accounting) = (&record["recovery"], &record["accounting"]);
    let longest = recovery["longest_seconds"].as_f64().expect("seconds");
    assert!(recovery["outages"].as_u64() >= Some(1) && recovery["is_gone"] == false, "{recovery}");
    assert!(longest > 0.0 && longest < 10.0, "{recovery}");
    assert!(errors_of(&record).contains_key("unreachable"), "{accounting}");
    assert!(accounting["succeeded"].as_u64() > Some(1000), "most of the 2,000 operations succeed: {accounting}");
    let settings = &record["server"]["settings"];
    let nodes: Vec<_> =
        cluster.nodes().iter().map(|node| &settings[format!("node 127.0.0.1:{}", node.port())]).collect();
    assert_eq!(nodes, ["a primary", "a standby"], "{settings}");
    cluster.stop().expect("they stop");
}

#[test]
fn a_program_killed_under_load_leaves_no_connection_and_no_server() {
    with_every_engine(|lab, engine| {
        let name = engine.name();
        let Some(server) = lab.server(name) else { return };
        // Some servers are their own clients, on the same port.
        let before = connections_to(server.port());
        let work = ["--sessions", "8", "--for", "60s", "--name", name, "--set", "records=200"];
        let mut child = lab.spawn(&[&["run", server.url()][..], &work].concat());
        await_load(lab, &mut child, server.port());
        child.kill().expect("our child");
        child.wait().expect("our child");
        let what = format!("connections to {name} end");
        eventually(&what, Duration::from_secs(2), || connections_to(server.port()) <= before);
        let runs = lab.run(&["runs"]);
        assert!(runs.stdout.contains("interrupted") && !runs.stdout.contains("running"), "{name}: {runs:?}");
        let shown = lab.run(&["show", name]);
        assert_eq!(shown.code, Some(0), "{name}: {shown:?}");
        // What the killed run had loaded is still there, known by its manifest.
        let cleaned = lab.run(&["clean", server.url()]);
        assert!(cleaned.code == Some(0) && cleaned.stdout.contains("storelab_"), "{name}: {cleaned:?}");
    });
}

#[test]
fn a_program_killed_with_a_server_of_its_own_takes_it_along() {
    let lab = Lab::new();
    for engine in ["redis", "postgres", "mariadb"] {
        if lab.server(engine).is_none() {
            continue;
        }
        let mut child = lab.spawn(&["run", &format!("local:{engine}"), "--sessions", "8", "--for", "60s"]);
        let mut server = None;
        eventually("the server runs", Duration::from_mins(2), || {
            assert!(child.try_wait().expect("our child").is_none(), "the run ended before its server was there");
            let listed = lab.run(&["engines", "list", "--json"]);
            let listed: Value = serde_json::from_str(&listed.stdout).expect("JSON");
            server = listed["running"][0]["process_id"].as_u64().zip(listed["running"][0]["port"].as_u64());
            server.is_some()
        });
        let (process_id, port) = server.expect("it runs");
        await_load(&lab, &mut child, port as u16);
        child.kill().expect("our child");
        child.wait().expect("our child");
        eventually("the server ends", Duration::from_secs(2), || !is_alive(process_id as u32));
        let listed = lab.run(&["engines", "list", "--json"]);
        let listed: Value = serde_json::from_str(&listed.stdout).expect("JSON");
        assert_eq!(listed["running"].as_array().map(Vec::len), Some(0), "{engine}: {listed}");
        assert!(lab.run(&["runs"]).stdout.contains("interrupted"), "{engine}");
    }
}

#[test]
fn ctrl_c_stops_within_seconds_keeps_what_was_measured_and_cleans_up() {
    let lab = Lab::new();
    let Some(server) = lab.server("redis") else { return };
    for kind in [Signal::INT, Signal::TERM] {
        let mut child =
            lab.spawn(&["run", server.url(), "--json", "--sessions", "8", "--rate", "500/s", "--for", "60s"]);
        await_load(&lab, &mut child, server.port());
        signal(&child, kind);
        let asked = Instant::now();
        let ended = Ended::of(child.wait_with_output().expect("it ends"));
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
        assert_eq!(ended.code, Some(130), "{}", ended.stderr);
        let record = ended.record();
        assert_exact(&record);
        assert_eq!(record["status"], "interrupted");
        assert!(record["phases"][0]["accounting"]["succeeded"].as_u64().expect("a count") > 0);
        let left = lab.run(&["clean", server.url()]);
        assert!(left.stdout.is_empty(), "a run that is stopped takes its data out: {left:?}");
    }
}
