//! A service that is killed at random moments, under requests and under load: nothing that it acknowledged is lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use provision::Server;
use serde_json::{Value, json};

use super::client::{Service, request, store_of};
use crate::support::{Lab, connections_to, eventually};

/// How often the service is killed; the long form of the test says another number in the environment.
const KILLS: usize = 30;
const KILLS_VARIABLE: &str = "SERVER_KILLS";

/// How long the service may go on before it is killed, at most: beyond its start, its recovery and the first seconds of a run.
const LIFE_MILLISECONDS_MAX: u64 = 2_500;

/// How long a killed service's connections may last, and its runs be shown as going on: the promise.
const CONNECTIONS_END_MAX: Duration = Duration::from_secs(2);
const RUNNING_MAX: Duration = Duration::from_secs(5);

/// Seconds that a run may have gone on beyond those that are kept of it: the promised one, which was under way and is only kept when it
/// ends, and one by which a machine that is shared with others is late with keeping it.
const SECONDS_LOST_MAX: f64 = 2.0;

/// What was acknowledged: it must be there for ever.
#[derive(Default)]
struct Acknowledged {
    experiments: Vec<String>,
    runs: Vec<String>,
}

/// A run that was watched as it went on, until its service was killed.
struct Seen {
    run: String,
    /// When it started, before it connected: what it measured lasted less.
    started_at: jiff::Timestamp,
    /// Seconds of it that were told.
    told: usize,
    /// When its load began at the latest: each second is told after its end.
    load_began: Option<Instant>,
    /// When the service had been killed.
    killed: Option<(jiff::Timestamp, Instant)>,
}

/// What came of all kills, for whoever makes the long form.
#[derive(Debug, Default)]
struct Figures {
    /// Runs that were going on at a kill, and those of them of which seconds had been told.
    watched: usize,
    told: usize,
    /// Seconds from a run's start to the kill of its service beyond those that are kept: the most, with the one that was under way.
    beyond_kept_max: f64,
    /// Whole seconds of load that were over at a kill and are not kept: the most, and of how many runs any.
    lost_max: usize,
    lost_of: usize,
    /// Connections to the target right before a kill: the most, and at how many kills there were any.
    connections_max: usize,
    connected: usize,
    /// The longest that it took until there was none, and until no run was shown as going on.
    connections_ended_max: Duration,
    settled_max: Duration,
}

/// A generator of moments; a failure says its seed.
struct Moments(u64);

