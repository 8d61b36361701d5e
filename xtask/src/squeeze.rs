//! `cargo xtask squeeze PROGRAM`: how often a run is called invalid when its generator gets a tenth of a core, and how often
//! when nothing disturbs it.
//!
//! A generator is squeezed in three ways: by a quota of its control group (where there is a controller that we may write),
//! by being stopped nine tenths of the time, and by nine others on the only processor that it may use. A run beside which
//! other processes were at work is no undisturbed one: it is made again, and counted.

use std::fs;
use std::hint::spin_loop;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::Value;

const TRIES_DEFAULT: usize = 20;
/// Undisturbed runs are tried for so many times as often as they are wanted; a host that is never idle ends it.
const ATTEMPTS: usize = 3;
/// A tenth of the time.
const RUNNING: Duration = Duration::from_millis(10);
const STOPPED: Duration = Duration::from_millis(90);
/// With the generator they are ten on one processor.
const SPINNERS: usize = 9;

const RUN: &[&str] =
    &["run", "null:?latency=1ms", "--workload", "ycsb:c", "--json", "--quiet", "--for", "3s", "--warm-up", "200ms"];
/// Both want more than a tenth of a core.
const LOADS: [(&str, &[&str]); 2] =
    [("open", &["--rate", "20000/s", "--sessions", "64"]), ("closed", &["--sessions", "64"])];

/// How a generator is left with a tenth of a core.
#[derive(Clone)]
enum Squeeze {
    Quota(PathBuf),
    Stops,
    Company,
}

impl Squeeze {
    const fn name(&self) -> &'static str {
        match self {
            Self::Quota(_) => "quota of the control group",
            Self::Stops => "stopped nine tenths of the time",
            Self::Company => "nine others on its processor",
        }
    }
}

/// Makes the tries and says what came of them; fails where a squeezed run was valid or an undisturbed one was not.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub(crate) fn run(program: PathBuf, tries: Option<&str>) -> Result<ExitCode> {
    let tries = tries.map_or(Ok(TRIES_DEFAULT), str::parse).context("--tries wants a number")?;
    let lab = Lab { program, home: tempfile::tempdir()? };
    let controller = Controller::find();
    let mut ways = vec![Squeeze::Stops, Squeeze::Company];
    match &controller {
        Some(controller) => ways.insert(0, Squeeze::Quota(controller.group.clone())),
        None => println!("skipped: there is no control group for processors that we may write"),
    }
    let mut is_right = true;
    for (name, load) in LOADS {
        for way in &ways {
            let mut told = Vec::new();
            for _ in 0..tries {
                let run = Told::of(&lab.squeezed(way, load)?)?;
                if run.is_valid || !run.blames_generator() {
                    println!("        not told: {:?}", run.reasons);
                }
                told.push(run);
            }
            let invalid = told.iter().filter(|told| !told.is_valid && told.blames_generator()).count();
            println!("{name:6}  {:32}  {invalid} of {tries} invalid for the generator's sake", way.name());
            is_right &= invalid == tries;
        }
        let (mut valid, mut undisturbed, mut attempts) = (0, 0, 0);
        while undisturbed < tries && attempts < tries * ATTEMPTS {
            attempts += 1;
            let told = Told::of(&lab.command(load).output().context("the program does not run")?)?;
            if told.is_disturbed {
                continue;
            }
            undisturbed += 1;
            valid += usize::from(told.is_valid);
            told.reasons.iter().for_each(|reason| println!("        invalid: {reason}"));
        }
        let disturbed = attempts - undisturbed;
        println!("{name:6}  {:32}  {valid} of {undisturbed} valid ({disturbed} more beside other work)", "undisturbed");
        is_right &= valid == undisturbed;
    }
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Lab {
    program: PathBuf,
    home: tempfile::TempDir,
}

impl Lab {
    fn command(&self, load: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(RUN).args(load).env("STORELAB_HOME", self.home.path()).stdin(Stdio::null());
        command
    }

