//! A service whose loads agents drive: put together exactly, also where one of them is killed, and over when it is.

use std::time::Duration;

use experiment::Status;
use rustix::process::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::Service;
use crate::agents::{Site, await_both_parts, check_outcomes, check_reason, check_seconds, ended};
use crate::support::{assert_exact, connections_to, eventually, is_alive, signal};

/// How long the load of agents may go on that is to end: a second is the promise, and machines are busy.
const STOPPED_WITHIN: Duration = Duration::from_secs(5);

/// The same where their service was killed, which they know by its silence of 3.5 s.
const ORPHANED_WITHIN: Duration = Duration::from_secs(15);

fn service(site: &Site) -> Service {
    let mut command = site.lab.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("STORELAB_STORE", site.store.url());
    Service::of(command)
}

/// A load of two parts.
fn divided(site: &Site, seconds: u32, within: &str) -> Value {
    json!({
        "name": format!("divided, {seconds} s"),
        "database_type": "redis",
        "config": {
            "workload": "ycsb:a", "settings": { "records": 500 }, "target": site.target.url(), "parts": 2, "parts_within": within,
            "load": { "rate": "301/s", "sessions": 7, "for": format!("{seconds}s"), "warm_up": "0s", "drain": "2s", "workers": 1 },
            "collect": [],
        },
    })
}

/// Runs it, and returns the ids of experiment and run.
fn begun(service: &Service, plan: &Value) -> (String, String) {
    let experiment = service.create(plan);
    let run = service.run(&experiment);
    (experiment, run)
}

fn id(run: &str) -> Uuid {
    Uuid::parse_str(run).expect("an id")
}

/// Viewers were told that agents are waited for, and each second that was put together.
fn check_live(service: &Service, run: &str, seconds: usize) {
    let told = service.get(&format!("/api/v1/runs/{run}/live")).text();
    let told: Vec<Value> = told
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect();
    assert_eq!(told.iter().filter(|message| message["kind"] == "sample").count(), seconds, "{told:?}");
    assert!(told.iter().any(|message| message["event"] == "waiting" && message["ready"] == 2), "{told:?}");
}

#[test]
fn a_service_and_two_agents_are_one_load() {
    let Some(site) = Site::new() else { return };
    let mut service = service(&site);
    let mut results = site.results();
    let (experiment, _) = begun(&service, &divided(&site, 3, "500ms"));
    let alone = service.await_status(&experiment, &["failed"]);
    let reason = alone["reason"].as_str().expect("a reason");
    assert!(
        reason.contains("0 of 2 parts were ready within 500ms") && reason.contains("config.parts_within"),
        "{reason}"
    );

    let agents = ["one", "two"].map(|name| site.agent(name, &[]));
    let (experiment, run) = begun(&service, &divided(&site, 3, "1m"));
    let done = service.await_status(&experiment, &["completed", "failed"]);
    assert_eq!(done["status"], "completed", "{done} {}", service.said());
    let record = service.get(&format!("/api/v1/runs/{run}")).json();
    assert_exact(&record);
    assert_eq!(record["accounting"]["scheduled"], 903, "not one arrival is lost or doubled: {record}");
    let parts = record["parts"].as_array().expect("parts");
    let of_parts: Vec<_> = parts.iter().map(|part| (part["sessions"].as_u64(), part["state"].as_str())).collect();
    assert_eq!(of_parts, [(Some(3), Some("ended")), (Some(4), Some("ended"))]);
    check_outcomes(&mut results, id(&run));
    check_seconds(&mut results, id(&run));
    check_live(&service, &run, results.samples(id(&run)).expect("there").len());

    let (experiment, run) = begun(&service, &divided(&site, 60, "1m"));
    await_both_parts(&mut results, id(&run));
    assert_eq!(service.post(&format!("/api/v1/experiments/{experiment}/cancel"), None).status, 202);
    eventually("the load ends", STOPPED_WITHIN, || connections_to(site.target.port()) == 0);
    service.await_status(&experiment, &["cancelled"]);

    let (_, run) = begun(&service, &divided(&site, 60, "1m"));
    await_both_parts(&mut results, id(&run));
    signal(&service.child, Signal::TERM);
    eventually("the load ends with the service", STOPPED_WITHIN, || connections_to(site.target.port()) == 0);
    assert_eq!(service.child.wait().expect("our child").code(), Some(0), "{}", service.said());
    assert_eq!(results.record(id(&run)).expect("kept").status, Status::Interrupted);
    for agent in agents {
        assert!(is_alive(agent.id()), "agents wait for the next load");
        signal(&agent, Signal::TERM);
        let agent = ended(agent);
        assert_eq!(agent.stderr.matches(": done").count(), 3, "{agent:?}");
    }
}

