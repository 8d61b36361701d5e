//! The operations of SQL stores, each of which verifies what it read against [`Contents`].

use store::{Effect, Error, ErrorKind, Operation, Result, Value};

use super::{Dialect, RowBuffer, Statements, in_namespace};
use crate::contents::{AMOUNT_MAX, BALANCE, Contents};

/// The operations of every SQL store. A product that lacks one says so in
/// [`ServerInfo::operations_missing`](store::ServerInfo::operations_missing).
pub(crate) static OPERATIONS: &[Operation] = &[
    Operation::new("insert", Effect::Adds, "adds one row with a secondary index; exactly one must be added"),
    Operation::new("select", Effect::Reads, "reads one row by its primary key; every column is verified"),
    Operation::new("update", Effect::Changes, "changes one row by its primary key; exactly one must be changed"),
    Operation::new("delete", Effect::Removes, "removes one row by its primary key; exactly one must be removed"),
    Operation::new("join", Effect::Reads, "joins two indexed tables by a selective predicate; rows and order verified"),
    Operation::new(
        "window",
        Effect::Reads,
        "row number, LAG, LEAD and a running sum over partitions; verified against the computed answer",
    ),
    Operation::new(
        "json",
        Effect::Reads,
        "finds JSON documents by an indexed value and containment and reads a path; verified",
    ),
    Operation::new("fulltext", Effect::Reads, "ranked search of a word in a full-text index; rows and order verified"),
    Operation::new(
        "transaction",
        Effect::Changes,
        "moves an amount between two accounts; both must change and their sum must stay",
    ),
];

/// How many statements there are.
pub(super) const COUNT: usize = 11;

const INSERT: usize = 0;
const SELECT: usize = 1;
const UPDATE: usize = 2;
const DELETE: usize = 3;
const JOIN: usize = 4;
const WINDOW: usize = 5;
const JSON: usize = 6;
const FULLTEXT: usize = 7;
const WITHDRAW: usize = 8;
const DEPOSIT: usize = 9;
const BALANCES: usize = 10;

/// Buffers that the operations reuse.
#[derive(Debug)]
pub(crate) struct Scratch {
    text: String,
    /// How often the dialect's full-text query has its word as a parameter: once or twice.
    fulltext_parameters: usize,
    operations: &'static [Operation],
    /// How often a transaction is begun anew.
    retries: u32,
}

impl Scratch {
    /// Empty buffers for statements of that dialect, and for transactions that are begun anew so often.
    pub(super) fn new(dialect: &Dialect, retries: u32) -> Self {
        let fulltext_parameters = dialect.fulltext_parameters.clamp(1, 2);
        Self { text: String::new(), fulltext_parameters, operations: dialect.operations, retries }
    }
}

/// A statement's text.
pub(super) fn text(dialect: &Dialect, contents: &Contents, statement: usize) -> String {
    let integer = dialect.cast_integer;
    let template = match statement {
        INSERT => "INSERT INTO {ns}_items (id, code, quantity, payload) VALUES (?, ?, ?, ?)".to_owned(),
        SELECT => "SELECT code, payload FROM {ns}_items WHERE id = ?".to_owned(),
        UPDATE => "UPDATE {ns}_items SET quantity = quantity + 1 WHERE id = ?".to_owned(),
        DELETE => "DELETE FROM {ns}_items WHERE id = ?".to_owned(),
        JOIN => "SELECT c.id, c.name, o.id, o.amount FROM {ns}_customers c \
            JOIN {ns}_orders o ON o.customer = c.id WHERE c.region = ? AND o.amount >= ? ORDER BY c.id, o.id"
            .to_owned(),
        WINDOW => format!(
            "SELECT customer, id, CAST(ROW_NUMBER() OVER w AS {integer}), LAG(amount) OVER w, LEAD(amount) OVER w, \
             CAST(SUM(amount) OVER w AS {integer}) FROM {{ns}}_orders WHERE customer >= ? AND customer <= ? \
             WINDOW w AS (PARTITION BY customer ORDER BY id) ORDER BY customer, id"
        ),
        JSON => dialect.json_query.to_owned(),
        FULLTEXT => dialect.fulltext_query.to_owned(),
        WITHDRAW => "UPDATE {ns}_accounts SET balance = balance - ? WHERE id = ?".to_owned(),
        DEPOSIT => "UPDATE {ns}_accounts SET balance = balance + ? WHERE id = ?".to_owned(),
        _ => "SELECT id, balance FROM {ns}_accounts WHERE id >= ? AND id <= ? ORDER BY id".to_owned(),
    };
    in_namespace(&template, &contents.namespace)
}

