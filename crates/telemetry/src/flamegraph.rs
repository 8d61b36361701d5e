//! Where processors spend their time: `perf` samples the stacks of processes, and a flame graph is drawn of them.
//!
//! [`Profiler::find`] says whether that is possible here, and if not why; [`Profiler::start`] samples processes and whatever
//! they start, 99 times a second, until [`Profiling::stop`]; [`Profiling::finish`] makes a [`Profile`] of it. `perf` ends
//! with us however we end: the command that it times is a shell that reads a pipe of ours.

mod folded;

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;

pub use folded::{HotFunction, hottest};

/// Samples a second of a processor. Not 100, which would keep step with what a program does a hundred times a second.
pub const SAMPLES_PER_SECOND: u32 = 99;

/// What can be counted, the better first: virtual machines often have no counters of the processor, but always its clock.
const EVENTS: [&str; 2] = ["cycles", "cpu-clock"];

/// A sample takes about half a kilobyte, so that this is some ten minutes of two processors; `perf` stops there by itself.
const DATA_SIZE_MAX: &str = "64M";

/// `perf` opens a counter for each thread and processor, and reads what the kernel tells of each before it starts.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Of what `perf` says, so much is kept for a message.
const COMPLAINT_BYTES_MAX: u64 = 64 * 1024;

/// What `perf` runs beside the processes, and ends with. A shell in its background waits for a line, which says stop; an end
/// without one is ours, however we ended, and then nobody else removes the folder. It stands apart since `perf` kills what it
/// runs when all that it looks at is gone, which we may be too.
const TIE: &str = r#"exec 3<&0 </dev/null
{ trap '' TERM; read -r order <&3 || rm -rf -- "$1"; } >/dev/null 2>&1 &
exec 3<&-
echo started
wait"#;

/// What the remedy is where `perf` may not look.
const PERMIT: &str = "let it with `sysctl kernel.perf_event_paranoid=1`, or give perf the capability CAP_PERFMON";
/// The same in a container.
const PERMIT_CONTAINER: &str =
    "start the container with `--cap-add PERFMON` and a seccomp profile that allows perf_event_open";

/// Why nothing was profiled, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileError {
    reason: String,
    remedy: String,
}

impl ProfileError {
    fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason: reason.into(), remedy: remedy.into() }
    }

    fn failed(what: &str, error: impl fmt::Display) -> Self {
        Self::new(format!("{what}: {error}"), "try `perf record -g -p PID` by hand")
    }

    /// What to do about it.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ProfileError {}

/// A `perf` that works here.
#[derive(Debug, Clone)]
pub struct Profiler {
    event: &'static str,
}

impl Profiler {
    /// Finds out what `perf` may count, by trying it.
    ///
    /// # Errors
    /// Where it is missing, or may not.
    pub fn find() -> Result<Self, ProfileError> {
        let folder = new_folder()?;
        let mut complaint = String::new();
        for event in EVENTS {
            let tried = perf(folder.path())
                .args(["record", "--quiet", "--event", event, "-g", "--no-buildid-cache", "--output"])
                .arg(folder.path().join("probe"))
                .args(["--", "true"])
                .output()
                .map_err(|error| unstarted(&error))?;
            if tried.status.success() {
                return Ok(Self { event });
            }
            complaint = String::from_utf8_lossy(&tried.stderr).into_owned();
        }
        Err(refusal(&complaint, paranoid_level(), is_contained()))
    }

    /// Samples these processes, and what they start from now on. Sampling has begun when this returns.
    ///
    /// # Errors
    /// Where one of them is gone or belongs to somebody else.
    pub fn start(&self, processes: &[u32]) -> Result<Profiling, ProfileError> {
        let folder = new_folder()?;
        let complaints = fs::File::create(folder.path().join(COMPLAINTS))
            .map_err(|error| ProfileError::failed("the log of perf cannot be made", error))?;
        let numbers: Vec<_> = processes.iter().map(u32::to_string).collect();
        let mut perf = perf(folder.path())
            .args(["record", "--quiet", "--event", self.event, "-g", "--no-buildid-cache"])
            .arg(format!("--freq={SAMPLES_PER_SECOND}"))
            .arg(format!("--max-size={DATA_SIZE_MAX}"))
            .arg(format!("--pid={}", numbers.join(",")))
            .arg("--output")
            .arg(folder.path().join(DATA))
            .args(["--", "/bin/sh", "-c", TIE, "storelab-profile"])
            .arg(folder.path())
            // A terminal's Ctrl-C is for us: what was sampled until then is wanted.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn()
            .map_err(|error| unstarted(&error))?;
        let tie = perf.stdin.take();
        let output = BufReader::new(perf.stdout.take().expect("it was piped"));
        let mut profiling = Profiling { perf, tie, output, folder, since: Instant::now(), lasted: None, is_cut: false };
        profiling.await_start()?;
        Ok(profiling)
    }
}

