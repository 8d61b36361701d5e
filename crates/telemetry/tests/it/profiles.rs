//! Processes whose stacks are sampled by the `perf` of the machine that runs the tests, where it has one that may.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use telemetry::{Profiler, hottest, thread_cpu_seconds};

/// Tells this program, started again, to be the process that is looked at, or one that looks.
const ROLE: &str = "STORELAB_TEST_ROLE";

/// Until a process that has to end is gone; many tests run beside this one.
const PATIENCE: Duration = Duration::from_secs(20);

/// Processor time that is surely sampled: 99 times a second.
const SAMPLED_CPU_SECONDS: f64 = 0.5;

/// A function to be found by its name.
#[inline(never)]
fn hot_loop_of_the_test(rounds: u64) -> u64 {
    let (mut state, mut round) = (1_u64, 0);
    // Nothing is called in it, even where nothing is optimised (xorshift, Marsaglia 2003).
    while round < rounds {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        round += 1;
    }
    state
}

fn work() {
    let until = thread_cpu_seconds() + SAMPLED_CPU_SECONDS;
    while thread_cpu_seconds() < until {
        std::hint::black_box(hot_loop_of_the_test(1_000_000));
    }
}

/// The profiler, or none where `perf` is missing or may not, which is said.
#[expect(clippy::print_stderr, reason = "the test's own output is where a skipped part is looked for")]
fn profiler() -> Option<Profiler> {
    Profiler::find().map_err(|error| eprintln!("skipped: flame graphs: {error}")).ok()
}

/// This program again, in a role. It says a line once it has begun, and ends with its input.
struct Other(Child);

impl Other {
    fn start(role: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("it runs"))
            .args(["--exact", "profiles::what_the_others_do", "--nocapture"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        let mut lines = BufReader::new(child.stdout.as_mut().expect("it is piped")).lines();
        let begun = lines.any(|line| line.is_ok_and(|line| line.contains("begun")));
        assert!(begun, "it ended before it began");
        Self(child)
    }

    /// Lets it work, and waits until it has.
    fn work(&mut self) {
        let input = self.0.stdin.as_mut().expect("it is piped");
        input.write_all(b"go\n").expect("it reads it");
        let mut lines = BufReader::new(self.0.stdout.as_mut().expect("it is piped")).lines();
        assert!(lines.any(|line| line.is_ok_and(|line| line == "begun")), "it says when it has worked");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test: what this program does when a test has started it again.
#[test]
fn what_the_others_do() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let mut line = String::new();
    let mut told = || std::io::stdin().read_line(&mut line).is_ok_and(|read| read > 0);
    let begun = || std::io::stdout().write_all(b"\nbegun\n").expect("somebody reads it");
    match role.as_str() {
        "busy" => {
            begun();
            while told() {
                work();
                begun();
            }
        }
        "looking" => {
            let profiler = Profiler::find().expect("the test has found it");
            let profiling = profiler.start(&[std::process::id()]).expect("it may look at itself");
            begun();
            told();
            drop(profiling);
        }
        unknown => panic!("no role is called {unknown}"),
    }
}

#[test]
fn the_function_that_runs_most_is_found_by_its_name() {
    let Some(profiler) = profiler() else { return };
    let mut busy = Other::start("busy");
    let mut profiling = profiler.start(&[busy.0.id()]).expect("it is ours");
    busy.work();
    profiling.stop();
    let profile = profiling.finish("a <busy> process", PATIENCE).expect("samples were taken");
    let hot = hottest(&profile.folded, 1);
    assert!(hot[0].name.contains("hot_loop_of_the_test") && hot[0].self_share > 0.5, "{hot:?} of {}", profile.folded);
    assert!(profile.svg.contains("hot_loop_of_the_test") && profile.svg.contains("a &lt;busy&gt; process"));
    assert!(["cycles", "cpu-clock"].contains(&profile.event.as_str()), "{}", profile.event);
    let most = SAMPLED_CPU_SECONDS * f64::from(telemetry::SAMPLES_PER_SECOND);
    assert!(profile.samples as f64 > most / 2.0 && !profile.is_cut, "{} of {most}", profile.samples);
}

#[test]
fn a_process_that_does_nothing_has_no_flame_graph() {
    let Some(profiler) = profiler() else { return };
    let idle = Other::start("busy");
    let profiling = profiler.start(&[idle.0.id()]).expect("it is ours");
    let error = profiling.finish("idle", PATIENCE).expect_err("it slept");
    assert!(error.to_string().contains("no sample was taken"), "{error}");
}

#[test]
fn a_process_that_is_gone_cannot_be_looked_at() {
    let Some(profiler) = profiler() else { return };
    let mut gone = Other::start("busy");
    gone.0.kill().expect("it is ours");
    gone.0.wait().expect("it is ours");
    let error = profiler.start(&[gone.0.id()]).expect_err("nobody is there");
    assert!(!error.to_string().is_empty() && !error.remedy().is_empty());
}

#[test]
fn a_profile_of_a_process_that_ends_is_cut() {
    let Some(profiler) = profiler() else { return };
    let mut busy = Other::start("busy");
    let profiling = profiler.start(&[busy.0.id()]).expect("it is ours");
    busy.work();
    let perf = perf_of(std::process::id(), Some(busy.0.id())).expect("it goes on");
    drop(busy);
    eventually("perf ends with what it looks at", || !is_alive(perf.0));
    let profile = profiling.finish("cut", PATIENCE).expect("samples were taken");
    assert!(profile.is_cut && profile.folded.contains("hot_loop_of_the_test"));
}

#[test]
fn perf_and_its_folder_go_with_whoever_was_killed() {
    if profiler().is_none() {
        return;
    }
    let mut looking = Other::start("looking");
    let (perf, folder) = perf_of(looking.0.id(), None).expect("it looks");
    assert!(folder.is_dir());
    looking.0.kill().expect("it is ours");
    looking.0.wait().expect("it is ours");
    eventually("perf is gone", || !is_alive(perf));
    eventually("its folder is gone", || !folder.exists());
}

/// The `perf` that a process has started (of several the one that looks at that process), and the folder that it writes to.
fn perf_of(parent: u32, looks_at: Option<u32>) -> Option<(u32, PathBuf)> {
    let processes = std::fs::read_dir("/proc").expect("Linux has it").flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|process| parent_of(*process) == Some(parent)).find_map(|process| {
        let arguments = std::fs::read_to_string(format!("/proc/{process}/cmdline")).ok()?;
        let arguments: Vec<_> = arguments.split('\0').collect();
        let is_meant = looks_at.is_none_or(|looks_at| arguments.contains(&format!("--pid={looks_at}").as_str()));
        let data = arguments.iter().position(|argument| *argument == "--output").filter(|_| is_meant)?;
        Some((process, Path::new(arguments.get(data + 1)?).parent()?.to_owned()))
    })
}

fn parent_of(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn is_alive(process: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')))
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
