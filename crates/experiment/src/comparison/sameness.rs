//! What must be the same for runs to be compared, and what may differ but is worth telling.

use std::collections::{BTreeMap, BTreeSet};

use runner::{Limit, Mode, Phase};
use serde_json::Value;
use store::{Error, Result};

use super::{Difference, SideData};
use crate::record::{Record, Status};

/// Fields of the load that say how the generator works, not what it asks: they may differ.
const GENERATOR_FIELDS: [&str; 6] = ["backlog", "drain", "io", "pin", "timeout", "workers"];

/// What is told of a host only as counters of its past, or not as a fact about it.
const HOST_FIELDS_LEFT_OUT: [&str; 4] =
    ["cgroup.path", "cgroup.throttled_periods", "cgroup.throttled_seconds", "missing"];

/// Digits that a port of this machine has at the least.
const PORT_DIGITS_MIN: usize = 2;

/// Why the runs are not to be compared: what differs in workload, load or size of the data, with both values. Empty where
/// they are.
///
/// # Errors
/// `Config` for a run that has not ended, or could not be carried out, which nothing overrules.
pub(crate) fn conflicts(sides: &[SideData]) -> Result<Vec<String>> {
    let records: Vec<&Record> = sides.iter().flat_map(|side| &side.runs).map(super::RunData::record).collect();
    for record in &records {
        let Record { name, id, status, .. } = record;
        match status {
            Status::Completed | Status::Interrupted => {}
            Status::Running => {
                return Err(Error::config(format!("the run {name} ({id}) has not ended"))
                    .with_hint("wait for its end, then compare"));
            }
            Status::Failed => {
                return Err(Error::config(format!("the run {name} ({id}) failed and measured nothing"))
                    .with_hint("`storelab show` says why it failed; make it again"));
            }
        }
    }
    let Some((first, rest)) = records.split_first() else { return Ok(Vec::new()) };
    let expected = asked(first);
    let mut found = BTreeSet::new();
    for record in rest {
        let given = asked(record);
        for what in expected.keys().chain(given.keys()).collect::<BTreeSet<_>>() {
            let value = |of: &BTreeMap<String, String>| of.get(what).map_or("nothing", String::as_str).to_owned();
            let values = (value(&expected), value(&given));
            if values.0 != values.1 {
                found.insert(format!("{what}: {} and {}", values.0, values.1));
            }
        }
    }
    Ok(found.into_iter().collect())
}

/// What a run was asked to do: workload, data, and load, by name.
fn asked(record: &Record) -> BTreeMap<String, String> {
    let mut asked = BTreeMap::new();
    asked.insert("workload".to_owned(), super::noise::Subject::of(record).workload);
    for (name, value) in &record.workload.parameters {
        asked.insert(format!("parameter {name}"), plain(value));
    }
    let load = &record.load;
    // In normal form, so that a default and the same value written down are one. The operations that a workload runs one
    // after another follow from its parameters, so that none are needed here.
    if let Ok(normal) = load.to_load(&[], 0) {
        asked.insert("sessions".to_owned(), normal.sessions.to_string());
        asked.insert("depth".to_owned(), normal.depth.to_string());
        asked.insert("think time".to_owned(), format!("{:?}", normal.think));
        for (place, phase) in normal.phases.iter().enumerate() {
            asked.insert(format!("phase {}", place + 1), described(phase));
        }
        return asked;
    }
    let mut flat = BTreeMap::new();
    flatten("load", &serde_json::to_value(load).unwrap_or_default(), &mut flat);
    flat.retain(|name, _| !GENERATOR_FIELDS.iter().any(|field| name == &format!("load.{field}")));
    asked.extend(flat);
    asked
}

fn described(phase: &Phase) -> String {
    let limit = match phase.limit {
        Limit::Duration(duration) => format!("for {duration:?}"),
        Limit::Count(count) => format!("{count} operations"),
    };
    let mode = match phase.mode {
        Mode::Closed => "closed".to_owned(),
        Mode::Open { from, to, arrivals } if from == to => format!("{}/s {arrivals:?}", from.get()).to_lowercase(),
        Mode::Open { from, to, arrivals } => format!("{} to {}/s {arrivals:?}", from.get(), to.get()).to_lowercase(),
    };
    format!("{mode}, {limit}{}", if phase.recorded { "" } else { ", not recorded" })
}

/// What differs in versions, settings and hosts.
pub(crate) fn differences(sides: &[SideData]) -> Vec<Difference> {
    let circumstances: Vec<_> = sides.iter().map(circumstances).collect();
    let names: BTreeSet<&String> = circumstances.iter().flat_map(BTreeMap::keys).collect();
    let of = |name: &String| Difference {
        what: name.clone(),
        values: circumstances.iter().map(|values| values.get(name).cloned()).collect(),
    };
    let differ = |difference: &Difference| difference.values.iter().any(|value| *value != difference.values[0]);
    names.into_iter().map(of).filter(differ).collect()
}

/// Of a side, by name; what is not the same for all of its runs has all their values.
fn circumstances(side: &SideData) -> BTreeMap<String, String> {
    let mut values: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for run in &side.runs {
        for (name, value) in of_record(run.record()) {
            values.entry(name).or_default().insert(value);
        }
    }
    values.into_iter().map(|(name, values)| (name, values.into_iter().collect::<Vec<_>>().join(", "))).collect()
}

