//! What is known about a running server, by whoever started it and by whoever comes later.

use std::fmt;
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::engine::StopSignal;
use crate::error::IoContext;
use crate::process::{Process, wait_until};
use crate::{Engine, Error, ErrorKind, Password, Result, engine};

/// What every throw-away folder's name starts with; nothing else is ever removed.
pub(crate) const FOLDER_PREFIX: &str = "storelab-";

/// The server's output, in its folder.
pub(crate) const LOG: &str = "server.log";

/// How long a server may take to stop in order; `PostgreSQL` and `MariaDB` write what is dirty, on a slow disk too.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a process may take to stop or to vanish after SIGSTOP or SIGKILL: it may sit in a disk's queue.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(5);

/// The end of a log that is worth showing.
const LOG_TAIL_BYTES: u64 = 4096;

/// A record's file: readable by its user alone, because it holds the password.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) engine: String,
    pub(crate) version: String,
    /// The machine's boot, without which process numbers and start times mean nothing.
    pub(crate) boot_id: String,
    /// Who wants it stopped when it ends; `None` for a detached server.
    pub(crate) owner: Option<Process>,
    pub(crate) supervisor: Option<Process>,
    pub(crate) server: Option<Process>,
    /// Where it listens.
    #[serde(default = "loopback")]
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    /// The name of the nodes that it is one of, where it is.
    #[serde(default)]
    pub(crate) cluster: Option<String>,
    /// The throw-away folder.
    pub(crate) folder: PathBuf,
    /// The data folder that was given, which stays.
    pub(crate) data: Option<PathBuf>,
    pub(crate) password: String,
    pub(crate) url: String,
}

/// A server that was started by this or another process.
#[derive(Clone)]
pub struct Instance {
    record: Record,
    path: PathBuf,
}

impl Instance {
    /// Its name, unique among those that run.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// The name of its engine.
    pub fn engine(&self) -> &str {
        &self.record.engine
    }

    /// Its version, as its program says.
    pub fn version(&self) -> &str {
        &self.record.version
    }

    /// Where clients connect to, **with the password in it**.
    pub fn url(&self) -> &str {
        &self.record.url
    }

    /// The name that it and the other nodes of its data store go by, where it has some.
    pub fn cluster(&self) -> Option<&str> {
        self.record.cluster.as_deref()
    }

    /// The loopback address that it listens on.
    pub fn address(&self) -> Ipv4Addr {
        self.record.address
    }

    /// Its port for clients.
    pub fn port(&self) -> u16 {
        self.record.port
    }

    /// The number of its main process, 0 where it never came up.
    pub fn process_id(&self) -> u32 {
        self.record.server.map_or(0, Process::id)
    }

    /// Its own folder, which goes with it.
    pub fn folder(&self) -> &Path {
        &self.record.folder
    }

    /// The data folder that it was given, which stays when it goes.
    pub fn data(&self) -> Option<&Path> {
        self.record.data.as_deref()
    }

    /// Whether it runs (or is paused).
    pub fn is_running(&self) -> bool {
        self.server().is_some()
    }

    /// Whether it stays when whoever started it ends.
    pub fn is_detached(&self) -> bool {
        self.record.owner.is_none()
    }

    /// Its processes, the main one first.
    pub fn processes(&self) -> Vec<Process> {
        self.server().map(Process::tree).unwrap_or_default()
    }

    /// The end of its log, without the password.
    pub fn log_tail(&self) -> String {
        let tail = read_tail(&self.record.folder.join(LOG)).unwrap_or_default();
        Password::kept(self.record.password.clone()).redact(&tail)
    }

    /// Stops all its processes with SIGSTOP: clients stay connected and hear nothing.
    ///
    /// # Errors
    /// `NotRunning`; `Io` where some do not stop within seconds.
    pub fn pause(&self) -> Result<()> {
        let server = self.server().ok_or_else(|| self.not_running())?;
        server.freeze(SIGNAL_TIMEOUT).map(drop).ok_or_else(|| {
            server.thaw();
            Error::new(ErrorKind::Io, format!("`{}` has a process that does not stop", self.name()))
        })
    }

    /// Lets all its processes go on.
    ///
    /// # Errors
    /// `NotRunning`.
    pub fn resume(&self) -> Result<()> {
        self.server().ok_or_else(|| self.not_running()).map(Process::thaw)
    }

    /// Ends all its processes with SIGKILL, as a crash would. Its folder stays until it is stopped.
    ///
    /// # Errors
    /// `Io` where some are still there after seconds.
    pub fn kill(&self) -> Result<()> {
        let gone = self.server().is_none_or(|server| server.kill_tree(SIGNAL_TIMEOUT));
        if gone { Ok(()) } else { Err(Error::new(ErrorKind::Io, format!("`{}` survives SIGKILL", self.name()))) }
    }

