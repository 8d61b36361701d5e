//! The driver's own operations, each of which verifies what it read against [`Contents`].

use ::mongodb::bson::{RawBsonRef, RawDocument};
use store::{Effect, Error, Namespace, Operation, Result};

use super::connection::counted;
use super::document::{Writer, document, get_path, number, whole};
use super::error::{Failure, shown};
use super::members::Members;
use super::session::{Concerns, Rows};
use crate::contents::{AMOUNT_MAX, BALANCE, Contents, Table};

/// What takes several commands together, which a server alone cannot.
pub(crate) const TRANSACTION: &str = "transaction";

/// What users can ask for.
pub(crate) static OPERATIONS: [Operation; 8] = [
    Operation::new("insert", Effect::Adds, "adds one document with a secondary index; exactly one must be added"),
    Operation::new("select", Effect::Reads, "reads one document by its key; every field is verified"),
    Operation::new("update", Effect::Changes, "changes one document by its key; exactly one must be changed"),
    Operation::new("delete", Effect::Removes, "removes one document by its key; exactly one must be removed"),
    Operation::new(
        "aggregate",
        Effect::Reads,
        "$group by customer over indexed orders with count, sum and maximum; every group is verified",
    ),
    Operation::new("lookup", Effect::Reads, "$lookup joins two indexed collections; documents and order are verified"),
    Operation::new(
        "textsearch",
        Effect::Reads,
        "a word in a text index, ranked by textScore; titles and order verified",
    ),
    Operation::new(
        TRANSACTION,
        Effect::Changes,
        "moves an amount between two accounts; both must change and their sum must stay",
    )
    .needs("a replica set"),
];

/// The collections that they work on.
pub(crate) const TABLES: [Table; 5] = [Table::Accounts, Table::Articles, Table::Customers, Table::Items, Table::Orders];

/// Writes what an index is.
type WriteIndex = fn(&mut Writer<'_>);

/// Indexes beyond those of the keys, made after the load.
pub(crate) const INDEXES: [(Table, WriteIndex); 4] = [
    (Table::Articles, |index| {
        // Without a language no word is cut to its stem or left out.
        index
            .document("key", |key| key.text("body", "text").end())
            .text("name", "body")
            .text("default_language", "none");
    }),
    (Table::Customers, |index| plain(index, "region")),
    (Table::Items, |index| plain(index, "code")),
    (Table::Orders, |index| plain(index, "customer")),
];

fn plain(index: &mut Writer<'_>, field: &str) {
    index.document("key", |key| key.small(field, 1).end()).text("name", field);
}

/// The better half of the orders.
const AMOUNT_FROM: i64 = AMOUNT_MAX / 2;

/// Articles of one answer at most.
const ARTICLES_MAX: i64 = 20;

/// Groups of one answer at most.
const CUSTOMERS_MAX: u64 = 3;

/// Names and buffers that the operations use again and again.
pub(crate) struct Scratch {
    accounts: String,
    articles: String,
    customers: String,
    items: String,
    orders: String,
    text: String,
}

impl Scratch {
    /// For collections of that namespace.
    pub(crate) fn new(namespace: &Namespace) -> Self {
        let name = |table: Table| namespace.object(table.name());
        Self {
            accounts: name(Table::Accounts),
            articles: name(Table::Articles),
            customers: name(Table::Customers),
            items: name(Table::Items),
            orders: name(Table::Orders),
            text: String::new(),
        }
    }
}

/// Runs an operation on a row and verifies its answer.
pub(crate) async fn run(
    rows: &mut Rows,
    members: &mut Members,
    concerns: &Concerns,
    operation: u16,
    row: u64,
) -> Result<u64> {
    let name = OPERATIONS.get(usize::from(operation)).map_or("", |operation| operation.name);
    if i64::try_from(row).is_err() {
        return Err(Error::bug(format!("row number {row} does not fit 64 bits")));
    }
    if row >= rows.contents.rows && !matches!(name, "insert" | "delete") {
        return Err(Error::bug(format!("`{name}` of row {row} where {} are loaded", rows.contents.rows)));
    }
    let mut asked = Asked { rows, members, concerns, row };
    match name {
        "insert" => asked.insert().await,
        "select" => asked.select().await,
        "update" => asked.update().await,
        "delete" => asked.delete().await,
        "aggregate" => asked.aggregate().await,
        "lookup" => asked.lookup().await,
        "textsearch" => asked.textsearch().await,
        TRANSACTION => asked.transaction().await,
        _ => Err(Error::bug(format!("there is no operation {operation}"))),
    }
}

/// An operation that is being done.
struct Asked<'a> {
    rows: &'a mut Rows,
    members: &'a mut Members,
    concerns: &'a Concerns,
    row: u64,
}

