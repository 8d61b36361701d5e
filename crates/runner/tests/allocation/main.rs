//! After warm-up the runner allocates nothing per operation. A binary of its own: the count is of the whole process.

#[path = "../it/support.rs"]
#[expect(dead_code, reason = "shared with the other test binary, which uses all of it")]
mod support;

use runner::{Arrivals, Limit, Load};
use support::{count, rate, spec};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Allocations of a whole run, on all threads.
fn allocations(load: &Load) -> u64 {
    let spec = spec("null:", load.clone());
    let before = dhat::HeapStats::get().total_blocks;
    let outcome = runner::run(&spec, &mut |_| {}).expect("runs");
    assert!(outcome.phases[0].accounting.is_exact());
    dhat::HeapStats::get().total_blocks - before
}

#[test]
fn ten_times_the_operations_allocate_no_more() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let closed = |operations| {
        let mut load = Load::closed(count(8), Limit::Count(operations));
        load.depth = count(2);
        load
    };
    let open = |operations| Load::open(count(8), rate(100_000.0), Arrivals::Poisson, Limit::Count(operations));
    for (name, few, many) in [("closed", closed(20_000), closed(200_000)), ("open", open(10_000), open(100_000))] {
        let (few, many) = (allocations(&few), allocations(&many));
        // Seconds that end, and queues that grow to their size, may allocate; operations may not.
        assert!(many < few + 500, "{name}: {few} allocations for few operations, {many} for ten times as many");
    }
}
