//! What the driver's own operations work on: what devices measured, one point every ten seconds.
//!
//! Row number `n` is a point of device `n % devices`, the next of that device's: a number and a payload. Points that are
//! written later come after all that were loaded, so that what is verified holds in any interleaving.

use std::io::Write;

use store::{Error, OperationRows, Result};

use super::csv;
use super::flux::{self, push_time};
use super::line::push_text;
use crate::contents::Contents;

/// The measurement in the namespace's bucket.
pub(crate) const MEASUREMENT: &str = "readings";

/// About so many points a device: ten minutes, so that an aggregate has ten windows.
const POINTS_PER_DEVICE: u64 = 60;

/// Seconds from one point of a device to the next.
const INTERVAL_S: u64 = 10;

/// Points of a window: those of a minute.
const POINTS_PER_WINDOW: u64 = 60 / INTERVAL_S;

/// When the first point of each device was measured: 2020-01-01T00:00:00Z.
const FIRST_S: u64 = 1_577_836_800;

/// What is measured, as a pure function of the row's number.
pub(crate) struct Readings {
    contents: Contents,
    devices: u64,
    texts: flux::Readings,
    /// What the server should have said.
    expected: String,
    /// Values in quotes.
    scratch: String,
}

impl Readings {
    pub(crate) fn new(rows: &OperationRows) -> Self {
        let contents = Contents::new(rows);
        Self {
            devices: (contents.rows / POINTS_PER_DEVICE).max(1),
            texts: flux::Readings::new(rows.namespace.as_str(), MEASUREMENT),
            contents,
            expected: String::new(),
            scratch: String::new(),
        }
    }

    /// Appends a row's point.
    pub(crate) fn push_line(&mut self, row: u64, line: &mut Vec<u8>) {
        let (device, seconds) = (row % self.devices, time_s(row / self.devices));
        let value = self.contents.amount(row);
        write!(line, "{MEASUREMENT},device=d{device} value={value}i,payload").expect("memory takes everything");
        self.expected.clear();
        self.contents.write_payload(row, &mut self.expected);
        push_text(line, self.expected.as_bytes());
        writeln!(line, " {seconds}000000000").expect("memory takes everything");
    }

    /// The query for the points of the minute that a row is in.
    pub(crate) fn query(&self, row: u64, text: &mut String) {
        let window = self.window(row);
        self.texts.query(window.device, window.start_s(), window.stop_s(), text);
    }

    /// Compares what the server says to [`query`](Self::query); the number of points.
    pub(crate) fn verify_query(&mut self, row: u64, reply: &[u8]) -> Result<u64> {
        let window = self.window(row);
        let (devices, contents, expected) = (self.devices, &self.contents, &mut self.expected);
        let (mut values, mut payloads) = (0, 0);
        csv::read(reply, ["_time", "_field", "_value"], &mut self.scratch, |[time, field, value]| {
            let seen = match field {
                "value" => &mut values,
                "payload" => &mut payloads,
                _ => return Err(wrong(row, &format!("a field `{field}`"))),
            };
            if *seen == window.count {
                return Err(wrong(row, "more points than were written"));
            }
            let position = window.first + *seen;
            let number = window.device + position * devices;
            *seen += 1;
            let is_payload = field == "payload";
            expected.clear();
            push_time(time_s(position), expected);
            if time != expected {
                return Err(wrong(row, &format!("a point at {time} where {expected} was expected")));
            }
            if is_payload {
                expected.clear();
                contents.write_payload(number, expected);
            }
            let is_right = if is_payload { value == expected } else { value.parse() == Ok(contents.amount(number)) };
            if is_right { Ok(()) } else { Err(wrong(row, &format!("another {field} at {time} than was written"))) }
        })?;
        if (values, payloads) == (window.count, window.count) {
            return Ok(window.count);
        }
        Err(wrong(row, &format!("{values} values and {payloads} payloads of {} points", window.count)))
    }

