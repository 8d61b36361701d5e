//! Runs while they go on: in order, without a gap, for many at once, whatever one of them does.
//!
//! 40 follow a run, of which 4 never read; `SERVER_VIEWERS=500` makes it as many, for longer, and holds the service to what
//! docs/service.md promises of how soon the others hear.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::experiments::{await_status, create, null_plan, run};
use crate::support::Lab;

/// How many follow a run at the same time; the long form of the test says another number in the environment.
const VIEWERS: usize = 40;
const VIEWERS_VARIABLE: &str = "SERVER_VIEWERS";

/// Seconds of the run that they follow, in either form.
const SECONDS: u32 = 4;
const SECONDS_LONG: u32 = 20;

/// Every so manieth viewer never reads.
const SILENT: usize = 10;

/// How late those who read may hear of a second or a quarter, 95 times out of 100, where the number is given.
const DELAY_P95_MAX: Duration = Duration::from_millis(300);

const PATIENCE: Duration = Duration::from_mins(1);

fn follow(lab: &Lab, run: &str, after: Option<u64>) -> TcpStream {
    follow_every(lab, run, after, "1s")
}

fn follow_every(lab: &Lab, run: &str, after: Option<u64>, every: &str) -> TcpStream {
    let mut stream = TcpStream::connect(lab.address()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let request = lab.get(&format!("/api/v1/runs/{run}/live?every={every}"));
    let request = after.map_or(request.clone(), |after| request.header("Last-Event-ID", &after.to_string()));
    stream.write_all(&request.bytes()).expect("it reads");
    stream
}

/// The lines of a stream to its end, each with when it came.
fn lines(stream: TcpStream) -> Vec<(Instant, String)> {
    BufReader::new(stream).lines().map_while(Result::ok).map(|line| (Instant::now(), line)).collect()
}

/// The messages of such lines.
fn read(lines: &[(Instant, String)]) -> Vec<(Instant, Value)> {
    let data = lines.iter().filter_map(|(at, line)| Some((*at, line.strip_prefix("data: ")?)));
    data.map(|(at, data)| (at, serde_json::from_str(data).expect("JSON"))).collect()
}

/// The messages of a stream to its end.
fn messages(stream: TcpStream) -> Vec<Value> {
    read(&lines(stream)).into_iter().map(|(_, message)| message).collect()
}

/// Those that are numbered.
fn durable(messages: &[Value]) -> Vec<Value> {
    messages.iter().filter(|message| message["kind"] != "quarter").cloned().collect()
}

/// When a message could be told at the earliest, in seconds since the load's start.
fn due_seconds(message: &Value) -> Option<f64> {
    let second = message["second"].as_f64()?;
    match message["kind"].as_str()? {
        "sample" => Some(second + 1.0),
        "quarter" => Some(second + (message["quarter"].as_f64()? + 1.0) / 4.0),
        _ => None,
    }
}

/// How late viewers heard of seconds and quarters, in order. The load's start is not told, so what the fastest message took
/// counts as nothing.
fn delays(heard: &[Vec<(Instant, Value)>]) -> Vec<Duration> {
    let first = heard.iter().flatten().map(|(at, _)| *at).min().expect("somebody heard something");
    let late = |(at, message): &(Instant, Value)| Some((*at - first).as_secs_f64() - due_seconds(message)?);
    let mut late: Vec<f64> = heard.iter().flatten().filter_map(late).collect();
    late.sort_unstable_by(f64::total_cmp);
    late.iter().map(|seconds| Duration::from_secs_f64(seconds - late[0])).collect()
}

fn numbers(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["number"].as_u64().expect("a number")).collect()
}

fn kinds(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["kind"].as_str().expect("a kind")).collect()
}

