//! `/proc/diskstats`: what went to and came from the block devices.
//!
//! Each byte is counted once: partitions are part of their disk, and device-mapper or software-RAID volumes lie on
//! disks that are counted themselves. Loop devices lie on a file, RAM disks and zram on memory: they are left out too.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{count_rate, growth, rate};

/// The kernel counts in sectors of 512 bytes whatever the device's own are (block/stat.txt).
const SECTOR_BYTES: u64 = 512;

/// Devices whose content lies on other devices or in memory.
const LAYERED: [&str; 8] = ["loop", "ram", "zram", "dm-", "md", "sr", "fd", "drbd"];

/// Sums over all whole devices since the host started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    /// How many devices were summed.
    pub devices: u64,
    /// Reads that were completed.
    pub reads: u64,
    /// Writes that were completed.
    pub writes: u64,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Bytes that were written.
    pub write_bytes: u64,
    /// Time that all reads took together, from queue to completion.
    pub read_seconds: f64,
    /// Time that all writes took together, from queue to completion.
    pub write_seconds: f64,
    /// Flushes that were completed, which is what an fsync ends in; kernels before 5.5 do not say.
    pub flushes: Option<u64>,
    /// Time that all flushes took together.
    pub flush_seconds: Option<f64>,
    /// Time in which a device had at least one request, summed over devices.
    pub busy_seconds: f64,
    /// Time multiplied by the requests in flight, summed over devices.
    pub queued_seconds: f64,
    /// Requests in flight now.
    pub in_flight: u64,
}

/// [`Disk`] a second, and what the mean request took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct DiskRates {
    /// Reads a second.
    pub reads_per_second: f64,
    /// Writes a second.
    pub writes_per_second: f64,
    /// Bytes read a second.
    pub read_bytes_per_second: f64,
    /// Bytes written a second.
    pub write_bytes_per_second: f64,
    /// What the mean read took; none without a read.
    pub read_latency_seconds: Option<f64>,
    /// What the mean write took; none without a write.
    pub write_latency_seconds: Option<f64>,
    /// What the mean flush took; none without a flush or on a kernel that does not count them.
    pub flush_latency_seconds: Option<f64>,
    /// 100 is one device that always had a request.
    pub busy_percent: f64,
    /// Requests in flight in the mean.
    pub queue_depth: f64,
}

impl Disk {
    pub(crate) fn rates(&self, before: &Self, seconds: f64) -> DiskRates {
        let flushes = before.flushes.zip(self.flushes).zip(before.flush_seconds.zip(self.flush_seconds));
        DiskRates {
            reads_per_second: count_rate(before.reads, self.reads, seconds),
            writes_per_second: count_rate(before.writes, self.writes, seconds),
            read_bytes_per_second: count_rate(before.read_bytes, self.read_bytes, seconds),
            write_bytes_per_second: count_rate(before.write_bytes, self.write_bytes, seconds),
            read_latency_seconds: latency((before.reads, self.reads), (before.read_seconds, self.read_seconds)),
            write_latency_seconds: latency((before.writes, self.writes), (before.write_seconds, self.write_seconds)),
            flush_latency_seconds: flushes.and_then(|(counts, times)| latency(counts, times)),
            busy_percent: 100.0 * rate(growth(before.busy_seconds, self.busy_seconds), seconds),
            queue_depth: rate(growth(before.queued_seconds, self.queued_seconds), seconds),
        }
    }
}

/// The mean time of the requests that were completed between two readings.
fn latency(counts: (u64, u64), times: (f64, f64)) -> Option<f64> {
    let completed = counts.1.checked_sub(counts.0).filter(|completed| *completed > 0)?;
    Some(growth(times.0, times.1) / completed as f64)
}

/// Which devices are whole and hold their content themselves, asked once for each name.
#[derive(Debug)]
pub(crate) struct Devices {
    folder: PathBuf,
    /// Without `/sys` only the names can tell.
    listed: bool,
    known: HashMap<String, bool>,
}

impl Devices {
    pub(crate) fn new(root: &Path) -> Self {
        let folder = root.join("sys/block");
        let listed = folder.is_dir();
        Self { folder, listed, known: HashMap::new() }
    }

    fn counts(&mut self, name: &str) -> bool {
        if let Some(counts) = self.known.get(name) {
            return *counts;
        }
        let counts = !LAYERED.iter().any(|prefix| name.starts_with(prefix))
            && if self.listed { self.is_whole(name) } else { !looks_like_partition(name) };
        self.known.insert(name.to_owned(), counts);
        counts
    }

    /// `/sys/block` lists whole devices; those that lie on others name them in `slaves`.
    fn is_whole(&self, name: &str) -> bool {
        // The kernel writes the slash of `cciss/c0d0` as an exclamation mark there; a name never leaves the folder.
        let device = self.folder.join(name.replace('/', "!"));
        let lies_on_others =
            || std::fs::read_dir(device.join("slaves")).is_ok_and(|mut entries| entries.next().is_some());
        device.exists() && !lies_on_others()
    }
}

/// `sda1`, `vda2`, `nvme0n1p3`, `mmcblk0p1`; but not `nvme0n1` or `mmcblk0`.
fn looks_like_partition(name: &str) -> bool {
    let stem = name.trim_end_matches(|digit: char| digit.is_ascii_digit());
    if stem.len() == name.len() {
        return false;
    }
    match stem.strip_suffix('p') {
        Some(device) if device.ends_with(|digit: char| digit.is_ascii_digit()) => true,
        _ => ["sd", "hd", "vd", "xvd"].iter().any(|prefix| stem.starts_with(prefix)),
    }
}

