//! Does nothing, so that what a run costs without a data store can be measured: the harness itself.
//!
//! With URL parameters it becomes a virtual server whose latency, queue, stalls and failures are known exactly, against
//! which the measurement itself is checked.

mod server;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use store::{
    Capabilities, Capability, Completion, Counters, Dataset, Driver, Effect, Error, LoadPart, LoadState,
    LocalBoxFuture, Namespace, Operation, Outcome, OwnedObject, RecordSource, Request, Result, Rows, ServerInfo,
    Session, SessionSpec, Store, Target, TargetOption, Token, did_you_mean,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::memory::Manifest;
use server::{Distribution, Servers, ServiceTime};

/// The driver.
pub(crate) struct Null;

/// Far more than any load needs; bounds the queue of a session.
const DEPTH_MAX: usize = 4096;

/// The longest latency or stall: longer ones are typing errors, and `Instant` could overflow.
const DURATION_MAX: Duration = Duration::from_hours(1);

static OPERATIONS: [Operation; 1] =
    [Operation::new("noop", Effect::Reads, "nothing: what remains is the cost of the harness; nothing to verify")];

/// More would stand for no server that there is; bounds the queue's memory.
const SERVERS_MAX: u64 = 4096;

/// Standard deviation of log-normal service times over their mean, where the URL does not say: a store that mostly
/// answers alike and at times takes double.
const SPREAD_DEFAULT: f64 = 0.5;

/// Beyond it a sample of any length that a run has tells nothing about the mean.
const SPREAD_MAX: f64 = 10.0;

static OPTIONS: [TargetOption; 9] = [
    TargetOption { name: "latency", summary: "service time of each request, such as 100us; nothing" },
    TargetOption {
        name: "distribution",
        summary: "how service times are spread around `latency`: constant, exponential or lognormal; the n-th request of all always takes the same",
    },
    TargetOption { name: "spread", summary: "standard deviation of lognormal service times over their mean; 0.5" },
    TargetOption { name: "seed", summary: "what drawn service times derive from; 1" },
    TargetOption {
        name: "servers",
        summary: "how many requests of all sessions are served at the same time, the others queueing in the order in which they came; all",
    },
    TargetOption {
        name: "stall_at",
        summary: "when the server stops to answer, from the first session on, such as 5s",
    },
    TargetOption { name: "stall_for", summary: "how long it then does not answer, such as 2s" },
    TargetOption { name: "fail_every", summary: "every so manieth request is rejected; none" },
    TargetOption { name: "lose_every", summary: "every so manieth request finds the connection lost; none" },
];

impl Driver for Null {
    fn name(&self) -> &'static str {
        "null"
    }

    fn title(&self) -> &'static str {
        "Null"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["null"]
    }

    fn default_port(&self) -> Option<u16> {
        None
    }

    fn capabilities(&self) -> Capabilities {
        const CAPABILITIES: Capabilities = Capabilities::of(&[
            Capability::KeyValue,
            Capability::OrderedScan,
            Capability::Pipelining,
            Capability::Embedded,
        ]);
        CAPABILITIES
    }

    fn operations(&self) -> &'static [Operation] {
        &OPERATIONS
    }

    fn options(&self) -> &'static [TargetOption] {
        &OPTIONS
    }

    fn connect<'a>(&'a self, target: &'a Target) -> LocalBoxFuture<'a, Result<Arc<dyn Store>>> {
        Box::pin(async {
            let behaviour = Behaviour::of(target)?;
            Ok(Arc::new(NullStore { manifest: Manifest::default(), behaviour: behaviour.map(Arc::new) })
                as Arc<dyn Store>)
        })
    }
}

/// How the virtual server behaves, shared by its sessions.
struct Behaviour {
    service: ServiceTime,
    /// None where every request is served at once.
    servers: Option<Servers>,
    /// From when to when nothing is answered, since `opened`.
    stall: Option<(Duration, Duration)>,
    fail_every: Option<u64>,
    lose_every: Option<u64>,
    /// When the first session was opened.
    opened: OnceLock<Instant>,
    /// Requests of all sessions.
    requests: AtomicU64,
}

