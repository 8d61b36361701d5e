//! What the protocol does that no operation shows: large packets, errors amid rows, procedures, and ends.

use super::super::packet::Asked;
use super::*;

/// A session of the SQL face.
async fn plain(database: &Database) -> Box<dyn Session> {
    session(&*database.store().await, None).await
}

#[tokio::test]
async fn values_larger_than_a_packet_go_both_ways() {
    let settings = [("max-allowed-packet".to_owned(), (64 << 20).to_string())].into();
    let Some(server) = start(&Options { settings, ..Options::default() }) else { return };
    let mut database = Database::on(server.url()).await;
    database.outside("CREATE TABLE large (id INT PRIMARY KEY, value LONGTEXT)").await;
    let mut session = plain(&database).await;
    // Around the length at which a packet is full, with what else is in it, and one that fills two.
    for (id, length) in [(0, 0xff_ffe0), (1, 0xff_fff0), (2, 0xff_ffff), (3, 0x100_0000), (4, 0x1ff_fffe), (5, 100)] {
        let text = "one, two, three".repeat(length / 15 + 1);
        let text = &text[..length];
        let values = [Value::Integer(id), Value::Text(text)];
        let added = sql(&mut *session, "INSERT INTO large VALUES (?, ?)", &values).await.expect("added");
        assert_eq!(added.0, 1);
        let read = sql(&mut *session, "SELECT value, id FROM large WHERE id = ?", &values[..1]).await.expect("read");
        assert!(read.1.0[0].1[&0] == text, "{length} bytes came back changed");
        assert_eq!(read.1.0[0].1[&1], format!("Integer({id})"));
    }
    let too_large = "x".repeat(65 << 20);
    let refused = sql(&mut *session, "SELECT LENGTH(?)", &[Value::Text(&too_large)]).await.expect_err("too large");
    assert!(matches!(refused.kind(), ErrorKind::Rejected | ErrorKind::Unreachable), "{refused}");
    server.stop().expect("stopped");
}

#[tokio::test]
async fn columns_are_not_defined_twice() {
    let Some(database) = Database::new().await else { return };
    let target = Target::parse(&database.url).expect("valid");
    let mut connection = Connection::open(&Address::of(&MARIADB, &target).expect("valid")).await.expect("entered");
    let mut rows = RowBuffer::default();
    let mut statement = connection.prepare("SELECT 'how long is the name of this column'").await.expect("prepared");
    let mut answer_bytes = Vec::new();
    for _ in 0..2 {
        connection.ask(Asked::Result, |out| statement.execute(&[], out)).expect("sent");
        let answer = std::future::poll_fn(|context| connection.poll_answer(context)).await.expect("answered");
        answer_bytes.push(answer.length);
        connection.consume(answer);
    }
    connection.run("SELECT VERSION()", &[], &mut rows).await.expect("read");
    let product = Product::of(rows.text(0, 0).expect("a version")).expect("known");
    let since = (product.quirks.title == "MariaDB").then_some(dialect::Version(10, 6, 0));
    let spoken = connection.spoken();
    assert_eq!(spoken.known_columns, since.is_some_and(|since| product.version >= since), "{product}");
    // The text is there once, as the value.
    assert!(!spoken.known_columns || answer_bytes.iter().all(|length| *length < 80), "{answer_bytes:?}");
}

#[tokio::test]
async fn an_error_amid_rows_is_told_and_the_session_goes_on() {
    let Some(database) = Database::new().await else { return };
    let mut session = plain(&database).await;
    let text = "SELECT s.seq, (SELECT seq FROM seq_1_to_2 WHERE s.seq > ?) FROM seq_1_to_100 s";
    let statement = session.sql().expect("sql").prepare(text).await.expect("prepared");
    for (first, expected) in [(1000, Some(100)), (50, None), (1000, Some(100)), (0, None)] {
        let request = Request::Statement { statement, parameters: &[Value::Integer(first)] };
        let mut seen = Seen::default();
        let result = execute(&mut *session, &request, &mut seen).await;
        assert_eq!(seen.0.len() as u64, expected.unwrap_or(0), "rows of what failed are not shown");
        match expected {
            Some(rows) => assert_eq!(result.expect("rows").rows, rows),
            None => assert_eq!(result.expect_err("more than one").kind(), ErrorKind::Rejected),
        }
        assert!(!session.is_broken());
    }
}

#[tokio::test]
async fn parameters_may_change_their_type_and_be_null() {
    let Some(database) = Database::new().await else { return };
    let mut session = plain(&database).await;
    let statement = session.sql().expect("sql").prepare("SELECT CONCAT(?, '/', ?), ? IS NULL").await.expect("prepared");
    let (number, text, real, null) = (Value::Integer(7), Value::Text("ä"), Value::Real(0.5), Value::Null);
    for (parameters, expected) in [
        ([null, null, null], ["Null", "Integer(1)"]),
        ([number, text, null], ["7/ä", "Integer(1)"]),
        ([number, text, number], ["7/ä", "Integer(0)"]),
        ([null, text, number], ["Null", "Integer(0)"]),
        ([number, text, null], ["7/ä", "Integer(1)"]),
        ([text, real, text], ["ä/0.5", "Integer(0)"]),
        ([real, number, Value::Bytes(b"x")], ["0.5/7", "Integer(0)"]),
    ] {
        let mut seen = Seen::default();
        let request = Request::Statement { statement, parameters: &parameters };
        execute(&mut *session, &request, &mut seen).await.expect("rows");
        assert_eq!(seen.0[0].1.values().collect::<Vec<_>>(), expected, "{parameters:?}");
    }
}

