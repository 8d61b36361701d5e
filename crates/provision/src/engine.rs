//! What a kind of server is: where its programs are, how it is prepared and started, how it says that it is ready.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cache::Cache;
use crate::container;
use crate::origin::{Download, Origin};
use crate::{Error, ErrorKind, Home, Password, Result};

/// The user, and where the engine has them the database, that a server is made with.
pub(crate) const ACCOUNT: &str = "storelab";

/// Where system programs are that an ordinary user's PATH leaves out.
const SYSTEM_FOLDERS: &[&str] = &["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];

/// One kind of data store server.
///
/// An implementation is data and short functions: it writes and starts nothing itself, it says what to write and to start.
pub trait Engine: Sync {
    /// Its name on the command line and in records: `postgres`.
    fn name(&self) -> &'static str;

    /// What people type when they mean it; only ever suggested.
    fn also_known_as(&self) -> &'static [&'static str] {
        &[]
    }

    /// Its name as its makers write it.
    fn title(&self) -> &'static str;

    /// The scheme of its URL, which says what driver speaks to it.
    fn scheme(&self) -> &'static str;

    /// Its licence, as an SPDX expression.
    fn licence(&self) -> &'static str;

    /// Where its programs come from.
    fn origin(&self) -> Origin;

    /// The programs that are needed, the server's own first.
    fn programs(&self) -> &'static [&'static str];

    /// The Docker image whose PATH has the same programs, where there is one: used where a daemon is there and the host has
    /// not the programs.
    fn image(&self) -> Option<&'static str> {
        None
    }

    /// How many ports it listens on beside the clients': for its peers, for its administrators.
    fn further_ports(&self) -> usize {
        0
    }

    /// Of how many nodes a data store of this kind can be.
    fn nodes(&self) -> RangeInclusive<usize> {
        1..=1
    }

    /// Whether nodes are told apart by their addresses and have all the same ports, instead of being all on 127.0.0.1.
    fn nodes_have_addresses(&self) -> bool {
        false
    }

    /// Whether a node is only ready once the others have been started too, so that all are started before one is waited for.
    fn nodes_start_together(&self) -> bool {
        false
    }

    /// Whether clients must give a password.
    fn has_password(&self) -> bool {
        true
    }

    /// What makes it encrypt its connections, where it can.
    fn encryption(&self, certificates: &Certificates<'_>) -> Option<Encryption> {
        let _ = certificates;
        None
    }

    /// Where its programs are beside PATH and the system's folders, the best first.
    fn folders(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Whether it can work on a data folder of that path.
    ///
    /// # Errors
    /// `Config`, with what is wrong with the path and what to do.
    fn check_data(&self, path: &Path) -> Result<()> {
        let _ = path;
        Ok(())
    }

    /// What brings an empty data folder into being: files in the instance's folder and commands that run to their end,
    /// in order. The files are removed afterwards.
    fn preparation(&self, site: &Site) -> Plan;

    /// What starts the server in the foreground: files in the instance's folder and one command.
    fn launch(&self, site: &Site) -> Plan;

    /// Whether the server answers its protocol: `Ok(true)` when a client would be served now, `Ok(false)` when it is
    /// still coming up. Must return within a second; a connection that is refused or cut is not ready either.
    fn is_ready(&self, address: SocketAddr) -> io::Result<bool>;

    /// What is still missing once the servers on fresh data are ready: making them one cluster, or a password that can only be
    /// set by a client. Called once, with the sites of all nodes.
    ///
    /// # Errors
    /// `StartFailed`, with what the server said.
    fn settle(&self, nodes: &[&Site]) -> Result<()> {
        let _ = nodes;
        Ok(())
    }

    /// The signal that makes it stop in order.
    fn stop_signal(&self) -> StopSignal {
        StopSignal::Terminate
    }

    /// How long it may take from its start until it is ready. Generous: a busy machine is slow, and a dead server is seen at once.
    fn ready_timeout(&self) -> Duration;

    /// What clients connect to, with the password in it.
    fn url(&self, site: &Site) -> String {
        let (scheme, password, address, port) = (self.scheme(), site.password.expose(), site.address, site.port);
        format!("{scheme}://{ACCOUNT}:{password}@{address}:{port}/{ACCOUNT}")
    }

    /// What clients of several nodes connect to: the first one's URL, which lists the others.
    fn cluster_url(&self, nodes: &[&Site]) -> String {
        let Some((first, others)) = nodes.split_first() else { return String::new() };
        let url = self.url(first);
        let others: Vec<_> = others.iter().map(|site| format!("{}:{}", site.address, site.port)).collect();
        if others.is_empty() {
            return url;
        }
        let mark = if url.contains('?') { '&' } else { '?' };
        format!("{url}{mark}nodes={}", others.join(","))
    }

    /// Where its programs are and what version they have: in PATH, its own folders and the system's, or else what was
    /// downloaded.
    ///
    /// # Errors
    /// `NotInstalled`, naming what is missing and how to get it.
    fn find(&self, home: &Home) -> Result<Installation> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
        folders.extend(self.folders());
        folders.extend(SYSTEM_FOLDERS.iter().map(PathBuf::from));
        folders.extend(home.downloads(self.name()));
        let found = match self.origin() {
            Origin::Debian(_) => find_in(self.programs(), &folders),
            Origin::Download(download) => self.find_download(download, &folders),
        };
        found.or_else(|missing| self.find_image().ok_or(missing)).map_err(|missing| {
            Error::new(ErrorKind::NotInstalled, format!("{} is not installed: no `{missing}`", self.title()))
                .with_hint(format!("storelab engines install {}", self.name()))
        })
    }

    /// Its image, where that is on this machine.
    fn find_image(&self) -> Option<Installation> {
        let image = self.image().filter(|image| container::has_image(image))?;
        let programs: BTreeMap<_, _> = self.programs().iter().map(|name| (*name, PathBuf::from(name))).collect();
        let server = programs.get(self.programs().first()?)?.clone();
        let version = image.rsplit_once(':').map_or("latest", |(_, tag)| tag).to_owned();
        Some(Installation { programs, server, version, folder: None, image: Some(image) })
    }

    /// Programs that are installed come before those that were downloaded, unless programs alone are not the server.
    fn find_download(&self, download: &'static Download, folders: &[PathBuf]) -> Result<Installation, &'static str> {
        let made = Cache::locate().ok().and_then(|cache| cache.find(self.name(), download.version));
        if download.programs_suffice
            && let Ok(installation) = find_in(self.programs(), folders)
        {
            return Ok(installation);
        }
        let folder = made
            .ok_or(self.programs().first().copied().filter(|_| download.programs_suffice).unwrap_or(download.from))?;
        // What runs a bundle has to be of the right version, which its own folders say.
        let folders: Vec<_> = [folder.join("bin"), folder.clone()]
            .into_iter()
            .chain(self.folders())
            .chain(folders.iter().cloned())
            .collect();
        let mut installation = find_programs(self.programs(), &folders)?;
        download.version.clone_into(&mut installation.version);
        installation.folder = Some(folder);
        Ok(installation)
    }
}