    /// Stops it in order, by force where that takes too long, and removes its folder. Given data stays.
    ///
    /// # Errors
    /// `Io` where a process or the folder cannot be removed.
    pub fn stop(&self) -> Result<()> {
        self.remove(STOP_TIMEOUT)
    }

    /// Stops it in order within `patience` and by force after it, and removes folder and record.
    pub(crate) fn remove(&self, patience: Duration) -> Result<()> {
        if let Some(server) = self.server() {
            let tree = server.tree();
            server.signal(self.stop_signal());
            server.thaw();
            wait_until(Instant::now() + patience, || !server.is_alive());
            self.kill()?;
            // Children that a dying parent left, such as a backend that was busy.
            let deadline = Instant::now() + SIGNAL_TIMEOUT;
            for process in tree.iter().filter(|process| !wait_until(deadline, || !process.is_alive())) {
                process.signal(Signal::KILL);
            }
        }
        if let Some(supervisor) = self.alive(self.record.supervisor) {
            let ends_by_itself = wait_until(Instant::now() + SIGNAL_TIMEOUT, || !supervisor.is_alive());
            if !ends_by_itself {
                supervisor.kill_tree(SIGNAL_TIMEOUT);
            }
        }
        remove_folder(&self.record.folder)?;
        absent_is_fine(fs::remove_file(&self.path)).or_cannot(|| format!("remove {}", self.path.display()))
    }

    /// Whether nobody is left who would stop it, or a detached one has ended.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self.record.owner {
            Some(owner) => self.alive(Some(owner)).is_none(),
            None => !self.is_running(),
        }
    }

    /// Reads a record; `None` where it has gone in between or is no record.
    pub(crate) fn read(path: PathBuf) -> Result<Option<Self>> {
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(format!("read {}", path.display()), error)),
        };
        match serde_json::from_slice(&text) {
            Ok(record) => Ok(Some(Self { record, path })),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "not a server's record, left alone");
                Ok(None)
            }
        }
    }

    /// Writes the first record of a name, or says that the name is taken.
    pub(crate) fn create(record: Record, path: PathBuf) -> Result<Self> {
        let instance = Self { record, path };
        match instance.write()?.persist_noclobber(&instance.path) {
            Ok(_) => Ok(instance),
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
                let name = instance.name();
                Err(Error::new(ErrorKind::InUse, format!("a server named `{name}` is running already"))
                    .with_hint(format!("give another name, or storelab engines down {name}")))
            }
            Err(error) => Err(Error::io(format!("write {}", instance.path.display()), error.error)),
        }
    }

    /// Changes the record, on disk first as a whole file.
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut Record)) -> Result<()> {
        change(&mut self.record);
        let written = self.write()?.persist(&self.path).map(drop).map_err(|error| error.error);
        written.or_cannot(|| format!("write {}", self.path.display()))
    }

    fn write(&self) -> Result<NamedTempFile> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let text = serde_json::to_vec_pretty(&self.record).expect("a record of plain fields");
        // A temporary file is its user's alone (mode 0600) and so is what it becomes.
        NamedTempFile::new_in(folder)
            .and_then(|mut file| file.write_all(&text).map(|()| file))
            .or_cannot(|| format!("write in {}", folder.display()))
    }

    fn server(&self) -> Option<Process> {
        self.alive(self.record.server)
    }

    /// A process of the record, where it is still that process.
    fn alive(&self, process: Option<Process>) -> Option<Process> {
        process.filter(|process| self.record.boot_id == boot_id() && process.is_alive())
    }

    fn stop_signal(&self) -> Signal {
        match engine(&self.record.engine).map(Engine::stop_signal) {
            Ok(StopSignal::Interrupt) => Signal::INT,
            Ok(StopSignal::Terminate) | Err(_) => Signal::TERM,
        }
    }

    fn not_running(&self) -> Error {
        Error::new(ErrorKind::NotRunning, format!("the server `{}` does not run any more", self.name()))
    }
}

/// Everything but what is secret.
impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("name", &self.record.name)
            .field("engine", &self.record.engine)
            .field("port", &self.record.port)
            .field("server", &self.record.server)
            .field("folder", &self.record.folder)
            .finish_non_exhaustive()
    }
}

/// Of records that do not say.
fn loopback() -> Ipv4Addr {
    Ipv4Addr::LOCALHOST
}

/// What tells one start of the machine from another; empty where the kernel does not say.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Removes a throw-away folder; one whose name is not ours stays, whatever a record says.
fn remove_folder(folder: &Path) -> Result<()> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    if !name.starts_with(FOLDER_PREFIX) {
        return Err(Error::new(ErrorKind::Config, format!("{} is not a folder of a server's", folder.display()))
            .with_hint("remove the record by hand if nothing of it runs any more"));
    }
    absent_is_fine(fs::remove_dir_all(folder)).or_cannot(|| format!("remove {}", folder.display()))
}

fn absent_is_fine(result: std::io::Result<()>) -> std::io::Result<()> {
    result.or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn read_tail(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
