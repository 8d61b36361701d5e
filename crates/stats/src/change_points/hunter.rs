//! Change points as Hunter finds them, which became Apache Otava.
//!
//! Every step is done in Otava 0.8's order, sums included, so that both find the same places, ties too. What it does
//! with a matrix of distances for every question is done here with one table of sums a window; candidates of pieces
//! that were not divided are kept, and the coefficients of Q, which depend on places alone, are worked out once.

use super::student::Difference;
use super::{ChangePoint, magnitude};

/// Hunter's method: candidates by energy in windows that overlap by half, then Student's t-test.
///
/// The series is walked in windows. Each is divided at its best candidate, and its pieces again, as long as the t-test
/// calls the difference significant at a relaxed level. The weak points of all windows are then thinned out over the
/// whole series: as long as the weakest is not significant at the real level, or its change too small, it goes, and the
/// two behind it are tested anew.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hunter {
    /// Values that are looked at together, 2 at least; memory grows with its square.
    pub window: usize,
    /// A change point's p-value is below this.
    pub p_value_max: f64,
    /// A change is greater than this, as a share of the mean on the side where that share is greater.
    pub change_min: f64,
}

impl Default for Hunter {
    /// Otava's defaults.
    fn default() -> Self {
        Self { window: 50, p_value_max: 0.001, change_min: 0.0 }
    }
}

impl Hunter {
    /// The change points of finite values, in order.
    ///
    /// Places are Otava's. Means and p-values are those of the pieces between the places that are left; Otava's own are
    /// sometimes of pieces that were merged since (it does not test the left neighbour of a point that it takes out
    /// again), so that a p-value may be above [`p_value_max`](Self::p_value_max) here.
    pub fn change_points(&self, values: &[f64]) -> Vec<ChangePoint> {
        let places = self.merge(self.split(values), values);
        let ends = places.iter().skip(1).copied().chain([values.len()]);
        let starts = [0].into_iter().chain(places.iter().copied());
        let pieces = starts.zip(places.iter().copied()).zip(ends);
        pieces
            .map(|((start, index), end)| {
                let Difference { before, after, p_value } = Difference::of(&values[start..index], &values[index..end]);
                // Two pieces of the same constant, between which nothing differs.
                let p_value = if p_value.is_nan() { 1.0 } else { p_value };
                ChangePoint { index, before, after, p_value }
            })
            .collect()
    }

    /// The level at which a point is kept for the second step.
    fn weak_p_value_max(&self) -> f64 {
        match self.p_value_max {
            strict if strict < 0.05 => strict * 10.0,
            middling if middling < 0.5 => middling * 2.0,
            lax => lax,
        }
    }

    /// The first step: the weak points of all windows, in order.
    fn split(&self, values: &[f64]) -> Vec<usize> {
        let window = self.window.max(2);
        let mut search = Search::new(window);
        let mut places = Vec::new();
        let mut start = 0;
        while start < values.len() {
            let end = values.len().min(start + window);
            let found = search.divide(&values[start..end], self.weak_p_value_max());
            places.extend(found.iter().map(|place| start + place));
            let last = found.last().map_or(0, |place| start + place);
            start = last.max(start + window / 2);
        }
        places.sort_unstable();
        places.dedup();
        places
    }

    /// The second step: takes weak points out until all that are left are strong.
    fn merge(&self, mut places: Vec<usize>, values: &[f64]) -> Vec<usize> {
        let difference = |places: &[usize], point: usize| {
            let start = if point == 0 { 0 } else { places[point - 1] };
            let end = places.get(point + 1).copied().unwrap_or(values.len());
            Difference::of(&values[start..places[point]], &values[places[point]..end])
        };
        let mut differences: Vec<_> = (0..places.len()).map(|point| difference(&places, point)).collect();
        while let Some(mut weakest) = first_of(&differences, |a, b| a.p_value > b.p_value) {
            if differences[weakest].p_value < self.p_value_max {
                let size = |of: &Difference| magnitude(of.before, of.after);
                weakest = first_of(&differences, |a, b| size(a) < size(b)).unwrap_or(weakest);
                if size(&differences[weakest]) > self.change_min {
                    break;
                }
            }
            places.remove(weakest);
            differences.remove(weakest);
            // As Hunter and Otava: the right neighbour, the one behind it, and not the left one.
            for (point, stale) in differences.iter_mut().enumerate().skip(weakest).take(2) {
                *stale = difference(&places, point);
            }
        }
        places
    }
}

