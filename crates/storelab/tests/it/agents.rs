//! One load from several processes: what is put together is the sum of the parts, and nothing is driven twice.

use std::process::{Child, Command};
use std::time::Duration;

use provision::Server;
use results::{Location, Results};
use serde_json::Value;
use stats::Histogram;
use uuid::Uuid;

use crate::support::{Ended, Lab, assert_exact, eventually, signal};

/// How long something may take that takes seconds.
const PATIENCE: Duration = Duration::from_mins(1);

/// A store that is shared, and what is measured.
pub(crate) struct Site {
    pub(crate) lab: Lab,
    pub(crate) store: Server,
    pub(crate) target: Server,
}

impl Site {
    /// None where something is not installed.
    pub(crate) fn new() -> Option<Self> {
        let lab = Lab::new();
        let store = lab.server("postgres")?;
        let target = lab.server("redis")?;
        Some(Self { lab, store, target })
    }

    /// The password is told as a team would tell it: not on the command line.
    pub(crate) fn agent(&self, name: &str, more: &[&str]) -> Child {
        let mut command = self.lab.command(&[&["agent", "--name", name], more].concat());
        command.env("STORELAB_STORE", self.store.url()).env("STORELAB_TARGET", self.target.url());
        command.spawn().expect("the program starts")
    }

    fn run(&self, more: &[&str]) -> Child {
        let work = ["run", self.target.url(), "--json", "--workload", "ycsb:a", "--set", "records=500", "--parts", "2"];
        let mut command = self.lab.command(&[&work, more].concat());
        command.env("STORELAB_STORE", self.store.url());
        command.spawn().expect("the program starts")
    }

    pub(crate) fn results(&self) -> Results {
        Results::open(&Location::Postgres(self.store.url().to_owned())).expect("the store opens")
    }
}

pub(crate) fn ended(child: Child) -> Ended {
    Ended::of(child.wait_with_output().expect("it ends"))
}

#[test]
fn two_agents_are_one_load() {
    let Some(site) = Site::new() else { return };
    let agents = ["one", "two"].map(|name| site.agent(name, &["--once"]));
    let run = site.run(&["--rate", "301/s", "--sessions", "7", "--for", "4s", "--warm-up", "1s"]);
    let run = ended(run);
    assert_eq!(run.code, Some(0), "{run:?}");
    for agent in agents {
        let agent = ended(agent);
        assert_eq!(agent.code, Some(0), "{agent:?}");
    }
    let record = run.record();
    assert_exact(&record);
    assert_eq!(record["accounting"]["scheduled"], 1204, "not one arrival is lost or doubled: {record}");
    let parts = record["parts"].as_array().expect("parts");
    let of_parts: Vec<_> = parts
        .iter()
        .map(|part| (part["sessions"].as_u64(), part["state"].as_str(), part["first_session"].as_u64()))
        .collect();
    assert_eq!(of_parts, [(Some(3), Some("ended"), Some(0)), (Some(4), Some("ended"), Some(3))]);
    assert!(parts.iter().all(|part| part["clock_bound_us"].as_u64().is_some_and(|bound| bound < 1_000_000)));
    let id = record["id"].as_str().and_then(|id| Uuid::parse_str(id).ok()).expect("an id");
    let mut results = site.results();
    check_outcomes(&mut results, id);
    check_seconds(&mut results, id);
    let password = site.target.url().split_once('@').and_then(|(user, _)| user.rsplit_once(':')).expect("a password").1;
    let dumped = dumped(&site);
    assert!(
        dumped.contains("***") && !dumped.contains(password) && !run.stderr.contains(password),
        "no password is kept"
    );
}

