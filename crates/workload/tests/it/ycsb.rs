//! YCSB against the toy store.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use statrs::distribution::{ChiSquared, ContinuousCDF};
use store::{Capabilities, Capability, Dataset, Driver, ErrorKind, Outcome, Request, Result, Value};
use workload::{ClientSpec, Instance, Progress, Settings, Turn, WORKLOADS};

use crate::toy::{TOY, Toy, ToyStore, ready, step};

const ONE: ClientSpec = ClientSpec { index: 0, of: 1, depth: 1 };

fn try_configure(
    driver: &'static dyn Driver,
    variant: &str,
    settings: &[(&str, &str)],
    seed: u64,
) -> Result<Arc<dyn Instance>> {
    let workload = WORKLOADS.iter().find(|workload| workload.name() == "ycsb").expect("it is registered");
    let mut typed = Settings::default();
    for (name, value) in settings {
        typed.set(*name, *value);
    }
    workload.configure(driver, Some(variant), &typed, seed)
}

fn configure(variant: &str, settings: &[(&str, &str)], seed: u64) -> Arc<dyn Instance> {
    try_configure(&TOY, variant, settings, seed).expect("the settings are right")
}

/// The first operations of a client as text, all of them answered well.
fn operations(instance: &dyn Instance, spec: ClientSpec, count: usize) -> Vec<String> {
    let mut client = instance.client(spec);
    (0..count)
        .map(|_| {
            let call = client.next(Turn { token: 0, operation: None });
            let mut text = format!("{} {:?}", call.operation, call.request);
            while let Ok(Progress::More) = client.complete(0, Ok(Outcome { rows: 1 })) {
                write!(text, "{:?}", client.resume(0)).expect("memory takes text");
            }
            text
        })
        .collect()
}

#[test]
fn the_same_seed_gives_the_same_operations() {
    // Small fields keep the texts small; 100,000 operations of the cheapest variant, fewer of the others.
    static NULL: Toy = Toy { name: "null", ..TOY };
    for (variant, count) in [("a", 5_000), ("c", 100_000), ("d", 20_000), ("e", 5_000), ("f", 5_000)] {
        let make = |seed, index| {
            let settings = [("field_length", "20"), ("field_count", "2")];
            let instance = try_configure(&NULL, variant, &settings, seed).expect("the settings are right");
            operations(instance.as_ref(), ClientSpec { index, of: 2, depth: 1 }, count)
        };
        let first = make(1, 0);
        assert!(first == make(1, 0), "{variant}: the same again");
        assert!(first != make(2, 0), "{variant}: another seed");
        assert!(first != make(1, 1), "{variant}: another client");
    }
}

#[test]
fn every_variant_runs_and_verifies_in_its_proportions() {
    const OPERATIONS: u32 = 20_000;
    let expected: [(&str, &[(&str, f64)]); 6] = [
        ("a", &[("read", 0.5), ("update", 0.5)]),
        ("b", &[("read", 0.95), ("update", 0.05)]),
        ("c", &[("read", 1.0)]),
        ("d", &[("read", 0.95), ("insert", 0.05)]),
        ("e", &[("insert", 0.05), ("scan", 0.95)]),
        ("f", &[("read", 0.5), ("read_modify_write", 0.5)]),
    ];
    for (variant, parts) in expected {
        let instance = configure(variant, &[("records", "500"), ("scan_length_max", "5")], 3);
        let store = ToyStore::loaded(instance.as_ref());
        assert!(instance.operations().iter().eq(parts.iter().map(|(name, _)| name)), "{variant}");
        let mut counts = vec![0_u32; parts.len()];
        let mut clients: Vec<_> = (0..2).map(|index| instance.client(ClientSpec { index, of: 2, depth: 1 })).collect();
        for turn in 0..OPERATIONS {
            let (place, result) = step(clients[turn as usize % 2].as_mut(), &store, None);
            result.expect("the toy keeps what it is given");
            counts[usize::from(place)] += 1;
        }
        if parts.len() > 1 {
            let statistic: f64 = parts
                .iter()
                .zip(&counts)
                .map(|((_, part), count)| (f64::from(*count), part * f64::from(OPERATIONS)))
                .map(|(count, expected)| (count - expected).powi(2) / expected)
                .sum();
            let limit = ChiSquared::new((parts.len() - 1) as f64).expect("two parts").inverse_cdf(0.99);
            assert!(statistic < limit, "{variant}: {counts:?}");
        }
        let checks = ready(instance.verify(&store)).expect("the toy answers");
        assert!(checks.iter().all(|check| check.passed), "{checks:?}");
        assert_eq!(checks.len(), if matches!(variant, "d" | "e") { 2 } else { 1 }, "{checks:?}");
    }
}

