//! Everything about SQL stores that does not depend on the product.
//!
//! A driver gives three things: a [`Dialect`] (what its product writes differently), [`Statements`] (how one
//! connection runs prepared statements) and [`Link`] (how one runs single statements, for the work around a run).
//! From these it gets the key-value verbs ([`records`]), the operations ([`operations`]) with the data that they
//! verify ([`contents`]), the manifest of what is ours ([`manifest`]) with what keeps others out while it changes
//! ([`lock`]), and loading ([`load`]).

pub(crate) mod load;
mod lock;
pub(crate) mod manifest;
pub(crate) mod operations;
mod records;
mod tables;

use std::rc::Rc;
use std::sync::Arc;

use store::{Dataset, Error, Operation, Outcome, Request, Result, StatementId, Value};

pub(crate) use lock::OutlivingLocks;
pub(crate) use operations::OPERATIONS;

#[cfg(feature = "cockroachdb")]
pub(crate) use self::records::KEY as RECORD_KEY;
use crate::contents;
use crate::lane::LaneClient;
pub(crate) use crate::lane::Placeholder;
pub(crate) use crate::rows::{Parameters, RowBuffer, Shape};

/// What one product writes differently from another. In every template parameters are `?`, in order, each used once,
/// and `{ns}` is the namespace: `{ns}_documents` becomes `storelab_x_documents`.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// What it can do, of [`OPERATIONS`].
    pub(crate) operations: &'static [Operation],
    /// How parameters are written. [`Plan::text`] and [`Link::run`] get them as written here.
    pub(crate) placeholder: Placeholder,
    /// Keeps other processes from changing the manifest until `unlock`: an advisory lock of the session, or a
    /// transaction. Returns no row, or one whose first column is 1 where the lock was got.
    pub(crate) lock: &'static str,
    /// How to tell which locks are still held by sessions that are gone, where a product keeps them.
    pub(crate) outliving_locks: Option<&'static OutlivingLocks>,
    /// Of a row of `{table}`: whether that is the table that there is now. For products that drop a table while others write
    /// to it, so that whoever wrote has to look; empty where dropping waits for them.
    pub(crate) is_current: &'static str,
    /// Ends `lock`.
    pub(crate) unlock: &'static str,
    /// One parameter, a name; one row where the current schema has a table, view or index of that name.
    pub(crate) object_exists: &'static str,
    /// One parameter, a table's name; the names of its columns as text.
    pub(crate) columns_of: &'static str,
    /// The type of 64-bit whole numbers.
    pub(crate) integer: &'static str,
    /// The type of a whole number that is the primary key, without `PRIMARY KEY`.
    pub(crate) integer_key: &'static str,
    /// The type of texts up to 10 kB.
    pub(crate) text: &'static str,
    /// The type and collation of a record's key, with `{key_length}`; ordered by bytes.
    pub(crate) record_key: &'static str,
    /// The type of a record's field; `{field_length}` is its length in bytes.
    pub(crate) record_field: &'static str,
    /// What follows the column list of every table: engine, character set.
    pub(crate) table_suffix: &'static str,
    /// The column list of `{ns}_documents`, without parentheses: `id`, `document`, and what its index needs.
    pub(crate) documents_columns: &'static str,
    /// Makes `{ns}_articles` with a key, `title` and `body`, and what its index needs; empty where the product has no
    /// full-text search.
    pub(crate) articles: &'static str,
    /// How the articles' key column is called.
    pub(crate) articles_key: &'static str,
    /// Indexes beyond the plain ones, made after the load: the name behind `{ns}_`, and the statement.
    pub(crate) indexes: &'static [(&'static str, &'static str)],
    /// What `CAST(… AS …)` needs to give a 64-bit whole number.
    pub(crate) cast_integer: &'static str,
    /// Parameters: a whole number (`group`) and a text (a tag). `id` and the text at `owner.name` of the documents
    /// with that group that have the tag among `tags`, by `id`, through an index on the group.
    pub(crate) json_query: &'static str,
    /// Key and title of the articles with a word, best first, then by key, at most 20.
    pub(crate) fulltext_query: &'static str,
    /// How often `fulltext_query` has the word as a parameter: once or twice.
    pub(crate) fulltext_parameters: usize,
    /// Refreshes the statistics of `{table}`; empty where that would leave something behind.
    pub(crate) analyze: &'static str,
}

