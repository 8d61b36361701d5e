//! What a trial works with: a store, and namespaces that are nobody else's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use provision::Engine;
use store::{
    Capability, Column, ColumnType, DataSize, Dataset, Driver, ErrorKind, LoadPart, Namespace, OperationRows,
    RecordTable, Request, Result, Session, SessionSpec, Store, TableIndex, TableSet, TableSpec, Target, execute,
};
use testkit::TestTarget;

use crate::data::{FIELD_COUNT, KEY_LENGTH_MAX, Row, Seen, Source};
use crate::raw::{Alone, Raw, side};

/// The key-value table's name.
pub(crate) const TABLE: &str = "usertable";

/// Where others are in the way so many times in a row it is no accident.
pub(crate) const CONFLICTS_MAX: usize = 100;

/// What one trial works with.
pub(crate) struct Lab {
    pub(crate) driver: &'static dyn Driver,
    pub(crate) store: Arc<dyn Store>,
    /// What reaches the same data once more; none for stores that live with their connection.
    pub(crate) url: String,
    /// The same in clear text, for those that speak for themselves.
    clear_url: String,
    /// What the target's server is made by, where it is a server of ours.
    pub(crate) engine: Option<&'static dyn Engine>,
    /// Whether the target is a cluster of that engine's.
    pub(crate) is_cluster: bool,
    namespaces: Mutex<Vec<Namespace>>,
}

/// A number that no other trial of this process gets.
pub(crate) fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Connects to a URL.
pub(crate) async fn connect(url: &str) -> Result<Arc<dyn Store>> {
    let (driver, target) = drivers::resolve(url)?;
    driver.connect(&target).await
}

impl Lab {
    /// On the target's shared database, or in a database of its own.
    pub(crate) async fn open(driver: &'static dyn Driver, target: &TestTarget, url: &str, alone: bool) -> Self {
        let url = if alone { own_database(driver, target, url).await } else { url.to_owned() };
        let store = connect(&patient(driver, &url)).await.expect("the target can be reached");
        let mut clear_url = target.clear_url().expect("it was reached");
        if alone && let Ok(mut clear) = url::Url::parse(&clear_url) {
            let own = url::Url::parse(&url).expect("it was reached by it");
            clear.set_path(own.path());
            clear_url = clear.into();
        }
        Self {
            driver,
            store,
            url,
            clear_url,
            engine: target.engine(),
            is_cluster: target.is_cluster(),
            namespaces: Mutex::default(),
        }
    }

    /// Leaves nothing of the trial behind.
    pub(crate) async fn close(self) {
        let namespaces = self.namespaces.into_inner().unwrap_or_else(PoisonError::into_inner);
        for namespace in &namespaces {
            self.store.clean(Some(namespace)).await.expect("what a trial made can be cleaned");
        }
    }

    /// Leaves it as it is: the trial has made nothing that can be cleaned.
    pub(crate) fn forget(&self) {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn has(&self, capability: Capability) -> bool {
        self.driver.capabilities().has(capability)
    }

    /// The target, taken apart.
    pub(crate) fn target(&self) -> Target {
        Target::parse(&self.url).expect("it was reached by it")
    }

    /// The target in clear text, taken apart.
    pub(crate) fn clear_target(&self) -> Target {
        Target::parse(&self.clear_url).expect("it is one of ours")
    }

    /// A namespace of this trial's own.
    pub(crate) fn namespace(&self) -> Namespace {
        // The process's number, for targets that several processes use.
        let namespace = Namespace::new(&format!("c{}_{}", std::process::id(), unique())).expect("short and plain");
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).push(namespace.clone());
        namespace
    }

    /// So many records in a namespace of their own.
    pub(crate) fn records(&self, records: u64) -> Dataset {
        self.records_of(records, FIELD_COUNT, 10)
    }

    /// Records of that shape in a namespace of their own.
    pub(crate) fn records_of(&self, records: u64, field_count: u16, field_length: usize) -> Dataset {
        Dataset::Records(RecordTable {
            namespace: self.namespace(),
            table: TABLE,
            records,
            field_count,
            field_length,
            key_length_max: KEY_LENGTH_MAX,
        })
    }

    /// So many rows for operations in a namespace of their own.
    pub(crate) fn rows(&self, rows: u64, size: DataSize) -> Dataset {
        Dataset::Operations(OperationRows { namespace: self.namespace(), rows, size, seed: 7 })
    }

    /// Two tables, each with two rows for each number, in a namespace of their own.
    pub(crate) fn tables(&self, numbers: u64) -> Dataset {
        let namespace = self.namespace();
        let column = |name, kind| Column { name, kind };
        let table = |name: &str, indexes| TableSpec {
            name: name.to_owned(),
            columns: vec![
                column("id", ColumnType::Integer),
                column("part", ColumnType::BigInteger),
                column("label", ColumnType::Character(20)),
                column("note", ColumnType::Varying(10)),
            ],
            primary_key: vec![1, 0],
            indexes,
            numbers,
            rows_per_number: 2,
        };
        let index = TableIndex { name: "second_label".to_owned(), columns: vec![2, 0] };
        let second = namespace.object("second");
        Dataset::Tables(TableSet {
            content: format!("conformance {numbers}"),
            tables: vec![table("first", Vec::new()), table("second", vec![index])],
            statements: [
                format!("SELECT part, label, note FROM {second} WHERE id = ? ORDER BY part"),
                format!("UPDATE {second} SET note = ? WHERE id = ?"),
                format!("SELECT nonsense FROM {second}"),
            ]
            .into(),
            namespace,
        })
    }