#[test]
fn every_distribution_and_switch_runs_and_verifies() {
    for distribution in ["uniform", "zipfian", "hotspot", "latest", "sequential", "exponential"] {
        for (name, value) in [
            ("read_all_fields", "false"),
            ("write_all_fields", "true"),
            ("key_order", "ordered"),
            ("ycsb_compatible", "true"),
            ("data_integrity", "false"),
            ("field_length", "7"),
        ] {
            let all = [
                ("records", "50"),
                ("distribution", distribution),
                (name, value),
                ("update_proportion", "0.2"),
                ("insert_proportion", "0.2"),
                ("scan_proportion", "0.2"),
            ];
            let instance = configure("f", &all, 4);
            let store = ToyStore::loaded(instance.as_ref());
            let mut client = instance.client(ONE);
            for _ in 0..1_000 {
                step(client.as_mut(), &store, None).1.unwrap_or_else(|error| panic!("{all:?}: {error}"));
            }
            let checks = ready(instance.verify(&store)).expect("the toy answers");
            assert!(checks.iter().all(|check| check.passed), "{all:?}: {checks:?}");
        }
    }
}

#[test]
fn inserts_that_fail_are_not_read() {
    let instance = configure("d", &[("records", "100"), ("insert_proportion", "0.5")], 5);
    let store = ToyStore::loaded(instance.as_ref());
    store.data().refused_every = 7;
    let mut client = instance.client(ONE);
    let mut refused = 0;
    for _ in 0..10_000 {
        if let Err(error) = step(client.as_mut(), &store, None).1 {
            assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
            refused += 1;
        }
    }
    assert!(refused > 1_000);
    store.data().refused_every = 0;
    let checks = ready(instance.verify(&store)).expect("the toy answers");
    assert!(checks.iter().all(|check| check.passed), "{checks:?}");
}

#[test]
fn what_was_not_written_is_a_wrong_result() {
    type Damage = fn(&mut BTreeMap<String, Vec<Vec<u8>>>);
    let damages: [(&str, Damage, &str); 6] = [
        ("c", BTreeMap::clear, "is not there"),
        ("c", |records| records.values_mut().for_each(|record| record[3][50] ^= 1), "field3 differs"),
        ("c", |records| records.values_mut().for_each(|record| record.swap(1, 2)), "field1 was never written"),
        ("c", |records| records.values_mut().for_each(|record| record.truncate(9)), "9 of 10 fields"),
        ("e", |records| records.values_mut().for_each(|record| record[0].push(b'x')), "field0 of `user"),
        ("a", BTreeMap::clear, "is not there"),
    ];
    for (variant, damage, expected) in damages {
        let instance = configure(variant, &[("records", "100")], 6);
        let store = ToyStore::loaded(instance.as_ref());
        damage(&mut store.data().records);
        let mut client = instance.client(ONE);
        let error = (0..1_000).find_map(|_| step(client.as_mut(), &store, None).1.err()).expect("it is found");
        assert_eq!(error.kind(), ErrorKind::WrongResult);
        assert!(error.to_string().contains(expected) && error.to_string().contains("key `user"), "{error}");
        let checks = ready(instance.verify(&store)).expect("the toy answers");
        assert!(checks.iter().any(|check| !check.passed), "{checks:?}");
    }
}

#[test]
fn scans_must_be_in_order_from_the_start_and_within_the_limit() {
    // Rows by their distance from the start, how many of them are counted, and what is wrong with that.
    let answers: [(&[usize], u64, &str); 5] = [
        (&[1], 1, "begins at `user"),
        (&[0, 0], 2, "behind `user"),
        (&[0, 2, 1], 3, "behind `user"),
        (&[0, 1], 1, "counted 1 and shown 2"),
        (&[], 0, "is not there"),
    ];
    let settings = [("records", "100"), ("insert_proportion", "0"), ("field_count", "1"), ("field_length", "4")];
    let instance = configure("e", &settings, 7);
    let records: Vec<(String, Vec<u8>)> = {
        let store = ToyStore::loaded(instance.as_ref());
        store.data().records.iter().map(|(key, fields)| (key.clone(), fields[0].clone())).collect()
    };
    let mut client = instance.client(ONE);
    for (shown, rows, expected) in answers {
        // A scan that has room for three rows and does not start at the end.
        let start = loop {
            let Request::Scan { start, limit } = client.next(Turn { token: 0, operation: None }).request else {
                panic!("only scans were asked for");
            };
            let place = records.iter().position(|(key, _)| key == start).expect("it starts at a record");
            if limit >= 3 && place < 90 {
                break place;
            }
        };
        client.begin(0);
        for distance in shown {
            let (key, value) = &records[start + distance];
            client.row(Some(key));
            client.value(0, Value::Bytes(value));
        }
        let error = client.complete(0, Ok(Outcome { rows })).expect_err("it is wrong");
        assert_eq!(error.kind(), ErrorKind::WrongResult);
        assert!(error.to_string().contains(expected), "{error}");
    }
    client.next(Turn { token: 0, operation: None });
    client.row(None);
    let error = client.complete(0, Ok(Outcome { rows: 1 })).expect_err("it is wrong");
    assert!(error.to_string().contains("without its key"), "{error}");
}

