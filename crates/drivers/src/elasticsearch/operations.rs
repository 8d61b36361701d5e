//! The driver's own operations: how each is asked, and how its answer is verified.
//!
//! What they are about is in `contents`: `index`, `get`, `update` and `delete` work on `items`, the only index that grows
//! and shrinks; the others read what no operation changes.

use std::borrow::Cow;

use serde::Deserialize;
use store::{Effect, Error, Operation, OperationRows, Result};

use super::client::{Address, Client};
use super::indices::{placed_ms, push_row, writes};
use super::json::{self, Document, Found, Written};
use super::records::{created, path_of, succeeded, updated};
use crate::contents::{Contents, Table};
use crate::http::{Method, Reply, StatusCode};
use crate::rows::RowBuffer;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new("index", Effect::Adds, "adds a document under an id that must be new"),
    Operation::new(
        "search",
        Effect::Reads,
        "documents of a group that have a tag, by id; every document, its order and a field of an object in it must be right",
    ),
    Operation::new(
        "aggregate",
        Effect::Reads,
        "terms, a date histogram in each and metrics in both; every bucket, count, sum, minimum, maximum and average must be right",
    ),
    Operation::new(
        "fulltext",
        Effect::Reads,
        "a word in analysed text, best first; every article, its rank and title must be right",
    ),
    Operation::new("get", Effect::Reads, "reads a document by its id and verifies it"),
    Operation::new("update", Effect::Changes, "changes a field of a document, which must be there"),
    Operation::new("delete", Effect::Removes, "removes a document, which must be there"),
];

/// The customers of one aggregation.
const CUSTOMERS: u64 = 3;

/// Articles that a search may find: more than any topic has.
const ARTICLES_MAX: u32 = 20;

const DAY_MS: i64 = 86_400_000;

/// Asks for operations.
pub(super) struct Operations {
    contents: Contents,
    documents: String,
    articles: String,
    orders: String,
    items: String,
    /// What is written goes to the alias, between these two and the id.
    items_written: String,
    created: String,
    updated: String,
    deleted: String,
    path: String,
    body: Vec<u8>,
    text: String,
    rows: RowBuffer,
    days: Vec<(i64, u64, i64)>,
}

/// A document of `items`.
#[derive(Deserialize)]
struct Item<'a> {
    id: i64,
    code: i64,
    quantity: i64,
    #[serde(borrow)]
    payload: Cow<'a, str>,
}

/// What is asked of one of `documents`.
#[derive(Deserialize)]
struct Owned<'a> {
    id: i64,
    #[serde(borrow)]
    document: Ownership<'a>,
}

#[derive(Deserialize)]
struct Ownership<'a> {
    #[serde(borrow)]
    owner: Owner<'a>,
}

#[derive(Deserialize)]
struct Owner<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// What is asked of one of `articles`.
#[derive(Deserialize)]
struct Titled<'a> {
    id: i64,
    #[serde(borrow)]
    title: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Aggregations {
    customers: Buckets<Customer>,
    total: Metric,
}

#[derive(Deserialize)]
struct Buckets<T> {
    buckets: Vec<T>,
}

#[derive(Deserialize)]
struct Customer {
    key: i64,
    doc_count: u64,
    amounts: Statistics,
    days: Buckets<Day>,
}

#[derive(Deserialize, Debug, PartialEq)]
struct Statistics {
    count: u64,
    min: f64,
    max: f64,
    avg: f64,
    sum: f64,
}

#[derive(Deserialize)]
struct Day {
    key: i64,
    doc_count: u64,
    amount: Metric,
}

#[derive(Deserialize)]
struct Metric {
    value: f64,
}

impl Operations {
    /// On those rows.
    pub(super) fn new(address: &Address, rows: &OperationRows) -> Self {
        let Address { prefix, refresh, .. } = address;
        let namespace = &rows.namespace;
        let search = |table: Table, more: &str| {
            format!("{prefix}/{}/_search?allow_partial_search_results=false{more}", namespace.object(table.name()))
        };
        Self {
            contents: Contents::new(rows),
            documents: search(Table::Documents, ""),
            // With several shards each would rank by its own words alone.
            articles: search(Table::Articles, "&search_type=dfs_query_then_fetch"),
            // The answer is worked out each time: what is measured is not a cache.
            orders: search(Table::Orders, "&request_cache=false"),
            items: format!("{prefix}/{}/_doc/", namespace.object(Table::Items.name())),
            items_written: format!("{prefix}/{}", writes(namespace, Table::Items.name())),
            created: format!("?require_alias=true&refresh={refresh}"),
            updated: updated(refresh),
            deleted: format!("?refresh={refresh}"),
            path: String::new(),
            body: Vec::new(),
            text: String::new(),
            rows: RowBuffer::default(),
            days: Vec::new(),
        }
    }

