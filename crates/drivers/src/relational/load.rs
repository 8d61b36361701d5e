//! Making, filling and finishing the tables of a dataset.

use std::fmt::Write;
use std::ops::Range;
#[cfg(feature = "postgres")]
use std::time::Duration;

use store::{Dataset, LoadPart, LoadState, Record, RecordSource, RecordTable, Result, TableSet, Value};
#[cfg(feature = "postgres")]
use store::{Error, ErrorKind};

use super::manifest::{KIND_INDEX, KIND_TABLE, Object, Script};
use super::tables::{self, TableRows};
use super::{Choices, Dialect, Link, RowBuffer, in_namespace, manifest, records};
use crate::contents::{ColumnKind, Contents, Table};

/// Rows of a batch at most: more bring nothing, and a statement's parameters are limited.
const BATCH_ROWS_MAX: u64 = 1_000;
/// Bytes of a batch, about: below every product's smallest packet limit (`MariaDB`: 16 MB) and good for caches.
const BATCH_BYTES: u64 = 1 << 20;
/// Values of a batch at most: `MySQL` and `PostgreSQL` count a statement's parameters in 16 bits.
const BATCH_VALUES_MAX: u64 = 60_000;

/// How long what was loaded may take to be seen by reads of the past, and how often that is looked at.
#[cfg(feature = "postgres")]
const READS_TIMEOUT: Duration = Duration::from_mins(3);
#[cfg(feature = "postgres")]
const READS_PAUSE: Duration = Duration::from_millis(50);

/// Secondary indexes that are written alike everywhere: name, table and column.
const INDEXES: [(&str, &str, &str); 3] = [
    ("customers_region", "customers", "region"),
    ("items_code", "items", "code"),
    ("orders_customer", "orders", "customer"),
];

/// The operations' tables.
fn tables_of(dialect: &Dialect) -> impl Iterator<Item = Table> {
    let has_articles = !dialect.articles.is_empty();
    Table::ALL.into_iter().filter(move |table| has_articles || *table != Table::Articles)
}

/// The objects that a dataset needs, tables first.
fn objects(dialect: &Dialect, dataset: &Dataset) -> Vec<Object> {
    let namespace = dataset.namespace();
    match dataset {
        Dataset::Records(table) => vec![Object { kind: KIND_TABLE, name: namespace.object(table.table) }],
        Dataset::Operations(_) => {
            let tables = tables_of(dialect).map(|table| (KIND_TABLE, table.name()));
            let plain = INDEXES.iter().map(|(name, ..)| (KIND_INDEX, *name));
            let others = dialect.indexes.iter().map(|(name, _)| (KIND_INDEX, *name));
            let all = tables.chain(plain).chain(others);
            all.map(|(kind, name)| Object { kind, name: namespace.object(name) }).collect()
        }
        Dataset::Tables(set) => tables::objects(set),
    }
}

/// What there is of the dataset.
pub(crate) async fn state<L: Link>(link: &mut L, dialect: &'static Dialect, dataset: &Dataset) -> Result<LoadState> {
    manifest::state(link, dialect, dataset, &objects(dialect, dataset)).await
}

/// The same of one that a target's URL wants otherwise: a record table that was made otherwise is not what it takes.
#[cfg(feature = "postgres")]
pub(crate) async fn state_as<L: Link>(
    link: &mut L,
    dialect: &'static Dialect,
    choices: &Choices,
    dataset: &Dataset,
) -> Result<LoadState> {
    let found = state(link, dialect, dataset).await?;
    let (LoadState::Loaded(_), Dataset::Records(table)) = (&found, dataset) else { return Ok(found) };
    let name = table.namespace.object(table.table);
    let mut script = Script::new(link, dialect);
    let rows = script.run(dialect.columns_of, &[&name]).await?;
    let names = (0..rows.len()).filter_map(|row| rows.text(row, 0));
    let added = names.filter(|name| *name != records::KEY && !name.starts_with("field"));
    let is_as_wanted = added.eq(choices.record_column.as_deref());
    Ok(if is_as_wanted { found } else { LoadState::Partial })
}

/// Makes the dataset's empty tables, replacing earlier ones of ours.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(crate) async fn create<L: Link>(link: &mut L, dialect: &'static Dialect, dataset: &Dataset) -> Result<()> {
    create_as(link, dialect, &Choices::default(), dataset).await
}

/// The same as a target's URL wants it.
pub(crate) async fn create_as<L: Link>(
    link: &mut L,
    dialect: &'static Dialect,
    choices: &Choices,
    dataset: &Dataset,
) -> Result<()> {
    let mut script = Script::new(link, dialect);
    let objects = objects(dialect, dataset);
    script.lock().await?;
    let mut result = script.claim(dataset, &objects).await;
    if !dialect.is_current.is_empty() {
        // Nothing is made before it is certain that the claim was not dropped with the manifest, which a transaction that
        // began after it sees.
        script.unlock(result).await?;
        script.lock().await?;
        result = script.check_claimed(dataset, &objects).await;
    }
    let result = async {
        result?;
        for text in create_tables(dialect, choices, dataset) {
            script.run(&text, &[]).await?;
        }
        Ok(())
    }
    .await;
    script.unlock(result).await
}