#[tokio::test]
async fn columns_that_change_are_noticed() {
    let Some(mut database) = Database::new().await else { return };
    database.outside("CREATE TABLE shifting (id INT PRIMARY KEY, x INT)").await;
    database.outside("INSERT INTO shifting VALUES (1, 5)").await;
    let mut session = plain(&database).await;
    let statement = session.sql().expect("sql").prepare("SELECT * FROM shifting").await.expect("prepared");
    let request = Request::Statement { statement, parameters: &[] };
    for (change, expected) in [
        ("DO 0", &["Integer(1)", "Integer(5)"][..]),
        ("DO 0", &["Integer(1)", "Integer(5)"]),
        ("ALTER TABLE shifting MODIFY x VARCHAR(10)", &["Integer(1)", "5"]),
        ("ALTER TABLE shifting ADD y DOUBLE DEFAULT 0.5", &["Integer(1)", "5", "Real(0.5)"]),
        ("ALTER TABLE shifting DROP x", &["Integer(1)", "Real(0.5)"]),
    ] {
        database.outside(change).await;
        for _ in 0..2 {
            let mut seen = Seen::default();
            execute(&mut *session, &request, &mut seen).await.expect("rows");
            assert_eq!(seen.0[0].1.values().collect::<Vec<_>>(), expected, "{change}");
        }
    }
}

#[tokio::test]
async fn procedures_and_what_cannot_be_prepared_are_run() {
    let Some(mut database) = Database::new().await else { return };
    let body = "BEGIN SELECT p AS a UNION SELECT 2; SELECT 'x', 'y' FROM seq_1_to_9; DO 1; END";
    database.outside(&format!("CREATE PROCEDURE several(p INT) {body}")).await;
    let mut session = plain(&database).await;
    for _ in 0..2 {
        let (count, seen) = sql(&mut *session, "CALL several(?)", &[Value::Integer(1)]).await.expect("called");
        assert_eq!((count, seen.0.len()), (2, 2), "the first of its results");
    }
    // Not in the protocol for prepared statements: these go as text.
    for (text, expected) in [
        ("PREPARE inner_one FROM 'SELECT 7, NULL, 0.5e0, ''t'''", None),
        ("EXECUTE inner_one", Some(["Integer(7)", "Null", "Real(0.5)", "t"])),
    ] {
        let (_, seen) = sql(&mut *session, text, &[]).await.expect(text);
        let rows: Vec<Vec<_>> = seen.0.iter().map(|(_, row)| row.values().map(String::as_str).collect()).collect();
        assert_eq!(rows, expected.map(Vec::from).into_iter().collect::<Vec<_>>());
        let error = sql(&mut *session, text, &[Value::Null]).await.expect_err("it takes none");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
    let error = sql(&mut *session, "SELECT 1; SELECT 2", &[]).await.expect_err("two statements");
    assert_eq!((error.kind(), session.is_broken()), (ErrorKind::Rejected, false));
}

#[tokio::test]
async fn a_connection_that_the_server_ends_says_so() {
    let Some(mut database) = Database::new().await else { return };
    let store = database.store().await;
    let (mut idle, mut busy) = (session(&*store, None).await, session(&*store, None).await);
    let number = async |session: &mut dyn Session| {
        let (_, seen) = sql(session, "SELECT CAST(CONNECTION_ID() AS CHAR)", &[]).await.expect("read");
        seen.0[0].1[&0].clone()
    };
    let (idle_number, busy_number) = (number(&mut *idle).await, number(&mut *busy).await);
    let statement = busy.sql().expect("sql").prepare("SELECT SLEEP(100)").await.expect("prepared");
    let sleep = Request::Statement { statement, parameters: &[] };
    let kill = async {
        let running = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(100)%'";
        while database.ask(running).await != ["1"] {}
        for number in [&idle_number, &busy_number] {
            database.outside(&format!("KILL {number}")).await;
        }
        let left =
            format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id IN ({idle_number}, {busy_number})");
        while database.ask(&left).await != ["0"] {}
    };
    let mut unseen = ();
    let (result, ()) = tokio::join!(execute(&mut *busy, &sleep, &mut unseen), kill);
    assert_eq!((result.expect_err("killed").kind(), busy.is_broken()), (ErrorKind::Unreachable, true));
    for _ in 0..2 {
        let begun = execute(&mut *idle, &Request::Begin, &mut ()).await.expect_err("killed");
        assert_eq!((begun.kind(), idle.is_broken(), begun.hint().is_some()), (ErrorKind::Unreachable, true, true));
    }
    assert_eq!(idle.sql().expect("sql").prepare("SELECT 1").await.expect_err("gone").kind(), ErrorKind::Unreachable);
}

#[tokio::test]
async fn a_prepare_that_is_given_up_ends_the_session() {
    let Some(database) = Database::new().await else { return };
    let mut session = plain(&database).await;
    {
        let mut given_up = session.sql().expect("sql").prepare("SELECT 1");
        let polled = std::future::poll_fn(|context| std::task::Poll::Ready(given_up.as_mut().poll(context).is_ready()));
        assert!(!polled.await, "a round trip takes longer than one poll");
    }
    let begun = execute(&mut *session, &Request::Begin, &mut ()).await.expect_err("out of step");
    assert_eq!((begun.kind(), session.is_broken()), (ErrorKind::Unreachable, true));
}
