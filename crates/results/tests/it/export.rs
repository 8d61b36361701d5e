//! Every format over whole runs, read back by what reads such files; hostile names stay what they are.

use std::cell::RefCell;
use std::collections::BTreeMap;

use base64::Engine as _;
use experiment::{HistogramRecord, Metric, Record, SampleRecord, Sink};
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, RowAccessor};
use results::export::{self, FORMATS, Format};
use results::{Error, Results};
use stats::Histogram;
use tempfile::TempDir;
use uuid::Uuid;

use crate::on::{On, place};
use crate::{fixture, open, short_run};

/// What nobody would call an operation, and a program may all the same.
const HOSTILE: &str = "a,\"b\"\n<c> `d`|@team\\ 100% https://x.example\u{1}é";

/// A kept run with all that was put into it.
struct Kept {
    _folder: TempDir,
    results: RefCell<Results>,
    record: Record,
    samples: Vec<SampleRecord>,
    histograms: Vec<HistogramRecord>,
}

fn kept(on: On, shape: fixture::Shape, change: impl Fn(&mut Record)) -> Kept {
    let (folder, path) = place(on);
    let mut results = open(&path);
    let mut samples = Vec::new();
    let (mut record, histograms) = fixture::run("checkout", shape, |sample| samples.push(sample));
    record.id = Uuid::now_v7();
    change(&mut record);
    results.started(&fixture::started("checkout", record.id)).expect("started");
    for sample in &samples {
        results.sampled(record.id, sample).expect("sampled");
    }
    results.ended(&record, &histograms).expect("ended");
    Kept { _folder: folder, results: RefCell::new(results), record, samples, histograms }
}

/// A plain run, and one in which everything that can be named is named badly.
fn runs(on: On) -> [Kept; 2] {
    let plain = fixture::Shape { seconds: 8, rate_per_second: 200, ..fixture::MINUTE };
    let hostile = fixture::Shape { operations: &[(HOSTILE, 0.7), ("read", 0.3)], ..plain };
    let named_badly = |record: &mut Record| {
        HOSTILE.clone_into(&mut record.name);
        HOSTILE.clone_into(&mut record.target.server);
        record.workload.variant = Some(HOSTILE.to_owned());
        HOSTILE.clone_into(&mut record.phases[1].name);
        record.verdict.reasons = vec![HOSTILE.to_owned()];
        HOSTILE.clone_into(&mut record.verdict.checks[0].name);
        HOSTILE.clone_into(&mut record.verdict.checks[0].detail);
        let mut threshold = record.verdict.thresholds[0].clone();
        HOSTILE.clone_into(&mut threshold.expression);
        record.verdict.thresholds.extend([threshold.clone(), threshold]);
    };
    [kept(on, plain, |_| ()), kept(on, hostile, named_badly)]
}

fn written(kept: &Kept, name: &str) -> Vec<u8> {
    let format = export::named(name).expect("a format of that name");
    let mut out = Vec::new();
    kept.results.borrow_mut().export(kept.record.id, format, &mut out).expect("written");
    out
}

fn text(kept: &Kept, name: &str) -> String {
    String::from_utf8(written(kept, name)).expect("it is text")
}

pub(crate) fn every_format(on: On) {
    for kept in runs(on) {
        for format in FORMATS {
            let mut out = Vec::new();
            kept.results.borrow_mut().export(kept.record.id, format, &mut out).expect("written");
            assert!(!out.is_empty(), "{}", format.name);
            assert!(!format.is_text || String::from_utf8(out).is_ok(), "{}", format.name);
            fails_where_its_output_does(&kept, format);
        }
    }
    // A run that is still going on has no end to tell of, and is written all the same.
    let (_folder, path) = place(on);
    let mut results = open(&path);
    let record = fixture::started("young", Uuid::now_v7());
    results.started(&record).expect("started");
    for format in FORMATS {
        results.export(record.id, format, &mut Vec::new()).unwrap_or_else(|error| panic!("{}: {error}", format.name));
    }
    let unknown = results.export(Uuid::now_v7(), FORMATS[0], &mut Vec::new());
    assert!(matches!(unknown, Err(Error::NotFound { .. })), "{unknown:?}");
}