/// Reads `/proc/diskstats`; times there are in milliseconds.
pub(crate) fn parse_diskstats(text: &str, devices: &mut Devices) -> Option<Disk> {
    let mut disk = Disk { flushes: Some(0), flush_seconds: Some(0.0), ..Disk::default() };
    let mut understood = text.trim().is_empty();
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace().skip(2);
        let Some(name) = fields.next() else { continue };
        let mut values = [0_u64; 17];
        let mut columns = 0;
        for (value, field) in values.iter_mut().zip(&mut fields) {
            let Ok(number) = field.parse() else { break };
            *value = number;
            columns += 1;
        }
        if columns < 11 {
            continue;
        }
        understood = true;
        if devices.counts(name) {
            add(&mut disk, &values, columns == values.len());
        }
    }
    if disk.devices == 0 {
        (disk.flushes, disk.flush_seconds) = (None, None);
    }
    understood.then_some(disk)
}

/// Adds one device's columns (iostats.txt); the last two are the flushes.
fn add(disk: &mut Disk, columns: &[u64; 17], has_flushes: bool) {
    let [
        reads,
        _,
        read_sectors,
        read_ms,
        writes,
        _,
        write_sectors,
        write_ms,
        in_flight,
        busy_ms,
        queued_ms,
        ..,
        flushes,
        flush_ms,
    ] = *columns;
    let seconds = |milliseconds: u64| milliseconds as f64 / 1e3;
    disk.devices += 1;
    disk.reads = disk.reads.saturating_add(reads);
    disk.writes = disk.writes.saturating_add(writes);
    disk.read_bytes = disk.read_bytes.saturating_add(read_sectors.saturating_mul(SECTOR_BYTES));
    disk.write_bytes = disk.write_bytes.saturating_add(write_sectors.saturating_mul(SECTOR_BYTES));
    disk.in_flight = disk.in_flight.saturating_add(in_flight);
    disk.read_seconds += seconds(read_ms);
    disk.write_seconds += seconds(write_ms);
    disk.busy_seconds += seconds(busy_ms);
    disk.queued_seconds += seconds(queued_ms);
    disk.flushes = disk.flushes.filter(|_| has_flushes).map(|sum| sum.saturating_add(flushes));
    disk.flush_seconds = disk.flush_seconds.filter(|_| has_flushes).map(|sum| sum + seconds(flush_ms));
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "   7 0 loop0 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n 254 0 vda 10 1 16 1000 20 2 32 4000 3 500 5000 7 8 9 10 4 40\n 254 1 vda1 9 1 16 1000 20 2 32 4000 3 500 5000 7 8 9 10 0 0\n 253 0 dm-0 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n";

    #[test]
    fn each_byte_is_counted_once_with_and_without_sys() {
        let bare = tempfile::tempdir().expect("a temporary folder");
        let listed = tempfile::tempdir().expect("a temporary folder");
        for name in ["loop0", "vda", "dm-0/slaves/vda", "bcache0/slaves/vda"] {
            std::fs::create_dir_all(listed.path().join("sys/block").join(name)).expect("the folder is ours");
        }
        let text = format!("{NEW} 252 0 bcache0 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n");
        for (root, text) in [(&bare, NEW), (&listed, &text)] {
            let disk = parse_diskstats(text, &mut Devices::new(root.path())).expect("a well-formed file");
            assert_eq!((disk.devices, disk.reads, disk.writes), (1, 10, 20));
            assert_eq!((disk.read_bytes, disk.write_bytes, disk.in_flight), (8192, 16384, 3));
            assert_eq!((disk.flushes, disk.flush_seconds), (Some(4), Some(0.04)));
        }
    }

    #[test]
    fn partitions_are_known_by_name_where_nothing_else_tells() {
        for (name, expected) in [
            ("sda", false),
            ("sda1", true),
            ("vdb12", true),
            ("xvda1", true),
            ("nvme0n1", false),
            ("nvme0n1p2", true),
            ("mmcblk0", false),
            ("mmcblk0p1", true),
            ("nbd3", false),
        ] {
            assert_eq!(looks_like_partition(name), expected, "{name}");
        }
    }

    #[test]
    fn an_old_kernel_counts_no_flushes_and_a_mean_needs_requests() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let mut devices = Devices::new(root.path());
        let before = parse_diskstats("8 0 sda 10 0 8 100 0 0 0 0 0 50 100\n", &mut devices).expect("eleven columns");
        let after = parse_diskstats("8 0 sda 30 0 16 200 0 0 0 0 0 250 1100\n", &mut devices).expect("eleven columns");
        assert_eq!((after.flushes, after.flush_seconds), (None, None));
        let rates = after.rates(&before, 2.0);
        assert_eq!((rates.reads_per_second, rates.read_bytes_per_second), (10.0, 2048.0));
        assert_eq!((rates.busy_percent, rates.queue_depth), (10.0, 0.5));
        assert_eq!((rates.read_latency_seconds, rates.write_latency_seconds), (Some(0.005), None));
        assert!(before.rates(&after, 2.0).reads_per_second <= 0.0, "a counter that was set back");
        assert_eq!(parse_diskstats("8 0 sda 10 words\n", &mut devices), None);
    }
}