#[test]
fn many_follow_a_run_in_order_although_some_never_read() {
    let lab = Lab::open();
    let given = std::env::var(VIEWERS_VARIABLE).ok().map(|text| text.parse().expect("a number"));
    let viewers: usize = given.unwrap_or(VIEWERS);
    let mut plan = null_plan(if given.is_some() { SECONDS_LONG } else { SECONDS });
    plan["config"]["thresholds"] = serde_json::json!(["p99(read) < 10s"]);
    let id = create(&lab, &plan);
    let run = run(&lab, &id);
    let mut silent = Vec::new();
    let heard: Vec<Vec<(Instant, Value)>> = thread::scope(|scope| {
        let mut reading = Vec::new();
        for viewer in 0..viewers {
            let stream = follow_every(&lab, &run, None, if viewer % 2 == 0 { "250ms" } else { "1s" });
            if viewer % SILENT == 0 {
                silent.push(stream);
            } else {
                reading.push(scope.spawn(move || lines(stream)));
            }
        }
        reading.into_iter().map(|viewer| read(&viewer.join().expect("no panic"))).collect()
    });
    await_status(&lab, &id, "completed");
    let delays = delays(&heard);
    let at = |share: usize| delays[(delays.len() - 1) * share / 100];
    let (p95, figures) = (at(95), format!("p50 {:?}, p95 {:?}, p99 {:?}, max {:?}", at(50), at(95), at(99), at(100)));
    let told = delays.len();
    writeln!(std::io::stderr(), "{viewers} viewers, {} never read; delay of {told} figures: {figures}", silent.len())
        .expect("it is told");
    let read: Vec<Vec<Value>> =
        heard.into_iter().map(|heard| heard.into_iter().map(|(_, message)| message).collect()).collect();
    let whole = &durable(&read[0]);
    assert!(numbers(whole).into_iter().eq(1..=whole.len() as u64), "{:?}", numbers(whole));
    let kinds = kinds(whole);
    for kind in ["started", "phase", "threshold", "event"] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    assert!(kinds.iter().filter(|kind| **kind == "sample").count() >= SECONDS as usize, "{kinds:?}");
    assert_eq!(kinds.last(), Some(&"ended"));
    let ended = whole.last().expect("there are some");
    assert_eq!(ended["status"], "completed");
    assert!(ended["verdict"]["valid"].is_boolean(), "{ended}");
    for other in &read {
        assert_eq!(&durable(other), whole);
    }
    // Whoever never read has no more than the system keeps for it, and no gap in that.
    for stream in silent {
        let kept = durable(&messages(stream));
        assert_eq!(kept, whole[..kept.len()]);
    }
    // From the store it is the same as it was live.
    assert_eq!(&messages(follow(&lab, &run, None)), whole);
    for after in [1, 3, whole.len() as u64 - 1] {
        assert_eq!(messages(follow(&lab, &run, Some(after))), whole[after as usize..], "after {after}");
    }
    assert_eq!(messages(follow(&lab, &run, Some(whole.len() as u64))), Vec::<Value>::new());
    if given.is_some() {
        assert!(p95 <= DELAY_P95_MAX, "{figures}");
    }
}

/// The seconds of a viewer that have quarters, each with those before it.
fn quartered(messages: &[Value]) -> Vec<(Value, Vec<Value>)> {
    let mut quarters = Vec::new();
    let mut seconds = Vec::new();
    for message in messages {
        match message["kind"].as_str() {
            Some("quarter") => quarters.push(message.clone()),
            Some("sample") if !quarters.is_empty() => {
                seconds.push((message.clone(), std::mem::take(&mut quarters)));
            }
            _ => {}
        }
    }
    // A last second in which nothing ended is none.
    assert!(quarters.iter().all(|quarter| quarter["succeeded"] == 0 && quarter["failed"] == 0), "{quarters:?}");
    seconds
}

