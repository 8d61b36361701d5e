//! The machine that runs the tests. Counts are compared with each other, never with the clock.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use telemetry::{
    GeneratorSampler, GeneratorSummary, HostSampler, HostSummary, ProcessSampler, Provenance, listener,
    process_cpu_seconds, thread_cpu_seconds,
};

/// Far above a clock tick (10 ms) and the reading of the files themselves.
const WORK_CPU_SECONDS: f64 = 0.2;

/// Computes until this thread has used that much processor time, however long that takes.
fn work() -> u64 {
    let until = thread_cpu_seconds() + WORK_CPU_SECONDS;
    let mut state = 1_u64;
    while thread_cpu_seconds() < until {
        for _ in 0..10_000 {
            state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
    state
}

#[test]
fn the_host_works_while_we_do() {
    let mut sampler = HostSampler::new();
    let first = sampler.sample();
    work();
    let last = sampler.sample();
    let (before, after) = (first.scheduler.expect("every Linux has it"), last.scheduler.expect("every Linux has it"));
    let busy = after.cpu.busy() - before.cpu.busy();
    assert!(busy >= WORK_CPU_SECONDS / 2.0, "{busy}");
    assert!(after.context_switches >= before.context_switches && after.interrupts >= before.interrupts);
    assert!(after.cores_online >= 1 && after.tasks_running >= 1);
    let memory = last.memory.expect("every Linux has it");
    assert!(memory.used_bytes().is_some_and(|used| used > 0 && used < memory.total_bytes));
    let network = last.network.expect("every Linux has it");
    assert!(network.loopback.interfaces <= 1);
    let summary = HostSummary::of(&[first, last]);
    assert!(summary.cpu_percent_mean.is_some_and(|percent| percent > 0.0 && percent <= 100.0), "{summary:?}");
    assert!(summary.minor_faults.is_some());
}

#[test]
fn the_generator_sees_its_own_work_and_the_thread_that_did_it() {
    let mut sampler = GeneratorSampler::new();
    let (go, ready) = std::sync::mpsc::channel();
    let (done, finished) = std::sync::mpsc::channel();
    let (stay, end) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::Builder::new()
        .name("spinning".to_owned())
        .spawn(move || {
            done.send(()).expect("the test waits for it");
            ready.recv().expect("the test sends it");
            work();
            done.send(()).expect("the test waits for it");
            end.recv().expect_err("the test drops its end");
        })
        .expect("a thread");
    // It runs, so it has its name.
    finished.recv().expect("the thread sends it");
    let first = sampler.sample();
    let cpu_before = process_cpu_seconds();
    go.send(()).expect("the thread waits for it");
    finished.recv().expect("the thread sends it");
    let last = sampler.sample();
    drop(stay);
    thread.join().expect("it does not panic");
    assert!(process_cpu_seconds() - cpu_before >= WORK_CPU_SECONDS);
    assert!(last.cpu_seconds - first.cpu_seconds >= WORK_CPU_SECONDS, "{first:?} {last:?}");
    assert!(last.voluntary_context_switches >= first.voluntary_context_switches);
    assert!(last.max_rss_bytes.is_some_and(|bytes| bytes > 0) && last.rss_bytes.is_some_and(|bytes| bytes > 0));
    assert!(last.file_descriptors.is_some_and(|count| count > 3), "{last:?}");
    let of_thread = |sample: &telemetry::GeneratorSample| {
        sample.threads.iter().find(|thread| thread.name == "spinning").map(|thread| thread.cpu_seconds)
    };
    if last.run_queue_wait_seconds.is_some() {
        let grown = of_thread(&last).zip(of_thread(&first)).map(|(after, before)| after - before);
        assert!(grown.is_some_and(|seconds| seconds >= WORK_CPU_SECONDS / 2.0), "{first:?} {last:?}");
    }
    let summary = GeneratorSummary::of(&[first, last]);
    assert!(summary.cpu_seconds >= WORK_CPU_SECONDS && summary.context_switches.is_some());
    assert!(summary.busiest_thread.is_some_and(|thread| thread.cpu_percent > 0.0));
}

/// A shell that answers each line with another, once it has done what the line says.
struct Shell(Child);

impl Shell {
    fn start() -> Self {
        let script = "while read -r line; do eval \"$line\"; echo done; done";
        let child = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        Self(child.expect("sh is everywhere"))
    }

    fn run(&mut self, line: &str) {
        let input = self.0.stdin.as_mut().expect("it is piped");
        writeln!(input, "{line}").expect("the shell reads it");
        let mut answer = String::new();
        BufReader::with_capacity(1, self.0.stdout.as_mut().expect("it is piped"))
            .read_line(&mut answer)
            .expect("the shell answers");
        assert_eq!(answer, "done\n", "{line}");
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // It ends by itself when its input ends; an error means it did already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_tree_is_seen_and_what_ended_in_it_stays_counted() {
    const SPIN: &str = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    let mut shell = Shell::start();
    // It answers, so it is no copy of this program any more.
    shell.run("true");
    let mut sampler = ProcessSampler::new(shell.0.id());
    let first = sampler.sample().expect("it waits for a line");
    assert_eq!(first.processes, 1);
    assert!(first.rss_bytes > 0 && first.file_descriptors.is_some_and(|count| count >= 3), "{first:?}");

    // A child that waits, and one that works and ends before the sample.
    shell.run("sleep 600 <&- >&- 2>&- & kept=$!");
    shell.run(&format!("({SPIN})"));
    let second = sampler.sample().expect("it waits for a line");
    assert_eq!((second.processes, second.threads), (2, 2), "{second:?}");
    assert!(second.cpu_seconds() > first.cpu_seconds(), "{first:?} {second:?}");
    assert!(second.minor_faults > first.minor_faults);

    shell.run("kill $kept; wait $kept");
    let third = sampler.sample().expect("it waits for a line");
    assert_eq!(third.processes, 1);
    assert!(third.cpu_seconds() >= second.cpu_seconds());
    assert!(third.context_switches() >= second.context_switches());
    let usage = third.since(&first);
    assert!(usage.cpu_percent > 0.0 && usage.elapsed_seconds > 0.0, "{usage:?}");

    drop(shell);
    assert_eq!(sampler.sample(), None);
}

#[test]
fn a_child_that_ended_unnoticed_is_gone() {
    let mut child = Command::new("sh").args(["-c", "read -r line"]).stdin(Stdio::piped()).spawn().expect("a shell");
    let mut sampler = ProcessSampler::new(child.id());
    assert!(sampler.sample().is_some());
    drop(child.stdin.take());
    child.wait().expect("it is our child");
    assert_eq!(sampler.sample(), None);
}

#[test]
fn our_own_listener_is_found_by_its_port() {
    for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
        let Ok(socket) = TcpListener::bind(address) else { continue };
        let port = socket.local_addr().expect("it is bound").port();
        assert_eq!(listener(port), Some(std::process::id()), "{address}");
    }
}

#[test]
fn this_host_has_a_provenance() {
    let provenance = Provenance::read();
    assert!(provenance.kernel.is_some() && provenance.memory_bytes.is_some(), "{provenance:?}");
    let (online, allowed) = (provenance.cores_online, provenance.cores_allowed);
    assert!(allowed.is_some_and(|cores| cores >= 1) && (online.is_none() || allowed <= online), "{provenance:?}");
}
