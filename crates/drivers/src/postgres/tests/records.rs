//! The key-value verbs and the SQL face.

use ::store::{ErrorKind, Fields, Values};

use super::*;

fn values(bytes: &'static [u8], first: u16) -> Values<'static> {
    Values { bytes, length: 4, first }
}

fn all(key: &str) -> Request<'_> {
    Request::Read { key, fields: Fields::All }
}

#[tokio::test]
async fn key_value_verbs_do_what_the_contract_says() {
    let Some(database) = Database::new().await else { return };
    let store = database.store().await;
    let dataset = records();
    loaded(&*store, &dataset).await;
    let mut session = session(&*store, Some(&dataset), 1).await;
    let session = &mut *session;
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

    let unencodable = Request::Read { key: "a", fields: Fields::One(3) };
    assert_eq!(session.submit(0, &unencodable).expect_err("no such field").kind(), ErrorKind::Bug);
    assert_eq!((session.in_flight(), session.is_broken()), (0, false));
}

#[tokio::test]
async fn errors_do_not_touch_what_else_is_in_flight() {
    let Some(database) = Database::new().await else { return };
    let store = database.store().await;
    let dataset = records();
    loaded(&*store, &dataset).await;
    let mut session = session(&*store, Some(&dataset), 16).await;
    let keys: Vec<String> = (0..200).map(|number| format!("new{:03}", number / 2)).collect();
    let mut requests = Vec::new();
    for key in &keys {
        requests.push(Request::Insert { key, values: values(b"aaaabbbbcccc", 0) });
        requests.push(all(key));
        // A zero byte is no text for this server, which refuses it in the Bind.
        requests.push(all("a\0b"));
    }
    for (number, result) in pipelined(&mut *session, &requests).await.into_iter().enumerate() {
        match (number % 3, number / 3 % 2) {
            (0, 1) | (2, _) => assert_eq!(result.expect_err("refused").kind(), ErrorKind::Rejected, "{number}"),
            _ => assert_eq!(result.expect("done").rows, 1, "{number}"),
        }
    }
    assert!(!session.is_broken());
}

#[tokio::test]
async fn statements_that_cannot_be_prepared_say_why_to_each_that_wanted_them() {
    let Some(database) = Database::new().await else { return };
    let store = database.store().await;
    let dataset = records();
    let mut session = session(&*store, Some(&dataset), 8).await;
    let results = pipelined(&mut *session, &[all("a"); 8]).await;
    for result in results {
        let error = result.expect_err("there is no table");
        assert!(error.to_string().contains("42P01"), "{error}");
    }
    loaded(&*store, &dataset).await;
    let results = pipelined(&mut *session, &[all("user07"), all("a\0"), all("user07")]).await;
    let rows: Vec<_> = results.into_iter().map(|result| result.map_or(9, |outcome| outcome.rows)).collect();
    assert_eq!(rows, [1, 9, 1]);
}

#[tokio::test]
async fn the_first_use_may_fail_after_the_statement_was_prepared() {
    let Some(database) = Database::new().await else { return };
    let store = database.store().await;
    let dataset = records();
    loaded(&*store, &dataset).await;
    let mut session = session(&*store, Some(&dataset), 1).await;
    execute(&mut *session, &all("a\0b"), &mut ()).await.expect_err("no text");
    let (_, seen) = verb(&mut *session, all("user07")).await;
    assert_eq!(seen.0[0].1[&0], "0001");
}

