//! Hierarchical divisive estimation by energy, as Matteson and James describe it (section 3).

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use super::ChangePoint;

/// E-divisive with α = 1: no window, no assumption about the distribution.
///
/// The piece with the greatest energy is divided there, until a permutation test says that such an energy is no
/// surprise: values are shuffled within each piece, and p is the share of shuffles whose greatest energy is at least as
/// great, the series itself counted as one of them. Time is in the square of the number of values, times the number of
/// shuffles; memory is in proportion to the number of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EDivisive {
    /// Shuffles of a test; a p-value is a multiple of 1 / (this + 1).
    pub permutations: u32,
    /// A change point's p-value is at most this.
    pub p_value_max: f64,
    /// A change of the mean is greater than this, as a share of the mean on the side where that share is greater; 0 for
    /// changes of any kind, for the statistic sees more than means.
    pub change_min: f64,
}

impl Default for EDivisive {
    /// 499 shuffles, as in the paper's simulations; a level of 1 %, for runs of a program come in hundreds.
    fn default() -> Self {
        Self { permutations: 499, p_value_max: 0.01, change_min: 0.0 }
    }
}

impl EDivisive {
    /// The change points of finite values, in order; the same seed gives the same p-values.
    pub fn change_points(&self, values: &[f64], seed: u64) -> Vec<ChangePoint> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut search = Search::new(values.len());
        // Where pieces start, with the p-value of each start but the first.
        let mut starts = vec![(0, 0.0)];
        let mut shuffled = values.to_vec();
        while let Some(best) = search.best(values, &starts) {
            let Some(p_value) = self.p_value(best.energy, values, &starts, &mut shuffled, &mut search, &mut random)
            else {
                break;
            };
            let at = starts.partition_point(|(start, _)| *start < best.index);
            starts.insert(at, (best.index, p_value));
        }
        let mut points = points_between(&starts, values);
        while self.change_min > 0.0
            && let Some(smallest) = points.iter().map(magnitude).enumerate().min_by(|a, b| a.1.total_cmp(&b.1))
            && smallest.1 <= self.change_min
        {
            starts.remove(smallest.0 + 1);
            points = points_between(&starts, values);
        }
        points
    }

    /// The p-value of an energy; none as soon as it cannot be significant any more.
    fn p_value(
        &self,
        energy: f64,
        values: &[f64],
        starts: &[(usize, f64)],
        shuffled: &mut [f64],
        search: &mut Search,
        random: &mut Xoshiro256PlusPlus,
    ) -> Option<f64> {
        let of = |extreme: u32| f64::from(extreme + 1) / (f64::from(self.permutations) + 1.0);
        let mut extreme = 0;
        for _ in 0..self.permutations {
            shuffled.copy_from_slice(values);
            for (start, end) in pieces(starts, values.len()) {
                shuffle(&mut shuffled[start..end], random);
            }
            extreme += u32::from(search.best(shuffled, starts).is_some_and(|best| best.energy >= energy));
            if of(extreme) > self.p_value_max {
                return None;
            }
        }
        Some(of(extreme)).filter(|p_value| *p_value <= self.p_value_max)
    }
}

/// What lies on both sides of every start but the first.
fn points_between(starts: &[(usize, f64)], values: &[f64]) -> Vec<ChangePoint> {
    let means: Vec<_> = pieces(starts, values.len())
        .map(|(start, end)| values[start..end].iter().sum::<f64>() / (end - start) as f64)
        .collect();
    let points = starts.iter().skip(1).zip(means.windows(2));
    points.map(|(&(index, p_value), mean)| ChangePoint { index, before: mean[0], after: mean[1], p_value }).collect()
}

fn magnitude(point: &ChangePoint) -> f64 {
    super::magnitude(point.before, point.after)
}

/// From where to where pieces go.
fn pieces(starts: &[(usize, f64)], end: usize) -> impl Iterator<Item = (usize, usize)> {
    let ends = starts.iter().skip(1).map(|(start, _)| *start).chain([end]);
    starts.iter().map(|(start, _)| *start).zip(ends)
}

/// Fisher and Yates'; the bias of the multiplication is below 2⁻³² for any series that fits into memory here.
fn shuffle(values: &mut [f64], random: &mut Xoshiro256PlusPlus) {
    for last in (1..values.len()).rev() {
        let place = (u128::from(random.next_u64()) * (last as u128 + 1)) >> 64;
        values.swap(last, place as usize);
    }
}

/// Where to divide.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Best {
    index: usize,
    energy: f64,
}