/// A profile of a run, or of whatever else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What was counted: `cycles`, or `cpu-clock` where the processor's counters are not to be had.
    pub event: String,
    /// Samples that were taken.
    pub samples: u64,
    /// From its start to its end.
    pub duration: Duration,
    /// Whether it ended before it was stopped: it grew too large, or all of the processes ended.
    pub is_cut: bool,
    /// A stack and how often it was seen, a line each: `outermost;…;innermost 12`.
    pub folded: String,
    /// The same as a picture.
    pub svg: String,
}

/// Names in the folder of a profile.
const DATA: &str = "perf.data";
const COMPLAINTS: &str = "perf.log";

/// Processes whose stacks are being sampled. Dropped, it ends and leaves nothing.
#[derive(Debug)]
pub struct Profiling {
    perf: Child,
    tie: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    folder: TempDir,
    since: Instant,
    lasted: Option<Duration>,
    is_cut: bool,
}

impl Profiling {
    /// Ends the sampling; what was sampled is written down meanwhile.
    pub fn stop(&mut self) {
        let Some(mut tie) = self.tie.take() else { return };
        self.is_cut = !matches!(self.perf.try_wait(), Ok(None));
        let lasted = if self.is_cut { self.last_written() } else { None };
        self.lasted = Some(lasted.unwrap_or_else(|| self.since.elapsed()));
        // Where it has ended already, nobody reads this.
        let _ = tie.write_all(b"stop\n");
    }

    /// Makes a flame graph with that title of what was sampled. It takes a second or a few, since symbols are looked up in
    /// every library that was sampled, and no longer than `patience`.
    ///
    /// # Errors
    /// Where `perf` fails, or no sample was taken.
    pub fn finish(mut self, title: &str, patience: Duration) -> Result<Profile, ProfileError> {
        let until = Instant::now() + patience;
        self.stop();
        let duration = self.lasted.unwrap_or_default();
        if !self.is_readable(patience) {
            return Err(ProfileError::failed("perf does not end", "it was killed"));
        }
        // Its output has ended, and so has it, or will in a moment.
        let _ = self.perf.wait();
        let data = self.folder.path().join(DATA);
        if !data.is_file() {
            return Err(refusal(&self.complaint(), paranoid_level(), is_contained()));
        }
        let event = self.event(&data);
        let folded = self.fold(&data, until)?;
        let samples = folded::samples(&folded);
        if samples == 0 {
            return Err(ProfileError::new(
                "no sample was taken: the processes hardly used a processor",
                "give them more to do, or let the run go on for longer",
            ));
        }
        let subtitle = format!("{samples} samples of {event}, {SAMPLES_PER_SECOND} a second and processor");
        let svg = folded::svg(&folded, title, &subtitle)
            .map_err(|error| ProfileError::failed("the flame graph cannot be drawn", error))?;
        Ok(Profile { event, samples, duration, is_cut: self.is_cut, folded, svg })
    }

    /// Waits for the line by which the shell says that counters run.
    fn await_start(&mut self) -> Result<(), ProfileError> {
        let mut line = String::new();
        if self.is_readable(START_TIMEOUT) {
            // An end without a line says the same as an error.
            let _ = self.output.read_line(&mut line);
        }
        self.since = Instant::now();
        if line == "started\n" {
            return Ok(());
        }
        // The text is whole once it has ended.
        self.end();
        Err(refusal(&self.complaint(), paranoid_level(), is_contained()))
    }

    /// Whether its output has something, or has ended, within that time.
    fn is_readable(&self, timeout: Duration) -> bool {
        let mut descriptors = [PollFd::from_borrowed_fd(self.output.get_ref().as_fd(), PollFlags::IN)];
        let timeout = Timespec::try_from(timeout).expect("constants of seconds fit");
        poll(&mut descriptors, Some(&timeout)).is_ok_and(|ready| ready > 0)
    }

    /// From the start to when the data were written last.
    fn last_written(&self) -> Option<Duration> {
        let written = fs::metadata(self.folder.path().join(DATA)).ok()?.modified().ok()?;
        self.since.elapsed().checked_sub(written.elapsed().ok()?)
    }

    /// What `perf` counted in the end, which is its own choice where a counter is not to be had.
    fn event(&self, data: &Path) -> String {
        let listed = perf(self.folder.path()).args(["evlist", "--input"]).arg(data).output();
        let listed = listed.map(|listed| String::from_utf8_lossy(&listed.stdout).into_owned()).unwrap_or_default();
        // A modifier says how precise it is, which nobody asked.
        let name = listed.lines().find(|line| !line.starts_with('#')).and_then(|line| line.split(':').next());
        name.map(str::trim).filter(|name| !name.is_empty()).unwrap_or("unknown").to_owned()
    }