/// The first that none behind it beats. What is not a number beats nothing and is not beaten, as in Python's `max`.
fn first_of(differences: &[Difference], beats: impl Fn(&Difference, &Difference) -> bool) -> Option<usize> {
    (0..differences.len()).reduce(|best, next| if beats(&differences[next], &differences[best]) { next } else { best })
}

/// A piece of a window with the place at which it would be divided.
#[derive(Clone, Copy)]
struct Piece {
    start: usize,
    end: usize,
    /// The candidate and its energy; none where the piece is a single value.
    best: Option<(usize, f64)>,
}

/// Finds candidates in windows of up to a size. Places within a window: for a piece from s, row i stands for the start
/// of Y, τ = s + i + 1, and column j for its end, κ = s + j + 2.
struct Search {
    /// Rows and columns of the tables: pairs of neighbours in a window.
    width: usize,
    /// What Σ|xᵢ−yⱼ| is multiplied by, by column.
    between_factors: Vec<f64>,
    /// What the sum of distances within X is multiplied by.
    left_factors: Vec<f64>,
    /// What the sum of distances within Y is multiplied by.
    right_factors: Vec<f64>,
    /// Distances of a value to those before it: Σ|xᵢ−xⱼ₊₁| for i ≤ j.
    vertical: Vec<f64>,
    /// Distances of a value to those behind it, up to each: Σ|xₜ−xₖ| for t < k ≤ j + 1, in row t and column j.
    horizontal: Vec<f64>,
    /// Of a piece: the distances within Y.
    within_right: Vec<f64>,
    /// Of a piece, for one τ: all distances from values before it, by κ.
    from_left: Vec<f64>,
}

impl Search {
    fn new(window: usize) -> Self {
        let width = window - 1;
        let place = |number: usize| ((number / width) as f64, (number % width) as f64);
        let share = |over: f64, under: f64| if under > 0.0 { over / under } else { 0.0 };
        Self {
            width,
            between_factors: (0..width).map(|j| 2.0 / (j as f64 + 2.0)).collect(),
            left_factors: (0..width * width)
                .map(|number| {
                    let (i, j) = place(number);
                    share(2.0 * (j + 1.0 - i), (j + 2.0) * i)
                })
                .collect(),
            right_factors: (0..width * width)
                .map(|number| {
                    let (i, j) = place(number);
                    share(2.0 * (i + 1.0), (j + 2.0) * (j - i))
                })
                .collect(),
            vertical: vec![0.0; width],
            horizontal: vec![0.0; width * width],
            within_right: vec![0.0; width * width],
            from_left: vec![0.0; width],
        }
    }

    /// The places at which a window falls into pieces, in order.
    fn divide(&mut self, values: &[f64], p_value_max: f64) -> Vec<usize> {
        self.measure(values);
        let mut pieces = vec![self.piece(values, 0, values.len())];
        while let Some((at, index)) = best_of(&pieces) {
            let Piece { start, end, .. } = pieces[at];
            let p_value = Difference::of(&values[start..index], &values[index..end]).p_value;
            // What is not a number is not significant.
            let is_significant = p_value <= p_value_max;
            if !is_significant {
                break;
            }
            pieces[at] = self.piece(values, start, index);
            pieces.insert(at + 1, self.piece(values, index, end));
        }
        pieces.iter().skip(1).map(|piece| piece.start).collect()
    }

    /// Fills the sums of distances of a window.
    fn measure(&mut self, values: &[f64]) {
        self.vertical.fill(0.0);
        for (t, value) in values.iter().enumerate() {
            let mut total = 0.0;
            for (j, other) in values.iter().enumerate().skip(t + 1) {
                let distance = (value - other).abs();
                total += distance;
                self.horizontal[t * self.width + j - 1] = total;
                self.vertical[j - 1] += distance;
            }
        }
    }

