//! A command that dies with its owner, even where the owner is killed with SIGKILL.
//!
//! Between the owner and the server stands a small shell script (`supervisor.sh`) in a process group of its own, so that
//! a terminal's Ctrl-C reaches the owner and not the servers. It notices the owner's end by the end of a pipe, which the
//! kernel closes however the owner ends. Nobody else holds the pipe: the standard library marks it close-on-exec.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::container;
use crate::engine::{Invocation, StopSignal};
use crate::error::{IoContext, Result};
use crate::process::{Process, wait_until};
use crate::user::User;

const SCRIPT: &str = include_str!("supervisor.sh");

/// What the script is called in lists of processes.
const SCRIPT_NAME: &str = "storelab-supervisor";

/// A supervisor whose server is gone ends at once; one that does not within this time is killed.
const END_TIMEOUT: Duration = Duration::from_secs(3);

/// What a command is run with.
pub(crate) struct Setting<'a> {
    /// Whom it runs as.
    pub(crate) user: User,
    /// How it is stopped when its owner died.
    pub(crate) stop_signal: StopSignal,
    /// Where it runs, and what is removed when its owner died.
    pub(crate) folder: &'a Path,
    /// What its output is appended to.
    pub(crate) log: &'a Path,
    /// The image and the name of the container that it runs in, and the folders that are seen there, where it does.
    pub(crate) container: Option<Container<'a>>,
}

/// Where a contained command runs.
pub(crate) struct Container<'a> {
    /// The image.
    pub(crate) image: &'static str,
    /// The container's own name.
    pub(crate) name: String,
    /// What it sees of the host, the instance's folder first.
    pub(crate) folders: Vec<&'a Path>,
}

/// A command under supervision.
#[derive(Debug)]
pub(crate) struct Supervised {
    supervisor: Child,
    /// As long as this is open, the owner is alive. `None` once the command is on its own.
    tie: Option<ChildStdin>,
    supervisor_process: Option<Process>,
    process: Option<Process>,
    /// The name of its container, where it runs in one.
    container: Option<String>,
}

impl Supervised {
    /// Starts a command. One that cannot be started has ended with status 126 or 127, and the log says why.
    pub(crate) fn spawn(setting: &Setting<'_>, invocation: &Invocation) -> Result<Self> {
        let Some(container) = &setting.container else {
            return Self::spawn_as(setting, invocation, setting.user, "");
        };
        let Container { image, name, folders } = container;
        let contained = container::contained(invocation, image, name, setting.user, folders);
        // The client of the daemon must be allowed to ask it, which whoever runs Storelab is.
        let mut supervised = Self::spawn_as(setting, &contained, User::Same, name)?;
        let server = container::server_process(name, || supervised.ended().is_some());
        supervised.process = server.or(supervised.process);
        supervised.container = Some(name.clone());
        Ok(supervised)
    }

    fn spawn_as(setting: &Setting<'_>, invocation: &Invocation, user: User, container: &str) -> Result<Self> {
        let signal = match setting.stop_signal {
            StopSignal::Interrupt => "INT",
            StopSignal::Terminate => "TERM",
        };
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SCRIPT, SCRIPT_NAME, signal, container])
            .args([setting.folder, setting.log, &invocation.input, &invocation.program])
            .args(&invocation.arguments)
            .current_dir(setting.folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // Neither Storelab's secrets nor PGDATA and its like are a server's business.
        command.env_clear().env("HOME", setting.folder).env("LC_ALL", "C").env("TMPDIR", setting.folder);
        for name in ["PATH", "TZ", "DOCKER_HOST"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(invocation.environment.iter().map(|(name, value)| (*name, value)));
        user.apply(&mut command);
        let mut supervisor = command.spawn().or_cannot(|| "start a supervisor with /bin/sh")?;
        let tie = supervisor.stdin.take();
        let output = supervisor.stdout.take().expect("it was piped");
        let supervisor_process = Process::find(supervisor.id());
        let mut supervised = Self { supervisor, tie, supervisor_process, process: None, container: None };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).or_cannot(|| "hear from the supervisor")?;
        supervised.process = line.trim().parse().ok().and_then(Process::find);
        Ok(supervised)
    }

    /// The command's process; `None` where it was gone before it could be looked at.
    pub(crate) fn process(&self) -> Option<Process> {
        self.process
    }

    /// The supervisor's own process.
    pub(crate) fn supervisor_process(&self) -> Option<Process> {
        self.supervisor_process
    }

    /// How the command ended, as a shell tells it; `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.supervisor.try_wait().ok().flatten()
    }

    /// Waits for the command's end; `None` where it takes too long.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let mut status = None;
        wait_until(Instant::now() + timeout, || {
            status = self.ended();
            status.is_some()
        });
        status
    }

    /// Lets the command outlive its owner.
    pub(crate) fn detach(mut self) -> Result<()> {
        if let Some(tie) = &mut self.tie {
            tie.write_all(b"detach\n").or_cannot(|| "reach the supervisor")?;
        }
        Ok(())
    }

    /// Makes sure that neither the command nor its supervisor is left, and collects the supervisor.
    pub(crate) fn end(&mut self) {
        if let Some(process) = self.process {
            process.kill_tree(END_TIMEOUT);
        }
        if let Some(name) = &self.container {
            container::remove(name);
        }
        if self.wait(END_TIMEOUT).is_none() {
            if let Some(supervisor) = self.supervisor_process {
                supervisor.kill_tree(END_TIMEOUT);
            }
            self.wait(END_TIMEOUT);
        }
        self.tie = None;
    }
}
