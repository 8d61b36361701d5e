//! sysbench's distributions (`src/sb_rand.c` of 1.0.20 and, for zipfian, 1.1), with the defaults of its options.

use std::sync::Arc;

use crate::distribution::Zipf;
use crate::random::Random;

/// `--rand-spec-iter`: so many uniform numbers make a gaussian one.
const ITERATIONS: u32 = 12;
/// `--rand-spec-pct`: the part of the numbers in which the special ones are.
const SPECIAL_PART: f64 = 0.01;
/// `--rand-spec-res`: the part of the draws that goes to them is 1 less this.
const OTHERS_PART: f64 = 0.25;
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
    /// One quarter gaussian, three quarters among a hundredth of the numbers in the middle; as sysbench uses the random
    /// number that chose between them once more, it is the upper three quarters of that hundredth.
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
            Shape::Gaussian => gaussian(self.count as f64, &mut || random.unit()) as u64,
            Shape::Special => special(self.count, || random.unit()),
            Shape::Pareto { power } => ((self.count as f64 * random.unit().powf(*power)) as u64).min(self.count - 1),
            Shape::Zipfian(zipf) => zipf.draw(random),
        }
    }
}

/// The mean of uniform numbers below `length`.
fn gaussian(length: f64, unit: &mut impl FnMut() -> f64) -> f64 {
    (0..ITERATIONS).map(|_| unit()).sum::<f64>() * length / f64::from(ITERATIONS)
}

/// The special distribution below `count`, of numbers in [0, 1).
pub(super) fn special(count: u64, mut unit: impl FnMut() -> f64) -> u64 {
    let length = (count - 1) as f64;
    let drawn = unit();
    if drawn < OTHERS_PART {
        return gaussian(length, &mut unit) as u64;
    }
    let special = length * SPECIAL_PART;
    ((drawn * (special + 1.0) + length / 2.0 - special / 2.0) as u64).min(count - 1)
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
        let found = tenths(Distribution::Special, 100_000);
        assert!(near(found[4] + found[5], 0.75 + 0.25 * 0.770), "{found:?}");
        // A fifth of the numbers gets 1 - h of the draws: (1/5)^(1/power).
        let found = tenths(Distribution::Pareto, 1_000);
        assert!(near(found[0] + found[1], 0.8), "{found:?}");
        let found = tenths(Distribution::Zipfian, 1_000);
        assert!(found.windows(2).all(|pair| pair[0] > pair[1] - 0.005) && found[0] > 0.5, "{found:?}");
    }

    /// As 400,000 draws of Debian's sysbench 1.0.20 have it, `sysbench.rand.special(1, 100000)`, by hundreds from 49,500 on.
    #[test]
    fn special_is_sysbenchs() {
        const FOUND: [f64; 11] = [0.001, 0.001, 0.051, 0.101, 0.100, 0.101, 0.101, 0.101, 0.101, 0.101, 0.001];
        const DRAWS: u32 = 200_000;
        let chooser = Chooser::new(Distribution::Special, 100_000);
        let mut random = Random::stream(2, 0);
        let mut counts = [0_u32; 11];
        for _ in 0..DRAWS {
            let drawn = chooser.draw(&mut random) + 1;
            if let Some(count) = drawn.checked_sub(49_500).and_then(|above| counts.get_mut((above / 100) as usize)) {
                *count += 1;
            }
        }
        for (count, expected) in counts.into_iter().zip(FOUND) {
            assert!((f64::from(count) / f64::from(DRAWS) - expected).abs() < 0.003, "{counts:?}");
        }
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
