//! The service as a process of ours, and what the kernel says of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeVal;
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

use crate::http::Connection;

/// What the service says on stderr before its address.
const SERVING: &str = "serving http://";

/// How long it may take to end; it promises ten seconds.
const END_MAX: Duration = Duration::from_secs(15);

/// A service, killed when it is dropped.
pub(crate) struct Service {
    child: Child,
    pub(crate) address: SocketAddr,
    clock: ClockId,
    /// When the program was started.
    started: Instant,
}

/// Memory of a process in MiB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Memory {
    /// All pages that are in memory (`VmRSS`).
    pub(crate) resident: f64,
    /// Those that belong to no file: what it allocated.
    pub(crate) anonymous: f64,
    /// Those of files, of which most is the program itself.
    pub(crate) of_files: f64,
    /// All of them, shared ones divided by those who share them.
    pub(crate) proportional: f64,
}

impl Service {
    /// Starts the program on a port of the system's choice, with its results in a folder.
    pub(crate) fn start(program: &Path, home: &Path) -> anyhow::Result<Self> {
        let started = Instant::now();
        let mut child = storelab(program, home)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let mut lines = BufReader::new(child.stderr.take().context("it is piped")?);
        let mut said = String::new();
        let address = loop {
            let begin = said.len();
            if lines.read_line(&mut said)? == 0 {
                // It has ended, or is about to.
                let _ = child.kill();
                child.wait()?;
                anyhow::bail!("the service ended at its start: {said}");
            }
            if let Some((_, rest)) = said[begin..].split_once(SERVING) {
                break rest.split_whitespace().next().unwrap_or_default().parse().context("the service's address")?;
            }
        };
        // What it says later must be read, or it would wait.
        thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let clock = clock_getcpuclockid(pid(&child)?).context("the service's clock of processor time")?;
        Ok(Self { child, address, clock, started })
    }

    /// How long it took from the start of the program to the first time that it said to be ready.
    pub(crate) fn until_ready(&self) -> anyhow::Result<Duration> {
        let mut connection = Connection::open(self.address)?;
        connection.get("/health/ready")?;
        Ok(self.started.elapsed())
    }

    /// Processor time that it has used so far, user and system, of all its threads, also those that have ended.
    pub(crate) fn processor_time(&self) -> anyhow::Result<Duration> {
        Ok(Duration::from(self.clock.now().context("the service's processor time")?))
    }

    /// What it has in memory now.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let read = |file: &str| {
            let path = format!("/proc/{}/{file}", self.child.id());
            fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))
        };
        memory_of(&read("status")?, &read("smaps_rollup")?)
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        kill(pid(&self.child)?, Signal::SIGTERM).context("the service cannot be asked to end")?;
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the service ended with {status}");
                return Ok(());
            }
            ensure!(asked.elapsed() < END_MAX, "the service does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself; it never outlives the measurement.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, with a folder of its own and no settings of anybody.
pub(crate) fn storelab(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("STORELAB_HOME", home).env_remove("STORELAB_STORE").current_dir(home);
    command
}

/// Processor time of this process.
pub(crate) fn own_processor_time() -> anyhow::Result<Duration> {
    used(UsageWho::RUSAGE_SELF)
}

/// Processor time of all children that have ended and were waited for.
pub(crate) fn ended_children_processor_time() -> anyhow::Result<Duration> {
    used(UsageWho::RUSAGE_CHILDREN)
}

fn used(who: UsageWho) -> anyhow::Result<Duration> {
    let usage = getrusage(who)?;
    let of = |time: TimeVal| {
        Duration::from_secs(time.tv_sec().unsigned_abs()) + Duration::from_micros(time.tv_usec().unsigned_abs())
    };
    Ok(of(usage.user_time()) + of(usage.system_time()))
}

fn pid(child: &Child) -> anyhow::Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(child.id())?))
}

fn memory_of(status: &str, rollup: &str) -> anyhow::Result<Memory> {
    let mebibytes = |text: &str, name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        let kib = lines.find(|(found, _)| *found == name).and_then(|(_, rest)| rest.split_whitespace().next());
        let kib: f64 = kib.with_context(|| format!("the kernel does not say {name}"))?.parse()?;
        anyhow::Ok(kib / 1024.0)
    };
    Ok(Memory {
        resident: mebibytes(status, "VmRSS")?,
        anonymous: mebibytes(status, "RssAnon")?,
        of_files: mebibytes(status, "RssFile")?,
        proportional: mebibytes(rollup, "Pss")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let status = "Name:\tstorelab\nVmRSS:\t   20480 kB\nRssAnon:\t    4096 kB\nRssFile:\t   16384 kB\n";
        let rollup =
            "55d0-7ffd ---p 00000000 00:00 0 [rollup]\nRss:               20480 kB\nPss:               10240 kB\n";
        let memory = memory_of(status, rollup).expect("all four");
        assert_eq!(memory, Memory { resident: 20.0, anonymous: 4.0, of_files: 16.0, proportional: 10.0 });
        assert!(memory_of("Name:\tx\n", rollup).is_err());
    }

    #[test]
    fn processor_time_of_ours_grows() {
        let before = own_processor_time().expect("the kernel counts it");
        let mut sum = 0_u64;
        while own_processor_time().expect("the kernel counts it") == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let clock = clock_getcpuclockid(Pid::this()).expect("a clock");
        assert!(Duration::from(clock.now().expect("a time")) > Duration::ZERO);
    }
}