    /// The query for the aggregates of all minutes of a row's device.
    pub(crate) fn aggregate(&self, row: u64, text: &mut String) {
        let device = row % self.devices;
        self.texts.aggregate(device, FIRST_S, time_s(self.loaded(device)), text);
    }

    /// Compares what the server says to [`aggregate`](Self::aggregate); the number of windows.
    pub(crate) fn verify_aggregate(&mut self, row: u64, reply: &[u8]) -> Result<u64> {
        let device = row % self.devices;
        let windows = self.loaded(device).div_ceil(POINTS_PER_WINDOW);
        let functions = ["mean", "max", "count"];
        let mut seen = [0; 3];
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut expected = std::mem::take(&mut self.expected);
        let result = csv::read(reply, ["result", "_time", "_value"], &mut scratch, |[function, time, value]| {
            let Some(place) = functions.iter().position(|known| *known == function) else {
                return Err(wrong(row, &format!("a result `{function}`")));
            };
            let number = seen[place];
            seen[place] += 1;
            if number == windows {
                return Err(wrong(row, "more windows than were written"));
            }
            let window = self.window_at(device, number * POINTS_PER_WINDOW);
            expected.clear();
            push_time(window.stop_s(), &mut expected);
            if time != expected {
                return Err(wrong(row, &format!("a window that ends at {time} where {expected} was expected")));
            }
            if self.is_right(&window, function, value) {
                return Ok(());
            }
            Err(wrong(row, &format!("a {function} of {value} up to {time}, which is not that of the points")))
        });
        (self.scratch, self.expected) = (scratch, expected);
        result?;
        if seen == [windows; 3] {
            return Ok(windows);
        }
        Err(wrong(row, &format!("{seen:?} windows of mean, max and count, where {windows} each were expected")))
    }

    /// Whether a window's aggregate is that of its points.
    fn is_right(&self, window: &Window, function: &str, value: &str) -> bool {
        let amounts = (window.first..window.first + window.count)
            .map(|position| self.contents.amount(window.device + position * self.devices));
        match function {
            // Sums of a few small whole numbers are exact, and so both sides round once.
            "mean" => value.parse() == Ok(amounts.sum::<i64>() as f64 / window.count as f64),
            "max" => value.parse() == Ok(amounts.max().unwrap_or_default()),
            _ => value.parse() == Ok(window.count),
        }
    }

    /// How many points of a device are loaded: at least one.
    fn loaded(&self, device: u64) -> u64 {
        (self.contents.rows - device).div_ceil(self.devices)
    }

    fn window(&self, row: u64) -> Window {
        let device = row % self.devices;
        // A row that was written later has no window that could be verified; the nearest is that of the last loaded.
        let position = (row / self.devices).min(self.loaded(device) - 1);
        self.window_at(device, position / POINTS_PER_WINDOW * POINTS_PER_WINDOW)
    }

    fn window_at(&self, device: u64, first: u64) -> Window {
        Window { device, first, count: POINTS_PER_WINDOW.min(self.loaded(device) - first) }
    }
}

/// Loaded points of a device within one minute.
struct Window {
    device: u64,
    first: u64,
    count: u64,
}

impl Window {
    fn start_s(&self) -> u64 {
        time_s(self.first)
    }

    /// Where the minute ends, or before the first point that was not loaded.
    fn stop_s(&self) -> u64 {
        time_s(self.first + self.count)
    }
}

/// When a device's point of that place was measured.
fn time_s(position: u64) -> u64 {
    FIRST_S + position * INTERVAL_S
}

fn wrong(row: u64, what: &str) -> Error {
    Error::wrong_result(format!("the points of row {row} are not those that were written: {what}"))
        .with_hint("load the data anew; if it comes back, the server loses or changes points")
}

#[cfg(test)]
mod tests {
    use store::{DataSize, ErrorKind, Namespace};

    use super::*;

    fn readings(rows: u64) -> Readings {
        let namespace = Namespace::new("t").expect("valid");
        Readings::new(&OperationRows { namespace, rows, size: DataSize::Small, seed: 7 })
    }

