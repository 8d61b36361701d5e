//! The operations, one at a time and many in flight.

use ::store::{Effect, ErrorKind};

use super::*;
use crate::postgres::dialect::DIALECT;
use crate::relational::{OPERATIONS, Plan};

const ROWS: u64 = 120;

fn place(name: &str) -> u16 {
    OPERATIONS.iter().position(|operation| operation.name == name).expect("known") as u16
}

async fn operate(session: &mut dyn Session, name: &str, row: u64) -> Result<Outcome> {
    execute(session, &Request::Operation { operation: place(name), row }, &mut ()).await
}

#[tokio::test]
async fn every_operation_verifies_every_row_of_every_size() {
    let Some(database) = Database::new().await else { return };
    let store = database.store().await;
    for (_, size) in DataSize::ALL {
        for rows in [1, 7, ROWS] {
            let dataset = operations(rows, size);
            loaded(&*store, &dataset).await;
            let mut session = session(&*store, Some(&dataset), 1).await;
            for operation in OPERATIONS {
                for row in 0..rows {
                    let row = if operation.effect == Effect::Adds { row + (1 << 61) } else { row };
                    let outcome = operate(&mut *session, operation.name, row).await;
                    let found = outcome.unwrap_or_else(|error| panic!("{} of {row}: {error}", operation.name));
                    assert!(found.rows > 0 || operation.name == "join", "{} of {row}", operation.name);
                }
            }
        }
    }
}

#[tokio::test]
async fn operations_share_a_connection_and_transactions_stay_whole() {
    let Some(database) = Database::new().await else { return };
    let store = database.store().await;
    let dataset = operations(ROWS, DataSize::Small);
    loaded(&*store, &dataset).await;
    let mut session = session(&*store, Some(&dataset), 16).await;
    assert_eq!(session.depth(), 16);
    let names = ["transaction", "select", "join", "transaction", "insert", "window", "transaction", "json", "fulltext"];
    let request = |number: u64| {
        let name = names[(number % names.len() as u64) as usize];
        // Every other insert is of a row that is there: an error in the midst of the others.
        let row = if name == "insert" && number.is_multiple_of(2) { number + ROWS } else { number % ROWS };
        Request::Operation { operation: place(name), row }
    };
    let requests: Vec<_> = (0..450).map(request).collect();
    let results = pipelined(&mut *session, &requests).await;
    for (number, result) in results.iter().enumerate() {
        let fails = number % names.len() == 4 && number % 2 == 1;
        assert_eq!(result.as_ref().err().map(Error::kind), fails.then_some(ErrorKind::Rejected), "{number}");
    }
    let sums = "SELECT count(*)::text FROM (SELECT id / 2 FROM storelab_ops_accounts GROUP BY id / 2 \
        HAVING sum(balance) <> 2000000) AS wrong";
    assert_eq!(run(&database.url, sums).await, ["0"]);
    let busy = session.submit(0, &Request::Operation { operation: place("select"), row: 1 });
    busy.expect("taken");
    assert_eq!(session.submit(1, &Request::Begin).expect_err("would mix").kind(), ErrorKind::Unsupported);
    poll_fn(|context| session.poll_completion(context, &mut ())).await.result.expect("read");
}

#[tokio::test]
async fn wrong_data_is_told_by_name() {
    let Some(database) = Database::new().await else { return };
    let store = database.store().await;
    let dataset = operations(ROWS, DataSize::Small);
    loaded(&*store, &dataset).await;
    let mut session = session(&*store, Some(&dataset), 1).await;
    for (operation, damage, told) in [
        ("select", "UPDATE storelab_ops_items SET payload = 'x' WHERE id = 5", "column `payload`"),
        ("join", "UPDATE storelab_ops_customers SET name = 'x'", "column `customer name`"),
        ("window", "DELETE FROM storelab_ops_orders", "there are more"),
        (
            "json",
            "UPDATE storelab_ops_documents SET document = jsonb_set(document, '{owner,name}', '\"x\"')",
            "owner.name",
        ),
        ("fulltext", "UPDATE storelab_ops_articles SET title = 'x'", "column `title`"),
        ("transaction", "UPDATE storelab_ops_accounts SET balance = 1", "hold 2 where two hold 2000000"),
        ("transaction", "DELETE FROM storelab_ops_accounts", "0 rows changed where 1 must"),
        ("update", "DELETE FROM storelab_ops_items", "0 rows changed where 1 must"),
    ] {
        run(&database.url, damage).await;
        let error = operate(&mut *session, operation, 5).await.expect_err(operation);
        assert_eq!(error.kind(), ErrorKind::WrongResult, "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
    // What failed was rolled back: nothing of it is held any longer.
    assert_eq!(run(&database.url, "SELECT 'idle' WHERE pg_try_advisory_lock(1)").await, ["idle"]);
    assert_eq!(operate(&mut *session, "insert", 900).await.expect("added").rows, 1);
}

#[tokio::test]
async fn queries_use_their_indexes() {
    let Some(database) = Database::new().await else { return };
    let store = database.store().await;
    let dataset = operations(5_000, DataSize::Small);
    loaded(&*store, &dataset).await;
    let plan = Plan::new(&DIALECT, Some(&dataset));
    for (part, index) in [
        ("c.name", "storelab_ops_customers_region"),
        ("c.name", "storelab_ops_orders_customer"),
        ("lag(", "storelab_ops_orders_customer"),
        ("to_jsonb", "storelab_ops_documents_group"),
        ("plainto_tsquery", "storelab_ops_articles_words"),
        ("select code", "storelab_ops_items_pkey"),
    ] {
        let texts = (0..plan.planned()).map(|number| plan.text(number));
        let text = texts.into_iter().find(|text| text.to_lowercase().contains(part)).expect("known");
        let text = text.replace("$1", "'1'").replace("$2", "'2'");
        let steps = run(&database.url, &format!("EXPLAIN {text}")).await;
        assert!(steps.iter().any(|step| step.contains(index)), "{part}: {steps:#?}");
    }
}