/// Whether a statement reads and does nothing else, and is in no transaction.
pub(super) fn only_reads(statement: usize) -> bool {
    matches!(statement, SELECT | JOIN | WINDOW | JSON | FULLTEXT)
}

/// Runs an operation on a row and verifies its answer.
pub(super) async fn run<S: Statements>(
    contents: &Contents,
    statements: &mut S,
    operation: u16,
    row: u64,
    rows: &mut RowBuffer,
    scratch: &mut Scratch,
) -> Result<u64> {
    let name = scratch.operations.get(usize::from(operation)).map_or("", |operation| operation.name);
    if i64::try_from(row).is_err() {
        return Err(Error::bug(format!("row number {row} does not fit a 64-bit column")));
    }
    let adds_or_removes = matches!(name, "insert" | "delete");
    if row >= contents.rows && !adds_or_removes {
        return Err(Error::bug(format!("`{name}` of row {row} where {} are loaded", contents.rows)));
    }
    let id = Value::Integer(row.cast_signed());
    match name {
        "insert" => {
            scratch.text.clear();
            contents.write_payload(row, &mut scratch.text);
            let code = Value::Integer(contents.code(row));
            let parameters = [id, code, Value::Integer(0), Value::Text(&scratch.text)];
            changed_one(name, row, statements.query(INSERT, &parameters, rows).await?)
        }
        "update" => changed_one(name, row, statements.query(UPDATE, &[id], rows).await?),
        "delete" => changed_one(name, row, statements.query(DELETE, &[id], rows).await?),
        "select" => {
            statements.query(SELECT, &[id], rows).await?;
            let mut answer = Answer::new(name, row, rows, scratch);
            answer.row()?;
            answer.integer("code", contents.code(row))?;
            answer.text("payload", |text| contents.write_payload(row, text))?;
            answer.end()
        }
        "join" => join(contents, statements, row, rows, scratch).await,
        "window" => window(contents, statements, row, rows, scratch).await,
        "json" => json(contents, statements, row, rows, scratch).await,
        "fulltext" => fulltext(contents, statements, row, rows, scratch).await,
        "transaction" => {
            let mut retries = scratch.retries;
            loop {
                let result = transaction(contents, statements, row, rows).await;
                let is_conflict = result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict);
                if !is_conflict || retries == 0 || statements.is_broken() {
                    break result;
                }
                retries -= 1;
                rows.clear();
            }
        }
        _ => Err(Error::bug(format!("there is no operation {operation}"))),
    }
}

async fn join<S: Statements>(
    contents: &Contents,
    statements: &mut S,
    row: u64,
    rows: &mut RowBuffer,
    scratch: &mut Scratch,
) -> Result<u64> {
    /// The better half of the orders.
    const AMOUNT_FROM: i64 = AMOUNT_MAX / 2;
    let region = row % contents.regions();
    statements.query(JOIN, &[Value::Integer(region.cast_signed()), Value::Integer(AMOUNT_FROM)], rows).await?;
    let mut answer = Answer::new("join", row, rows, scratch);
    for customer in (region..contents.customers()).step_by(contents.regions() as usize) {
        for order in contents.orders(customer).filter(|order| contents.amount(*order) >= AMOUNT_FROM) {
            answer.row()?;
            answer.integer("customer id", customer.cast_signed())?;
            answer.text("customer name", |text| contents.write_customer(customer, text))?;
            answer.integer("order id", order.cast_signed())?;
            answer.integer("order amount", contents.amount(order))?;
        }
    }
    answer.end()
}

async fn window<S: Statements>(
    contents: &Contents,
    statements: &mut S,
    row: u64,
    rows: &mut RowBuffer,
    scratch: &mut Scratch,
) -> Result<u64> {
    /// Partitions of one answer.
    const CUSTOMERS: u64 = 3;
    let first = contents.customer(row);
    let last = (first + CUSTOMERS - 1).min(contents.customers() - 1);
    statements.query(WINDOW, &[Value::Integer(first.cast_signed()), Value::Integer(last.cast_signed())], rows).await?;
    let mut answer = Answer::new("window", row, rows, scratch);
    for customer in first..=last {
        let mut lag = None;
        let mut sum = 0;
        let mut orders = contents.orders(customer).enumerate().peekable();
        while let Some((position, order)) = orders.next() {
            let amount = contents.amount(order);
            sum += amount;
            answer.row()?;
            answer.integer("customer", customer.cast_signed())?;
            answer.integer("id", order.cast_signed())?;
            answer.integer("row number", position.cast_signed() as i64 + 1)?;
            answer.optional("lag", lag)?;
            answer.optional("lead", orders.peek().map(|(_, next)| contents.amount(*next)))?;
            answer.integer("running sum", sum)?;
            lag = Some(amount);
        }
    }
    answer.end()
}