#[test]
fn seconds_come_in_quarters_too_where_that_is_asked_for_and_are_their_sum() {
    let lab = Lab::open();
    let id = create(&lab, &null_plan(4));
    let run = run(&lab, &id);
    let streams = [follow_every(&lab, &run, None, "250ms"), follow_every(&lab, &run, None, "1s")];
    let [lines, plain] =
        streams.map(|stream| thread::spawn(move || lines(stream))).map(|one| one.join().expect("read"));
    let told: Vec<Value> = read(&lines).into_iter().map(|(_, message)| message).collect();
    let plain: Vec<Value> = read(&plain).into_iter().map(|(_, message)| message).collect();
    assert_eq!(durable(&told), plain);
    assert!(!kinds(&plain).contains(&"quarter"));
    // What can be gone on behind has an id, and nothing else has.
    let ids = lines.iter().filter(|(_, line)| line.starts_with("id: ")).count();
    assert_eq!(ids, plain.len());
    let seconds = quartered(&told);
    // Seconds that began before anybody watched have none.
    assert!(seconds.len() >= 2, "{told:?}");
    let last = seconds.len() - 1;
    for (at, (second, quarters)) in seconds.iter().enumerate() {
        let places: Vec<u64> = quarters.iter().map(|quarter| quarter["quarter"].as_u64().expect("a place")).collect();
        assert!(places.iter().copied().eq(0..places.len() as u64), "{places:?}");
        assert!(places.len() == 4 || at == last, "{second}: {places:?}");
        for field in ["succeeded", "failed"] {
            let sum: u64 = quarters.iter().map(|quarter| quarter[field].as_u64().expect("a count")).sum();
            assert_eq!(Some(sum), second[field].as_u64(), "{field}: {second}: {quarters:?}");
        }
        for quarter in quarters {
            assert_eq!((&quarter["second"], &quarter["seconds"]), (&second["second"], &serde_json::json!(0.25)));
            assert!(quarter["gauges"]["generator.in_flight"].is_number(), "{quarter}");
            assert_eq!(quarter["number"].as_u64(), second["number"].as_u64().map(|number| number - 1), "{quarter}");
        }
    }
    // They are told live only.
    assert_eq!(messages(follow_every(&lab, &run, Some(2), "250ms")), plain[2..]);
    for wrong in ["100ms", "1", ""] {
        let refused = lab.get(&format!("/api/v1/runs/{run}/live?every={wrong}")).send().problem(422);
        assert_eq!(refused["field"], "every", "{refused}");
        assert!(refused["remedy"].as_str().is_some_and(|remedy| remedy.contains("`250ms`")), "{refused}");
    }
}

#[test]
fn a_web_socket_tells_the_same() {
    let lab = Lab::open();
    // Long enough for a second that begins after the viewer has come.
    let id = create(&lab, &null_plan(3));
    let run = run(&lab, &id);
    let mut stream = TcpStream::connect(lab.address()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let request = lab
        .get(&format!("/api/v1/runs/{run}/live?every=250ms"))
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    stream.write_all(&request.bytes()).expect("it reads");
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status).expect("an answer");
    assert!(status.contains("101"), "{status}");
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).expect("a header");
    }
    let mut told = Vec::new();
    while let Some(text) = frame(&mut reader) {
        told.push(serde_json::from_str::<Value>(&text).expect("JSON"));
    }
    assert_eq!(kinds(&told).last(), Some(&"ended"), "{told:?}");
    assert!(kinds(&told).contains(&"quarter"), "{told:?}");
    assert_eq!(messages(follow(&lab, &run, None)), durable(&told));
}

/// The next text that a server sends (RFC 6455, section 5.2); none once it closes.
fn frame(reader: &mut impl Read) -> Option<String> {
    loop {
        let mut head = [0; 2];
        reader.read_exact(&mut head).ok()?;
        let (code, short) = (head[0] & 0x0f, u64::from(head[1] & 0x7f));
        let length = match short {
            126 => {
                let mut bytes = [0; 2];
                reader.read_exact(&mut bytes).ok()?;
                u64::from(u16::from_be_bytes(bytes))
            }
            127 => {
                let mut bytes = [0; 8];
                reader.read_exact(&mut bytes).ok()?;
                u64::from_be_bytes(bytes)
            }
            short => short,
        };
        let mut payload = vec![0; usize::try_from(length).expect("short")];
        reader.read_exact(&mut payload).ok()?;
        match code {
            1 => return String::from_utf8(payload).ok(),
            8 => return None,
            _ => {}
        }
    }
}

#[test]
fn a_run_that_waits_can_be_followed_and_one_that_is_none_cannot() {
    let lab = Lab::open();
    lab.get(&format!("/api/v1/runs/{}/live", uuid::Uuid::nil())).send().problem(404);
    let id = create(&lab, &null_plan(1));
    let run = run(&lab, &id);
    let told = messages(follow(&lab, &run, None));
    assert_eq!(kinds(&told).last(), Some(&"ended"));
    lab.get(&format!("/api/v1/runs/{run}/live")).header("Last-Event-ID", "x").send().problem(422);
}
