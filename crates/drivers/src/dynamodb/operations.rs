//! The driver's own operations, each of which verifies what it read against [`Contents`].

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    CancellationReason, ConditionCheck, Get, ReturnValue, TransactGetItem, TransactWriteItem, Update,
};
use store::{Effect, Error, Operation, OperationRows, Result};

use super::address::Settings;
use super::fault::{self, CANCELED_BY_CONDITION, CANCELED_BY_CONFLICT, CONDITION_FAILED};
use super::item::{Item, number, number_of, text, text_of};
use super::tables::{incomplete, index_of_documents};
use crate::contents::{BALANCE, Contents};

pub(super) static OPERATIONS: [Operation; 9] = [
    Operation::new("put", Effect::Adds, "puts one item on the condition that there is none of its key"),
    Operation::new("get", Effect::Reads, "gets one item by its key; every attribute is verified"),
    Operation::new(
        "update",
        Effect::Changes,
        "adds to a number of one item on the condition that the item is as it was loaded; the new number is verified",
    ),
    Operation::new("delete", Effect::Removes, "deletes one item on the condition that it is as it was loaded"),
    Operation::new("query", Effect::Reads, "queries a partition by its key; items, order and values verified"),
    Operation::new(
        "query_index",
        Effect::Reads,
        "queries a global secondary index with a filter on a set and a path into a map; items, order and values verified",
    ),
    Operation::new(
        "scan",
        Effect::Reads,
        "scans a table in four segments with a filter; what is left is verified, the whole table is read",
    ),
    Operation::new(
        "transaction",
        Effect::Changes,
        "moves an amount between two accounts in one transaction, then reads both in another; their sum must stay",
    ),
    Operation::new(
        "transaction_refused",
        // What would change something is refused; that nothing has changed is then read.
        Effect::Reads,
        "a transaction one of whose conditions does not hold: it must be refused as a whole, and change nothing",
    ),
];

/// Segments of a scan: one after another, as a session has one connection.
const SEGMENTS: i32 = 4;

/// What a session must know of the operations' tables.
pub(super) struct Operations {
    contents: Contents,
    settings: Settings,
    accounts: String,
    customers: String,
    documents: String,
    documents_index: String,
    items: String,
    orders: String,
}

impl Operations {
    pub(super) fn new(rows: &OperationRows, settings: Settings) -> Self {
        let table = |name| rows.namespace.object(name);
        Self {
            contents: Contents::new(rows),
            settings,
            accounts: table("accounts"),
            customers: table("customers"),
            documents: table("documents"),
            documents_index: index_of_documents(&rows.namespace),
            items: table("items"),
            orders: table("orders"),
        }
    }
}

/// One run of an operation.
struct Run<'a> {
    client: &'a Client,
    subject: &'a Operations,
    name: &'static str,
    row: u64,
}

/// Runs an operation on a row and verifies its answer.
pub(super) async fn run(client: &Client, subject: &Operations, operation: u16, row: u64) -> Result<u64> {
    let Some(Operation { name, effect, .. }) = OPERATIONS.get(usize::from(operation)) else {
        return Err(Error::bug(format!("there is no operation {operation}")));
    };
    // Accounts have twice the row's number, and their keys are whole numbers with a sign.
    if row >= 1 << 62 {
        return Err(Error::bug(format!("row number {row} is too large for a key")));
    }
    if row >= subject.contents.rows && matches!(effect, Effect::Reads | Effect::Changes) {
        return Err(Error::bug(format!("`{name}` of row {row} where {} are loaded", subject.contents.rows)));
    }
    let run = Run { client, subject, name, row };
    match *name {
        "put" => run.put().await,
        "get" => run.get().await,
        "update" => run.update().await,
        "delete" => run.delete().await,
        "query" => run.query().await,
        "query_index" => run.query_index().await,
        "scan" => run.scan().await,
        "transaction" => run.transaction().await,
        _ => run.transaction_refused().await,
    }
}

