//! Where a test's store is: in a file of its own, or in a database of its own on a server that the test process shares.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use provision::{Home, Options, Server};
use results::Location;
use tempfile::TempDir;

/// Where this is set, an engine that is not installed is a failure.
const REQUIRE_VARIABLE: &str = "STORELAB_REQUIRE_ENGINES";

/// The shared server. Statics are not dropped, so [`stop_server`] ends it.
static SERVER: Mutex<Option<Server>> = Mutex::new(None);

/// Which database a test is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Sqlite,
    Postgres,
}

impl On {
    pub(crate) const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// Why there is no server here; none where there is one.
pub(crate) fn missing_server() -> Option<String> {
    let found = provision::engine("postgres").and_then(|engine| Home::locate().and_then(|home| engine.find(&home)));
    found.err().map(|error| error.to_string())
}

/// Whether a missing server is a failure.
pub(crate) fn is_required() -> bool {
    std::env::var_os(REQUIRE_VARIABLE).is_some_and(|value| !value.is_empty() && value != "0")
}

/// A server of a test's own, to be started again in the middle of something.
pub(crate) fn server() -> Server {
    let engine = provision::engine("postgres").expect("it is known");
    Server::start(engine, &Options::default()).expect("it starts")
}

/// A store of a test's own that is not there yet, and the folder that goes with the test.
pub(crate) fn place(on: On) -> (TempDir, Location) {
    let folder = tempfile::tempdir().expect("a folder");
    let location = match on {
        On::Sqlite => Location::File(folder.path().join("deeper/results.db")),
        On::Postgres => Location::Postgres(database()),
    };
    (folder, location)
}

/// The URL of a new database on the shared server, which is started when it is first asked for.
fn database() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let url = shared.get_or_insert_with(server).url().to_owned();
    drop(shared);
    let name = format!("results_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    client(&url).batch_execute(&format!("CREATE DATABASE {name}")).expect("it is made");
    let (server, _) = url.rsplit_once('/').expect("a URL ends in a database");
    format!("{server}/{name}")
}

/// Stops the shared server: to be called at the end of the process, whatever the tests' outcome.
pub(crate) fn stop_server() {
    drop(SERVER.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// The process of the shared server, which runs once there was a place on it.
pub(crate) fn server_process() -> u32 {
    SERVER.lock().unwrap_or_else(PoisonError::into_inner).as_ref().expect("it runs").process_id()
}

/// The URL of a place on the server.
pub(crate) fn url_of(location: &Location) -> &str {
    let Location::Postgres(url) = location else { panic!("it is a server") };
    url
}

/// A connection past the store.
pub(crate) fn client(url: &str) -> postgres::Client {
    postgres::Client::connect(url, postgres::NoTls).expect("it answers")
}

/// The one number that a query of either database answers, asked past the store.
pub(crate) fn number(location: &Location, query: &str) -> i64 {
    match location {
        Location::File(path) => {
            let connection = rusqlite::Connection::open(path).expect("opens");
            connection.query_row(query, [], |row| row.get(0)).expect("a number")
        }
        Location::Postgres(url) => {
            let mut client = client(url);
            client.batch_execute("SET search_path TO storelab").expect("set");
            client.query_one(query, &[]).expect("a row").get(0)
        }
    }
}

/// A location as a child process is told it.
pub(crate) fn written(location: &Location) -> String {
    match location {
        Location::File(path) => path.display().to_string(),
        Location::Postgres(url) => url.clone(),
    }
}