/// Sums that grow with κ, by τ.
struct Search {
    /// Σ|xᵢ−yⱼ| between the τ values of X and those of Y so far.
    between: Vec<f64>,
    /// Σ|xᵢ−xₖ| within the first τ values.
    within: Vec<f64>,
    /// The same over τ − 1.
    within_share: Vec<f64>,
    /// Of one κ.
    energies: Vec<f64>,
    /// n as a number.
    number: Vec<f64>,
    /// 1 / n, and 0 for 0, since a single value has no distances within.
    inverse: Vec<f64>,
}

impl Search {
    fn new(values: usize) -> Self {
        let zeros = || vec![0.0; values + 1];
        Self {
            between: zeros(),
            within: zeros(),
            within_share: zeros(),
            energies: zeros(),
            number: (0..=values).map(|number| number as f64).collect(),
            inverse: (0..=values).map(|number| if number == 0 { 0.0 } else { 1.0 / number as f64 }).collect(),
        }
    }

    /// The best division of any piece; none where all are single values.
    fn best(&mut self, values: &[f64], starts: &[(usize, f64)]) -> Option<Best> {
        let of_pieces = pieces(starts, values.len()).filter_map(|(start, end)| {
            let best = self.best_of_piece(&values[start..end])?;
            Some(Best { index: start + best.index, ..best })
        });
        of_pieces.reduce(|best, next| if next.energy > best.energy { next } else { best })
    }

    /// The τ of the greatest energy over all τ and κ.
    fn best_of_piece(&mut self, values: &[f64]) -> Option<Best> {
        let Self { between, within, within_share, energies, number, inverse } = self;
        between[..values.len()].fill(0.0);
        let mut best: Option<Best> = None;
        for (last, new) in values.iter().enumerate().skip(1) {
            let count = last + 1;
            // The new value goes to Y for every τ that is not behind it.
            let mut to_new = 0.0;
            for (between, value) in between[1..count].iter_mut().zip(values) {
                to_new += (value - new).abs();
                *between += to_new;
            }
            let all = within[last] + to_new;
            within[count] = all;
            within_share[count] = all * inverse[last];
            let lefts = within[1..count].iter().zip(&within_share[1..count]).zip(&number[1..count]);
            let rights = number[1..count].iter().rev().zip(inverse[..last].iter().rev());
            let terms = between[1..count].iter().zip(lefts).zip(rights);
            for (energy, ((between, ((within, within_share), n)), (m, inverse))) in energies.iter_mut().zip(terms) {
                *energy = between - m * within_share - n * inverse * (all - within - between);
            }
            let greater = |best: f64, energy: &f64| if *energy > best { *energy } else { best };
            let greatest = energies[..last].iter().fold(f64::NEG_INFINITY, greater);
            let energy = 2.0 * inverse[count] * greatest;
            if best.is_none_or(|best| energy > best.energy) {
                let place = energies[..last].iter().position(|energy| *energy >= greatest);
                best = place.map(|place| Best { index: place + 1, energy });
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Q as it is written, pair by pair.
    fn energy(left: &[f64], right: &[f64]) -> f64 {
        let pairs = |values: &[f64]| {
            let of =
                |(place, value): (usize, &f64)| values[..place].iter().map(|other| (value - other).abs()).sum::<f64>();
            values.iter().enumerate().map(of).sum::<f64>()
        };
        let of_pairs = |values: &[f64]| {
            let count = values.len() as f64;
            if values.len() < 2 { 0.0 } else { pairs(values) / (count * (count - 1.0) / 2.0) }
        };
        let (n, m) = (left.len() as f64, right.len() as f64);
        let between: f64 = left.iter().flat_map(|x| right.iter().map(move |y| (x - y).abs())).sum();
        m * n / (m + n) * (2.0 / (m * n) * between - of_pairs(left) - of_pairs(right))
    }

    proptest! {
        #[test]
        fn the_greatest_energy_is_that_of_the_formula(values in prop::collection::vec(-5.0_f64..5.0, 2..30)) {
            let best = Search::new(values.len()).best_of_piece(&values).expect("two values at least");
            let mut greatest = f64::MIN;
            let mut greatest_there = f64::MIN;
            for end in 2..=values.len() {
                for index in 1..end {
                    let energy = energy(&values[..index], &values[index..end]);
                    greatest = greatest.max(energy);
                    if index == best.index {
                        greatest_there = greatest_there.max(energy);
                    }
                }
            }
            prop_assert!((best.energy - greatest).abs() < 1e-9, "{best:?}, {greatest}");
            prop_assert!((greatest_there - greatest).abs() < 1e-9, "{best:?}, {greatest_there}, {greatest}");
        }
    }

    #[test]
    fn a_shuffle_keeps_the_values_and_reaches_every_order() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let mut values = [1.0, 2.0, 3.0, 4.0];
            shuffle(&mut values, &mut random);
            seen.insert(values.map(|value| value as u8));
        }
        assert_eq!(seen.len(), 24);
    }
}