impl Moments {
    fn next(&mut self, most: u64) -> u64 {
        // Knuth's MMIX generator; its upper bits are random enough for moments.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

fn target_of(server: Option<&Server>) -> (&'static str, Option<String>) {
    match server {
        Some(server) => ("postgres", Some(server.url().to_owned())),
        None => ("null", Some("null:?latency=1ms".to_owned())),
    }
}

/// A run of a minute, in mid of which the service is killed.
fn long_run(database_type: &str, target: Option<&String>, on_restart: &str) -> Value {
    json!({
        "name": format!("long, {on_restart}"),
        "database_type": database_type,
        "config": {
            "workload": "ycsb:b", "settings": { "records": 100 }, "target": target, "on_restart": on_restart,
            "load": { "rate": "200/s", "for": "60s", "sessions": 4, "workers": 1, "warm_up": "0s" },
            "collect": [],
        },
    })
}

#[test]
fn what_was_acknowledged_outlives_every_kill() {
    let lab = Lab::new();
    let server = lab.server("postgres");
    let (database_type, target) = target_of(server.as_ref());
    let kills = std::env::var(KILLS_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let seed = std::process::id().into();
    let mut moments = Moments(seed);
    let acknowledged = Mutex::new(Acknowledged::default());
    let (mut seen, mut figures) = (None, Figures::default());
    for kill in 0..kills {
        let service = restart(&lab, seen.as_ref(), &mut figures);
        let on_restart = ["rerun", "interrupt", "resume"][kill % 3];
        let life = Duration::from_millis(moments.next(LIFE_MILLISECONDS_MAX));
        let plan = long_run(database_type, target.as_ref(), on_restart);
        let before_kill = || {
            let open = server.as_ref().map_or(0, |server| connections_to(server.port()));
            figures.connections_max = figures.connections_max.max(open);
            figures.connected += usize::from(open > 0);
        };
        seen = live_and_die(service, &acknowledged, &plan, life, before_kill);
        if let Some(server) = &server {
            let killed = Instant::now();
            eventually("the connections end", CONNECTIONS_END_MAX, || open_at(server.port()) == 0);
            figures.connections_ended_max = figures.connections_ended_max.max(killed.elapsed());
        }
        check_integrity(&lab, kill, seed);
    }
    let service = restart(&lab, seen.as_ref(), &mut figures);
    let acknowledged = acknowledged.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(acknowledged.experiments.len() >= kills, "{} were created", acknowledged.experiments.len());
    for id in &acknowledged.experiments {
        service.experiment(id);
    }
    for run in &acknowledged.runs {
        let answer = service.get(&format!("/api/v1/runs/{run}"));
        assert_eq!(answer.status, 200, "seed {seed}: {run} was acknowledged: {}", answer.text());
    }
    check_never_at_once(&service);
    assert!(figures.told > 0, "runs went on when their service was killed: {figures:?}");
    assert!(server.is_none() || figures.connected > 0, "they were connected: {figures:?}");
    report(kills, &figures, &acknowledged);
}

/// Starts a service where one was killed: what that had under way is over, and kept.
fn restart(lab: &Lab, seen: Option<&Seen>, figures: &mut Figures) -> Service {
    let restarted_at = jiff::Timestamp::now();
    // More is asked for than a service that dies all the time can do.
    let service = Service::of(lab.command(&["serve", "--listen", "127.0.0.1:0", "--queue-max", "1000000"]));
    check_settled(&service, restarted_at, figures);
    if let Some(seen) = seen {
        check_kept(&service, seen, figures);
    }
    service
}

/// Ends what goes on beside a test also where the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Requests and a run, until the service is killed in the midst of them.
fn live_and_die(
    mut service: Service,
    acknowledged: &Mutex<Acknowledged>,
    plan: &Value,
    life: Duration,
    before_kill: impl FnOnce(),
) -> Option<Seen> {
    let is_over = AtomicBool::new(false);
    let address = service.address.clone();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| create_until(&address, acknowledged, &is_over));
        }
        let watcher = scope.spawn(|| watch(&address, &is_over));
        let over = Over(&is_over);
        let id = service.create(plan);
        let run = service.run(&id);
        let mut known = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        known.experiments.push(id);
        known.runs.push(run);
        drop(known);
        thread::sleep(life);
        before_kill();
        service.child.kill().expect("our child");
        service.child.wait().expect("our child");
        let killed = (jiff::Timestamp::now(), Instant::now());
        drop(over);
        let seen = watcher.join().expect("it does not panic");
        seen.map(|seen| Seen { killed: Some(killed), ..seen })
    })
}

/// Follows the long run that goes on, as soon as one does, until its service dies.
fn watch(address: &str, is_over: &AtomicBool) -> Option<Seen> {
    let mut seen: Option<Seen> = None;
    while seen.is_none() && !is_over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(20));
        let Ok(listed) = request(address, "GET", "/api/v1/runs?status=running", None) else { continue };
        let runs = listed.json()["items"].as_array().cloned().unwrap_or_default();
        let Some(run) = runs.iter().find(|run| run["name"].as_str().is_some_and(|name| name.starts_with("long")))
        else {
            continue;
        };
        let started_at = run["started_at"].as_str().expect("a time").parse().expect("a time");
        let run = run["id"].as_str().expect("an id").to_owned();
        seen = Some(Seen { run, started_at, told: 0, load_began: None, killed: None });
    }
    let mut seen = seen?;
    let run = seen.run.clone();
    // Where the service dies before it has answered, nothing of the run was told.
    let _ = follow(address, &run, 0, |message| {
        if message["kind"] == "sample" {
            let second = message["second"].as_u64().expect("a number");
            assert_eq!(second, seen.told as u64, "seconds come one after another");
            seen.told += 1;
            let began = Instant::now().checked_sub(Duration::from_secs(second + 1));
            seen.load_began = seen.load_began.into_iter().chain(began).min();
        }
        !is_over.load(Ordering::Relaxed)
    });
    Some(seen)
}