impl Behaviour {
    /// None where no parameter is given.
    fn of(target: &Target) -> Result<Option<Self>> {
        if OPTIONS.iter().all(|option| target.option(option.name).is_none()) {
            return Ok(None);
        }
        let stall = match (duration(target, "stall_at")?, duration(target, "stall_for")?) {
            (Some(at), Some(length)) => Some((at, at + length)),
            (None, None) => None,
            _ => {
                return Err(Error::config("the target gives only one of `stall_at` and `stall_for`")
                    .with_hint("a stall needs both: stall_at=5s&stall_for=2s"));
            }
        };
        Ok(Some(Self {
            service: service_time(target)?,
            servers: servers(target)?,
            stall,
            fail_every: count(target, "fail_every")?,
            lose_every: count(target, "lose_every")?,
            opened: OnceLock::new(),
            requests: AtomicU64::new(0),
        }))
    }

    /// When the request of that number, which is submitted now, is answered; none for at once.
    fn due(&self, number: u64) -> Option<Instant> {
        if self.service.mean.is_zero() && self.stall.is_none() {
            return None;
        }
        let now = Instant::now();
        let service = self.service.of(number);
        if let Some(servers) = &self.servers {
            let opened = *self.opened.get_or_init(|| now);
            return Some(opened + servers.done(now.saturating_duration_since(opened), service, self.stall));
        }
        let due = now + service;
        let Some((from, to)) = self.stall else {
            return Some(due);
        };
        let opened = *self.opened.get_or_init(|| now);
        let stalled = (from..to).contains(&due.saturating_duration_since(opened));
        Some(if stalled { opened + to } else { due })
    }

    /// The number of the next request, counted over all sessions from 1.
    fn number(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What becomes of the request of that number.
    fn fate(&self, number: u64) -> Fate {
        let hits = |every: Option<u64>| every.is_some_and(|every| number.is_multiple_of(every));
        if hits(self.lose_every) {
            Fate::Lost
        } else if hits(self.fail_every) {
            Fate::Rejected
        } else {
            Fate::Answered
        }
    }
}

/// How long a request is served.
fn service_time(target: &Target) -> Result<ServiceTime> {
    let spread = target.option_parsed::<f64>("spread")?;
    let distribution = match target.option("distribution").unwrap_or("constant") {
        "constant" => Distribution::Constant,
        "exponential" => Distribution::Exponential,
        "lognormal" => Distribution::LogNormal(spread.unwrap_or(SPREAD_DEFAULT)),
        other => {
            let error = Error::config(format!("the target's `distribution={other}` is none"));
            return Err(match did_you_mean(other, ["constant", "exponential", "lognormal"]) {
                Some(near) => error.with_hint(format!("did you mean `{near}`?")),
                None => error.with_hint("there are constant, exponential and lognormal"),
            });
        }
    };
    match (distribution, spread) {
        (Distribution::LogNormal(spread), _) if spread > 0.0 && spread <= SPREAD_MAX => {}
        (Distribution::LogNormal(spread), _) => {
            return Err(Error::config(format!("the target's `spread={spread}` is not possible"))
                .with_hint(format!("use a spread above 0 and at most {SPREAD_MAX}")));
        }
        (_, Some(_)) => {
            return Err(Error::config("the target's `spread` has no meaning without `distribution=lognormal`")
                .with_hint("exponential service times have a spread of 1, constant ones none"));
        }
        (_, None) => {}
    }
    let mean = duration(target, "latency")?.unwrap_or_default();
    Ok(ServiceTime { mean, distribution, seed: target.option_parsed("seed")?.unwrap_or(1) })
}

/// What requests queue for, where they do.
fn servers(target: &Target) -> Result<Option<Servers>> {
    match count(target, "servers")? {
        Some(count) if count > SERVERS_MAX => Err(Error::config(format!("{count} servers are too many"))
            .with_hint(format!("use at most {SERVERS_MAX}, or leave `servers` out"))),
        count => Ok(count.map(|count| Servers::new(count as usize))),
    }
}

/// A URL parameter that is a time: a number and `us`, `ms` or `s`.
fn duration(target: &Target, name: &str) -> Result<Option<Duration>> {
    let Some(text) = target.option(name) else {
        return Ok(None);
    };
    let unit = text.find(|character: char| character.is_ascii_alphabetic()).unwrap_or(text.len());
    let seconds = match &text[unit..] {
        "us" => Some(1e-6),
        "ms" => Some(1e-3),
        "s" => Some(1.0),
        _ => None,
    };
    let number = text[..unit].parse::<f64>().ok();
    number
        .zip(seconds)
        .and_then(|(number, seconds)| Duration::try_from_secs_f64(number * seconds).ok())
        .filter(|duration| *duration <= DURATION_MAX)
        .map(Some)
        .ok_or_else(|| {
            Error::config(format!("the target's `{name}={text}` is no time"))
                .with_hint("write a number and its unit, such as 500us, 20ms or 2s; an hour at the most")
        })
}

/// A URL parameter that counts.
fn count(target: &Target, name: &str) -> Result<Option<u64>> {
    match target.option_parsed::<u64>(name)? {
        Some(0) => Err(Error::config(format!("the target's `{name}` must be at least 1"))),
        count => Ok(count),
    }
}

struct NullStore {
    manifest: Manifest,
    behaviour: Option<Arc<Behaviour>>,
}

impl Store for NullStore {
    fn session<'a>(&'a self, spec: SessionSpec<'a>) -> LocalBoxFuture<'a, Result<Box<dyn Session>>> {
        Box::pin(async move {
            let depth = spec.depth.clamp(1, DEPTH_MAX);
            let Some(behaviour) = &self.behaviour else {
                return Ok(Box::new(NullSession { depth, tokens: VecDeque::with_capacity(depth) }) as Box<dyn Session>);
            };
            if behaviour.stall.is_some() {
                behaviour.opened.get_or_init(Instant::now);
            }
            Ok(Box::new(BehavedSession {
                behaviour: Arc::clone(behaviour),
                timer: Timer::new().map_err(|source| Error::bug("no timer can be had").with_source(source))?,
                depth,
                waiting: VecDeque::with_capacity(depth),
                broken: false,
            }) as Box<dyn Session>)
        })
    }