    /// Runs an operation about a row and verifies its answer; how many documents it was.
    ///
    /// # Errors
    /// `WrongResult` where the answer is not what must come, or what the server answered instead.
    pub(super) async fn run(&mut self, client: &mut Client, operation: u16, row: u64) -> Result<u64> {
        let Some(Operation { name, effect, .. }) = OPERATIONS.get(usize::from(operation)) else {
            return Err(Error::bug(format!("there is no operation {operation}")));
        };
        if i64::try_from(row).is_err() {
            return Err(Error::bug(format!("row number {row} does not fit 64 bits with a sign")));
        }
        if row >= self.contents.rows && matches!(effect, Effect::Reads | Effect::Changes) {
            return Err(Error::bug(format!("`{name}` of row {row} where {} are loaded", self.contents.rows)));
        }
        self.body.clear();
        match *name {
            "index" => self.index(client, row).await,
            "search" => self.search(client, row).await,
            "aggregate" => self.aggregate(client, row).await,
            "fulltext" => self.fulltext(client, row).await,
            "get" => self.get(client, row).await,
            "update" => self.update(client, row).await,
            _ => self.delete(client, row).await,
        }
    }

    /// The path of an item that is written.
    fn item(&mut self, verb: &str, row: u64) {
        let behind = match verb {
            "_create" => &self.created,
            "_update" => &self.updated,
            _ => &self.deleted,
        };
        self.path.clear();
        self.path.extend([self.items_written.as_str(), "/", verb, "/"]);
        self.path.push_str(itoa::Buffer::new().format(row));
        self.path.push_str(behind);
    }

    async fn index(&mut self, client: &mut Client, row: u64) -> Result<u64> {
        self.item("_create", row);
        self.rows.clear();
        self.contents.fill(Table::Items, row, &mut self.rows);
        push_row(&mut self.body, &self.contents, Table::Items, &self.rows, 0);
        let reply = client.send(Method::PUT, &self.path, &self.body).await?;
        if reply.status == StatusCode::CREATED {
            return written("index", row, reply, "created");
        }
        created(reply, itoa::Buffer::new().format(row))
    }

