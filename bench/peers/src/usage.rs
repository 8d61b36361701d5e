//! What a program used, measured by a process in between that has no other child.
//!
//! `getrusage` counts all ended children together, and its memory is the largest of them; a process that starts one
//! program only learns that one's, in microseconds where `/proc` has ticks of 10 ms.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;
use nix::pty::openpty;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

/// What a program used from its start to its end, with the programs that it started itself.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Usage {
    pub(crate) cpu_us: i64,
    /// Resident memory at its highest.
    pub(crate) memory_kib_max: i64,
}

/// Runs a program to its end, with our stdin and stdout, and writes what it used to a file. Gives its exit code.
///
/// With `terminal` its stderr is one, of which nothing is shown.
pub(crate) fn run(file: &Path, terminal: bool, program: &[String]) -> anyhow::Result<ExitCode> {
    let [name, arguments @ ..] = program else { anyhow::bail!("no program is named") };
    let mut command = Command::new(name);
    command.args(arguments);
    if terminal {
        let pair = openpty(None, None).context("there is no pseudo-terminal")?;
        command.stderr(Stdio::from(pair.slave)).env("TERM", "xterm-256color");
        // It ends with this process; what is written must be read, or the program would wait.
        std::thread::spawn(move || io::copy(&mut File::from(pair.master), &mut io::sink()));
    }
    let status = command.status().with_context(|| format!("{name} cannot be started: is it installed?"))?;
    let used = getrusage(UsageWho::RUSAGE_CHILDREN).context("the kernel counts what children use")?;
    let usage = Usage {
        cpu_us: used.user_time().num_microseconds() + used.system_time().num_microseconds(),
        memory_kib_max: used.max_rss(),
    };
    fs::write(file, serde_json::to_string(&usage)?).with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// What [`run`] wrote.
pub(crate) fn read(file: &Path) -> anyhow::Result<Usage> {
    let mut text = String::new();
    File::open(file).and_then(|mut file| file.read_to_string(&mut text)).context("nothing was measured")?;
    Ok(serde_json::from_str(&text)?)
}

/// Lets this process and its children open so many files, where the hard limit lets it; gives what is allowed now.
pub(crate) fn raise_open_files(wanted: u64) -> anyhow::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= wanted {
        return Ok(soft);
    }
    let raised = wanted.min(hard);
    setrlimit(Resource::RLIMIT_NOFILE, raised, hard)?;
    Ok(raised)
}