impl Asked<'_> {
    fn id(&self) -> i64 {
        self.row.cast_signed()
    }

    async fn insert(&mut self) -> Result<u64> {
        let (id, row) = (self.id(), self.row);
        let Rows { contents, identity, scratch } = &mut *self.rows;
        let command = document(|command| {
            command.text("insert", &scratch.items);
            if let Some(identity) = identity {
                command.uuid("collectionUUID", *identity);
            }
            command.array("documents", |documents| {
                documents.document(|item| {
                    item.integer("_id", id).integer("code", contents.code(row)).integer("quantity", 0);
                    item.text_with("payload", &mut scratch.text, |text| contents.write_payload(row, text));
                });
            });
            self.concerns.write(command);
        });
        changed_one("insert", row, counted(&self.members.writer.command(command).await?)?)
    }

    async fn select(&mut self) -> Result<u64> {
        let (id, row) = (self.id(), self.row);
        let Rows { contents, scratch, .. } = &mut *self.rows;
        let command = document(|command| {
            command.text("find", &scratch.items);
            command.document("filter", |filter| filter.integer("_id", id).end());
            command.small("limit", 1).boolean("singleBatch", true);
            self.concerns.read(command);
        });
        let verify = Verify { operation: "select", row };
        let text = &mut scratch.text;
        let show = |found: &RawDocument| {
            verify.integer(found, "_id", id)?;
            verify.integer(found, "code", contents.code(row))?;
            verify.text(found, "payload", text, |text| contents.write_payload(row, text))
        };
        let found = self.members.reader().find(command, show).await?;
        verify.count(found, 1)
    }

    async fn update(&mut self) -> Result<u64> {
        let id = self.id();
        let command = document(|command| {
            command.text("update", &self.rows.scratch.items);
            increment(command, id, "quantity", 1);
            self.concerns.write(command);
        });
        changed_one("update", self.row, counted(&self.members.writer.command(command).await?)?)
    }

    async fn delete(&mut self) -> Result<u64> {
        let id = self.id();
        let command = document(|command| {
            command.text("delete", &self.rows.scratch.items).array("deletes", |deletes| {
                deletes.document(|delete| {
                    delete.document("q", |query| query.integer("_id", id).end()).small("limit", 1);
                });
            });
            self.concerns.write(command);
        });
        changed_one("delete", self.row, counted(&self.members.writer.command(command).await?)?)
    }

    async fn aggregate(&mut self) -> Result<u64> {
        let Rows { contents, scratch, .. } = &*self.rows;
        let first = contents.customer(self.row);
        let last = (first + CUSTOMERS_MAX - 1).min(contents.customers() - 1);
        let command = aggregation(&scratch.orders, self.concerns, |stages| {
            stages.document(|stage| {
                stage.document("$match", |filter| {
                    filter.document("customer", |range| {
                        range.integer("$gte", first.cast_signed()).integer("$lte", last.cast_signed());
                    });
                });
            });
            stages.document(|stage| {
                stage.document("$group", |group| {
                    group.text("_id", "$customer");
                    group.document("orders", |count| count.small("$sum", 1).end());
                    group.document("amount", |sum| sum.text("$sum", "$amount").end());
                    group.document("largest", |maximum| maximum.text("$max", "$amount").end());
                });
            });
            stages.document(|stage| {
                stage.document("$sort", |sort| sort.small("_id", 1).end());
            });
        });
        let verify = Verify { operation: "aggregate", row: self.row };
        let mut customers = first..=last;
        let show = |found: &RawDocument| {
            let customer = customers.next().ok_or_else(|| verify.wrong("more groups than there are customers"))?;
            let amounts = || contents.orders(customer).map(|order| contents.amount(order));
            verify.integer(found, "_id", customer.cast_signed())?;
            verify.integer(found, "orders", (amounts().count() as u64).cast_signed())?;
            verify.integer(found, "amount", amounts().sum())?;
            verify.integer(found, "largest", amounts().max().unwrap_or_default())
        };
        let found = self.members.reader().find(command, show).await?;
        verify.count(found, last - first + 1)
    }

    async fn lookup(&mut self) -> Result<u64> {
        let Rows { contents, scratch, .. } = &mut *self.rows;
        let region = contents.region(self.row % contents.customers());
        let command = aggregation(&scratch.customers, self.concerns, |stages| {
            stages.document(|stage| {
                stage.document("$match", |filter| filter.integer("region", region.cast_signed()).end());
            });
            stages.document(|stage| {
                stage.document("$lookup", |join| {
                    join.text("from", &scratch.orders).text("localField", "_id");
                    join.text("foreignField", "customer").text("as", "order");
                });
            });
            // The server takes these two into the join.
            stages.document(|stage| stage.text("$unwind", "$order").end());
            stages.document(|stage| {
                stage.document("$match", |filter| {
                    filter.document("order.amount", |from| from.integer("$gte", AMOUNT_FROM).end());
                });
            });
            stages.document(|stage| {
                stage.document("$sort", |sort| sort.small("_id", 1).small("order._id", 1).end());
            });
        });
        let verify = Verify { operation: "lookup", row: self.row };
        let mut expected = joined(contents, region);
        let text = &mut scratch.text;
        let mut rest = || expected.next();
        let show = |found: &RawDocument| {
            let (customer, order) = rest().ok_or_else(|| verify.wrong("more documents than there are"))?;
            verify.integer(found, "_id", customer.cast_signed())?;
            verify.text(found, "name", text, |text| contents.write_customer(customer, text))?;
            verify.integer(found, "order._id", order.cast_signed())?;
            verify.integer(found, "order.amount", contents.amount(order))
        };
        let found = self.members.reader().find(command, show).await?;
        verify.count(found, found + expected.count() as u64)
    }

    async fn textsearch(&mut self) -> Result<u64> {
        let Rows { contents, scratch, .. } = &mut *self.rows;
        let topic = contents.topic(self.row);
        let score = |part: &mut Writer<'_>| {
            part.document("score", |score| score.text("$meta", "textScore").end());
        };
        scratch.text.clear();
        contents.write_topic(topic, &mut scratch.text);
        let command = document(|command| {
            command.text("find", &scratch.articles);
            command.document("filter", |filter| {
                filter.document("$text", |search| search.text("$search", &scratch.text).end());
            });
            command.document("projection", |shown| {
                shown.small("title", 1);
                score(shown);
            });
            command.document("sort", score);
            command.integer("limit", ARTICLES_MAX);
            self.concerns.read(command);
        });
        let verify = Verify { operation: "textsearch", row: self.row };
        let (mut articles, mut best) = (contents.articles(topic), f64::INFINITY);
        let text = &mut scratch.text;
        let show = |found: &RawDocument| {
            let article = articles.next().ok_or_else(|| verify.wrong("more articles than have the word"))?;
            let article = article.cast_signed();
            verify.integer(found, "_id", article)?;
            verify.text(found, "title", text, |text| contents.write_title(article, text))?;
            match get_path(found, "score").and_then(number) {
                Some(score) if score > 0.0 && score <= best => best = score,
                other => return Err(verify.wrong(&format!("the score {other:?} after {best}"))),
            }
            Ok(())
        };
        let found = self.members.reader().find(command, show).await?;
        verify.count(found, contents.articles(topic).count() as u64)
    }

    async fn transaction(&mut self) -> Result<u64> {
        let writer = &mut self.members.writer;
        // It goes back to the library's own store of them.
        let mut session = writer.transactions().await?;
        session.start_transaction().await.map_err(|error| writer.failed(error))?;
        let result = self.transfer(&mut session).await;
        let writer = &mut self.members.writer;
        match result {
            Ok(()) => {
                session.commit_transaction().await.map_err(|error| writer.failed(error))?;
                Ok(2)
            }
            Err(error) => {
                // The first error is the one to tell; a server that is gone has rolled back by itself.
                if !writer.is_broken() {
                    let _ = session.abort_transaction().await;
                }
                Err(error.error)
            }
        }
    }

    /// The body of the transaction.
    async fn transfer(&mut self, session: &mut ::mongodb::ClientSession) -> Result<(), Failure> {
        let (row, contents) = (self.row, &self.rows.contents);
        let (accounts, amount) = (contents.accounts(row), contents.transfer(row));
        for (account, change) in accounts.into_iter().zip([-amount, amount]) {
            let command = document(|command| {
                command.text("update", &self.rows.scratch.accounts);
                increment(command, account, "balance", change);
            });
            let reply = self.members.writer.command_within(session, command).await?;
            changed_one(TRANSACTION, row, counted(&reply)?)?;
        }
        let command = document(|command| {
            command.text("find", &self.rows.scratch.accounts);
            command.document("filter", |filter| {
                filter.document("_id", |range| range.integer("$gte", accounts[0]).integer("$lte", accounts[1]).end());
            });
        });
        let (count, sum) = self.members.writer.sum_within(session, command, "balance").await?;
        if count != 2 || sum != 2 * BALANCE {
            let must = 2 * BALANCE;
            let what = format!("transaction of row {row}: {count} accounts hold {sum} where two hold {must}");
            return Err(Error::wrong_result(what).into());
        }
        Ok(())
    }
}

