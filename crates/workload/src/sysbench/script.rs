//! sysbench's scripts: which statements make a transaction, in which order.

use store::{Namespace, Result};

use super::parameters::{
    BULK_ROWS, DELETE_INSERTS, DISTINCT_RANGES, INDEX_UPDATES, NON_INDEX_UPDATES, NUMBER_OF_RANGES, ORDER_RANGES,
    POINT_SELECTS, RANDOM_POINTS, RANGE_SELECTS, SIMPLE_RANGES, SUM_RANGES,
};
use crate::{Parameter, Settings, Variant};

/// A script of sysbench.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    ReadOnly,
    PointSelect,
    ReadWrite,
    WriteOnly,
    Insert,
    Delete,
    UpdateIndex,
    UpdateNonIndex,
    RandomPoints,
    RandomRanges,
    BulkInsert,
}

impl Script {
    /// Every script with its name and what it is, the default first.
    pub(super) const ALL: [(Self, Variant); 11] = [
        (Self::ReadOnly, variant("oltp_read_only", "10 point selects and 4 ranges of 100 rows in a transaction")),
        (Self::PointSelect, variant("oltp_point_select", "one row by its primary key")),
        (Self::ReadWrite, variant("oltp_read_write", "oltp_read_only and oltp_write_only in one transaction")),
        (Self::WriteOnly, variant("oltp_write_only", "2 updates, a delete and an insert in a transaction")),
        (Self::Insert, variant("oltp_insert", "adds a row")),
        (Self::Delete, variant("oltp_delete", "removes a row")),
        (Self::UpdateIndex, variant("oltp_update_index", "changes an indexed column of a row")),
        (Self::UpdateNonIndex, variant("oltp_update_non_index", "changes a column without an index")),
        (Self::RandomPoints, variant("select_random_points", "rows by 10 values of a secondary index")),
        (Self::RandomRanges, variant("select_random_ranges", "counts 10 ranges of a secondary index")),
        (Self::BulkInsert, variant("bulk_insert", "adds many rows with one statement")),
    ];

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        let find = Self::ALL.iter().find(|(script, _)| *script == self);
        find.map_or("", |(_, variant)| variant.name)
    }

    /// What a run of it leaves of the data.
    pub(super) fn leaves(self) -> Leaves {
        match self {
            Self::ReadOnly | Self::PointSelect | Self::RandomPoints | Self::RandomRanges => Leaves::AsLoaded,
            Self::ReadWrite | Self::WriteOnly | Self::UpdateIndex | Self::UpdateNonIndex => Leaves::AllRows,
            Self::Insert | Self::Delete | Self::BulkInsert => Leaves::OtherRows,
        }
    }

    /// Whether its statements are one transaction; the others are one statement.
    pub(super) fn is_transaction(self) -> bool {
        matches!(self, Self::ReadOnly | Self::ReadWrite | Self::WriteOnly)
    }

    /// Its statements.
    pub(super) fn steps(self, settings: &Settings) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        let mut add = |kinds: &[Kind], count: u64| {
            for round in 0..count {
                for (place, kind) in kinds.iter().enumerate() {
                    steps.push(Step { kind: *kind, draws_table: round == 0 && place == 0 });
                }
            }
        };
        let count = |parameter: &Parameter| settings.integer(parameter);
        if matches!(self, Self::ReadOnly | Self::ReadWrite) {
            add(&[Kind::Point], count(&POINT_SELECTS)?);
            if settings.flag(&RANGE_SELECTS)? {
                add(&[Kind::SimpleRange], count(&SIMPLE_RANGES)?);
                add(&[Kind::SumRange], count(&SUM_RANGES)?);
                add(&[Kind::OrderRange], count(&ORDER_RANGES)?);
                add(&[Kind::DistinctRange], count(&DISTINCT_RANGES)?);
            }
        }
        if matches!(self, Self::ReadWrite | Self::WriteOnly) {
            add(&[Kind::IndexUpdate], count(&INDEX_UPDATES)?);
            add(&[Kind::NonIndexUpdate], count(&NON_INDEX_UPDATES)?);
            add(&[Kind::Delete, Kind::Reinsert], count(&DELETE_INSERTS)?);
        }
        match self {
            Self::PointSelect => add(&[Kind::Point], 1),
            Self::Insert => add(&[Kind::Insert], 1),
            Self::Delete => add(&[Kind::Delete], 1),
            Self::UpdateIndex => add(&[Kind::IndexUpdate], count(&INDEX_UPDATES)?),
            Self::UpdateNonIndex => add(&[Kind::NonIndexUpdate], count(&NON_INDEX_UPDATES)?),
            Self::RandomPoints => add(&[Kind::RandomPoints(count(&RANDOM_POINTS)? as u16)], 1),
            Self::RandomRanges => add(&[Kind::RandomRanges(count(&NUMBER_OF_RANGES)? as u16)], 1),
            Self::BulkInsert => add(&[Kind::BulkInsert(count(&BULK_ROWS)? as u16)], 1),
            Self::ReadOnly | Self::ReadWrite | Self::WriteOnly => {}
        }
        Ok(steps)
    }
}

