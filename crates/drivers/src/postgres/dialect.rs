//! What `PostgreSQL` writes differently from other SQL stores.

use crate::relational::{Dialect, OPERATIONS, Placeholder};

/// The dialect. The advisory lock's number is `storelab` in ASCII.
pub(super) static DIALECT: Dialect = Dialect {
    operations: OPERATIONS,
    placeholder: Placeholder::Dollar,
    lock: "SELECT 1 FROM pg_advisory_lock(8319396948778705250)",
    outliving_locks: None,
    is_current: "",
    unlock: "SELECT 1 FROM pg_advisory_unlock(8319396948778705250)",
    object_exists: "SELECT relname::text FROM pg_catalog.pg_class WHERE relname = ? \
        AND relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())",
    columns_of: "SELECT attname::text FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
        WHERE c.relname = ? AND a.attnum > 0 AND NOT a.attisdropped \
        AND c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())",
    integer: "BIGINT",
    integer_key: "BIGINT",
    text: "TEXT",
    record_key: "VARCHAR({key_length}) COLLATE \"C\"",
    record_field: "TEXT",
    table_suffix: "",
    documents_columns: "id BIGINT PRIMARY KEY, document JSONB NOT NULL",
    // `simple` neither stems words nor leaves any out.
    articles: "CREATE TABLE {ns}_articles (id BIGINT PRIMARY KEY, title TEXT NOT NULL, body TEXT NOT NULL, \
        words TSVECTOR GENERATED ALWAYS AS (to_tsvector('simple', body)) STORED)",
    articles_key: "id",
    indexes: &[
        ("articles_words", "CREATE INDEX {ns}_articles_words ON {ns}_articles USING gin (words)"),
        ("documents_group", "CREATE INDEX {ns}_documents_group ON {ns}_documents (((document ->> 'group')::bigint))"),
    ],
    cast_integer: "BIGINT",
    json_query: "SELECT id, document -> 'owner' ->> 'name' FROM {ns}_documents \
        WHERE (document ->> 'group')::bigint = ? AND document -> 'tags' @> to_jsonb(?::text) ORDER BY id",
    fulltext_query: "SELECT id, title FROM {ns}_articles, plainto_tsquery('simple', ?) AS query \
        WHERE words @@ query ORDER BY ts_rank(words, query) DESC, id LIMIT 20",
    fulltext_parameters: 1,
    // The visibility map is then set and the index of words merged before a run, not during it.
    analyze: "VACUUM (ANALYZE) {table}",
};
