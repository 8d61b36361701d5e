//! What the operations' tables hold: pure functions of (seed, row number, size).
//!
//! Each operation computes from them what it must read, so every answer can be verified without a second copy.
//! Row number `n` puts rows into every table:
//!
//! | table | rows | what it is for |
//! |---|---|---|
//! | `accounts` | 2n and 2n+1, a pair with a constant sum | `transaction` |
//! | `articles` | n, one of a few that hold its topic's word | `fulltext` |
//! | `customers` | n, where n < rows / 4 | `join` |
//! | `documents` | n, one of a few of its group | `json` |
//! | `items` | n | `insert`, `select`, `update`, `delete` |
//! | `orders` | n, one of a few of its customer | `join`, `window` |
//!
//! `items` is the only table that grows and shrinks, and operations change only `items.quantity` and
//! `accounts.balance`: what is verified elsewhere holds in any interleaving.

use std::fmt::Write;

use store::{DataSize, Namespace, OperationRows, Value};

use crate::rows::RowBuffer;

/// About so many orders a customer, documents a group, articles a topic; customers a region.
const ORDERS_PER_CUSTOMER: u64 = 4;
const CUSTOMERS_PER_REGION: u64 = 3;
const DOCUMENTS_PER_GROUP: u64 = 5;
const ARTICLES_PER_TOPIC: u64 = 5;

/// Articles without a topic, with negative keys: a word that is in every text ranks them all alike.
const ARTICLES_WITHOUT_TOPIC: i64 = 16;

/// Words of the shortest text: the most frequent topic word (9 times) and something around it.
const ARTICLE_WORDS_MIN: usize = 14;

/// What an account holds at first.
pub(crate) const BALANCE: i64 = 1_000_000;

/// An order's amount is below this.
pub(crate) const AMOUNT_MAX: i64 = 10_000;

/// Words that texts are made of; none is a stop word of any product, none begins like a topic's word.
const VOCABULARY: [&str; 32] = [
    "anchor", "basket", "candle", "desert", "engine", "falcon", "garden", "hammer", "island", "jacket", "kettle",
    "ladder", "magnet", "needle", "orange", "pepper", "quartz", "ribbon", "saddle", "timber", "umbrella", "velvet",
    "walnut", "yellow", "bridge", "copper", "dragon", "empire", "forest", "glacier", "harbor", "insect",
];

/// A document's tags: one of these.
const TAGS: [&str; 4] = ["blue", "green", "red", "white"];

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    /// [`Value::Integer`], 64 bits.
    Integer,
    /// [`Value::Integer`], 32 bits.
    Integer32,
    /// [`Value::Text`].
    Text,
    /// [`Value::Text`] that is a JSON document.
    Json,
}

/// A table of the operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// Balances.
    Accounts,
    /// Texts.
    Articles,
    /// Who orders.
    Customers,
    /// JSON.
    Documents,
    /// What is added, changed and removed.
    Items,
    /// Amounts by customer.
    Orders,
}

impl Table {
    /// All of them, alphabetic.
    pub(crate) const ALL: [Self; 6] =
        [Self::Accounts, Self::Articles, Self::Customers, Self::Documents, Self::Items, Self::Orders];

    /// Its name in the namespace.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Articles => "articles",
            Self::Customers => "customers",
            Self::Documents => "documents",
            Self::Items => "items",
            Self::Orders => "orders",
        }
    }

    /// Its loaded columns, the key first. The articles' key is called as the dialect says.
    pub(crate) const fn columns(self) -> &'static [(&'static str, ColumnKind)] {
        use ColumnKind::{Integer, Json, Text};
        match self {
            Self::Accounts => &[("id", Integer), ("balance", Integer)],
            Self::Articles => &[("id", Integer), ("title", Text), ("body", Text)],
            Self::Customers => &[("id", Integer), ("region", Integer), ("name", Text)],
            Self::Documents => &[("id", Integer), ("document", Json)],
            Self::Items => &[("id", Integer), ("code", Integer), ("quantity", Integer), ("payload", Text)],
            Self::Orders => &[("id", Integer), ("customer", Integer), ("amount", Integer)],
        }
    }
}

/// The contents of one dataset.
#[derive(Debug, Clone)]
pub(crate) struct Contents {
    /// Where it lives.
    pub(crate) namespace: Namespace,
    /// Rows that are loaded, at least 1.
    pub(crate) rows: u64,
    size: DataSize,
    seed: u64,
}

impl Contents {
    /// The contents that those numbers mean.
    pub(crate) fn new(rows: &OperationRows) -> Self {
        Self { namespace: rows.namespace.clone(), rows: rows.rows.max(1), size: rows.size, seed: rows.seed }
    }

