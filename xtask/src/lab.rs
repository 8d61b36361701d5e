//! The built program with a home of its own, and servers that it starts and that end with this process.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// The program with a home of its own.
pub(crate) struct Lab {
    pub(crate) program: PathBuf,
    pub(crate) home: PathBuf,
    /// Where servers keep their data.
    pub(crate) temporary: PathBuf,
}

impl Lab {
    /// The program; `within` is a command that runs another somewhere: `taskset`, `nsenter`, or nothing.
    pub(crate) fn command(&self, within: &[String]) -> Command {
        let mut command = match within {
            [] => Command::new(&self.program),
            [outer, arguments @ ..] => {
                let mut command = Command::new(outer);
                command.args(arguments).arg(&self.program);
                command
            }
        };
        command.current_dir(&self.home).env("STORELAB_HOME", &self.home).env_remove("STORELAB_STORE");
        command.env("TMPDIR", &self.temporary);
        command
    }

    /// What the program writes; `fine` are exit codes that are no failure.
    pub(crate) fn output(&self, arguments: &[&str], fine: &[i32]) -> Result<String> {
        written(self.command(&[]).args(arguments), fine)
    }

    /// A process that runs the program with these arguments once its standard input ends, so at the latest when this
    /// process does: a signal that ends this one does not reach its group.
    fn watcher(&self, arguments: &[&str]) -> Result<Child> {
        Command::new("/bin/sh")
            .args(["-c", "read -r _; exec \"$0\" \"$@\""])
            .arg(&self.program)
            .args(arguments)
            .current_dir(&self.home)
            .env("STORELAB_HOME", &self.home)
            .env_remove("STORELAB_STORE")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("a shell for what is to be done at the end")
    }
}

/// What a command writes; `fine` are exit codes that are no failure.
pub(crate) fn written(command: &mut Command, fine: &[i32]) -> Result<String> {
    let ended = command.output().context("the program does not run")?;
    if !ended.status.code().is_some_and(|code| fine.contains(&code)) {
        bail!("{command:?} ended with {}: {}", ended.status, String::from_utf8_lossy(&ended.stderr));
    }
    Ok(String::from_utf8(ended.stdout)?)
}

/// A throw-away server that ends with this value, or with this process, however that ends.
pub(crate) struct Server {
    pub(crate) url: String,
    /// Takes the server down once its input ends.
    watcher: Child,
}

impl Server {
    /// Starts an engine; `within` as for [`Lab::command`].
    pub(crate) fn start(lab: &Lab, engine: &str, within: &[String]) -> Result<Self> {
        fs::create_dir_all(&lab.home).context("a folder for the program's home")?;
        // Before the server: what is watched for may happen at any time.
        let watcher = lab.watcher(&["engines", "down", engine])?;
        let mut server = Self { url: String::new(), watcher };
        let written = written(lab.command(within).args(["engines", "up", engine]), &[0])?;
        let url = written.split_whitespace().find(|word| word.contains("://")).context("the server's URL")?;
        url.clone_into(&mut server.url);
        Ok(server)
    }

    pub(crate) fn port(&self) -> Result<u16> {
        let (_, after) = self.url.rsplit_once("127.0.0.1:").context("a server on loopback")?;
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().context("the server's port")
    }

    /// The same database through another port.
    pub(crate) fn through(&self, port: u16) -> Result<String> {
        Ok(self.url.replace(&format!("127.0.0.1:{}", self.port()?), &format!("127.0.0.1:{port}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        // What it could not do it says itself, so that somebody can take the server down.
        let _ = self.watcher.wait();
    }
}
