//! YCSB, the Yahoo! Cloud Serving Benchmark: Cooper et al., "Benchmarking Cloud Serving Systems with YCSB",
//! `SoCC` 2010, with the core workloads A to F of its distribution.
//!
//! Where this differs from YCSB's own implementation, each time in [`Instance::parameters`] as well:
//! - The zipfian distribution is drawn over the records that exist, exactly. YCSB always draws from 10^10 items and
//!   takes the remainder of a hash, which is much flatter; `ycsb_compatible=true` does that.
//! - Client `i` of `n` adds the records `records + i + k·n`, and reads of the added ones only its own that were
//!   acknowledged. YCSB's threads share a counter, which makes a run depend on how they are interleaved. A record
//!   that failed to be added is never expected to be there.
//! - Values prove by themselves that they are what was written (`data_integrity`, which YCSB has off by default).
//! - A scan starts at a record that exists, so that its first row is known.

mod answer;
mod client;
mod key;
mod value;
mod verify;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value as Json, json};
use store::{
    Capabilities, Capability, Dataset, Driver, Error, LocalBoxFuture, Namespace, Record, RecordSource, RecordTable,
    Result, Store, did_you_mean,
};

use crate::additions::{AdditionLog, Additions};
use crate::distribution::{Distribution, KeyChooser, RECORDS_MAX};
use crate::random::{Mix, mix64};
use crate::{Check, Client, ClientSpec, Instance, Parameter, ParameterKind, Settings, Variant, Workload};
use client::{Verb, YcsbClient};
use key::{KeyOrder, Keys};
use value::Layout;

/// The workload.
pub(crate) struct Ycsb;

/// A variant's proportions, in the order of [`Verb::ALL`], and its distribution.
struct Defaults {
    proportions: [f64; 5],
    distribution: &'static str,
}

/// Table 2 of the paper, and workload F of the distribution. In the order of `VARIANTS`.
const DEFAULTS: [Defaults; 6] = [
    Defaults { proportions: [0.5, 0.5, 0.0, 0.0, 0.0], distribution: "zipfian" },
    Defaults { proportions: [0.95, 0.05, 0.0, 0.0, 0.0], distribution: "zipfian" },
    Defaults { proportions: [1.0, 0.0, 0.0, 0.0, 0.0], distribution: "zipfian" },
    Defaults { proportions: [0.95, 0.0, 0.05, 0.0, 0.0], distribution: "latest" },
    Defaults { proportions: [0.0, 0.0, 0.05, 0.95, 0.0], distribution: "zipfian" },
    Defaults { proportions: [0.5, 0.0, 0.0, 0.0, 0.5], distribution: "zipfian" },
];

static VARIANTS: [Variant; 6] = [
    Variant { name: "a", summary: "50 % reads, 50 % updates: a session store" },
    Variant { name: "b", summary: "95 % reads, 5 % updates: tagging of photos" },
    Variant { name: "c", summary: "reads only: a cache of user profiles" },
    Variant { name: "d", summary: "95 % reads of the latest, 5 % inserts: status updates" },
    Variant { name: "e", summary: "95 % scans of 1 to 100, 5 % inserts: threaded conversations" },
    Variant { name: "f", summary: "50 % reads, 50 % read-modify-writes: a user database" },
];

/// Fields of a record: `MySQL` has at most 1,017 columns in an `InnoDB` table, and one is the key.
const FIELD_COUNT_MAX: u64 = 1_000;
/// Bytes of a field: what `MySQL`'s TEXT holds.
const FIELD_LENGTH_MAX: u64 = 65_535;

/// A parameter that is a whole number.
const fn integer(name: &'static str, default: &'static str, min: u64, max: u64, summary: &'static str) -> Parameter {
    Parameter { name, kind: ParameterKind::Integer { min, max }, default, summary }
}