/// The signal that makes a server stop in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: for `PostgreSQL` the fast shutdown, which does not wait for its clients.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// Where an engine's programs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    programs: BTreeMap<&'static str, PathBuf>,
    server: PathBuf,
    version: String,
    folder: Option<PathBuf>,
    image: Option<&'static str>,
}

impl Installation {
    /// The Docker image that the programs are in, where they are.
    pub fn image(&self) -> Option<&'static str> {
        self.image
    }

    /// The folder that was downloaded or built, where it was: with all that belongs to the server.
    pub fn folder(&self) -> &Path {
        self.folder.as_deref().unwrap_or(Path::new(""))
    }

    /// The server's own program.
    pub fn server(&self) -> &Path {
        &self.server
    }

    /// One of [`Engine::programs`].
    pub fn program(&self, name: &str) -> &Path {
        self.programs.get(name).map_or(Path::new(""), PathBuf::as_path)
    }

    /// What the server's program says of itself: `15.18`; `unknown` where it says nothing that looks like a version.
    pub fn version(&self) -> &str {
        &self.version
    }
}

/// What an engine is told about the server it is to make.
#[derive(Debug)]
pub struct Site {
    /// Its programs.
    pub installation: Installation,
    /// The instance's own folder, gone with it: configuration, log, sockets. Nobody else can enter it.
    pub folder: PathBuf,
    /// Where its data goes.
    pub data: PathBuf,
    /// The loopback address that it listens on, and nowhere else.
    pub address: Ipv4Addr,
    /// The clients' port.
    pub port: u16,
    /// As many more as [`Engine::further_ports`] says.
    pub ports: Vec<u16>,
    /// The password that clients must give.
    pub password: Password,
    /// The server's own settings that whoever starts it wants otherwise.
    pub settings: BTreeMap<String, String>,
    /// Which of the nodes it is, from 0.
    pub node: usize,
    /// All nodes of its data store, itself among them.
    pub nodes: Vec<Peer>,
}

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its loopback address.
    pub address: Ipv4Addr,
    /// The clients' port.
    pub port: u16,
    /// The others.
    pub ports: Vec<u16>,
    /// Where its data is; empty for those that are prepared later.
    pub data: PathBuf,
}

/// Files that a server encrypts with; it can read them.
#[derive(Debug)]
pub struct Certificates<'a> {
    /// The certificate, in PEM.
    pub certificate: &'a Path,
    /// Its key, in PEM.
    pub key: &'a Path,
    /// Both in one file, the key first.
    pub both: &'a Path,
    /// A free port, for servers that encrypt on one of its own.
    pub port: u16,
}

