//! Limits: a number and its unit.

use std::fmt;

/// What a metric is a number of, and a unit measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// A time, in microseconds.
    Time,
    /// A share, in per cent.
    Share,
    /// Operations a second.
    Rate,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    ByteRate,
    /// A plain number.
    Count,
}

impl Quantity {
    /// The unit of values and limits in records.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Time => "us",
            Self::Share => "%",
            Self::Rate => "/s",
            Self::Bytes => "B",
            Self::ByteRate => "B/s",
            Self::Count => "1",
        }
    }

    /// The quantity of a record's unit.
    pub fn of_unit(unit: &str) -> Option<Self> {
        let all = [Self::Time, Self::Share, Self::Rate, Self::Bytes, Self::ByteRate, Self::Count];
        all.into_iter().find(|quantity| quantity.unit() == unit)
    }

    /// A value in the unit in which it is easily read, as limits are written; five digits tell it from its limit.
    pub fn text(self, value: f64) -> String {
        const DIGITS: i32 = 5;
        let units = UNITS.iter().filter(|unit| unit.quantity == self);
        let fits = |unit: &&Unit| unit.factor >= 1.0 && (value.abs() >= unit.factor || unit.name == self.unit());
        let Some(unit) = units.filter(fits).max_by(|a, b| a.factor.total_cmp(&b.factor)) else {
            return trimmed(value, DIGITS);
        };
        format!("{}{}", trimmed(value / unit.factor, DIGITS), unit.name)
    }

    /// In words.
    pub(super) const fn noun(self) -> &'static str {
        match self {
            Self::Time => "a time",
            Self::Share => "a share",
            Self::Rate => "a rate",
            Self::Bytes => "an amount of memory",
            Self::ByteRate => "bytes a second",
            Self::Count => "a plain number",
        }
    }

    /// Limits of that kind, as they may be written.
    pub(super) const fn examples(self) -> &'static str {
        match self {
            Self::Time => "800us, 20ms or 1.5s",
            Self::Share => "0.1% or 80%",
            Self::Rate => "5000/s or 300/m",
            Self::Bytes => "64KiB, 512MiB or 2GiB",
            Self::ByteRate => "512KiB/s or 20MiB/s",
            Self::Count => "0 or 1_000",
        }
    }
}

/// A unit as it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit {
    name: &'static str,
    quantity: Quantity,
    /// Of the quantity's own unit.
    factor: f64,
}

const KIB: f64 = 1024.0;

/// Every unit; of those that are the same, the one that is written first.
static UNITS: &[Unit] = &[
    Unit { name: "", quantity: Quantity::Count, factor: 1.0 },
    Unit { name: "%", quantity: Quantity::Share, factor: 1.0 },
    Unit { name: "us", quantity: Quantity::Time, factor: 1.0 },
    Unit { name: "ms", quantity: Quantity::Time, factor: 1e3 },
    Unit { name: "s", quantity: Quantity::Time, factor: 1e6 },
    Unit { name: "/s", quantity: Quantity::Rate, factor: 1.0 },
    Unit { name: "/m", quantity: Quantity::Rate, factor: 1.0 / 60.0 },
    Unit { name: "/h", quantity: Quantity::Rate, factor: 1.0 / 3600.0 },
    Unit { name: "B", quantity: Quantity::Bytes, factor: 1.0 },
    Unit { name: "KiB", quantity: Quantity::Bytes, factor: KIB },
    Unit { name: "MiB", quantity: Quantity::Bytes, factor: KIB * KIB },
    Unit { name: "GiB", quantity: Quantity::Bytes, factor: KIB * KIB * KIB },
    Unit { name: "B/s", quantity: Quantity::ByteRate, factor: 1.0 },
    Unit { name: "KiB/s", quantity: Quantity::ByteRate, factor: KIB },
    Unit { name: "MiB/s", quantity: Quantity::ByteRate, factor: KIB * KIB },
    Unit { name: "GiB/s", quantity: Quantity::ByteRate, factor: KIB * KIB * KIB },
];

impl Unit {
    /// The unit of that name; `µs` in both of its letters is `us`.
    pub fn named(name: &str) -> Option<Self> {
        let name = if matches!(name, "\u{b5}s" | "\u{3bc}s") { "us" } else { name };
        UNITS.iter().copied().find(|unit| unit.name == name)
    }

    /// The names of all that are not empty.
    pub fn names() -> impl Iterator<Item = &'static str> {
        UNITS.iter().map(|unit| unit.name).filter(|name| !name.is_empty())
    }

    /// As it is written.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// What it measures.
    pub const fn quantity(self) -> Quantity {
        self.quantity
    }
}

/// What a value is compared with, in the unit in which it was written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    pub(super) number: f64,
    pub(super) unit: Unit,
}

impl Limit {
    /// In the unit of its quantity: `20ms` is 20,000.
    pub fn value(self) -> f64 {
        self.number * self.unit.factor
    }

    /// What it measures.
    pub const fn quantity(self) -> Quantity {
        self.unit.quantity
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, self.unit.name)
    }
}

/// A number with so many digits that count, without zeros at its end.
fn trimmed(value: f64, digits: i32) -> String {
    let magnitude = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    let text = format!("{value:.*}", (digits - 1 - magnitude).clamp(0, 12) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_in_the_unit_that_reads_best() {
        for (quantity, value, text) in [
            (Quantity::Time, 0.25, "0.25us"),
            (Quantity::Time, 999.0, "999us"),
            (Quantity::Time, 20_001.0, "20.001ms"),
            (Quantity::Time, 1_500_000.0, "1.5s"),
            (Quantity::Share, 0.100_4, "0.1004%"),
            (Quantity::Share, 0.0, "0%"),
            (Quantity::Rate, 4_899.62, "4899.6/s"),
            (Quantity::Rate, 0.5, "0.5/s"),
            (Quantity::Bytes, 1_610_612_736.0, "1.5GiB"),
            (Quantity::ByteRate, 100.0, "100B/s"),
            (Quantity::Count, 1_234_567.0, "1234567"),
            (Quantity::Count, 2.5, "2.5"),
        ] {
            assert_eq!(quantity.text(value), text);
            assert_eq!(Quantity::of_unit(quantity.unit()), Some(quantity));
        }
    }
}