    async fn update(&mut self, client: &mut Client, row: u64) -> Result<u64> {
        self.item("_update", row);
        json::push(
            &mut self.body,
            format_args!("{{\"doc\":{{\"quantity\":{}}},\"detect_noop\":false}}", quantity(row)),
        );
        let reply = client.send(Method::POST, &self.path, &self.body).await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Err(wrong("update", row, "there is no such document"));
        }
        written("update", row, succeeded(reply)?, "updated")
    }

    async fn delete(&mut self, client: &mut Client, row: u64) -> Result<u64> {
        self.item("_doc", row);
        let reply = client.send(Method::DELETE, &self.path, b"").await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Err(wrong("delete", row, "there is no such document"));
        }
        written("delete", row, succeeded(reply)?, "deleted")
    }

    async fn get(&mut self, client: &mut Client, row: u64) -> Result<u64> {
        path_of(&mut self.path, &self.items, itoa::Buffer::new().format(row), "");
        let reply = client.send(Method::GET, &self.path, b"").await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Err(wrong("get", row, "there is no such document"));
        }
        let document: Document<'_> = json::parse(succeeded(reply)?.body)?;
        let source = document.source.filter(|_| document.found).ok_or_else(|| wrong("get", row, "no document"))?;
        let item: Item<'_> = of_source("get", row, source.get())?;
        let expect = (row.cast_signed(), self.contents.code(row));
        check("get", row, "id and code", (item.id, item.code), expect)?;
        if item.quantity != 0 {
            check("get", row, "quantity", item.quantity, quantity(row))?;
        }
        self.text.clear();
        self.contents.write_payload(row, &mut self.text);
        check("get", row, "payload", &*item.payload, &*self.text)?;
        Ok(1)
    }

    async fn search(&mut self, client: &mut Client, row: u64) -> Result<u64> {
        let (group, tag) = (self.contents.group(row), self.contents.tag(row));
        // A group is as large as the contents make it; one more would be seen.
        let size = self.contents.documents(group).count() + 1;
        json::push(
            &mut self.body,
            format_args!(
                "{{\"size\":{size},\"track_total_hits\":false,\"query\":{{\"bool\":{{\"filter\":[\
                 {{\"term\":{{\"document.group\":{group}}}}},{{\"term\":{{\"document.tags\":\"{tag}\"}}}}]}}}},\
                 \"sort\":[{{\"id\":\"asc\"}}],\"_source\":[\"id\",\"document.owner.name\"]}}"
            ),
        );
        let reply = succeeded(client.send(Method::POST, &self.documents, &self.body).await?)?;
        let found: Found<'_> = Found::of(reply.body)?;
        let mut hits = found.hits().iter();
        let mut count = 0;
        for document in self.contents.documents(group).filter(|document| self.contents.tag(*document) == tag) {
            let hit = hits.next().ok_or_else(|| wrong("search", row, "documents are missing"))?;
            let owned: Owned<'_> = of_source("search", row, hit.source.get())?;
            check("search", row, "id", owned.id, document.cast_signed())?;
            check("search", row, "_id", &*hit.id, itoa::Buffer::new().format(document))?;
            self.text.clear();
            self.contents.write_owner(document, &mut self.text);
            check("search", row, "owner", &*owned.document.owner.name, &*self.text)?;
            count += 1;
        }
        if hits.len() > 0 { Err(wrong("search", row, "there are documents too many")) } else { Ok(count) }
    }

    async fn fulltext(&mut self, client: &mut Client, row: u64) -> Result<u64> {
        let topic = self.contents.topic(row);
        self.text.clear();
        self.contents.write_topic(topic, &mut self.text);
        // In capitals, in which no text has it: what is asked for is analysed as the texts were.
        self.text.make_ascii_uppercase();
        json::push(
            &mut self.body,
            format_args!(
                "{{\"size\":{ARTICLES_MAX},\"track_total_hits\":false,\"query\":{{\"match\":{{\"body\":\"{}\"}}}},\
                 \"sort\":[\"_score\",{{\"id\":\"asc\"}}],\"_source\":[\"id\",\"title\"]}}",
                self.text
            ),
        );
        let reply = succeeded(client.send(Method::POST, &self.articles, &self.body).await?)?;
        let found: Found<'_> = Found::of(reply.body)?;
        let mut hits = found.hits().iter();
        for article in self.contents.articles(topic) {
            let hit = hits.next().ok_or_else(|| wrong("fulltext", row, "articles are missing"))?;
            let titled: Titled<'_> = of_source("fulltext", row, hit.source.get())?;
            check("fulltext", row, "id", titled.id, article.cast_signed())?;
            self.text.clear();
            self.contents.write_title(article.cast_signed(), &mut self.text);
            check("fulltext", row, "title", &*titled.title, &*self.text)?;
        }
        if hits.len() > 0 {
            return Err(wrong("fulltext", row, "there are articles too many"));
        }
        Ok(found.hits().len() as u64)
    }

    async fn aggregate(&mut self, client: &mut Client, row: u64) -> Result<u64> {
        let first = self.contents.customer(row);
        let last = (first + CUSTOMERS - 1).min(self.contents.customers() - 1);
        json::push(
            &mut self.body,
            format_args!(
                "{{\"size\":0,\"track_total_hits\":false,\
                 \"query\":{{\"range\":{{\"customer\":{{\"gte\":{first},\"lte\":{last}}}}}}},\"aggs\":{{\
                 \"total\":{{\"sum\":{{\"field\":\"amount\"}}}},\
                 \"customers\":{{\"terms\":{{\"field\":\"customer\",\"size\":{},\"order\":{{\"_key\":\"asc\"}}}},\"aggs\":{{\
                 \"amounts\":{{\"stats\":{{\"field\":\"amount\"}}}},\
                 \"days\":{{\"date_histogram\":{{\"field\":\"placed\",\"fixed_interval\":\"1d\",\"min_doc_count\":1}},\
                 \"aggs\":{{\"amount\":{{\"sum\":{{\"field\":\"amount\"}}}}}}}}}}}}}}}}",
                CUSTOMERS + 1
            ),
        );
        let reply = succeeded(client.send(Method::POST, &self.orders, &self.body).await?)?;
        let found: Found<'_, Aggregations> = Found::of(reply.body)?;
        let found = found.aggregations.ok_or_else(|| wrong("aggregate", row, "there is no aggregation"))?;
        let mut customers = found.customers.buckets.into_iter();
        let (mut total, mut buckets) = (0, 0);
        for customer in first..=last {
            let bucket = customers.next().ok_or_else(|| wrong("aggregate", row, "customers are missing"))?;
            check("aggregate", row, "customer", bucket.key, customer.cast_signed())?;
            total += self.check_customer(row, customer, &bucket)?;
            buckets += 1 + bucket.days.buckets.len() as u64;
        }
        check("aggregate", row, "total", found.total.value, total as f64)?;
        if customers.len() > 0 { Err(wrong("aggregate", row, "there are customers too many")) } else { Ok(buckets) }
    }

    /// Verifies a customer's bucket; the sum of its amounts.
    fn check_customer(&mut self, row: u64, customer: u64, bucket: &Customer) -> Result<i64> {
        let Self { contents, days, .. } = self;
        days.clear();
        let (mut count, mut sum, mut min, mut max) = (0, 0, i64::MAX, i64::MIN);
        for order in contents.orders(customer) {
            let amount = contents.amount(order);
            (count, sum, min, max) = (count + 1, sum + amount, min.min(amount), max.max(amount));
            let day = placed_ms(contents, order) / DAY_MS * DAY_MS;
            match days.iter_mut().find(|(key, ..)| *key == day) {
                Some((_, count, sum)) => (*count, *sum) = (*count + 1, *sum + amount),
                None => days.push((day, 1, amount)),
            }
        }
        days.sort_unstable();
        check("aggregate", row, "count of a customer's orders", bucket.doc_count, count)?;
        let expect =
            Statistics { count, min: min as f64, max: max as f64, avg: sum as f64 / count as f64, sum: sum as f64 };
        check("aggregate", row, "statistics of a customer", &bucket.amounts, &expect)?;
        check("aggregate", row, "count of a customer's days", bucket.days.buckets.len(), days.len())?;
        for (found, (day, count, sum)) in bucket.days.buckets.iter().zip(days.iter()) {
            let found = (found.key, found.doc_count, found.amount.value);
            check("aggregate", row, "day of a customer", found, (*day, *count, *sum as f64))?;
        }
        Ok(sum)
    }
}