    /// What the server would say to the query of a row's minute.
    fn reply(readings: &Readings, row: u64) -> String {
        let window = readings.window(row);
        let mut text = String::new();
        for field in ["payload", "value"] {
            text.push_str(",result,table,_time,_value,_field\r\n");
            for position in window.first..window.first + window.count {
                let number = window.device + position * readings.devices;
                text.push_str(",_result,0,");
                push_time(time_s(position), &mut text);
                text.push(',');
                if field == "value" {
                    text.push_str(&readings.contents.amount(number).to_string());
                } else {
                    readings.contents.write_payload(number, &mut text);
                }
                text.extend([",", field, "\r\n"]);
            }
            text.push_str("\r\n");
        }
        text
    }

    #[test]
    fn every_row_is_in_its_window_and_later_ones_are_in_none() {
        for rows in [1, 2, 5, 6, 7, 59, 60, 61, 119, 120, 130, 1000] {
            let mut readings = readings(rows);
            let loaded: u64 = (0..readings.devices).map(|device| readings.loaded(device)).sum();
            assert_eq!(loaded, rows);
            for row in 0..rows {
                let window = readings.window(row);
                let position = row / readings.devices;
                assert!((window.first..window.first + window.count).contains(&position), "{row} of {rows}");
                let reply = reply(&readings, row);
                assert_eq!(readings.verify_query(row, reply.as_bytes()).expect("right"), window.count);
            }
            for row in rows..rows + 100 {
                let device = row % readings.devices;
                assert!(time_s(row / readings.devices) >= time_s(readings.loaded(device)), "{row} of {rows}");
            }
        }
    }

    #[test]
    fn what_was_not_written_is_noticed() {
        let mut readings = readings(40);
        let right = reply(&readings, 7);
        let cut = right.lines().filter(|line| !line.contains("00:01:20")).map(|line| format!("{line}\r\n"));
        let swapped = right.replace("00:01:10", "x").replace("00:01:20", "00:01:10").replace('x', "00:01:20");
        let changed = right.replacen("value", "other", 1);
        let empty = "\r\n".to_owned();
        let twice = format!("{right}{right}");
        let value = readings.contents.amount(7);
        let forged = right.replace(&format!(",{value},"), &format!(",{},", value + 1));
        for wrong in [cut.collect(), swapped, changed, empty, twice, forged] {
            assert_ne!(wrong, right);
            assert_eq!(readings.verify_query(7, wrong.as_bytes()).expect_err(&wrong).kind(), ErrorKind::WrongResult);
        }
    }

    #[test]
    fn aggregates_are_compared_window_by_window() {
        let mut readings = readings(8);
        let amounts: Vec<_> = (0..8).map(|row| readings.contents.amount(row)).collect();
        let table = |function: &str, first: &str, second: &str| {
            format!(
                ",result,table,_time,_value\r\n,{function},0,2020-01-01T00:01:00Z,{first}\r\n\
                ,{function},0,2020-01-01T00:01:20Z,{second}\r\n\r\n"
            )
        };
        let mean = |amounts: &[i64]| (amounts.iter().sum::<i64>() as f64 / amounts.len() as f64).to_string();
        let max = |amounts: &[i64]| amounts.iter().max().expect("some").to_string();
        let (first, second) = amounts.split_at(6);
        let tables = [
            table("max", &max(first), &max(second)),
            table("count", "6", "2"),
            table("mean", &mean(first), &mean(second)),
        ];
        let right = tables.concat();
        assert_eq!(readings.verify_aggregate(3, right.as_bytes()).expect("right"), 2);
        let missing = tables[..2].concat();
        let lost = right.replace("6\r\n", "5\r\n");
        let late = right.replace("00:01:20", "00:01:30");
        let foreign = right.replace("max", "min");
        let twice = format!("{right}{}", tables[0]);
        for wrong in [missing, lost, late, foreign, twice] {
            let error = readings.verify_aggregate(3, wrong.as_bytes()).expect_err(&wrong);
            assert_eq!(error.kind(), ErrorKind::WrongResult);
        }
    }
}
