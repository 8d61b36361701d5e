//! Runs the program in a home of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use provision::{Cluster, ENGINES, Effort, Engine, Home, Options, Server};
use serde_json::Value;
use tempfile::TempDir;

/// Held for writing by tests whose answer depends on the machine having nothing else to do.
static MACHINE: RwLock<()> = RwLock::new(());

enum Share {
    Alone(#[expect(dead_code, reason = "held until the test ends")] RwLockWriteGuard<'static, ()>),
    WithOthers(#[expect(dead_code, reason = "held until the test ends")] RwLockReadGuard<'static, ()>),
}

/// Runs beside other tests have no host to themselves, which makes them invalid; what such a test shows does not depend
/// on it.
const BESIDE_OTHERS: &str = "--accept-invalid";

/// A folder that stands for a user's home: results, reports and servers go below it.
pub(crate) struct Lab {
    folder: TempDir,
    share: Share,
}

impl Lab {
    /// For a test that runs beside others.
    pub(crate) fn new() -> Self {
        let share = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
        Self { folder: tempfile::tempdir().expect("a temporary folder"), share: Share::WithOthers(share) }
    }

    /// For a test that needs the machine.
    pub(crate) fn alone() -> Self {
        let share = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
        Self { folder: tempfile::tempdir().expect("a temporary folder"), share: Share::Alone(share) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with these arguments, nothing of the real environment's settings in it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_storelab"));
        let is_beside_others = matches!(self.share, Share::WithOthers(_));
        command
            .args(arguments)
            .args((is_beside_others && arguments.first() == Some(&"run")).then_some(BESIDE_OTHERS))
            .env("STORELAB_HOME", self.folder.path())
            .env_remove("STORELAB_STORE")
            .env_remove("LOG_LEVEL")
            .env_remove("POSTGRES_PORT")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().expect("the program starts"))
    }

    /// Starts it.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("the program starts")
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file in a temporary folder");
        path
    }

    /// A throw-away server, or none where it is not installed: which is said, and a failure where engines are required.
    pub(crate) fn server(&self, engine: &str) -> Option<Server> {
        let (engine, options) = self.installed(engine)?;
        Some(Server::start(engine, &options).expect("the server starts"))
    }

    /// A throw-away data store of several nodes.
    pub(crate) fn cluster(&self, engine: &str, nodes: usize) -> Option<Cluster> {
        let (engine, options) = self.installed(engine)?;
        Some(Cluster::start(engine, nodes, &options).expect("the nodes start"))
    }

    fn installed(&self, engine: &str) -> Option<(&'static dyn Engine, Options)> {
        let engine = provision::engine(engine).expect("an engine of that name");
        let home = Home::at(self.path("servers"));
        if engine.find(&home).is_err() {
            let is_required = std::env::var_os("STORELAB_REQUIRE_ENGINES").is_some();
            let is_quick = engine.origin().effort() == Effort::Minutes;
            assert!(!(is_required && is_quick), "{} is not installed", engine.name());
            skipped(&format!("{} is not installed", engine.name()));
            return None;
        }
        Some((engine, Options { home: Some(home), ..Options::default() }))
    }
}

/// Shows something with every engine, some at the same time, each in a home of its own.
pub(crate) fn with_every_engine(show: impl Fn(&Lab, &'static dyn Engine) + Sync) {
    /// Servers start slowly on a machine where many do at once.
    const AT_A_TIME: usize = 3;
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(engine) = ENGINES.get(next.fetch_add(1, Ordering::Relaxed)) {
                    show(&Lab::new(), *engine);
                }
            });
        }
    });
}

/// Says by name what is not tested on this machine.
#[expect(clippy::print_stdout, reason = "the test's own output is where a skipped part is looked for")]
pub(crate) fn skipped(why: &str) {
    println!("skipped: {why}");
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is text"),
            stderr: String::from_utf8(output.stderr).expect("stderr is text"),
        }
    }

    /// The record on stdout, which must be one document and nothing else.
    pub(crate) fn record(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < within, "{what}: not within {within:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a record's operations are all accounted for, in the whole and in each phase.
pub(crate) fn assert_exact(record: &Value) {
    let phases = record["phases"].as_array().expect("phases");
    for part in std::iter::once(record).chain(phases) {
        let accounting = &part["accounting"];
        let count = |name: &str| accounting[name].as_u64().expect("a count");
        assert_eq!(
            count("scheduled"),
            count("succeeded") + count("failed") + count("shed") + count("unfinished"),
            "{accounting}"
        );
    }
}

/// What the processors did until a moment, in the kernel's ticks (`proc_stat(5)`).
pub(crate) struct ProcessorTime {
    all: u64,
    stolen: u64,
}

impl ProcessorTime {
    pub(crate) fn so_far() -> Self {
        /// user, nice, system, idle, iowait, irq, softirq, steal; guests' time is in user's.
        const KINDS: usize = 8;
        let stat = std::fs::read_to_string("/proc/stat").expect("Linux has it");
        let line = stat.lines().next().expect("the sum of all processors");
        let ticks: Vec<u64> =
            line.split_whitespace().skip(1).take(KINDS).map(|tick| tick.parse().expect("a count")).collect();
        Self { all: ticks.iter().sum(), stolen: ticks.get(KINDS - 1).copied().unwrap_or_default() }
    }

    /// The share of all processors' time since then that the host gave to others.
    pub(crate) fn stolen_since(&self) -> f64 {
        let now = Self::so_far();
        (now.stolen - self.stolen) as f64 / (now.all - self.all).max(1) as f64
    }

    /// Whether so much of it was that what was timed since then says nothing: a hundredth of all time decides a p99.
    pub(crate) fn was_hindered(&self) -> bool {
        const STOLEN_SHARE_MAX: f64 = 0.002;
        self.stolen_since() > STOLEN_SHARE_MAX
    }
}

/// Established connections to a loopback port, seen from the clients' side.
pub(crate) fn connections_to(port: u16) -> usize {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux has it");
    let remote = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[2].ends_with(&remote) && fields[3] == ESTABLISHED)
        .count()
}

/// Whether the process is there and not a zombie.
pub(crate) fn is_alive(process_id: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{process_id}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    let id = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(id, signal).expect("it is our child");
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