#[test]
fn agents_and_services_that_are_killed_leave_no_load_behind() {
    let Some(site) = Site::new() else { return };
    let mut service = service(&site);
    let mut results = site.results();
    let mut agents = ["one", "two"].map(|name| site.agent(name, &[]));
    let (experiment, run) = begun(&service, &divided(&site, 5, "1m"));
    await_both_parts(&mut results, id(&run));
    let spare = site.agent("spare", &[]);
    let victim = results.parts(id(&run)).expect("there")[1].agent.clone();
    let victim = usize::from(victim == "two");
    agents[victim].kill().expect("it is ours");
    agents[victim].wait().expect("it is ours");
    service.await_status(&experiment, &["completed"]);
    let record = service.get(&format!("/api/v1/runs/{run}")).json();
    assert_exact(&record);
    let parts = record["parts"].as_array().expect("parts");
    assert_eq!(parts.iter().map(|part| part["state"].as_str()).collect::<Vec<_>>(), [Some("ended"), Some("lost")]);
    check_reason(&record);
    assert!(parts.iter().all(|part| part["agent"] != "spare"), "what was begun is nobody else's: {record}");
    // What both told is what was kept: nobody told more, and nothing that was told is missing.
    check_seconds(&mut results, id(&run));

    let (experiment, run) = begun(&service, &divided(&site, 60, "1m"));
    await_both_parts(&mut results, id(&run));
    assert!(connections_to(site.target.port()) >= 7);
    service.child.kill().expect("our child");
    service.child.wait().expect("our child");
    eventually("agents leave a run whose service died", ORPHANED_WITHIN, || connections_to(site.target.port()) == 0);
    let service = self::service(&site);
    service.await_status(&experiment, &["interrupted"]);
    assert_eq!(service.get(&format!("/api/v1/runs/{run}")).json()["status"], "interrupted");
    assert!(!results.samples(id(&run)).expect("there").is_empty(), "what was measured is kept");
    let survivor = agents.into_iter().enumerate().find(|(place, _)| *place != victim).expect("there are two").1;
    for agent in [survivor, spare] {
        assert!(is_alive(agent.id()), "agents wait for the next load");
        signal(&agent, Signal::TERM);
        ended(agent);
    }
}

#[test]
fn agents_go_where_the_service_lets_them() {
    let Some(site) = Site::new() else { return };
    let service = service(&site);
    let mut command = site.lab.command(&["agent", "--once"]);
    command.env("STORELAB_STORE", site.store.url()).env("STORELAB_TARGET", site.target.url());
    let agent = command.env("STORELAB_SERVER_LOOPBACK", "false").spawn().expect("the program starts");
    let (experiment, _) = begun(&service, &divided(&site, 3, "1m"));
    let refused = service.await_status(&experiment, &["failed"]);
    let reason = refused["reason"].as_str().expect("a reason");
    assert!(reason.contains("not permitted") && reason.contains("administrator"), "{reason}");
    let agent = ended(agent);
    assert!(agent.stderr.contains("not permitted"), "{agent:?}");
}