/// What a target's URL can want otherwise than the dialect has it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Choices {
    /// Follows the tables of statements that only read: `AS OF SYSTEM TIME '-5s'`. Not in a workload's own statements,
    /// which may be parts of transactions.
    pub(crate) reads: Option<String>,
    /// Follows `PRIMARY KEY` in a record table.
    pub(crate) record_key: String,
    /// The column that the product adds to a record table for that.
    #[cfg(feature = "postgres")]
    pub(crate) record_column: Option<String>,
    /// What adds a record in place of `INSERT`.
    pub(crate) insert: Option<&'static str>,
    /// How often the operation `transaction` is begun anew where another session was in its way.
    pub(crate) retries: u32,
}

/// What a session's prepared statements are: the planned ones of its dataset, then those of the SQL face.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The dialect.
    pub(crate) dialect: &'static Dialect,
    /// What the session is about.
    pub(crate) work: Work,
    choices: Choices,
}

/// What a session is about.
#[derive(Debug)]
pub(crate) enum Work {
    /// Statements of the SQL face only.
    Sql,
    /// The key-value verbs.
    Records(store::RecordTable),
    /// The operations.
    Operations(contents::Contents),
    /// A workload's own statements.
    Tables(Arc<[String]>),
}

impl Work {
    /// The number of a workload's own statement.
    fn planned(&self, statement: u32) -> Result<usize> {
        match self {
            Self::Tables(statements) if (statement as usize) < statements.len() => Ok(statement as usize),
            Self::Tables(_) => Err(Error::bug(format!("the workload has no statement {statement}"))),
            _ => Err(Error::bug("a planned statement on a session without its tables")),
        }
    }
}

impl Plan {
    /// The plan of a session for that dataset.
    pub(crate) fn new(dialect: &'static Dialect, dataset: Option<&Dataset>) -> Self {
        let work = match dataset {
            None => Work::Sql,
            Some(Dataset::Records(table)) => Work::Records(table.clone()),
            Some(Dataset::Operations(rows)) => Work::Operations(contents::Contents::new(rows)),
            Some(Dataset::Tables(set)) => Work::Tables(Arc::clone(&set.statements)),
        };
        Self { dialect, work, choices: Choices::default() }
    }

    /// The same as a target's URL wants it.
    ///
    /// # Errors
    /// `Config` where that cannot be had for this dataset.
    #[cfg(feature = "postgres")]
    pub(crate) fn with(self, choices: &Choices) -> Result<Self> {
        if choices.reads.is_some() && matches!(self.work, Work::Tables(_)) {
            return Err(Error::config("a workload's own statements cannot be read as of another time")
                .with_hint("leave `as_of` out of the target's URL, or use key-value reads or the store's operations"));
        }
        Ok(Self { choices: choices.clone(), ..self })
    }

    /// How many planned statements there are; a statement of the SQL face has the number `planned() + its id`.
    pub(crate) fn planned(&self) -> usize {
        match &self.work {
            Work::Sql => 0,
            Work::Records(table) => records::count(table),
            Work::Operations(_) => operations::COUNT,
            Work::Tables(statements) => statements.len(),
        }
    }

    /// A planned statement's text, in the dialect's writing. Made anew each time: prepare it once.
    pub(crate) fn text(&self, statement: usize) -> String {
        let (mut text, only_reads) = match &self.work {
            Work::Sql => (String::new(), false),
            Work::Records(table) => (records::text(table, statement), records::only_reads(table, statement)),
            Work::Operations(contents) => {
                (operations::text(self.dialect, contents, statement), operations::only_reads(statement))
            }
            Work::Tables(statements) => (statements[statement].clone(), false),
        };
        if let Some(reads) = self.choices.reads.as_ref().filter(|_| only_reads) {
            text = text.replacen(" WHERE ", &format!(" {reads} WHERE "), 1);
        }
        if let (Some(insert), Work::Records(_), Some(rest)) =
            (self.choices.insert, &self.work, text.strip_prefix("INSERT"))
        {
            text = format!("{insert}{rest}");
        }
        self.dialect.placeholder.translate(&text)
    }

