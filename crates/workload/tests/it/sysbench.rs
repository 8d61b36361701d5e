//! sysbench's scripts against tables in memory.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use store::{Capabilities, Capability, Dataset, Error, ErrorKind, Outcome, Request, Result, Rows, Token, Value};
use workload::{Client, ClientSpec, Instance, Progress, Settings, Turn, WORKLOADS};

use crate::toy::{TOY, Toy};

static SQL: Toy = Toy {
    name: "sql",
    capabilities: Capabilities::of(&[Capability::Sql, Capability::Transactions]),
    operations: TOY.operations,
};

const ONE: ClientSpec = ClientSpec { index: 0, of: 1, depth: 1 };

fn try_configure(driver: &'static Toy, script: &str, settings: &[(&str, &str)]) -> Result<Arc<dyn Instance>> {
    let workload = WORKLOADS.iter().find(|workload| workload.name() == "sysbench").expect("it is registered");
    let mut typed = Settings::default();
    for (name, value) in settings {
        typed.set(*name, *value);
    }
    workload.configure(driver, Some(script), &typed, 1)
}

fn configure(script: &str, settings: &[(&str, &str)]) -> Arc<dyn Instance> {
    let mut all = vec![("table_size", "400"), ("tables", if script.starts_with("select") { "1" } else { "2" })];
    all.extend(settings);
    try_configure(&SQL, script, &all).expect("the settings are right")
}

#[derive(Debug, Clone, PartialEq, PartialOrd)]
enum Cell {
    Integer(i64),
    Text(String),
}

/// Rows that can be shown, and kept.
#[derive(Debug, Default)]
struct Kept(Vec<Vec<Cell>>);

impl Rows for Kept {
    fn row(&mut self, _key: Option<&str>) {
        self.0.push(Vec::new());
    }
    fn value(&mut self, _column: usize, value: Value<'_>) {
        let cell = match value {
            Value::Integer(number) => Cell::Integer(number),
            Value::Text(text) => Cell::Text(text.to_owned()),
            other => panic!("{other:?} is none of sysbench's values"),
        };
        self.0.last_mut().expect("values come after their row").push(cell);
    }
}

impl Kept {
    fn show(&self, token: Token, rows: &mut dyn Rows) {
        if !self.0.is_empty() {
            rows.begin(token);
        }
        for row in &self.0 {
            rows.row(None);
            for (column, cell) in row.iter().enumerate() {
                rows.value(
                    column,
                    match cell {
                        Cell::Integer(number) => Value::Integer(*number),
                        Cell::Text(text) => Value::Text(text),
                    },
                );
            }
        }
    }
}

/// Tables that do what sysbench asks of them.
struct Tables {
    statements: Arc<[String]>,
    /// By table: `k`, `c` and `pad` by id.
    tables: Vec<BTreeMap<i64, Vec<Cell>>>,
}

impl Tables {
    fn loaded(instance: &dyn Instance) -> Self {
        let Some(Dataset::Tables(set)) = instance.dataset() else { panic!("sysbench has tables") };
        let table = |place: usize| {
            let mut kept = Kept::default();
            for number in 0..set.tables[place].numbers {
                instance.source().rows(place, number, &mut kept);
            }
            let columns = set.tables[place].columns.len();
            let with_id = |mut row: Vec<Cell>| {
                assert_eq!(row.len(), columns);
                let Cell::Integer(id) = row.remove(0) else { panic!("an id is a number") };
                (id, row)
            };
            kept.0.into_iter().map(with_id).collect()
        };
        Self { statements: Arc::clone(&set.statements), tables: (0..set.tables.len()).map(table).collect() }
    }

    fn count(&self) -> usize {
        self.tables.iter().map(BTreeMap::len).sum()
    }