fn fails_where_its_output_does(kept: &Kept, format: &Format) {
    let mut room = [0_u8; 16];
    let failed = kept.results.borrow_mut().export(kept.record.id, format, &mut &mut room[..]);
    assert!(matches!(failed, Err(Error::Output { .. })), "{}: {failed:?}", format.name);
}

pub(crate) fn json(on: On) {
    for kept in runs(on) {
        let read: Record = serde_json::from_str(&text(&kept, "json")).expect("a record");
        assert_eq!(read, kept.record);
    }
}

/// RFC 4180, read by its grammar.
fn table(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut rows = vec![vec![String::new()]];
    let mut characters = text.chars().peekable();
    let mut is_quoted = false;
    while let Some(character) = characters.next() {
        let row = rows.last_mut().expect("there is a row");
        let field = row.last_mut().expect("there is a field");
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => field.extend(characters.next()),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => row.push(String::new()),
            '\n' if !is_quoted => rows.push(vec![String::new()]),
            other => field.push(other),
        }
    }
    assert_eq!(rows.pop(), Some(vec![String::new()]), "the last line is ended, and no quote is open");
    let head = rows.remove(0);
    let named = rows.into_iter().map(|row| {
        assert_eq!(row.len(), head.len(), "{row:?}");
        head.iter().cloned().zip(row).collect()
    });
    named.collect()
}

pub(crate) fn csv_operations(on: On) {
    for kept in runs(on) {
        let rows = table(&text(&kept, "csv-operations"));
        let of_phases: usize = kept.record.phases.iter().map(|phase| phase.operations.len() + 1).sum();
        assert_eq!(rows.len(), kept.record.operations.len() + 1 + of_phases);
        for (row, operation) in rows.iter().zip(kept.record.operations.iter().chain([&kept.record.total])) {
            assert_eq!((&row["scope"], &row["operation"]), (&"run".to_owned(), &operation.name));
            assert_eq!(row["succeeded"], operation.succeeded.to_string());
            for (column, expect) in [
                ("latency_us_p99", operation.latency_us.p99),
                ("service_time_us_mean", operation.service_time_us.mean),
                ("queueing_time_us_max", operation.queueing_time_us.max),
            ] {
                let found: f64 = row[column].parse().expect("a number");
                assert!((found - expect).abs() < 1e-9, "{column}");
            }
        }
        let last = rows.last().expect("it has rows");
        assert_eq!((&last["phase"], last["operation"].as_str()), (&kept.record.phases[1].name, "total"));
    }
}

pub(crate) fn csv_seconds(on: On) {
    for kept in runs(on) {
        let rows = table(&text(&kept, "csv-seconds"));
        let expect: usize = kept.samples.iter().map(|sample| sample.operations.len() + 1).sum();
        assert_eq!(rows.len(), expect);
        let mut rows = rows.iter();
        for sample in &kept.samples {
            for operation in &sample.operations {
                let row = rows.next().expect("a row each");
                assert_eq!((row["second"].parse(), &row["operation"]), (Ok(sample.second), &operation.operation));
                assert_eq!(row["phase"], kept.record.phases[usize::from(operation.phase)].name);
                assert_eq!(row["recorded"], (operation.phase == 1).to_string());
                assert_eq!(row["latency_us_p99"].parse(), Ok(operation.latency.summary().p99));
                assert_eq!(row["generator.cpu_percent"], "");
            }
            let row = rows.next().expect("a row of all");
            let succeeded: u64 = sample.operations.iter().map(|operation| operation.succeeded).sum();
            assert_eq!((row["operation"].as_str(), row["succeeded"].parse()), ("total", Ok(succeeded)));
            for (name, value) in &sample.gauges {
                assert_eq!(row[*name].parse(), Ok(*value), "{name}");
            }
        }
    }
}

