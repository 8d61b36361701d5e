//! Numbers with their units as people read them, and text that stays text.

use std::fmt::Write as _;

/// Shown where there is no figure.
pub(crate) const NONE: &str = "–";

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Latencies.
    Microseconds,
    /// Time since the start.
    Seconds,
    /// Operations a second.
    PerSecond,
    /// Memory.
    Bytes,
    /// Disk and network.
    BytesPerSecond,
    /// Of one processor, or of time.
    Percent,
    /// Things.
    Count,
}

impl Unit {
    /// The unit of a figure of a record: `us`, `%`, `/s`, `1` for plain numbers.
    pub(crate) fn of(name: &str) -> Self {
        match name {
            "us" => Self::Microseconds,
            "s" => Self::Seconds,
            "/s" => Self::PerSecond,
            "B" | "bytes" => Self::Bytes,
            "B/s" => Self::BytesPerSecond,
            "%" => Self::Percent,
            _ => Self::Count,
        }
    }

    /// The name that the script knows.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Microseconds => "us",
            Self::Seconds => "s",
            Self::PerSecond => "/s",
            Self::Bytes => "B",
            Self::BytesPerSecond => "B/s",
            Self::Percent => "%",
            Self::Count => "",
        }
    }

    /// A figure with three digits that count.
    pub(crate) fn text(self, value: f64) -> String {
        if !value.is_finite() {
            return NONE.to_owned();
        }
        match self {
            Self::Microseconds => scaled(value, &MICROSECONDS),
            Self::Seconds => time(value),
            Self::PerSecond => format!("{}/s", number(value)),
            Self::Bytes => scaled(value, &BYTES),
            Self::BytesPerSecond => format!("{}/s", scaled(value, &BYTES)),
            Self::Percent => format!("{} %", number(value)),
            Self::Count => number(value),
        }
    }

    /// The label of a tick: as short as it can be said exactly.
    pub(super) fn tick(self, value: f64) -> String {
        match self {
            Self::Microseconds => shortest(value, &MICROSECONDS),
            Self::Seconds => time(value),
            Self::PerSecond | Self::Count => shortest(value, &THOUSANDS).trim_end().to_owned(),
            Self::Bytes => shortest(value, &BYTES),
            Self::BytesPerSecond => format!("{}/s", shortest(value, &BYTES)),
            Self::Percent => format!("{} %", trimmed(value)),
        }
    }
}

/// Units of a scale, the greatest first, each with what separates it from the number.
type Steps = [(f64, &'static str)];

const MICROSECONDS: [(f64, &str); 4] = [(1e6, " s"), (1e3, " ms"), (1.0, " µs"), (1e-3, " ns")];
const BYTES: [(f64, &str); 5] =
    [(1_099_511_627_776.0, " TiB"), (1_073_741_824.0, " GiB"), (1_048_576.0, " MiB"), (1024.0, " KiB"), (1.0, " B")];
const THOUSANDS: [(f64, &str); 4] = [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")];

fn step_for(value: f64, steps: &Steps) -> &(f64, &'static str) {
    let last = steps.last().expect("a scale has units");
    if value == 0.0 {
        // A plain zero is of the unit that everything else is counted in.
        return steps.iter().find(|(size, _)| (*size - 1.0).abs() < f64::EPSILON).unwrap_or(last);
    }
    // 999.5 is 1.00 of the next unit once it is rounded.
    steps.iter().find(|(size, _)| value.abs() >= size * 0.9995).unwrap_or(last)
}

fn scaled(value: f64, steps: &Steps) -> String {
    let (size, unit) = step_for(value, steps);
    format!("{}{unit}", number(value / size))
}

fn shortest(value: f64, steps: &Steps) -> String {
    let (size, unit) = step_for(value, steps);
    format!("{}{unit}", trimmed(value / size))
}

/// Up to two decimals, without those that say nothing.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A number with three digits that count at least, and thousands apart.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 99.95 => separated(&format!("{value:.0}")),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.9995 => format!("{value:.2}"),
        size if size >= 0.0005 => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    }
}

/// A count, thousands apart.
pub(crate) fn count(value: u64) -> String {
    separated(&value.to_string())
}

/// A number with so many decimals, thousands apart.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    if value.is_finite() { separated(&format!("{value:.decimals$}")) } else { NONE.to_owned() }
}