    fn server(&self) -> LocalBoxFuture<'_, Result<ServerInfo>> {
        Box::pin(async { Ok(ServerInfo { version: "Null".to_owned(), ..ServerInfo::default() }) })
    }

    fn counters(&self) -> LocalBoxFuture<'_, Result<Counters>> {
        Box::pin(async { Ok(Counters::new()) })
    }

    fn load_state<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<LoadState>> {
        Box::pin(async { Ok(self.manifest.load_state(dataset)) })
    }

    fn create<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            self.manifest.begin(dataset);
            Ok(())
        })
    }

    fn load<'a>(
        &'a self,
        dataset: &'a Dataset,
        part: LoadPart,
        _source: &'a dyn RecordSource,
        progress: &'a AtomicU64,
    ) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let rows = dataset.part(part.index, part.of);
            progress.fetch_add(rows.end - rows.start, Ordering::Relaxed);
            Ok(())
        })
    }

    fn finish_load<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            self.manifest.finish(dataset);
            Ok(())
        })
    }

    fn owned(&self) -> LocalBoxFuture<'_, Result<Vec<OwnedObject>>> {
        Box::pin(async { Ok(self.manifest.owned()) })
    }

    fn clean<'a>(&'a self, namespace: Option<&'a Namespace>) -> LocalBoxFuture<'a, Result<Vec<OwnedObject>>> {
        Box::pin(async move { Ok(self.manifest.clean(namespace)) })
    }
}

/// Answers each request at the next poll, with one row that has no values.
struct NullSession {
    depth: usize,
    tokens: VecDeque<Token>,
}

impl Session for NullSession {
    fn depth(&self) -> usize {
        self.depth
    }

    fn in_flight(&self) -> usize {
        self.tokens.len()
    }

    fn submit(&mut self, token: Token, request: &Request<'_>) -> Result<()> {
        check(request)?;
        self.tokens.push_back(token);
        Ok(())
    }

    fn poll_completion(&mut self, _context: &mut Context<'_>, _rows: &mut dyn Rows) -> Poll<Completion> {
        match self.tokens.pop_front() {
            Some(token) => Poll::Ready(Completion { token, result: Ok(Outcome { rows: 1 }) }),
            None => Poll::Pending,
        }
    }

    fn is_broken(&self) -> bool {
        false
    }
}

/// Refuses what the capabilities do not claim.
fn check(request: &Request<'_>) -> Result<()> {
    if matches!(
        request,
        Request::Statement { .. } | Request::Planned { .. } | Request::Begin | Request::Commit | Request::Rollback
    ) {
        return Err(Error::unsupported("this store has neither SQL nor transactions"));
    }
    Ok(())
}

/// Answers as its [`Behaviour`] says.
struct BehavedSession {
    behaviour: Arc<Behaviour>,
    timer: Timer,
    depth: usize,
    waiting: VecDeque<Waiting>,
    broken: bool,
}

