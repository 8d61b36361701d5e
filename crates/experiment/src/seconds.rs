//! A run second by second in a few numbers each, for the verdict: the samples themselves go to the sink and are gone.

use runner::{OperationCells, Sample};
use stats::Histogram;

/// Two hours second by second. A phase that is longer is kept in coarser points, so that a day takes no more memory.
const POINTS_MAX: usize = 7_200;

/// What ended during a second, or a few in a row, of operations that one phase scheduled.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Point {
    /// Ended well.
    pub(crate) succeeded: u64,
    /// Ended well or with an error.
    pub(crate) ended: u64,
    /// Median latency of those that ended well; 0 where none did.
    pub(crate) latency_us_p50: f64,
}

impl Point {
    fn merge(&mut self, other: &Self) {
        let succeeded = self.succeeded + other.succeeded;
        let weighted = self.latency_us_p50 * self.succeeded as f64 + other.latency_us_p50 * other.succeeded as f64;
        self.latency_us_p50 = if succeeded > 0 { weighted / succeeded as f64 } else { 0.0 };
        self.succeeded = succeeded;
        self.ended += other.ended;
    }
}

/// A phase of a run.
#[derive(Debug, Clone)]
pub(crate) struct PhaseSeconds {
    /// The second since the run's start in which something first ended.
    first: u64,
    /// Seconds of a point: a power of two.
    width: u64,
    points: Vec<Point>,
}

impl Default for PhaseSeconds {
    fn default() -> Self {
        Self { first: 0, width: 1, points: Vec::new() }
    }
}

impl PhaseSeconds {
    fn add(&mut self, second: u64, point: &Point) {
        if self.points.is_empty() {
            self.first = second;
        }
        // Workers end their seconds in order; what a dead one left behind may come late, and counts for the first.
        let place = |width: u64| usize::try_from(second.saturating_sub(self.first) / width).unwrap_or(usize::MAX);
        while place(self.width) >= POINTS_MAX {
            self.width *= 2;
            self.points = self.points.chunks(2).map(merged).collect();
        }
        let place = place(self.width);
        if place >= self.points.len() {
            self.points.resize(place + 1, Point::default());
        }
        self.points[place].merge(point);
    }

    /// Seconds of a point.
    pub(crate) fn width(&self) -> u64 {
        self.width
    }

    /// The points that lie whole between two times since the run's start, each with its first second; those in which
    /// nothing ended are there too.
    pub(crate) fn whole(&self, start_seconds: f64, end_seconds: f64) -> Vec<(u64, Point)> {
        /// Phases start and end on the nanosecond; a point is not lost for one of them.
        const SLACK: f64 = 1e-6;
        let earliest = (start_seconds - SLACK).ceil().max(0.0) as u64;
        let latest = (end_seconds + SLACK).floor().max(0.0) as u64;
        // Before the first point nothing ended, in seconds that count all the same.
        let lead = self.first.saturating_sub(earliest) / self.width;
        let origin = self.first - lead * self.width;
        let at = |number: u64| {
            let point = number.checked_sub(lead).and_then(|place| self.points.get(place as usize));
            (origin + number * self.width, point.copied().unwrap_or_default())
        };
        let count = latest.saturating_sub(origin) / self.width;
        (0..count).map(at).filter(|(second, _)| *second >= earliest).collect()
    }

    /// Operations that had ended by then, the running second included.
    pub(crate) fn ended_by(&self, end_seconds: f64) -> u64 {
        let points = self.points.iter().zip(0..);
        points
            .filter(|(_, place)| ((self.first + place * self.width) as f64) < end_seconds)
            .map(|(point, _)| point.ended)
            .sum()
    }
}

fn merged(pair: &[Point]) -> Point {
    let mut sum = pair[0];
    pair[1..].iter().for_each(|other| sum.merge(other));
    sum
}

/// All phases of a run.
#[derive(Debug, Default)]
pub(crate) struct RunSeconds {
    phases: Vec<PhaseSeconds>,
    /// All operations of a second together; kept for its memory.
    together: Histogram,
}

