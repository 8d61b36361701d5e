//! Every operation, the verbs and the manifest against a real server, as a user that has one database.

mod wire;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ::store::{
    DataSize, Dataset, Error, ErrorKind, Fields, LoadPart, LoadState, Namespace, NullSource, OperationRows, Outcome,
    OwnedObject, Record, RecordSource, RecordTable, Request, Rows, Session, SessionSpec, Value, Values, execute,
};
use provision::{Options, Server};

use super::address::Address;
use super::connection::Connection;
use super::*;
use crate::relational::{Link, RowBuffer};

const ROWS: u64 = 300;

/// A server for those tests that do not harm it; none where `MariaDB` is not installed.
fn shared() -> Option<&'static str> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    // What survives a crash is not what these tests are about.
    let settings = [("innodb-flush-log-at-trx-commit".to_owned(), "0".to_owned())].into();
    SERVER.get_or_init(|| start(&Options { settings, ..Options::default() })).as_ref().map(Server::url)
}

fn start(options: &Options) -> Option<Server> {
    let engine = provision::engine("mariadb").expect("known");
    match Server::start(engine, options) {
        Ok(server) => Some(server),
        Err(error) if error.kind() == provision::ErrorKind::NotInstalled => {
            skipped();
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests must see what was not tested")]
fn skipped() {
    assert!(std::env::var_os("STORELAB_REQUIRE_ENGINES").is_none(), "mariadb is not installed");
    eprintln!("skipped: mariadb is not installed");
}

/// A database of a test's own, and a user that may do everything in it and nothing else.
struct Database {
    name: String,
    url: String,
    admin: Connection,
}

impl Database {
    /// On the shared server.
    async fn new() -> Option<Self> {
        Some(Self::on(shared()?).await)
    }

    async fn on(server: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let admin = Address::of(&MARIADB, &Target::parse(server).expect("valid")).expect("valid");
        let mut database = Self {
            url: format!("mariadb://{name}:p%40ss@127.0.0.1:{}/{name}", admin.port),
            admin: Connection::open(&admin).await.expect("the administrator enters"),
            name,
        };
        for statement in [
            "CREATE DATABASE {}",
            "CREATE USER {}@'127.0.0.1' IDENTIFIED BY 'p@ss'",
            "GRANT ALL ON {}.* TO {}@'127.0.0.1'",
            "USE {}",
        ] {
            database.outside(&statement.replace("{}", &database.name.clone())).await;
        }
        database
    }

    async fn store(&self) -> Arc<dyn Store> {
        self.connect("").await.expect("reached")
    }

    async fn connect(&self, options: &str) -> Result<Arc<dyn Store>> {
        connect(&format!("{}{options}", self.url)).await
    }

    /// Something that is done from outside.
    async fn outside(&mut self, statement: &str) {
        self.ask(statement).await;
    }

    /// The first column of what a statement from outside returns.
    async fn ask(&mut self, statement: &str) -> Vec<String> {
        let mut rows = RowBuffer::default();
        self.admin.run(statement, &[], &mut rows).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        let shown = |row| match rows.value(row, 0) {
            Value::Text(text) => text.to_owned(),
            Value::Integer(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        (0..rows.len()).map(shown).collect()
    }

    /// Everything that is in the database.
    async fn names(&mut self) -> Vec<String> {
        let text = format!(
            "SELECT CONCAT(table_name, '.', column_name) FROM information_schema.columns WHERE table_schema = '{0}' \
             UNION ALL SELECT CONCAT(table_name, '/', index_name) FROM information_schema.statistics \
             WHERE table_schema = '{0}' ORDER BY 1",
            self.name
        );
        self.ask(&text).await
    }
}

async fn connect(url: &str) -> Result<Arc<dyn Store>> {
    crate::resolve(url).expect("valid").0.connect(&Target::parse(url).expect("valid")).await
}

fn operations(rows: u64, size: DataSize) -> Dataset {
    let namespace = Namespace::new("ops").expect("valid");
    Dataset::Operations(OperationRows { namespace, rows, size, seed: 11 })
}

fn records() -> Dataset {
    Dataset::Records(RecordTable {
        namespace: Namespace::new("kv").expect("valid"),
        table: "usertable",
        records: 20,
        field_count: 3,
        field_length: 4,
        key_length_max: 8,
    })
}

/// Keys in another order than their numbers.
struct Keyed;

impl RecordSource for Keyed {
    fn fill(&self, number: u64, record: &mut Record) {
        record.key = format!("user{:02}", number * 7 % 20);
        record.fields = format!("{number:04}").repeat(3).into_bytes();
    }
}

async fn loaded(store: &dyn Store, dataset: &Dataset, source: &dyn RecordSource) {
    store.create(dataset).await.expect("created");
    assert_eq!(store.load_state(dataset).await.expect("state"), LoadState::Partial);
    let progress = AtomicU64::new(0);
    let part = |index| store.load(dataset, LoadPart { index, of: 2 }, source, &progress);
    let (one, two) = tokio::join!(part(0), part(1));
    one.and(two).expect("loaded");
    store.finish_load(dataset).await.expect("finished");
    assert_eq!(progress.into_inner(), dataset.rows());
    assert_eq!(store.load_state(dataset).await.expect("state"), LoadState::Loaded(dataset.fingerprint()));
}

async fn session(store: &dyn Store, dataset: Option<&Dataset>) -> Box<dyn Session> {
    store.session(SessionSpec { dataset, depth: 8 }).await.expect("session")
}

async fn operate(session: &mut dyn Session, name: &str, row: u64) -> Result<Outcome> {
    let operation = OPERATIONS.iter().position(|operation| operation.name == name).expect("known") as u16;
    execute(session, &Request::Operation { operation, row }, &mut ()).await
}

#[derive(Debug, Default)]
struct Seen(Vec<(Option<String>, BTreeMap<usize, String>)>);

impl Rows for Seen {
    fn row(&mut self, key: Option<&str>) {
        self.0.push((key.map(str::to_owned), BTreeMap::new()));
    }
    fn value(&mut self, column: usize, value: Value<'_>) {
        let text = match value {
            Value::Text(text) => text.to_owned(),
            other => format!("{other:?}"),
        };
        self.0.last_mut().expect("begun").1.insert(column, text);
    }
}

async fn verb(session: &mut dyn Session, request: Request<'_>) -> (u64, Seen) {
    let mut seen = Seen::default();
    let outcome = execute(session, &request, &mut seen).await.expect("done");
    (outcome.rows, seen)
}

/// Prepares and runs a statement.
async fn sql(session: &mut dyn Session, text: &str, parameters: &[Value<'_>]) -> Result<(u64, Seen)> {
    let statement = session.sql().expect("sql").prepare(text).await?;
    let mut seen = Seen::default();
    let outcome = execute(session, &Request::Statement { statement, parameters }, &mut seen).await?;
    Ok((outcome.rows, seen))
}

fn check_refused(result: Result<Arc<dyn Store>>, kind: ErrorKind, what: &str) -> Error {
    let error = result.err().unwrap_or_else(|| panic!("{what} was let in"));
    assert_eq!(error.kind(), kind, "{what}: {error}");
    assert!(error.hint().is_some(), "{what}: {error}");
    assert!(!format!("{error} {error:?}").contains("p@ss"), "{what}: {error:?}");
    error
}

#[tokio::test]
async fn every_operation_verifies_every_row() {
    let Some(database) = Database::new().await else { return };
    let store = database.store().await;
    let sizes = DataSize::ALL.map(|(_, size)| (40, size));
    let counts = [1, 2, 7, ROWS].map(|rows| (rows, DataSize::Small));
    for (rows, size) in sizes.into_iter().chain(counts) {
        let dataset = operations(rows, size);
        loaded(&*store, &dataset, &NullSource).await;
        let mut session = session(&*store, Some(&dataset)).await;
        for operation in OPERATIONS {
            for row in 0..rows {
                let row = if operation.effect == ::store::Effect::Adds { row + (1 << 61) } else { row };
                // Deleting comes before reading in the list; only what nobody loaded is deleted.
                let row = if operation.name == "delete" { row + (1 << 61) } else { row };
                if operation.name == "delete" {
                    assert!(operate(&mut *session, "select", row).await.is_err(), "only loaded rows are read");
                }
                let outcome = operate(&mut *session, operation.name, row).await;
                let found = outcome.unwrap_or_else(|error| panic!("{} of {row}: {error}", operation.name));
                assert!(found.rows > 0 || operation.name == "join", "{} of {row}", operation.name);
            }
        }
    }
}

#[tokio::test]
async fn wrong_data_is_told_by_name() {
    let Some(mut database) = Database::new().await else { return };
    let store = database.store().await;
    let dataset = operations(ROWS, DataSize::Small);
    loaded(&*store, &dataset, &NullSource).await;
    let mut session = session(&*store, Some(&dataset)).await;
    for (operation, damage, told) in [
        ("select", "UPDATE storelab_ops_items SET payload = 'x' WHERE id = 5", "column `payload`"),
        ("join", "UPDATE storelab_ops_customers SET name = 'x'", "column `customer name`"),
        ("window", "DELETE FROM storelab_ops_orders", "there are more"),
        ("json", "UPDATE storelab_ops_documents SET document = JSON_SET(document, '$.owner.name', 'x')", "owner.name"),
        ("fulltext", "UPDATE storelab_ops_articles SET title = 'x'", "column `title`"),
        ("transaction", "UPDATE storelab_ops_accounts SET balance = 1", "hold 2 where two hold 2000000"),
        ("update", "DELETE FROM storelab_ops_items", "0 rows changed where 1 must"),
    ] {
        database.outside(damage).await;
        let error = operate(&mut *session, operation, 5).await.expect_err(operation);
        assert_eq!(error.kind(), ErrorKind::WrongResult, "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
    assert_eq!(operate(&mut *session, "insert", 900).await.expect("added").rows, 1);
    let error = operate(&mut *session, "insert", 900).await.expect_err("is there");
    assert_eq!((error.kind(), session.is_broken()), (ErrorKind::Rejected, false));
}

#[tokio::test]
async fn queries_use_their_indexes() {
    let Some(database) = Database::new().await else { return };
    let store = database.store().await;
    let dataset = operations(10 * ROWS, DataSize::Small);
    loaded(&*store, &dataset, &NullSource).await;
    let mut session = session(&*store, None).await;
    let version = store.server().await.expect("read").version;
    let dialect = if version.starts_with("MySQL 8") { "8.0.33" } else { "10.11.0-MariaDB" };
    let plan = crate::relational::Plan::new(Product::of(dialect).expect("valid").dialect, Some(&dataset));
    for (part, index) in [
        ("c.name", "storelab_ops_customers_region"),
        ("c.name", "storelab_ops_orders_customer"),
        ("LAG", "storelab_ops_orders_customer"),
        ("owner.name", "storelab_ops_documents_group"),
        ("MATCH", "storelab_ops_articles_body"),
        ("SELECT code", "PRIMARY"),
    ] {
        let text = (0..plan.planned()).map(|number| plan.text(number)).find(|text| text.contains(part)).expect("known");
        let word = [Value::Text("word"), Value::Text("word")];
        let numbers = if part == "owner.name" { [Value::Integer(3), word[1]] } else { [Value::Integer(3); 2] };
        let parameters = if part == "MATCH" { word } else { numbers };
        let count = text.matches('?').count();
        let explain = format!("EXPLAIN {text}");
        let (_, seen) = sql(&mut *session, &explain, &parameters[..count]).await.expect("explained");
        let used = seen.0.iter().any(|(_, row)| row.values().any(|value| value == index));
        assert!(used, "{part}: {:?}", seen.0);
    }
}

#[tokio::test]
async fn key_value_verbs_do_what_the_contract_says() {
    let Some(database) = Database::new().await else { return };
    let store = database.store().await;
    let dataset = records();
    loaded(&*store, &dataset, &Keyed).await;
    let mut session = session(&*store, Some(&dataset)).await;
    let session = &mut *session;
    let all = |key| Request::Read { key, fields: Fields::All };
    let values = |bytes: &'static [u8], first| Values { bytes, length: 4, first };

    let (count, seen) = verb(session, all("user07")).await;
    let record = |values: [&str; 3]| values.into_iter().map(str::to_owned).enumerate().collect::<BTreeMap<_, _>>();
    assert_eq!((count, seen.0), (1, vec![(None, record(["0001", "0001", "0001"]))]));
    for absent in [
        all("absent"),
        // Neither case nor trailing spaces are forgiven.
        all("USER07"),
        all("user07 "),
        Request::Delete { key: "absent" },
        Request::Update { key: "absent", values: values(b"bbbb", 0) },
    ] {
        assert_eq!(verb(session, absent).await.0, 0, "{absent:?}");
    }
    let (_, seen) = verb(session, Request::Scan { start: "user055", limit: 3 }).await;
    let keys: Vec<_> = seen.0.iter().filter_map(|(key, _)| key.as_deref()).collect();
    assert_eq!(keys, ["user06", "user07", "user08"]);
    assert_eq!(seen.0[1].1, record(["0001", "0001", "0001"]));

    let insert = Request::Insert { key: "Z", values: values(b"aaaabbbbcccc", 0) };
    assert_eq!(verb(session, insert).await.0, 1);
    assert_eq!(execute(session, &insert, &mut ()).await.expect_err("is there").kind(), ErrorKind::Rejected);
    // The same value again: the row was found.
    for (bytes, first) in [(&b"1111"[..], 2), (b"22223333", 0), (b"22223333", 0)] {
        assert_eq!(verb(session, Request::Update { key: "Z", values: values(bytes, first) }).await.0, 1);
    }
    // Upper case sorts before lower case: the order is that of the bytes.
    let (_, seen) = verb(session, Request::Scan { start: "", limit: 2 }).await;
    assert_eq!(seen.0[0], (Some("Z".to_owned()), record(["2222", "3333", "1111"])));
    assert_eq!(seen.0[1].0.as_deref(), Some("user00"));
    let (_, seen) = verb(session, Request::Read { key: "Z", fields: Fields::One(1) }).await;
    assert_eq!(seen.0, [(None, BTreeMap::from([(1, "3333".to_owned())]))]);
    assert_eq!(verb(session, Request::Delete { key: "Z" }).await.0, 1);
    assert_eq!(verb(session, all("Z")).await.0, 0);
}

#[tokio::test]
async fn values_keep_their_kind() {
    let Some(database) = Database::new().await else { return };
    let store = database.store().await;
    let mut session = session(&*store, None).await;
    for (expression, expected) in [
        ("?", "Integer(-3)"),
        ("CAST(18446744073709551615 AS UNSIGNED)", "Real(1.8446744073709552e19)"),
        ("CAST(1.5 AS DECIMAL(4,2))", "1.50"),
        ("1e0 / 4", "Real(0.25)"),
        ("NULL", "Null"),
        ("CAST('ä' AS BINARY)", "Bytes([195, 164])"),
        ("'ä'", "ä"),
        ("DATE '2020-01-02'", "2020-01-02"),
        ("TIMESTAMP '2020-01-02 03:04:05.25'", "2020-01-02 03:04:05.250000"),
        ("TIMEDIFF('01:00:00', '27:00:01')", "-26:00:01"),
    ] {
        let parameters = if expression == "?" { &[Value::Integer(-3)][..] } else { &[] };
        let (count, seen) = sql(&mut *session, &format!("SELECT {expression}"), parameters).await.expect(expression);
        assert_eq!((count, seen.0[0].1[&0].as_str()), (1, expected), "{expression}");
    }
    for (parameters, text) in [(0, "SELECT ?"), (1, "SELECT 1")] {
        let error = sql(&mut *session, text, &[Value::Null; 1][..parameters]).await.expect_err(text);
        assert_eq!((error.kind(), session.is_broken()), (ErrorKind::Config, false));
    }
    let error = sql(&mut *session, "SELEKT", &[]).await.expect_err("no SQL");
    assert_eq!((error.kind(), session.is_broken()), (ErrorKind::Rejected, false));
}

#[tokio::test]
async fn transactions_that_meet_are_conflicts() {
    let Some(database) = Database::new().await else { return };
    let store = database.connect("?lock_wait_timeout=1&isolation=read-committed").await.expect("reached");
    let dataset = records();
    loaded(&*store, &dataset, &Keyed).await;
    let (mut one, mut two) = (session(&*store, Some(&dataset)).await, session(&*store, Some(&dataset)).await);
    let level = "SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')";
    assert_eq!(sql(&mut *one, level, &[]).await.expect("read").1.0[0].1[&1], "READ-COMMITTED");
    let update = |key, bytes| Request::Update { key, values: Values { bytes, length: 4, first: 0 } };
    let read = Request::Read { key: "user07", fields: Fields::One(0) };
    for session in [&mut one, &mut two] {
        execute(&mut **session, &Request::Begin, &mut ()).await.expect("begun");
    }
    assert_eq!(verb(&mut *one, update("user07", b"one!")).await.0, 1);
    assert_eq!(verb(&mut *two, read).await.1.0[0].1[&0], "0001");
    let waited = execute(&mut *two, &update("user07", b"two!"), &mut ()).await.expect_err("one has it");
    assert_eq!((waited.kind(), two.is_broken()), (ErrorKind::Conflict, false), "{waited}");

    // Each waits for the other, and one of them is chosen to give way.
    assert_eq!(verb(&mut *two, update("user08", b"two!")).await.0, 1);
    let (first, second) = (update("user08", b"one!"), update("user07", b"two!"));
    let (mut unseen, mut too) = ((), ());
    let ends = tokio::join!(execute(&mut *one, &first, &mut unseen), execute(&mut *two, &second, &mut too));
    let conflicts = [&ends.0, &ends.1].map(|end| end.as_ref().is_err_and(|e| e.kind() == ErrorKind::Conflict));
    assert!(conflicts.contains(&true), "{ends:?}");
    execute(&mut *one, &Request::Rollback, &mut ()).await.expect("rolled back");
    execute(&mut *two, &Request::Rollback, &mut ()).await.expect("rolled back");
    assert_eq!(verb(&mut *one, read).await.1.0[0].1[&0], "0001");
    execute(&mut *one, &Request::Begin, &mut ()).await.expect("begun");
    verb(&mut *one, update("user07", b"kept")).await;
    execute(&mut *one, &Request::Commit, &mut ()).await.expect("committed");
    assert_eq!(verb(&mut *two, read).await.1.0[0].1[&0], "kept");
}

#[tokio::test]
async fn only_what_is_ours_is_replaced_and_dropped() {
    let Some(mut database) = Database::new().await else { return };
    database.outside("CREATE TABLE theirs (id INT PRIMARY KEY, x TEXT)").await;
    database.outside("INSERT INTO theirs VALUES (1, 'kept')").await;
    database.outside("CREATE TABLE storelab_kv_other (x INT)").await;
    let before = database.names().await;
    let store = database.store().await;
    assert_eq!(store.clean(None).await.expect("nothing to do"), []);
    assert_eq!(database.names().await, before);
    for _ in 0..2 {
        loaded(&*store, &operations(20, DataSize::Small), &NullSource).await;
        loaded(&*store, &records(), &Keyed).await;
    }
    assert_eq!(store.load_state(&operations(21, DataSize::Small)).await.expect("state"), LoadState::Partial);
    let dropped = store.clean(Some(records().namespace())).await.expect("cleaned");
    let [namespace, kind, name] = ["storelab_kv", "table", "storelab_kv_usertable"].map(str::to_owned);
    assert_eq!(dropped, [OwnedObject { namespace, kind, name }]);
    assert_eq!(store.load_state(&records()).await.expect("state"), LoadState::Absent);
    let owned = store.owned().await.expect("listed");
    assert_eq!(owned.iter().filter(|object| object.kind == "table").count(), 6);
    assert_eq!(store.clean(None).await.expect("cleaned"), owned);
    assert_eq!(database.names().await, before);
    assert_eq!(database.ask("SELECT x FROM theirs").await, ["kept"]);
}

#[tokio::test]
async fn names_that_are_taken_are_refused_and_nothing_is_touched() {
    for taken in [
        "CREATE TABLE storelab_kv_usertable (x INT)",
        "CREATE VIEW storelab_kv_usertable AS SELECT 1",
        "CREATE TABLE storelab_manifest (x INT)",
    ] {
        let Some(mut database) = Database::new().await else { return };
        database.outside(taken).await;
        let before = database.names().await;
        let store = database.store().await;
        let error = store.create(&records()).await.expect_err(taken);
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.hint().is_some());
        let _ = store.clean(None).await;
        assert_eq!(database.names().await, before);
    }
}

#[tokio::test]
async fn two_processes_do_not_change_the_manifest_at_once() {
    let Some(database) = Database::new().await else { return };
    let store = database.store().await;
    let one = operations(20, DataSize::Small);
    let two = records();
    let (first, second) = tokio::join!(store.create(&one), store.create(&two));
    first.and(second).expect("one after the other");
    assert_eq!(store.owned().await.expect("listed").iter().filter(|object| object.kind == "table").count(), 7);
}

#[tokio::test]
async fn servers_say_what_they_are_and_count() {
    let Some(mut database) = Database::new().await else { return };
    let store = database.store().await;
    let info = store.server().await.expect("read");
    assert!(info.version.starts_with("MariaDB 1"), "{}", info.version);
    assert!(info.operations_missing.is_empty(), "{:?}", info.operations_missing);
    for name in ["innodb_buffer_pool_size", "innodb_flush_log_at_trx_commit", "sync_binlog", "max_connections"] {
        assert!(info.settings.contains_key(name), "{name}: {:?}", info.settings);
    }
    let newest = format!("SELECT MAX(id) FROM information_schema.processlist WHERE user = '{}'", database.name);
    let first = store.counters().await.expect("read");
    let kept = database.ask(&newest).await;
    let second = store.counters().await.expect("read");
    assert_eq!(database.ask(&newest).await, kept, "the connection is kept");
    assert!(second["Questions"] > first["Questions"] && second["Uptime"] >= first["Uptime"]);
}

#[tokio::test]
async fn who_may_not_enter_is_told_why() {
    let Some(database) = Database::new().await else { return };
    let url = &database.url;
    let (server, _) = url.rsplit_once('/').expect("a database");
    for (url, kind) in [
        (url.replace("p%40ss", "wrong"), ErrorKind::Rejected),
        (format!("{server}/nowhere"), ErrorKind::Rejected),
        (format!("{server}/mysql"), ErrorKind::Rejected),
        (server.to_owned(), ErrorKind::Config),
        (format!("{url}?isolation=best"), ErrorKind::Config),
        (format!("{url}?lock_wait_timeout=0"), ErrorKind::Config),
        (format!("{url}?tls=verify"), ErrorKind::Rejected),
        (format!("{url}?tls=verify&tls_ca=/nowhere.pem"), ErrorKind::Config),
        (url.replace("127.0.0.1", "name.invalid"), ErrorKind::Unreachable),
    ] {
        check_refused(connect(&url).await, kind, &url);
    }
}

#[tokio::test]
async fn a_dropped_session_is_gone_from_the_server() {
    let Some(mut database) = Database::new().await else { return };
    let store = database.store().await;
    let (mut idle, mut busy) = (session(&*store, None).await, session(&*store, None).await);
    sql(&mut *idle, "SELECT 1", &[]).await.expect("answers");
    let statement = busy.sql().expect("sql").prepare("SELECT REPEAT('x', 1000) FROM seq_1_to_1000000");
    let statement = statement.await.expect("prepared");
    busy.submit(0, &Request::Statement { statement, parameters: &[] }).expect("taken");
    let polled = std::future::poll_fn(|context| std::task::Poll::Ready(busy.poll_completion(context, &mut ())));
    assert!(polled.await.is_pending(), "a gigabyte takes its time");
    drop((idle, busy));
    let left = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{}'", database.name);
    while database.ask(&left).await != ["0"] {}
}

#[tokio::test]
async fn others_than_servers_are_told_apart() {
    let listen = || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        (listener, format!("mysql://u:p%40ss@127.0.0.1:{port}/d?connect_timeout=0.2"))
    };
    let (listener, url) = listen();
    let told = check_refused(connect(&url).await, ErrorKind::Unreachable, "a server that says nothing");
    assert!(told.to_string().contains("within 0.2 s"), "{told}");
    drop(listener);
    check_refused(connect(&url).await, ErrorKind::Unreachable, "a closed port");
    for (greeting, kind) in [
        (&b""[..], ErrorKind::Unreachable),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n", ErrorKind::Rejected),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ErrorKind::Rejected),
        (b"\x05\0\0\0hello", ErrorKind::Rejected),
    ] {
        let (listener, url) = listen();
        let peer = std::thread::spawn(move || {
            use std::io::Write;
            let (mut stream, _) = listener.accept().expect("accepted");
            stream.write_all(greeting).expect("written");
        });
        check_refused(connect(&url).await, kind, &String::from_utf8_lossy(greeting));
        peer.join().expect("ended");
    }
}

#[tokio::test]
async fn a_server_that_stalls_or_dies_is_noticed() {
    let Some(mut server) = start(&Options::default()) else { return };
    let mut database = Database::on(server.url()).await;
    let store = database.store().await;
    let mut session = session(&*store, None).await;
    store.counters().await.expect("read");

    server.pause().expect("paused");
    check_refused(database.connect("?connect_timeout=0.2").await, ErrorKind::Unreachable, "a paused server");
    server.resume().expect("resumed");

    let statement = session.sql().expect("sql").prepare("SELECT SLEEP(100)").await.expect("prepared");
    let request = Request::Statement { statement, parameters: &[] };
    let kill = async {
        let running = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'";
        while database.ask(running).await != ["1"] {}
        server.kill().expect("killed");
    };
    let mut unseen = ();
    let (result, ()) = tokio::join!(execute(&mut *session, &request, &mut unseen), kill);
    assert_eq!(result.expect_err("killed").kind(), ErrorKind::Unreachable);
    assert!(session.is_broken());
    assert_eq!(store.counters().await.expect_err("killed").kind(), ErrorKind::Unreachable);
    server.restart().expect("restarted");
    assert!(store.counters().await.expect("read again")["Uptime"] >= 0.0);
    server.stop().expect("stopped");
}

#[tokio::test]
async fn encryption_is_verified_and_small_packets_are_enough() {
    let folder = tempfile::tempdir().expect("made");
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("made");
    let (authority, key) = (folder.path().join("authority.pem"), folder.path().join("key.pem"));
    std::fs::write(&authority, certified.cert.pem()).expect("written");
    std::fs::write(&key, certified.signing_key.serialize_pem()).expect("written");
    // The server runs as a user of its own and must read them.
    for (path, mode) in [(folder.path(), 0o755), (&authority, 0o644), (&key, 0o644)] {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, permissions).expect("set");
    }
    let setting = |name: &str, path: &std::path::Path| (name.to_owned(), path.display().to_string());
    // With the smallest packets that a row of the largest size fits into.
    let packet = ("max-allowed-packet".to_owned(), "16384".to_owned());
    let settings = [setting("ssl-cert", &authority), setting("ssl-key", &key), packet].into();
    let Some(server) = start(&Options { settings, ..Options::default() }) else { return };
    let mut database = Database::on(server.url()).await;
    let user = format!("ALTER USER {}@'127.0.0.1' REQUIRE SSL", database.name);
    database.outside(&user).await;

    check_refused(database.connect("").await, ErrorKind::Rejected, "clear text");
    check_refused(database.connect("?tls=verify").await, ErrorKind::Rejected, "an unknown authority");
    let named = format!("?tls=verify&tls_ca={}", authority.display());
    for options in [named.as_str(), "?tls=insecure"] {
        let store = database.connect(options).await.expect(options);
        let dataset = operations(20, DataSize::Large);
        loaded(&*store, &dataset, &NullSource).await;
        let mut session = session(&*store, Some(&dataset)).await;
        operate(&mut *session, "select", 19).await.expect("all of it is there");
        let (_, seen) = sql(&mut *session, "SHOW STATUS LIKE 'Ssl_cipher'", &[]).await.expect("read");
        assert!(!seen.0[0].1[&1].is_empty(), "{options}");
    }
    server.stop().expect("stopped");
}

#[test]
fn the_environment_gives_a_url() {
    for (member, expected) in [
        (&MARIADB, "mariadb://root:root@127.0.0.1:3306/optistack"),
        (&MYSQL, "mysql://root:root@127.0.0.1:3306/optistack"),
        (&OCEANBASE, "oceanbase://root@127.0.0.1:2881/test"),
        (&TIDB, "tidb://root@127.0.0.1:4000/test"),
    ] {
        assert_eq!(member.url_from_environment(&|_| None).expect("always"), expected);
    }
    let lookup = |name: &str| match name {
        "OB_HOST" => Some("::1".to_owned()),
        "OB_USER" => Some("root@tenant#cluster".to_owned()),
        "OB_PASSWORD" => Some("a@b/c:d".to_owned()),
        _ => None,
    };
    let target = Target::parse(&OCEANBASE.url_from_environment(&lookup).expect("always")).expect("valid");
    assert_eq!((target.host(), target.password().expect("given").expose()), ("::1", "a@b/c:d"));
    assert_eq!(target.user(), Some("root@tenant#cluster"));
    let typed = Target::parse("oceanbase://root@tenant:pw@h/d").expect("valid");
    assert_eq!((typed.user(), typed.host()), (Some("root@tenant"), "h"));
}

#[test]
fn a_driver_takes_its_own_servers() {
    let servers = ["10.11.6-MariaDB", "8.0.33", "5.7.25-OceanBase-v4.3.5.3", "8.0.11-TiDB-v8.5.6"];
    for (place, member) in [&MARIADB, &MYSQL, &OCEANBASE, &TIDB].into_iter().enumerate() {
        for (number, version) in servers.iter().enumerate() {
            let product = member.product(version);
            if place == number || member.takes_others {
                assert_eq!(
                    product.expect(version).quirks.scheme,
                    ["mariadb", "mysql", "oceanbase", "tidb"][number],
                    "{version}"
                );
                continue;
            }
            let error = product.expect_err(version);
            assert!(error.kind() == ErrorKind::Config && error.hint().is_some(), "{error}");
        }
    }
}
