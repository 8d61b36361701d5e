//! Servers in containers, where a Docker daemon is there and the host has not their programs.
//!
//! A container is only another place for the same programs: it uses the host's network, so that the server listens on
//! loopback as its engine says, sees its instance's folder and data at their own paths, and runs as the same user without
//! rights. So plans, records, signals and clean-up are those of a local process: the server's process is found on the host.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::engine::Invocation;
use crate::install::run_command;
use crate::process::wait_until;
use crate::user::User;
use crate::{Process, Result};

const DOCKER: &str = "docker";

/// How long the daemon may take from the command to the container's process.
const CREATE_TIMEOUT: Duration = Duration::from_mins(1);

/// Whether there is a Docker daemon that serves us.
pub(crate) fn has_daemon() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| succeeds(&["version", "--format", "{{.Server.Version}}"]))
}

/// Whether an image is on this machine.
pub(crate) fn has_image(image: &str) -> bool {
    has_daemon() && succeeds(&["image", "inspect", image])
}

/// Fetches an image from its registry.
pub(crate) fn pull(image: &str, progress: &mut dyn FnMut(&str)) -> Result<()> {
    let mut command = Command::new(DOCKER);
    command.args(["pull", "--quiet", image]);
    progress(&format!("{DOCKER} pull {image}"));
    run_command(command, progress)
}

/// The same command in a container of that name, which sees the folders and goes when the command ends.
pub(crate) fn contained(invocation: &Invocation, image: &str, name: &str, user: User, folders: &[&Path]) -> Invocation {
    let mut all = Invocation::new(DOCKER)
        .arguments(["run", "--rm", "--init", "--interactive", "--network", "host", "--name", name])
        .arguments(["--user".to_owned(), user.ids()]);
    for folder in folders {
        let mut volume = OsString::from(folder);
        volume.push(":");
        volume.push(folder);
        all = all.argument("--volume").argument(volume);
    }
    if let Some(folder) = folders.first() {
        all = all.argument("--workdir").argument(*folder).path_argument("--env=HOME=", folder);
    }
    for (variable, value) in &invocation.environment {
        let mut setting = OsString::from(format!("--env={variable}="));
        setting.push(value);
        all = all.argument(setting);
    }
    all = all.argument("--entrypoint").argument(&invocation.program).argument(image);
    all.arguments(invocation.arguments.iter()).input(&invocation.input)
}

/// The server's process in a container, as the host numbers it; `None` where the container has ended or does not start.
pub(crate) fn server_process(name: &str, mut has_ended: impl FnMut() -> bool) -> Option<Process> {
    let mut found = None;
    wait_until(Instant::now() + CREATE_TIMEOUT, || {
        // The first process only passes on signals and collects: the server is its child.
        let first = output(&["inspect", "--format", "{{.State.Pid}}", name])
            .and_then(|text| text.trim().parse().ok())
            .filter(|id| *id > 0)
            .and_then(Process::find);
        found = first.and_then(|first| first.tree().get(1).copied());
        found.is_some() || has_ended()
    });
    found
}

/// Ends a container, whatever it does.
pub(crate) fn remove(name: &str) {
    succeeds(&["rm", "--force", name]);
}

fn succeeds(arguments: &[&str]) -> bool {
    let mut command = Command::new(DOCKER);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn output(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(DOCKER);
    let output = command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