    /// Does a request: its name, its rows, and how many there were or were changed.
    fn answer(&mut self, request: &Request<'_>) -> (String, Kept, u64) {
        let (statement, arguments) = match request {
            Request::Planned { statement, arguments } => (*statement as usize, *arguments),
            other => return (format!("{other:?}").to_uppercase(), Kept::default(), 0),
        };
        let text = &self.statements[statement];
        assert_eq!(text.matches('?').count(), arguments.iter().len(), "{text}");
        let digits = text.split("sbtest").nth(1).expect("every statement names a table");
        let number: String = digits.chars().take_while(char::is_ascii_digit).collect();
        let table = &mut self.tables[number.parse::<usize>().expect("tables have numbers") - 1];
        let cell = |value: Value<'_>| match value {
            Value::Integer(number) => Cell::Integer(number),
            Value::Text(text) => Cell::Text(text.to_owned()),
            other => panic!("{other:?} is none of sysbench's parameters"),
        };
        let given: Vec<Cell> = arguments.iter().map(cell).collect();
        let number = |place: usize| match &given[place] {
            Cell::Integer(number) => *number,
            Cell::Text(text) => panic!("{text} is no number"),
        };
        let mut found = Vec::new();
        let mut changed = 0;
        let is_ordered = text.ends_with("ORDER BY c");
        if text.starts_with("SELECT c FROM") && given.len() == 1 {
            found.extend(table.get(&number(0)).map(|row| vec![row[1].clone()]));
        } else if text.starts_with("SELECT c FROM") || text.starts_with("SELECT DISTINCT") {
            found.extend(table.range(number(0)..=number(1)).map(|(_, row)| vec![row[1].clone()]));
            // Ranges have no order unless one is asked for.
            found.reverse();
        } else if text.starts_with("SELECT SUM") {
            let k = |row: &Vec<Cell>| if let Cell::Integer(k) = row[0] { k } else { 0 };
            let sum: i64 = table.range(number(0)..=number(1)).map(|(_, row)| k(row)).sum();
            // As stores show decimals.
            found.push(vec![Cell::Text(sum.to_string())]);
        } else if text.starts_with("SELECT id, k") {
            let rows = table.iter().filter(|(_, row)| given.contains(&row[0]));
            found.extend(rows.map(|(id, row)| [vec![Cell::Integer(*id)], row.clone()].concat()));
        } else if text.starts_with("SELECT count") {
            let is_in = |row: &Vec<Cell>| given.chunks(2).any(|pair| (&pair[0]..=&pair[1]).contains(&&row[0]));
            found.push(vec![Cell::Integer(table.values().map(|row| i64::from(is_in(row))).sum())]);
        } else if text.starts_with("UPDATE") {
            let row = table.get_mut(&number(given.len() - 1));
            changed = u64::from(row.is_some());
            match row {
                Some(row) if text.contains("k=k+1") => {
                    if let Cell::Integer(k) = &mut row[0] {
                        *k += 1;
                    }
                }
                Some(row) => row[1] = given[0].clone(),
                None => {}
            }
        } else if text.starts_with("DELETE") {
            changed = u64::from(table.remove(&number(0)).is_some());
        } else {
            let columns = text.split(')').next().map_or(0, |names| names.matches(',').count() + 1);
            for row in given.chunks(columns) {
                let Cell::Integer(id) = row[0] else { panic!("an id is a number") };
                assert!(table.insert(id, row[1..].to_vec()).is_none(), "id {id} is there already");
                changed += 1;
            }
        }
        if is_ordered {
            found.sort_by(|first, second| first.partial_cmp(second).expect("texts have an order"));
        }
        let count = changed.max(found.len() as u64);
        (text.split_whitespace().take(2).collect::<Vec<_>>().join(" "), Kept(found), count)
    }
}

/// Runs one operation: its requests, and how it ended. The hook may damage an answer, or refuse the request.
fn operate(
    client: &mut dyn Client,
    tables: &mut Tables,
    mut hook: impl FnMut(usize, &mut Kept) -> Option<Error>,
) -> (Vec<String>, Result<()>) {
    let mut names = Vec::new();
    let (mut name, mut kept, mut count) = tables.answer(&client.next(Turn { token: 0, operation: None }).request);
    loop {
        let refused = hook(names.len(), &mut kept);
        names.push(name);
        let result = if let Some(error) = refused {
            Err(error)
        } else {
            kept.show(0, client);
            Ok(Outcome { rows: count })
        };
        match client.complete(0, result) {
            Ok(Progress::Done) => return (names, Ok(())),
            Err(error) => return (names, Err(error)),
            Ok(Progress::More) => (name, kept, count) = tables.answer(&client.resume(0)),
        }
    }
}

/// The numbers of the scripts' statements in sysbench 1.0.20: selects, updates, deletes, inserts, begins and commits.
const STATEMENTS: [(&str, [usize; 5]); 11] = [
    ("oltp_read_only", [14, 0, 0, 0, 2]),
    ("oltp_point_select", [1, 0, 0, 0, 0]),
    ("oltp_read_write", [14, 2, 1, 1, 2]),
    ("oltp_write_only", [0, 2, 1, 1, 2]),
    ("oltp_insert", [0, 0, 0, 1, 0]),
    ("oltp_delete", [0, 0, 1, 0, 0]),
    ("oltp_update_index", [0, 1, 0, 0, 0]),
    ("oltp_update_non_index", [0, 1, 0, 0, 0]),
    ("select_random_points", [1, 0, 0, 0, 0]),
    ("select_random_ranges", [1, 0, 0, 0, 0]),
    ("bulk_insert", [0, 0, 0, 1, 0]),
];

