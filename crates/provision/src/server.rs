//! A running server as the one who started it holds it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Peer, Site};
use crate::error::IoContext;
use crate::launch::{prepare, remove_transient_files, write_files};
use crate::probe::{self, ADDRESS_IN_USE};
use crate::process::{Process, wait_until};
use crate::record::{FOLDER_PREFIX, Instance, LOG, Record, boot_id};
use crate::supervisor::{Container, Setting, Supervised};
use crate::user::User;
use crate::{Error, ErrorKind, Home, Password, Result};

/// Where servers listen, unless they are told apart by their addresses.
pub(crate) const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// How many free ports are tried: somebody else may take one between our look at it and the server's bind.
const PORT_ATTEMPTS_MAX: usize = 5;

/// What makes a given data folder ours: which engine's it is, and its password.
const KEEPSAKE: &str = "storelab.json";

/// Names longer than this make socket paths longer than the 108 bytes that Unix allows.
const NAME_BYTES_MAX: usize = 40;

/// How a server is to be started; the default is a throw-away one on a free port.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Its name among the running; one is made up where none is given.
    pub name: Option<String>,
    /// Its port on 127.0.0.1; a free one where none is given.
    pub port: Option<u16>,
    /// The folder whose data it works on and leaves behind, made where it is absent; a throw-away one where none is given.
    pub data: Option<PathBuf>,
    /// The server's own settings, by its own names: `shared_buffers` = `256MB`. What keeps it on 127.0.0.1 and behind its
    /// password cannot be set. Everybody on the machine can read them: nothing secret.
    pub settings: BTreeMap<String, String>,
    /// Where it is recorded; [`Home::locate`] where none is given.
    pub home: Option<Home>,
}

/// A server that stops, and whose throw-away folder is removed, when this is dropped or its process ends in any way.
///
/// Everything blocks and nothing needs a runtime, so that it can be called within one and without.
#[derive(Debug)]
pub struct Server {
    engine: &'static dyn Engine,
    instance: Instance,
    site: Site,
    user: User,
    supervised: Option<Supervised>,
    /// Where the server of a given data folder listened before.
    kept_port: Option<u16>,
    is_ours: bool,
}

impl Server {
    /// Prepares and starts a server and waits until it serves clients.
    ///
    /// # Errors
    /// `NotInstalled`; `Config` for options that cannot work; `InUse` for a name, port or folder; `StartFailed` with the end
    /// of its log. Nothing is left of a server that did not come up.
    pub fn start(engine: &'static dyn Engine, options: &Options) -> Result<Self> {
        let home = enter(options)?;
        let mut server = Self::create(engine, options, &home, Membership::alone()?)?;
        let is_fresh = server.prepare(options.data.as_deref())?;
        // Some data knows its server's address: the members of a replica set know one another by it.
        let kept = server.kept_port.filter(|port| probe::is_free(server.site.address, *port));
        server.come_up(options.port.or(kept))?;
        if is_fresh {
            engine.settle(&[&server.site]).map_err(|error| server.with_log(&error))?;
            server.leave_keepsake()?;
        }
        Ok(server)
    }

    /// Lets it know where the data of nodes is that were prepared before it.
    pub(crate) fn meet(&mut self, earlier: &[Self]) {
        for (peer, server) in self.site.nodes.iter_mut().zip(earlier) {
            peer.data.clone_from(&server.site.data);
        }
    }