    /// Makes and loads a dataset.
    pub(crate) async fn load(&self, dataset: &Dataset) {
        load(self.store.as_ref(), dataset).await.expect("the dataset can be loaded");
    }

    /// A dataset's first session, after loading it.
    pub(crate) async fn loaded(&self, dataset: &Dataset) -> Box<dyn Session> {
        self.load(dataset).await;
        self.session(Some(dataset), 1).await
    }

    pub(crate) async fn session(&self, dataset: Option<&Dataset>, depth: usize) -> Box<dyn Session> {
        self.store.session(SessionSpec { dataset, depth }).await.expect("a session can be opened")
    }

    /// A way to the data past the driver's own verbs, where there is one.
    pub(crate) async fn raw(&self) -> Option<Raw> {
        Raw::open(self).await
    }
}

/// Makes and loads a dataset, in one part.
pub(crate) async fn load(store: &dyn Store, dataset: &Dataset) -> Result<()> {
    store.create(dataset).await?;
    let source = Source::of(dataset);
    store.load(dataset, LoadPart { index: 0, of: 1 }, &source, &AtomicU64::new(0)).await?;
    store.finish_load(dataset).await
}

/// What a request gave: rows and what was shown, or the kind of the error; asked again as [`patiently`].
pub(crate) async fn ask(session: &mut dyn Session, request: Request<'_>) -> (Result<u64, ErrorKind>, Vec<Row>) {
    let mut conflicts = 0;
    loop {
        let mut seen = Seen::default();
        match execute(session, &request, &mut seen).await {
            Err(error) if error.kind() == ErrorKind::Conflict && conflicts < CONFLICTS_MAX => conflicts += 1,
            result => return (result.map(|outcome| outcome.rows).map_err(|error| error.kind()), seen.rows),
        }
    }
}

/// The number of rows of a request that must succeed, be it after others were in its way.
pub(crate) async fn rows_of(session: &mut dyn Session, request: Request<'_>) -> u64 {
    patiently(session, &request).await.unwrap_or_else(|error| panic!("{request:?}: {error} ({})", error.kind()))
}

/// What a request gave; asked again where another session was in the way, as the contract wants it of callers.
pub(crate) async fn patiently(session: &mut dyn Session, request: &Request<'_>) -> Result<u64> {
    let mut conflicts = 0;
    loop {
        match execute(session, request, &mut ()).await {
            Err(error) if error.kind() == ErrorKind::Conflict && conflicts < CONFLICTS_MAX => conflicts += 1,
            result => return result.map(|outcome| outcome.rows),
        }
    }
}

/// The URL with more time for connecting than users want to give: many servers share this machine with the trials.
fn patient(driver: &dyn Driver, url: &str) -> String {
    const OPTION: &str = "connect_timeout";
    match url::Url::parse(url) {
        Ok(mut patient) if driver.options().iter().any(|option| option.name == OPTION) => {
            patient.query_pairs_mut().append_pair(OPTION, "60");
            patient.into()
        }
        _ => url.to_owned(),
    }
}

/// The URL of a database that nobody else uses, made with what the target has.
async fn own_database(driver: &dyn Driver, target: &TestTarget, url: &str) -> String {
    // Counted apart from all else: some products number their databases, and have not many.
    static NEXT: AtomicU64 = AtomicU64::new(1);
    if let Some(url) = target.url_of_new_file() {
        return url;
    }
    if target.engine().is_none() || target.is_cluster() {
        // It lives with its connection, so that every one is alone; or the trial has the cluster to itself.
        return url.to_owned();
    }
    let mut own = url::Url::parse(url).expect("provision writes URLs");
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    if driver.capabilities().has(Capability::Sql) {
        let name = format!("conformance_{number}");
        let store = connect(url).await.expect("the target can be reached");
        let session = store.session(SessionSpec { dataset: None, depth: 1 }).await.expect("a session can be opened");
        Raw::Sql(session).sql(&format!("CREATE DATABASE {name}")).await;
        own.set_path(&name);
        if driver.name() == "cockroachdb" {
            // It lists sessions by what they call themselves and not by their database.
            own.query_pairs_mut().append_pair("application_name", &name);
        }
    } else if let Some(entry) = side(driver) {
        if let Alone::Database(make) = entry.alone {
            let clear = target.clear_url().expect("it is one of ours");
            let clear = Target::parse(&clear).expect("provision writes URLs");
            own.set_path(&make(&clear, number).await);
        }
    } else {
        own.set_path(&number.to_string());
    }
    own.into()
}
