//! What this host takes for the steps that no client can leave out: a timed wake-up, a request and its answer.
//!
//! Bare loops with nothing but those steps, against threads on loopback that send back what they get. What they cost is the
//! floor of what a load generator can reach here; the processor time is that of the loop's thread alone.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::task::{Context as TaskContext, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use reactor::{Reactor, Socket};

/// How long each loop runs.
const DURATION: Duration = Duration::from_secs(3);
/// Between the starts of timed steps: 5,000 a second.
const INTERVAL: Duration = Duration::from_micros(200);
/// As the closed cases have them.
const SESSIONS: usize = 16;
/// About what a prepared point select takes on the wire.
const REQUEST: [u8; 64] = [7; 64];

/// Runs all loops and prints what they cost.
#[expect(clippy::print_stdout, reason = "the table is what this is for")]
pub(crate) fn run() {
    println!("| step | processor time, µs |\n|---|---|");
    let tell = |step: &str, cost: anyhow::Result<f64>| match cost {
        Ok(cost) => println!("| {step} | {cost:.2} |"),
        Err(error) => println!("| {step} | not measured: {error:#} |"),
    };
    tell("a system call that does nothing", nothing());
    tell("a wake-up by a timer, 5,000 a second", sleeps());
    tell("the same, io_uring, the next but one set ahead", wakes());
    tell("a wake-up, a request and its answer, 5,000 a second, blocking calls", timed_blocking());
    tell("the same, io_uring, the next but one set ahead", timed_reactor());
    tell("a request and its answer, 16 connections as fast as they go, epoll", closed_epoll());
    tell("the same, io_uring", closed_reactor());
}

/// Processor time of this thread over `count` steps, in microseconds a step.
fn cost(work: impl FnOnce() -> anyhow::Result<u64>) -> anyhow::Result<f64> {
    let used = || -> anyhow::Result<i64> {
        let usage = getrusage(UsageWho::RUSAGE_THREAD).context("the kernel counts what a thread uses")?;
        Ok((usage.user_time() + usage.system_time()).num_microseconds())
    };
    let before = used()?;
    let count = work()?;
    Ok((used()? - before) as f64 / count.max(1) as f64)
}

fn nothing() -> anyhow::Result<f64> {
    const COUNT: u64 = 2_000_000;
    cost(|| {
        for _ in 0..COUNT {
            std::hint::black_box(std::os::unix::process::parent_id());
        }
        Ok(COUNT)
    })
}

fn sleeps() -> anyhow::Result<f64> {
    cost(|| {
        timed(|due| {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            Ok(())
        })
    })
}

fn wakes() -> anyhow::Result<f64> {
    let reactor = Reactor::new().context("io_uring")?;
    cost(|| timed(|due| Ok(wait_until(&reactor, due)?)))
}

fn timed_blocking() -> anyhow::Result<f64> {
    let mut stream = echo()?;
    let mut answer = REQUEST;
    cost(|| {
        timed(|due| {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            stream.write_all(&REQUEST)?;
            Ok(stream.read_exact(&mut answer)?)
        })
    })
}

fn timed_reactor() -> anyhow::Result<f64> {
    let reactor = Reactor::new().context("io_uring")?;
    let mut socket = Socket::new(&reactor, echo()?);
    let mut context = TaskContext::from_waker(Waker::noop());
    cost(|| {
        timed(|due| {
            wait_until(&reactor, due)?;
            let Poll::Ready(sent) = socket.poll_write(&mut context, &REQUEST) else { anyhow::bail!("no room") };
            sent?;
            let mut answer = [0; 256];
            while socket.poll_read(&mut context, &mut answer)?.is_pending() {
                reactor.wait()?;
            }
            Ok(())
        })
    })
}

fn closed_epoll() -> anyhow::Result<f64> {
    let mut streams = (0..SESSIONS).map(|_| echo()).collect::<anyhow::Result<Vec<_>>>()?;
    let poller = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (stream, number) in streams.iter_mut().zip(0..) {
        stream.set_nonblocking(true)?;
        poller.add(&*stream, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, number))?;
        stream.write_all(&REQUEST)?;
    }
    let mut events = [EpollEvent::empty(); SESSIONS];
    let mut answer = [0; 256];
    cost(|| {
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < DURATION {
            let ready = poller.wait(&mut events, EpollTimeout::from(100_u8))?;
            for event in &events[..ready] {
                let stream = &mut streams[event.data() as usize];
                stream.read(&mut answer).context("an answer")?;
                stream.write_all(&REQUEST)?;
                count += 1;
            }
        }
        Ok(count)
    })
}

fn closed_reactor() -> anyhow::Result<f64> {
    let reactor = Reactor::new().context("io_uring")?;
    let mut context = TaskContext::from_waker(Waker::noop());
    let mut sockets = Vec::with_capacity(SESSIONS);
    for _ in 0..SESSIONS {
        let mut socket = Socket::new(&reactor, echo()?);
        let _ = socket.poll_write(&mut context, &REQUEST)?;
        sockets.push(socket);
    }
    let mut answer = [0; 256];
    cost(|| {
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < DURATION {
            for socket in &mut sockets {
                while socket.poll_read(&mut context, &mut answer)?.is_ready() {
                    let _ = socket.poll_write(&mut context, &REQUEST)?;
                    count += 1;
                }
            }
            reactor.wait()?;
        }
        Ok(count)
    })
}

/// Does a step at each due time; gives how many.
fn timed(mut step: impl FnMut(Instant) -> anyhow::Result<()>) -> anyhow::Result<u64> {
    let start = Instant::now();
    let (mut due, mut count) = (start, 0);
    while due < start + DURATION {
        due += INTERVAL;
        step(due)?;
        count += 1;
    }
    Ok(count)
}

fn wait_until(reactor: &Reactor, due: Instant) -> std::io::Result<()> {
    while Instant::now() < due {
        reactor.wake_at(due)?;
        reactor.wake_at(due + INTERVAL)?;
        reactor.wait()?;
    }
    Ok(())
}

/// A connection to a thread that sends back what it gets, until the connection ends.
fn echo() -> anyhow::Result<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    let (mut peer, _) = listener.accept()?;
    for end in [&stream, &peer] {
        end.set_nodelay(true)?;
    }
    thread::spawn(move || {
        let mut buffer = [0; 256];
        while let Ok(length @ 1..) = peer.read(&mut buffer) {
            if peer.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
    });
    Ok(stream)
}