impl RunSeconds {
    pub(crate) fn new(phases: usize) -> Self {
        Self { phases: vec![PhaseSeconds::default(); phases], together: Histogram::new() }
    }

    /// Takes a second that has ended.
    pub(crate) fn take(&mut self, sample: &Sample) {
        for (phase, cells) in &sample.phases {
            let point = self.point(cells);
            self.add(*phase, sample.second, &point);
        }
    }

    /// Adds what ended in a second, of operations that a phase scheduled.
    pub(crate) fn add(&mut self, phase: u16, second: u64, point: &Point) {
        self.phases[usize::from(phase)].add(second, point);
    }

    /// In the order of the load's phases.
    pub(crate) fn phases(&self) -> &[PhaseSeconds] {
        &self.phases
    }

    fn point(&mut self, cells: &OperationCells) -> Point {
        let mut point = Point::default();
        self.together.clear();
        for (_, cell) in cells.iter() {
            point.succeeded += cell.succeeded;
            point.ended += cell.succeeded + cell.failed;
            self.together.merge(&cell.latency);
        }
        point.latency_us_p50 = self.together.quantile(0.5) as f64 / 1e3;
        point
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(succeeded: u64) -> Point {
        Point { succeeded, ended: succeeded + 1, latency_us_p50: succeeded as f64 }
    }

    fn series(seconds: &[(u64, u64)]) -> PhaseSeconds {
        let mut series = PhaseSeconds::default();
        for (second, succeeded) in seconds {
            series.add(*second, &point(*succeeded));
        }
        series
    }

    #[test]
    fn only_whole_seconds_count_and_empty_ones_are_there() {
        let series = series(&[(2, 5), (3, 7), (6, 9)]);
        let whole = |start, end| {
            series.whole(start, end).iter().map(|(second, point)| (*second, point.succeeded)).collect::<Vec<_>>()
        };
        assert_eq!(whole(2.0, 5.0), [(2, 5), (3, 7), (4, 0)]);
        assert_eq!(whole(1.5, 4.5), [(2, 5), (3, 7)]);
        assert_eq!(whole(2.000_000_01, 3.999_999_99), [(2, 5), (3, 7)]);
        assert_eq!(whole(0.0, 3.0), [(0, 0), (1, 0), (2, 5)]);
        assert_eq!(whole(5.0, 9.0), [(5, 0), (6, 9), (7, 0), (8, 0)]);
        assert_eq!(whole(2.2, 2.9), []);
        assert_eq!(PhaseSeconds::default().whole(3.0, 5.0).len(), 2);
    }

    #[test]
    fn what_ended_by_a_time_includes_the_running_second() {
        let series = series(&[(2, 5), (3, 7), (6, 9)]);
        for (end, expect) in [(2.0, 0), (2.5, 6), (4.0, 14), (6.0, 14), (6.5, 24)] {
            assert_eq!(series.ended_by(end), expect, "{end}");
        }
    }

    #[test]
    fn a_day_takes_no_more_memory_than_two_hours_and_loses_no_operation() {
        const DAY: u64 = 86_400;
        let mut series = PhaseSeconds::default();
        (10..10 + DAY).for_each(|second| series.add(second, &point(3)));
        assert!(
            series.points.len() <= POINTS_MAX && series.width() == 16,
            "{} {}",
            series.points.len(),
            series.width()
        );
        let points = series.whole(10.0, (10 + DAY) as f64);
        assert_eq!(points.iter().map(|(_, point)| point.succeeded).sum::<u64>(), 3 * DAY);
        assert!(
            points.iter().all(|(second, point)| (second - 10) % 16 == 0 && (point.latency_us_p50 - 3.0).abs() < 1e-9)
        );
    }

    #[test]
    fn medians_are_weighted_when_points_become_one() {
        let one = merged(&[point(10), Point::default(), point(30)]);
        assert_eq!((one.succeeded, one.ended), (40, 42));
        assert!((one.latency_us_p50 - 25.0).abs() < 1e-9, "{one:?}");
    }
}