fn of_record(record: &Record) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    flatten("host", &record.provenance.host, &mut found);
    found.retain(|name, _| {
        let field = name.strip_prefix("host.").unwrap_or(name);
        !HOST_FIELDS_LEFT_OUT.iter().any(|left_out| field.starts_with(left_out))
    });
    let load = serde_json::to_value(&record.load).unwrap_or_default();
    for field in GENERATOR_FIELDS {
        flatten(&format!("load.{field}"), &load[field], &mut found);
    }
    let settings = record.server.settings.iter().map(|(name, value)| (format!("settings.{name}"), value.clone()));
    found.extend(settings);
    found.insert("driver".to_owned(), record.target.driver.clone());
    found.insert("server".to_owned(), record.target.server.clone());
    found.insert("storelab".to_owned(), record.provenance.storelab.clone());
    found.insert("target".to_owned(), without_ports(&record.target.url));
    found.insert("waiting by".to_owned(), record.generator.io.clone());
    found
}

/// A URL without ports: those of throw-away servers are others each time.
fn without_ports(url: &str) -> String {
    let mut kept = String::with_capacity(url.len());
    let mut rest = url;
    while let Some((before, after)) = rest.split_once(':') {
        kept.push_str(before);
        let digits = after.len() - after.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
        let ends = after[digits..].chars().next().is_none_or(|next| "/?,".contains(next));
        if digits >= PORT_DIGITS_MIN && ends {
            rest = &after[digits..];
        } else {
            kept.push(':');
            rest = after;
        }
    }
    kept + rest
}

/// A value's leaves by their path.
fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (name, value) in fields {
                flatten(&format!("{path}.{name}"), value, into);
            }
        }
        Value::Array(values) => {
            for (place, value) in values.iter().enumerate() {
                flatten(&format!("{path}.{place}"), value, into);
            }
        }
        scalar => {
            into.insert(path.to_owned(), plain(scalar));
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::fixture::{Seconds, changed, run_of};

    fn side(change: impl FnOnce(&mut Record)) -> SideData {
        SideData::new("side", vec![changed(run_of(&Seconds::default()), change)])
    }

    #[test]
    fn what_was_asked_must_be_the_same() {
        let check = |change: fn(&mut Record), expect: &[&str]| {
            let found = conflicts(&[side(|_| {}), side(change)]).expect("both have ended");
            assert_eq!(found, expect);
        };
        check(|record| record.seed = 7, &[]);
        check(|record| record.name = "other".to_owned(), &[]);
        check(|record| record.load.workers = std::num::NonZeroU32::new(3), &[]);
        check(|record| record.workload.variant = Some("c".to_owned()), &["workload: ycsb:b and ycsb:c"]);
        check(
            |record| drop(record.workload.parameters.insert("records".to_owned(), 5.into())),
            &["parameter records: 1000 and 5"],
        );
        check(|record| record.load.sessions = std::num::NonZeroU32::new(9), &["sessions: 4 and 9"]);
        check(
            |record| record.load.rate = Some("50/s".parse().expect("a rate")),
            &[
                "phase 1: closed, for 1s, not recorded and 50/s constant, for 1s, not recorded",
                "phase 2: closed, for 20s and 50/s constant, for 20s",
            ],
        );
    }

    #[test]
    fn runs_that_measured_nothing_are_refused() {
        for (status, part) in [(Status::Running, "has not ended"), (Status::Failed, "failed")] {
            let error = conflicts(&[side(|_| {}), side(|record| record.status = status)]).expect_err("refused");
            assert!(error.to_string().contains(part) && error.hint().is_some(), "{error}");
        }
    }

    #[test]
    fn circumstances_that_differ_are_told() {
        let other = side(|record| {
            record.target.server = "PostgreSQL 16".to_owned();
            record.target.url = "postgres://lab@127.0.0.1:41234/lab".to_owned();
            record.server.settings.insert("fsync".to_owned(), "off".to_owned());
            record.provenance.host["kernel"] = "6.12".into();
            record.provenance.host["cgroup"] = serde_json::json!({ "throttled_seconds": 3.5, "cpu_limit_cores": 2.0 });
        });
        let told: Vec<_> =
            differences(&[side(|_| {}), other]).into_iter().map(|found| (found.what, found.values)).collect();
        let value = |text: &str| Some(text.to_owned());
        assert_eq!(
            told,
            [
                ("host.cgroup.cpu_limit_cores".to_owned(), vec![None, value("2.0")]),
                ("host.kernel".to_owned(), vec![value("6.1"), value("6.12")]),
                ("server".to_owned(), vec![value("PostgreSQL 15"), value("PostgreSQL 16")]),
                ("settings.fsync".to_owned(), vec![None, value("off")]),
            ]
        );
    }

    #[test]
    fn ports_are_left_out_of_urls() {
        for (url, expect) in [
            ("postgres://lab:***@127.0.0.1:5544/lab", "postgres://lab:***@127.0.0.1/lab"),
            ("redis://h:7001?nodes=h:7002,h:7003", "redis://h?nodes=h,h"),
            ("null:?latency=500us", "null:?latency=500us"),
            ("postgres://lab:123456@h/lab", "postgres://lab:123456@h/lab"),
            ("sqlite:", "sqlite:"),
        ] {
            assert_eq!(without_ports(url), expect);
        }
    }
}