/// Customers of a region, ascending, with each of their orders that is in the better half, ascending.
fn joined(contents: &Contents, region: u64) -> impl Iterator<Item = (u64, u64)> {
    let customers = (region..contents.customers()).step_by(contents.regions() as usize);
    customers.flat_map(move |customer| {
        let good = contents.orders(customer).filter(|order| contents.amount(*order) >= AMOUNT_FROM);
        good.map(move |order| (customer, order))
    })
}

/// Adds to a field of one document.
fn increment(command: &mut Writer<'_>, id: i64, field: &str, by: i64) {
    command.array("updates", |updates| {
        updates.document(|update| {
            update.document("q", |query| query.integer("_id", id).end());
            update.document("u", |change| {
                change.document("$inc", |fields| fields.integer(field, by).end());
            });
        });
    });
}

fn aggregation(collection: &str, concerns: &Concerns, write: impl FnOnce(&mut super::document::Items<'_>)) -> Vec<u8> {
    document(|command| {
        command.text("aggregate", collection).array("pipeline", write).document("cursor", |_| {});
        concerns.read(command);
    })
}

fn changed_one(operation: &str, row: u64, changed: u64) -> Result<u64> {
    if changed == 1 {
        Ok(1)
    } else {
        Err(Error::wrong_result(format!("{operation} of row {row}: {changed} documents changed where 1 must")))
    }
}

/// Compares what was found with what must be.
#[derive(Clone, Copy)]
struct Verify {
    operation: &'static str,
    row: u64,
}

impl Verify {
    fn integer(self, found: &RawDocument, path: &str, expected: i64) -> Result<()> {
        let value = get_path(found, path);
        if value.and_then(whole) == Some(expected) {
            return Ok(());
        }
        Err(self.wrong(&format!("`{path}` is {} where {expected} was written", shown(value))))
    }

    fn text(
        self,
        found: &RawDocument,
        path: &str,
        scratch: &mut String,
        write: impl FnOnce(&mut String),
    ) -> Result<()> {
        scratch.clear();
        write(scratch);
        let value = get_path(found, path);
        if value.and_then(RawBsonRef::as_str) == Some(scratch) {
            return Ok(());
        }
        Err(self.wrong(&format!("`{path}` is {} and not what was written", shown(value))))
    }

    fn count(self, found: u64, expected: u64) -> Result<u64> {
        if found == expected {
            return Ok(found);
        }
        Err(self.wrong(&format!("{found} documents where there are {expected}")))
    }

    fn wrong(self, what: &str) -> Error {
        Error::wrong_result(format!("{} of row {} gave {what}", self.operation, self.row))
    }
}