fn kinds(names: &[String]) -> [usize; 5] {
    let count = |words: &[&str]| names.iter().filter(|name| words.iter().any(|word| name.starts_with(word))).count();
    [count(&["SELECT"]), count(&["UPDATE"]), count(&["DELETE"]), count(&["INSERT"]), count(&["BEGIN", "COMMIT"])]
}

#[test]
fn every_script_has_sysbenchs_statements_and_is_answered_right() {
    for (script, expected) in STATEMENTS {
        for distribution in ["special", "uniform", "gaussian", "pareto", "zipfian"] {
            let instance = configure(script, &[("distribution", distribution)]);
            let mut tables = Tables::loaded(instance.as_ref());
            let before = tables.count();
            let mut clients: Vec<_> =
                (0..3).map(|index| instance.client(ClientSpec { index, of: 3, depth: 1 })).collect();
            for _ in 0..30 {
                for client in &mut clients {
                    let (names, result) = operate(client.as_mut(), &mut tables, |_, _| None);
                    result.unwrap_or_else(|error| panic!("{script} {distribution}: {error}"));
                    assert_eq!(kinds(&names), expected, "{script}: {names:?}");
                }
            }
            match script {
                "oltp_insert" => assert_eq!(tables.count(), before + 90),
                "bulk_insert" => assert_eq!(tables.count(), 90_000),
                "oltp_delete" => assert!(tables.count() < before),
                _ => assert_eq!(tables.count(), before, "{script}"),
            }
        }
    }
}

#[test]
fn options_change_the_statements() {
    for (settings, expected) in [
        (&[("skip_trx", "true")][..], [14, 2, 1, 1, 0]),
        (&[("range_selects", "false"), ("point_selects", "3")], [3, 2, 1, 1, 2]),
        (&[("delete_inserts", "2"), ("index_updates", "0"), ("sum_ranges", "4")], [17, 1, 2, 2, 2]),
    ] {
        let instance = configure("oltp_read_write", settings);
        let mut tables = Tables::loaded(instance.as_ref());
        let (names, result) = operate(instance.client(ONE).as_mut(), &mut tables, |_, _| None);
        assert!(result.is_ok());
        assert_eq!(kinds(&names), expected, "{settings:?}: {names:?}");
    }
}

/// Damages an answer.
type Damage = fn(&mut Vec<Vec<Cell>>);

#[test]
fn what_was_not_written_is_a_wrong_result() {
    let flip: Damage = |rows| match rows.last_mut().and_then(|row| row.last_mut()) {
        Some(Cell::Text(text)) => text.replace_range(40..41, if &text[40..41] == "1" { "2" } else { "1" }),
        Some(Cell::Integer(number)) => *number += 1,
        None => {}
    };
    let drop_one: Damage = |rows| {
        rows.pop();
    };
    let twice: Damage = |rows| {
        rows.pop();
        rows.extend(rows.first().cloned());
    };
    let swap: Damage = |rows| {
        let last = rows.len() - 1;
        rows.swap(0, last);
    };
    let more: Damage = |rows| {
        if let Some(Cell::Text(text)) = rows[0].first_mut() {
            *text = (text.parse::<i64>().expect("a sum") + 1).to_string();
        }
    };
    // By place in the transaction: its begin, ten points, the range, the sum, the order, the distinct.
    for (script, place, damage, what) in [
        ("oltp_read_only", 1, flip, "damaged point"),
        ("oltp_read_only", 5, drop_one, "no point"),
        ("oltp_read_only", 11, flip, "damaged in a range"),
        ("oltp_read_only", 11, drop_one, "a row less in a range"),
        ("oltp_read_only", 11, twice, "a row twice for another"),
        ("oltp_read_only", 12, more, "sum"),
        ("oltp_read_only", 13, swap, "order"),
        ("oltp_read_only", 14, drop_one, "a row less"),
        ("oltp_read_write", 3, flip, "damaged point"),
        ("oltp_read_write", 11, twice, "a row twice for another"),
        ("oltp_point_select", 0, flip, "damaged point"),
        ("select_random_points", 0, flip, "pad"),
        ("select_random_points", 0, drop_one, "a row less"),
        ("select_random_ranges", 0, flip, "count"),
    ] {
        let instance = configure(script, &[("distribution", "pareto"), ("range_size", "20")]);
        let mut tables = Tables::loaded(instance.as_ref());
        let mut client = instance.client(ONE);
        let (names, result) = operate(client.as_mut(), &mut tables, |at, kept| {
            if at == place {
                damage(&mut kept.0);
            }
            None
        });
        let error = result.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::WrongResult, "{script} {what}: {error}");
        assert_eq!(names.last().is_some_and(|name| name == "ROLLBACK"), script.starts_with("oltp_read"), "{names:?}");
        assert!(operate(client.as_mut(), &mut tables, |_, _| None).1.is_ok(), "the next one is right");
    }
}

