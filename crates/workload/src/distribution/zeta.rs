//! The generalised harmonic number, the norm of Zipf's law.

/// Terms that are added one by one before the rest is integrated; the error of the formula below is then under 1e-15.
const TERMS_EXACT: u64 = 1_000;

/// `1/1^theta + 1/2^theta + … + 1/count^theta`, for any count at once, by Euler and Maclaurin.
pub(crate) fn zeta(count: u64, theta: f64) -> f64 {
    let exact: f64 = (1..=count.min(TERMS_EXACT)).rev().map(|k| (k as f64).powf(-theta)).sum();
    if count <= TERMS_EXACT {
        return exact;
    }
    let (low, high) = (TERMS_EXACT as f64, count as f64);
    let power = |x: f64| x.powf(-theta);
    // The integral of x^-theta from low to high, written so that it stays right as theta goes to 1.
    let rate = (1.0 - theta) * (high / low).ln();
    let stretch = if rate.abs() < 1e-12 { 1.0 } else { rate.exp_m1() / rate };
    let integral = low.powf(1.0 - theta) * (high / low).ln() * stretch;
    // The term at `low` is in the exact part already, so the trapezium's half of it is taken away.
    let ends = (power(high) - power(low)) / 2.0;
    let slope = |x: f64| -theta * x.powf(-theta - 1.0);
    let third = |x: f64| -theta * (theta + 1.0) * (theta + 2.0) * x.powf(-theta - 3.0);
    exact + integral + ends + (slope(high) - slope(low)) / 12.0 - (third(high) - third(low)) / 720.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formula_agrees_with_the_sum() {
        for theta in [0.0, 0.3, 0.8, 0.99, 1.0, 1.000_000_1, 1.5, 3.0] {
            for count in [1, 2, 999, 1_000, 1_001, 5_000, 1_000_000] {
                let sum: f64 = (1..=count).rev().map(|k| (k as f64).powf(-theta)).sum();
                let error = (zeta(count, theta) / sum - 1.0).abs();
                assert!(error < 1e-12, "zeta({count}, {theta}) is off by {error:e}");
            }
        }
    }

    #[test]
    fn it_is_the_constant_that_ycsb_precomputes() {
        // ScrambledZipfianGenerator.ZETAN, for ten thousand million items at 0.99, a sum of as many terms.
        let error = (zeta(10_000_000_000, 0.99) / 26.469_028_201_783_02 - 1.0).abs();
        assert!(error < 1e-9, "off by {error:e}");
    }
}
