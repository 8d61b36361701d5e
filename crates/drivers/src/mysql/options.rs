//! What a target's URL says about its sessions, and the statements that each connection is told once.

use store::{Error, Result, Target, TargetOption};

use super::Member;
use crate::tls::{TLS_CA_OPTION, TLS_OPTION};

/// Levels of isolation, as the URL has them and as the server does, from the weakest on.
pub(super) static ISOLATION_LEVELS: [(&str, &str); 4] = [
    ("read-uncommitted", "READ UNCOMMITTED"),
    ("read-committed", "READ COMMITTED"),
    ("repeatable-read", "REPEATABLE READ"),
    ("serializable", "SERIALIZABLE"),
];

const CONNECT_TIMEOUT: TargetOption =
    TargetOption { name: "connect_timeout", summary: "seconds that connecting may take; 10" };
const LOCK_WAIT_TIMEOUT: TargetOption =
    TargetOption { name: "lock_wait_timeout", summary: "seconds to wait for another session's lock; the server's own" };

/// The options of `MariaDB` and `MySQL`.
pub(super) static OF_ALL: [TargetOption; 5] = [
    CONNECT_TIMEOUT,
    TargetOption {
        name: "isolation",
        summary: "read-uncommitted, read-committed, repeatable-read or serializable; the server's own",
    },
    LOCK_WAIT_TIMEOUT,
    TLS_OPTION,
    TLS_CA_OPTION,
];

/// The options of `OceanBase`.
pub(super) static OF_OCEANBASE: [TargetOption; 7] = [
    CONNECT_TIMEOUT,
    TargetOption {
        name: "isolation",
        summary: "read-committed, repeatable-read or serializable; the server's own, which is read-committed",
    },
    LOCK_WAIT_TIMEOUT,
    TargetOption { name: "query_timeout", summary: "seconds that a statement may take; the server's own, which is 10" },
    TargetOption {
        name: "read_consistency",
        summary: "strong, or weak for reads from replicas that may lag; the server's own, which is strong",
    },
    TLS_OPTION,
    TLS_CA_OPTION,
];

/// The options of `TiDB`.
pub(super) static OF_TIDB: [TargetOption; 12] = [
    CONNECT_TIMEOUT,
    TargetOption {
        name: "isolation",
        summary: "read-committed or repeatable-read; the server's own, which is repeatable-read (a snapshot)",
    },
    LOCK_WAIT_TIMEOUT,
    TargetOption {
        name: "tidb_constraint_check_in_place_pessimistic",
        summary: "on or off: whether duplicate keys are told by the statement or by the commit; the server's own",
    },
    TargetOption {
        name: "tidb_enable_1pc",
        summary: "on or off: commit in one phase where one region is written; the server's own",
    },
    TargetOption {
        name: "tidb_enable_async_commit",
        summary: "on or off: a commit answers after its first phase; the server's own",
    },
    TargetOption {
        name: "tidb_enable_clustered_index",
        summary: "on or off: rows lie in the order of the primary key in tables that are made; the server's own",
    },
    TargetOption {
        name: "tidb_rc_read_check_ts",
        summary: "on or off: read-committed takes a timestamp only where it must; the server's own",
    },
    TargetOption {
        name: "tidb_replica_read",
        summary: "leader, follower, leader-and-follower, prefer-leader or closest-replicas; the server's own",
    },
    TLS_OPTION,
    TLS_CA_OPTION,
    TargetOption {
        name: "transaction_mode",
        summary: "pessimistic, which locks rows, or optimistic, which finds conflicts at the commit; the server's own",
    },
];

/// A variable of the session that an option sets.
struct Setting {
    option: &'static str,
    variable: &'static str,
    values: Values,
}

/// What an option may be.
enum Values {
    /// One of these, as the server writes them too.
    Words(&'static [&'static str]),
    /// Whole seconds, at least 1, so many of the server's units each.
    Seconds(u64),
}

const SWITCH: Values = Values::Words(&["on", "off"]);
const MICROSECONDS: Values = Values::Seconds(1_000_000);

/// What options set, beside the isolation. Whether a driver has an option at all was checked before.
static SETTINGS: [Setting; 11] = [
    Setting { option: "lock_wait_timeout", variable: "innodb_lock_wait_timeout", values: Values::Seconds(1) },
    Setting { option: "lock_wait_timeout", variable: "lock_wait_timeout", values: Values::Seconds(1) },
    Setting { option: "query_timeout", variable: "ob_query_timeout", values: MICROSECONDS },
    Setting { option: "read_consistency", variable: "ob_read_consistency", values: Values::Words(&["strong", "weak"]) },
    Setting {
        option: "tidb_constraint_check_in_place_pessimistic",
        variable: "tidb_constraint_check_in_place_pessimistic",
        values: SWITCH,
    },
    Setting { option: "tidb_enable_1pc", variable: "tidb_enable_1pc", values: SWITCH },
    Setting { option: "tidb_enable_async_commit", variable: "tidb_enable_async_commit", values: SWITCH },
    Setting { option: "tidb_enable_clustered_index", variable: "tidb_enable_clustered_index", values: SWITCH },
    Setting { option: "tidb_rc_read_check_ts", variable: "tidb_rc_read_check_ts", values: SWITCH },
    Setting {
        option: "tidb_replica_read",
        variable: "tidb_replica_read",
        values: Values::Words(&["leader", "follower", "leader-and-follower", "prefer-leader", "closest-replicas"]),
    },
    Setting {
        option: "transaction_mode",
        variable: "tidb_txn_mode",
        values: Values::Words(&["pessimistic", "optimistic"]),
    },
];