/// What makes a server encrypt.
#[derive(Debug, Default)]
pub struct Encryption {
    /// Settings of it.
    pub settings: Vec<(&'static str, String)>,
    /// Whether it encrypts on a port of its own, the one that it was offered.
    pub has_own_port: bool,
    /// Where it makes its certificate by itself: the file below the instance's folder that holds whose certificate it is.
    pub authority: Option<&'static str>,
}

/// Files to write, then commands to run.
#[derive(Debug, Default)]
pub struct Plan {
    /// What must be there before the commands.
    pub files: Vec<PlanFile>,
    /// What is run, in order.
    pub commands: Vec<Invocation>,
}

/// A file in the instance's folder that only the server's user can read.
#[derive(Debug)]
pub struct PlanFile {
    /// Its path.
    pub path: PathBuf,
    /// What is in it, passwords too.
    pub content: String,
    /// Whether it must go once the commands ran, or the server is ready.
    pub is_transient: bool,
}

/// A program and what it is given. Nothing secret: everybody on the machine can read arguments.
#[derive(Debug)]
pub struct Invocation {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) input: PathBuf,
    pub(crate) environment: Vec<(&'static str, OsString)>,
}

impl Invocation {
    /// A program without arguments and with nothing to read.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            input: PathBuf::from("/dev/null"),
            environment: Vec::new(),
        }
    }

    /// One more argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn arguments<T: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// An argument made of a name, which ends in `=` where there is one, and a path.
    #[must_use]
    pub fn path_argument(mut self, name: &str, path: &Path) -> Self {
        let mut argument = OsString::from(name);
        argument.push(path);
        self.arguments.push(argument);
        self
    }

    /// A variable of its environment. Nothing secret either: who runs as the same user can read it.
    #[must_use]
    pub fn environment(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// What it reads from its standard input.
    #[must_use]
    pub fn input(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.input);
        self
    }
}

/// The programs in the first folder that has them all, or else each in the first that has it; the missing one otherwise.
fn find_in(names: &[&'static str], folders: &[PathBuf]) -> Result<Installation, &'static str> {
    let mut installation = find_programs(names, folders)?;
    installation.version = version_of(&installation.server);
    Ok(installation)
}

/// The same without their version, which needs one of them to be run.
fn find_programs(names: &[&'static str], folders: &[PathBuf]) -> Result<Installation, &'static str> {
    let has_all = |folder: &&PathBuf| names.iter().all(|name| is_program(&folder.join(name)));
    let together = folders.iter().find(has_all);
    let mut programs = BTreeMap::new();
    for name in names.iter().copied() {
        let mut places = together.into_iter().chain(folders).map(|folder| folder.join(name));
        programs.insert(name, places.find(|path| is_program(path)).ok_or(name)?);
    }
    let server = names.first().and_then(|name| programs.get(name)).cloned().ok_or("")?;
    Ok(Installation { programs, server, version: String::new(), folder: None, image: None })
}

fn is_program(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file()
}

/// The version that a program prints.
fn version_of(program: &Path) -> String {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    parse_version(&text).unwrap_or("unknown").to_owned()
}

/// The first thing in a text that looks like a version: digits with at least one dot between.
fn parse_version(text: &str) -> Option<&str> {
    text.split(|character: char| !(character.is_ascii_digit() || character == '.'))
        .map(|word| word.trim_matches('.'))
        .find(|word| word.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_print() {
        for (text, expect) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", Some("15.18")),
            ("mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64", Some("10.11.19")),
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", Some("7.0.15")),
            ("usage: no version 3 here.", None),
        ] {
            assert_eq!(parse_version(text), expect, "{text}");
        }
    }

    #[test]
    fn programs_are_taken_from_one_folder_where_one_has_them_all() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().expect("a folder");
        let folders: Vec<PathBuf> = ["a", "b"].iter().map(|name| root.path().join(name)).collect();
        let make = |folder: &Path, name: &str| {
            std::fs::create_dir_all(folder).expect("made");
            std::fs::write(folder.join(name), "#!/bin/sh\necho v1.2.3\n").expect("written");
            let executable = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(folder.join(name), executable).expect("set");
        };
        make(&folders[0], "server");
        assert_eq!(find_in(&["server", "tool"], &folders), Err("tool"));
        make(&folders[1], "tool");
        let apart = find_in(&["server", "tool"], &folders).expect("both are there");
        assert_eq!((apart.server(), apart.program("tool")), (&*folders[0].join("server"), &*folders[1].join("tool")));
        make(&folders[1], "server");
        let together = find_in(&["server", "tool"], &folders).expect("both are there");
        assert_eq!((together.server(), together.version()), (&*folders[1].join("server"), "1.2.3"));
    }
}