const fn variant(name: &'static str, summary: &'static str) -> Variant {
    Variant { name, summary }
}

/// What a run leaves of the data that it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaves {
    /// Everything as it was.
    AsLoaded,
    /// All rows, with other values in them.
    AllRows,
    /// More rows, or fewer.
    OtherRows,
}

impl Leaves {
    /// How the data is called that only such runs may find, in its fingerprint.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AsLoaded => "as loaded",
            Self::AllRows => "updated",
            Self::OtherRows => "rows added or removed",
        }
    }
}

/// A statement of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) kind: Kind,
    /// Whether it goes to another table than the statement before it.
    pub(super) draws_table: bool,
}

/// A kind of statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Point,
    SimpleRange,
    SumRange,
    OrderRange,
    DistinctRange,
    IndexUpdate,
    NonIndexUpdate,
    Delete,
    /// Of the row that was just deleted.
    Reinsert,
    /// Of a new row.
    Insert,
    RandomPoints(u16),
    RandomRanges(u16),
    BulkInsert(u16),
}

impl Kind {
    /// The statement for a table.
    pub(super) fn text(self, namespace: &Namespace, table: &str) -> String {
        let table = namespace.object(table);
        let times = |text: &str, between: &str, count: u16| vec![text; usize::from(count)].join(between);
        match self {
            Self::Point => format!("SELECT c FROM {table} WHERE id=?"),
            Self::SimpleRange => format!("SELECT c FROM {table} WHERE id BETWEEN ? AND ?"),
            Self::SumRange => format!("SELECT SUM(k) FROM {table} WHERE id BETWEEN ? AND ?"),
            Self::OrderRange => format!("SELECT c FROM {table} WHERE id BETWEEN ? AND ? ORDER BY c"),
            Self::DistinctRange => format!("SELECT DISTINCT c FROM {table} WHERE id BETWEEN ? AND ? ORDER BY c"),
            Self::IndexUpdate => format!("UPDATE {table} SET k=k+1 WHERE id=?"),
            Self::NonIndexUpdate => format!("UPDATE {table} SET c=? WHERE id=?"),
            Self::Delete => format!("DELETE FROM {table} WHERE id=?"),
            Self::Insert | Self::Reinsert => format!("INSERT INTO {table} (id, k, c, pad) VALUES (?, ?, ?, ?)"),
            Self::RandomPoints(count) => {
                format!("SELECT id, k, c, pad FROM {table} WHERE k IN ({})", times("?", ", ", count))
            }
            Self::RandomRanges(count) => {
                format!("SELECT count(k) FROM {table} WHERE {}", times("k BETWEEN ? AND ?", " OR ", count))
            }
            Self::BulkInsert(count) => {
                format!("INSERT INTO {table} (id, k) VALUES {}", times("(?, ?)", ", ", count))
            }
        }
    }

    /// How many parameters it has, and bytes of text in them.
    pub(super) fn arguments(self) -> (usize, usize) {
        match self {
            Self::RandomPoints(count) => (count.into(), 0),
            Self::RandomRanges(count) | Self::BulkInsert(count) => (2 * usize::from(count), 0),
            _ => (4, 200),
        }
    }
}