async fn json<S: Statements>(
    contents: &Contents,
    statements: &mut S,
    row: u64,
    rows: &mut RowBuffer,
    scratch: &mut Scratch,
) -> Result<u64> {
    let (group, tag) = (contents.group(row), contents.tag(row));
    statements.query(JSON, &[Value::Integer(group.cast_signed()), Value::Text(tag)], rows).await?;
    let mut answer = Answer::new("json", row, rows, scratch);
    for document in contents.documents(group).filter(|document| contents.tag(*document) == tag) {
        answer.row()?;
        answer.integer("id", document.cast_signed())?;
        answer.text("owner.name", |text| contents.write_owner(document, text))?;
    }
    answer.end()
}

async fn fulltext<S: Statements>(
    contents: &Contents,
    statements: &mut S,
    row: u64,
    rows: &mut RowBuffer,
    scratch: &mut Scratch,
) -> Result<u64> {
    let parameters = scratch.fulltext_parameters;
    let topic = contents.topic(row);
    scratch.text.clear();
    contents.write_topic(topic, &mut scratch.text);
    let word = Value::Text(&scratch.text);
    statements.query(FULLTEXT, &[word, word][..parameters], rows).await?;
    let mut answer = Answer::new("fulltext", row, rows, scratch);
    for article in contents.articles(topic) {
        answer.row()?;
        answer.integer("id", article.cast_signed())?;
        answer.text("title", |text| contents.write_title(article.cast_signed(), text))?;
    }
    answer.end()
}

async fn transaction<S: Statements>(
    contents: &Contents,
    statements: &mut S,
    row: u64,
    rows: &mut RowBuffer,
) -> Result<u64> {
    statements.begin().await?;
    match transfer(contents, statements, row, rows).await {
        Ok(()) => {
            statements.commit().await?;
            Ok(2)
        }
        Err(error) => {
            // The first error is the one to tell; a connection that is gone has rolled back by itself.
            if !statements.is_broken() {
                let _ = statements.rollback().await;
            }
            Err(error)
        }
    }
}

/// The body of the transaction. Accounts are locked in ascending order, so that two transactions cannot deadlock.
async fn transfer<S: Statements>(
    contents: &Contents,
    statements: &mut S,
    row: u64,
    rows: &mut RowBuffer,
) -> Result<()> {
    let [from, to] = contents.accounts(row).map(Value::Integer);
    let amount = Value::Integer(contents.transfer(row));
    for (statement, account) in [(WITHDRAW, from), (DEPOSIT, to)] {
        changed_one("transaction", row, statements.query(statement, &[amount, account], rows).await?)?;
    }
    rows.clear();
    statements.query(BALANCES, &[from, to], rows).await?;
    let sum = (0..rows.len()).filter_map(|position| rows.value(position, 1).as_integer()).sum::<i64>();
    if rows.len() != 2 || sum != 2 * BALANCE {
        return Err(Error::wrong_result(format!(
            "transaction of row {row}: {} accounts hold {sum} where two hold {}",
            rows.len(),
            2 * BALANCE
        )));
    }
    Ok(())
}

fn changed_one(operation: &str, row: u64, changed: u64) -> Result<u64> {
    if changed == 1 {
        Ok(1)
    } else {
        Err(Error::wrong_result(format!("{operation} of row {row}: {changed} rows changed where 1 must")))
    }
}

/// Compares an answer with what it must be, row by row and column by column.
struct Answer<'a> {
    operation: &'static str,
    number: u64,
    rows: &'a RowBuffer,
    scratch: &'a mut String,
    /// Rows begun.
    begun: usize,
    column: usize,
}

impl<'a> Answer<'a> {
    fn new(operation: &'static str, number: u64, rows: &'a RowBuffer, scratch: &'a mut Scratch) -> Self {
        Self { operation, number, rows, scratch: &mut scratch.text, begun: 0, column: 0 }
    }

    /// One more row must be there.
    fn row(&mut self) -> Result<()> {
        self.begun += 1;
        self.column = 0;
        if self.begun > self.rows.len() {
            Err(self.wrong(&format!("{} rows, but there are more", self.rows.len())))
        } else {
            Ok(())
        }
    }

