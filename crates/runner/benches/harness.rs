//! The harness alone: operations a second on the null driver, one worker, scheduled and recorded.

#[path = "../tests/it/support.rs"]
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use runner::{Limit, Load};
use support::{count, spec};

const OPERATIONS: u64 = 5_000_000;

fn harness(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("harness");
    group.sample_size(10).throughput(Throughput::Elements(OPERATIONS));
    for sessions in [1, 16] {
        let mut spec = spec("null:", Load::closed(count(sessions), Limit::Count(OPERATIONS)));
        spec.workers = Some(count(1));
        group.bench_function(format!("null, closed, {sessions} sessions"), |bencher| {
            bencher.iter(|| runner::run(&spec, &mut |_| {}).expect("runs"));
        });
    }
    group.finish();
}

criterion_group!(benches, harness);
criterion_main!(benches);
