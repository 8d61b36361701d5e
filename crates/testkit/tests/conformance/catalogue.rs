//! What belongs to the users of a data store, and a fingerprint of all that is in it.

use crate::lab::Lab;
use crate::raw::Raw;

/// Objects of users, one statement each; what products write differently is in braces.
const OBJECTS: &[&str] = &[
    "CREATE TABLE people (id {integer} NOT NULL PRIMARY KEY, name VARCHAR(40) NOT NULL, born {real}, note {text})",
    "CREATE TABLE orders (id {integer} NOT NULL PRIMARY KEY, person {integer} NOT NULL REFERENCES people (id), total {integer})",
    "CREATE INDEX orders_person ON orders (person, total)",
    "CREATE UNIQUE INDEX people_name ON people (name)",
    "CREATE VIEW totals AS SELECT person, SUM(total) AS total FROM orders GROUP BY person",
    // Nearly our names: the prefix without its underscore, in the middle, with other letters.
    "CREATE TABLE storelab (id {integer} NOT NULL PRIMARY KEY)",
    "CREATE TABLE my_storelab_manifest (id {integer} NOT NULL PRIMARY KEY)",
    "CREATE TABLE storelabXmanifest (id {integer} NOT NULL PRIMARY KEY)",
    "INSERT INTO people VALUES (1, 'Ada', 1815.5, 'first'), (2, 'Grace', 1906.25, NULL), (3, 'Åke', 1878.0, '')",
    "INSERT INTO orders VALUES (10, 1, 100), (11, 1, 250), (12, 3, NULL)",
    "INSERT INTO storelab VALUES (1), (2)",
];

/// Keys of every type, some with a time to live, some nearly of our names.
const KEYS: &[&[&str]] = &[
    &["SET", "user:1", "Ada"],
    &["SET", "session:1", "x", "EX", "86400"],
    &["SET", "storelab", "not ours"],
    &["SET", "storelabXc1:key", "not ours"],
    &["SET", "my:storelab_c1:key", "not ours"],
    &["HSET", "user:2", "name", "Grace", "born", "1906"],
    &["RPUSH", "queue", "a", "b", "c"],
    &["SADD", "tags", "red", "green"],
    &["ZADD", "scores", "1", "a", "2.5", "b"],
    &["XADD", "events", "1-1", "kind", "login"],
    &["SETBIT", "flags", "77", "1"],
    &["PFADD", "visitors", "a", "b", "c"],
    &["GEOADD", "places", "13.361389", "38.115556", "Palermo"],
];

/// What the products call their types: driver, whole numbers, floating-point numbers, texts, bytes.
pub(crate) const TYPES: &[(&str, &str, &str, &str, &str)] = &[
    ("mariadb", "BIGINT", "DOUBLE", "TEXT", "BLOB"),
    ("cockroachdb", "BIGINT", "DOUBLE PRECISION", "TEXT", "BYTEA"),
    ("mysql", "BIGINT", "DOUBLE", "TEXT", "BLOB"),
    ("oceanbase", "BIGINT", "DOUBLE", "TEXT", "BLOB"),
    ("postgres", "BIGINT", "DOUBLE PRECISION", "TEXT", "BYTEA"),
    ("sqlite", "INTEGER", "REAL", "TEXT", "BLOB"),
    ("tidb", "BIGINT", "DOUBLE", "TEXT", "BLOB"),
];

/// Drivers whose products have a name of its own for whole numbers that are cast to.
const CASTS_TO_SIGNED: &[&str] = &["mariadb", "mysql", "oceanbase", "tidb"];

/// What there is in a database of MySQL's family.
const CATALOGUE_OF_MYSQL: &[&str] = &[
    "SELECT CONCAT_WS('|', table_name, table_type, engine, table_collation, create_time) \
     FROM information_schema.tables WHERE table_schema = DATABASE()",
    "SELECT CONCAT_WS('|', table_name, ordinal_position, column_name, column_type, column_default, extra) \
     FROM information_schema.columns WHERE table_schema = DATABASE()",
    "SELECT CONCAT_WS('|', table_name, index_name, seq_in_index, column_name, index_type) \
     FROM information_schema.statistics WHERE table_schema = DATABASE()",
    "SELECT CONCAT_WS('|', table_name, view_definition) FROM information_schema.views \
     WHERE table_schema = DATABASE()",
    "SELECT CONCAT_WS('|', routine_name, routine_type) FROM information_schema.routines \
     WHERE routine_schema = DATABASE()",
    "SELECT CONCAT_WS('|', trigger_name) FROM information_schema.triggers WHERE trigger_schema = DATABASE()",
    "SELECT CONCAT_WS('|', constraint_name, table_name, constraint_type) \
     FROM information_schema.table_constraints WHERE table_schema = DATABASE()",
];