    /// A piece with its candidate: the τ of the greatest energy over all τ and κ, the first of several.
    fn piece(&mut self, values: &[f64], start: usize, end: usize) -> Piece {
        let rows = end - start - 1;
        if rows == 0 {
            return Piece { start, end, best: None };
        }
        let width = self.width;
        // Row i of the piece is row `start + i` of the window, and so are columns.
        let horizontal = |i: usize| &self.horizontal[(start + i) * width + start..][..rows];
        self.within_right[(rows - 1) * width..][..rows].fill(0.0);
        for i in (0..rows - 1).rev() {
            let (above, below) = self.within_right.split_at_mut((i + 1) * width);
            let sums = above[i * width..][..rows].iter_mut().zip(&below[..rows]).zip(horizontal(i + 1));
            // Before the diagonal nothing is within Y, and nothing is read.
            for ((sum, behind), distances) in sums.skip(i + 1) {
                *sum = behind + distances;
            }
            above[i * width + i] = 0.0;
        }
        self.from_left[..rows].fill(0.0);
        let mut within_left = 0.0;
        let mut best = (1, f64::NEG_INFINITY);
        for i in 0..rows {
            let row = i * width..i * width + rows;
            let sums = self.from_left[i..rows].iter_mut().zip(&horizontal(i)[i..]);
            let factors = self.left_factors[row.clone()][i..].iter().zip(&self.right_factors[row.clone()][i..]);
            let columns = self.between_factors[i..rows].iter().zip(factors).zip(&self.within_right[row][i..]);
            for ((from_left, distances), ((between_factor, (left_factor, right_factor)), within_right)) in
                sums.zip(columns)
            {
                *from_left += distances;
                let between = between_factor * (*from_left - within_left);
                let energy = between - left_factor * within_left - right_factor * within_right;
                if energy > best.1 {
                    best = (i + 1, energy);
                }
            }
            within_left += self.vertical[start + i] - distances_before(values, start, start + i + 1);
        }
        let (place, energy) = best;
        Piece { start, end, best: Some((start + place, energy)) }
    }
}

/// Distances of the value at a place to those before a piece.
fn distances_before(values: &[f64], start: usize, place: usize) -> f64 {
    values[..start].iter().fold(0.0, |total, value| total + (value - values[place]).abs())
}

/// The piece with the greatest energy, the first of several, and where it would be divided.
fn best_of(pieces: &[Piece]) -> Option<(usize, usize)> {
    let candidates = pieces.iter().enumerate().filter_map(|(at, piece)| Some((at, piece.best?)));
    let best = candidates.reduce(|best, next| if next.1.1 > best.1.1 { next } else { best });
    best.map(|(at, (index, _))| (at, index))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Made by `bench/history/peer.py fixture`, with the version of Otava in it.
    const OTAVA: &str = include_str!("../../tests/data/otava-0.8.json");

    #[test]
    fn places_are_those_of_otava() {
        let document: Value = serde_json::from_str(OTAVA).expect("JSON");
        let all = document["series"].as_array().expect("a list");
        let mut compared = 0;
        for series in all {
            let name = &series["name"];
            let default = Hunter::default();
            let of = |field: &str, default| series.get(field).and_then(Value::as_f64).unwrap_or(default);
            let method = Hunter {
                window: of("window", default.window as f64) as usize,
                p_value_max: of("p_value_max", default.p_value_max),
                change_min: of("change_min", default.change_min),
            };
            let values =
                series["values"].as_array().expect("values").iter().map(|value| value.as_f64().expect("a number"));
            let found = method.change_points(&values.collect::<Vec<_>>());
            let expected = series["change_points"].as_array().expect("change points");
            let places: Vec<_> =
                expected.iter().map(|point| point["index"].as_u64().expect("a place") as usize).collect();
            assert_eq!(found.iter().map(|point| point.index).collect::<Vec<_>>(), places, "{name}");
            for (point, expected) in found.iter().zip(expected) {
                for (ours, theirs) in [(point.before, "before"), (point.after, "after"), (point.p_value, "p_value")] {
                    let theirs = expected[theirs].as_f64().expect("a number");
                    assert!((ours - theirs).abs() <= theirs.abs() * 1e-9 + 1e-300, "{name}: {point:?}, {expected}");
                }
            }
            compared += places.len();
        }
        assert!(compared >= 20, "{compared} change points compared");
    }
}
