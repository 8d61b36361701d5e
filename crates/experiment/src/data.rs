//! Puts a workload's data into a data store, in parallel, and takes it out again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use runner::Stop;
use store::{Dataset, Error, LoadPart, LoadState, OwnedObject, Result, Store};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use workload::Instance;

/// Rows below which a second loader costs more than it brings.
const ROWS_A_PART_MIN: u64 = 5_000;
/// Loaders at the same time: more only queue at the server.
const PARTS_MAX: u64 = 4;
/// How often progress is told and the stop signal is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Told while a load goes on: rows loaded, of so many.
pub type LoadProgress<'a> = &'a mut dyn FnMut(u64, u64);

/// What was done to have the data there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// The workload needs none.
    NotNeeded,
    /// They were there already, by an earlier `load`.
    Reused,
    /// They were loaded now.
    Loaded,
}

/// A runtime for the calling thread, with I/O and time.
///
/// # Errors
/// `Config` where the host gives no descriptors for one.
pub fn local_runtime() -> Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).map_err(|source| {
        Error::config("a runtime could not be made")
            .with_hint("raise the limit on open files (ulimit -n)")
            .with_source(source)
    })
}

/// Makes sure that the instance's data are there: reuses what an earlier load left where the workload only reads and
/// changes it, else loads anew.
///
/// # Errors
/// The store's own; `Rejected` where it was stopped.
pub fn prepare(
    runtime: &LocalRuntime,
    store: &Arc<dyn Store>,
    instance: &Arc<dyn Instance>,
    sequential: bool,
    stop: &Stop,
    progress: LoadProgress<'_>,
) -> Result<Prepared> {
    let Some(dataset) = instance.dataset() else { return Ok(Prepared::NotNeeded) };
    let state = runtime.block_on(store.load_state(dataset))?;
    if !instance.adds_rows() && state == LoadState::Loaded(dataset.fingerprint()) {
        return Ok(Prepared::Reused);
    }
    load(runtime, store, instance, sequential, stop, progress)?;
    Ok(Prepared::Loaded)
}

/// Loads the instance's data, replacing an earlier load of its namespace.
///
/// # Errors
/// The store's own; `Rejected` where it was stopped.
pub fn load(
    runtime: &LocalRuntime,
    store: &Arc<dyn Store>,
    instance: &Arc<dyn Instance>,
    sequential: bool,
    stop: &Stop,
    progress: LoadProgress<'_>,
) -> Result<()> {
    let Some(dataset) = instance.dataset() else { return Ok(()) };
    let rows = dataset.rows();
    runtime.block_on(store.create(dataset))?;
    let parts = if sequential { 1 } else { (rows / ROWS_A_PART_MIN).clamp(1, PARTS_MAX) };
    let loaded = Arc::new(AtomicU64::new(0));
    let loaders = (0..parts)
        .map(|index| {
            let (store, instance, loaded) = (Arc::clone(store), Arc::clone(instance), Arc::clone(&loaded));
            let (part, stop) = (LoadPart { index, of: parts }, stop.clone());
            thread::Builder::new()
                .name(format!("loader-{index}"))
                .spawn(move || load_part(&*store, &*instance, part, &loaded, &stop))
                .map_err(|source| Error::config("a loader thread could not be started").with_source(source))
        })
        .collect::<Result<Vec<_>>>()?;
    while !loaders.iter().all(thread::JoinHandle::is_finished) {
        thread::park_timeout(POLL);
        progress(loaded.load(Ordering::Relaxed), rows);
    }
    for loader in loaders {
        loader.join().map_err(|_| Error::bug("a loader died"))??;
    }
    runtime.block_on(store.finish_load(dataset))?;
    progress(rows, rows);
    Ok(())
}

fn load_part(
    store: &dyn Store,
    instance: &dyn Instance,
    part: LoadPart,
    loaded: &AtomicU64,
    stop: &Stop,
) -> Result<()> {
    let dataset = instance.dataset().ok_or_else(|| Error::bug("a workload without data is not loaded"))?;
    local_runtime()?.block_on(async {
        tokio::select! {
            result = store.load(dataset, part, instance.source(), loaded) => result,
            () = requested(stop) => Err(interrupted()),
        }
    })
}

/// Waits until a stop is asked for.
async fn requested(stop: &Stop) {
    while !stop.is_requested() {
        tokio::time::sleep(POLL).await;
    }
}

/// The error of work that was stopped.
pub(crate) fn interrupted() -> Error {
    Error::rejected("interrupted")
}

/// Takes out what Storelab made: of one workload's data, or everything.
///
/// # Errors
/// The store's own.
pub fn clean(runtime: &LocalRuntime, store: &dyn Store, dataset: Option<&Dataset>) -> Result<Vec<OwnedObject>> {
    runtime.block_on(store.clean(dataset.map(Dataset::namespace)))
}