/// All that a database holds, beside its data: one text a row.
const CATALOGUES: &[(&str, &[&str])] = &[
    ("mariadb", CATALOGUE_OF_MYSQL),
    ("mysql", CATALOGUE_OF_MYSQL),
    ("oceanbase", CATALOGUE_OF_MYSQL),
    (
        "cockroachdb",
        &[
            // By their numbers and versions, so that one that was made anew or altered is noticed.
            "SELECT concat_ws('|', table_id::text, name, version::text, schema_name, state) FROM crdb_internal.tables \
             WHERE database_name = current_database() AND drop_time IS NULL AND state = 'PUBLIC' \
             AND schema_name = 'public'",
            "SELECT concat_ws('|', attrelid::text, attname, atttypid::text, attnum::text, attnotnull::text) \
             FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE nspname = 'public'",
            "SELECT concat_ws('|', oid::text, nspname) FROM pg_namespace",
            "SELECT concat_ws('|', oid::text, conname, contype::text) FROM pg_constraint",
            "SELECT concat_ws('|', schemaname, tablename, indexdef) FROM pg_indexes WHERE schemaname = 'public'",
            "SELECT concat_ws('|', viewname, definition) FROM pg_views WHERE schemaname = 'public'",
            "SELECT concat_ws('|', sequence_name) FROM information_schema.sequences",
            "SELECT concat_ws('|', oid::text, typname) FROM pg_type WHERE typnamespace = \
             (SELECT oid FROM pg_namespace WHERE nspname = 'public')",
        ],
    ),
    (
        "mysql",
        &[
            "SELECT CONCAT_WS('|', table_name, table_type, engine, table_collation, create_time) \
             FROM information_schema.tables WHERE table_schema = DATABASE()",
            "SELECT CONCAT_WS('|', table_name, ordinal_position, column_name, column_type, column_default, extra) \
             FROM information_schema.columns WHERE table_schema = DATABASE()",
            "SELECT CONCAT_WS('|', table_name, index_name, seq_in_index, column_name, index_type) \
             FROM information_schema.statistics WHERE table_schema = DATABASE()",
            "SELECT CONCAT_WS('|', table_name, view_definition) FROM information_schema.views \
             WHERE table_schema = DATABASE()",
            "SELECT CONCAT_WS('|', routine_name, routine_type) FROM information_schema.routines \
             WHERE routine_schema = DATABASE()",
            "SELECT CONCAT_WS('|', trigger_name) FROM information_schema.triggers WHERE trigger_schema = DATABASE()",
            "SELECT CONCAT_WS('|', constraint_name, table_name, constraint_type) \
             FROM information_schema.table_constraints WHERE table_schema = DATABASE()",
        ],
    ),
    (
        "postgres",
        &[
            // By their numbers, so that one that was made anew is noticed; from here on they are users' own.
            "SELECT concat_ws('|', oid, relname, relkind, relnamespace, relnatts, relpersistence) FROM pg_class \
             WHERE oid >= 16384",
            "SELECT concat_ws('|', attrelid, attname, atttypid, attnum, attnotnull, attisdropped) FROM pg_attribute \
             WHERE attrelid >= 16384",
            "SELECT concat_ws('|', oid, nspname) FROM pg_namespace WHERE nspname NOT LIKE 'pg_temp%' \
             AND nspname NOT LIKE 'pg_toast_temp%'",
            "SELECT concat_ws('|', oid, proname) FROM pg_proc WHERE oid >= 16384",
            "SELECT concat_ws('|', oid, typname) FROM pg_type WHERE oid >= 16384",
            "SELECT concat_ws('|', oid, extname) FROM pg_extension",
            "SELECT concat_ws('|', oid, conname, contype) FROM pg_constraint WHERE oid >= 16384",
            "SELECT concat_ws('|', oid, tgname) FROM pg_trigger WHERE oid >= 16384",
            "SELECT concat_ws('|', schemaname, tablename, indexdef) FROM pg_indexes WHERE schemaname <> 'pg_catalog'",
            "SELECT concat_ws('|', viewname, definition) FROM pg_views WHERE schemaname = 'public'",
            "SELECT concat_ws('|', lomowner) FROM pg_largeobject_metadata",
        ],
    ),
    (
        "sqlite",
        &[
            "SELECT type || '|' || name || '|' || tbl_name || '|' || COALESCE(sql, '') || '|' || rootpage \
             FROM sqlite_master",
            "SELECT 'user_version ' || user_version FROM pragma_user_version",
            "SELECT 'application_id ' || application_id FROM pragma_application_id",
        ],
    ),
    ("tidb", CATALOGUE_OF_MYSQL),
];