/// `OceanBase` waits for locks as another variable says, in another unit.
static LOCKS_OF_OCEANBASE: Setting =
    Setting { option: "lock_wait_timeout", variable: "ob_trx_lock_timeout", values: MICROSECONDS };

/// What every connection is told once.
///
/// # Errors
/// `Config` for a value that an option cannot have.
pub(super) fn setup(member: &Member, target: &Target) -> Result<Vec<String>> {
    let mut statements = Vec::new();
    if let Some(given) = target.option("isolation") {
        let levels = member.isolation_levels;
        let known = levels.iter().find(|(name, _)| name.eq_ignore_ascii_case(given));
        let names = || levels.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let (_, level) = known.ok_or_else(|| unusable("isolation", given, &names()))?;
        statements.push(format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}"));
    }
    // A server whose sessions do not commit by themselves would measure something else.
    let mut assignments = vec!["autocommit = 1".to_owned()];
    let own = (member.name == "oceanbase").then_some(&LOCKS_OF_OCEANBASE);
    for setting in SETTINGS.iter().chain(own) {
        if let Some(given) = target.option(setting.option) {
            assignments.push(format!("SESSION {} = {}", setting.variable, setting.value(given)?));
        }
    }
    statements.push(format!("SET SESSION {}", assignments.join(", ")));
    Ok(statements)
}

impl Setting {
    /// The value as it is written in SQL.
    fn value(&self, given: &str) -> Result<String> {
        match self.values {
            Values::Words(words) => {
                let word = words.iter().find(|word| word.eq_ignore_ascii_case(given));
                word.map(|word| format!("'{word}'")).ok_or_else(|| unusable(self.option, given, words))
            }
            Values::Seconds(units) => {
                let seconds = given.parse::<u32>().ok().filter(|seconds| *seconds > 0).ok_or_else(|| {
                    Error::config(format!("the target's `{}={given}` is not usable", self.option))
                        .with_hint("give a whole number of seconds, at least 1")
                })?;
                Ok((u64::from(seconds) * units).to_string())
            }
        }
    }
}

fn unusable(option: &str, given: &str, known: &[&str]) -> Error {
    Error::config(format!("the target's `{option}={given}` is unknown"))
        .with_hint(format!("use one of {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use store::ErrorKind;

    use super::super::{MARIADB, MYSQL, OCEANBASE, TIDB};
    use super::*;

    fn setup_of(member: &Member, options: &str) -> Result<Vec<String>> {
        let target = Target::parse(&format!("{}://u@h/d{options}", member.name))?;
        target.check_options(member.options)?;
        setup(member, &target)
    }

    #[test]
    fn options_become_statements() {
        const LEVEL: &str = "SET SESSION TRANSACTION ISOLATION LEVEL";
        let one = |text: &str| vec![format!("SET SESSION autocommit = 1{text}")];
        let with_level = |level: &str| vec![format!("{LEVEL} {level}"), "SET SESSION autocommit = 1".to_owned()];
        let waits = ", SESSION innodb_lock_wait_timeout = 3, SESSION lock_wait_timeout = 3";
        for (member, options, expected) in [
            (&MYSQL, "", one("")),
            (&MARIADB, "?lock_wait_timeout=3", one(waits)),
            (&MYSQL, "?isolation=Read-Uncommitted", with_level("READ UNCOMMITTED")),
            (&TIDB, "?isolation=read-committed", with_level("READ COMMITTED")),
            (&TIDB, "?transaction_mode=optimistic", one(", SESSION tidb_txn_mode = 'optimistic'")),
            (&TIDB, "?tidb_enable_1pc=ON", one(", SESSION tidb_enable_1pc = 'on'")),
            (&OCEANBASE, "?isolation=serializable", with_level("SERIALIZABLE")),
            (&OCEANBASE, "?query_timeout=5000", one(", SESSION ob_query_timeout = 5000000000")),
            (&OCEANBASE, "?read_consistency=weak", one(", SESSION ob_read_consistency = 'weak'")),
            (&OCEANBASE, "?lock_wait_timeout=3", one(&format!("{waits}, SESSION ob_trx_lock_timeout = 3000000"))),
        ] {
            assert_eq!(setup_of(member, options).expect(options), expected, "{options}");
        }
    }

    #[test]
    fn what_a_product_has_not_is_refused() {
        for (member, options) in [
            (&MYSQL, "?isolation=best"),
            (&MYSQL, "?transaction_mode=optimistic"),
            (&MARIADB, "?lock_wait_timeout=0"),
            (&TIDB, "?isolation=serializable"),
            (&TIDB, "?isolation=read-uncommitted"),
            (&TIDB, "?transaction_mode=both"),
            (&TIDB, "?tidb_enable_1pc=1"),
            (&OCEANBASE, "?isolation=read-uncommitted"),
            (&OCEANBASE, "?query_timeout=soon"),
            (&OCEANBASE, "?tidb_enable_1pc=on"),
        ] {
            let error = setup_of(member, options).expect_err(options);
            assert!(error.kind() == ErrorKind::Config && error.hint().is_some(), "{options}: {error}");
        }
    }

    #[test]
    fn every_setting_has_an_option() {
        let options = || [&OF_ALL[..], &OF_OCEANBASE, &OF_TIDB].into_iter().flatten();
        for setting in &SETTINGS {
            assert!(options().any(|option| option.name == setting.option), "{}", setting.option);
        }
    }
}