    /// Appends the rows that a row number puts into a table.
    pub(crate) fn fill(&self, table: Table, number: u64, rows: &mut RowBuffer) {
        let id = Value::Integer(number.cast_signed());
        match table {
            Table::Accounts => {
                for account in self.accounts(number) {
                    rows.begin_row();
                    rows.push(Value::Integer(account));
                    rows.push(Value::Integer(BALANCE));
                }
            }
            Table::Articles => {
                if number == 0 {
                    for without_topic in -ARTICLES_WITHOUT_TOPIC..0 {
                        self.fill_article(without_topic, None, rows);
                    }
                }
                self.fill_article(number.cast_signed(), Some(self.topic(number)), rows);
            }
            Table::Customers => {
                if number < self.customers() {
                    rows.begin_row();
                    rows.push(id);
                    rows.push(Value::Integer(self.region(number).cast_signed()));
                    rows.push_text_with(|text| self.write_customer(number, text));
                }
            }
            Table::Documents => {
                rows.begin_row();
                rows.push(id);
                rows.push_text_with(|text| self.write_document(number, text));
            }
            Table::Items => {
                rows.begin_row();
                rows.push(id);
                rows.push(Value::Integer(self.code(number)));
                rows.push(Value::Integer(0));
                rows.push_text_with(|text| self.write_payload(number, text));
            }
            Table::Orders => {
                rows.begin_row();
                rows.push(id);
                rows.push(Value::Integer(self.customer(number).cast_signed()));
                rows.push(Value::Integer(self.amount(number)));
            }
        }
    }

    /// The pair of accounts of a row.
    #[expect(clippy::unused_self, reason = "everything about the contents is asked of them")]
    pub(crate) fn accounts(&self, number: u64) -> [i64; 2] {
        let first = number.cast_signed() * 2;
        [first, first + 1]
    }

    /// How much a transaction on a row moves.
    pub(crate) fn transfer(&self, number: u64) -> i64 {
        (self.mix(number, 1) % 100).cast_signed() + 1
    }

    /// How many customers there are.
    pub(crate) fn customers(&self) -> u64 {
        (self.rows / ORDERS_PER_CUSTOMER).max(1)
    }

    /// How many regions there are.
    pub(crate) fn regions(&self) -> u64 {
        (self.customers() / CUSTOMERS_PER_REGION).max(1)
    }

    /// The region of a customer.
    pub(crate) fn region(&self, customer: u64) -> u64 {
        customer % self.regions()
    }

    /// The customer of an order.
    pub(crate) fn customer(&self, order: u64) -> u64 {
        order % self.customers()
    }

    /// The orders of a customer, ascending.
    pub(crate) fn orders(&self, customer: u64) -> impl Iterator<Item = u64> + use<> {
        (customer..self.rows).step_by(self.customers() as usize)
    }

    /// The amount of an order.
    pub(crate) fn amount(&self, order: u64) -> i64 {
        (self.mix(order, 2) % AMOUNT_MAX.cast_unsigned()).cast_signed()
    }

    /// An item's code.
    pub(crate) fn code(&self, item: u64) -> i64 {
        (self.mix(item, 3) >> 1).cast_signed()
    }

    /// An item's payload.
    pub(crate) fn write_payload(&self, item: u64, text: &mut String) {
        let mut length = self.size.payload_bytes();
        let mut step = 0;
        while length > 0 {
            let letters = self.mix(item, 16 + step).to_le_bytes().map(|byte| b'a' + (byte & 15));
            let count = length.min(letters.len());
            text.push_str(std::str::from_utf8(&letters[..count]).expect("letters are text"));
            length -= count;
            step += 1;
        }
    }

    /// A customer's name.
    pub(crate) fn write_customer(&self, customer: u64, text: &mut String) {
        write!(text, "customer {:08x}", self.mix(customer, 4) as u32).expect("a String takes everything");
    }

    /// The group of a document.
    pub(crate) fn group(&self, document: u64) -> u64 {
        document % self.groups()
    }

    /// The documents of a group, ascending.
    pub(crate) fn documents(&self, group: u64) -> impl Iterator<Item = u64> + use<> {
        (group..self.rows).step_by(self.groups() as usize)
    }

