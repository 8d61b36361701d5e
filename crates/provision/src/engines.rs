//! Every kind of server that can be started: one file each, one line in [`ENGINES`].

mod cassandra;
mod cockroachdb;
mod dynamodb;
mod elasticsearch;
mod influxdb;
mod mariadb;
mod mongodb;
mod mysql;
mod oceanbase;
mod postgres;
mod redis;
mod tidb;
mod valkey;

use crate::{Engine, Error, ErrorKind, Result};

/// Every kind of server, alphabetic. Help texts, tables and test matrices derive from it.
pub static ENGINES: &[&dyn Engine] = &[&cassandra::Cassandra, &cockroachdb::CockroachDb, &dynamodb::DynamoDb, &elasticsearch::ELASTICSEARCH, &influxdb::InfluxDb, &mariadb::MariaDb, &mongodb::MongoDb, &mysql::MySql, &oceanbase::OceanBase, &elasticsearch::OPENSEARCH, &postgres::Postgres, &redis::Redis, &tidb::TiDb, &valkey::Valkey];

/// The engine of a name.
///
/// # Errors
/// `Unknown`, with the nearest name that exists.
pub fn engine(name: &str) -> Result<&'static dyn Engine> {
    ENGINES.iter().copied().find(|engine| engine.name() == name).ok_or_else(|| {
        let error = Error::new(ErrorKind::Unknown, format!("there is no engine `{name}`"));
        if let Some(near) = nearest(name) {
            error.with_hint(format!("did you mean `{near}`?"))
        } else {
            let names: Vec<_> = ENGINES.iter().map(|engine| engine.name()).collect();
            error.with_hint(format!("there are {}", names.join(", ")))
        }
    })
}

/// The engine that is likely meant: by another name of it, or by one that is spelt nearly so.
fn nearest(typed: &str) -> Option<&'static str> {
    /// Jaro-Winkler similarity below which a suggestion confuses more than it helps (clap uses 0.7).
    const SIMILARITY_MIN: f64 = 0.7;
    let typed = typed.to_ascii_lowercase();
    let names = ENGINES.iter().flat_map(|engine| {
        let also = engine.also_known_as().iter().map(|other| (*other, engine.name()));
        also.chain([(engine.name(), engine.name())])
    });
    names
        .map(|(spelling, name)| (strsim::jaro_winkler(&typed, spelling), name))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|first, second| first.0.total_cmp(&second.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_alphabetic_and_no_other_name_hides_one() {
        let names: Vec<_> = ENGINES.iter().map(|engine| engine.name()).collect();
        assert!(names.is_sorted());
        for engine in ENGINES {
            assert!(engine.also_known_as().iter().all(|other| !names.contains(other)), "{}", engine.name());
        }
    }

    #[test]
    fn an_unknown_name_brings_the_nearest_that_exists() {
        for (typed, expect) in [
            ("maria", "did you mean `mariadb`?"),
            ("MySQL", "did you mean `mysql`?"),
            ("seekdb", "did you mean `oceanbase`?"),
            ("postgers", "did you mean `postgres`?"),
            ("postgresql", "did you mean `postgres`?"),
            ("reddis", "did you mean `redis`?"),
            ("zzz", "there are cassandra, dynamodb, elasticsearch, influxdb, mariadb, mongodb, mysql, oceanbase, opensearch, postgres, redis, tidb, valkey"),
        ] {
            let error = engine(typed).expect_err("no such engine");
            assert_eq!((error.kind(), error.hint()), (ErrorKind::Unknown, Some(expect)), "{typed}");
        }
        assert_eq!(engine("redis").expect("there").name(), "redis");
    }
}