/// What an update gives an item: never 0, which it was loaded with.
fn quantity(row: u64) -> i64 {
    (row % 1000).cast_signed() + 1
}

/// Reads the reply to a write.
fn written(operation: &str, row: u64, reply: Reply<'_>, result: &str) -> Result<u64> {
    let written: Written<'_> = json::parse(reply.body)?;
    check(operation, row, "_id", &*written.id, itoa::Buffer::new().format(row))?;
    check(operation, row, "result", &*written.result, result)?;
    Ok(1)
}

/// Reads a document.
fn of_source<'a, T: Deserialize<'a>>(operation: &str, row: u64, source: &'a str) -> Result<T> {
    serde_json::from_str(source)
        .map_err(|source| wrong(operation, row, &format!("a document is not as it was written: {source}")))
}

fn check<T: PartialEq + std::fmt::Debug>(operation: &str, row: u64, what: &str, found: T, expect: T) -> Result<()> {
    /// Enough to recognise a value.
    const CHARACTERS_MAX: usize = 60;
    if found == expect {
        return Ok(());
    }
    let shown = |value: T| format!("{value:?}").chars().take(CHARACTERS_MAX).collect::<String>();
    Err(wrong(operation, row, &format!("{what}: {} where {} was written", shown(found), shown(expect))))
}

fn wrong(operation: &str, row: u64, what: &str) -> Error {
    Error::wrong_result(format!("{operation} of row {row}: {what}"))
}
