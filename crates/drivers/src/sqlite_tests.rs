//! Every operation, the verbs and the manifest against real files.

use std::collections::BTreeMap;

use store::{
    DataSize, Fields, NullSource, OperationRows, Outcome, Record, RecordTable, Request, Rows, Values, execute,
};

use super::*;

const ROWS: u64 = 300;

async fn file(url: &str) -> Arc<dyn Store> {
    Sqlite.connect(&Target::parse(url).expect("valid")).await.expect("opens")
}

fn operations(rows: u64) -> Dataset {
    let namespace = Namespace::new("ops").expect("valid");
    Dataset::Operations(OperationRows { namespace, rows, size: DataSize::Small, seed: 11 })
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
    for index in 0..2 {
        store.load(dataset, LoadPart { index, of: 2 }, source, &progress).await.expect("loaded");
    }
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

/// A plain connection to a file, for looking at it from outside.
fn outside(path: &Path) -> Connection {
    Connection::open(path).expect("opens")
}

fn names(connection: &Connection) -> Vec<String> {
    let mut statement = connection.prepare("SELECT name FROM sqlite_master ORDER BY name").expect("valid");
    let names = statement.query_map([], |row| row.get(0)).expect("runs");
    names.collect::<rusqlite::Result<_>>().expect("text")
}

#[tokio::test]
async fn every_operation_verifies_every_row() {
    for rows in [1, 2, 7, ROWS] {
        let store = file("sqlite:").await;
        let dataset = operations(rows);
        loaded(&*store, &dataset, &NullSource).await;
        let mut session = session(&*store, Some(&dataset)).await;
        for operation in OPERATIONS {
            for row in 0..rows {
                let row = if operation.effect == store::Effect::Adds { row + (1 << 61) } else { row };
                let outcome = operate(&mut *session, operation.name, row).await;
                // Deleting comes before reading in the list; what is read is not what is deleted.
                let found = outcome.unwrap_or_else(|error| panic!("{} of {row}: {error}", operation.name));
                assert!(found.rows > 0 || operation.name == "join", "{} of {row}", operation.name);
            }
        }
    }
}

#[tokio::test]
async fn wrong_data_is_told_by_name() {
    let folder = tempfile::tempdir().expect("made");
    let path = folder.path().join("x.db");
    let store = file(&format!("sqlite:{}", path.display())).await;
    let dataset = operations(ROWS);
    loaded(&*store, &dataset, &NullSource).await;
    let mut session = session(&*store, Some(&dataset)).await;
    for (operation, damage, told) in [
        ("select", "UPDATE storelab_ops_items SET payload = 'x' WHERE id = 5", "column `payload`"),
        ("join", "UPDATE storelab_ops_customers SET name = 'x'", "column `customer name`"),
        ("window", "UPDATE storelab_ops_orders SET amount = amount + 1", "column `running sum`"),
        ("window", "DELETE FROM storelab_ops_orders", "there are more"),
        ("json", "UPDATE storelab_ops_documents SET document = json_set(document, '$.owner.name', 'x')", "owner.name"),
        ("fulltext", "UPDATE storelab_ops_articles SET title = 'x'", "column `title`"),
        ("transaction", "UPDATE storelab_ops_accounts SET balance = 1", "hold 2 where two hold 2000000"),
        ("transaction", "DELETE FROM storelab_ops_accounts", "0 rows changed where 1 must"),
        ("delete", "DELETE FROM storelab_ops_items", "0 rows changed where 1 must"),
        ("update", "DELETE FROM storelab_ops_items", "0 rows changed where 1 must"),
    ] {
        outside(&path).execute_batch(damage).expect("valid");
        let error = operate(&mut *session, operation, 5).await.expect_err(operation);
        assert_eq!(error.kind(), ErrorKind::WrongResult, "{error}");
        let told_amount = operation == "window" && error.to_string().contains("column");
        assert!(error.to_string().contains(told) || told_amount, "{error}");
        assert!(error.to_string().starts_with(&format!("{operation} of row 5")), "{error}");
    }
    let twice = operate(&mut *session, "insert", 900).await.expect("added");
    assert_eq!(twice.rows, 1);
    let error = operate(&mut *session, "insert", 900).await.expect_err("is there");
    assert_eq!(error.kind(), ErrorKind::Rejected);
}

#[tokio::test]
async fn queries_use_their_indexes() {
    let folder = tempfile::tempdir().expect("made");
    let path = folder.path().join("x.db");
    let store = file(&format!("sqlite:{}", path.display())).await;
    let dataset = operations(ROWS);
    loaded(&*store, &dataset, &NullSource).await;
    let plan = Plan::new(&DIALECT, Some(&dataset));
    let connection = outside(&path);
    for (part, index) in [
        ("c.name", "storelab_ops_customers_region"),
        ("c.name", "storelab_ops_orders_customer"),
        ("LAG", "storelab_ops_orders_customer"),
        ("json_each", "storelab_ops_documents_group"),
        ("MATCH", "VIRTUAL TABLE INDEX"),
        ("SELECT code", "INTEGER PRIMARY KEY"),
    ] {
        let text = (0..plan.planned()).map(|number| plan.text(number)).find(|text| text.contains(part));
        let explain = format!("EXPLAIN QUERY PLAN {}", text.expect("known"));
        let mut statement = connection.prepare(&explain).expect("valid");
        let steps: Vec<String> = {
            let count = statement.parameter_count();
            let rows = statement.query_map(rusqlite::params_from_iter(vec!["1"; count]), |row| row.get(3));
            rows.expect("runs").collect::<rusqlite::Result<_>>().expect("text")
        };
        assert!(steps.iter().any(|step| step.contains(index)), "{part}: {steps:?}");
    }
}

#[derive(Default)]
struct Seen(Vec<(Option<String>, BTreeMap<usize, String>)>);

impl Rows for Seen {
    fn row(&mut self, key: Option<&str>) {
        self.0.push((key.map(str::to_owned), BTreeMap::new()));
    }
    fn value(&mut self, column: usize, value: Value<'_>) {
        let text = String::from_utf8_lossy(value.as_bytes().expect("text")).into_owned();
        self.0.last_mut().expect("begun").1.insert(column, text);
    }
}

async fn verb(session: &mut dyn Session, request: Request<'_>) -> (u64, Seen) {
    let mut seen = Seen::default();
    let outcome = execute(session, &request, &mut seen).await.expect("done");
    (outcome.rows, seen)
}

#[tokio::test]
async fn key_value_verbs_do_what_the_contract_says() {
    let store = file("sqlite:").await;
    let dataset = records();
    loaded(&*store, &dataset, &Keyed).await;
    let mut session = session(&*store, Some(&dataset)).await;
    let session = &mut *session;
    let all = |key| Request::Read { key, fields: Fields::All };
    let values = |bytes: &'static [u8], first| Values { bytes, length: 4, first };

    let (count, seen) = verb(session, all("user07")).await;
    let record = |values: [&str; 3]| values.into_iter().map(str::to_owned).enumerate().collect::<BTreeMap<_, _>>();
    assert_eq!((count, seen.0), (1, vec![(None, record(["0001", "0001", "0001"]))]));
    assert_eq!(verb(session, all("absent")).await.0, 0);
    assert_eq!(verb(session, Request::Delete { key: "absent" }).await.0, 0);
    assert_eq!(verb(session, Request::Update { key: "absent", values: values(b"bbbb", 0) }).await.0, 0);

    let (_, seen) = verb(session, Request::Scan { start: "user055", limit: 3 }).await;
    let keys: Vec<_> = seen.0.iter().filter_map(|(key, _)| key.as_deref()).collect();
    assert_eq!(keys, ["user06", "user07", "user08"]);
    assert_eq!(seen.0[1].1, record(["0001", "0001", "0001"]));

    assert_eq!(verb(session, Request::Insert { key: "Z", values: values(b"aaaabbbbcccc", 0) }).await.0, 1);
    let twice = Request::Insert { key: "Z", values: values(b"aaaabbbbcccc", 0) };
    assert_eq!(execute(session, &twice, &mut ()).await.expect_err("is there").kind(), ErrorKind::Rejected);
    for (bytes, first) in [(&b"1111"[..], 2), (b"22223333", 0)] {
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
async fn the_sql_face_prepares_and_keeps_transactions_apart() {
    let store = file("sqlite:?busy_timeout=1").await;
    let dataset = records();
    loaded(&*store, &dataset, &Keyed).await;
    let (mut one, mut two) = (session(&*store, Some(&dataset)).await, session(&*store, None).await);
    let text = "UPDATE storelab_kv_usertable SET field0 = ? WHERE ycsb_key = ?";
    let update = one.sql().expect("sql").prepare(text).await.expect("prepared");
    let other = two.sql().expect("sql").prepare(text).await.expect("prepared");
    let read = "SELECT field0 FROM storelab_kv_usertable WHERE ycsb_key = ?";
    let read = two.sql().expect("sql").prepare(read).await.expect("prepared");
    let parameters = [Value::Text("new!"), Value::Text("user07")];
    let statement = |statement, parameters| Request::Statement { statement, parameters };

    execute(&mut *one, &Request::Begin, &mut ()).await.expect("begun");
    let changed = execute(&mut *one, &statement(update, &parameters), &mut ()).await.expect("changed");
    assert_eq!(changed.rows, 1);
    let (_, seen) = verb(&mut *two, statement(read, &parameters[1..])).await;
    assert_eq!(seen.0[0].1[&0], "0001");
    let conflict = execute(&mut *two, &statement(other, &parameters), &mut ()).await.expect_err("one writes");
    assert_eq!((conflict.kind(), two.is_broken()), (ErrorKind::Conflict, false));
    execute(&mut *one, &Request::Rollback, &mut ()).await.expect("rolled back");
    execute(&mut *two, &Request::Begin, &mut ()).await.expect("begun");
    execute(&mut *two, &statement(other, &parameters), &mut ()).await.expect("changed");
    execute(&mut *two, &Request::Commit, &mut ()).await.expect("committed");
    let (_, seen) = verb(&mut *two, statement(read, &parameters[1..])).await;
    assert_eq!(seen.0[0].1[&0], "new!");

    let bad = two.sql().expect("sql").prepare("SELEKT").await.expect_err("no SQL");
    assert_eq!(bad.kind(), ErrorKind::Rejected);
    let few = execute(&mut *two, &statement(read, &[]), &mut ()).await.expect_err("needs one");
    assert_eq!(few.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn only_what_is_ours_is_replaced_and_dropped() {
    let folder = tempfile::tempdir().expect("made");
    let path = folder.path().join("x.db");
    let theirs = "CREATE TABLE theirs (id INTEGER PRIMARY KEY, x TEXT); INSERT INTO theirs VALUES (1, 'kept');
        CREATE TABLE storelab_kv_other (x TEXT);";
    outside(&path).execute_batch(theirs).expect("valid");
    let before = names(&outside(&path));
    let store = file(&format!("sqlite:{}", path.display())).await;
    assert_eq!(store.clean(None).await.expect("nothing to do"), []);
    assert_eq!(names(&outside(&path)), before);

    for _ in 0..2 {
        loaded(&*store, &operations(20), &NullSource).await;
        loaded(&*store, &records(), &Keyed).await;
    }
    assert_eq!(store.load_state(&operations(21)).await.expect("state"), LoadState::Partial);
    let dropped = store.clean(Some(records().namespace())).await.expect("cleaned");
    let object = |kind: &str, name: &str| OwnedObject {
        namespace: "storelab_kv".to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
    };
    assert_eq!(dropped, [object("table", "storelab_kv_usertable")]);
    assert_eq!(store.load_state(&records()).await.expect("state"), LoadState::Absent);
    let owned = store.owned().await.expect("listed");
    assert_eq!(owned.iter().filter(|object| object.kind == "table").count(), 6);
    assert_eq!(store.clean(None).await.expect("cleaned"), owned);
    assert_eq!(names(&outside(&path)), before);
    assert_eq!(store.server().await.expect("read").settings["journal_mode"], "delete");
    let kept: String = outside(&path).query_row("SELECT x FROM theirs", [], |row| row.get(0)).expect("there");
    assert_eq!(kept, "kept");
}

#[tokio::test]
async fn names_that_are_taken_are_refused_and_nothing_is_touched() {
    for taken in [
        "CREATE TABLE storelab_kv_usertable (x TEXT)",
        "CREATE VIEW storelab_kv_usertable AS SELECT 1",
        "CREATE TABLE storelab_manifest (x TEXT)",
    ] {
        let folder = tempfile::tempdir().expect("made");
        let path = folder.path().join("x.db");
        outside(&path).execute_batch(taken).expect("valid");
        let before = names(&outside(&path));
        let store = file(&format!("sqlite:{}", path.display())).await;
        let error = store.create(&records()).await.expect_err(taken);
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.hint().is_some());
        assert_eq!(names(&outside(&path)), before);
        let _ = store.clean(None).await;
        assert_eq!(names(&outside(&path)), before);
    }
}

#[tokio::test]
async fn a_manifest_that_others_wrote_to_drops_nothing_of_theirs() {
    let folder = tempfile::tempdir().expect("made");
    let path = folder.path().join("x.db");
    let store = file(&format!("sqlite:{}", path.display())).await;
    store.create(&records()).await.expect("created");
    let forged = "CREATE TABLE theirs (x TEXT); INSERT INTO storelab_manifest (namespace, kind, name, fingerprint, \
        state) VALUES ('storelab_a', 'table', 'theirs', '', 'loaded')";
    outside(&path).execute_batch(forged).expect("valid");
    assert_eq!(store.clean(None).await.expect_err("refused").kind(), ErrorKind::Config);
    assert!(names(&outside(&path)).contains(&"theirs".to_owned()));
}

#[tokio::test]
async fn a_throw_away_file_goes_with_its_store() {
    let store = File::open(&Target::parse("sqlite:").expect("valid")).expect("opens");
    let path = store.path.clone();
    loaded(&store, &records(), &Keyed).await;
    let counters = store.counters().await.expect("read");
    assert!(counters["page_count"] > 1.0 && counters["database_bytes"] > 0.0, "{counters:?}");
    let info = store.server().await.expect("read");
    assert!(info.version.starts_with("SQLite 3."), "{}", info.version);
    assert_eq!(info.settings["journal_mode"], "wal");
    assert!(path.exists());
    drop(store);
    assert!(!path.parent().expect("a folder").exists());
}

#[tokio::test]
async fn urls_that_cannot_work_say_what_to_do() {
    let folder = tempfile::tempdir().expect("made");
    let text = folder.path().join("text");
    std::fs::write(&text, "this is no database, however long it may be ".repeat(100)).expect("written");
    for (url, kind) in [
        ("sqlite:?journal_mode=wall".to_owned(), ErrorKind::Config),
        ("sqlite:?busy_timeout=soon".to_owned(), ErrorKind::Config),
        (format!("sqlite:{}/no/folder.db", folder.path().display()), ErrorKind::Unreachable),
        (format!("sqlite:{}", text.display()), ErrorKind::Config),
    ] {
        let result = Sqlite.connect(&Target::parse(&url).expect("valid")).await;
        assert_eq!(result.err().map(|error| error.kind()), Some(kind), "{url}");
    }
}
