//! That every driver is tested, and has the operations that its documentation promises.

use libtest_mimic::{Completion, Failed, Trial};

/// The last three where the server has them.
const FAMILY_OF_MYSQL: &[&str] =
    &["insert", "select", "update", "delete", "join", "transaction", "window", "json", "fulltext"];

/// What users are promised, by driver.
const OPERATIONS: &[(&str, &[&str])] = &[
    ("cassandra", &["insert", "select", "update", "delete", "consistency", "timeseries"]),
    ("cockroachdb", &["insert", "select", "update", "delete", "join", "transaction", "window", "json"]),
    ("dynamodb", &["put", "get", "update", "delete", "query", "scan", "transaction"]),
    ("elasticsearch", &["index", "search", "aggregate", "fulltext", "get", "update", "delete"]),
    ("influxdb", &["write", "query", "aggregate"]),
    ("mariadb", FAMILY_OF_MYSQL),
    ("mongodb", &["insert", "select", "update", "delete", "aggregate", "lookup", "textsearch", "transaction"]),
    ("mysql", &["insert", "select", "update", "delete", "join", "transaction", "window", "json", "fulltext"]),
    ("mysql", FAMILY_OF_MYSQL),
    ("oceanbase", FAMILY_OF_MYSQL),
    ("postgres", &["insert", "select", "update", "delete", "join", "window", "json", "fulltext", "transaction"]),
    (
        "redis",
        &[
            "set",
            "get",
            "pipeline",
            "hash",
            "sortedset",
            "list",
            "sets",
            "stream",
            "bitmap",
            "hyperloglog",
            "geo",
            "json",
        ],
    ),
    ("sqlite", &["insert", "select", "update", "delete", "join", "window", "json", "fulltext", "transaction"]),
    ("tidb", FAMILY_OF_MYSQL),
];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials: Vec<_> = OPERATIONS
        .iter()
        .map(|(name, promised)| {
            let name = *name;
            let promised = *promised;
            Trial::ignorable_test(format!("coverage::{name}_has_the_operations_that_are_promised"), move || {
                check_operations(name, promised)
            })
        })
        .collect();
    trials.push(Trial::test("coverage::drivers_are_alphabetic_and_all_have_targets", check_targets));
    trials
}

fn check_operations(name: &str, promised: &[&str]) -> Result<Completion, Failed> {
    let Some(driver) = drivers::DRIVERS.iter().find(|driver| driver.name() == name) else {
        return Ok(Completion::ignored_with("this build has not that driver"));
    };
    let missing = |wanted: &&&str| !driver.operations().iter().any(|operation| operation.name == **wanted);
    let missing: Vec<_> = promised.iter().filter(missing).collect();
    if missing.is_empty() { Ok(Completion::Completed) } else { Err(format!("without {missing:?}").into()) }
}

fn check_targets() -> Result<(), Failed> {
    let names: Vec<_> = drivers::DRIVERS.iter().map(|driver| driver.name()).collect();
    if !names.is_sorted() {
        return Err(format!("{names:?} are not in order").into());
    }
    for driver in drivers::DRIVERS {
        let targets = testkit::targets(*driver);
        if targets.available.is_empty() && targets.missing.is_empty() {
            return Err(format!("{} is neither tested nor named as skipped", driver.name()).into());
        }
    }
    Ok(())
}