/// Waits until statements that read as a target's URL wants it see what was loaded.
#[cfg(feature = "postgres")]
pub(crate) async fn await_reads<L: Link>(
    link: &mut L,
    dialect: &'static Dialect,
    choices: &Choices,
    dataset: &Dataset,
) -> Result<()> {
    let Some(reads) = &choices.reads else { return Ok(()) };
    let mut script = Script::new(link, dialect);
    let wait = async {
        loop {
            match script.is_seen(dataset.namespace(), reads).await {
                Ok(true) => return Ok(()),
                // At that time there was no manifest yet, or no database.
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::Rejected => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(READS_PAUSE).await;
        }
    };
    tokio::time::timeout(READS_TIMEOUT, wait).await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Timeout, format!("what was loaded is not seen {reads} within {READS_TIMEOUT:?}")))
    })
}

/// Builds indexes, refreshes statistics, marks the load as complete.
pub(crate) async fn finish<L: Link>(link: &mut L, dialect: &'static Dialect, dataset: &Dataset) -> Result<()> {
    let mut script = Script::new(link, dialect);
    let namespace = dataset.namespace();
    for text in create_indexes(dialect, dataset) {
        script.run_again(&text, &[]).await?;
    }
    let has_statistics = !dialect.analyze.is_empty();
    for object in objects(dialect, dataset).iter().filter(|object| has_statistics && object.kind == KIND_TABLE) {
        script.run_again(&dialect.analyze.replace("{table}", &object.name), &[]).await?;
    }
    script.mark_loaded(namespace).await
}

fn create_indexes(dialect: &Dialect, dataset: &Dataset) -> Vec<String> {
    match dataset {
        Dataset::Records(_) => Vec::new(),
        Dataset::Operations(rows) => {
            let plain = INDEXES.iter().map(|(name, table, column)| {
                in_namespace(&format!("CREATE INDEX {{ns}}_{name} ON {{ns}}_{table} ({column})"), &rows.namespace)
            });
            plain.chain(dialect.indexes.iter().map(|(_, text)| in_namespace(text, &rows.namespace))).collect()
        }
        Dataset::Tables(set) => tables::create_indexes(set),
    }
}

fn create_tables(dialect: &Dialect, choices: &Choices, dataset: &Dataset) -> Vec<String> {
    match dataset {
        Dataset::Records(table) => vec![create_records(dialect, choices, table)],
        Dataset::Operations(rows) => {
            tables_of(dialect).map(|table| in_namespace(&create_table(dialect, table), &rows.namespace)).collect()
        }
        Dataset::Tables(set) => tables::create(dialect, set),
    }
}

fn create_records(dialect: &Dialect, choices: &Choices, table: &RecordTable) -> String {
    let key = dialect.record_key.replace("{key_length}", &table.key_length_max.to_string());
    let field = dialect.record_field.replace("{field_length}", &table.field_length.to_string());
    let fields = (0..table.field_count).fold(String::new(), |mut text, number| {
        write!(text, ", field{number} {field} NOT NULL").expect("a String takes everything");
        text
    });
    let name = table.namespace.object(table.table);
    let (column, suffix, choice) = (records::KEY, dialect.table_suffix, &choices.record_key);
    format!("CREATE TABLE {name} ({column} {key} NOT NULL PRIMARY KEY{choice}{fields}){suffix}")
}

fn create_table(dialect: &Dialect, table: Table) -> String {
    let columns = match table {
        Table::Articles => return dialect.articles.to_owned(),
        Table::Documents => dialect.documents_columns.to_owned(),
        _ => {
            let column = |(position, (name, kind)): (usize, &(&str, ColumnKind))| match (position, kind) {
                (0, _) => format!("{name} {} NOT NULL PRIMARY KEY", dialect.integer_key),
                (_, ColumnKind::Integer) => format!(", {name} {} NOT NULL", dialect.integer),
                (_, _) => format!(", {name} {} NOT NULL", dialect.text),
            };
            table.columns().iter().enumerate().map(column).collect()
        }
    };
    format!("CREATE TABLE {{ns}}_{} ({columns}){}", table.name(), dialect.table_suffix)
}

/// Rows for one table, to be written in one go.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    /// The table's full name.
    pub(crate) table: String,
    /// Names and kinds of the columns, in the order of the rows' values.
    pub(crate) columns: &'a [(String, ColumnKind)],
    /// How many of the dataset's rows are complete with this batch: what the progress grows by.
    pub(crate) completed: u64,
}