    /// The statement that a request is, and how its rows are shown, for a driver that encodes by itself; appends the
    /// parameters. Not for operations, which may be several statements.
    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(crate) fn statement<'a>(
        &self,
        request: &Request<'a>,
        parameters: &mut Parameters<'a>,
    ) -> Result<(usize, Shape)> {
        match (request, &self.work) {
            (Request::Statement { statement, parameters: given }, _) => {
                for value in *given {
                    parameters.push(*value);
                }
                Ok((self.planned() + statement.0 as usize, Shape::default()))
            }
            (Request::Planned { statement, arguments }, work) => {
                for value in arguments.iter() {
                    parameters.push(value);
                }
                Ok((work.planned(*statement)?, Shape::default()))
            }
            (_, Work::Records(table)) => records::statement(table, request, parameters),
            (_, _) => Err(Error::bug("a key-value verb on a session without records")),
        }
    }
}

/// One connection that runs prepared statements by their number in its [`Plan`].
pub(crate) trait Statements {
    /// Runs a statement, which is prepared when it is first used. Appends the rows that it returns (the buffer is
    /// empty before) and gives their number, or the number of rows that it changed (found, where those differ).
    async fn query(&mut self, statement: usize, parameters: &[Value<'_>], rows: &mut RowBuffer) -> Result<u64>;

    /// Prepares a statement of the SQL face, numbered from 0 in the order of the calls.
    async fn prepare(&mut self, text: &str) -> Result<StatementId>;

    /// Begins a transaction.
    async fn begin(&mut self) -> Result<()>;

    /// Commits it.
    async fn commit(&mut self) -> Result<()>;

    /// Rolls it back.
    async fn rollback(&mut self) -> Result<()>;

    /// Whether the connection is gone.
    fn is_broken(&self) -> bool;
}

/// One connection that runs single statements, for the work around a run.
pub(crate) trait Link {
    /// Runs one statement, as [`Statements::query`] does. Without parameters it may go unprepared.
    async fn run(&mut self, text: &str, parameters: &[Value<'_>], rows: &mut RowBuffer) -> Result<u64>;
}

/// Does a session's requests on one connection: what a lane runs.
#[derive(Debug)]
pub(crate) struct Worker<S> {
    plan: Rc<Plan>,
    statements: S,
    scratch: operations::Scratch,
}

impl<S: Statements> Worker<S> {
    /// A worker on a connection.
    pub(crate) fn new(plan: Rc<Plan>, statements: S) -> Self {
        let scratch = operations::Scratch::new(plan.dialect, plan.choices.retries);
        Self { plan, statements, scratch }
    }
}

impl<S: Statements> LaneClient for Worker<S> {
    async fn run(&mut self, request: &Request<'_>, rows: &mut RowBuffer) -> Result<Outcome> {
        let changed = match (request, &self.plan.work) {
            (Request::Begin, _) => self.statements.begin().await.map(|()| 0),
            (Request::Commit, _) => self.statements.commit().await.map(|()| 0),
            (Request::Rollback, _) => self.statements.rollback().await.map(|()| 0),
            (Request::Statement { statement, parameters }, _) => {
                let number = self.plan.planned() + statement.0 as usize;
                self.statements.query(number, parameters, rows).await
            }
            (Request::Operation { operation, row }, Work::Operations(contents)) => {
                let scratch = &mut self.scratch;
                let result = operations::run(contents, &mut self.statements, *operation, *row, rows, scratch).await;
                // They were verified here; nobody else needs them.
                rows.clear();
                result
            }
            (Request::Operation { .. }, _) => Err(Error::bug("an operation on a session without its dataset")),
            (Request::Planned { statement, arguments }, work) => {
                let number = work.planned(*statement)?;
                let mut parameters = Parameters::new();
                for value in arguments.iter() {
                    parameters.push(value);
                }
                self.statements.query(number, parameters.as_slice(), rows).await
            }
            (_, Work::Records(table)) => records::run(table, &mut self.statements, request, rows).await,
            (_, _) => Err(Error::bug("a key-value verb on a session without records")),
        };
        changed.map(|rows| Outcome { rows })
    }

    async fn prepare(&mut self, text: &str) -> Result<StatementId> {
        self.statements.prepare(text).await
    }

    fn is_broken(&self) -> bool {
        self.statements.is_broken()
    }
}

/// Writes a namespace into a template.
fn in_namespace(template: &str, namespace: &store::Namespace) -> String {
    template.replace("{ns}", namespace.as_str())
}