/// A second in which one phase ends and another begins, and one in which nothing ends.
pub(crate) fn csv_seconds_between(on: On) {
    let (_folder, path) = place(on);
    let mut results = open(&path);
    let (record, mut samples, histograms) = short_run("between");
    let [of_warm_up, of_steady] = [4, 5].map(|second: usize| samples[second].operations.clone());
    samples[4].operations = of_warm_up.iter().chain(&of_steady).cloned().collect();
    samples[6].operations.clear();
    results.started(&fixture::started("between", record.id)).expect("started");
    for sample in &samples {
        results.sampled(record.id, sample).expect("sampled");
    }
    results.ended(&record, &histograms).expect("ended");
    let mut out = Vec::new();
    results.export(record.id, export::named("csv-seconds").expect("it is one"), &mut out).expect("written");
    let rows = table(&String::from_utf8(out).expect("text"));
    let totals = |second: &str| {
        let is_total = |row: &&BTreeMap<String, String>| row["second"] == second && row["operation"] == "total";
        let said = |row: &BTreeMap<String, String>| {
            let count: u64 = row["succeeded"].parse().expect("a count");
            (row["phase"].clone(), row["recorded"].clone(), count, row["generator.cpu_percent"].is_empty())
        };
        rows.iter().filter(is_total).map(said).collect::<Vec<_>>()
    };
    let sum = |operations: &[experiment::SampledOperation]| operations.iter().map(|one| one.succeeded).sum::<u64>();
    let row = |phase: &str, recorded: &str, count, has_no_gauges| {
        (phase.to_owned(), recorded.to_owned(), count, has_no_gauges)
    };
    assert_eq!(
        totals("4"),
        [row("warm-up", "false", sum(&of_warm_up), true), row("steady", "true", sum(&of_steady), false)]
    );
    assert_eq!(totals("6"), [row("steady", "true", 0, false)]);
}

pub(crate) fn parquet(on: On) {
    for kept in runs(on) {
        let bytes = parquet_bytes(&kept);
        let reader = SerializedFileReader::new(bytes).expect("a Parquet file");
        let expect = table(&text(&kept, "csv-seconds"));
        assert_eq!(usize::try_from(reader.metadata().file_metadata().num_rows()), Ok(expect.len()));
        let rows = reader.get_row_iter(None).expect("rows").map(|row| row.expect("a row"));
        for (row, expect) in rows.zip(&expect) {
            assert_eq!(row.get_string(4).expect("text"), &expect["operation"]);
            for (name, field) in row.get_column_iter() {
                let text = match field {
                    Field::Null => String::new(),
                    Field::Long(value) => value.to_string(),
                    Field::Double(value) => value.to_string(),
                    Field::Str(value) => value.clone(),
                    Field::Bool(value) => value.to_string(),
                    Field::TimestampMicros(value) => {
                        let whole = |text: &str| text.parse::<jiff::Timestamp>().expect("a time").as_microsecond();
                        assert_eq!(*value, whole(&expect["time"]));
                        continue;
                    }
                    other => panic!("{name} is {other:?}"),
                };
                assert_eq!(&text, &expect[name], "{name}");
            }
        }
    }
}

fn parquet_bytes(kept: &Kept) -> bytes::Bytes {
    written(kept, "parquet").into()
}

pub(crate) fn hdr_log(on: On) {
    for kept in runs(on) {
        let log = text(&kept, "hdr-log");
        let mut found: BTreeMap<Option<String>, Histogram> = BTreeMap::new();
        let mut starts = Vec::new();
        for entry in IntervalLogIterator::new(log.as_bytes()) {
            match entry.expect("an entry of the log") {
                LogEntry::Interval(interval) => {
                    let bytes = base64::engine::general_purpose::STANDARD.decode(interval.encoded_histogram());
                    let histogram = Histogram::decode(&bytes.expect("base64")).expect("a histogram");
                    assert!((interval.max() - histogram.max() as f64 / 1e6).abs() < 1e-3, "in milliseconds");
                    found.entry(interval.tag().map(|tag| tag.to_string())).or_default().merge(&histogram);
                }
                LogEntry::StartTime(at) | LogEntry::BaseTime(at) => starts.push(at.as_secs()),
            }
        }
        assert_eq!(starts, [kept.record.started_at.as_second() as u64; 2]);
        assert_eq!(found.len(), 3, "two operations and all together: {:?}", found.keys());
        let of_phase = |wanted: Option<&str>| {
            let mut sum = Histogram::new();
            let is_wanted = |kept: &&HistogramRecord| {
                kept.phase == 1 && kept.metric == Metric::Latency && wanted.is_none_or(|name| kept.operation == name)
            };
            kept.histograms.iter().filter(is_wanted).for_each(|kept| sum.merge(&kept.histogram));
            sum
        };
        for (tag, expect) in [(None, None), (Some("read".to_owned()), Some("read"))] {
            // Bit for bit: an interval log loses nothing.
            assert_eq!(found[&tag], of_phase(expect), "{tag:?}");
        }
    }
}