impl Batch<'_> {
    /// `INSERT INTO table (columns) VALUES (?, …), …` with so many rows, parameters as `?`.
    #[cfg_attr(not(any(feature = "mysql", feature = "sqlite")), expect(dead_code, reason = "PostgreSQL does without"))]
    pub(crate) fn insert(&self, rows: usize) -> String {
        let names: Vec<_> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        let row = format!("(?{})", ", ?".repeat(names.len() - 1));
        format!("INSERT INTO {} ({}) VALUES {}", self.table, names.join(", "), vec![row; rows].join(", "))
    }
}

/// All rows of one part of a dataset, in batches.
pub(crate) struct Batches<'a> {
    dialect: &'static Dialect,
    source: Source<'a>,
    columns: Vec<Vec<(String, ColumnKind)>>,
    /// Row numbers that are left, the running chunk included.
    left: Range<u64>,
    /// Row numbers of a chunk: each goes into every table before the next begins.
    chunk: u64,
    table: usize,
}

enum Source<'a> {
    Records { table: &'a RecordTable, source: &'a dyn RecordSource, record: Record },
    Operations(Contents),
    Tables { set: &'a TableSet, rows: TableRows<'a> },
}

impl<'a> Batches<'a> {
    /// The batches of a part.
    pub(crate) fn new(
        dialect: &'static Dialect,
        dataset: &'a Dataset,
        part: LoadPart,
        source: &'a dyn RecordSource,
    ) -> Self {
        let (source, columns, row_bytes) = match dataset {
            Dataset::Records(table) => {
                let key = (records::KEY.to_owned(), ColumnKind::Text);
                let fields = (0..table.field_count).map(|number| (format!("field{number}"), ColumnKind::Text));
                let columns = vec![std::iter::once(key).chain(fields).collect()];
                let row_bytes = table.key_length_max + usize::from(table.field_count) * table.field_length;
                (Source::Records { table, source, record: Record::default() }, columns, row_bytes)
            }
            Dataset::Operations(rows) => {
                let columns = tables_of(dialect).map(|table| columns_of(dialect, table)).collect();
                (Source::Operations(Contents::new(rows)), columns, rows.size.payload_bytes())
            }
            Dataset::Tables(set) => {
                let rows = TableRows::new(set, source, part);
                (Source::Tables { set, rows }, TableRows::columns(set), TableRows::number_bytes(set))
            }
        };
        let columns_max = columns.iter().map(Vec::len).max().unwrap_or(1) as u64;
        let chunk = (BATCH_BYTES / (row_bytes as u64).max(1)).min(BATCH_ROWS_MAX).min(BATCH_VALUES_MAX / columns_max);
        Self { dialect, source, columns, left: dataset.part(part.index, part.of), chunk: chunk.max(1), table: 0 }
    }

    /// Fills the buffer, which is cleared before, with the next batch; None where all are done.
    pub(crate) fn next(&mut self, rows: &mut RowBuffer) -> Option<Batch<'_>> {
        rows.clear();
        if let Source::Tables { set, rows: tables } = &mut self.source {
            let (table, completed) = tables.next(self.chunk, rows)?;
            let name = set.namespace.object(&set.tables[table].name);
            return Some(Batch { table: name, columns: &self.columns[table], completed });
        }
        if self.left.is_empty() {
            return None;
        }
        let end = (self.left.start + self.chunk).min(self.left.end);
        let columns = &self.columns[self.table];
        let name = match &mut self.source {
            Source::Records { table, source, record } => {
                for number in self.left.start..end {
                    source.fill(number, record);
                    push_record(table, record, rows);
                }
                table.namespace.object(table.table)
            }
            Source::Operations(contents) => {
                let table = tables_of(self.dialect).nth(self.table)?;
                for number in self.left.start..end {
                    contents.fill(table, number, rows);
                }
                contents.namespace.object(table.name())
            }
            Source::Tables { .. } => return None,
        };
        let mut completed = 0;
        self.table += 1;
        if self.table == self.columns.len() {
            self.table = 0;
            completed = end - self.left.start;
            self.left.start = end;
        }
        Some(Batch { table: name, columns, completed })
    }
}

fn columns_of(dialect: &Dialect, table: Table) -> Vec<(String, ColumnKind)> {
    let mut columns: Vec<_> = table.columns().iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
    if table == Table::Articles {
        dialect.articles_key.clone_into(&mut columns[0].0);
    }
    columns
}

fn push_record(table: &RecordTable, record: &Record, rows: &mut RowBuffer) {
    rows.begin_row();
    rows.push(Value::Text(&record.key));
    for (_, value) in record.values(table.field_length).iter() {
        rows.push(Value::Text(std::str::from_utf8(value).expect("values of records are printable ASCII")));
    }
}
