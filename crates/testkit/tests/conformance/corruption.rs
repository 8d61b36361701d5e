//! What was changed behind the driver's back is noticed by the operations that read it.

use libtest_mimic::Completion;
use store::{Capability, DataSize, Dataset, Driver, ErrorKind, Request};

use crate::lab::{Lab, patiently};
use crate::raw::{Raw, side};
use crate::sentence::{Sentence, may_skip};

const ROWS: u64 = 40;

/// For SQL stores: an operation and the statement after which it must not succeed, `{ns}` being the namespace.
const SQL: &[(&str, &str)] = &[
    ("select", "UPDATE {ns}_items SET payload = 'forged'"),
    ("select", "UPDATE {ns}_items SET code = code + 1"),
    ("select", "DELETE FROM {ns}_items"),
    ("update", "DELETE FROM {ns}_items"),
    ("delete", "DELETE FROM {ns}_items"),
    ("join", "UPDATE {ns}_customers SET name = 'forged'"),
    ("join", "UPDATE {ns}_customers SET region = region + 1"),
    ("window", "UPDATE {ns}_orders SET amount = amount + 1"),
    ("window", "DELETE FROM {ns}_orders"),
    ("json", "DELETE FROM {ns}_documents"),
    ("fulltext", "UPDATE {ns}_articles SET title = 'forged'"),
    ("fulltext", "DELETE FROM {ns}_articles"),
    ("transaction", "UPDATE {ns}_accounts SET balance = balance + 1"),
    ("transaction", "DELETE FROM {ns}_accounts"),
];

/// For Redis: an operation and the command after which it must not succeed on row 7. Rows up to 40 are all of block 0,
/// and a slot of their own.
const REDIS: &[(&str, &[&str])] = &[
    ("get", &["SET", "{ns}:s:7", "forged"]),
    ("get", &["DEL", "{ns}:s:7"]),
    ("hash", &["HSET", "{ns}:h:7", "stranger", "x"]),
    ("sortedset", &["ZADD", "{ns}:z:0", "1000000", "5000"]),
    ("list", &["LPUSH", "{ns}:l:7", "forged"]),
    ("sets", &["SADD", "{ns}:m:{3}:7", "99999"]),
    ("sets", &["SREM", "{ns}:m:{3}:6", "60"]),
    ("stream", &["XADD", "{ns}:x:7", "*", "v", "forged"]),
    ("bitmap", &["SETBIT", "{ns}:b:0", "15", "1"]),
    ("bitmap", &["SETBIT", "{ns}:b:0", "14", "0"]),
    ("hyperloglog", &["PFADD", "{ns}:p:0", "a", "b", "c", "d", "e", "f"]),
    ("geo", &["ZREM", "{ns}:g:0", "8"]),
    ("geo", &["GEOADD", "{ns}:g:0", "0", "0", "8"]),
    ("json", &["JSON.SET", "{ns}:j:7", "$.text", "\"forged\""]),
    ("json", &["JSON.SET", "{ns}:j:7", "$.row", "8"]),
    ("transaction", &["HINCRBY", "{ns}:t:7", "a", "1"]),
    ("transaction", &["DEL", "{ns}:t:7"]),
];

pub(crate) fn sentences(driver: &'static dyn Driver) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    if driver.capabilities().has(Capability::Sql) {
        let has = |name: &str| driver.operations().iter().any(|operation| operation.name == name);
        for (number, (operation, statement)) in SQL.iter().enumerate().filter(|(_, (operation, _))| has(operation)) {
            sentences.push(forged(driver, number, operation, async move |raw: &mut Raw, namespace: &str| {
                raw.sql(&statement.replace("{ns}", namespace)).await;
            }));
        }
    } else if driver.name() == "redis" {
        for (number, (operation, command)) in REDIS.iter().enumerate() {
            sentences.push(forged(driver, number, operation, async move |raw: &mut Raw, namespace: &str| {
                let command: Vec<_> = command.iter().map(|part| part.replace("{ns}", namespace)).collect();
                raw.redis().ask(&command);
            }));
        }
    } else if let Some(entry) = side(driver) {
        for (number, (operation, forgery)) in entry.forgeries.iter().enumerate() {
            sentences.push(forged(driver, number, operation, async move |raw: &mut Raw, namespace: &str| {
                if let Raw::Side(side) = raw {
                    side.forge(forgery, namespace).await;
                }
            }));
        }
    }
    sentences
}

fn forged(
    driver: &dyn Driver,
    number: usize,
    operation: &'static str,
    forge: impl AsyncFnOnce(&mut Raw, &str) + Send + 'static,
) -> Sentence {
    let place = driver.operations().iter().position(|listed| listed.name == operation);
    let place = place.unwrap_or_else(|| panic!("{} has no operation `{operation}`", driver.name())) as u16;
    may_skip(format!("operation_{operation}_notices_forgery_{number}"), async move |lab: &Lab| {
        let server = lab.store.server().await.expect("the server describes itself");
        if let Some(reason) = server.operations_missing.get(operation) {
            return Completion::ignored_with(reason);
        }
        let dataset = lab.rows(ROWS, DataSize::Small);
        let mut session = lab.loaded(&dataset).await;
        let request = Request::Operation { operation: place, row: 7 };
        if operation != "delete" {
            patiently(session.as_mut(), &request).await.expect("the data is as it was loaded");
        }
        let mut raw = lab.raw().await.expect("there is another way in");
        forge(&mut raw, dataset.namespace().as_str()).await;
        let error = patiently(session.as_mut(), &request).await.expect_err("the data was forged");
        assert_eq!(error.kind(), ErrorKind::WrongResult, "{error}");
        assert!(!session.is_broken(), "a wrong result leaves the session usable");
        recovers(lab, &dataset, &request).await;
        Completion::Completed
    })
    .about(operation)
}

/// Loading anew makes everything right again.
async fn recovers(lab: &Lab, dataset: &Dataset, request: &Request<'_>) {
    let mut session = lab.loaded(dataset).await;
    patiently(session.as_mut(), request).await.expect("the data is as it was loaded");
}
