//! What the products of the family write differently, and since when.

use std::fmt;

use store::{Error, Result};

use super::observe::{self, Watch};
use crate::relational::{Dialect, OPERATIONS, OutlivingLocks, Placeholder};

/// Major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u16, pub(super) u16, pub(super) u16);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// What one product of the family does differently from the others.
#[derive(Debug)]
pub(super) struct Quirks {
    /// The product's name.
    pub(super) title: &'static str,
    /// The driver that is meant for it.
    pub(super) scheme: &'static str,
    /// What `VERSION()` holds where it is this product; empty for the one that says nothing. Its own version follows it,
    /// behind `-v`, where the one before is that of the `MySQL` that it is like.
    marker: &'static str,
    /// Since when it has window functions.
    pub(super) window_since: Version,
    /// Since when it has full-text indexes; none where it has none.
    pub(super) fulltext_since: Option<Version>,
    /// How it is spoken to, since when; the newest first. Older servers than the last are refused.
    dialects: &'static [(Version, &'static Dialect)],
    /// What it is asked about itself, and what it counts.
    pub(super) watch: Watch,
}

/// The products, `MySQL` last: it is what does not say that it is something else.
static PRODUCTS: [Quirks; 5] = [
    Quirks {
        title: "MariaDB",
        scheme: "mariadb",
        marker: "MariaDB",
        window_since: Version(10, 2, 0),
        fulltext_since: Some(Version(10, 0, 5)),
        dialects: &[(Version(10, 2, 7), &MARIADB)],
        watch: observe::OF_INNODB,
    },
    Quirks {
        title: "TiDB",
        scheme: "tidb",
        marker: "TiDB",
        window_since: Version(3, 0, 0),
        fulltext_since: None,
        // Named locks came with 6.2.
        dialects: &[(Version(6, 2, 0), &TIDB)],
        watch: observe::OF_TIDB,
    },
    Quirks {
        title: "OceanBase seekdb",
        scheme: "oceanbase",
        marker: "seekdb",
        window_since: Version(1, 0, 0),
        fulltext_since: Some(Version(1, 0, 0)),
        dialects: &[(Version(1, 0, 0), &SEEKDB)],
        watch: observe::OF_SEEKDB,
    },
    Quirks {
        title: "OceanBase",
        scheme: "oceanbase",
        marker: "OceanBase",
        window_since: Version(4, 0, 0),
        fulltext_since: Some(Version(4, 3, 5)),
        dialects: &[(Version(4, 3, 5), &FAMILY), (Version(4, 0, 0), &WITHOUT_FULLTEXT)],
        watch: observe::OF_OCEANBASE,
    },
    Quirks {
        title: "MySQL",
        scheme: "mysql",
        marker: "",
        window_since: Version(8, 0, 0),
        fulltext_since: Some(Version(5, 6, 4)),
        dialects: &[(Version(8, 0, 17), &MYSQL), (Version(5, 7, 8), &FAMILY)],
        watch: observe::OF_INNODB,
    },
];

/// What server it is and how it is spoken to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    pub(super) quirks: &'static Quirks,
    pub(super) version: Version,
    pub(super) dialect: &'static Dialect,
}

impl Product {
    /// From what the server answers to `SELECT VERSION()`.
    ///
    /// # Errors
    /// `Unsupported` for servers that are too old, `Rejected` for a version that cannot be read.
    pub(super) fn of(text: &str) -> Result<Self> {
        let quirks =
            PRODUCTS.iter().find(|quirks| text.contains(quirks.marker)).expect("every text holds the empty one");
        let version = parse(quirks.numbers(text)).ok_or_else(|| {
            Error::rejected(format!("the server states a version that cannot be read: {text:?}"))
                .with_hint("check that the target is a server of MySQL's family")
        })?;
        let found = quirks.dialects.iter().find(|(since, _)| version >= *since);
        let Some((_, dialect)) = found else {
            let oldest = quirks.dialects.last().map_or(version, |(since, _)| *since);
            return Err(Error::unsupported(format!("{} {version} is too old", quirks.title))
                .with_hint(format!("use {} {oldest} or later", quirks.title)));
        };
        Ok(Self { quirks, version, dialect })
    }
}

