//! Capabilities are data that is known before a connection is opened, and they are true.

use libtest_mimic::Trial;
use store::{Capability, DataSize, Driver, ErrorKind, Fields, Request, SessionSpec, StatementId, Values};

use crate::data::{FIELD_COUNT, fields, key};
use crate::lab::{Lab, rows_of};
use crate::sentence::{Sentence, says};

/// What needs no target.
pub(crate) fn trials(driver: &'static dyn Driver) -> Vec<Trial> {
    let trial = |name: &str, show: fn(&dyn Driver)| {
        Trial::test(format!("{}::{name}", driver.name()), move || {
            show(driver);
            Ok(())
        })
    };
    vec![
        trial("capabilities_agree_with_ports_and_options", agree),
        trial("names_are_unique_and_well_formed", names),
        trial("the_environments_url_is_the_drivers_own", environment),
        trial("an_unknown_option_is_refused_with_the_nearest", options),
    ]
}

pub(crate) fn sentences(driver: &dyn Driver) -> Vec<Sentence> {
    let has = |capability| driver.capabilities().has(capability);
    let mut sentences = vec![
        says("sessions_pipeline_where_the_driver_claims_so", depth),
        says("sessions_have_the_sql_face_where_the_driver_claims_so", sql_face),
        says("servers_have_counters_where_the_driver_claims_so", counters),
    ];
    for (capability, verbs) in [
        (Capability::KeyValue, &["read", "insert", "update", "delete"][..]),
        (Capability::OrderedScan, &["scan"]),
        (Capability::Sql, &["statement"]),
        (Capability::Transactions, &["begin", "commit", "rollback"]),
    ] {
        for verb in verbs.iter().copied().filter(|_| !has(capability)) {
            let name = format!("{verb}_is_refused_as_unsupported");
            sentences.push(says(name, async move |lab: &Lab| refused(lab, verb).await));
        }
    }
    sentences
}

fn agree(driver: &dyn Driver) {
    let has = |capability| driver.capabilities().has(capability);
    assert_eq!(has(Capability::Embedded), driver.default_port().is_none(), "what is embedded has no port");
    let names: Vec<_> = driver.options().iter().map(|option| option.name).collect();
    assert_eq!(has(Capability::Tls), names.contains(&"tls"), "what can be encrypted has `tls` among {names:?}");
    assert_eq!(!has(Capability::Embedded), names.contains(&"connect_timeout"), "{names:?}");
    assert!(!has(Capability::Transactions) || has(Capability::Sql), "transactions are made of statements");
    assert!(!has(Capability::BlockingClient) || !has(Capability::Pipelining), "who blocks has one request at a time");
}

fn names(driver: &dyn Driver) {
    let is_plain =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    assert!(is_plain(driver.name()), "{}", driver.name());
    assert_eq!(driver.schemes().first(), Some(&driver.name()), "the usual scheme is the driver's name");
    for scheme in driver.schemes() {
        assert_eq!(drivers::for_scheme(scheme).expect("a driver has it").name(), driver.name(), "{scheme}");
    }
    let operations: Vec<_> = driver.operations().iter().map(|operation| operation.name).collect();
    let options: Vec<_> = driver.options().iter().map(|option| option.name).collect();
    for list in [operations, options] {
        let mut unique = list.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), list.len(), "{list:?}");
        assert!(list.iter().all(|name| is_plain(&name.replace('_', ""))), "{list:?}");
    }
    for operation in driver.operations() {
        assert!(!operation.summary.is_empty() && !operation.summary.contains('\n'), "{}", operation.name);
    }
    for option in driver.options() {
        assert!(!option.summary.is_empty() && !option.summary.contains('\n'), "{}", option.name);
    }
}

fn environment(driver: &dyn Driver) {
    let Some(url) = driver.url_from_environment(&|_| None) else { return };
    let (found, target) = drivers::resolve(&url).expect("what the driver writes is valid");
    assert_eq!(found.name(), driver.name());
    assert!(target.is_loopback(), "with nothing set it is this machine: {target}");
}

fn options(driver: &dyn Driver) {
    let scheme = driver.schemes()[0];
    let refused = |option: &str| {
        let error = drivers::resolve(&format!("{scheme}://127.0.0.1/?{option}=1")).err().expect("an unknown option");
        assert_eq!(error.kind(), ErrorKind::Config, "{option}");
        assert!(error.to_string().contains(option), "{error}");
        error.hint().expect("a hint").to_owned()
    };
    for option in driver.options() {
        let misspelt = format!("{}x", option.name);
        assert!(refused(&misspelt).contains("did you mean"), "{misspelt}");
    }
    refused("zzzzzz");
}

async fn depth(lab: &Lab) {
    const WANTED: usize = 8;
    let dataset = lab.records(3);
    lab.load(&dataset).await;
    let pipelines = lab.has(Capability::Pipelining);
    assert_eq!(lab.session(Some(&dataset), WANTED).await.depth(), if pipelines { WANTED } else { 1 });
    assert_eq!(lab.session(Some(&dataset), 1).await.depth(), 1);
}

async fn sql_face(lab: &Lab) {
    let mut session = lab.session(None, 1).await;
    assert_eq!(session.sql().is_some(), lab.has(Capability::Sql));
    if let Some(sql) = session.sql() {
        let (first, second) = (sql.placeholder(1), sql.placeholder(2));
        assert!(matches!((first.as_str(), second.as_str()), ("?", "?") | ("$1", "$2")), "{first} {second}");
    }
}

async fn counters(lab: &Lab) {
    let before = lab.store.counters().await.expect("counters can be read");
    assert_eq!(!before.is_empty(), lab.has(Capability::ServerCounters));
    if before.is_empty() {
        return;
    }
    let dataset = lab.rows(100, DataSize::Medium);
    lab.load(&dataset).await;
    // Some servers publish their counters only now and then.
    for _ in 0..200 {
        let after = lab.store.counters().await.expect("counters can be read again");
        assert!(before.keys().all(|name| after.contains_key(name)), "counters do not come and go");
        if after.iter().any(|(name, value)| before.get(name).is_some_and(|before| value > before)) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("a load moved none of {before:?}");
}

/// Refused when it is submitted, when the session is opened, or by an error of the same kind: never a hang.
async fn refused(lab: &Lab, verb: &str) {
    let dataset = lab.records(3);
    lab.load(&dataset).await;
    let opened = lab.store.session(SessionSpec { dataset: Some(&dataset), depth: 1 }).await;
    let mut session = match opened {
        Ok(session) => session,
        Err(error) => return assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
    };
    let (key, bytes) = (key(1), fields(1, FIELD_COUNT, 10));
    let values = Values { bytes: &bytes, length: 10, first: 0 };
    let request = match verb {
        "read" => Request::Read { key: &key, fields: Fields::All },
        "scan" => Request::Scan { start: &key, limit: 3 },
        "insert" => Request::Insert { key: &key, values },
        "update" => Request::Update { key: &key, values },
        "delete" => Request::Delete { key: &key },
        "statement" => Request::Statement { statement: StatementId(0), parameters: &[] },
        "begin" => Request::Begin,
        "commit" => Request::Commit,
        _ => Request::Rollback,
    };
    let error = session.submit(0, &request).expect_err("it is not claimed");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(session.in_flight(), 0, "what was refused is not in flight");
    if lab.has(Capability::KeyValue) {
        assert_eq!(rows_of(session.as_mut(), Request::Read { key: &key, fields: Fields::All }).await, 1, "it goes on");
    }
}
