//! sysbench's options, by its names and with its defaults.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use store::Result;

use crate::{Parameter, ParameterKind, Settings};

/// Tables: each has statements of its own on every session.
const TABLES_MAX: u64 = 1_000;
/// Rows of a table: an id has 32 bits, and some are left for rows that are added.
const TABLE_SIZE_MAX: u64 = 1_000_000_000;
/// Rows of a range: more are no longer a transaction's.
const RANGE_SIZE_MAX: u64 = 100_000;
/// Statements of a kind in a transaction.
const STATEMENTS_MAX: u64 = 1_000;
/// Parameters of a statement are counted in 16 bits, two for each range or row.
const PAIRS_MAX: u64 = 30_000;

/// A parameter that is a whole number.
const fn integer(name: &'static str, default: &'static str, min: u64, max: u64, summary: &'static str) -> Parameter {
    Parameter { name, kind: ParameterKind::Integer { min, max }, default, summary }
}

/// How many statements of a kind a transaction has.
const fn statements(name: &'static str, default: &'static str, summary: &'static str) -> Parameter {
    integer(name, default, 0, STATEMENTS_MAX, summary)
}

/// A parameter that is true or false.
const fn flag(name: &'static str, default: &'static str, summary: &'static str) -> Parameter {
    Parameter { name, kind: ParameterKind::Flag, default, summary }
}

pub(super) const TABLES: Parameter = integer("tables", "1", 1, TABLES_MAX, "tables, all alike");
pub(super) const TABLE_SIZE: Parameter = integer("table_size", "10000", 1, TABLE_SIZE_MAX, "rows of a table");
pub(super) const DISTRIBUTION: Parameter = Parameter {
    name: "distribution",
    kind: ParameterKind::Choice(&["special", "uniform", "gaussian", "pareto", "zipfian"]),
    default: "special",
    summary: "which ids are chosen, with the defaults of sysbench's options",
};
pub(super) const RANGE_SIZE: Parameter = integer("range_size", "100", 1, RANGE_SIZE_MAX, "rows of a range");
pub(super) const POINT_SELECTS: Parameter = statements("point_selects", "10", "selects of one row in a transaction");
pub(super) const RANGE_SELECTS: Parameter = flag("range_selects", "true", "whether there are selects of ranges");
pub(super) const SIMPLE_RANGES: Parameter = statements("simple_ranges", "1", "selects of a range");
pub(super) const SUM_RANGES: Parameter = statements("sum_ranges", "1", "selects of the sum of a range");
pub(super) const ORDER_RANGES: Parameter = statements("order_ranges", "1", "selects of a range in order");
pub(super) const DISTINCT_RANGES: Parameter =
    statements("distinct_ranges", "1", "selects of a range in order and without duplicates");
pub(super) const INDEX_UPDATES: Parameter = statements("index_updates", "1", "updates of an indexed column");
pub(super) const NON_INDEX_UPDATES: Parameter =
    statements("non_index_updates", "1", "updates of a column without an index");
pub(super) const DELETE_INSERTS: Parameter =
    statements("delete_inserts", "1", "deletes, each with an insert of the same id");
pub(super) const SKIP_TRX: Parameter = flag("skip_trx", "false", "no BEGIN and COMMIT: each statement for itself");
pub(super) const RANDOM_POINTS: Parameter =
    integer("random_points", "10", 1, PAIRS_MAX, "values that select_random_points asks for");
pub(super) const NUMBER_OF_RANGES: Parameter =
    integer("number_of_ranges", "10", 1, PAIRS_MAX, "ranges that select_random_ranges counts");
pub(super) const DELTA: Parameter =
    integer("delta", "5", 0, RANGE_SIZE_MAX, "length of a range of select_random_ranges, less one");
pub(super) const BULK_ROWS: Parameter =
    integer("bulk_rows", "1000", 1, PAIRS_MAX, "rows that a statement of bulk_insert adds");

/// All of them.
pub(super) static PARAMETERS: [Parameter; 18] = [
    TABLES,
    TABLE_SIZE,
    DISTRIBUTION,
    RANGE_SIZE,
    POINT_SELECTS,
    RANGE_SELECTS,
    SIMPLE_RANGES,
    SUM_RANGES,
    ORDER_RANGES,
    DISTINCT_RANGES,
    INDEX_UPDATES,
    NON_INDEX_UPDATES,
    DELETE_INSERTS,
    SKIP_TRX,
    RANDOM_POINTS,
    NUMBER_OF_RANGES,
    DELTA,
    BULK_ROWS,
];

/// Every parameter with its effective value.
pub(super) fn effective(settings: &Settings) -> Result<BTreeMap<String, Json>> {
    let value = |parameter: &Parameter| {
        Ok(match parameter.kind {
            ParameterKind::Integer { .. } => json!(settings.integer(parameter)?),
            ParameterKind::Flag => json!(settings.flag(parameter)?),
            _ => json!(settings.text(parameter)),
        })
    };
    PARAMETERS.iter().map(|parameter| Ok((parameter.name.to_owned(), value(parameter)?))).collect()
}