/// Makes experiments and runs of a moment, and notes those that were acknowledged.
fn create_until(address: &str, acknowledged: &Mutex<Acknowledged>, is_over: &AtomicBool) {
    let body = json!({
        "name": "short", "database_type": "null",
        "config": { "workload": "ycsb:c", "settings": { "records": 10 }, "target": "null:", "load": { "operations": 10, "workers": 1 }, "collect": [] },
    });
    while !is_over.load(Ordering::Relaxed) {
        let Ok(created) = request(address, "POST", "/api/v1/experiments", Some(&body)) else { continue };
        if created.status != 201 {
            continue;
        }
        let id = created.json()["id"].as_str().expect("an id").to_owned();
        acknowledged.lock().unwrap_or_else(PoisonError::into_inner).experiments.push(id.clone());
        let Ok(accepted) = request(address, "POST", &format!("/api/v1/experiments/{id}/run"), None) else { continue };
        if accepted.status == 202 {
            let run = accepted.json()["run_id"].as_str().expect("an id").to_owned();
            acknowledged.lock().unwrap_or_else(PoisonError::into_inner).runs.push(run);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Whether no run of a service that was killed is shown as going on.
fn check_settled(service: &Service, restarted_at: jiff::Timestamp, figures: &mut Figures) {
    let started = Instant::now();
    eventually("no run of the killed service is shown as going on", RUNNING_MAX, || {
        let listed = service.get("/api/v1/runs?status=running&limit=200").json();
        let runs = listed["items"].as_array().expect("a list");
        let time =
            |run: &Value| run["started_at"].as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time");
        runs.iter().all(|run| time(run) >= restarted_at)
    });
    figures.settled_max = figures.settled_max.max(started.elapsed());
}

/// Whether a run whose service was killed has all seconds that were told of it, and all that were over but for the last.
fn check_kept(service: &Service, seen: &Seen, figures: &mut Figures) {
    let Seen { run, started_at, told, load_began, killed } = seen;
    let (killed_at, killed) = killed.expect("it is over");
    let samples = service.get(&format!("/api/v1/runs/{run}/samples?limit=200")).json();
    let samples = samples["items"].as_array().expect("a list");
    let kept = samples.len();
    let whole = samples.iter().enumerate().all(|(place, sample)| sample["second"] == place);
    assert!(whole, "{run}: seconds are missing between others: {samples:?}");
    assert!(kept >= *told, "{run}: {kept} seconds are kept, and {told} had been told");
    figures.watched += 1;
    figures.told += usize::from(*told > 0);
    // A run that lasted into its end has no more seconds than it took.
    if service.get(&format!("/api/v1/runs/{run}")).json()["status"] != "interrupted" {
        return;
    }
    let beyond_kept = killed_at.duration_since(*started_at).as_secs_f64() - kept as f64;
    assert!(
        beyond_kept <= SECONDS_LOST_MAX,
        "{run}: {kept} seconds are kept, and it went on for {beyond_kept:.2} more"
    );
    figures.beyond_kept_max = figures.beyond_kept_max.max(beyond_kept);
    if let Some(load_began) = load_began {
        let over = killed.duration_since(*load_began).as_secs() as usize;
        figures.lost_max = figures.lost_max.max(over.saturating_sub(kept));
        figures.lost_of += usize::from(over > kept);
    }
}

/// Connections of a server's port that are not over, seen from either side: a client that was killed has none any more, while the
/// server may not have noticed.
fn open_at(port: u16) -> usize {
    /// Neither a listener nor the kernel's memory of a connection (`include/net/tcp_states.h`).
    const NOT_OPEN: [&str; 2] = ["0A", "06"];
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux has it");
    let place = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[1].ends_with(&place) || fields[2].ends_with(&place))
        .filter(|fields| !NOT_OPEN.contains(&fields[3]))
        .count()
}

#[expect(clippy::print_stdout, reason = "the figures of the long form are what it is made for")]
fn report(kills: usize, figures: &Figures, acknowledged: &Acknowledged) {
    let Acknowledged { experiments, runs } = acknowledged;
    let (experiments, runs) = (experiments.len(), runs.len());
    println!("{kills} kills: {experiments} experiments and {runs} runs were acknowledged, none is lost; {figures:?}");
}

fn check_integrity(lab: &Lab, kill: usize, seed: u64) {
    let location = results::Location::File(store_of(lab));
    let mut results = results::Results::open(&location).expect("opens");
    assert_eq!(results.integrity().expect("readable"), Vec::<String>::new(), "kill {kill}, seed {seed}");
}

/// Whether no two runs on the long runs' target went on at the same time, and none has two records.
fn check_never_at_once(service: &Service) {
    let (mut spans, mut ids, mut cursor) = (Vec::new(), BTreeSet::new(), String::new());
    loop {
        let page = service.get(&format!("/api/v1/runs?limit=200{cursor}")).json();
        for run in page["items"].as_array().expect("a list") {
            let time = |field: &str| run[field].as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time");
            assert!(ids.insert(run["id"].to_string()), "{} is listed twice", run["id"]);
            if run["driver"] == "postgres" && run["status"] != "running" {
                spans.push((time("started_at"), time("ended_at")));
            }
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    spans.sort_unstable();
    for pair in spans.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "two runs on one target at once: {pair:?}");
    }
}

#[test]
fn a_run_is_made_again_where_its_plan_says_so_and_only_there() {
    let lab = Lab::new();
    let target = Some("null:?latency=1ms".to_owned());
    let (mut experiments, mut runs) = (Vec::new(), Vec::new());
    {
        let mut service = Service::start(&lab);
        for on_restart in ["rerun", "interrupt"] {
            let id = service.create(&long_run("null", target.as_ref(), on_restart));
            runs.push(service.run(&id));
            experiments.push(id);
        }
        for run in &runs {
            service.await_seconds(run, 1);
        }
        service.child.kill().expect("our child");
        service.child.wait().expect("our child");
    }
    let mut service = Service::start(&lab);
    service.await_status(&experiments[1], &["interrupted"]);
    let again = service.await_status(&experiments[0], &["running"]);
    let rerun = again["run_id"].as_str().expect("an id").to_owned();
    assert_ne!(rerun, runs[0]);
    service.await_seconds(&rerun, 1);
    assert_eq!(service.get(&format!("/api/v1/runs/{}", runs[0])).json()["status"], "interrupted");
    let measured = service.experiment(&experiments[1]);
    assert!(
        measured["results"]["performance_metrics"]["total_queries"].as_u64().is_some_and(|count| count > 0),
        "{measured}"
    );
    service.child.kill().expect("our child");
    service.child.wait().expect("our child");
    let service = Service::start(&lab);
    let over = service.await_status(&experiments[0], &["interrupted", "running"]);
    assert_eq!((&over["status"], &over["run_id"]), (&json!("interrupted"), &json!(rerun)), "once, and not for ever");
}

#[test]
fn a_viewer_goes_on_without_a_gap_after_the_service_was_killed() {
    let lab = Lab::new();
    let target = Some("null:?latency=1ms".to_owned());
    let (run, before);
    {
        let mut service = Service::start(&lab);
        let id = service.create(&long_run("null", target.as_ref(), "interrupt"));
        run = service.run(&id);
        service.await_seconds(&run, 2);
        before = numbers(&service, &run, 0, Some(4));
        service.child.kill().expect("our child");
        service.child.wait().expect("our child");
    }
    assert!(
        before.len() >= 4 && before.iter().zip(1..).all(|((number, _), expected)| *number == expected),
        "{before:?}"
    );
    let service = Service::start(&lab);
    let (last, _) = before.last().expect("there are some");
    let after = numbers(&service, &run, *last, None);
    assert!(after.iter().zip(last + 1..).all(|((number, _), expected)| *number == expected), "{before:?} {after:?}");
    assert_eq!(after.last().map(|(_, kind)| kind.as_str()), Some("ended"), "{after:?}");
    let whole = numbers(&service, &run, 0, None);
    assert!(whole.iter().eq(before.iter().chain(&after)), "{whole:?}");
    assert_eq!(numbers(&service, &run, *last + after.len() as u64, None), [], "nothing comes behind the end");
}

/// Numbers and kinds of the messages of a run behind one: so many, or to the end of the stream.
fn numbers(service: &Service, run: &str, after: u64, at_most: Option<usize>) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    let started = Instant::now();
    let followed = follow(&service.address, run, after, |message| {
        let kind = message["kind"].as_str().expect("a kind").to_owned();
        found.push((message["number"].as_u64().expect("a number"), kind));
        assert!(started.elapsed() < Duration::from_mins(1), "{found:?}");
        at_most.is_none_or(|most| found.len() < most)
    });
    followed.expect("it listens");
    found
}

/// Follows a run behind a message until its stream ends, or whoever takes the messages has enough.
fn follow(address: &str, run: &str, after: u64, mut take: impl FnMut(&Value) -> bool) -> std::io::Result<()> {
    use std::io::{BufRead, BufReader, Write};
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    write!(
        stream,
        "GET /api/v1/runs/{run}/live HTTP/1.1\r\nHost: {address}\r\nLast-Event-ID: {after}\r\nConnection: close\r\n\r\n"
    )?;
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let Some(data) = line.strip_prefix("data: ") else { continue };
        // The last one may have been cut off with the life of the service.
        let Ok(message) = serde_json::from_str(data) else { break };
        if !take(&message) {
            break;
        }
    }
    Ok(())
}