/// A parameter that is a number.
const fn real(name: &'static str, default: &'static str, max: f64, summary: &'static str) -> Parameter {
    Parameter { name, kind: ParameterKind::Real { min: 0.0, max }, default, summary }
}

/// A parameter that is true or false.
const fn flag(name: &'static str, default: &'static str, summary: &'static str) -> Parameter {
    Parameter { name, kind: ParameterKind::Flag, default, summary }
}

const RECORDS: Parameter = integer("records", "10000", 1, RECORDS_MAX, "records that are loaded");
const FIELD_COUNT: Parameter = integer("field_count", "10", 1, FIELD_COUNT_MAX, "fields of a record");
const FIELD_LENGTH: Parameter = integer("field_length", "100", 1, FIELD_LENGTH_MAX, "bytes of a field");
const DISTRIBUTION: Parameter = Parameter {
    name: "distribution",
    kind: ParameterKind::Choice(&["uniform", "zipfian", "hotspot", "latest", "sequential", "exponential"]),
    default: "",
    summary: "which records are chosen; without it the variant's: zipfian, for d latest",
};
const THETA: Parameter = real("theta", "0.99", 5.0, "skew of zipfian and latest; 0 is uniform");
const HOT_SET: Parameter = real("hot_set_fraction", "0.2", 1.0, "part of the records that hotspot prefers");
const HOT_OPERATIONS: Parameter =
    real("hot_operation_fraction", "0.8", 1.0, "part of the operations that hotspot gives to them");
const SCAN_LENGTH_MAX: Parameter =
    integer("scan_length_max", "100", 1, 100_000, "a scan reads 1 to so many records, all equally probable");
const PROPORTIONS: [Parameter; 5] = [
    real("read_proportion", "", 1.0, "part of reads; without it the variant's"),
    real("update_proportion", "", 1.0, "part of updates; without it the variant's"),
    real("insert_proportion", "", 1.0, "part of inserts; without it the variant's"),
    real("scan_proportion", "", 1.0, "part of scans; without it the variant's"),
    real("read_modify_write_proportion", "", 1.0, "part of read-modify-writes; without it the variant's"),
];
const READ_ALL_FIELDS: Parameter = flag("read_all_fields", "true", "reads take all fields, else one");
const WRITE_ALL_FIELDS: Parameter = flag("write_all_fields", "false", "updates overwrite all fields, else one");
const KEY_ORDER: Parameter = Parameter {
    name: "key_order",
    kind: ParameterKind::Choice(&["hashed", "ordered"]),
    default: "hashed",
    summary: "keys are the hash of a record's number, or the number itself",
};
const YCSB_COMPATIBLE: Parameter =
    flag("ycsb_compatible", "false", "zipfian as YCSB draws it: over 10^10 items, hashed, much flatter");
const DATA_INTEGRITY: Parameter = flag("data_integrity", "true", "every value that is read is verified");

static PARAMETERS: [Parameter; 18] = [
    RECORDS,
    FIELD_COUNT,
    FIELD_LENGTH,
    DISTRIBUTION,
    THETA,
    HOT_SET,
    HOT_OPERATIONS,
    SCAN_LENGTH_MAX,
    PROPORTIONS[0],
    PROPORTIONS[1],
    PROPORTIONS[2],
    PROPORTIONS[3],
    PROPORTIONS[4],
    READ_ALL_FIELDS,
    WRITE_ALL_FIELDS,
    KEY_ORDER,
    YCSB_COMPATIBLE,
    DATA_INTEGRITY,
];

