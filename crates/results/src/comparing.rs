//! What comparisons need of the store: runs with their seconds, and what identical runs differed by on this host.
//!
//! Calibrations lie beside the store, in `calibration.json`: they are about the host, and a store that is copied elsewhere
//! does not take them along.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use experiment::{Calibration, RunData, Subject};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, Result, Results};

/// The file's name beside the store.
const FILE_NAME: &str = "calibration.json";

/// The name of the file's shape.
const SCHEMA: &str = "storelab.calibration/1";

/// Calibrations that are kept: the newest. More subjects than that are not measured on one host.
const CALIBRATIONS_MAX: usize = 200;

/// A file that is larger was not written by us.
const FILE_BYTES_MAX: u64 = 16 << 20;

#[derive(Serialize, Deserialize)]
struct Calibrations {
    schema: String,
    calibrations: Vec<Calibration>,
}

impl Results {
    /// A run with its seconds, in the least that a comparison needs of it.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`.
    pub fn run_data(&mut self, run: Uuid) -> Result<RunData> {
        let mut data = RunData::new(self.record(run)?);
        self.each_sample(run, |sample| data.add(&sample))?;
        Ok(data)
    }

    /// What identical runs of that kind differed by; none where nobody measured it.
    ///
    /// # Errors
    /// `Io` where the file cannot be read, `Damaged` where it is not what we write.
    pub fn calibration(&self, subject: &Subject) -> Result<Option<Calibration>> {
        Ok(read(&self.calibration_path()?)?.into_iter().find(|known| known.subject == *subject))
    }

    /// Keeps what identical runs differed by, in place of what was known of the same subject.
    ///
    /// # Errors
    /// `Io` where the file cannot be written; it is then what it was before.
    pub fn keep_calibration(&self, calibration: Calibration) -> Result<()> {
        let path = self.calibration_path()?;
        let mut calibrations = read(&path)?;
        calibrations.retain(|known| known.subject != calibration.subject);
        calibrations.push(calibration);
        calibrations.sort_by_key(|known| known.measured_at);
        let first = calibrations.len().saturating_sub(CALIBRATIONS_MAX);
        let kept = Calibrations { schema: SCHEMA.to_owned(), calibrations: calibrations.split_off(first) };
        write_whole(&path, &kept)
    }

    /// Where calibrations lie.
    ///
    /// # Errors
    /// `Io` where the store is a server's and the user has no home folder.
    pub fn calibration_path(&self) -> Result<PathBuf> {
        Ok(self.folder()?.join(FILE_NAME))
    }
}

fn read(path: &Path) -> Result<Vec<Calibration>> {
    let failed = |source| Error::Io { what: format!("read {}", path.display()), source };
    let damaged = |reason: String| Error::Damaged { what: path.display().to_string(), reason };
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
        Ok(found) if found.len() > FILE_BYTES_MAX => return Err(damaged(format!("it has {} bytes", found.len()))),
        Ok(_) => {}
    }
    let text = fs::read(path).map_err(failed)?;
    let read: Calibrations = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    Ok(read.calibrations)
}

/// Writes a file so that whoever reads it finds the old one or the new one, never a part.
fn write_whole(path: &Path, value: &impl Serialize) -> Result<()> {
    let beside = path.with_extension(format!("json.{}", std::process::id()));
    let write = || {
        let mut file = fs::File::create(&beside)?;
        serde_json::to_writer_pretty(&mut file, value)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| {
        // A part of a file is of no use to anybody; that it could not be removed either is told by the error itself.
        let _ = fs::remove_file(&beside);
        Error::Io { what: format!("write {}", path.display()), source }
    })
}

#[cfg(test)]
mod tests {
    use experiment::Sink;

    use super::*;
    use crate::Location;
    use crate::fixture::{self, MINUTE};

    #[test]
    fn a_run_comes_back_with_everything_that_counts() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut results = Results::open(&Location::File(folder.path().join("results.db"))).expect("opens");
        let mut samples = Vec::new();
        let (record, histograms) = fixture::run("checkout", MINUTE, |sample| samples.push(sample));
        results.started(&record).expect("kept");
        for sample in &samples {
            results.sampled(record.id, sample).expect("kept");
        }
        results.ended(&record, &histograms).expect("kept");
        let data = results.run_data(record.id).expect("it is there");
        let mut expected = RunData::new(record.clone());
        for sample in &samples {
            expected.add(sample);
        }
        let again = experiment::SideData::new("a", vec![data]);
        assert_eq!(format!("{again:?}"), format!("{:?}", experiment::SideData::new("a", vec![expected])));
    }

    #[test]
    fn calibrations_are_kept_by_subject() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let results = Results::open(&Location::File(folder.path().join("results.db"))).expect("opens");
        let subject = |driver: &str| Subject {
            host: "here".to_owned(),
            driver: driver.to_owned(),
            workload: "ycsb:b".to_owned(),
        };
        let calibration = |driver: &str, pairs| Calibration {
            subject: subject(driver),
            measured_at: "2026-03-14T09:26:53Z".parse().expect("a time"),
            pairs,
            duration_seconds: 5.0,
            metrics: std::collections::BTreeMap::default(),
        };
        assert_eq!(results.calibration(&subject("redis")).expect("nothing there"), None);
        for (driver, pairs) in [("redis", 10), ("sqlite", 20), ("redis", 30)] {
            results.keep_calibration(calibration(driver, pairs)).expect("kept");
        }
        for (driver, pairs) in [("redis", Some(30)), ("sqlite", Some(20)), ("null", None)] {
            let found = results.calibration(&subject(driver)).expect("readable");
            assert_eq!(found.map(|found| found.pairs), pairs, "{driver}");
        }
        assert_eq!(
            fs::read_dir(folder.path())
                .expect("readable")
                .filter_map(Result::ok)
                .filter(|entry| { entry.file_name().to_string_lossy().contains("json") })
                .count(),
            1,
            "no part of a file is left"
        );
        fs::write(results.calibration_path().expect("a path"), "{").expect("written");
        assert!(matches!(results.calibration(&subject("redis")), Err(Error::Damaged { .. })));
    }
}
