//! What viewers of a run cost: the processor time of the service with and without them, in turn during one run that itself costs
//! next to nothing.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::host::{Processors, Shares};
use crate::http::{Connection, hang_up};
use crate::outcome::{Figure, Outcome, Unit};
use crate::process::{Service, own_processor_time};
use crate::runs;

/// What all of them may cost.
const PERCENT_MAX: f64 = 10.0;

/// After they have come or gone, before anything counts.
const SETTLE: Duration = Duration::from_secs(3);

/// How long the run may take to have its first second.
const BEGIN_MAX: Duration = Duration::from_secs(30);

/// Of a thread that reads a stream.
const STACK_BYTES: usize = 64 * 1024;

/// Where a message of a stream of events ends.
const MESSAGE_END: [u8; 2] = *b"\n\n";

/// How many, for how long at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Audience {
    pub(crate) viewers: usize,
    pub(crate) seconds: u32,
}

/// A part of the run, with or without viewers.
struct Window {
    service_percent: f64,
    client_percent: f64,
    shares: Shares,
}

/// Measures rounds of A B B A during one run.
pub(crate) fn measure(service: &Service, audience: Audience, rounds: usize) -> anyhow::Result<Outcome> {
    let window = Duration::from_secs(u64::from(audience.seconds)) + SETTLE;
    // Each window, its viewers' coming, and some seconds for what goes before and after.
    let seconds = (window + SETTLE).as_secs() * 2 * rounds as u64 + 30;
    let mut connection = Connection::open(service.address)?;
    let experiment = runs::create(&mut connection, "viewers", &slow_run(seconds))?;
    let run = runs::start(&mut connection, &experiment)?;
    await_seconds(&mut connection, &run)?;
    drop(connection);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        if round % 2 == 0 {
            without.push(alone(service, audience)?);
            with.push(watched(service, &run, audience)?);
        } else {
            with.push(watched(service, &run, audience)?);
            without.push(alone(service, audience)?);
        }
    }
    let mut connection = Connection::open(service.address)?;
    connection.post(&format!("/api/v1/experiments/{experiment}/cancel"), None)?;
    let differences = with.iter().zip(&without).map(|(with, without)| with.service_percent - without.service_percent);
    let name = format!("{} live viewers", audience.viewers);
    let figure = |what: String, windows: &[Window], part: fn(&Window) -> f64| {
        Figure::new(what, Unit::PercentOfCore, windows.iter().map(part).collect())
    };
    let figures = vec![
        Figure::new(format!("{name}: the service, with less without"), Unit::PercentOfCore, differences.collect())
            .at_most(PERCENT_MAX),
        figure(format!("{name}: the service with them"), &with, |window| window.service_percent),
        figure(format!("{name}: the service without"), &without, |window| window.service_percent),
        figure(format!("{name}: the viewers themselves"), &with, |window| window.client_percent),
    ];
    Ok(Outcome { figures, host: with.iter().chain(&without).map(|window| window.shares).collect() })
}

/// A run that goes on for so long and does next to nothing.
fn slow_run(seconds: u64) -> Value {
    json!({
        "target": "null:?latency=1ms", "workload": "ycsb:c", "settings": { "records": 10 }, "collect": ["host"],
        "load": { "rate": "50/s", "for": format!("{seconds}s"), "warm_up": "0s", "sessions": 2, "workers": 1 },
    })
}

fn await_seconds(connection: &mut Connection, run: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    let path = format!("/api/v1/runs/{run}/samples");
    // Before it begins, a run has no seconds that could be asked for.
    let mut has_begun =
        || connection.get(&path).is_ok_and(|page| page["items"].as_array().is_some_and(|items| !items.is_empty()));
    while !has_begun() {
        ensure!(begun.elapsed() < BEGIN_MAX, "the run does not begin");
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn alone(service: &Service, audience: Audience) -> anyhow::Result<Window> {
    thread::sleep(SETTLE);
    watch(service, audience)
}

fn watched(service: &Service, run: &str, audience: Audience) -> anyhow::Result<Window> {
    let mut viewers = Vec::new();
    for _ in 0..audience.viewers {
        viewers.push(Viewer::open(service, run)?);
    }
    thread::sleep(SETTLE);
    let before: Vec<u64> = viewers.iter().map(Viewer::messages).collect();
    let window = watch(service, audience)?;
    let fewest = viewers.iter().zip(&before).map(|(viewer, before)| viewer.messages() - before).min().unwrap_or(0);
    // A message each second; the window may begin and end between two.
    ensure!(fewest + 1 >= u64::from(audience.seconds), "a viewer got {fewest} messages in {} s", audience.seconds);
    viewers.into_iter().try_for_each(Viewer::close)?;
    Ok(window)
}

/// What is used while nothing changes.
fn watch(service: &Service, audience: Audience) -> anyhow::Result<Window> {
    let begun = Instant::now();
    let (processors, of_service, of_client) = (Processors::now()?, service.processor_time()?, own_processor_time()?);
    thread::sleep(Duration::from_secs(u64::from(audience.seconds)));
    let of_service = service.processor_time()?.saturating_sub(of_service);
    let of_client = own_processor_time()?.saturating_sub(of_client);
    let percent = |used: Duration| 100.0 * used.as_secs_f64() / begun.elapsed().as_secs_f64();
    Ok(Window {
        service_percent: percent(of_service),
        client_percent: percent(of_client),
        shares: processors.since(of_service + of_client)?,
    })
}

/// Somebody who follows a run as a stream of events.
struct Viewer {
    stream: TcpStream,
    messages: Arc<AtomicU64>,
    reader: JoinHandle<()>,
}

impl Viewer {
    fn open(service: &Service, run: &str) -> anyhow::Result<Self> {
        let stream = Connection::open(service.address)?.follow(&format!("/api/v1/runs/{run}/live"))?;
        let messages = Arc::new(AtomicU64::new(0));
        let (read, counted) = (stream.try_clone()?, Arc::clone(&messages));
        let work = move || count(read, &counted);
        let reader = thread::Builder::new().stack_size(STACK_BYTES).spawn(work).context("no thread for a viewer")?;
        Ok(Self { stream, messages, reader })
    }

    fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    fn close(self) -> anyhow::Result<()> {
        hang_up(&self.stream);
        self.reader.join().map_err(|_| anyhow::anyhow!("a viewer's thread has panicked"))
    }
}

/// Reads until the stream ends, and counts the messages. Each is written whole, in a chunk of its own.
fn count(mut stream: impl std::io::Read, messages: &AtomicU64) {
    let mut buffer = [0; 16 * 1024];
    let mut last = 0;
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        let ends = ends_in(&buffer[..read], &mut last);
        messages.fetch_add(ends, Ordering::Relaxed);
    }
}

/// Ends of messages, also where one lies across two pieces; `last` is the byte before.
fn ends_in(piece: &[u8], last: &mut u8) -> u64 {
    let mut ends = 0;
    for byte in piece {
        if [*last, *byte] == MESSAGE_END {
            ends += 1;
        }
        *last = *byte;
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let stream =
            "1a\r\nid: 1\nevent: sample\ndata: {}\n\n\r\n1a\r\nid: 2\nevent: sample\ndata: {}\n\n\r\n".as_bytes();
        for piece in [1, 7, 34, stream.len()] {
            let mut last = 0;
            let counted: u64 = stream.chunks(piece).map(|piece| ends_in(piece, &mut last)).sum();
            assert_eq!(counted, 2, "in pieces of {piece}");
        }
        let messages = AtomicU64::new(0);
        count(stream, &messages);
        assert_eq!(messages.load(Ordering::Relaxed), 2);
    }
}