fn separated(digits: &str) -> String {
    let (whole, decimals) = digits.split_once('.').map_or((digits, None), |(whole, decimals)| (whole, Some(decimals)));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let mut text = sign.to_owned();
    for (place, digit) in whole.char_indices() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(decimals) = decimals {
        text.push('.');
        text.push_str(decimals);
    }
    text
}

/// How long something took or when it was: `45 s`, `1 min 30 s`, `2 h`.
pub(crate) fn time(seconds: f64) -> String {
    if !seconds.is_finite() {
        return NONE.to_owned();
    }
    if seconds.abs() < 60.0 {
        return format!("{} s", trimmed(seconds));
    }
    let whole = seconds.round() as u64;
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    let parts = [(hours, "h"), (minutes, "min"), (rest, "s")];
    let said: Vec<_> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number} {unit}")).collect();
    said.join(" ")
}

/// A share as percent, small ones without being rounded to nothing.
pub(crate) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return NONE.to_owned();
    }
    match part as f64 / whole as f64 * 100.0 {
        0.0 => "0 %".to_owned(),
        percent if percent < 0.001 => "< 0.001 %".to_owned(),
        percent => format!("{} %", number(percent)),
    }
}

/// Text that no browser takes for markup, as content or as a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            // Not allowed in HTML; a server's error message may hold them.
            control if control.is_control() => escaped.push('\u{FFFD}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Writes to a string, which cannot fail.
macro_rules! push {
    ($out:expr, $($argument:tt)*) => {
        $crate::report::format::written(write!($out, $($argument)*))
    };
}
pub(crate) use push;

/// What `push!` does with what cannot happen.
pub(crate) fn written(result: std::fmt::Result) {
    result.expect("a string takes everything");
}

/// Percent of a chart's side, with a precision below a pixel.
pub(super) fn percent(share: f64) -> String {
    let mut text = String::new();
    push!(text, "{:.2}", share * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned() + "%"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        for (unit, value, text, tick) in [
            (Unit::Microseconds, 0.0, "0 µs", "0 µs"),
            (Unit::Microseconds, 0.25, "250 ns", "250 ns"),
            (Unit::Microseconds, 124.0, "124 µs", "124 µs"),
            (Unit::Microseconds, 1_240.0, "1.24 ms", "1.24 ms"),
            (Unit::Microseconds, 999.9, "1.00 ms", "1 ms"),
            (Unit::Microseconds, 20_000.0, "20.0 ms", "20 ms"),
            (Unit::Microseconds, 2e6, "2.00 s", "2 s"),
            (Unit::PerSecond, 12_345.6, "12,346/s", "12.35k"),
            (Unit::PerSecond, 2_000_000.0, "2,000,000/s", "2M"),
            (Unit::Bytes, 1_610_612_736.0, "1.50 GiB", "1.5 GiB"),
            (Unit::BytesPerSecond, 512.0, "512 B/s", "512 B/s"),
            (Unit::Percent, 12.345, "12.3 %", "12.35 %"),
            (Unit::Seconds, 90.0, "1 min 30 s", "1 min 30 s"),
            (Unit::Seconds, 7200.0, "2 h", "2 h"),
            (Unit::Count, 0.0, "0", "0"),
        ] {
            assert_eq!((unit.text(value).as_str(), unit.tick(value).as_str()), (text, tick), "{unit:?} {value}");
        }
        assert_eq!(Unit::Microseconds.text(f64::NAN), NONE);
    }

    #[test]
    fn counts_are_separated_and_shares_not_lost() {
        for (value, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(value), text);
        }
        assert_eq!(fixed(-1234.5, 1), "-1,234.5");
        for (part, whole, text) in
            [(0, 5, "0 %"), (1, 1_000_000_000, "< 0.001 %"), (1, 8, "12.5 %"), (5, 5, "100 %"), (0, 0, NONE)]
        {
            assert_eq!(share(part, whole), text);
        }
    }

    #[test]
    fn markup_is_text() {
        assert_eq!(escape("<b a='1'>&\"\u{0}"), "&lt;b a=&#39;1&#39;&gt;&amp;&quot;\u{FFFD}");
    }
}