    /// What can also be known and done without having started it.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Its engine.
    pub fn engine(&self) -> &'static dyn Engine {
        self.engine
    }

    /// Where clients connect to, **with the password in it**.
    pub fn url(&self) -> &str {
        self.instance.url()
    }

    /// Its port for clients.
    pub fn port(&self) -> u16 {
        self.instance.port()
    }

    /// What its engine was told about it.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The number of its main process.
    pub fn process_id(&self) -> u32 {
        self.instance.process_id()
    }

    /// The end of its log, without the password.
    pub fn log_tail(&self) -> String {
        self.instance.log_tail()
    }

    /// As [`Instance::pause`].
    pub fn pause(&self) -> Result<()> {
        self.instance.pause()
    }

    /// As [`Instance::resume`].
    pub fn resume(&self) -> Result<()> {
        self.instance.resume()
    }

    /// As [`Instance::kill`]; [`restart`](Self::restart) brings it up again.
    pub fn kill(&self) -> Result<()> {
        self.instance.kill()
    }

    /// Starts it again on its data and port after it was killed or ended by itself, and waits until it serves clients.
    ///
    /// # Errors
    /// `InUse` where it still runs; as [`start`](Self::start) otherwise.
    pub fn restart(&mut self) -> Result<()> {
        if self.instance.is_running() {
            return Err(Error::new(ErrorKind::InUse, format!("`{}` is still running", self.instance.name())));
        }
        self.launch()
    }

    /// Stops it in order, by force where that takes too long, and removes its folder. Given data stays.
    ///
    /// # Errors
    /// `Io` where a process or the folder cannot be removed.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    /// Lets it outlive this process, until [`Instance::stop`].
    ///
    /// # Errors
    /// `Io` where that cannot be recorded; then it is stopped.
    pub fn detach(mut self) -> Result<Instance> {
        self.instance.update(|record| record.owner = None)?;
        if let Some(supervised) = self.supervised.take() {
            supervised.detach()?;
        }
        self.is_ours = false;
        Ok(self.instance.clone())
    }

    /// Takes name and folder. From here on, dropping it leaves nothing behind.
    pub(crate) fn create(
        engine: &'static dyn Engine,
        options: &Options,
        home: &Home,
        membership: Membership,
    ) -> Result<Self> {
        let installation = engine.find(home)?;
        let user = User::for_servers();
        let data = options.data.as_deref().map(std::path::absolute).transpose().or_cannot(|| "use the data folder")?;
        if let Some(data) = &data {
            engine.check_data(data)?;
            check_unused(home, data)?;
        }
        let temporary = std::env::temp_dir();
        let folder = tempfile::Builder::new()
            .prefix(&format!("{FOLDER_PREFIX}{}-", engine.name()))
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(&temporary)
            .or_cannot(|| format!("make a folder in {}", temporary.display()))?;
        user.check_reach(folder.path())?;
        user.own(folder.path())?;
        let unique = folder.path().file_name().unwrap_or_default().to_string_lossy();
        let name = options.name.clone().unwrap_or_else(|| unique[FOLDER_PREFIX.len()..].to_owned());
        let Membership { cluster, password, node, nodes } = membership;
        let peer = nodes.get(node).cloned().unwrap_or(Peer {
            address: LOOPBACK,
            port: 0,
            ports: Vec::new(),
            data: PathBuf::new(),
        });
        let record = Record {
            name,
            engine: engine.name().to_owned(),
            version: installation.version().to_owned(),
            boot_id: boot_id(),
            owner: Process::current(),
            supervisor: None,
            server: None,
            address: peer.address,
            port: 0,
            cluster,
            folder: folder.path().to_owned(),
            data,
            password: password.expose().to_owned(),
            url: String::new(),
        };
        let instance = home.claim(record)?;
        let folder = folder.keep();
        let site = Site {
            installation,
            data: folder.join("data"),
            folder,
            address: peer.address,
            port: peer.port,
            ports: peer.ports,
            password,
            settings: options.settings.clone(),
            node,
            nodes,
        };
        Ok(Self { engine, instance, site, user, supervised: None, kept_port: None, is_ours: true })
    }

    /// Brings the data into being, unless a given folder has some of ours; whether it did.
    pub(crate) fn prepare(&mut self, given: Option<&Path>) -> Result<bool> {
        let keepsake = match given {
            None => None,
            Some(_) => self.enter_given_folder()?,
        };
        if let Some(keepsake) = keepsake {
            self.site.password = Password::kept(keepsake.password.clone());
            self.kept_port = keepsake.port;
            self.instance.update(|record| record.password = keepsake.password)?;
            return Ok(false);
        }
        match fs::DirBuilder::new().mode(0o700).create(&self.site.data) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            result => result.or_cannot(|| format!("make {}", self.site.data.display()))?,
        }
        self.user.own(&self.site.data)?;
        let log = self.site.folder.join(LOG);
        let plan = self.engine.preparation(&self.site);
        prepare(&plan, &self.setting(&log)).map_err(|error| self.with_log(&error))?;
        self.forget_log()?;
        Ok(true)
    }

    /// Turns to a given folder's data. What is known of it, or `None` where it has none yet.
    fn enter_given_folder(&mut self) -> Result<Option<Keepsake>> {
        let folder = self.instance.data().expect("prepare was given it").to_owned();
        fs::create_dir_all(&folder).or_cannot(|| format!("make {}", folder.display()))?;
        self.site.data = folder.join("data");
        self.user.check_reach(&self.site.data)?;
        let place = folder.join(KEEPSAKE);
        let text = match fs::read(&place) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let has_data = fs::read_dir(&self.site.data).is_ok_and(|mut entries| entries.next().is_some());
                if has_data {
                    let path = self.site.data.display();
                    return Err(Error::new(ErrorKind::Config, format!("{path} holds data that was not made here"))
                        .with_hint("give an empty folder; a preparation that was cut short leaves one to remove"));
                }
                return Ok(None);
            }
            Err(error) => return Err(Error::io(format!("read {}", place.display()), error)),
        };
        let keepsake: Keepsake = serde_json::from_slice(&text)
            .map_err(|_| Error::new(ErrorKind::Config, format!("{} is not what was left there", place.display())))?;
        if keepsake.engine != self.engine.name() {
            let (path, owner) = (folder.display(), &keepsake.engine);
            return Err(Error::new(ErrorKind::Config, format!("{path} holds data of {owner}"))
                .with_hint(format!("give another folder for {}", self.engine.name())));
        }
        Ok(Some(keepsake))
    }

    /// Written last, into a folder that was given: data without it was not finished.
    pub(crate) fn leave_keepsake(&self) -> Result<()> {
        let Some(folder) = self.instance.data() else { return Ok(()) };
        let keepsake = Keepsake {
            engine: self.engine.name().to_owned(),
            password: self.site.password.expose().to_owned(),
            port: Some(self.site.port),
        };
        let text = serde_json::to_vec_pretty(&keepsake).expect("strings and a number");
        let what = || format!("write in {}", folder.display());
        let mut file = tempfile::NamedTempFile::new_in(folder).or_cannot(what)?;
        std::io::Write::write_all(&mut file, &text).or_cannot(what)?;
        file.persist(folder.join(KEEPSAKE)).map(drop).map_err(|error| error.error).or_cannot(what)
    }

    /// Starts the server on a fixed port, or on free ones until one is still free when the server takes it.
    fn come_up(&mut self, port: Option<u16>) -> Result<()> {
        let (address, count) = (self.site.address, self.engine.further_ports());
        let take = |site: &mut Site, port: u16| {
            let further = probe::free_ports(&[address], count, &[port]).or_cannot(|| "find free ports")?;
            (site.port, site.ports) = (port, further);
            site.nodes = vec![Peer { address, port, ports: site.ports.clone(), data: site.data.clone() }];
            Ok::<(), Error>(())
        };
        if let Some(port) = port {
            if !probe::is_free(address, port) {
                return Err(Error::new(ErrorKind::InUse, format!("port {port} on 127.0.0.1 is in use"))
                    .with_hint("give another port, or none to have a free one chosen"));
            }
            take(&mut self.site, port)?;
            return self.launch();
        }
        let mut attempt = 1;
        loop {
            let free = probe::free_ports(&[address], 1, &[]).or_cannot(|| "find a free port")?;
            take(&mut self.site, free[0])?;
            let result = self.launch();
            let is_taken = result.is_err() && self.log_tail().contains(ADDRESS_IN_USE);
            if !is_taken || attempt == PORT_ATTEMPTS_MAX {
                return result;
            }
            self.forget_log()?;
            attempt += 1;
        }
    }

    /// Starts the server on the site's port and waits until it serves clients.
    pub(crate) fn launch(&mut self) -> Result<()> {
        self.spawn()?;
        self.await_ready()
    }

    /// Starts the server on the site's port.
    pub(crate) fn spawn(&mut self) -> Result<()> {
        if let Some(mut earlier) = self.supervised.take() {
            earlier.end();
        }
        let plan = self.engine.launch(&self.site);
        let [command] = plan.commands.as_slice() else {
            let count = plan.commands.len();
            return Err(Error::new(ErrorKind::StartFailed, format!("a server is one command and not {count}")));
        };
        write_files(&plan.files, self.user)?;
        let log = self.site.folder.join(LOG);
        let supervised = Supervised::spawn(&self.setting(&log), command)?;
        let (port, url) = (self.site.port, self.engine.url(&self.site));
        let supervised = self.supervised.insert(supervised);
        let (server, supervisor) = (supervised.process(), supervised.supervisor_process());
        self.instance.update(|record| {
            (record.server, record.supervisor) = (server, supervisor);
            (record.port, record.url) = (port, url);
        })?;
        Ok(())
    }

    /// Waits until it serves clients.
    pub(crate) fn await_ready(&mut self) -> Result<()> {
        let address = SocketAddr::from((self.site.address, self.site.port));
        if let Some(supervised) = self.supervised.as_mut() {
            await_ready(self.engine, supervised, address).map_err(|error| self.with_log(&error))?;
        }
        remove_transient_files(&self.engine.launch(&self.site).files)
    }

    /// What comes next must not be told with what went before.
    fn forget_log(&self) -> Result<()> {
        let log = self.site.folder.join(LOG);
        match fs::remove_file(&log) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(format!("remove {}", log.display()), error))
            }
            _ => Ok(()),
        }
    }

    fn setting<'a>(&'a self, log: &'a Path) -> Setting<'a> {
        let container = self.site.installation.image().map(|image| Container {
            image,
            name: self.site.folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            folders: [&*self.site.folder, &*self.site.data]
                .into_iter()
                .filter(|folder| *folder == self.site.folder || !folder.starts_with(&self.site.folder))
                .collect(),
        });
        Setting { user: self.user, stop_signal: self.engine.stop_signal(), folder: &self.site.folder, log, container }
    }

    /// A failure and what the server's log says of it.
    pub(crate) fn with_log(&self, error: &Error) -> Error {
        let log = self.log_tail();
        let mut text = format!("{} did not start: {error}", self.engine.title());
        if !log.trim().is_empty() {
            text.push_str("; its log ends with\n");
            text.push_str(log.trim_end());
        }
        let text = Error::new(error.kind(), text);
        match error.hint() {
            Some(hint) => text.with_hint(hint),
            None => text,
        }
    }

    fn end(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.is_ours, false) {
            return Ok(());
        }
        let result = self.instance.stop();
        if let Some(mut supervised) = self.supervised.take() {
            supervised.end();
        }
        result
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!(name = self.instance.name(), %error, "a server was not removed");
        }
    }
}

