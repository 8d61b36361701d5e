//! What is written where: data to stdout, talk to stderr, errors with their causes and a hint.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use comfy_table::{Table, presets};

use crate::live::screen;

/// Writes data to stdout. A reader that has gone (`| head`) is not an error.
pub(crate) fn data(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// Writes a line of talk to stderr; once the live view is over, where there is one.
pub(crate) fn talk(text: &str) {
    if !screen::keep(text) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

/// What libraries have to say, as talk: each write is a line of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        talk(String::from_utf8_lossy(bytes).trim_end_matches('\n'));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Text that moves no cursor and turns no line around: what servers and plans say of themselves is shown, not obeyed.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    /// Marks that change the direction of what follows.
    const TURNING: [char; 12] = [
        '\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}',
        '\u{2067}', '\u{2068}', '\u{2069}',
    ];
    let is_active = |character: char| character.is_control() || TURNING.contains(&character);
    if text.contains(is_active) { text.replace(is_active, "�").into() } else { text.into() }
}

/// Writes a JSON document to stdout.
pub(crate) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    data(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Whether somebody is watching stderr.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Writes an error: what happened, why, and what to do.
pub(crate) fn error(error: &anyhow::Error) {
    let mut text = format!("error: {error}");
    let mut said = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Messages that quote their cause need not say it twice.
        if !said.contains(&cause) {
            text = format!("{text}\n  because: {cause}");
            said = cause;
        }
    }
    if let Some(hint) = hint_of(error) {
        text = format!("{text}\nhint: {hint}");
    }
    talk(&text);
}

fn hint_of(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<store::Error>() {
            return error.hint().map(str::to_owned);
        }
        if let Some(error) = cause.downcast_ref::<provision::Error>() {
            return error.hint().map(str::to_owned);
        }
        cause.downcast_ref::<results::Error>().and_then(results::Error::hint)
    })
}

/// A table without lines, which reads well in a terminal and survives `awk`.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

/// A table's text without trailing blanks.
pub(crate) fn table_text(table: &Table) -> String {
    table.trim_fmt()
}

/// A number with thousands separators: `1,234,567`.
pub(crate) fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.char_indices() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds in the unit that reads best: `850 µs`, `1.23 ms`, `2.00 s`.
pub(crate) fn microseconds(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.2} s", v / 1e6),
        v if v >= 1e3 => format!("{:.2} ms", v / 1e3),
        v if v >= 10.0 => format!("{v:.0} µs"),
        v => format!("{v:.2} µs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_shown_and_not_obeyed() {
        for (said, shown) in [
            ("PostgreSQL 15.18 · µs", "PostgreSQL 15.18 · µs"),
            ("\x1b[2Jgone\x07", "�[2Jgone�"),
            ("two\r\nlines", "two��lines"),
            ("\u{9b}31m", "�31m"),
            ("a\u{202e}b", "a�b"),
        ] {
            assert_eq!(plain(said), shown);
        }
    }

    #[test]
    fn numbers_read_well() {
        for (value, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(value), shown);
        }
        for (value, shown) in [(0.5, "0.50 µs"), (850.0, "850 µs"), (1234.0, "1.23 ms"), (2e6, "2.00 s")] {
            assert_eq!(microseconds(value), shown);
        }
    }
}