    fn squeezed(&self, way: &Squeeze, load: &[&str]) -> Result<Output> {
        let start = || {
            let mut command = self.command(load);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("the program does not run")
        };
        match way {
            Squeeze::Quota(group) => {
                let child = start()?;
                fs::write(group.join("cgroup.procs"), child.id().to_string()).context("the control group")?;
                child.wait_with_output().context("the program did not end")
            }
            Squeeze::Stops => with_stops(start()?),
            Squeeze::Company => with_company(start),
        }
    }
}

/// What a run says of itself.
struct Told {
    is_valid: bool,
    /// Others were at work on the host.
    is_disturbed: bool,
    reasons: Vec<String>,
}

impl Told {
    /// Whether the generator is among the reasons: other work on the host makes a run invalid too.
    fn blames_generator(&self) -> bool {
        self.reasons.iter().any(|reason| reason.contains("the generator"))
    }

    fn of(output: &Output) -> Result<Self> {
        let record: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("no record: {}", String::from_utf8_lossy(&output.stderr)))?;
        let verdict = &record["verdict"];
        let is_valid = verdict["valid"].as_bool().context("the record has no verdict")?;
        if output.status.code() != Some(if is_valid { 0 } else { 4 }) {
            bail!("valid: {is_valid}, and yet the program ended with {}", output.status);
        }
        let checks = verdict["checks"].as_array().context("the verdict has no checks")?;
        let is_disturbed = checks.iter().any(|check| {
            let of_others = ["host_contention", "host_steal"].iter().any(|name| check["name"] == *name);
            of_others && check["outcome"] != "passed"
        });
        let reasons = verdict["reasons"].as_array().into_iter().flatten();
        let reasons = reasons.filter_map(|reason| reason.as_str().map(str::to_owned)).collect();
        Ok(Self { is_valid, is_disturbed, reasons })
    }
}

/// Lets the child run for a tenth of the time.
fn with_stops(child: Child) -> Result<Output> {
    let is_over = AtomicBool::new(false);
    let process = Pid::from_child(&child);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                // It may have ended: then there is nobody to stop.
                let _ = kill_process(process, Signal::STOP);
                thread::sleep(STOPPED);
                let _ = kill_process(process, Signal::CONT);
                thread::sleep(RUNNING);
            }
        });
        let output = child.wait_with_output();
        is_over.store(true, Ordering::Relaxed);
        output.context("the program did not end")
    })
}

/// Keeps the child to one processor, with threads that want all of it.
fn with_company(start: impl FnOnce() -> Result<Child>) -> Result<Output> {
    let all = sched_getaffinity(None).context("the processors that may be used")?;
    let first = (0..CpuSet::MAX_CPU).find(|processor| all.is_set(*processor)).context("no processor")?;
    let mut one = CpuSet::new();
    one.set(first);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        // What a thread starts is kept to the same processors.
        sched_setaffinity(None, &one)?;
        for _ in 0..SPINNERS {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    spin_loop();
                }
            });
        }
        let output = start().and_then(|child| {
            sched_setaffinity(None, &all)?;
            child.wait_with_output().context("the program did not end")
        });
        is_over.store(true, Ordering::Relaxed);
        output
    })
}

/// A control group with a tenth of a core, which goes when this does.
struct Controller {
    group: PathBuf,
}

impl Controller {
    /// Version 2, or version 1 where that has the processors.
    fn find() -> Option<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let (quota, period) = (RUNNING.as_micros(), (RUNNING + STOPPED).as_micros());
        let two = [("cpu.max", format!("{quota} {period}"))];
        let one = [("cpu.cfs_period_us", period.to_string()), ("cpu.cfs_quota_us", quota.to_string())];
        let name = format!("storelab-squeeze-{}", std::process::id());
        Self::make(&root.join(&name), &two).or_else(|| Self::make(&root.join("cpu").join(&name), &one))
    }

    fn make(group: &Path, limits: &[(&str, String)]) -> Option<Self> {
        fs::create_dir(group).ok()?;
        let made = Self { group: group.to_owned() };
        // Only a group has files from the start: the folder above may be an ordinary one. What is no group goes again.
        let is_group = limits.iter().all(|(file, _)| group.join(file).exists());
        (is_group && limits.iter().all(|(file, limit)| fs::write(group.join(file), limit).is_ok())).then_some(made)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // What was in it has ended; a group that is still in use stays, and takes no harm.
        let _ = fs::remove_dir(&self.group);
    }
}
