//! Drawing blocks of neighbouring seconds: seconds of a run resemble those beside them, which drawing them one by one
//! would hide.

use std::ops::Range;

use rand::{Rng, RngExt};

/// The least number of blocks that a series is cut into: of fewer there is nothing to learn about how they differ.
const BLOCKS_MIN: usize = 4;

/// The length of the blocks for a series: what Politis & White (2004, corrected by Patton, Politis & White 2009) find best
/// for a circular block bootstrap of its mean, but n^(1/3) at the least, since a short series hides what it hangs
/// together by.
pub(crate) fn block_length(series: &[f64]) -> usize {
    let count = series.len();
    // The tiny amount is for cubes, whose root may come out below the integer.
    let least = ((count as f64).cbrt() + 1e-9).floor();
    let wanted = best_length(series).unwrap_or(1.0).max(least).round() as usize;
    wanted.clamp(1, (count / BLOCKS_MIN).max(1))
}

/// Politis & White's length; none for a series that does not vary.
fn best_length(series: &[f64]) -> Option<f64> {
    let count = series.len() as f64;
    let mean = series.iter().sum::<f64>() / count;
    let covariance = |lag: usize| {
        let products = series.iter().zip(&series[lag.min(series.len())..]).map(|(a, b)| (a - mean) * (b - mean));
        products.sum::<f64>() / count
    };
    let variance = covariance(0);
    if variance <= 0.0 || !variance.is_finite() {
        return None;
    }
    // The smallest lag after which so many correlations in a row are insignificant.
    let in_a_row = (count.log10().sqrt() as usize).max(5);
    let insignificant = 2.0 * (count.log10() / count).sqrt();
    let lags_max = series.len() / 2;
    let is_insignificant = |lag: usize| (covariance(lag) / variance).abs() < insignificant;
    let last = (0..lags_max).find(|last| (1..=in_a_row).all(|step| is_insignificant(last + step))).unwrap_or(lags_max);
    let bandwidth = (2 * last).clamp(1, lags_max.max(1));
    // A flat-top window: 1 up to half the bandwidth, then down to 0.
    let (mut spectrum, mut slope) = (variance, 0.0);
    for lag in 1..=bandwidth {
        let weight = (2.0 * (1.0 - lag as f64 / bandwidth as f64)).min(1.0);
        let weighted = 2.0 * weight * covariance(lag);
        spectrum += weighted;
        slope += weighted * lag as f64;
    }
    let length = (1.5 * slope * slope / (spectrum * spectrum)).cbrt() * count.cbrt();
    let longest = (3.0 * count.sqrt()).min(count / 3.0);
    length.is_finite().then(|| length.min(longest))
}

/// Units from which on their correlation can be told.
const CORRELATED_UNITS_MIN: usize = 10;

/// Correlation that is corrected for at the most: beyond it a series drifts rather than varies.
const CORRELATION_MAX: f64 = 0.9;

/// By how much the variance of a series' mean exceeds what blocks of that length show, which cut off what hangs together
/// across their ends: 1 or more. Takes the series for a first-order autoregression, as prewhitening does (Andrews &
/// Monahan 1992), its coefficient corrected for the bias of short series (Kendall 1954).
pub(crate) fn cut_off(series: &[f64], length: usize) -> f64 {
    let count = series.len();
    if count < CORRELATED_UNITS_MIN {
        return 1.0;
    }
    let mean = series.iter().sum::<f64>() / count as f64;
    let product = |(a, b): (&f64, &f64)| (a - mean) * (b - mean);
    let squares: f64 = series.iter().zip(series).map(product).sum();
    let neighbours: f64 = series.iter().zip(&series[1..]).map(product).sum();
    let found = neighbours / squares;
    let correlation = found + (1.0 + 3.0 * found) / count as f64;
    if correlation.is_nan() || correlation <= 0.0 {
        return 1.0;
    }
    let correlation = correlation.min(CORRELATION_MAX);
    let whole = (1.0 + correlation) / (1.0 - correlation);
    let lost =
        2.0 * correlation * (1.0 - correlation.powf(length as f64)) / (length as f64 * (1.0 - correlation).powi(2));
    whole / (whole - lost)
}

/// Adds to `weights` how often each of the places is drawn: circular blocks (Politis & Romano 1992) until there are as many
/// as there are places.
pub(crate) fn draw_blocks(places: &Range<usize>, length: usize, random: &mut impl Rng, weights: &mut [u32]) {
    let count = places.len();
    let mut left = count;
    while left > 0 {
        let start = random.random_range(0..count);
        let taken = length.min(left);
        for step in 0..taken {
            weights[places.start + (start + step) % count] += 1;
        }
        left -= taken;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    #[test]
    fn what_hangs_together_is_cut_into_longer_blocks() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
        let mut lengths = [0.0; 2];
        for _ in 0..100 {
            for (memory, length) in [0.0, 0.8].into_iter().zip(&mut lengths) {
                let mut last = 0.0;
                let series: Vec<f64> = (0..300)
                    .map(|_| {
                        last = memory * last + random.random::<f64>() - 0.5;
                        last
                    })
                    .collect();
                *length += block_length(&series) as f64 / 100.0;
            }
        }
        // 300^(1/3) is 6.7; theory says 20 for a memory of 0.8.
        assert!((5.9..9.0).contains(&lengths[0]), "independent: {lengths:?}");
        assert!((14.0..28.0).contains(&lengths[1]), "autocorrelated: {lengths:?}");
    }

    proptest! {
        #[test]
        fn as_many_are_drawn_as_there_are(before in 0_usize..5, count in 1_usize..60, length in 1_usize..80, seed: u64) {
            let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
            let mut weights = vec![0; before + count + 3];
            draw_blocks(&(before..before + count), length, &mut random, &mut weights);
            prop_assert_eq!(weights[before..before + count].iter().sum::<u32>() as usize, count);
            prop_assert_eq!(weights.iter().sum::<u32>() as usize, count);
        }

        #[test]
        fn a_length_is_there_for_any_series(series in prop::collection::vec(-1e9..1e9_f64, 0..50)) {
            let length = block_length(&series);
            prop_assert!(length >= 1 && length <= (series.len() / BLOCKS_MIN).max(1));
        }
    }
}
