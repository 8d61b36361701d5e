//! Each distribution against its own definition, by a chi-square test at 1 % with a fixed seed.

use statrs::distribution::{ChiSquared, ContinuousCDF};

use super::compatible::CompatibleZipf;
use super::zeta::zeta;
use super::*;

const DRAWS: u64 = 1_000_000;

/// Asserts that what was drawn is as it is expected, a number of draws a bin. Neighbouring bins are put together until
/// each expects at least five, as the test demands.
fn assert_fits(what: &str, counts: &[u64], expected: &[f64]) {
    const EXPECTED_MIN: f64 = 5.0;
    assert_eq!(counts.len(), expected.len());
    let (drawn, sum): (u64, f64) = (counts.iter().sum(), expected.iter().sum());
    assert!((sum / drawn as f64 - 1.0).abs() < 1e-6, "{what}: {sum} are expected of {drawn}");
    let mut bins = vec![(0.0, 0.0)];
    for (count, expected) in counts.iter().zip(expected) {
        if bins.last().is_some_and(|bin: &(f64, f64)| bin.1 >= EXPECTED_MIN) {
            bins.push((0.0, 0.0));
        }
        let bin = bins.last_mut().expect("one was there to begin with");
        *bin = (bin.0 + *count as f64, bin.1 + expected);
    }
    let last = bins.pop_if(|bin| bin.1 < EXPECTED_MIN).unwrap_or_default();
    let bin = bins.last_mut().expect("a million draws fill one");
    *bin = (bin.0 + last.0, bin.1 + last.1);
    let statistic: f64 = bins.iter().map(|(count, expected)| (count - expected).powi(2) / expected).sum();
    let limit = ChiSquared::new((bins.len() - 1) as f64).expect("several bins").inverse_cdf(0.99);
    assert!(statistic < limit, "{what}: {statistic:.1} over {limit:.1} with {} bins", bins.len());
}

/// Draws and counts the records.
fn draw(chooser: &mut KeyChooser, count: u64, seed: u64) -> Vec<u64> {
    let mut random = Random::stream(seed, 0);
    let mut counts = vec![0; count as usize];
    for _ in 0..DRAWS {
        counts[chooser.draw(&mut random) as usize] += 1;
    }
    counts
}

/// How often Zipf's law draws each rank.
fn zipf_expected(count: u64, theta: f64) -> Vec<f64> {
    let norm = DRAWS as f64 / zeta(count, theta);
    (1..=count).map(|rank| norm * (rank as f64).powf(-theta)).collect()
}

#[test]
fn uniform() {
    for count in [1, 7, 1_000] {
        let counts = draw(&mut KeyChooser::new(Distribution::Uniform, count), count, 1);
        if count > 1 {
            assert_fits("uniform", &counts, &vec![DRAWS as f64 / count as f64; count as usize]);
        }
    }
}

#[test]
fn zipfian_by_rank() {
    // Counts on both sides of where ranks are grouped into blocks, and thetas on both sides of 1.
    for (count, theta) in [
        (2, 0.99),
        (1_000, 0.99),
        (1_025, 0.8),
        (10_000, 0.99),
        (10_000, 0.0),
        (20_000, 0.5),
        (50_000, 1.0),
        (9_999, 1.5),
    ] {
        let zipf = Zipf::new(count, theta);
        let mut random = Random::stream(2, count);
        let mut counts = vec![0; count as usize];
        for _ in 0..DRAWS {
            counts[zipf.draw(&mut random) as usize] += 1;
        }
        assert_fits(&format!("zipf {count} {theta}"), &counts, &zipf_expected(count, theta));
    }
}

#[test]
fn zipfian_over_many_records_by_order_of_magnitude() {
    let (count, theta) = (100_000_000, 0.99);
    let zipf = Zipf::new(count, theta);
    let mut random = Random::stream(3, 0);
    let ends: Vec<u64> = (0..=80).map(|power| 10_f64.powf(f64::from(power) / 10.0).round() as u64).collect();
    let mut counts = vec![0; ends.len()];
    for _ in 0..DRAWS {
        let rank = zipf.draw(&mut random) + 1;
        assert!(rank <= count);
        counts[ends.partition_point(|end| *end < rank)] += 1;
    }
    let norm = DRAWS as f64 / zeta(count, theta);
    let below = |end: u64| if end == 0 { 0.0 } else { norm * zeta(end, theta) };
    let expected: Vec<f64> =
        (0..ends.len()).map(|bin| below(ends[bin]) - if bin == 0 { 0.0 } else { below(ends[bin - 1]) }).collect();
    assert_fits("zipf 10^8", &counts, &expected);
}

