//! How the kernel's text files are read: kept open and read from the start again where they live as long as we do,
//! opened each time where they belong to a process that comes and goes. One buffer is reused for all of them.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Most files are below 4 KiB; the first read of `/proc/stat` on a large host needs more and grows the buffer once.
const BUFFER_BYTES: usize = 16 * 1024;

/// A table of a million connections in `/proc/net/tcp` is 150 MB; what is larger than this is no file of the kernel.
const FILE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The bytes of the file read last; allocated once a sampler.
#[derive(Debug, Default)]
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    /// Everything the open file says now, from its start. Bytes that are no UTF-8 (a process may name itself so)
    /// are replaced.
    fn fill(&mut self, file: &File) -> io::Result<Cow<'_, str>> {
        if self.0.is_empty() {
            self.0.resize(BUFFER_BYTES, 0);
        }
        let mut length = 0;
        loop {
            match file.read_at(&mut self.0[length..], length as u64) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if length == self.0.len() {
                if length >= FILE_BYTES_MAX {
                    return Err(io::Error::from(io::ErrorKind::FileTooLarge));
                }
                self.0.resize(length * 2, 0);
            }
        }
        Ok(String::from_utf8_lossy(&self.0[..length]))
    }

    /// Opens, reads and closes a file.
    pub(crate) fn read(&mut self, path: &Path) -> io::Result<Cow<'_, str>> {
        self.fill(&File::open(path)?)
    }
}

/// What is not known about a host or a process and why, each once, in the order in which it was noticed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Missing(Vec<String>);

impl Missing {
    pub(crate) fn note(&mut self, what: &str, why: impl std::fmt::Display) {
        let sentence = format!("{what}: {why}");
        if !self.0.contains(&sentence) {
            self.0.push(sentence);
        }
    }

    pub(crate) fn to_vec(&self) -> Vec<String> {
        self.0.clone()
    }
}

/// Why a file gave nothing, in words for `missing`.
pub(crate) fn absence(shown: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("{shown} is not there"),
        io::ErrorKind::PermissionDenied => format!("{shown} may not be read by this user"),
        _ => format!("{shown} cannot be read ({error})"),
    }
}

/// A file that is kept open between samples.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    /// The path below the root, as users know it: `/proc/stat`.
    shown: String,
    file: Option<File>,
    /// Its absence was said already, so that the sentence is not made again each second.
    noted: bool,
}

impl Source {
    /// A file below `root`, named without its leading slash.
    pub(crate) fn new(root: &Path, relative: &str) -> Self {
        Self { path: root.join(relative), shown: format!("/{relative}"), file: None, noted: false }
    }

    /// The text of the file now. It is opened when it is not open yet, and again after an error.
    pub(crate) fn read<'b>(&mut self, buffer: &'b mut Buffer) -> io::Result<Cow<'b, str>> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(&self.path)?,
        };
        let text = buffer.fill(&file)?;
        self.file = Some(file);
        Ok(text)
    }

    /// The file's text through `parse`; when there is none or it is not understood, that is said in `missing` as
    /// `what`.
    pub(crate) fn parse<T>(
        &mut self,
        buffer: &mut Buffer,
        missing: &mut Missing,
        what: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let why = match self.read(buffer) {
            Ok(text) => match parse(&text) {
                Some(value) => return Some(value),
                None if self.noted => return None,
                None => format!("{} is not understood", self.shown),
            },
            Err(_) if self.noted => return None,
            Err(error) => absence(&self.shown, &error),
        };
        self.noted = true;
        missing.note(what, why);
        None
    }

    /// As [`parse`](Self::parse), for a file whose absence means nothing.
    pub(crate) fn parse_optional<T>(
        &mut self,
        buffer: &mut Buffer,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.read(buffer).ok().and_then(|text| parse(&text))
    }
}

/// The monotonic clock in seconds: one time axis for the samples of all samplers on this host.
pub(crate) fn monotonic_seconds() -> f64 {
    seconds_of(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic))
}

/// A clock's reading in seconds.
pub(crate) fn seconds_of(time: rustix::time::Timespec) -> f64 {
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The growth of a counter; one that was set back (a device removed, a counter wrapped) counts as no growth.
pub(crate) fn growth(before: f64, after: f64) -> f64 {
    (after - before).max(0.0)
}

/// `amount` in each second of `seconds`; zero over no time, since a rate must not be infinite in a record.
pub(crate) fn rate(amount: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { amount / seconds } else { 0.0 }
}

/// The growth of a counter a second.
pub(crate) fn count_rate(before: u64, after: u64, seconds: f64) -> f64 {
    rate(after.saturating_sub(before) as f64, seconds)
}

/// `f` over both values where both samples have one.
pub(crate) fn both<T: Copy, U>(before: Option<T>, after: Option<T>, f: impl FnOnce(T, T) -> U) -> Option<U> {
    Some(f(before?, after?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_file_is_read_anew_each_time_whatever_its_length() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut source = Source::new(folder.path(), "counter");
        let mut buffer = Buffer::default();
        for length in [1, BUFFER_BYTES - 1, BUFFER_BYTES, 3 * BUFFER_BYTES, 0, 7] {
            let text = "x".repeat(length);
            std::fs::write(folder.path().join("counter"), &text).expect("the folder is ours");
            assert_eq!(source.read(&mut buffer).expect("it was just written"), text);
        }
    }

    #[test]
    fn what_is_missing_is_said_once_and_names_the_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("odd"), "words").expect("the folder is ours");
        let (mut buffer, mut missing) = (Buffer::default(), Missing::default());
        let mut gone = Source::new(folder.path(), "proc/pressure/io");
        let mut odd = Source::new(folder.path(), "odd");
        for _ in 0..2 {
            assert_eq!(gone.parse(&mut buffer, &mut missing, "pressure stall", |text| Some(text.len())), None);
            assert_eq!(odd.parse(&mut buffer, &mut missing, "oddness", |text| text.parse::<u64>().ok()), None);
        }
        assert_eq!(
            missing.to_vec(),
            ["pressure stall: /proc/pressure/io is not there", "oddness: /odd is not understood"]
        );
    }
}
