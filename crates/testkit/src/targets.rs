//! Which real targets there are for a driver.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use provision::{Certificates, Effort, Engine, Error, Home};
use store::{Capability, Driver};
use tempfile::TempDir;

use crate::servers::{cluster_url, encrypted_url, shared_url};

/// The folder of all files that targets are; removed by [`remove_files`].
static FOLDER: Mutex<Option<TempDir>> = Mutex::new(None);

/// Engines whose clusters are another thing to a client than one server: keys are spread over nodes that it must find.
const CLUSTERS: &[&str] = &["redis", "valkey"];

/// A driver's targets.
#[derive(Debug)]
pub struct Targets {
    /// Those that can be reached on this machine.
    pub available: Vec<TestTarget>,
    /// Those whose engine is not installed.
    pub missing: Vec<Missing>,
}

/// A target that cannot be tested here.
#[derive(Debug)]
pub struct Missing {
    /// The engine's name.
    pub name: &'static str,
    /// What is not there, and how to get it.
    pub reason: String,
    /// Whether it could be there within minutes, so that its absence is a failure where everything is required.
    pub is_quick: bool,
}

/// A target, which may be a server that is not started before its URL is asked for.
#[derive(Debug, Clone)]
pub struct TestTarget {
    name: String,
    place: Place,
    way: Way,
}

/// How a target's connections go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// In clear text, through the runtime's poller.
    #[default]
    Poller,
    /// In clear text, through the thread's reactor.
    Reactor,
    /// Encrypted.
    Encrypted,
}

