//! Runs while they go on: in order, without a gap, for many at once, whatever one of them does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::experiments::{await_status, create, null_plan, run};
use crate::support::Lab;

/// How many follow a run at the same time; the long form of the test says another number in the environment.
const VIEWERS: usize = 60;
const VIEWERS_VARIABLE: &str = "SERVER_VIEWERS";

/// Every so manieth viewer never reads.
const SILENT: usize = 10;

const PATIENCE: Duration = Duration::from_mins(1);

fn follow(lab: &Lab, run: &str, after: Option<u64>) -> TcpStream {
    let mut stream = TcpStream::connect(lab.address()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let request = lab.get(&format!("/api/v1/runs/{run}/live"));
    let request = after.map_or(request.clone(), |after| request.header("Last-Event-ID", &after.to_string()));
    stream.write_all(&request.bytes()).expect("it reads");
    stream
}

/// The messages of a stream to its end.
fn messages(stream: TcpStream) -> Vec<Value> {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.filter_map(|line| line.strip_prefix("data: ").map(|data| serde_json::from_str(data).expect("JSON"))).collect()
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
    let viewers = std::env::var(VIEWERS_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(VIEWERS);
    let mut plan = null_plan(4);
    plan["config"]["thresholds"] = serde_json::json!(["p99(read) < 10s"]);
    let id = create(&lab, &plan);
    let run = run(&lab, &id);
    let mut silent = Vec::new();
    let read: Vec<Vec<Value>> = thread::scope(|scope| {
        let mut reading = Vec::new();
        for viewer in 0..viewers {
            let stream = follow(&lab, &run, None);
            if viewer % SILENT == 0 {
                silent.push(stream);
            } else {
                reading.push(scope.spawn(move || messages(stream)));
            }
        }
        reading.into_iter().map(|viewer| viewer.join().expect("no panic")).collect()
    });
    await_status(&lab, &id, "completed");
    let whole = &read[0];
    assert!(numbers(whole).into_iter().eq(1..=whole.len() as u64), "{:?}", numbers(whole));
    let kinds = kinds(whole);
    for kind in ["started", "phase", "threshold", "event"] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    assert!(kinds.iter().filter(|kind| **kind == "sample").count() >= 4, "{kinds:?}");
    assert_eq!(kinds.last(), Some(&"ended"));
    let ended = whole.last().expect("there are some");
    assert_eq!(ended["status"], "completed");
    assert!(ended["verdict"]["valid"].is_boolean(), "{ended}");
    for other in &read {
        assert_eq!(other, whole);
    }
    // From the store it is the same as it was live.
    assert_eq!(&messages(follow(&lab, &run, None)), whole);
    for after in [1, 3, whole.len() as u64 - 1] {
        assert_eq!(messages(follow(&lab, &run, Some(after))), whole[after as usize..], "after {after}");
    }
    assert_eq!(messages(follow(&lab, &run, Some(whole.len() as u64))), Vec::<Value>::new());
}

#[test]
fn a_web_socket_tells_the_same() {
    let lab = Lab::open();
    let id = create(&lab, &null_plan(2));
    let run = run(&lab, &id);
    let mut stream = TcpStream::connect(lab.address()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let request = lab
        .get(&format!("/api/v1/runs/{run}/live"))
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
    assert_eq!(messages(follow(&lab, &run, None)), told);
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
