//! YCSB's own "scrambled zipfian", for comparison with numbers measured by YCSB.
//!
//! It draws from ten thousand million items by the method of Gray et al. (SIGMOD 1994), whatever the number of
//! records is, hashes what it drew and takes the remainder. Every record then collects some of the long tail, so that
//! it is much flatter than Zipf's law over the records: of 10,000 the hottest gets 4 % of the accesses and not 10 %.

use super::fnv::fnv_hash64;
use super::zeta::zeta;
use crate::random::{Random, Remainder};

/// `ScrambledZipfianGenerator.ITEM_COUNT`; the generator under it counts both ends and so has one more.
const ITEM_COUNT: u64 = 10_000_000_000;

/// Draws numbers of records as YCSB does.
#[derive(Debug, Clone)]
pub(crate) struct CompatibleZipf {
    zeta: f64,
    second: f64,
    eta: f64,
    alpha: f64,
    records: Remainder,
}

impl CompatibleZipf {
    /// Over so many records, with 0 ≤ `theta` < 1.
    pub(crate) fn new(records: u64, theta: f64) -> Self {
        // YCSB takes the zeta of ITEM_COUNT for one item more; the difference is far below what can be measured.
        let zeta = zeta(ITEM_COUNT, theta);
        let second = 1.0 + 0.5_f64.powf(theta);
        let eta = (1.0 - (2.0 / (ITEM_COUNT + 1) as f64).powf(1.0 - theta)) / (1.0 - second / zeta);
        Self { zeta, second, eta, alpha: 1.0 / (1.0 - theta), records: Remainder::of(records) }
    }

    /// The next record.
    #[inline]
    pub(crate) fn draw(&self, random: &mut Random) -> u64 {
        self.records.reduce(fnv_hash64(self.item(random.unit())))
    }

    /// Gray's inversion.
    fn item(&self, unit: f64) -> u64 {
        let sum = unit * self.zeta;
        if sum < 1.0 {
            0
        } else if sum < self.second {
            1
        } else {
            ((ITEM_COUNT + 1) as f64 * (self.eta * unit - self.eta + 1.0).powf(self.alpha)) as u64
        }
    }

    /// The part of the unit interval below which Gray's inversion gives items below `item`, for `item` from 2.
    #[cfg(test)]
    pub(super) fn probability_below(&self, item: u64) -> f64 {
        let root = (item as f64 / (ITEM_COUNT + 1) as f64).powf(1.0 / self.alpha);
        ((root + self.eta - 1.0) / self.eta).max(self.second / self.zeta)
    }
}