#[test]
fn zipfian_spreads_its_ranks_one_to_one() {
    for count in [1, 2, 3, 10, 1_000, 10_007, 65_536] {
        let spread = Spread::over(count);
        let mut records: Vec<u64> = (0..count).map(|rank| spread.place(rank)).collect();
        records.sort_unstable();
        assert!(records.into_iter().eq(0..count), "{count}");
    }
    let largest = Spread::over(RECORDS_MAX);
    assert!([0, 1, RECORDS_MAX - 1].into_iter().all(|rank| largest.place(rank) < RECORDS_MAX));
    let counts = draw(&mut KeyChooser::new(Distribution::Zipfian { theta: 0.99 }, 10_000), 10_000, 4);
    let spread = Spread::over(10_000);
    let by_rank: Vec<u64> = (0..10_000).map(|rank| counts[spread.place(rank) as usize]).collect();
    assert_fits("zipfian", &by_rank, &zipf_expected(10_000, 0.99));
}

#[test]
fn zipfian_grows_to_the_law_over_all_records() {
    let (loaded, count) = (900, 3_000);
    let mut chooser = KeyChooser::new(Distribution::Zipfian { theta: 0.99 }, loaded).for_client(0, 1, true);
    (loaded..=count).for_each(|count| chooser.grow(count));
    let counts = draw(&mut chooser, count, 5);
    let spread = Spread::over(loaded);
    let place = |rank| if rank < loaded { spread.place(rank) } else { rank };
    let by_rank: Vec<u64> = (0..count).map(|rank| counts[place(rank) as usize]).collect();
    assert_fits("grown", &by_rank, &zipf_expected(count, 0.99));
}

#[test]
fn latest_is_zipfian_by_age_and_follows_the_newest() {
    let (loaded, count) = (2_000, 2_500);
    let mut chooser = KeyChooser::new(Distribution::Latest { theta: 0.99 }, loaded).for_client(0, 1, true);
    chooser.grow(count);
    let counts: Vec<u64> = draw(&mut chooser, count, 6).into_iter().rev().collect();
    assert_fits("latest", &counts, &zipf_expected(count, 0.99));
}

#[test]
fn hotspot() {
    let distribution = Distribution::Hotspot { set_fraction: 0.2, operation_fraction: 0.8 };
    let counts = draw(&mut KeyChooser::new(distribution, 1_000), 1_000, 7);
    let expected: Vec<f64> = (0..1_000).map(|record| if record < 200 { 4_000.0 } else { 250.0 }).collect();
    assert_fits("hotspot", &counts, &expected);
    // All hot, and a set so small that it rounds to nothing, still draw records that exist.
    for set_fraction in [0.0, 1.0] {
        let distribution = Distribution::Hotspot { set_fraction, operation_fraction: 1.0 };
        let counts = draw(&mut KeyChooser::new(distribution, 10), 10, 7);
        assert_eq!(counts[0] == DRAWS, set_fraction == 0.0);
    }
}

#[test]
fn exponential() {
    let count = 1_000;
    let counts: Vec<u64> =
        draw(&mut KeyChooser::new(Distribution::Exponential, count), count, 8).into_iter().rev().collect();
    let range = count as f64 * EXPONENTIAL_PART_OF_RECORDS;
    let survives = |age: u64| (1.0 - EXPONENTIAL_PART_OF_ACCESSES).powf(age as f64 / range);
    let norm = DRAWS as f64 / (1.0 - survives(count));
    let expected: Vec<f64> = (0..count).map(|age| norm * (survives(age) - survives(age + 1))).collect();
    assert_fits("exponential", &counts, &expected);
}

#[test]
fn sequential_clients_start_at_parts_of_their_own() {
    let chooser = KeyChooser::new(Distribution::Sequential, 10);
    let mut random = Random::stream(9, 0);
    let mut first = |index| {
        let mut client = chooser.for_client(index, 2, false);
        (0..12).map(|_| client.draw(&mut random)).collect::<Vec<_>>()
    };
    assert_eq!(first(0), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    assert_eq!(first(1), [5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn compatible_is_gray_over_ten_thousand_million_hashed() {
    // Items up to here are followed to their records one by one; the tail behind them falls on all records alike.
    const ITEMS: u64 = 2_000_000;
    let count = 50;
    let counts = draw(&mut KeyChooser::new(Distribution::ZipfianCompatible { theta: 0.99 }, count), count, 10);
    let zipf = CompatibleZipf::new(count, 0.99);
    let tail = DRAWS as f64 * (1.0 - zipf.probability_below(ITEMS));
    let mut expected = vec![tail / count as f64; count as usize];
    let first = 1.0 / zeta(10_000_000_000, 0.99);
    let mut below = 0.0;
    for item in 0..ITEMS {
        let end = match item {
            0 => first,
            _ => zipf.probability_below(item + 1),
        };
        expected[(fnv_hash64(item) % count) as usize] += DRAWS as f64 * (end - below);
        below = end;
    }
    assert_fits("compatible", &counts, &expected);
}
