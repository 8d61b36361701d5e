//! How throughput grows with concurrency: the Universal Scalability Law.
//!
//! X(N) = λ N / (1 + σ (N − 1) + κ N (N − 1)) (Gunther, *Guerrilla Capacity Planning*, 2007; with λ as a third coefficient
//! as in Schwartz, *Practical Scalability Analysis with the Universal Scalability Law*, 2015). It is fitted by least squares in
//! X, with σ, κ ≥ 0: in turn with both free, with one and with both at zero, each by Levenberg's and Marquardt's method from
//! the linear fit of N/X, of which those that the bounds allow compete. With a bound that is reached the best fit lies on it,
//! so this finds what a method for bounds would.

/// The law with its coefficients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scalability {
    /// λ: throughput of one alone.
    pub lambda: f64,
    /// σ: contention, the share of the work that only one can do at a time.
    pub sigma: f64,
    /// κ: coherency, the cost of agreeing with every other.
    pub kappa: f64,
    /// Share of the throughputs' variance that the law explains; negative where their mean explains more.
    pub r_squared: f64,
}

/// Points below which three coefficients say nothing about the law.
const POINTS_MIN: usize = 4;
/// Steps of one fit; it takes about ten.
const ITERATIONS_MAX: usize = 200;
/// A step that betters the squares by less than this share is the last.
const GAIN_MIN: f64 = 1e-14;
/// Damping past which no step is short enough to better anything.
const DAMPING_MAX: f64 = 1e12;

/// λ, σ, κ, or a step in them.
type Triple = [f64; 3];

impl Scalability {
    /// Fits the law to concurrencies N ≥ 1 and throughputs X > 0; others are left out. None where fewer than four different
    /// concurrencies remain.
    pub fn fit(points: &[(f64, f64)]) -> Option<Self> {
        let usable = |(n, x): &(f64, f64)| n.is_finite() && x.is_finite() && *n >= 1.0 && *x > 0.0;
        let points: Vec<(f64, f64)> = points.iter().copied().filter(usable).collect();
        let mut concurrencies: Vec<f64> = points.iter().map(|(n, _)| *n).collect();
        concurrencies.sort_by(f64::total_cmp);
        concurrencies.dedup();
        if concurrencies.len() < POINTS_MIN {
            return None;
        }
        let candidates = [[true, true], [true, false], [false, true], [false, false]];
        let [lambda, sigma, kappa] = candidates
            .into_iter()
            .filter_map(|[sigma, kappa]| fit_free(&points, [true, sigma, kappa]))
            .filter(|[lambda, sigma, kappa]| *lambda > 0.0 && *sigma >= 0.0 && *kappa >= 0.0)
            .min_by(|one, other| squares(&points, *one).total_cmp(&squares(&points, *other)))?;
        let mean = points.iter().map(|(_, x)| x).sum::<f64>() / points.len() as f64;
        let total: f64 = points.iter().map(|(_, x)| (x - mean).powi(2)).sum();
        let left = squares(&points, [lambda, sigma, kappa]);
        let r_squared = if total > 0.0 { 1.0 - left / total } else { 0.0 };
        Some(Self { lambda, sigma, kappa, r_squared })
    }

    /// The throughput that the law gives for a concurrency.
    pub fn throughput(&self, concurrency: f64) -> f64 {
        law([self.lambda, self.sigma, self.kappa], concurrency)
    }

    /// The concurrency with the greatest throughput; none where throughput grows for ever, 1 where it only falls.
    pub fn peak(&self) -> Option<f64> {
        (self.kappa > 0.0).then(|| ((1.0 - self.sigma).max(0.0) / self.kappa).sqrt().max(1.0))
    }
}

fn denominator([_, sigma, kappa]: Triple, n: f64) -> f64 {
    1.0 + sigma * (n - 1.0) + kappa * n * (n - 1.0)
}

