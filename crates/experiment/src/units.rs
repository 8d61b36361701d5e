//! Rates, durations and counts as people write them: `5000/s`, `500ms`, `20s`, `5m`, `1_000_000`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use runner::Rate;
use serde::{Deserialize, Deserializer};
use store::{Error, Result};

/// A duration in a plan: `500ms`, `20s`, `5m`, `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub struct Span(pub Duration);

/// A rate in a plan: `5000/s`, `300/m`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct PerSecond(pub Rate);

impl FromStr for Span {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unusable = || {
            Error::config(format!("`{text}` is not a duration"))
                .with_hint("write a number and a unit: 500us, 500ms, 20s, 5m or 1h")
        };
        let text = text.trim();
        let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).ok_or_else(unusable)?;
        let number: f64 = text[..digits].replace('_', "").parse().map_err(|_| unusable())?;
        let seconds_a_unit = match text[digits..].trim() {
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(unusable()),
        };
        Duration::try_from_secs_f64(number * seconds_a_unit).map(Self).map_err(|_| unusable())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0.as_nanos();
        for (unit, name) in [(60_000_000_000, "m"), (1_000_000_000, "s"), (1_000_000, "ms")] {
            if nanoseconds > 0 && nanoseconds.is_multiple_of(unit) {
                return write!(f, "{}{name}", nanoseconds / unit);
            }
        }
        write!(f, "{}us", self.0.as_secs_f64() * 1e6)
    }
}

impl FromStr for PerSecond {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unusable =
            || Error::config(format!("`{text}` is not a rate")).with_hint("write operations a second: 5000/s");
        let (number, unit) = text.trim().split_once('/').unwrap_or((text.trim(), "s"));
        let (number, factor) = match number.trim().char_indices().last() {
            Some((end, 'k')) => (&number.trim()[..end], 1e3),
            Some((end, 'M')) => (&number.trim()[..end], 1e6),
            _ => (number.trim(), 1.0),
        };
        let number: f64 = number.replace('_', "").parse().map_err(|_| unusable())?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(unusable()),
        };
        Rate::per_second(number * factor / seconds).map(Self)
    }
}

impl fmt::Display for PerSecond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0.get())
    }
}

/// Reads text, or a bare number, which must then make sense without a unit.
pub(crate) fn text_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum TextOrNumber {
        Text(String),
        Number(f64),
    }
    Ok(match TextOrNumber::deserialize(deserializer)? {
        TextOrNumber::Text(text) => text,
        TextOrNumber::Number(number) => number.to_string(),
    })
}

macro_rules! as_text {
    ($type:ty) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                $crate::units::text_of(deserializer)?.parse().map_err(|error: store::Error| {
                    serde::de::Error::custom(match error.hint() {
                        Some(hint) => format!("{error} ({hint})"),
                        None => error.to_string(),
                    })
                })
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

pub(crate) use as_text;

as_text!(Span);
as_text!(PerSecond);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, expected, shown) in [
            ("500ms", Duration::from_millis(500), "500ms"),
            ("20s", Duration::from_secs(20), "20s"),
            ("1.5s", Duration::from_millis(1500), "1500ms"),
            ("5m", Duration::from_mins(5), "5m"),
            ("250us", Duration::from_micros(250), "250us"),
        ] {
            let span: Span = text.parse().expect("valid");
            assert_eq!((span.0, span.to_string().as_str()), (expected, shown), "{text}");
        }
        for bad in ["", "20", "s", "20 parsecs", "-3s", "1e99s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_read_and_written() {
        for (text, expected) in [("5000/s", 5000.0), ("300/m", 5.0), ("2k/s", 2000.0), ("1_000", 1000.0)] {
            let rate: PerSecond = text.parse().expect("valid");
            assert!((rate.0.get() - expected).abs() < 1e-9, "{text}");
        }
        for bad in ["", "0/s", "-1/s", "fast", "5/fortnight"] {
            assert!(bad.parse::<PerSecond>().is_err(), "{bad}");
        }
    }
}