/// A server's place among the nodes of its data store.
#[derive(Clone)]
pub(crate) struct Membership {
    /// The name of the whole, where there are several nodes.
    pub(crate) cluster: Option<String>,
    /// The password, which is the same for all of them.
    pub(crate) password: Password,
    /// Which it is, from 0.
    pub(crate) node: usize,
    /// All of them; empty where that is not decided yet.
    pub(crate) nodes: Vec<Peer>,
}

impl Membership {
    /// The only one.
    fn alone() -> Result<Self> {
        Ok(Self { cluster: None, password: Password::random()?, node: 0, nodes: Vec::new() })
    }
}

/// What is left in a given data folder, readable by its user alone.
#[derive(Serialize, Deserialize)]
struct Keepsake {
    engine: String,
    password: String,
    /// Where it listened; taken again where it is free.
    #[serde(default)]
    port: Option<u16>,
}

/// Waits until the server is what listens on its port and answers there.
fn await_ready(engine: &dyn Engine, supervised: &mut Supervised, address: SocketAddr) -> Result<()> {
    let timeout: Duration = engine.ready_timeout();
    let mut ended = None;
    let is_settled = wait_until(Instant::now() + timeout, || {
        ended = supervised.ended();
        // Who answers must be the server itself: the password goes to whoever listens there.
        let is_ready = |server| probe::listens(server, address) && engine.is_ready(address).unwrap_or(false);
        ended.is_some() || supervised.process().is_some_and(is_ready)
    });
    match (ended, is_settled) {
        (Some(status), _) => Err(Error::new(ErrorKind::StartFailed, format!("it ended with {status}"))),
        (None, true) => Ok(()),
        (None, false) => {
            Err(Error::new(ErrorKind::StartFailed, format!("it was not ready within {} s", timeout.as_secs())))
        }
    }
}