impl Workload for Ycsb {
    fn name(&self) -> &'static str {
        "ycsb"
    }

    fn summary(&self) -> &'static str {
        "Yahoo! Cloud Serving Benchmark, core workloads A to F (Cooper et al. 2010)"
    }

    fn variants(&self) -> &'static [Variant] {
        &VARIANTS
    }

    fn parameters(&self) -> &'static [Parameter] {
        &PARAMETERS
    }

    fn needs(&self) -> Capabilities {
        Capabilities::of(&[Capability::KeyValue])
    }

    fn configure(
        &self,
        driver: &'static dyn Driver,
        variant: Option<&str>,
        settings: &Settings,
        seed: u64,
    ) -> Result<Arc<dyn Instance>> {
        settings.check(self.name(), &PARAMETERS)?;
        let (variant, defaults) = find_variant(variant)?;
        let proportions = proportions(settings, defaults)?;
        check_capabilities(driver, variant, &proportions)?;
        let (distribution, distribution_name) = distribution(settings, defaults)?;
        let active: Vec<usize> = (0..Verb::ALL.len()).filter(|place| proportions[*place] > 0.0).collect();
        let records = settings.integer(&RECORDS)?;
        let key_order = match settings.choice(&KEY_ORDER)? {
            "ordered" => KeyOrder::Ordered,
            _ => KeyOrder::Hashed,
        };
        let plan = Plan {
            seed,
            records,
            keys: Keys::new(key_order, records),
            layout: Layout::new(settings.integer(&FIELD_COUNT)? as u16, settings.integer(&FIELD_LENGTH)? as usize),
            chooser: KeyChooser::new(distribution, records),
            mix: Mix::new(&active.iter().map(|place| proportions[*place]).collect::<Vec<_>>()),
            verbs: active.iter().map(|place| Verb::ALL[*place]).collect(),
            scan_length_max: settings.integer(&SCAN_LENGTH_MAX)? as u32,
            read_all_fields: settings.flag(&READ_ALL_FIELDS)?,
            write_all_fields: settings.flag(&WRITE_ALL_FIELDS)?,
            verifies: settings.flag(&DATA_INTEGRITY)? && !answers_nothing(driver),
        };
        let dataset = Dataset::Records(RecordTable {
            namespace: Namespace::new("ycsb")?,
            table: "usertable",
            records,
            field_count: plan.layout.field_count(),
            field_length: plan.layout.field_length(),
            key_length_max: plan.keys.length_max(),
        });
        Ok(Arc::new(YcsbInstance {
            operations: plan.verbs.iter().map(|verb| verb.name()).collect(),
            parameters: effective(settings, &plan, distribution_name, &proportions)?,
            variant: variant.name,
            dataset,
            source: Source { keys: plan.keys.clone(), layout: plan.layout.clone() },
            logs: Mutex::default(),
            answers_nothing: answers_nothing(driver),
            plan: Arc::new(plan),
        }))
    }
}

/// The one store that keeps nothing is there to measure the harness: it answers that one record was read, and shows
/// none. What it answers cannot be verified, and the runner reports its figures as the harness's own.
fn answers_nothing(driver: &dyn Driver) -> bool {
    driver.name() == "null"
}

fn find_variant(name: Option<&str>) -> Result<(&'static Variant, &'static Defaults)> {
    let typed = name.unwrap_or(VARIANTS[0].name);
    let lower = typed.to_ascii_lowercase();
    let names = || VARIANTS.iter().map(|variant| variant.name);
    let place = names().position(|name| name == lower).ok_or_else(|| {
        let error = Error::config(format!("workload `ycsb` has no variant `{typed}`"));
        match did_you_mean(&lower, names()) {
            Some(near) => error.with_hint(format!("did you mean `ycsb:{near}`?")),
            None => error.with_hint(format!("it has {}", names().collect::<Vec<_>>().join(", "))),
        }
    })?;
    Ok((&VARIANTS[place], &DEFAULTS[place]))
}

/// The parts of the verbs, adding up to 1.
fn proportions(settings: &Settings, defaults: &Defaults) -> Result<[f64; 5]> {
    let mut proportions = defaults.proportions;
    for (proportion, parameter) in proportions.iter_mut().zip(&PROPORTIONS) {
        if !settings.text(parameter).is_empty() {
            *proportion = settings.real(parameter)?;
        }
    }
    let sum: f64 = proportions.iter().sum();
    if sum <= 0.0 {
        return Err(Error::config("all proportions of workload `ycsb` are 0")
            .with_hint("give one of read, update, insert, scan and read_modify_write a part"));
    }
    Ok(proportions.map(|proportion| proportion / sum))
}

