//! Servers that are started once in a test process and shared by its tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use provision::{Engine, Options, Result, Server};

use crate::targets::remove_files;

/// Where this is set, an engine that is not installed is a failure: on continuous integration nothing is skipped.
const REQUIRE_VARIABLE: &str = "STORELAB_REQUIRE_ENGINES";

/// Settings that tests need beyond the engines' own: a database of Redis for each test that wants to be alone.
const SETTINGS: &[(&str, &str, &str)] = &[("redis", "databases", "1024")];

/// The shared servers by their engine's name. Statics are not dropped, so [`stop_servers`] ends them; a process that
/// dies without it leaves them to their supervisors, which stop them then.
static SHARED: Mutex<BTreeMap<&'static str, Server>> = Mutex::new(BTreeMap::new());

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
    shared.insert(engine.name(), server);
    Ok(url)
}

/// A server of one's own, to be killed or paused; it stops when it is dropped.
///
/// # Errors
/// As [`Server::start`].
pub fn dedicated(engine: &'static dyn Engine) -> Result<Server> {
    let wanted = SETTINGS.iter().filter(|(name, ..)| *name == engine.name());
    let settings = wanted.map(|(_, setting, value)| ((*setting).to_owned(), (*value).to_owned())).collect();
    Server::start(engine, &Options { settings, ..Options::default() })
}

/// Stops all shared servers and removes the targets' files: to be called at the end of the process, whatever the tests' outcome.
pub fn stop_servers() {
    let servers = std::mem::take(&mut *SHARED.lock().unwrap_or_else(PoisonError::into_inner));
    // A server that cannot be stopped is told about by its own drop; the others must still be stopped.
    drop(servers);
    remove_files();
}