struct Waiting {
    token: Token,
    due: Option<Instant>,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    Rejected,
    Lost,
}

impl Session for BehavedSession {
    fn depth(&self) -> usize {
        self.depth
    }

    fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    fn submit(&mut self, token: Token, request: &Request<'_>) -> Result<()> {
        check(request)?;
        let number = self.behaviour.number();
        self.waiting.push_back(Waiting { token, due: self.behaviour.due(number), fate: self.behaviour.fate(number) });
        Ok(())
    }

    fn poll_completion(&mut self, context: &mut Context<'_>, _rows: &mut dyn Rows) -> Poll<Completion> {
        // Answers of a session come in the order of its requests: one that is done sooner waits for those before it.
        let Some(first) = self.waiting.front() else {
            return Poll::Pending;
        };
        if let Some(due) = first.due
            && !self.broken
        {
            ready!(self.timer.poll_until(due, context));
        }
        let (token, fate) = (first.token, first.fate);
        self.waiting.pop_front();
        self.broken |= fate == Fate::Lost;
        let result = if self.broken {
            Err(Error::unreachable("the connection was lost, as `lose_every` asks for"))
        } else if fate == Fate::Rejected {
            Err(Error::rejected("the request was rejected, as `fail_every` asks for"))
        } else {
            Ok(Outcome { rows: 1 })
        };
        Poll::Ready(Completion { token, result })
    }

    fn is_broken(&self) -> bool {
        self.broken
    }
}

/// Wakes to the microsecond, where tokio's own timers tick once a millisecond.
struct Timer {
    descriptor: AsyncFd<OwnedFd>,
    armed_for: Option<Instant>,
}

impl Timer {
    #[expect(deprecated, reason = "its successor is unsafe to call; an OwnedFd keeps its descriptor open")]
    fn new() -> std::io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let descriptor = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { descriptor: AsyncFd::with_interest(descriptor, Interest::READABLE)?, armed_for: None })
    }

    /// Ready once `due` has come.
    fn poll_until(&mut self, due: Instant, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let wait = due.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Poll::Ready(());
            }
            if self.armed_for != Some(due) {
                self.arm(wait);
                self.armed_for = Some(due);
            }
            // Readiness is edge-triggered and arming forgets expirations, so the descriptor is never read.
            let guard = ready!(self.descriptor.poll_read_ready(context));
            guard.expect("readiness only fails when the runtime ends, and then nobody polls").clear_ready();
            // An expiry of an earlier setting may be what woke us.
            self.armed_for = None;
        }
    }

    fn arm(&self, wait: Duration) {
        let value = Timespec {
            tv_sec: wait.as_secs().cast_signed(),
            tv_nsec: rustix::time::Nsecs::from(wait.subsec_nanos().cast_signed()),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        rustix::time::timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &once)
            .expect("the descriptor is a timer and the time is in range");
    }
}

#[cfg(test)]
mod tests {
    use store::{ErrorKind, complete};

    use super::*;

    async fn session(url: &str, depth: usize) -> (Arc<dyn Store>, Box<dyn Session>) {
        let store = Null.connect(&Target::parse(url).expect("valid")).await.expect("valid");
        let session = store.session(SessionSpec { dataset: None, depth }).await.expect("always there");
        (store, session)
    }

    /// Submits requests that are all in flight at once, and returns how each ended, in order.
    async fn ends(session: &mut dyn Session, requests: u32) -> Vec<Result<u64, ErrorKind>> {
        for token in 0..requests {
            session.submit(token, &Request::Operation { operation: 0, row: 0 }).expect("below the depth");
        }
        let mut ends = Vec::new();
        for token in 0..requests {
            let completion = complete(session, &mut ()).await;
            assert_eq!(completion.token, token);
            ends.push(completion.result.map(|outcome| outcome.rows).map_err(|error| error.kind()));
        }
        assert_eq!(session.in_flight(), 0);
        ends
    }

    #[tokio::test]
    async fn every_request_is_answered_with_one_row() {
        let (_store, mut session) = session("null:", 16).await;
        assert_eq!(ends(session.as_mut(), 16).await, [Ok(1); 16]);
    }

    #[tokio::test]
    async fn every_so_manieth_request_fails() {
        let (_store, mut session) = session("null:?fail_every=3", 6).await;
        let rejected = Err(ErrorKind::Rejected);
        assert_eq!(ends(session.as_mut(), 6).await, [Ok(1), Ok(1), rejected, Ok(1), Ok(1), rejected]);
        assert!(!session.is_broken());
    }