    /// The tag of a document.
    pub(crate) fn tag(&self, document: u64) -> &'static str {
        TAGS[(self.mix(document, 5) % TAGS.len() as u64) as usize]
    }

    /// The name of a document's owner.
    pub(crate) fn write_owner(&self, document: u64, text: &mut String) {
        write!(text, "owner {:08x}", self.mix(document, 6) as u32).expect("a String takes everything");
    }

    fn write_document(&self, document: u64, text: &mut String) {
        let (group, tag) = (self.group(document), self.tag(document));
        let level = self.mix(document, 7) % 10;
        write!(text, r#"{{"group":{group},"tags":["{tag}","number{}"],"owner":{{"name":""#, document % 7)
            .expect("a String takes everything");
        self.write_owner(document, text);
        write!(text, r#"","level":{level}}},"note":""#).expect("a String takes everything");
        self.write_payload(document, text);
        text.push_str("\"}");
    }

    /// The topic of an article.
    pub(crate) fn topic(&self, article: u64) -> u64 {
        article % self.topics()
    }

    /// The articles of a topic, best first: the later one has its word more often, and all are of one length.
    pub(crate) fn articles(&self, topic: u64) -> impl Iterator<Item = u64> + use<> {
        let topics = self.topics();
        let count = (self.rows - topic).div_ceil(topics);
        (0..count).rev().map(move |position| topic + position * topics)
    }

    /// An article's title.
    pub(crate) fn write_title(&self, article: i64, text: &mut String) {
        write!(text, "title {:08x}", self.mix(article.cast_unsigned(), 8) as u32).expect("a String takes everything");
    }

    /// A topic's word: `zq` and letters only, so that every product's parser takes it for one word.
    #[expect(clippy::unused_self, reason = "everything about the contents is asked of them")]
    pub(crate) fn write_topic(&self, topic: u64, text: &mut String) {
        text.push_str("zq");
        let mut rest = topic;
        loop {
            text.push(char::from(b'a' + (rest % 16) as u8));
            rest /= 16;
            if rest == 0 {
                break;
            }
        }
    }

    fn fill_article(&self, article: i64, topic: Option<u64>, rows: &mut RowBuffer) {
        /// Letters of a word and the space behind it, on average.
        const WORD_BYTES: usize = 7;
        rows.begin_row();
        rows.push(Value::Integer(article));
        rows.push_text_with(|text| self.write_title(article, text));
        rows.push_text_with(|text| {
            let words = (self.size.payload_bytes() / WORD_BYTES).max(ARTICLE_WORDS_MIN);
            let frequency = topic.map_or(0, |_| (article.cast_unsigned() / self.topics()) as usize + 1);
            for position in 0..words {
                if position > 0 {
                    text.push(' ');
                }
                match topic {
                    Some(topic) if position < frequency => self.write_topic(topic, text),
                    _ => {
                        let draw = self.mix(article.cast_unsigned(), 1024 + position as u64);
                        text.push_str(VOCABULARY[(draw % VOCABULARY.len() as u64) as usize]);
                    }
                }
            }
        });
    }

    fn groups(&self) -> u64 {
        (self.rows / DOCUMENTS_PER_GROUP).max(1)
    }

    fn topics(&self) -> u64 {
        (self.rows / ARTICLES_PER_TOPIC).max(1)
    }

    /// A number that looks random and depends on the seed, the row and the purpose alone (the finaliser of splitmix64,
    /// <https://prng.di.unimi.it/splitmix64.c>, twice).
    fn mix(&self, number: u64, purpose: u64) -> u64 {
        finalise(finalise(self.seed ^ purpose.wrapping_mul(0xd1b5_4a32_d192_ed03)).wrapping_add(number))
    }
}

fn finalise(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(rows: u64, size: DataSize) -> Contents {
        let namespace = Namespace::new("t").expect("valid");
        Contents::new(&OperationRows { namespace, rows, size, seed: 7 })
    }

    #[test]
    fn every_row_is_found_from_its_own_number() {
        for rows in [1, 2, 3, 4, 5, 9, 10, 14, 23, 1000] {
            let contents = contents(rows, DataSize::Small);
            for number in 0..rows {
                assert!(contents.orders(contents.customer(number)).any(|order| order == number));
                assert!(contents.documents(contents.group(number)).any(|document| document == number));
                let found = contents.articles(contents.topic(number)).collect::<Vec<_>>();
                assert!(found.contains(&number) && found.len() < ARTICLE_WORDS_MIN, "{rows} {found:?}");
            }
        }
    }

    #[test]
    fn tables_have_their_columns_and_payloads_their_size() {
        for (_, size) in DataSize::ALL {
            let contents = contents(10, size);
            for table in Table::ALL {
                let mut rows = RowBuffer::default();
                for number in 0..10 {
                    contents.fill(table, number, &mut rows);
                }
                for row in 0..rows.len() {
                    assert_eq!(rows.row(row).len(), table.columns().len());
                }
            }
            let mut payload = String::new();
            contents.write_payload(3, &mut payload);
            assert_eq!(payload.len(), size.payload_bytes());
        }
    }
}
