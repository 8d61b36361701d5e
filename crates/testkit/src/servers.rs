//! Servers that are started once in a test process and shared by its tests.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use provision::{Certificates, Cluster, Engine, Options, Result, Server};

use crate::targets::{folder_of_files, remove_files};

/// Where this is set, an engine that is not installed is a failure: on continuous integration nothing is skipped.
const REQUIRE_VARIABLE: &str = "STORELAB_REQUIRE_ENGINES";

/// Settings that tests need beyond the engines' own: a database of Redis for each test that wants to be alone.
const SETTINGS: &[(&str, &str, &str)] = &[("redis", "databases", "1024"), ("valkey", "databases", "1024")];

/// Nodes of a shared cluster.
const CLUSTER_NODES: usize = 3;

/// The shared servers by their engine's name. Statics are not dropped, so [`stop_servers`] ends them; a process that
/// dies without it leaves them to their supervisors, which stop them then.
static SHARED: Mutex<BTreeMap<String, Server>> = Mutex::new(BTreeMap::new());

/// The same for clusters.
static SHARED_CLUSTERS: Mutex<BTreeMap<&'static str, Cluster>> = Mutex::new(BTreeMap::new());

/// Whether an engine that is missing must fail the tests instead of skipping some.
pub fn engines_are_required() -> bool {
    std::env::var_os(REQUIRE_VARIABLE).is_some_and(|value| !value.is_empty() && value != "0")
}

/// The URL of the engine's shared server, **with its password**, which is started when it is first asked for.
pub(crate) fn shared_url(engine: &'static dyn Engine) -> Result<String> {
    // A test that fails to start one leaves the map as it was.
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.get(engine.name()) {
        return Ok(server.url().to_owned());
    }
    let server = dedicated(engine)?;
    let url = server.url().to_owned();
    shared.insert(engine.name().to_owned(), server);
    Ok(url)
}

/// The URL of the engine's shared cluster, **with its password**, which is started when it is first asked for.
pub(crate) fn cluster_url(engine: &'static dyn Engine) -> Result<String> {
    let mut shared = SHARED_CLUSTERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cluster) = shared.get(engine.name()) {
        return Ok(cluster.url());
    }
    let cluster = Cluster::start(engine, CLUSTER_NODES, &Options::default())?;
    let url = cluster.url();
    shared.insert(engine.name(), cluster);
    Ok(url)
}

/// The URL of a shared server of the engine whose connections are encrypted and whose certificate is checked, and the one
/// by which the same server is reached in clear text.
pub(crate) fn encrypted_url(engine: &'static dyn Engine) -> Result<(String, String)> {
    static ENCRYPTED: Mutex<BTreeMap<&'static str, (String, String)>> = Mutex::new(BTreeMap::new());
    let mut encrypted = ENCRYPTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(urls) = encrypted.get(engine.name()) {
        return Ok(urls.clone());
    }
    let files = Files::new(engine)?;
    // Where a server encrypts on a port of its own, that is the one to be reached.
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map(|address| address.port());
    let port = port.expect("loopback has a free port");
    let encryption = engine.encryption(&files.certificates(port));
    let encryption = encryption.expect("targets go this way where their engine can");
    let settings: Vec<_> = encryption.settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let server = with_settings(engine, &settings)?;
    let authority = encryption.authority.map(|path| server.instance().folder().join(path));
    let certificate = authority.as_ref().unwrap_or(&files.certificate).display();
    let own_port = encryption.has_own_port.then(|| port.to_string());
    let mark = if server.url().contains('?') { '&' } else { '?' };
    let mut url = format!("{}{mark}tls=verify&tls_ca={certificate}", server.url());
    if let Some(own_port) = own_port {
        let plain = server.port().to_string();
        url = url.replacen(&format!(":{plain}"), &format!(":{own_port}"), 1);
    }
    let urls = (url, server.url().to_owned());
    SHARED.lock().unwrap_or_else(PoisonError::into_inner).insert(encrypted_name(engine), server);
    encrypted.insert(engine.name(), urls.clone());
    Ok(urls)
}

/// A certificate for loopback, and its key, in files that the engine's servers can read and nobody else.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    both: PathBuf,
}

impl Files {
    fn certificates(&self, port: u16) -> Certificates<'_> {
        Certificates { certificate: &self.certificate, key: &self.key, both: &self.both, port }
    }

    fn new(engine: &'static dyn Engine) -> Result<Self> {
        let folder = folder_of_files();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a name that can be certified");
        let write = |extension: &str, text: String| {
            let path = folder.join(format!("{}.{extension}", engine.name()));
            fs::write(&path, text).expect("the folder is ours");
            path
        };
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let both = write("pem", format!("{key}{certificate}"));
        let files = Self { certificate: write("crt", certificate), key: write("key", key), both };
        // Some servers want a key to be theirs alone: it is given to whom servers run as.
        for file in [&files.key, &files.both] {
            fs::set_permissions(file, Permissions::from_mode(0o600)).expect("the file is ours");
        }
        let url = shared_url(engine)?;
        debug_assert!(!url.is_empty(), "it runs");
        let shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.get(engine.name()) {
            let process = fs::metadata(format!("/proc/{}", server.process_id())).expect("it runs");
            for file in [&files.key, &files.both] {
                chown(file, Some(process.uid()), Some(process.gid())).expect("whoever starts servers may give files");
            }
        }
        Ok(files)
    }
}

/// A server of one's own, to be killed or paused; it stops when it is dropped.
///
/// # Errors
/// As [`Server::start`].
pub fn dedicated(engine: &'static dyn Engine) -> Result<Server> {
    with_settings(engine, &[])
}

fn with_settings(engine: &'static dyn Engine, settings: &[(&str, &str)]) -> Result<Server> {
    let wanted = SETTINGS.iter().filter(|(name, ..)| *name == engine.name());
    let settings = wanted
        .map(|(_, setting, value)| (setting, value))
        .chain(settings.iter().map(|(setting, value)| (setting, value)))
        .map(|(setting, value)| ((*setting).to_owned(), (*value).to_owned()))
        .collect();
    Server::start(engine, &Options { settings, ..Options::default() })
}

/// Stops the shared servers of an engine: there will be no more tests with it in this process.
pub fn stop_servers_of(engine: &dyn Engine) {
    let stopped: Vec<_> = {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        [engine.name().to_owned(), encrypted_name(engine)].iter().filter_map(|name| shared.remove(name)).collect()
    };
    drop(stopped);
    let cluster = SHARED_CLUSTERS.lock().unwrap_or_else(PoisonError::into_inner).remove(engine.name());
    drop(cluster);
}

/// What an engine's encrypted server is called among the shared.
fn encrypted_name(engine: &dyn Engine) -> String {
    format!("{} encrypted", engine.name())
}

/// Stops all shared servers and removes the targets' files: to be called at the end of the process, whatever the tests' outcome.
pub fn stop_servers() {
    let servers = std::mem::take(&mut *SHARED.lock().unwrap_or_else(PoisonError::into_inner));
    // A server that cannot be stopped is told about by its own drop; the others must still be stopped.
    drop(servers);
    drop(std::mem::take(&mut *SHARED_CLUSTERS.lock().unwrap_or_else(PoisonError::into_inner)));
    remove_files();
}