    #[tokio::test]
    async fn a_lost_connection_ends_all_in_flight_and_the_next_session_is_whole() {
        let (store, mut session) = session("null:?lose_every=2&latency=100us", 4).await;
        let lost = Err(ErrorKind::Unreachable);
        assert_eq!(ends(session.as_mut(), 3).await, [Ok(1), lost, lost]);
        assert!(session.is_broken());
        let mut next = store.session(SessionSpec { dataset: None, depth: 4 }).await.expect("always there");
        assert_eq!(ends(next.as_mut(), 1).await, [lost], "the fourth of all");
        let mut next = store.session(SessionSpec { dataset: None, depth: 4 }).await.expect("always there");
        assert_eq!(ends(next.as_mut(), 1).await, [Ok(1)]);
    }

    #[tokio::test]
    async fn nothing_is_answered_before_its_time() {
        let (_store, mut session) = session("null:?latency=300us", 2).await;
        for _ in 0..10 {
            let start = Instant::now();
            assert_eq!(ends(session.as_mut(), 2).await, [Ok(1); 2]);
            assert!(start.elapsed() >= Duration::from_micros(300));
        }
    }

    #[tokio::test]
    async fn a_stall_ends_for_all_that_wait_in_it() {
        let start = Instant::now();
        let (_store, mut session) = session("null:?stall_at=0ms&stall_for=30ms", 2).await;
        assert_eq!(ends(session.as_mut(), 2).await, [Ok(1); 2]);
        assert!(start.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn the_end_of_a_request_is_known_exactly() {
        let target = Target::parse("null:?latency=10ms&stall_at=0s&stall_for=5s").expect("valid");
        let behaviour = Behaviour::of(&target).expect("valid").expect("given");
        let opened = *behaviour.opened.get_or_init(Instant::now);
        assert_eq!(behaviour.due(1), Some(opened + Duration::from_secs(5)));
    }

    #[test]
    fn requests_of_all_sessions_queue_for_the_servers() {
        let due = |url: &str| -> Vec<Duration> {
            let behaviour = Behaviour::of(&Target::parse(url).expect("valid")).expect("valid").expect("given");
            let before = Instant::now();
            (1..=4).map(|number| behaviour.due(number).expect("it takes time") - before).collect()
        };
        // Nanoseconds pass between the submissions, which are as nothing against the 20 minutes.
        let minutes = |dues: Vec<Duration>| dues.iter().map(|due| due.as_secs() / 60).collect::<Vec<_>>();
        assert_eq!(minutes(due("null:?latency=1200s&servers=1")), [20, 40, 60, 80]);
        assert_eq!(minutes(due("null:?latency=1200s&servers=2")), [20, 20, 40, 40]);
        assert_eq!(minutes(due("null:?latency=1200s")), [20; 4]);
        let drawn = due("null:?latency=1200s&distribution=lognormal&seed=7");
        assert_eq!(minutes(drawn.clone()), minutes(due("null:?latency=1200s&distribution=lognormal&seed=7")));
        assert_ne!(minutes(drawn), minutes(due("null:?latency=1200s&distribution=lognormal&seed=8")));
    }

    #[test]
    fn durations_have_a_unit() {
        let parse = |text: &str| duration(&Target::parse(&format!("null:?latency={text}")).expect("valid"), "latency");
        for (text, expect) in [("500us", 500_000), ("20ms", 20_000_000), ("1.5s", 1_500_000_000), ("0s", 0)] {
            assert_eq!(parse(text).expect(text), Some(Duration::from_nanos(expect)), "{text}");
        }
        for bad in ["5", "ms", "-1s", "1h", "inf", "NaNs", "9999s", ""] {
            assert_eq!(parse(bad).expect_err(bad).kind(), ErrorKind::Config, "{bad}");
        }
        for bad in [
            "null:?stall_at=1s",
            "null:?fail_every=0",
            "null:?lose_every=x",
            "null:?servers=0",
            "null:?servers=5000",
            "null:?distribution=pareto",
            "null:?spread=0.5",
            "null:?distribution=lognormal&spread=0",
            "null:?distribution=lognormal&spread=nan",
            "null:?seed=x",
        ] {
            let error = Behaviour::of(&Target::parse(bad).expect("valid")).err().expect(bad);
            assert_eq!(error.kind(), ErrorKind::Config, "{bad}");
        }
    }
}