/// Checks options, and removes what dead owners left; the home that they mean.
pub(crate) fn enter(options: &Options) -> Result<Home> {
    check(options)?;
    let home = options.home.clone().map_or_else(Home::locate, Ok)?;
    home.sweep()?;
    Ok(home)
}

/// Refuses options that would be misread by a server's command line or configuration file.
fn check(options: &Options) -> Result<()> {
    let is_word = |text: &str, also: &str| {
        !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || also.contains(letter))
    };
    if let Some(name) = options.name.as_deref()
        && !(is_word(name, "-_") && name.len() <= NAME_BYTES_MAX)
    {
        return Err(Error::new(ErrorKind::Config, format!("`{name}` cannot name a server"))
            .with_hint(format!("use at most {NAME_BYTES_MAX} letters, digits, - and _")));
    }
    for (name, value) in &options.settings {
        if !is_word(name, "-_.") {
            return Err(Error::new(ErrorKind::Config, format!("`{name}` is no name of a server's setting")));
        }
        if value.chars().any(char::is_control) {
            let hint = "a setting is one line";
            return Err(Error::new(ErrorKind::Config, format!("the setting `{name}` holds a control character"))
                .with_hint(hint));
        }
    }
    Ok(())
}

/// Refuses a given data folder that another running server works on.
fn check_unused(home: &Home, data: &Path) -> Result<()> {
    match home.instances()?.iter().find(|other| other.data() == Some(data)) {
        None => Ok(()),
        Some(other) => Err(Error::new(ErrorKind::InUse, format!("`{}` works on {}", other.name(), data.display()))
            .with_hint(format!("storelab engines down {}", other.name()))),
    }
}

impl std::fmt::Debug for dyn Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_would_be_misread_are_refused() {
        let named = |name: &str| Options { name: Some(name.to_owned()), ..Options::default() };
        let set = |name: &str, value: &str| Options {
            settings: BTreeMap::from([(name.to_owned(), value.to_owned())]),
            ..Options::default()
        };
        for (options, is_good) in [
            (named("redis-2"), true),
            (named("../escape"), false),
            (named(""), false),
            (named(&"x".repeat(NAME_BYTES_MAX + 1)), false),
            (set("shared_buffers", "64MB"), true),
            (set("save", "900 1"), true),
            (set("save", "1\nrequirepass x"), false),
            (set("a=b", "1"), false),
        ] {
            assert_eq!(check(&options).is_ok(), is_good, "{options:?}");
        }
    }
}