#[test]
fn a_conflict_starts_the_transaction_anew() {
    let conflict = || Error::new(ErrorKind::Conflict, "another was in the way");
    for (script, places, expected) in [
        // At a statement, at the begin, at the commit, and one after the other.
        ("oltp_write_only", &[3][..], 11),
        ("oltp_write_only", &[0], 8),
        ("oltp_write_only", &[5], 13),
        ("oltp_write_only", &[1, 5], 13),
        ("oltp_update_index", &[0, 1, 2], 4),
    ] {
        let instance = configure(script, &[]);
        let mut tables = Tables::loaded(instance.as_ref());
        let (names, result) =
            operate(instance.client(ONE).as_mut(), &mut tables, |at, _| (places.contains(&at)).then(conflict));
        assert!(result.is_ok(), "{script} {places:?}: {result:?}");
        assert_eq!(names.len(), expected, "{script} {places:?}: {names:?}");
    }
    // One that is always in the way is an error in the end.
    let instance = configure("oltp_update_index", &[]);
    let mut tables = Tables::loaded(instance.as_ref());
    let (names, result) = operate(instance.client(ONE).as_mut(), &mut tables, |_, _| Some(conflict()));
    assert_eq!(result.expect_err("too many").kind(), ErrorKind::Conflict);
    assert_eq!(names.len(), 101);
}

#[test]
fn an_error_leaves_no_transaction_open() {
    for (kind, ends) in [(ErrorKind::Rejected, 3), (ErrorKind::Timeout, 2), (ErrorKind::Unreachable, 2)] {
        let instance = configure("oltp_write_only", &[]);
        let mut tables = Tables::loaded(instance.as_ref());
        let mut client = instance.client(ONE);
        let (names, result) =
            operate(client.as_mut(), &mut tables, |at, _| (at == 1).then(|| Error::new(kind, "on demand")));
        assert_eq!(result.expect_err("it failed").kind(), kind);
        assert_eq!(names.len(), ends, "{names:?}");
        let (names, result) = operate(client.as_mut(), &mut tables, |_, _| None);
        assert!(result.is_ok());
        // After a time-out nobody knows whether the session is still in the transaction.
        let first = if kind == ErrorKind::Timeout { "ROLLBACK" } else { "BEGIN" };
        assert_eq!(names[0], first, "{kind}");
    }
}

#[test]
fn the_same_seed_gives_the_same_requests() {
    let requests = |index| {
        let instance = configure("oltp_read_write", &[]);
        let mut tables = Tables::loaded(instance.as_ref());
        let mut client = instance.client(ClientSpec { index, of: 2, depth: 1 });
        let mut text = String::new();
        for _ in 0..50 {
            let mut request = client.next(Turn { token: 0, operation: None }).request;
            loop {
                write!(text, "{request:?}").expect("memory takes text");
                let (_, kept, rows) = tables.answer(&request);
                kept.show(0, client.as_mut());
                if client.complete(0, Ok(Outcome { rows })).expect("right") == Progress::Done {
                    break;
                }
                request = client.resume(0);
            }
        }
        text
    };
    assert!(requests(0) == requests(0));
    assert!(requests(0) != requests(1));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    for (script, settings, kind, hint) in [
        ("oltp_readonly", &[][..], ErrorKind::Config, "oltp_read_only"),
        ("oltp_read_only", &[("table", "2")], ErrorKind::Config, "tables"),
        ("oltp_read_only", &[("distribution", "zipf")], ErrorKind::Config, "zipfian"),
        (
            "oltp_write_only",
            &[("index_updates", "0"), ("non_index_updates", "0"), ("delete_inserts", "0")],
            ErrorKind::Config,
            "leave one",
        ),
        ("select_random_points", &[("tables", "2")], ErrorKind::Config, "more"),
    ] {
        let error = try_configure(&SQL, script, settings).err().expect("it cannot work");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.hint().is_some_and(|text| text.contains(hint)), "{error} {:?}", error.hint());
    }
    let error = try_configure(&TOY, "oltp_read_only", &[]).err().expect("the store has no SQL");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn data_that_were_written_to_are_no_longer_as_loaded() {
    let fingerprint = |script| configure(script, &[]).dataset().expect("it has data").fingerprint();
    assert_eq!(fingerprint("oltp_read_only"), fingerprint("oltp_point_select"));
    assert_eq!(fingerprint("oltp_read_write"), fingerprint("oltp_update_index"));
    assert_ne!(fingerprint("oltp_read_only"), fingerprint("oltp_read_write"));
    assert_ne!(fingerprint("oltp_read_write"), fingerprint("oltp_delete"));
    assert_eq!(configure("oltp_read_only", &[]).depth_max(), 1);
    assert!(configure("oltp_point_select", &[]).depth_max() > 1);
}