/// Everything that the store holds, as its own tool writes it.
fn dumped(site: &Site) -> String {
    let program = site.store.site().installation.server().with_file_name("pg_dump");
    let output = Command::new(program).arg(site.store.url()).output().expect("it is beside the server");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The run's histograms are those of its parts, bit for bit.
pub(crate) fn check_outcomes(results: &mut Results, id: Uuid) {
    let told = (0..2).map(|part| results.part_outcome(id, part).expect("there").expect("it ended"));
    let mut outcomes: Vec<_> = told.map(|told| experiment::decode_outcome(&told).expect("read")).collect();
    let mut together = outcomes.remove(0);
    assert!(together.phases.iter().all(|phase| phase.accounting.scheduled > 0), "both had something to do");
    together.merge(outcomes.remove(0));
    let kept = results.histograms(id).expect("there");
    assert!(!kept.is_empty());
    for kept in kept {
        let cells: Vec<_> =
            together.phases[usize::from(kept.phase)].cells.iter().map(|(_, cell)| cell.clone()).collect();
        let of_metric = |cell: &runner::Cell| match kept.metric {
            experiment::Metric::Latency => cell.latency.clone(),
            experiment::Metric::ServiceTime => cell.service_time.as_deref().cloned().unwrap_or_default(),
            experiment::Metric::QueueingTime => cell.queueing_time.as_deref().cloned().unwrap_or_default(),
        };
        assert!(
            cells.iter().any(|cell| of_metric(cell) == kept.histogram),
            "{}: not the sum of its parts",
            kept.operation
        );
    }
}

/// So are its seconds.
pub(crate) fn check_seconds(results: &mut Results, id: Uuid) {
    let mut told = [0_u64; 64];
    let mut latencies = Histogram::new();
    for part in 0..2 {
        for (second, bytes) in results.part_seconds(id, part, 0, 64).expect("there") {
            for (_, cells) in experiment::decode_sample(&bytes).expect("read").phases {
                let total = cells.total();
                told[second as usize] += total.succeeded + total.failed;
                latencies.merge(&total.latency);
            }
        }
    }
    let mut kept = [0_u64; 64];
    let mut merged = Histogram::new();
    for sample in results.samples(id).expect("there") {
        for operation in sample.operations {
            kept[sample.second as usize] += operation.succeeded + operation.failed;
            merged.merge(&operation.latency);
        }
    }
    assert_eq!(kept, told);
    assert_eq!(merged, latencies);
}

#[test]
fn an_agent_that_is_killed_is_lost_and_nobody_takes_its_part() {
    let Some(site) = Site::new() else { return };
    let mut agents = ["one", "two"].map(|name| site.agent(name, &[]));
    let run = site.run(&["--rate", "200/s", "--sessions", "6", "--for", "8s", "--drain", "2s"]);
    let mut results = site.results();
    let mut id = None;
    eventually("the run has begun", PATIENCE, || {
        id = results.runs(1).expect("listed").first().map(|run| run.id);
        id.is_some()
    });
    let id = id.expect("it was found");
    await_both_parts(&mut results, id);
    let spare = site.agent("spare", &[]);
    let victim = results.parts(id).expect("there")[1].agent.clone();
    let victim = usize::from(victim == "two");
    agents[victim].kill().expect("it is ours");
    let run = ended(run);
    assert_eq!(run.code, Some(0), "invalid, but accepted: {run:?}");
    let record = run.record();
    assert_exact(&record);
    let states: Vec<_> = record["parts"].as_array().expect("parts").iter().map(|part| part["state"].as_str()).collect();
    assert_eq!(states, [Some("ended"), Some("lost")]);
    check_reason(&record);
    assert!(record["accounting"]["succeeded"].as_u64().is_some_and(|count| (800..1600).contains(&count)), "{record}");
    for mut agent in agents.into_iter().chain([spare]) {
        // One of them is gone already.
        let _ = agent.try_wait().map(|gone| gone.is_none().then(|| signal(&agent, rustix::process::Signal::TERM)));
        let agent = ended(agent);
        assert!(!agent.stderr.contains("spare") || !agent.stderr.contains("part "), "no double load: {agent:?}");
    }
}

/// Waits until both parts of a run have told more than a second.
pub(crate) fn await_both_parts(results: &mut Results, run: Uuid) {
    eventually("both parts are driven", PATIENCE, || {
        (0..2).all(|part| !results.part_seconds(run, part, 1, 1).expect("read").is_empty())
    });
}

/// It says who was lost, and that this was seen within five seconds.
pub(crate) fn check_reason(record: &Value) {
    assert_eq!(record["verdict"]["valid"], false);
    let reasons = record["verdict"]["reasons"].to_string();
    assert!(reasons.contains("part 2 of 2") && reasons.contains("was lost"), "{reasons}");
    let silent = record["parts"][1]["reason"].as_str().expect("a reason").to_owned();
    let seconds = silent.split_whitespace().find_map(|word| word.parse::<f64>().ok());
    assert!(seconds.is_some_and(|seconds| seconds < 5.0), "{silent}");
}

#[test]
fn what_cannot_be_divided_is_refused() {
    let lab = Lab::new();
    for (arguments, said) in [
        (&["run", "sqlite:", "--parts", "2"][..], "lives within one process"),
        (&["run", "local:redis", "--parts", "2"], "listens to this host alone"),
    ] {
        let ended = lab.run(arguments);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(said) && ended.stderr.contains("hint:"), "{ended:?}");
    }
}