fn law(coefficients: Triple, n: f64) -> f64 {
    coefficients[0] * n / denominator(coefficients, n)
}

fn squares(points: &[(f64, f64)], coefficients: Triple) -> f64 {
    points.iter().map(|(n, x)| (x - law(coefficients, *n)).powi(2)).sum()
}

/// The best fit with the coefficients that are not free at zero.
fn fit_free(points: &[(f64, f64)], free: [bool; 3]) -> Option<Triple> {
    let mut best = start(points, free)?;
    let mut left = squares(points, best);
    let mut damping = 1e-3;
    for _ in 0..ITERATIONS_MAX {
        let (normal, gradient) = normal_equations(points, best, free);
        let mut damped = normal;
        for (place, row) in damped.iter_mut().enumerate() {
            row[place] *= 1.0 + damping;
        }
        let tried = solve(damped, gradient, free)
            .map(|step| std::array::from_fn(|place| best[place] + step[place]))
            // A law whose denominator vanishes in between has no throughput there.
            .filter(|tried: &Triple| points.iter().all(|(n, _)| denominator(*tried, *n) > 0.0))
            .map(|tried| (tried, squares(points, tried)))
            .filter(|(_, squares)| *squares < left);
        match tried {
            Some((tried, squares)) => {
                let gain = left - squares;
                (best, left) = (tried, squares);
                damping = (damping / 10.0).max(1e-12);
                if gain <= GAIN_MIN * left {
                    break;
                }
            }
            None if damping > DAMPING_MAX => break,
            None => damping *= 10.0,
        }
    }
    Some(best)
}

/// The linear fit of N/X = a + b (N − 1) + c N (N − 1), where λ = 1/a, σ = b/a, κ = c/a; each square weighs (X²/N)², as an
/// error of X does in N/X. Where it gives no throughput it is the best of one alone without contention.
fn start(points: &[(f64, f64)], free: [bool; 3]) -> Option<Triple> {
    let (mut normal, mut right) = ([[0.0; 3]; 3], [0.0; 3]);
    for (n, x) in points {
        let terms = [1.0, n - 1.0, n * (n - 1.0)];
        let weight = (x * x / n).powi(2);
        for (row, of_row) in normal.iter_mut().zip(terms) {
            for (cell, of_column) in row.iter_mut().zip(terms) {
                *cell += weight * of_row * of_column;
            }
        }
        for (cell, of_row) in right.iter_mut().zip(terms) {
            *cell += weight * of_row * n / x;
        }
    }
    let linear = solve(normal, right, free).map(|[a, b, c]| [1.0 / a, b / a, c / a]);
    let usable = |triple: &Triple| {
        triple.iter().all(|number| number.is_finite())
            && triple[0] > 0.0
            && points.iter().all(|(n, _)| denominator(*triple, *n) > 0.0)
    };
    let plain = points.iter().map(|(n, x)| x / n).max_by(f64::total_cmp)?;
    Some(linear.filter(usable).unwrap_or([plain, 0.0, 0.0]))
}

/// The normal equations of the law's residuals: the product of its slopes with themselves, and with what is left.
fn normal_equations(points: &[(f64, f64)], at: Triple, free: [bool; 3]) -> ([Triple; 3], Triple) {
    let (mut normal, mut gradient) = ([[0.0; 3]; 3], [0.0; 3]);
    for (n, x) in points {
        let below = denominator(at, *n);
        let value = law(at, *n);
        let slopes = [n / below, -value * (n - 1.0) / below, -value * n * (n - 1.0) / below];
        for row in 0..3 {
            for column in 0..3 {
                normal[row][column] += slopes[row] * slopes[column];
            }
            gradient[row] += slopes[row] * (x - value);
        }
    }
    for place in (0..3).filter(|place| !free[*place]) {
        gradient[place] = 0.0;
    }
    (normal, gradient)
}