    fn fold(&self, data: &Path, until: Instant) -> Result<String, ProfileError> {
        let mut script = perf(self.folder.path())
            .args(["script", "--no-inline", "--fields", "comm,pid,tid,time,event,ip,sym,dso", "--input"])
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| unstarted(&error))?;
        let stacks = Timed { stream: script.stdout.take().expect("it was piped"), until };
        let folded = folded::fold(BufReader::new(stacks));
        if folded.is_err() {
            // It ends by itself once nobody reads it, except where it hangs.
            let _ = script.kill();
        }
        let _ = script.wait();
        folded.map_err(|error| ProfileError::failed("what perf sampled cannot be read", error))
    }

    fn complaint(&self) -> String {
        let mut text = Vec::new();
        if let Ok(file) = fs::File::open(self.folder.path().join(COMPLAINTS)) {
            // What could be read of it is all that is to be told.
            let _ = file.take(COMPLAINT_BYTES_MAX).read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    fn end(&mut self) {
        // Both fail only where it has ended.
        let _ = self.perf.kill();
        let _ = self.perf.wait();
    }
}

impl Drop for Profiling {
    fn drop(&mut self) {
        self.end();
    }
}

/// A stream that may be waited for until then.
struct Timed {
    stream: ChildStdout,
    until: Instant,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        let mut descriptors = [PollFd::from_borrowed_fd(self.stream.as_fd(), PollFlags::IN)];
        let timeout = Timespec::try_from(left).map_err(std::io::Error::other)?;
        if poll(&mut descriptors, Some(&timeout))? == 0 {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        self.stream.read(buffer)
    }
}

/// The program, which neither reads a user's settings nor leaves anything in a home.
fn perf(folder: &Path) -> Command {
    let mut command = Command::new("perf");
    command.env_clear().env("HOME", folder).env("LC_ALL", "C").stdin(Stdio::null());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// Stacks tell what a server does, which is nobody else's business: the folder is readable for us alone.
fn new_folder() -> Result<TempDir, ProfileError> {
    tempfile::Builder::new()
        .prefix("storelab-profile-")
        .tempdir()
        .map_err(|error| ProfileError::failed("no temporary folder can be made", error))
}

fn unstarted(error: &std::io::Error) -> ProfileError {
    if error.kind() == std::io::ErrorKind::NotFound {
        return ProfileError::new("perf is not installed", "install it; on Debian: sudo apt-get install linux-perf");
    }
    ProfileError::failed("perf cannot be started", error)
}

/// `kernel.perf_event_paranoid`: the higher, the fewer may look.
fn paranoid_level() -> Option<i32> {
    fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok()?.trim().parse().ok()
}

/// Whether this looks like a container of Docker's or Podman's.
fn is_contained() -> bool {
    ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| Path::new(mark).exists())
}

/// Why `perf` did not start, of what it says.
fn refusal(complaint: &str, paranoid: Option<i32>, contained: bool) -> ProfileError {
    let denied = ["perf_event_paranoid", "permission", "Permission", "not permitted", "privileged"];
    if denied.iter().any(|word| complaint.contains(word)) {
        let level = paranoid.map(|level| format!(" (kernel.perf_event_paranoid is {level})")).unwrap_or_default();
        let remedy = if contained { PERMIT_CONTAINER } else { PERMIT };
        return ProfileError::new(format!("the kernel does not let perf look{level}"), remedy);
    }
    let said = complaint.lines().map(str::trim).find(|line| line.chars().any(char::is_alphanumeric));
    match said {
        Some(line) => ProfileError::failed("perf fails", line),
        None => ProfileError::failed("perf fails", "it says nothing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_learns_why_and_what_to_do() {
        let denied = "Error:\nAccess to performance monitoring and observability operations is limited.\nConsider adjusting /proc/sys/kernel/perf_event_paranoid setting\n";
        for (complaint, paranoid, contained, reason, remedy) in [
            (denied, Some(3), false, "the kernel does not let perf look (kernel.perf_event_paranoid is 3)", PERMIT),
            (denied, None, true, "the kernel does not let perf look", PERMIT_CONTAINER),
            (
                "No permission to enable cycles event.\n",
                Some(2),
                true,
                "(kernel.perf_event_paranoid is 2)",
                PERMIT_CONTAINER,
            ),
            (
                "\n  \nThe cycles event is not supported.\n",
                Some(1),
                false,
                "perf fails: The cycles event is not supported.",
                "by hand",
            ),
            ("", None, false, "perf fails: it says nothing", "by hand"),
        ] {
            let refused = refusal(complaint, paranoid, contained);
            assert!(refused.to_string().contains(reason), "{refused}");
            assert!(refused.remedy().contains(remedy), "{}", refused.remedy());
        }
    }

    #[test]
    fn a_program_that_is_missing_is_named_with_its_package() {
        let missing = unstarted(&std::io::ErrorKind::NotFound.into());
        assert_eq!(missing.to_string(), "perf is not installed");
        assert!(missing.remedy().contains("linux-perf"), "{}", missing.remedy());
    }
}