pub(crate) fn openmetrics(on: On) {
    for kept in runs(on) {
        let text = text(&kept, "openmetrics");
        assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
        let mut family = String::new();
        let mut seen = std::collections::BTreeSet::new();
        for line in text.lines() {
            if let Some(about) = line.strip_prefix("# TYPE ") {
                about.split(' ').next().expect("a name").clone_into(&mut family);
                assert!(seen.insert(family.clone()), "{family} comes twice");
            } else if !line.starts_with('#') {
                assert!(line.starts_with(&family), "{line} is not of {family}");
                assert!(seen.insert(line.to_owned()), "{line} comes twice");
                let (_, rest) = line.rsplit_once("\"} ").expect("labels, a value and a time");
                let numbers: Vec<f64> = rest.split(' ').map(|number| number.parse().expect("a number")).collect();
                assert_eq!(numbers.len(), 2, "{line}");
            }
        }
        let p99 = kept.record.operations[1].latency_us.p99 / 1e6;
        let name = &kept.record.operations[1].name;
        let line = format!("operation=\"{name}\",quantile=\"0.99\"}} {p99} ");
        assert!(text.contains(&line), "{line} is missing");
    }
}

pub(crate) fn junit(on: On) {
    for kept in runs(on) {
        let text = text(&kept, "junit");
        assert!(text.starts_with("<?xml version=\"1.0\"") && text.ends_with("</testsuites>\n"));
        let thresholds = text.matches(".threshold\" name=").count();
        assert_eq!(thresholds, kept.record.verdict.thresholds.len());
        // Elements are closed in the order in which they were opened, whatever stands in them.
        let mut open = Vec::new();
        for tag in text.split('<').skip(1).filter_map(|rest| rest.split_once('>')).map(|(tag, _)| tag) {
            let name = tag.trim_start_matches('/').split([' ', '/']).next().expect("a name");
            match (tag.starts_with('/'), tag.ends_with(['/', '?'])) {
                (true, _) => assert_eq!(open.pop(), Some(name), "{text}"),
                (false, true) => {}
                (false, false) => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}

pub(crate) fn markdown(on: On) {
    let [plain, hostile] = runs(on);
    let said = text(&plain, "markdown");
    for part in [
        "### ✅ `checkout`: valid, and every threshold holds",
        "| `p99(read) < 20ms` | ✅ yes | 1.84ms |",
        "| `read` |",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    let said = text(&hostile, "markdown");
    // Outside of code nothing is markup, a mention or an address; a row of a table has as many cells as its head.
    for line in said.lines() {
        let outside = without_code(line);
        for part in ["@team", "https://", "<c>", "\u{1}"] {
            assert!(!outside.contains(part), "{part} in {line}");
        }
        if line.starts_with('|') {
            let cells = line.replace("\\|", "").matches('|').count() - 1;
            assert!([3, 7, 8].contains(&cells), "{cells} cells: {line}");
        }
    }
}

/// A line without what stands between equal rows of backticks.
fn without_code(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(start) = rest.find('`') {
        out.push_str(&rest[..start]);
        if out.ends_with('\\') {
            rest = &rest[start + 1..];
            continue;
        }
        let fence: String = rest[start..].chars().take_while(|character| *character == '`').collect();
        let inside = &rest[start + fence.len()..];
        let end = inside.find(&fence).expect("code is closed on its line");
        rest = &inside[end + fence.len()..];
    }
    out + rest
}
