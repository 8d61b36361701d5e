//! sysbench's distributions (`src/sb_rand.c` of 1.0.20 and, for zipfian, 1.1), with the defaults of its options.

use std::sync::Arc;

use crate::distribution::Zipf;
use crate::random::Random;

/// `--rand-spec-iter`: so many uniform numbers make a gaussian one.
const ITERATIONS: u64 = 12;
/// `--rand-spec-pct`: this part of the numbers is special, in percent …
const SPECIAL_PERCENT: u64 = 1;
/// … and gets 75 of 100 draws, `--rand-spec-res`: one of so many draws goes to the others.
const SPECIAL_ONE_IN: u64 = 4;
/// `--rand-pareto-h`.
const PARETO_H: f64 = 0.2;
/// `--rand-zipfian-exp`.
const ZIPFIAN_EXPONENT: f64 = 0.8;

/// A distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Distribution {
    /// All alike.
    Uniform,
    /// The mean of twelve uniform numbers.
    Gaussian,
    /// One quarter gaussian, three quarters among a hundredth of the numbers in the middle.
    Special,
    /// 80 % of the draws go to a fifth of the numbers, again and again.
    Pareto,
    /// Zipf's law, the lowest number the most frequent.
    Zipfian,
}

impl Distribution {
    /// Every distribution with its name, sysbench's default first.
    pub(super) const ALL: [(&'static str, Self); 5] = [
        ("special", Self::Special),
        ("uniform", Self::Uniform),
        ("gaussian", Self::Gaussian),
        ("pareto", Self::Pareto),
        ("zipfian", Self::Zipfian),
    ];
}

/// Draws numbers below a count.
#[derive(Debug, Clone)]
pub(super) struct Chooser {
    count: u64,
    shape: Shape,
}

#[derive(Debug, Clone)]
enum Shape {
    Uniform,
    Gaussian,
    Special,
    Pareto { power: f64 },
    Zipfian(Arc<Zipf>),
}

impl Chooser {
    /// Below `count`, at least 1.
    pub(super) fn new(distribution: Distribution, count: u64) -> Self {
        let shape = match distribution {
            Distribution::Uniform => Shape::Uniform,
            Distribution::Gaussian => Shape::Gaussian,
            Distribution::Special => Shape::Special,
            Distribution::Pareto => Shape::Pareto { power: PARETO_H.ln() / (1.0 - PARETO_H).ln() },
            Distribution::Zipfian => Shape::Zipfian(Arc::new(Zipf::new(count, ZIPFIAN_EXPONENT))),
        };
        Self { count, shape }
    }

    /// The next number.
    #[inline]
    pub(super) fn draw(&self, random: &mut Random) -> u64 {
        match &self.shape {
            Shape::Uniform => random.below(self.count),
            Shape::Gaussian => gaussian(self.count, &mut || random.bits()),
            Shape::Special => special(self.count, || random.bits()),
            Shape::Pareto { power } => ((self.count as f64 * random.unit().powf(*power)) as u64).min(self.count - 1),
            Shape::Zipfian(zipf) => zipf.draw(random),
        }
    }
}

/// A uniform number below `count`.
#[inline]
fn below(count: u64, bits: u64) -> u64 {
    ((u128::from(bits) * u128::from(count)) >> 64) as u64
}

fn gaussian(count: u64, bits: &mut impl FnMut() -> u64) -> u64 {
    (0..ITERATIONS).map(|_| below(count, bits())).sum::<u64>() / ITERATIONS
}

/// The special distribution below `count`, of any random bits.
pub(super) fn special(count: u64, mut bits: impl FnMut() -> u64) -> u64 {
    let drawn = below(count * SPECIAL_ONE_IN, bits());
    if drawn < count {
        return gaussian(count, &mut bits);
    }
    let special = (count * SPECIAL_PERCENT / 100).max(1);
    drawn % special + count / 2 - count * SPECIAL_PERCENT / 200
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which part of the draws falls below each tenth of the numbers.
    fn tenths(distribution: Distribution, count: u64) -> [f64; 10] {
        const DRAWS: u32 = 100_000;
        let chooser = Chooser::new(distribution, count);
        let mut random = Random::stream(5, 0);
        let mut found = [0.0; 10];
        for _ in 0..DRAWS {
            let drawn = chooser.draw(&mut random);
            assert!(drawn < count);
            found[(drawn * 10 / count) as usize] += 1.0 / f64::from(DRAWS);
        }
        found
    }

    #[test]
    fn distributions_have_their_shape() {
        let near = |found: f64, expected: f64| (found - expected).abs() < 0.01;
        assert!(tenths(Distribution::Uniform, 1_000).iter().all(|part| near(*part, 0.1)));
        // The mean of twelve has a standard deviation of a twelfth: 0.1 are 1.2 of them.
        let found = tenths(Distribution::Gaussian, 100_000);
        assert!(near(found[4] + found[5], 0.770), "{found:?}");
        // Of the special ones, 0.495 to 0.505 of the numbers, half is below the middle.
        let found = tenths(Distribution::Special, 100_000);
        assert!(near(found[4] + found[5], 0.75 + 0.25 * 0.770), "{found:?}");
        // A fifth of the numbers gets 1 - h of the draws: (1/5)^(1/power).
        let found = tenths(Distribution::Pareto, 1_000);
        assert!(near(found[0] + found[1], 0.8), "{found:?}");
        let found = tenths(Distribution::Zipfian, 1_000);
        assert!(found.windows(2).all(|pair| pair[0] > pair[1] - 0.005) && found[0] > 0.5, "{found:?}");
    }

    #[test]
    fn few_numbers_are_no_trouble() {
        for (_, distribution) in Distribution::ALL {
            for count in [1, 2, 3, 99, 100, 101] {
                let chooser = Chooser::new(distribution, count);
                let mut random = Random::stream(1, count);
                assert!((0..1_000).all(|_| chooser.draw(&mut random) < count), "{distribution:?} {count}");
            }
        }
    }
}