#[derive(Debug, Clone)]
enum Place {
    /// A store that lives with its connection.
    Embedded(String),
    /// A file of an embedded store, which connections share.
    File { scheme: &'static str, path: PathBuf },
    /// A throw-away server of that engine.
    Engine(&'static dyn Engine),
    /// A throw-away cluster of that engine.
    Cluster(&'static dyn Engine),
    /// A server that the environment names, with somebody else's data in it.
    Given(String),
}

impl TestTarget {
    /// Short: `throw_away`, `file`, an engine's name, that and `_cluster`, or `given`; with the way, where it is not the usual one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its connections go.
    pub fn way(&self) -> Way {
        self.way
    }

    /// The same over connections that go another way; none where it is not a server of ours, which has no other.
    pub fn by(&self, way: Way) -> Option<Self> {
        let name = match way {
            Way::Poller => self.name.clone(),
            Way::Reactor => format!("{}_by_reactor", self.name),
            Way::Encrypted => format!("{}_encrypted", self.name),
        };
        let is_possible = match self.place {
            Place::Engine(engine) => way != Way::Encrypted || can_encrypt(engine),
            Place::Cluster(_) => way != Way::Encrypted,
            Place::Embedded(_) | Place::File { .. } | Place::Given(_) => false,
        };
        is_possible.then(|| Self { name, place: self.place.clone(), way })
    }

    fn usual(name: &str, place: Place) -> Self {
        Self { name: name.to_owned(), place, way: Way::default() }
    }

    /// The URL, **with a password where there is one**. Starts the shared server where it does not run yet.
    ///
    /// # Errors
    /// What kept the server from starting.
    pub fn url(&self) -> Result<String, Error> {
        match &self.place {
            Place::Embedded(url) | Place::Given(url) => Ok(url.clone()),
            Place::File { scheme, path } => Ok(format!("{scheme}:{}", path.display())),
            Place::Engine(engine) if self.way == Way::Encrypted => encrypted_url(*engine).map(|(url, _)| url),
            Place::Engine(engine) => shared_url(*engine),
            Place::Cluster(engine) => cluster_url(*engine),
        }
    }

    /// The URL by which the same data is reached in clear text.
    ///
    /// # Errors
    /// As [`url`](Self::url).
    pub fn clear_url(&self) -> Result<String, Error> {
        match &self.place {
            Place::Engine(engine) if self.way == Way::Encrypted => encrypted_url(*engine).map(|(_, clear)| clear),
            _ => self.url(),
        }
    }

    /// For stores in files: the URL of another file, which does not exist yet.
    pub fn url_of_new_file(&self) -> Option<String> {
        match &self.place {
            Place::File { scheme, .. } => Some(format!("{scheme}:{}", new_file().display())),
            _ => None,
        }
    }

    /// The engine that its server is made by, for tests that need a server of their own.
    pub fn engine(&self) -> Option<&'static dyn Engine> {
        match self.place {
            Place::Engine(engine) | Place::Cluster(engine) => Some(engine),
            _ => None,
        }
    }

    /// Whether it is a cluster, which has one database for all.
    pub fn is_cluster(&self) -> bool {
        matches!(self.place, Place::Cluster(_))
    }

    /// What it shares with the targets that are the same server reached another way.
    pub fn server_name(&self) -> &str {
        match self.way {
            Way::Reactor => self.name.trim_end_matches("_by_reactor"),
            Way::Poller | Way::Encrypted => &self.name,
        }
    }

    /// Whether it was given by the environment: others may be using it.
    pub fn is_given(&self) -> bool {
        matches!(self.place, Place::Given(_))
    }
}

/// The driver's targets: embedded ones by their URL, servers by every engine with a scheme of the driver, and the one that
/// the environment gives, as in `TESTKIT_POSTGRES_URL`.
pub fn targets(driver: &dyn Driver) -> Targets {
    let mut targets = Targets { available: Vec::new(), missing: Vec::new() };
    let scheme = driver.schemes()[0];
    if driver.capabilities().has(Capability::Embedded) {
        let place = Place::Embedded(format!("{scheme}:"));
        targets.available.push(TestTarget::usual("throw_away", place));
        if driver.capabilities().has(Capability::Durable) {
            targets.available.push(TestTarget::usual("file", Place::File { scheme, path: new_file() }));
        }
    }
    for engine in provision::ENGINES.iter().filter(|engine| driver.schemes().contains(&engine.scheme())) {
        match Home::locate().and_then(|home| engine.find(&home)) {
            Ok(_) => {
                targets.available.push(TestTarget::usual(engine.name(), Place::Engine(*engine)));
                if CLUSTERS.contains(&engine.name()) {
                    let name = format!("{}_cluster", engine.name());
                    targets.available.push(TestTarget::usual(&name, Place::Cluster(*engine)));
                }
            }
            Err(error) => {
                let hint = error.hint().map(|hint| format!("; hint: {hint}")).unwrap_or_default();
                let is_quick = engine.origin().effort() == Effort::Minutes;
                targets.missing.push(Missing { name: engine.name(), reason: format!("{error}{hint}"), is_quick });
            }
        }
    }
    let variable = format!("TESTKIT_{}_URL", driver.name().to_ascii_uppercase());
    if let Ok(url) = std::env::var(variable) {
        targets.available.push(TestTarget::usual("given", Place::Given(url)));
    }
    targets
}

/// Whether an engine's servers can encrypt.
fn can_encrypt(engine: &dyn Engine) -> bool {
    let none = Path::new("");
    engine.encryption(&Certificates { certificate: none, key: none, both: none, port: 0 }).is_some()
}

/// The path of a file that does not exist, in a folder that goes with [`remove_files`].
fn new_file() -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    folder_of_files().join(format!("{}.db", COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// A folder that goes with [`remove_files`]; servers, which run as another user, may look into it.
pub(crate) fn folder_of_files() -> PathBuf {
    let mut folder = FOLDER.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = folder.get_or_insert_with(|| {
        let made = tempfile::Builder::new().prefix("storelab-testkit-").tempdir();
        let made = made.expect("a test needs a folder for temporary files");
        fs::set_permissions(made.path(), Permissions::from_mode(0o755)).expect("the folder is ours");
        made
    });
    folder.path().to_owned()
}

/// Removes all files that were targets.
pub(crate) fn remove_files() {
    drop(FOLDER.lock().unwrap_or_else(PoisonError::into_inner).take());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_driver_has_a_target_or_says_what_is_missing() {
        for driver in drivers::DRIVERS {
            let targets = targets(*driver);
            assert!(!targets.available.is_empty() || !targets.missing.is_empty(), "{}", driver.name());
            let embedded = targets.available.iter().filter(|target| target.engine().is_none() && !target.is_given());
            for target in embedded {
                let (found, _) = drivers::resolve(&target.url().expect("nothing is started")).expect("valid");
                assert_eq!(found.name(), driver.name());
            }
        }
        remove_files();
    }
}