fn check_capabilities(driver: &dyn Driver, variant: &Variant, proportions: &[f64; 5]) -> Result<()> {
    let scans = proportions[Verb::Scan as usize] > 0.0;
    let needed = if scans {
        Capabilities::of(&[Capability::KeyValue, Capability::OrderedScan])
    } else {
        Capabilities::of(&[Capability::KeyValue])
    };
    let Some(missing) = driver.capabilities().missing(needed).next() else {
        return Ok(());
    };
    let error =
        Error::unsupported(format!("`ycsb:{}` needs {} and {} has not", variant.name, missing.name(), driver.title()));
    Err(match missing {
        Capability::OrderedScan => error.with_hint("variants a, b, c, d and f do without scans"),
        _ => error.with_hint("use another store, or the workload `operations`"),
    })
}

fn distribution(settings: &Settings, defaults: &Defaults) -> Result<(Distribution, &'static str)> {
    let name = match settings.text(&DISTRIBUTION) {
        "" => defaults.distribution,
        _ => settings.choice(&DISTRIBUTION)?,
    };
    let theta = settings.real(&THETA)?;
    let compatible = settings.flag(&YCSB_COMPATIBLE)?;
    if compatible && theta >= 1.0 {
        return Err(Error::config(format!("parameter `theta={theta}` is not usable with `ycsb_compatible=true`"))
            .with_hint("YCSB's method needs a theta below 1"));
    }
    let distribution = match name {
        "uniform" => Distribution::Uniform,
        "hotspot" => Distribution::Hotspot {
            set_fraction: settings.real(&HOT_SET)?,
            operation_fraction: settings.real(&HOT_OPERATIONS)?,
        },
        "latest" => Distribution::Latest { theta },
        "sequential" => Distribution::Sequential,
        "exponential" => Distribution::Exponential,
        _ if compatible => Distribution::ZipfianCompatible { theta },
        _ => Distribution::Zipfian { theta },
    };
    Ok((distribution, name))
}

/// Every parameter with its effective value, and what differs from YCSB.
fn effective(
    settings: &Settings,
    plan: &Plan,
    distribution: &str,
    proportions: &[f64; 5],
) -> Result<BTreeMap<String, Json>> {
    let mut parameters = BTreeMap::new();
    for parameter in &PARAMETERS {
        let value = match parameter.kind {
            ParameterKind::Integer { .. } => json!(settings.integer(parameter)?),
            ParameterKind::Flag => json!(settings.flag(parameter)?),
            ParameterKind::Real { .. } if !settings.text(parameter).is_empty() => json!(settings.real(parameter)?),
            _ => json!(settings.text(parameter)),
        };
        parameters.insert(parameter.name.to_owned(), value);
    }
    for (parameter, proportion) in PROPORTIONS.iter().zip(proportions) {
        parameters.insert(parameter.name.to_owned(), json!(proportion));
    }
    parameters.insert(DISTRIBUTION.name.to_owned(), json!(distribution));
    let mut deviations = Vec::new();
    if matches!(distribution, "zipfian") && !settings.flag(&YCSB_COMPATIBLE)? {
        deviations.push("zipfian is drawn over the records that exist, not over 10^10 hashed items");
    }
    if plan.inserts() {
        deviations.push("a client reads, of the records added during the run, its own acknowledged ones only");
    }
    if plan.verifies {
        deviations.push("values are verified");
    }
    parameters.insert("deviations".to_owned(), json!(deviations));
    Ok(parameters)
}

