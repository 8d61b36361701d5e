//! A driver's own operations against the toy store.

use std::sync::Arc;

use store::{Effect, ErrorKind, Operation, Outcome, Request, Result};
use workload::{ClientSpec, Instance, Settings, Turn, WORKLOADS};

use crate::toy::{TOY, Toy, ToyStore, ready, step};

const ONE: ClientSpec = ClientSpec { index: 0, of: 1, depth: 1 };

fn try_configure(settings: &[(&str, &str)]) -> Result<Arc<dyn Instance>> {
    let workload = WORKLOADS.iter().find(|workload| workload.name() == "operations").expect("it is registered");
    let mut typed = Settings::default();
    for (name, value) in settings {
        typed.set(*name, *value);
    }
    workload.configure(&TOY, None, &typed, 1)
}

fn configure(settings: &[(&str, &str)]) -> Arc<dyn Instance> {
    try_configure(settings).expect("the settings are right")
}

#[test]
fn all_operations_run_one_after_another() {
    let instance = configure(&[("rows", "50")]);
    assert_eq!(instance.operations(), ["insert", "select", "update", "delete"]);
    assert_eq!(instance.sequence(), [0, 1, 2, 3]);
    assert_eq!(instance.dataset().expect("rows").namespace().as_str(), "storelab_operations");
    let store = ToyStore::loaded(instance.as_ref());
    let mut clients: Vec<_> = (0..3).map(|index| instance.client(ClientSpec { index, of: 3, depth: 1 })).collect();
    for place in instance.sequence() {
        for client in &mut clients {
            for _ in 0..100 {
                let (done, result) = step(client.as_mut(), &store, Some(*place));
                result.expect("the toy does what it is asked");
                assert_eq!(done, *place);
            }
        }
    }
    assert_eq!(store.data().rows.len(), 50, "what was added was removed");
    let checks = ready(instance.verify(&store)).expect("the toy answers");
    assert!(checks.iter().all(|check| check.passed) && checks.len() == 1, "{checks:?}");
}

#[test]
fn a_delete_without_a_row_adds_one_and_is_counted_as_that() {
    let instance = configure(&[("operations", "delete")]);
    assert_eq!((instance.operations(), instance.sequence()), (&["delete", "insert"][..], &[0][..]));
    let store = ToyStore::loaded(instance.as_ref());
    let mut client = instance.client(ONE);
    let places: Vec<u16> = (0..6)
        .map(|_| {
            let (place, result) = step(client.as_mut(), &store, Some(0));
            result.expect("the toy does what it is asked");
            place
        })
        .collect();
    assert_eq!(places, [1, 0, 1, 0, 1, 0]);
}

#[test]
fn rows_whose_addition_failed_are_not_removed() {
    let instance = configure(&[("mode", "mix"), ("weights", "insert=1,delete=1")]);
    let store = ToyStore::loaded(instance.as_ref());
    store.data().refused_every = 5;
    let mut client = instance.client(ONE);
    for _ in 0..5_000 {
        if let Err(error) = step(client.as_mut(), &store, None).1 {
            assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
        }
    }
}

#[test]
fn a_mix_follows_its_weights() {
    let instance = configure(&[("mode", "mix"), ("weights", "select=9,insert=1,update=0")]);
    assert_eq!((instance.operations(), instance.sequence()), (&["insert", "select"][..], &[][..]));
    assert_eq!(instance.parameters()["weights"], "insert=1,select=9");
    let store = ToyStore::loaded(instance.as_ref());
    let mut client = instance.client(ONE);
    let inserts = (0..10_000).filter(|_| step(client.as_mut(), &store, None).0 == 0).count();
    assert!((900..1_100).contains(&inserts), "{inserts}");
}

#[test]
fn no_effect_is_a_wrong_result() {
    for (operation, wrong) in [("insert", true), ("update", true), ("delete", true), ("select", false)] {
        let instance = configure(&[("operations", operation), ("rows", "5")]);
        let mut client = instance.client(ONE);
        client.next(Turn { token: 0, operation: Some(0) });
        let result = client.complete(0, Ok(Outcome { rows: 0 }));
        assert_eq!(result.err().map(|error| error.kind()), wrong.then_some(ErrorKind::WrongResult), "{operation}");
    }
}

#[test]
fn the_same_client_asks_for_the_same_rows() {
    let instance = configure(&[("mode", "mix")]);
    let rows = |index| -> Vec<(u16, u64)> {
        let mut client = instance.client(ClientSpec { index, of: 2, depth: 1 });
        (0..1_000)
            .map(|_| {
                let Request::Operation { operation, row } = client.next(Turn { token: 0, operation: None }).request
                else {
                    panic!("only operations are asked for")
                };
                client.complete(0, Ok(Outcome { rows: 1 })).expect("it was right");
                (operation, row)
            })
            .collect()
    };
    assert_eq!(rows(0), rows(0));
    assert_ne!(rows(0), rows(1));
    let loaded = rows(0).iter().all(|(operation, row)| (*row < 1_000) == matches!(operation, 1 | 2));
    assert!(loaded, "reads and changes take loaded rows, the others do not");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[("operations", "insert,selct")], "did you mean `select`?"),
        (&[("operations", "xyz")], "it has insert, select, update, delete"),
        (&[("operations", "insert, insert")], "name each operation once; a mix takes `weights`"),
        (&[("weights", "insert=1")], "add mode=mix"),
        (&[("mode", "mix"), ("weights", "insert=0")], "give one operation a weight over 0"),
        (
            &[("mode", "mix"), ("weights", "insert=-1")],
            "write name=number for each operation, separated by commas: insert=1,select=9",
        ),
        (
            &[("mode", "mix"), ("operations", "insert"), ("weights", "select=1")],
            "add it to `operations`, or leave it out of `weights`",
        ),
        (&[("size", "smal")], "did you mean `small`?"),
    ];
    for (settings, hint) in cases {
        let error = try_configure(settings).err().expect("refused");
        assert_eq!((error.kind(), error.hint()), (ErrorKind::Config, Some(hint)), "{settings:?}");
    }
}

#[test]
fn a_driver_that_removes_what_nobody_adds_is_at_fault() {
    static ODD: Toy = Toy { operations: &[Operation::new("delete", Effect::Removes, "")], ..TOY };
    let workload = WORKLOADS.iter().find(|workload| workload.name() == "operations").expect("it is registered");
    let error = workload.configure(&ODD, None, &Settings::default(), 1).err().expect("refused");
    assert_eq!(error.kind(), ErrorKind::Bug);
}
