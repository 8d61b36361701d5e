//! Where a noisy curve crosses a level: inverse prediction from a straight line.
//!
//! A weighted least-squares line y = a + b x is drawn through the points; it crosses zero at x₀ = −a/b. The interval is that of
//! the delta method (Draper, Smith, *Applied Regression Analysis*, 3.2): x₀ ± t s/|b| √(1/Σw + (x₀ − x̄)²/Σw(x − x̄)²), with
//! Student's t of n − 2 degrees of freedom.

/// Where a line through points is zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crossing {
    /// The place.
    pub at: f64,
    /// The least that it may be, with 97.5 % confidence.
    pub low: f64,
    /// The greatest that it may be, with 97.5 % confidence.
    pub high: f64,
}

/// A point of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CrossingPoint {
    /// Its place.
    pub x: f64,
    /// The curve there, its level taken off: zero where it crosses.
    pub y: f64,
    /// What it counts, such as the number of observations behind it.
    pub weight: f64,
}

/// Points below which the scatter around a line is not known well enough for an interval.
const POINTS_MIN: usize = 4;
/// Student's t at 97.5 % for 2 to 20 degrees of freedom; beyond, the normal distribution's is near.
const STUDENT: [f64; 19] = [
    4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110,
    2.101, 2.093, 2.086,
];
const STUDENT_BEYOND: f64 = 2.04;

impl Crossing {
    /// Where a rising curve crosses zero. None for fewer than four points, and where the line does not rise beyond doubt: its
    /// slope, with its own 95 % interval, may be zero.
    pub fn of_rising(points: &[CrossingPoint]) -> Option<Self> {
        if points.len() < POINTS_MIN {
            return None;
        }
        let weight: f64 = points.iter().map(|point| point.weight).sum();
        let mean = |value: fn(&CrossingPoint) -> f64| {
            points.iter().map(|point| point.weight * value(point)).sum::<f64>() / weight
        };
        let (x_mean, y_mean) = (mean(|point| point.x), mean(|point| point.y));
        let spread: f64 = points.iter().map(|point| point.weight * (point.x - x_mean).powi(2)).sum();
        let together: f64 = points.iter().map(|point| point.weight * (point.x - x_mean) * (point.y - y_mean)).sum();
        let slope = together / spread;
        let free = points.len() - 2;
        let residual = |point: &CrossingPoint| point.y - y_mean - slope * (point.x - x_mean);
        let left: f64 = points.iter().map(|point| point.weight * residual(point).powi(2)).sum();
        let deviation = (left / free as f64).sqrt();
        let student = STUDENT.get(free - 2).copied().unwrap_or(STUDENT_BEYOND);
        // Written so that what is no number is refused too.
        let rises = slope > student * deviation / spread.sqrt();
        if !rises {
            return None;
        }
        let at = x_mean - y_mean / slope;
        let half = student * deviation / slope * (1.0 / weight + (at - x_mean).powi(2) / spread).sqrt();
        Some(Self { at, low: at - half, high: at + half })
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    fn points(of: &[(f64, f64)]) -> Vec<CrossingPoint> {
        of.iter().map(|(x, y)| CrossingPoint { x: *x, y: *y, weight: 1.0 }).collect()
    }

    #[test]
    fn an_exact_line_crosses_exactly() {
        let crossing = Crossing::of_rising(&points(&[(0.0, -1.0), (1.0, 1.0), (2.0, 3.0), (4.0, 7.0)])).expect("rises");
        assert!((crossing.at - 0.5).abs() < 1e-12 && (crossing.high - crossing.low).abs() < 1e-9, "{crossing:?}");
    }

    #[test]
    fn what_does_not_rise_has_no_crossing() {
        for of in [
            &[(0.0, 1.0), (1.0, 0.0), (2.0, -1.0), (3.0, -2.0)][..],
            &[(1.0, 1.0), (1.0, 2.0), (1.0, -1.0), (1.0, 0.0)],
            &[(0.0, 0.0), (1.0, 5.0), (2.0, -5.0), (3.0, 1.0)],
            &[(0.0, -1.0), (1.0, 1.0), (2.0, 3.0)],
            &[(0.0, f64::NAN), (1.0, 1.0), (2.0, 3.0), (3.0, 4.0)],
        ] {
            assert_eq!(Crossing::of_rising(&points(of)), None, "{of:?}");
        }
    }

    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        const TRIES: u32 = 2_000;
        let mut random = Xoshiro256PlusPlus::seed_from_u64(11);
        let mut held = 0;
        for _ in 0..TRIES {
            // Sums of uniform numbers are near enough to normal ones.
            let mut noise = || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
            let of: Vec<_> = (0..10)
                .map(|place| f64::from(place) / 10.0)
                .map(|x| CrossingPoint { x, y: 2.0 * (x - 0.45) + 0.1 * noise(), weight: 1.0 })
                .collect();
            held += u32::from(Crossing::of_rising(&of).is_some_and(|found| (found.low..=found.high).contains(&0.45)));
        }
        let share = f64::from(held) / f64::from(TRIES);
        assert!((0.93..=0.97).contains(&share), "{share}");
    }
}