/// What all clients of an instance share.
struct Plan {
    seed: u64,
    records: u64,
    keys: Keys,
    layout: Layout,
    chooser: KeyChooser,
    mix: Mix,
    /// The verbs that have a part, in the order of the mix.
    verbs: Vec<Verb>,
    scan_length_max: u32,
    read_all_fields: bool,
    write_all_fields: bool,
    /// Whether the rows that are shown are looked at.
    verifies: bool,
}

impl Plan {
    fn inserts(&self) -> bool {
        self.verbs.contains(&Verb::Insert)
    }
}

/// All fields of a record as it is loaded or added. The seed has no part in it: data that is there already serves runs
/// of every seed.
fn write_record(layout: &Layout, record: u64, key: &str, bytes: &mut Vec<u8>) {
    let key_hash = value::key_hash(key.as_bytes());
    let version = mix64(record);
    for field in 0..layout.field_count() {
        layout.write(key_hash, field, version.wrapping_add(u64::from(field)), bytes);
    }
}

/// Makes the records that are loaded.
struct Source {
    keys: Keys,
    layout: Layout,
}

impl RecordSource for Source {
    fn fill(&self, number: u64, record: &mut Record) {
        self.keys.write(number, &mut record.key);
        record.fields.clear();
        write_record(&self.layout, number, &record.key, &mut record.fields);
    }
}

/// YCSB with all its values.
struct YcsbInstance {
    plan: Arc<Plan>,
    variant: &'static str,
    parameters: BTreeMap<String, Json>,
    operations: Vec<&'static str>,
    dataset: Dataset,
    source: Source,
    /// What the clients of the latest run have added.
    logs: Mutex<Vec<Arc<AdditionLog>>>,
    answers_nothing: bool,
}

impl YcsbInstance {
    /// Remembers a client's additions, in place of those of an earlier run: of a client with the same index, or of
    /// all clients where there were more or fewer.
    fn remember(&self, log: Arc<AdditionLog>) {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let spec = log.spec();
        logs.retain(|other| other.spec().of == spec.of && other.spec().index != spec.index);
        logs.push(log);
    }

    /// Numbers of added records that must be there, at most [`verify::SAMPLE`] and a few, from all clients.
    fn sample_added(&self) -> Vec<u64> {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let each = (verify::SAMPLE / logs.len().max(1) as u64).max(1);
        logs.iter().flat_map(|log| log.sample(each)).take(verify::SAMPLE as usize).collect()
    }
}

impl Instance for YcsbInstance {
    fn variant(&self) -> Option<&str> {
        Some(self.variant)
    }

    fn parameters(&self) -> BTreeMap<String, Json> {
        self.parameters.clone()
    }

    fn dataset(&self) -> Option<&Dataset> {
        Some(&self.dataset)
    }

    fn source(&self) -> &dyn RecordSource {
        &self.source
    }

    fn operations(&self) -> &[&'static str] {
        &self.operations
    }

    fn adds_rows(&self) -> bool {
        self.plan.inserts()
    }

    fn client(&self, spec: ClientSpec) -> Box<dyn Client> {
        let additions = Additions::new(self.plan.records, spec);
        if self.plan.inserts() {
            self.remember(additions.log());
        }
        Box::new(YcsbClient::new(Arc::clone(&self.plan), additions, spec))
    }

    fn verify<'a>(&'a self, store: &'a dyn Store) -> LocalBoxFuture<'a, Result<Vec<Check>>> {
        Box::pin(async move {
            if self.answers_nothing {
                return Ok(Vec::new());
            }
            let loaded = verify::sample_loaded(self.plan.records);
            let mut checks =
                vec![verify::check_records(&self.plan, store, &self.dataset, "loaded records", &loaded).await?];
            if self.plan.inserts() {
                let added = self.sample_added();
                checks.push(
                    verify::check_records(&self.plan, store, &self.dataset, "acknowledged inserts", &added).await?,
                );
            }
            Ok(checks)
        })
    }
}