#[tokio::test]
async fn the_sql_face_prepares_and_keeps_transactions_apart() {
    let Some(database) = Database::new().await else { return };
    let store = database.store_with("isolation=repeatable-read&options=-c%20lock_timeout%3D10ms").await;
    let dataset = records();
    loaded(&*store, &dataset).await;
    let (mut one, mut two) = (session(&*store, Some(&dataset), 4).await, session(&*store, None, 1).await);
    let text = "UPDATE storelab_kv_usertable SET field0 = $1 WHERE ycsb_key = $2";
    let update = one.sql().expect("sql").prepare(text).await.expect("prepared");
    let other = two.sql().expect("sql").prepare(text).await.expect("prepared");
    let read = "SELECT field0 FROM storelab_kv_usertable WHERE ycsb_key = $1";
    let read = two.sql().expect("sql").prepare(read).await.expect("prepared");
    let parameters = [Value::Text("new!"), Value::Text("user07")];
    let statement = |statement, parameters| Request::Statement { statement, parameters };

    execute(&mut *one, &Request::Begin, &mut ()).await.expect("begun");
    assert_eq!(execute(&mut *one, &statement(update, &parameters), &mut ()).await.expect("changed").rows, 1);
    // The other one's snapshot is from before; it waits for the lock in vain, and then it is too late.
    execute(&mut *two, &Request::Begin, &mut ()).await.expect("begun");
    let (_, seen) = verb(&mut *two, statement(read, &parameters[1..])).await;
    assert_eq!(seen.0[0].1[&0], "0001");
    let locked = execute(&mut *two, &statement(other, &parameters), &mut ()).await.expect_err("one writes");
    assert_eq!((locked.kind(), two.is_broken()), (ErrorKind::Conflict, false), "{locked}");
    let failed = execute(&mut *two, &Request::Commit, &mut ()).await.expect_err("had failed");
    assert_eq!(failed.kind(), ErrorKind::Rejected);
    execute(&mut *two, &Request::Begin, &mut ()).await.expect("begun");
    verb(&mut *two, statement(read, &parameters[1..])).await;
    execute(&mut *one, &Request::Commit, &mut ()).await.expect("committed");
    let late = execute(&mut *two, &statement(other, &parameters), &mut ()).await.expect_err("one was first");
    assert_eq!(late.kind(), ErrorKind::Conflict, "{late}");
    execute(&mut *two, &Request::Rollback, &mut ()).await.expect("rolled back");
    let (_, seen) = verb(&mut *two, statement(read, &parameters[1..])).await;
    assert_eq!(seen.0[0].1[&0], "new!");

    // A whole transaction in one flight, and key-value verbs beside statements.
    let flight = [Request::Begin, statement(update, &parameters), all("user07"), Request::Commit];
    let rows: Vec<_> =
        pipelined(&mut *one, &flight).await.into_iter().map(|result| result.expect("done").rows).collect();
    assert_eq!(rows, [0, 1, 1, 0]);

    assert_eq!(two.sql().expect("sql").prepare("SELEKT").await.expect_err("no SQL").kind(), ErrorKind::Rejected);
    assert_eq!(
        two.sql().expect("sql").prepare(" copy x FROM STDIN").await.expect_err("no").kind(),
        ErrorKind::Unsupported
    );
    let few = execute(&mut *two, &statement(read, &[]), &mut ()).await.expect_err("needs one");
    assert_eq!(few.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn values_of_all_types_come_and_go() {
    let Some(database) = Database::new().await else { return };
    let store = database.store().await;
    let mut session = session(&*store, None, 1).await;
    let text = "SELECT $1::bigint, $2::int + 0, $3::smallint, $4::float8, $5::real, $6::numeric, $7::text, $8::bytea, \
        $9::boolean, $10::jsonb, $11::timestamp, NULL, $12::bigint, 'wide'::varchar, $13::numeric";
    let statement = session.sql().expect("sql").prepare(text).await.expect("prepared");
    let parameters = [
        Value::Integer(i64::MIN),
        Value::Integer(-2),
        Value::Integer(3),
        Value::Real(0.1),
        Value::Real(0.5),
        Value::Integer(12),
        Value::Text("ä"),
        Value::Bytes(b"\0\xff"),
        Value::Integer(1),
        Value::Text(r#"{"a": 1}"#),
        Value::Text("2001-02-03 04:05:06"),
        Value::Null,
        Value::Real(2.25),
    ];
    let (_, seen) = verb(&mut *session, Request::Statement { statement, parameters: &parameters }).await;
    let found: Vec<_> = seen.0[0].1.values().map(String::as_str).collect();
    let expect = [
        "Integer(-9223372036854775808)",
        "Integer(-2)",
        "Integer(3)",
        "Real(0.1)",
        "Real(0.5)",
        "12",
        "ä",
        "Bytes([0, 255])",
        "Integer(1)",
        r#"{"a": 1}"#,
        "2001-02-03 04:05:06",
        "Null",
        "Null",
        "wide",
        "2.25",
    ];
    assert_eq!(found, expect);
    let text = "SELECT repeat('x', 3000000) FROM generate_series(1, 3)";
    let large = session.sql().expect("sql").prepare(text).await.expect("prepared");
    let (rows, seen) = verb(&mut *session, Request::Statement { statement: large, parameters: &[] }).await;
    assert_eq!((rows, seen.0.iter().map(|row| row.1[&0].len()).sum::<usize>()), (3, 9_000_000));
    let loud = "DO $$ BEGIN RAISE NOTICE 'heard'; SET application_name = 'loud'; END $$";
    let loud = session.sql().expect("sql").prepare(loud).await.expect("prepared");
    assert_eq!(verb(&mut *session, Request::Statement { statement: loud, parameters: &[] }).await.0, 0);
}