/// Solves the equations of the free unknowns, the others being zero, by Gauss's elimination with scaled rows and columns:
/// λ is thousands where κ is thousandths. None where they have no one solution.
fn solve(mut matrix: [Triple; 3], mut right: Triple, free: [bool; 3]) -> Option<Triple> {
    let scale: Triple =
        std::array::from_fn(|place| if free[place] { matrix[place][place].abs().sqrt().recip() } else { 0.0 });
    if scale.iter().any(|scale| !scale.is_finite()) {
        return None;
    }
    for row in 0..3 {
        for column in 0..3 {
            matrix[row][column] *= scale[row] * scale[column];
        }
        right[row] *= scale[row];
        if !free[row] {
            matrix[row][row] = 1.0;
        }
    }
    for pivot in 0..3 {
        let greatest =
            (pivot..3).max_by(|one, other| matrix[*one][pivot].abs().total_cmp(&matrix[*other][pivot].abs()))?;
        if matrix[greatest][pivot].abs() < 1e-300 {
            return None;
        }
        matrix.swap(pivot, greatest);
        right.swap(pivot, greatest);
        for row in pivot + 1..3 {
            let factor = matrix[row][pivot] / matrix[pivot][pivot];
            let pivot_row = matrix[pivot];
            for (cell, above) in matrix[row].iter_mut().zip(pivot_row).skip(pivot) {
                *cell -= factor * above;
            }
            right[row] -= factor * right[pivot];
        }
    }
    let mut solution = [0.0; 3];
    for row in (0..3).rev() {
        let known: f64 = (row + 1..3).map(|column| matrix[row][column] * solution[column]).sum();
        solution[row] = (right[row] - known) / matrix[row][row];
    }
    Some(std::array::from_fn(|place| solution[place] * scale[place]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(told: f64, expect: f64, share: f64, what: &str) {
        assert!((told - expect).abs() <= share * expect.abs().max(1e-9), "{what}: {told}, not {expect}");
    }

    /// Throughput of a Cisco UCS server by threads, in Schwartz (2015), whose coefficients are those of the book; the numbers as in
    /// the tests of the Go and Rust packages `usl` by Hale.
    #[test]
    fn the_books_coefficients_are_found() {
        let throughputs = [
            955.16, 1878.91, 2688.01, 3548.68, 4315.54, 5130.43, 5931.37, 6531.08, 7219.8, 7867.61, 8278.71, 8646.7,
            9047.84, 9426.55, 9645.37, 9897.24, 10097.6, 10240.5, 10532.39, 10798.52, 11151.43, 11518.63, 11806.0,
            12089.37, 12075.41, 12177.29, 12211.41, 12158.93, 12155.27, 12118.04, 12140.4, 12074.39,
        ];
        let points: Vec<_> = throughputs.iter().zip(1..).map(|(x, n)| (f64::from(n), *x)).collect();
        let law = Scalability::fit(&points).expect("enough points");
        near(law.sigma, 0.026_715_91, 1e-5, "sigma");
        near(law.kappa, 7.690_945e-4, 1e-5, "kappa");
        near(law.lambda, 995.648_6, 1e-5, "lambda");
        near(law.throughput(20.0), 11_063.633, 1e-5, "throughput");
        assert_eq!(law.peak().expect("it has one").floor() as u32, 35);
    }

    /// SPEC SDM91 on a Sun `SPARCcenter` 2000, in Gunther (2007); coefficients as R's package `usl` 2.0 by Möding tells them.
    #[test]
    fn the_coefficients_of_spec_sdm91_are_found() {
        let points = [
            (1.0, 64.9),
            (18.0, 995.9),
            (36.0, 1652.4),
            (72.0, 1853.2),
            (108.0, 1828.9),
            (144.0, 1775.0),
            (216.0, 1702.2),
        ];
        let law = Scalability::fit(&points).expect("enough points");
        near(law.lambda, 89.995_233, 1e-5, "lambda");
        near(law.sigma, 0.027_728_5, 1e-5, "sigma");
        near(law.kappa, 0.000_104_4, 1e-3, "kappa");
    }

    #[test]
    fn what_says_nothing_about_the_law_gives_none() {
        assert_eq!(Scalability::fit(&[(1.0, 10.0), (2.0, 19.0), (4.0, 35.0)]), None);
        assert_eq!(Scalability::fit(&[(4.0, 35.0), (4.0, 36.0), (4.0, 37.0), (4.0, 38.0)]), None);
        assert_eq!(Scalability::fit(&[(1.0, 0.0), (2.0, f64::NAN), (3.0, 4.0), (0.0, 4.0), (4.0, -1.0)]), None);
    }

    #[test]
    fn linear_growth_has_no_peak_and_superlinear_growth_stays_within_the_bounds() {
        let linear: Vec<_> = (1..=8).map(|n| (f64::from(n), 100.0 * f64::from(n))).collect();
        let law = Scalability::fit(&linear).expect("enough points");
        assert!(law.sigma.abs() < 1e-6 && law.peak().is_none_or(|peak| peak > 1e3), "{law:?}");
        let superlinear: Vec<_> = (1..=8).map(|n| (f64::from(n), 100.0 * f64::from(n).powf(1.2))).collect();
        let law = Scalability::fit(&superlinear).expect("enough points");
        assert_eq!((law.sigma, law.kappa, law.peak()), (0.0, 0.0, None));
    }

    proptest! {
        #[test]
        fn exact_data_give_their_coefficients(
            lambda in 1.0_f64..1e6, sigma in 0.0_f64..0.5, kappa in 1e-6_f64..0.01, most in 5_u32..9
        ) {
            let truth = Scalability { lambda, sigma, kappa, r_squared: 1.0 };
            let points: Vec<_> = (0..most).map(|power| f64::from(1 << power)).map(|n| (n, truth.throughput(n))).collect();
            let law = Scalability::fit(&points).expect("enough points");
            prop_assert!((law.lambda / lambda - 1.0).abs() < 1e-4, "{law:?}");
            prop_assert!((law.sigma - sigma).abs() < 1e-4 && (law.kappa - kappa).abs() < 1e-5 + kappa * 1e-3, "{law:?}");
            prop_assert!(law.r_squared > 0.999_999, "{law:?}");
        }

        /// Errors of 2 % leave the law within 6 % of the truth where it was measured, and no bounds are broken.
        #[test]
        fn noisy_data_give_nearly_the_same_law(
            lambda in 10.0_f64..1e5, sigma in 0.0_f64..0.3, kappa in 0.0_f64..0.005,
            noise in prop::collection::vec(-0.02_f64..0.02, 10)
        ) {
            let truth = Scalability { lambda, sigma, kappa, r_squared: 1.0 };
            let loads = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0_f64];
            let points: Vec<_> =
                loads.iter().zip(&noise).map(|(n, noise)| (*n, truth.throughput(*n) * (1.0 + noise))).collect();
            let law = Scalability::fit(&points).expect("enough points");
            prop_assert!(law.lambda > 0.0 && law.sigma >= 0.0 && law.kappa >= 0.0, "{law:?}");
            for n in [4.0, 8.0, 16.0, 32.0] {
                let ratio = law.throughput(n) / truth.throughput(n);
                prop_assert!((ratio - 1.0).abs() < 0.06, "{ratio} at {n}: {law:?}");
            }
        }

        #[test]
        fn any_points_give_a_law_within_bounds_or_none(
            points in prop::collection::vec((0.0_f64..1e4, 0.0_f64..1e7), 0..12)
        ) {
            if let Some(law) = Scalability::fit(&points) {
                prop_assert!(law.lambda > 0.0 && law.sigma >= 0.0 && law.kappa >= 0.0, "{law:?}");
                prop_assert!(law.peak().is_none_or(|peak| peak >= 1.0), "{law:?}");
            }
        }
    }
}
