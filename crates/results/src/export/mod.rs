//! A run in formats that other programs read: one file a format, one line in [`FORMATS`].
//!
//! What is long is streamed: a run of a day is written with the memory of one second.

mod csv;
mod csv_operations;
mod csv_seconds;
mod hdr_log;
mod json;
pub mod junit;
mod markdown;
mod openmetrics;
mod parquet;
mod seconds;

use std::cell::RefCell;
use std::io::Write;
use std::path::Path;

use experiment::{Record, SampleRecord};
use store::did_you_mean;
use uuid::Uuid;

use crate::{Error, Result, Results};

/// Where an export is written to.
pub type Output<'a> = &'a mut (dyn Write + Send);

/// A format.
#[derive(Debug)]
pub struct Format {
    /// What it is asked for by.
    pub name: &'static str,
    /// How the names of its files end, without the dot: the format is known from it.
    pub extension: &'static str,
    /// What is in it and who reads it, in a line.
    pub summary: &'static str,
    /// Whether a terminal can show it.
    pub is_text: bool,
    write: fn(&Source<'_>, Output<'_>) -> Result<()>,
}

/// Every format, in alphabetic order. Help texts, the user guide's table and the tests come from it.
pub static FORMATS: &[&Format] = &[
    &csv_operations::FORMAT,
    &csv_seconds::FORMAT,
    &hdr_log::FORMAT,
    &json::FORMAT,
    &junit::FORMAT,
    &markdown::FORMAT,
    &openmetrics::FORMAT,
    &parquet::FORMAT,
];

/// The format of a name.
///
/// # Errors
/// The name that was probably meant, where one is near.
pub fn named(name: &str) -> Result<&'static Format, Option<&'static str>> {
    let found = FORMATS.iter().find(|format| format.name == name);
    found.copied().ok_or_else(|| did_you_mean(name, FORMATS.iter().map(|format| format.name)))
}

/// The format that a file's name asks for: of those whose extension it has, the one with the longest.
pub fn of_file(path: &Path) -> Option<&'static Format> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let ends_so = |format: &&&Format| {
        name.strip_suffix(format.extension).and_then(|rest| rest.strip_suffix('.')).is_some_and(|rest| !rest.is_empty())
    };
    FORMATS.iter().filter(ends_so).max_by_key(|format| format.extension.len()).copied()
}

/// A run that is being written: its record, and its seconds one at a time.
struct Source<'a> {
    /// Asked by whoever writes, one question at a time.
    results: RefCell<&'a mut Results>,
    record: Record,
}

impl Source<'_> {
    /// Every second in order. One fails where taking it does.
    fn each_sample(&self, take: impl FnMut(SampleRecord) -> Result<()>) -> Result<()> {
        self.results.borrow_mut().try_each_sample(self.record.id, take)
    }

    /// The names of everything that was measured beside the operations, in alphabetic order.
    fn gauge_names(&self) -> Result<Vec<String>> {
        self.results.borrow_mut().gauge_names(self.record.id)
    }

    /// A phase's name and whether it counts; a phase that the record does not know counts.
    fn phase(&self, place: u16) -> (&str, bool) {
        self.record.phases.get(usize::from(place)).map_or(("", true), |phase| (phase.name.as_str(), phase.recorded))
    }

    /// The same of the phase that went on in the middle of a second; nameless, and it does not count, where none did.
    fn phase_at(&self, second: u64) -> (&str, bool) {
        let middle = second as f64 + 0.5;
        let went_on = |start: f64, duration: f64| (start..start + duration).contains(&middle);
        let mut phases = self.record.phases.iter();
        let found = phases.find(|phase| went_on(phase.start_seconds, phase.duration_seconds));
        found.map_or(("", false), |phase| (phase.name.as_str(), phase.recorded))
    }
}

impl Results {
    /// Writes a run in a format.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`; `Output` where it cannot be written.
    pub fn export(&mut self, run: Uuid, format: &Format, out: Output<'_>) -> Result<()> {
        let record = self.record(run)?;
        let source = Source { results: RefCell::new(self), record };
        (format.write)(&source, out)?;
        Ok(out.flush()?)
    }
}

/// What a library that writes says has gone wrong.
fn refused(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    std::io::Error::other(error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart_by_name_and_by_file() {
        assert!(FORMATS.is_sorted_by(|a, b| a.name < b.name));
        for format in FORMATS {
            assert!(std::ptr::eq(named(format.name).expect("its own name"), *format));
            let file = format!("a.run.{}", format.extension);
            assert_eq!(of_file(Path::new(&file)).map(|found| found.name), Some(format.name), "{file}");
        }
        for (file, expect) in [
            ("run.CSV", Some("csv-operations")),
            ("folder/run.seconds.csv", Some("csv-seconds")),
            ("seconds.csv", Some("csv-operations")),
            ("run.txt", None),
            (".json", None),
            ("json", None),
        ] {
            assert_eq!(of_file(Path::new(file)).map(|found| found.name), expect, "{file}");
        }
        assert_eq!(named("markdwn").expect_err("no such format"), Some("markdown"));
        assert_eq!(named("spreadsheet").expect_err("no such format"), None);
    }
}