/// The users' data, by table and view.
const DATA: &[&str] = &[
    "SELECT id, name, born, note FROM people ORDER BY id",
    "SELECT id, person, total FROM orders ORDER BY id",
    "SELECT CAST(COUNT(*) AS {cast}) FROM totals",
    "SELECT id FROM storelab ORDER BY id",
    "SELECT id FROM my_storelab_manifest ORDER BY id",
    "SELECT id FROM storelabXmanifest ORDER BY id",
];

/// Writes a statement in a product's way.
pub(crate) fn in_dialect(driver: &str, statement: &str) -> String {
    let (_, integer, real, text, bytes) =
        TYPES.iter().find(|(name, ..)| *name == driver).unwrap_or_else(|| panic!("what are {driver}'s types?"));
    let cast = if CASTS_TO_SIGNED.contains(&driver) { "SIGNED" } else { integer };
    statement
        .replace("{integer}", integer)
        .replace("{real}", real)
        .replace("{text}", text)
        .replace("{bytes}", bytes)
        .replace("{cast}", cast)
}

/// Makes what users have.
pub(crate) async fn populate(lab: &Lab, raw: &mut Raw) {
    match raw {
        Raw::Redis(commands) => {
            for key in KEYS {
                commands.ask(key);
            }
        }
        Raw::Side(side) => side.populate().await,
        Raw::Sql(_) => {
            for statement in OBJECTS {
                raw.sql(&in_dialect(lab.driver.name(), statement)).await;
            }
        }
    }
}

/// Everything that there is, users' or ours, in order.
pub(crate) async fn fingerprint(lab: &Lab, raw: &mut Raw) -> Vec<String> {
    let mut lines = Vec::new();
    match raw {
        Raw::Redis(commands) => {
            for key in commands.keys("*") {
                // The time at which it expires, where the time that is left would differ from call to call.
                let parts = ["TYPE", "DUMP", "PEXPIRETIME"].map(|command| commands.ask(&[command, &key]));
                lines.push(format!("{key} {parts:?}"));
            }
        }
        Raw::Side(side) => lines = side.fingerprint().await,
        Raw::Sql(_) => {
            let name = lab.driver.name();
            let (_, catalogue) = CATALOGUES.iter().find(|(driver, _)| *driver == name).expect("its catalogue is known");
            for statement in *catalogue {
                let mut found: Vec<_> = raw.sql(statement).await.iter().map(|row| format!("{row:?}")).collect();
                found.sort();
                lines.extend(found);
            }
            for statement in DATA {
                let statement = in_dialect(name, statement);
                // Where a test has not made users' objects there is nothing of theirs to look at.
                if let Ok(rows) = raw.try_sql(&statement, &[]).await {
                    lines.push(format!("{statement}: {rows:?}"));
                }
            }
        }
    }
    lines
}

/// Asserts that nothing changed, and says what did.
pub(crate) fn assert_same(before: &[String], after: &[String], when: &str) {
    let missing: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
    let added: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    assert!(missing.is_empty() && added.is_empty(), "{when}: gone {missing:#?}; new {added:#?}");
}
