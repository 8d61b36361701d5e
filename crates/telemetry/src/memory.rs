//! `/proc/meminfo` and `/proc/vmstat`: what memory is left, and what its lack costs.

use serde::{Deserialize, Serialize};

use crate::files::count_rate;

/// Memory of the host now, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// What the kernel manages.
    pub total_bytes: u64,
    /// What programs can get without swapping; kernels before 3.14 do not say.
    pub available_bytes: Option<u64>,
    /// The page cache.
    pub cached_bytes: u64,
    /// Waits to be written to a disk.
    pub dirty_bytes: u64,
    /// Is being written to a disk.
    pub writeback_bytes: u64,
    /// Swap in use.
    pub swap_used_bytes: u64,
}

impl Memory {
    /// What programs cannot get any more.
    pub fn used_bytes(&self) -> Option<u64> {
        Some(self.total_bytes.saturating_sub(self.available_bytes?))
    }
}

/// Page faults and swapping since the host started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paging {
    /// Faults that were served from memory.
    pub minor_faults: u64,
    /// Faults that waited for a disk.
    pub major_faults: u64,
    /// Pages brought in from swap; a kernel without swap does not count them.
    pub swapped_in_pages: Option<u64>,
    /// Pages put out to swap.
    pub swapped_out_pages: Option<u64>,
}

/// [`Paging`] a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PagingRates {
    /// Faults served from memory a second.
    pub minor_faults_per_second: f64,
    /// Faults that waited for a disk a second.
    pub major_faults_per_second: f64,
}

impl Paging {
    pub(crate) fn rates(&self, before: &Self, seconds: f64) -> PagingRates {
        PagingRates {
            minor_faults_per_second: count_rate(before.minor_faults, self.minor_faults, seconds),
            major_faults_per_second: count_rate(before.major_faults, self.major_faults, seconds),
        }
    }
}

/// Reads `/proc/meminfo`, whose unit is 1024 bytes whatever `kB` may suggest.
pub(crate) fn parse_meminfo(text: &str) -> Option<Memory> {
    let mut memory = Memory::default();
    let (mut total, mut swap_total, mut swap_free) = (None, 0, 0);
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let Some(bytes) = kibibytes(value) else { continue };
        match name {
            "MemTotal" => total = Some(bytes),
            "MemAvailable" => memory.available_bytes = Some(bytes),
            "Cached" => memory.cached_bytes = bytes,
            "Dirty" => memory.dirty_bytes = bytes,
            "Writeback" => memory.writeback_bytes = bytes,
            "SwapTotal" => swap_total = bytes,
            "SwapFree" => swap_free = bytes,
            _ => {}
        }
    }
    memory.total_bytes = total?;
    memory.swap_used_bytes = u64::saturating_sub(swap_total, swap_free);
    Some(memory)
}

/// `  1752 kB` as bytes.
pub(crate) fn kibibytes(value: &str) -> Option<u64> {
    value.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Reads `/proc/vmstat`; `pgfault` there counts the major faults as well.
pub(crate) fn parse_vmstat(text: &str) -> Option<Paging> {
    let mut paging = Paging::default();
    let (mut faults, mut major_faults) = (None, None);
    for line in text.lines() {
        // The file has some 180 lines; only lines that may be ours are taken apart.
        if !(line.starts_with("pg") || line.starts_with("ps")) {
            continue;
        }
        let Some((name, value)) = line.split_once(' ') else { continue };
        let value = || value.trim().parse::<u64>().ok();
        match name {
            "pgfault" => faults = value(),
            "pgmajfault" => major_faults = value(),
            "pswpin" => paging.swapped_in_pages = value(),
            "pswpout" => paging.swapped_out_pages = value(),
            _ => {}
        }
    }
    paging.major_faults = major_faults?;
    paging.minor_faults = faults?.saturating_sub(paging.major_faults);
    Some(paging)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_in_bytes_and_an_old_kernel_has_no_available() {
        let text = "MemTotal:        2048 kB\nMemFree: 100 kB\nCached:  3 kB\nDirty: 4 kB\nWriteback: 5 kB\nSwapTotal: 10 kB\nSwapFree: 4 kB\nHugePages_Total:       0\n";
        let memory = parse_meminfo(text).expect("a well-formed file");
        let expected = Memory {
            total_bytes: 2048 * 1024,
            available_bytes: None,
            cached_bytes: 3 * 1024,
            dirty_bytes: 4 * 1024,
            writeback_bytes: 5 * 1024,
            swap_used_bytes: 6 * 1024,
        };
        assert_eq!(memory, expected);
        assert_eq!(memory.used_bytes(), None);
        let newer = parse_meminfo(&format!("{text}MemAvailable: 48 kB\n")).expect("a well-formed file");
        assert_eq!(newer.used_bytes(), Some(2000 * 1024));
        assert_eq!(parse_meminfo("MemFree: 1 kB\n"), None);
        assert_eq!(parse_meminfo("MemTotal: 18446744073709551615 kB\n"), None);
    }

    #[test]
    fn minor_faults_are_those_that_are_not_major() {
        let paging = parse_vmstat("nr_free_pages 1\npgfault 100\npgmajfault 30\n").expect("a well-formed file");
        assert_eq!((paging.minor_faults, paging.major_faults, paging.swapped_in_pages), (70, 30, None));
        assert_eq!(parse_vmstat("pgfault 100\n"), None);
    }
}