    /// Its next column.
    fn next(&mut self) -> Value<'a> {
        let value = self.rows.value(self.begun - 1, self.column);
        self.column += 1;
        value
    }

    fn integer(&mut self, column: &str, expected: i64) -> Result<()> {
        self.optional(column, Some(expected))
    }

    fn optional(&mut self, column: &str, expected: Option<i64>) -> Result<()> {
        let expected = expected.map_or(Value::Null, Value::Integer);
        let found = self.next();
        if found == expected { Ok(()) } else { Err(self.differs(column, found, expected)) }
    }

    fn text(&mut self, column: &str, write: impl FnOnce(&mut String)) -> Result<()> {
        let found = self.next();
        self.scratch.clear();
        write(self.scratch);
        if found == Value::Text(self.scratch) {
            Ok(())
        } else {
            Err(self.differs(column, found, Value::Text(self.scratch)))
        }
    }

    /// No further row must be there; gives their number.
    fn end(&self) -> Result<u64> {
        if self.begun == self.rows.len() {
            Ok(self.begun as u64)
        } else {
            Err(self.wrong(&format!("{} rows where there are {}", self.rows.len(), self.begun)))
        }
    }

    fn differs(&self, column: &str, found: Value<'_>, expected: Value<'_>) -> Error {
        self.wrong(&format!(
            "column `{column}` of row {} is {} where {} was written",
            self.begun,
            shown(found),
            shown(expected)
        ))
    }

    fn wrong(&self, what: &str) -> Error {
        Error::wrong_result(format!("{} of row {} gave {what}", self.operation, self.number))
    }
}

/// A value in a message, cut where it is long.
fn shown(value: Value<'_>) -> String {
    /// Enough to recognise it.
    const CHARACTERS_MAX: usize = 60;
    format!("{value:?}").chars().take(CHARACTERS_MAX).collect()
}

#[cfg(all(test, feature = "cockroachdb"))]
mod tests {
    use store::{DataSize, Namespace, OperationRows, StatementId};

    use super::*;

    /// A server of accounts whose first commits end in conflicts.
    struct Contended {
        conflicts: u32,
        begun: u32,
        row: u64,
        contents: Contents,
    }

    impl Statements for Contended {
        async fn query(&mut self, statement: usize, _: &[Value<'_>], rows: &mut RowBuffer) -> Result<u64> {
            if statement != BALANCES {
                return Ok(1);
            }
            for account in self.contents.accounts(self.row) {
                rows.begin_row();
                rows.push(Value::Integer(account));
                rows.push(Value::Integer(BALANCE));
            }
            Ok(2)
        }

        async fn prepare(&mut self, _: &str) -> Result<StatementId> {
            Err(Error::bug("nobody prepares here"))
        }

        async fn begin(&mut self) -> Result<()> {
            self.begun += 1;
            Ok(())
        }

        async fn commit(&mut self) -> Result<()> {
            if self.begun > self.conflicts { Ok(()) } else { Err(Error::new(ErrorKind::Conflict, "restart")) }
        }

        async fn rollback(&mut self) -> Result<()> {
            Ok(())
        }

        fn is_broken(&self) -> bool {
            false
        }
    }

    #[tokio::test]
    async fn a_transaction_is_begun_anew_as_often_as_the_target_says() {
        let namespace = Namespace::new("n").expect("a name");
        let rows = OperationRows { namespace, rows: 10, size: DataSize::Small, seed: 1 };
        let dialect = crate::cockroachdb::COCKROACHDB.dialect;
        let mut places = 0..u16::MAX;
        let place = places.find(|place| dialect.operations[usize::from(*place)].name == "transaction").expect("there");
        for (conflicts, retries, expect, begun) in [
            (0, 0, Ok(2), 1),
            (1, 0, Err(ErrorKind::Conflict), 1),
            (2, 2, Ok(2), 3),
            (3, 2, Err(ErrorKind::Conflict), 3),
        ] {
            let contents = Contents::new(&rows);
            let mut statements = Contended { conflicts, begun: 0, row: 7, contents: Contents::new(&rows) };
            let mut scratch = Scratch::new(dialect, retries);
            let result = run(&contents, &mut statements, place, 7, &mut RowBuffer::default(), &mut scratch).await;
            assert_eq!((result.map_err(|error| error.kind()), statements.begun), (expect, begun));
        }
    }
}
