//! Randomness as a seeded argument: one independent stream a client, and the few draws that workloads make of it.

use rand_xoshiro::rand_core::{Rng, SeedableRng};
use rand_xoshiro::{SplitMix64, Xoshiro256PlusPlus};

/// A stream of random numbers that is the same for the same seed and index.
#[derive(Debug, Clone)]
pub(crate) struct Random(Xoshiro256PlusPlus);

impl Random {
    /// The stream of a client. Its state is filled by a `SplitMix64`, as the authors of xoshiro advise; seed and index
    /// are mixed before they are added, so that neighbouring seeds do not share streams with neighbouring clients.
    pub(crate) fn stream(seed: u64, index: u64) -> Self {
        let mut words = SplitMix64::seed_from_u64(mix64(seed).wrapping_add(mix64(!index)));
        let mut state = [0; 32];
        words.fill_bytes(&mut state);
        Self(Xoshiro256PlusPlus::from_seed(state))
    }

    /// 64 random bits.
    #[inline]
    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A whole number below `count`, by multiplication (Lemire 2019) without its correction: a number is more
    /// probable than another by at most `count / 2^64`, which no run can see.
    #[inline]
    pub(crate) fn below(&mut self, count: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(count)) >> 64) as u64
    }

    /// A number in [0, 1), a multiple of 2^-53.
    #[inline]
    pub(crate) fn unit(&mut self) -> f64 {
        unit(self.bits())
    }
}

/// Random bits as a number in [0, 1), a multiple of 2^-53.
#[inline]
pub(crate) const fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
}

/// A bijection of 64 bits whose output looks random: the finaliser of `SplitMix64` (Stafford's variant 13).
#[inline]
pub(crate) const fn mix64(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// The remainder by a number that is known beforehand, without a division (Barrett).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remainder {
    divisor: u64,
    reciprocal: u64,
}

impl Remainder {
    /// Of a division by `divisor`, at least 1 and below 2^63.
    pub(crate) fn of(divisor: u64) -> Self {
        Self { divisor, reciprocal: u64::MAX / divisor }
    }

    /// `value % divisor`. The estimated quotient is right or one too small, because the reciprocal is short of
    /// `2^64 / divisor` by at most one part in `2^64 / divisor`.
    #[inline]
    pub(crate) fn reduce(self, value: u64) -> u64 {
        let quotient = ((u128::from(value) * u128::from(self.reciprocal)) >> 64) as u64;
        let rest = value - quotient * self.divisor;
        if rest >= self.divisor { rest - self.divisor } else { rest }
    }
}

/// Draws one of several kinds of work by their weights.
#[derive(Debug, Clone)]
pub(crate) struct Mix {
    /// Upper ends of all kinds but the last, as parts of 2^64.
    ends: Vec<u64>,
}

impl Mix {
    /// With these weights, none negative, one at least positive; they need not add up to 1.
    pub(crate) fn new(weights: &[f64]) -> Self {
        /// 2^64 as a float; the cast back saturates.
        const WHOLE: f64 = 18_446_744_073_709_551_616.0;
        let sum: f64 = weights.iter().sum();
        let mut upper = 0.0;
        let mut ends: Vec<u64> = weights
            .iter()
            .map(|weight| {
                upper += weight;
                (upper / sum * WHOLE) as u64
            })
            .collect();
        ends.pop();
        Self { ends }
    }

    /// The place of the kind that is next. Where there is only one no random number is used up.
    #[inline]
    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        if self.ends.is_empty() {
            return 0;
        }
        let bits = random.bits();
        self.ends.iter().map(|end| usize::from(bits >= *end)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_and_by_index() {
        let first = |seed, index| Random::stream(seed, index).bits();
        assert_eq!(first(1, 2), first(1, 2));
        let mut all: Vec<u64> = (0..50).flat_map(|seed| (0..50).map(move |index| first(seed, index))).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 2_500);
    }

    #[test]
    fn remainders_are_those_of_the_division() {
        let mut random = Random::stream(7, 0);
        for divisor in [1, 2, 3, 10, 10_000, (1 << 32) - 1, 1 << 32, (1 << 62) + 1] {
            let remainder = Remainder::of(divisor);
            let edges = [0, 1, divisor - 1, divisor, divisor + 1, u64::MAX, u64::MAX / divisor * divisor];
            for value in edges.into_iter().chain((0..1_000).map(|_| random.bits())) {
                assert_eq!(remainder.reduce(value), value % divisor, "{value} % {divisor}");
            }
        }
    }

    #[test]
    fn kinds_without_weight_are_never_drawn() {
        let mut random = Random::stream(3, 0);
        let mix = Mix::new(&[0.0, 2.0, 0.0, 1.0, 0.0]);
        let mut counts = [0_u32; 5];
        for _ in 0..30_000 {
            counts[mix.draw(&mut random)] += 1;
        }
        assert_eq!((counts[0], counts[2], counts[4]), (0, 0, 0));
        assert!((19_500..20_500).contains(&counts[1]), "{counts:?}");
    }
}
