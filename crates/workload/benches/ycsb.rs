//! What one YCSB operation costs the harness on the side of the workload: choosing it, naming its key, and taking
//! its end. The store is the one that answers nothing, so that nothing else is measured.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use store::{
    Capabilities, Capability, Driver, Error, LocalBoxFuture, Operation, Outcome, Record, Result, Store, Target,
    TargetOption,
};
use workload::{ClientSpec, Progress, Settings, Turn, WORKLOADS};

/// Stands for the store that answers nothing; no connection is made.
struct Nothing;

impl Driver for Nothing {
    fn name(&self) -> &'static str {
        "null"
    }
    fn title(&self) -> &'static str {
        "null"
    }
    fn schemes(&self) -> &'static [&'static str] {
        &["null"]
    }
    fn default_port(&self) -> Option<u16> {
        None
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&[Capability::KeyValue, Capability::OrderedScan])
    }
    fn operations(&self) -> &'static [Operation] {
        &[]
    }
    fn options(&self) -> &'static [TargetOption] {
        &[]
    }
    fn connect<'a>(&'a self, _target: &'a Target) -> LocalBoxFuture<'a, Result<Arc<dyn Store>>> {
        Box::pin(async { Err(Error::unsupported("nothing is connected to in a benchmark")) })
    }
}

fn operations(criterion: &mut Criterion) {
    let ycsb = WORKLOADS.iter().find(|workload| workload.name() == "ycsb").expect("it is registered");
    let mut group = criterion.benchmark_group("ycsb operation");
    let cases = [
        ("c zipfian 10k", "c", "10000", "zipfian"),
        ("c uniform 10k", "c", "10000", "uniform"),
        ("c zipfian 100M", "c", "100000000", "zipfian"),
        ("c latest 100M", "c", "100000000", "latest"),
        ("a zipfian 10k", "a", "10000", "zipfian"),
        ("d latest 10k", "d", "10000", "latest"),
        ("f zipfian 10k", "f", "10000", "zipfian"),
    ];
    for (name, variant, records, distribution) in cases {
        let mut settings = Settings::default();
        settings.set("records", records);
        settings.set("distribution", distribution);
        let instance = ycsb.configure(&Nothing, Some(variant), &settings, 1).expect("the settings are right");
        let mut client = instance.client(ClientSpec { index: 0, of: 1, depth: 1 });
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                black_box(client.next(Turn { token: 0, operation: None }));
                while let Ok(Progress::More) = client.complete(0, Ok(black_box(Outcome { rows: 1 }))) {
                    black_box(client.resume(0));
                }
            });
        });
    }
    group.finish();
}

fn loading(criterion: &mut Criterion) {
    let ycsb = WORKLOADS.iter().find(|workload| workload.name() == "ycsb").expect("it is registered");
    let instance = ycsb.configure(&Nothing, None, &Settings::default(), 1).expect("the defaults are right");
    let (mut record, mut number) = (Record::default(), 0);
    criterion.bench_function("ycsb record", |bencher| {
        bencher.iter(|| {
            number += 1;
            instance.source().fill(number, black_box(&mut record));
        });
    });
}

criterion_group!(benches, operations, loading);
criterion_main!(benches);