impl Quirks {
    /// Where in the text the product's own version begins.
    fn numbers<'a>(&self, text: &'a str) -> &'a str {
        if self.marker.is_empty() {
            return text;
        }
        let behind = text.split_once(self.marker).and_then(|(_, behind)| behind.split_once("-v"));
        let behind = behind.filter(|(_, numbers)| numbers.starts_with(|first: char| first.is_ascii_digit()));
        // MariaDB's greeting begins so for the sake of old replicas, and some proxies repeat it.
        behind.map_or_else(|| text.strip_prefix("5.5.5-").unwrap_or(text), |(_, numbers)| numbers)
    }
}

/// Product and version in one line.
impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.quirks.title, self.version)
    }
}

/// `8.0.33-something`, `10.11.6-MariaDB-log`.
fn parse(text: &str) -> Option<Version> {
    let mut numbers = text.split(|character: char| !character.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some(Version(next()?, next()?, next()?))
}

/// Keys are bytes, so that their order is that of bytes and nothing is padded. Everything else is compared as it is
/// written. The name of the lock is the database's, because such locks are the whole server's and at most 64
/// characters long.
const BASE: Dialect = Dialect {
    operations: OPERATIONS,
    placeholder: Placeholder::Question,
    lock: "SELECT GET_LOCK(CONCAT('storelab_', LEFT(SHA2(DATABASE(), 256), 32)), 10)",
    outliving_locks: None,
    is_current: "",
    unlock: "SELECT RELEASE_LOCK(CONCAT('storelab_', LEFT(SHA2(DATABASE(), 256), 32)))",
    object_exists: "SELECT table_name FROM information_schema.tables \
        WHERE table_schema = DATABASE() AND table_name = ?",
    columns_of: "SELECT column_name FROM information_schema.columns \
        WHERE table_schema = DATABASE() AND table_name = ?",
    integer: "BIGINT",
    integer_key: "BIGINT",
    text: "TEXT",
    record_key: "VARBINARY({key_length})",
    // As YCSB's own table has it: a row of many long VARCHARs would pass the limit of 65,535 bytes.
    record_field: "MEDIUMTEXT",
    table_suffix: " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
    documents_columns: "id BIGINT NOT NULL PRIMARY KEY, document JSON NOT NULL, document_group BIGINT \
        GENERATED ALWAYS AS (CAST(JSON_UNQUOTE(JSON_EXTRACT(document, '$.group')) AS SIGNED)) VIRTUAL",
    articles: "CREATE TABLE {ns}_articles (id BIGINT NOT NULL PRIMARY KEY, title TEXT NOT NULL, body TEXT NOT NULL) \
        ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
    articles_key: "id",
    indexes: &[DOCUMENTS_INDEX, ARTICLES_INDEX],
    cast_integer: "SIGNED",
    json_query: "SELECT id, JSON_UNQUOTE(JSON_EXTRACT(document, '$.owner.name')) FROM {ns}_documents \
        WHERE document_group = ? AND JSON_CONTAINS(document, JSON_QUOTE(?), '$.tags') ORDER BY id",
    fulltext_query: "SELECT id, title FROM {ns}_articles WHERE MATCH (body) AGAINST (?) \
        ORDER BY MATCH (body) AGAINST (?) DESC, id LIMIT 20",
    fulltext_parameters: 2,
    analyze: "ANALYZE TABLE {table}",
};

/// On a generated column: expressions as indexes are not for all products.
const DOCUMENTS_INDEX: (&str, &str) =
    ("documents_group", "CREATE INDEX {ns}_documents_group ON {ns}_documents (document_group)");

/// Made after the load: `InnoDB` shows rows to full-text searches once they are committed, and sorts them only once so.
const ARTICLES_INDEX: (&str, &str) =
    ("articles_body", "CREATE FULLTEXT INDEX {ns}_articles_body ON {ns}_articles (body)");

/// `MySQL` before multi-valued indexes, and what is like it.
static FAMILY: Dialect = BASE;

/// JSON is text with a check; values of it are read by `JSON_VALUE`.
static MARIADB: Dialect = Dialect {
    documents_columns: "id BIGINT NOT NULL PRIMARY KEY, document JSON NOT NULL, \
        document_group BIGINT GENERATED ALWAYS AS (JSON_VALUE(document, '$.group')) VIRTUAL",
    json_query: "SELECT id, JSON_VALUE(document, '$.owner.name') FROM {ns}_documents \
        WHERE document_group = ? AND JSON_CONTAINS(document, JSON_QUOTE(?), '$.tags') ORDER BY id",
    ..BASE
};

/// Where making and dropping a table takes long, the lock is held for longer.
static TIDB: Dialect = Dialect {
    lock: "SELECT GET_LOCK(CONCAT('storelab_', LEFT(SHA2(DATABASE(), 256), 32)), 60)",
    indexes: &[DOCUMENTS_INDEX],
    ..BASE
};

/// seekdb keeps the named locks of sessions that were cut off, over a restart too. It shows all sessions to every user.
static SEEKDB: Dialect = Dialect {
    lock: "SELECT GET_LOCK(CONCAT('storelab_', LEFT(SHA2(DATABASE(), 256), 32), '_', ?), 2)",
    outliving_locks: Some(&OutlivingLocks {
        holder: "SELECT IS_USED_LOCK(CONCAT('storelab_', LEFT(SHA2(DATABASE(), 256), 32), '_', ?))",
        session: "SELECT id FROM information_schema.processlist WHERE id = ?",
        own_session: "SELECT CONNECTION_ID()",
    }),
    unlock: "SELECT RELEASE_ALL_LOCKS()",
    ..BASE
};

/// What has no full-text index keeps the articles, so that all products hold the same.
static WITHOUT_FULLTEXT: Dialect = Dialect { indexes: &[DOCUMENTS_INDEX], ..BASE };

/// One index has the group, as an expression, and every tag.
static MYSQL: Dialect = Dialect {
    documents_columns: "id BIGINT NOT NULL PRIMARY KEY, document JSON NOT NULL",
    indexes: &[
        (
            "documents_group",
            "CREATE INDEX {ns}_documents_group ON {ns}_documents \
             ((CAST(document->'$.group' AS SIGNED)), (CAST(document->'$.tags' AS CHAR(32) ARRAY)))",
        ),
        ARTICLES_INDEX,
    ],
    json_query: "SELECT id, document->>'$.owner.name' FROM {ns}_documents \
        WHERE CAST(document->'$.group' AS SIGNED) = ? AND ? MEMBER OF (document->'$.tags') ORDER BY id",
    ..BASE
};

#[cfg(test)]
mod tests {
    use store::ErrorKind;

    use super::*;

    #[test]
    fn the_version_chooses_the_dialect() {
        for (text, shown, dialect) in [
            ("10.11.6-MariaDB-0+deb12u1", "MariaDB 10.11.6", &MARIADB),
            ("5.5.5-10.4.1-MariaDB-log", "MariaDB 10.4.1", &MARIADB),
            ("8.0.33", "MySQL 8.0.33", &MYSQL),
            ("9.1.0-commercial", "MySQL 9.1.0", &MYSQL),
            ("8.0.15", "MySQL 8.0.15", &FAMILY),
            ("5.7.44-log", "MySQL 5.7.44", &FAMILY),
            ("8.0.11-TiDB-v8.5.6", "TiDB 8.5.6", &TIDB),
            ("5.7.25-TiDB-v7.1.0-alpha-12-g1", "TiDB 7.1.0", &TIDB),
            ("5.7.25-OceanBase-v4.2.1.8", "OceanBase 4.2.1", &WITHOUT_FULLTEXT),
            ("5.7.25-OceanBase_CE-v4.3.5.3", "OceanBase 4.3.5", &FAMILY),
            ("5.7.25-OceanBase seekdb-v1.4.0.0", "OceanBase seekdb 1.4.0", &SEEKDB),
        ] {
            let product = Product::of(text).expect(text);
            assert_eq!(product.to_string(), shown);
            assert_eq!(product.dialect.json_query, dialect.json_query, "{text}");
            assert_eq!(product.dialect.indexes, dialect.indexes, "{text}");
            assert_eq!(product.dialect.lock, dialect.lock, "{text}");
            assert_eq!(product.dialect.documents_columns, dialect.documents_columns, "{text}");
        }
        for (text, kind) in [
            ("5.6.51", ErrorKind::Unsupported),
            ("10.1.48-MariaDB", ErrorKind::Unsupported),
            ("5.7.25-TiDB-v5.4.3", ErrorKind::Unsupported),
            ("5.7.25-OceanBase-v3.2.4.1", ErrorKind::Unsupported),
            ("", ErrorKind::Rejected),
            ("8", ErrorKind::Rejected),
        ] {
            let error = Product::of(text).expect_err(text);
            assert_eq!(error.kind(), kind, "{text}");
            assert!(error.hint().is_some());
        }
    }
}