#[test]
fn the_store_that_answers_nothing_is_not_verified() {
    static NULL: Toy = Toy { name: "null", ..TOY };
    for variant in ["a", "c", "d", "e", "f"] {
        let instance = try_configure(&NULL, variant, &[], 1).expect("the settings are right");
        assert_eq!(operations(instance.as_ref(), ONE, 1_000).len(), 1_000);
        assert_eq!(ready(instance.verify(&ToyStore::default())).expect("nothing is asked"), []);
    }
}

#[test]
fn requests_overlap_by_token() {
    let instance = configure("f", &[("records", "100")], 8);
    let store = ToyStore::loaded(instance.as_ref());
    let mut client = instance.client(ClientSpec { index: 0, of: 1, depth: 4 });
    let keys: Vec<String> = (0..4)
        .map(|token| match client.next(Turn { token, operation: None }).request {
            Request::Read { key, .. } => key.to_owned(),
            other => panic!("f begins with reads: {other:?}"),
        })
        .collect();
    for token in [2, 0, 3, 1] {
        client.begin(token);
        client.row(None);
        for (field, value) in store.data().records[&keys[token as usize]].iter().enumerate() {
            client.value(field, Value::Bytes(value));
        }
        if client.complete(token, Ok(Outcome { rows: 1 })).expect("right") == Progress::More {
            let Request::Update { key, .. } = client.resume(token) else { panic!("a write follows") };
            assert_eq!(key, keys[token as usize]);
            assert_eq!(client.complete(token, Ok(Outcome { rows: 1 })).expect("right"), Progress::Done);
        }
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    type Typed = &'static [(&'static str, &'static str)];
    let cases: [(&str, Typed, &str, &str); 7] = [
        ("g", &[], "no variant `g`", "it has a, b, c, d, e, f"),
        ("a", &[("recrods", "1")], "no parameter `recrods`", "did you mean `records`?"),
        ("a", &[("records", "0")], "`records=0`", "use a whole number from 1 to 4294967295"),
        ("a", &[("distribution", "zipf")], "`distribution=zipf`", "did you mean `zipfian`?"),
        ("a", &[("read_proportion", "1.5")], "`read_proportion=1.5`", "use a number from 0 to 1"),
        (
            "c",
            &[("read_proportion", "0")],
            "are 0",
            "give one of read, update, insert, scan and read_modify_write a part",
        ),
        ("a", &[("ycsb_compatible", "true"), ("theta", "1")], "`theta=1`", "YCSB's method needs a theta below 1"),
    ];
    for (variant, settings, message, hint) in cases {
        let error = try_configure(&TOY, variant, settings, 1).err().expect("refused");
        assert_eq!((error.kind(), error.hint()), (ErrorKind::Config, Some(hint)));
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn scans_need_a_store_that_has_them() {
    static UNORDERED: Toy = Toy { capabilities: Capabilities::of(&[Capability::KeyValue]), ..TOY };
    assert!(try_configure(&UNORDERED, "a", &[], 1).is_ok());
    assert_eq!(try_configure(&UNORDERED, "e", &[], 1).err().expect("refused").kind(), ErrorKind::Unsupported);
}

#[test]
fn an_instance_tells_all_its_values() {
    let instance = configure("D", &[("update_proportion", "0.95"), ("key_order", "ordered")], 1);
    let parameters = instance.parameters();
    assert_eq!(instance.variant(), Some("d"));
    assert_eq!(parameters["records"], 10_000);
    assert_eq!(parameters["distribution"], "latest");
    assert!((parameters["update_proportion"].as_f64().expect("a number") - 0.95 / 1.95).abs() < 1e-9);
    assert_eq!(parameters["deviations"].as_array().expect("a list").len(), 2);
    let Some(Dataset::Records(table)) = instance.dataset() else { panic!("YCSB has records") };
    assert_eq!((table.namespace.as_str(), table.table, table.field_count), ("storelab_ycsb", "usertable", 10));
    assert_ne!(
        instance.dataset().map(Dataset::fingerprint),
        configure("d", &[], 1).dataset().map(Dataset::fingerprint),
        "other keys are other data"
    );
}
