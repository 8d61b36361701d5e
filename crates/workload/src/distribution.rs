//! Which record is next: distributions over the records that exist.
//!
//! Records are counted from 0: first those that were loaded, then those that were added since, so that the count is
//! also the order of age. All of them draw without a division, without an allocation and without a lock.

mod compatible;
mod fnv;
mod zeta;
mod zipf;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::random::{Random, Remainder};
use compatible::CompatibleZipf;
pub(crate) use fnv::fnv_hash64;
pub(crate) use zipf::Zipf;

/// More records than this are not chosen from; at YCSB's record size they would be 4 TB. The spreading of ranks
/// multiplies two numbers up to this in 64 bits.
pub(crate) const RECORDS_MAX: u64 = u32::MAX as u64;

/// `ExponentialGenerator.EXPONENTIAL_PERCENTILE_DEFAULT`: this part of the accesses …
const EXPONENTIAL_PART_OF_ACCESSES: f64 = 0.95;
/// … goes to this most recent part of the records, `EXPONENTIAL_FRAC_DEFAULT`.
const EXPONENTIAL_PART_OF_RECORDS: f64 = 0.857_142_857_1;

/// A distribution with its parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Distribution {
    /// All alike.
    Uniform,
    /// Zipf's law with hot records spread over all that were loaded; those added later are the coldest.
    Zipfian {
        /// Skew; YCSB has 0.99.
        theta: f64,
    },
    /// YCSB's scrambled zipfian, over the loaded records.
    ZipfianCompatible {
        /// Skew, below 1.
        theta: f64,
    },
    /// A part of the records, those with the lowest numbers, gets a part of the accesses; uniform in both parts.
    Hotspot {
        /// Which part of the records is hot.
        set_fraction: f64,
        /// Which part of the accesses goes to them.
        operation_fraction: f64,
    },
    /// Zipf's law over age: the newest is the hottest.
    Latest {
        /// Skew.
        theta: f64,
    },
    /// One after the other, round and round.
    Sequential,
    /// Exponential over age: 95 % of the accesses go to the most recent 6/7 of the loaded records.
    Exponential,
}

/// Draws records from a [`Distribution`].
#[derive(Debug, Clone)]
pub(crate) struct KeyChooser {
    /// How many records there are.
    count: u64,
    shape: Shape,
}

#[derive(Debug, Clone)]
enum Shape {
    Uniform,
    Zipfian { zipf: Arc<Zipf>, spread: Spread, loaded: u64 },
    ZipfianCompatible(CompatibleZipf),
    Hotspot { set_fraction: f64, operation_fraction: f64, hot: u64 },
    Latest { zipf: Arc<Zipf> },
    Sequential { next: u64 },
    Exponential { scale: f64 },
}

impl KeyChooser {
    /// Over records that are loaded, from 1 to [`RECORDS_MAX`]. Clones share their tables.
    pub(crate) fn new(distribution: Distribution, loaded: u64) -> Self {
        debug_assert!((1..=RECORDS_MAX).contains(&loaded), "the caller checks the number of records");
        let zipf = |theta| Arc::new(Zipf::new(loaded, theta));
        let shape = match distribution {
            Distribution::Uniform => Shape::Uniform,
            Distribution::Zipfian { theta } => {
                Shape::Zipfian { zipf: zipf(theta), spread: Spread::over(loaded), loaded }
            }
            Distribution::ZipfianCompatible { theta } => Shape::ZipfianCompatible(CompatibleZipf::new(loaded, theta)),
            Distribution::Hotspot { set_fraction, operation_fraction } => {
                Shape::Hotspot { set_fraction, operation_fraction, hot: hot_count(loaded, set_fraction) }
            }
            Distribution::Latest { theta } => Shape::Latest { zipf: zipf(theta) },
            Distribution::Sequential => Shape::Sequential { next: 0 },
            Distribution::Exponential => {
                let range = loaded as f64 * EXPONENTIAL_PART_OF_RECORDS;
                Shape::Exponential { scale: range / (1.0 - EXPONENTIAL_PART_OF_ACCESSES).ln() }
            }
        };
        Self { count: loaded, shape }
    }

    /// The same chooser for one client of several: where records are taken one after the other each starts at
    /// a part of its own. A client that adds records gets tables of its own, so that growing allocates nothing.
    pub(crate) fn for_client(&self, index: u32, of: u32, adds: bool) -> Self {
        let mut chooser = self.clone();
        match &mut chooser.shape {
            Shape::Sequential { next } => *next = self.count * u64::from(index) / u64::from(of.max(1)),
            Shape::Zipfian { zipf, .. } | Shape::Latest { zipf } if adds => *zipf = Arc::new(Zipf::clone(zipf)),
            _ => {}
        }
        chooser
    }

    /// From now on there are so many records, not fewer than before.
    pub(crate) fn grow(&mut self, count: u64) {
        self.count = count;
        match &mut self.shape {
            Shape::Zipfian { zipf, .. } | Shape::Latest { zipf } => Arc::make_mut(zipf).grow(count),
            Shape::Hotspot { set_fraction, hot, .. } => *hot = hot_count(count, *set_fraction),
            _ => {}
        }
    }

    /// The next record, below the number of them.
    #[inline]
    pub(crate) fn draw(&mut self, random: &mut Random) -> u64 {
        match &mut self.shape {
            Shape::Uniform => random.below(self.count),
            Shape::Zipfian { zipf, spread, loaded } => {
                let rank = zipf.draw(random);
                if rank < *loaded { spread.place(rank) } else { rank }
            }
            Shape::ZipfianCompatible(zipf) => zipf.draw(random),
            Shape::Hotspot { operation_fraction, hot, .. } => {
                let cold = self.count - *hot;
                if cold == 0 || random.unit() < *operation_fraction {
                    random.below(*hot)
                } else {
                    *hot + random.below(cold)
                }
            }
            Shape::Latest { zipf } => self.count - 1 - zipf.draw(random),
            Shape::Sequential { next } => {
                let record = *next;
                *next = if record + 1 < self.count { record + 1 } else { 0 };
                record
            }
            Shape::Exponential { scale } => loop {
                // 1 - unit is never 0. An age that no record has is drawn again, as YCSB does.
                let age = ((1.0 - random.unit()).ln() * *scale) as u64;
                if age < self.count {
                    break self.count - 1 - age;
                }
            },
        }
    }
}

/// How many of the records are hot: at least one.
fn hot_count(count: u64, set_fraction: f64) -> u64 {
    ((count as f64 * set_fraction) as u64).clamp(1, count)
}

/// A fixed one-to-one map of ranks to records that lays neighbouring ranks far apart, so that the hot records of a
/// skewed distribution do not share pages or partitions: steps of the golden section, round the records.
#[derive(Debug, Clone, Copy)]
struct Spread {
    step: u64,
    offset: u64,
    records: Remainder,
}

impl Spread {
    /// Over so many records.
    fn over(records: u64) -> Self {
        /// The golden section: its multiples are spread as evenly as can be.
        const GOLDEN_SECTION: f64 = 0.618_033_988_749_894_9;
        let mut step = ((records as f64 * GOLDEN_SECTION) as u64).max(1);
        // A step without a common divisor visits every record once. One is found within a few trials.
        while greatest_common_divisor(step, records) != 1 {
            step += 1;
        }
        Self { step, offset: records / 3, records: Remainder::of(records) }
    }

    /// The record of a rank.
    #[inline]
    fn place(self, rank: u64) -> u64 {
        self.records.reduce(rank * self.step + self.offset)
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