impl Run<'_> {
    fn contents(&self) -> &Contents {
        &self.subject.contents
    }

    fn id(&self) -> i64 {
        self.row.cast_signed()
    }

    fn payload(&self) -> String {
        written(|text| self.contents().write_payload(self.row, text))
    }

    async fn put(&self) -> Result<u64> {
        let request = self
            .client
            .put_item()
            .table_name(&self.subject.items)
            .item("id", number(self.id()))
            .item("code", number(self.contents().code(self.row)))
            .item("quantity", number(0))
            .item("payload", text(self.payload()))
            .condition_expression("attribute_not_exists(id)");
        match request.send().await {
            Ok(_) => Ok(1),
            Err(error) if fault::code(&error) == Some(CONDITION_FAILED) => {
                Err(Error::rejected(format!("put of row {}: there is an item of that key", self.row)))
            }
            Err(error) => Err(fault::error(error)),
        }
    }

    async fn get(&self) -> Result<u64> {
        let request = self
            .client
            .get_item()
            .table_name(&self.subject.items)
            .key("id", number(self.id()))
            .consistent_read(self.subject.settings.consistent);
        let item = request.send().await.map_err(fault::error)?.item.ok_or_else(|| self.wrong("no item"))?;
        self.number(&item, "id", self.id())?;
        self.number(&item, "code", self.contents().code(self.row))?;
        self.text(&item, "payload", &self.payload())?;
        match number_of(&item, "quantity") {
            Some(0..) if item.len() == 4 => Ok(1),
            _ => Err(self.wrong(&format!("an item with other attributes: {}", shown(&format!("{item:?}"))))),
        }
    }

    async fn update(&self) -> Result<u64> {
        let request = self
            .client
            .update_item()
            .table_name(&self.subject.items)
            .key("id", number(self.id()))
            .condition_expression("code = :code")
            .update_expression("SET quantity = quantity + :one")
            .expression_attribute_values(":code", number(self.contents().code(self.row)))
            .expression_attribute_values(":one", number(1))
            .return_values(ReturnValue::UpdatedNew);
        match request.send().await {
            Ok(answer) => match answer.attributes.as_ref().and_then(|item| number_of(item, "quantity")) {
                Some(1..) => Ok(1),
                other => Err(self.wrong(&format!("a quantity of {other:?} after adding to it"))),
            },
            Err(error) if fault::code(&error) == Some(CONDITION_FAILED) => Err(self.wrong("no item as it was loaded")),
            Err(error) => Err(fault::error(error)),
        }
    }

    async fn delete(&self) -> Result<u64> {
        let request = self
            .client
            .delete_item()
            .table_name(&self.subject.items)
            .key("id", number(self.id()))
            .condition_expression("code = :code")
            .expression_attribute_values(":code", number(self.contents().code(self.row)));
        match request.send().await {
            Ok(_) => Ok(1),
            Err(error) if fault::code(&error) == Some(CONDITION_FAILED) => Err(self.wrong("no item as it was loaded")),
            Err(error) => Err(fault::error(error)),
        }
    }

    async fn query(&self) -> Result<u64> {
        let customer = self.contents().customer(self.row);
        let mut orders = Vec::new();
        let mut from = None;
        loop {
            let request = self
                .client
                .query()
                .table_name(&self.subject.orders)
                .consistent_read(self.subject.settings.consistent)
                .key_condition_expression("customer = :customer")
                .expression_attribute_values(":customer", number(customer.cast_signed()));
            let answer = request.set_exclusive_start_key(from).send().await.map_err(fault::error)?;
            orders.extend(answer.items.unwrap_or_default());
            from = answer.last_evaluated_key;
            if from.is_none() {
                break;
            }
        }
        let expected = self.contents().orders(customer);
        self.each(&orders, expected, |order, item| {
            self.number(item, "customer", customer.cast_signed())?;
            self.number(item, "id", order.cast_signed())?;
            self.number(item, "amount", self.contents().amount(order))
        })
    }

    async fn query_index(&self) -> Result<u64> {
        let contents = self.contents();
        let (group, tag) = (contents.group(self.row), contents.tag(self.row));
        let mut documents = Vec::new();
        let mut from = None;
        loop {
            let request = self
                .client
                .query()
                .table_name(&self.subject.documents)
                .index_name(&self.subject.documents_index)
                .key_condition_expression("#group = :group")
                .filter_expression("contains(tags, :tag)")
                .projection_expression("id, #owner.#name")
                .expression_attribute_names("#group", "group")
                .expression_attribute_names("#owner", "owner")
                .expression_attribute_names("#name", "name")
                .expression_attribute_values(":group", number(group.cast_signed()))
                .expression_attribute_values(":tag", text(tag));
            let answer = request.set_exclusive_start_key(from).send().await.map_err(fault::error)?;
            documents.extend(answer.items.unwrap_or_default());
            from = answer.last_evaluated_key;
            if from.is_none() {
                break;
            }
        }
        let expected = contents.documents(group).filter(|document| contents.tag(*document) == tag);
        self.each(&documents, expected, |document, item| {
            self.number(item, "id", document.cast_signed())?;
            let owner = item.get("owner").and_then(|value| value.as_m().ok());
            let owner = owner.ok_or_else(|| self.wrong("a document without an owner"))?;
            self.text(owner, "name", &written(|text| contents.write_owner(document, text)))
        })
    }

    async fn scan(&self) -> Result<u64> {
        let contents = self.contents();
        let region = self.row % contents.regions();
        let mut customers = Vec::new();
        for segment in 0..SEGMENTS {
            let mut from = None;
            loop {
                let request = self
                    .client
                    .scan()
                    .table_name(&self.subject.customers)
                    .consistent_read(self.subject.settings.consistent)
                    .segment(segment)
                    .total_segments(SEGMENTS)
                    .filter_expression("#region = :region")
                    .expression_attribute_names("#region", "region")
                    .expression_attribute_values(":region", number(region.cast_signed()));
                let answer = request.set_exclusive_start_key(from).send().await.map_err(fault::error)?;
                customers.extend(answer.items.unwrap_or_default());
                from = answer.last_evaluated_key;
                if from.is_none() {
                    break;
                }
            }
        }
        // A scan has no order.
        customers.sort_by_key(|item| number_of(item, "id"));
        let expected = (region..contents.customers()).step_by(contents.regions() as usize);
        self.each(&customers, expected, |customer, item| {
            self.number(item, "id", customer.cast_signed())?;
            self.number(item, "region", region.cast_signed())?;
            self.text(item, "name", &written(|text| contents.write_customer(customer, text)))
        })
    }

    async fn transaction(&self) -> Result<u64> {
        let [from, to] = self.contents().accounts(self.row);
        let amount = self.contents().transfer(self.row);
        let parts = [self.moving(from, -amount)?, self.moving(to, amount)?];
        let request = self.client.transact_write_items().set_transact_items(Some(parts.into()));
        if let Err(error) = request.send().await {
            let reasons = reasons(error.as_service_error());
            let is_missing = reasons.contains(&CANCELED_BY_CONDITION) && !reasons.contains(&CANCELED_BY_CONFLICT);
            return Err(if is_missing { self.wrong("an account that is not there") } else { fault::error(error) });
        }
        self.balanced().await.map(|()| 2)
    }

    async fn transaction_refused(&self) -> Result<u64> {
        let [from, to] = self.contents().accounts(self.row);
        let moving = self.moving(from, -self.contents().transfer(self.row))?;
        let absent = ConditionCheck::builder()
            .table_name(&self.subject.accounts)
            .key("id", number(to))
            .condition_expression("attribute_not_exists(id)");
        let absent = TransactWriteItem::builder().condition_check(absent.build().map_err(incomplete)?).build();
        let request = self.client.transact_write_items().transact_items(moving).transact_items(absent);
        match request.send().await {
            Ok(_) => return Err(self.wrong("a transaction that was done though its condition cannot hold")),
            Err(error) => match reasons(error.as_service_error()).as_slice() {
                [CANCELED_BY_CONDITION, _] => return Err(self.wrong("an account that is not there")),
                [_, CANCELED_BY_CONDITION] => {}
                _ => return Err(fault::error(error)),
            },
        }
        self.balanced().await.map(|()| 0)
    }

    /// Adds to the balance of an account, which must be there.
    fn moving(&self, account: i64, amount: i64) -> Result<TransactWriteItem> {
        let update = Update::builder()
            .table_name(&self.subject.accounts)
            .key("id", number(account))
            .condition_expression("attribute_exists(id)")
            .update_expression("SET balance = balance + :amount")
            .expression_attribute_values(":amount", number(amount));
        Ok(TransactWriteItem::builder().update(update.build().map_err(incomplete)?).build())
    }

    /// Reads both accounts at one point in time: what one has lost, the other must have.
    async fn balanced(&self) -> Result<()> {
        let mut request = self.client.transact_get_items();
        for account in self.contents().accounts(self.row) {
            let get = Get::builder().table_name(&self.subject.accounts).key("id", number(account));
            let get = TransactGetItem::builder().get(get.build().map_err(incomplete)?).build();
            request = request.transact_items(get);
        }
        let answer = request.send().await.map_err(fault::error)?;
        let balance = |item: Option<&Item>| item.and_then(|item| number_of(item, "balance"));
        let balances: Vec<_> = answer.responses().iter().map(|response| balance(response.item.as_ref())).collect();
        match balances.as_slice() {
            [Some(from), Some(to)] if from + to == 2 * BALANCE => Ok(()),
            other => Err(self.wrong(&format!("balances of {other:?} where two hold {}", 2 * BALANCE))),
        }
    }

    /// Verifies that there are just the items that are expected, in that order.
    fn each(
        &self,
        items: &[Item],
        mut expected: impl Iterator<Item = u64>,
        verify: impl Fn(u64, &Item) -> Result<()>,
    ) -> Result<u64> {
        for (position, item) in items.iter().enumerate() {
            let expected = expected.next().ok_or_else(|| self.wrong(&format!("{} items, too many", items.len())))?;
            verify(expected, item)
                .map_err(|error| Error::wrong_result(format!("{error}, in item {}", position + 1)))?;
        }
        match expected.count() {
            0 => Ok(items.len() as u64),
            missing => Err(self.wrong(&format!("{} items, {missing} too few", items.len()))),
        }
    }

    fn number(&self, item: &Item, name: &str, expected: i64) -> Result<()> {
        match number_of(item, name) {
            Some(found) if found == expected => Ok(()),
            found => Err(self.wrong(&format!("`{name}` {found:?} where {expected} was written"))),
        }
    }

    fn text(&self, item: &Item, name: &str, expected: &str) -> Result<()> {
        match text_of(item, name) {
            Some(found) if found == expected => Ok(()),
            found => {
                let (found, expected) = (shown(&format!("{found:?}")), shown(expected));
                Err(self.wrong(&format!("`{name}` {found} where {expected} was written")))
            }
        }
    }

    fn wrong(&self, what: &str) -> Error {
        Error::wrong_result(format!("{} of row {} gave {what}", self.name, self.row))
    }
}

fn written(write: impl FnOnce(&mut String)) -> String {
    let mut text = String::new();
    write(&mut text);
    text
}

/// A value in a message, cut where it is long.
fn shown(value: &str) -> String {
    /// Enough to recognise it.
    const CHARACTERS_MAX: usize = 60;
    value.chars().take(CHARACTERS_MAX).collect()
}

/// Why each part of a transaction was refused; none where that is not what happened.
fn reasons(error: Option<&TransactWriteItemsError>) -> Vec<&str> {
    let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) = error else { return Vec::new() };
    canceled
        .cancellation_reasons()
        .iter()
        .map(|reason: &CancellationReason| reason.code().unwrap_or_default())
        .collect()
}
