//! An experiment from its plan to its record.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runner::{Ended, Load, RunSpec, Stop};
use store::{Capability, Error, ErrorKind, Result, ServerInfo, Store};
use tokio::runtime::LocalRuntime;
use uuid::Uuid;
use workload::Instance;

use crate::beside::Beside;
use crate::conditions::{Conditions, Placement};
use crate::data::{self, Prepared};
use crate::figures::{fill_figures, generator, histograms, quarter_record, sample_record, server_record};
use crate::floor::harness_floor_us;
use crate::parts::{self, Drive, Driven, Seen};
use crate::plan::Collect;
use crate::profiles::Profiles;
use crate::record::{
    AccountingRecord, CheckRecord, GeneratorRecord, HistogramRecord, OperationRecord, PhaseRecord, Provenance, Record,
    RecoveryRecord, SCHEMA, SampleRecord, ServerRecord, Sink, Status, TargetRecord, Verification, WorkloadRecord,
};
use crate::resume;
use crate::search::{Dimension, SearchPoint, SearchRecord};
use crate::seconds::RunSeconds;
use crate::spec::{Spec, TargetPlan, from_provision};
use crate::threshold::Watch;
use crate::verdict::{Evidence, judge};

/// How long the checks after a run may take: a server that stalls must not hang the run.
const VERIFY_TIMEOUT: Duration = Duration::from_mins(1);
/// How long taking the data out again may take.
const CLEAN_TIMEOUT: Duration = Duration::from_mins(1);
/// How long reading the server's counters may take.
const COUNTERS_TIMEOUT: Duration = Duration::from_secs(2);

/// Drivers whose stores are there to measure the harness: its share of their latencies is no fault.
const HARNESS_STORES: [&str; 2] = ["memory", "null"];

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// A throw-away server is being started.
    Starting(&'a str),
    /// It answers: its URL, the password as `***`.
    Connected(&'a str),
    /// Rows are loaded: so many, of so many.
    Loading(u64, u64),
    /// The data of an earlier load are used.
    Reusing,
    /// The load starts.
    Started(&'a Record),
    /// Agents are waited for that are to drive the load: so many are ready, of so many.
    Waiting(u32, u32),
    /// A load was tried, in a search for the greatest that keeps a condition.
    Searched(&'a SearchPoint, Dimension),
    /// The search is over, and this is the load of the run that follows.
    Found(&'a SearchRecord, &'a Load),
    /// A second has ended.
    Sampled(&'a SampleRecord),
    /// The checks are made.
    Verifying,
    /// Something to know that does not stop the run.
    Warning(&'a str),
}

/// What a run does around the load.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The id of the run, where somebody has promised it already; a new one where not.
    pub run: Option<Uuid>,
    /// What becomes of data that it loads.
    pub data: DataPolicy,
    /// Where the report of a run will be, for its record.
    pub report: &'a dyn Fn(Uuid) -> Option<String>,
    /// Whether the user takes the numbers of a run that its checks call invalid.
    pub accepts_invalid: bool,
}

/// What is done with the data that a run loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataPolicy {
    /// They are taken out again.
    Clean,
    /// They stay.
    Keep,
}

/// A run that has ended.
#[derive(Debug)]
pub struct Finished {
    /// What is published.
    pub record: Record,
    /// The raw histograms.
    pub histograms: Vec<HistogramRecord>,
}

/// A data store that answers, and the throw-away server behind it where there is one.
pub struct Connected {
    /// The specification, without operations that this server cannot do.
    pub spec: Spec,
    /// The data store.
    pub store: Arc<dyn Store>,
    /// What the server says about itself.
    pub info: ServerInfo,
    url: String,
    loopback: bool,
    server: Option<provision::Server>,
    profiles: Profiles,
    /// Who drives the load, where that is not this process.
    drive: Option<Rc<dyn Drive>>,
}

/// Reaches the specification's target, starting a throw-away server where it names one.
///
/// # Errors
/// Those of [`store::Driver::connect`], and of starting a server; `Unsupported` where a flame graph is wanted that cannot be
/// made.
pub fn connect(runtime: &LocalRuntime, spec: Spec, tell: &mut dyn FnMut(Event<'_>)) -> Result<Connected> {
    let profiles = Profiles::find(&spec)?;
    let (target, server) = match &spec.target {
        TargetPlan::Url(target) => (target.clone(), None),
        TargetPlan::Local(name) => {
            tell(Event::Starting(name));
            let engine = provision::engine(name).map_err(from_provision)?;
            let server = provision::Server::start(engine, &provision::Options::default()).map_err(from_provision)?;
            let (_, target) = drivers::resolve(server.url())?;
            (target, Some(server))
        }
    };
    let url = target.to_string();
    let (store, info) = runtime
        .block_on(async {
            let store = spec.driver.connect(&target).await?;
            let info = store.server().await?;
            Ok((store, info))
        })
        .map_err(refused)?;
    tell(Event::Connected(&url));
    let missing: Vec<&'static str> = info
        .operations_missing
        .keys()
        .copied()
        .filter(|name| spec.workload.name() == "operations" && spec.instance.operations().contains(name))
        .collect();
    let spec = if missing.is_empty() {
        spec
    } else {
        for name in &missing {
            tell(Event::Warning(&format!("operation `{name}` is left out: {}", info.operations_missing[name])));
        }
        spec.without_operations(&missing)?
    };
    let loopback = target.is_loopback();
    let mut connected =
        Connected { spec, store, info, url, loopback, server, profiles: Profiles::default(), drive: None };
    connected.profiles = profiles.of(&connected)?;
    Ok(connected)
}

/// A target that refuses us is as far out of reach as one that does not answer.
fn refused(error: Error) -> Error {
    if error.kind() != ErrorKind::Rejected {
        return error;
    }
    let hint = error.hint().map(str::to_owned);
    let ours = Error::unreachable(format!("the target refuses us: {error}")).with_source(error);
    match hint {
        Some(hint) => ours.with_hint(hint),
        None => ours,
    }
}

/// Runs an experiment to its record.
///
/// # Errors
/// What keeps it from being carried out at all. A server that dies under it is not an error but a result.
pub fn run(
    spec: Spec,
    options: Options<'_>,
    sink: &mut dyn Sink,
    stop: &Stop,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Finished> {
    run_by(None, spec, options, sink, stop, tell)
}

/// Runs an experiment whose load is driven from somewhere: by others, each a part of it, or from where another run was cut off.
/// This process loads the data, watches, verifies and judges.
///
/// # Errors
/// As [`run`].
pub fn run_driven(
    drive: Rc<dyn Drive>,
    spec: Spec,
    options: Options<'_>,
    sink: &mut dyn Sink,
    stop: &Stop,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Finished> {
    run_by(Some(drive), spec, options, sink, stop, tell)
}

fn run_by(
    drive: Option<Rc<dyn Drive>>,
    spec: Spec,
    options: Options<'_>,
    sink: &mut dyn Sink,
    stop: &Stop,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Finished> {
    let runtime = data::local_runtime()?;
    let mut connected = connect(&runtime, spec, tell)?;
    connected.drive = drive;
    let finished = run_on(&runtime, &mut connected, options, sink, stop, tell);
    // The connections go before the server that they lead to.
    let Connected { store, server, .. } = connected;
    drop(store);
    drop(runtime);
    if let Some(server) = server {
        server.stop().map_err(from_provision)?;
    }
    finished
}

fn run_on(
    runtime: &LocalRuntime,
    connected: &mut Connected,
    options: Options<'_>,
    sink: &mut dyn Sink,
    stop: &Stop,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Finished> {
    let Connected { spec, store, .. } = connected;
    let blocking = spec.driver.capabilities().has(Capability::BlockingClient);
    let prepared = data::prepare(runtime, store, &spec.instance, blocking, stop, &mut |rows, of| {
        tell(Event::Loading(rows, of));
    });
    if matches!(prepared, Ok(Prepared::Reused)) {
        tell(Event::Reusing);
    }
    let made = !matches!(prepared, Ok(Prepared::Reused | Prepared::NotNeeded));
    let finished = prepared.and_then(|_| measure(runtime, connected, options, sink, stop, tell));
    // Data that this run loaded, or began to, go also when it failed.
    if made && options.data == DataPolicy::Clean {
        clean_up(runtime, connected, tell);
    }
    finished
}

fn clean_up(runtime: &LocalRuntime, connected: &Connected, tell: &mut dyn FnMut(Event<'_>)) {
    let Some(dataset) = connected.spec.instance.dataset() else { return };
    let cleaning = async {
        let clean = connected.store.clean(Some(dataset.namespace()));
        match tokio::time::timeout(CLEAN_TIMEOUT, clean).await {
            Ok(result) => result.map(drop),
            Err(_) => Err(Error::new(ErrorKind::Timeout, format!("no answer within {CLEAN_TIMEOUT:?}"))),
        }
    };
    if let Err(error) = runtime.block_on(cleaning) {
        // A throw-away server takes its data with it.
        if connected.server.is_none() {
            let namespace = dataset.namespace();
            tell(Event::Warning(&format!(
                "the data `{namespace}` could not be taken out ({error}): use `storelab clean` once the server is there"
            )));
        }
    }
}

fn measure(
    runtime: &LocalRuntime,
    connected: &mut Connected,
    options: Options<'_>,
    sink: &mut dyn Sink,
    stop: &Stop,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Finished> {
    if stop.is_requested() {
        return Err(data::interrupted());
    }
    let harness_floor_us = harness_floor_us(runtime)?;
    let mut beside = Beside::new(connected.server_process(), connected.spec.collect.contains(&Collect::Host));
    let mut record = connected.first_record(&beside);
    record.id = options.run.unwrap_or(record.id);
    record.report = (options.report)(record.id);
    record.generator.harness_floor_us = harness_floor_us;
    sink.started(&record)?;
    tell(Event::Started(&record));
    let measured = match find_load(runtime, connected, &mut record, stop, tell) {
        Ok(true) => measure_started(runtime, connected, options, &mut record, &mut beside, sink, stop, tell),
        Ok(false) => {
            end_without_load(runtime, connected, &mut record, stop, tell);
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    };
    match measured {
        Ok(histograms) => {
            sink.ended(&record, &histograms)?;
            Ok(Finished { record, histograms })
        }
        Err(error) => {
            record.status = Status::Failed;
            record.ended_at = Timestamp::now();
            record.verdict.reasons.push(error.to_string());
            // The error itself is what the user must see; that its trace could not be kept either follows from it.
            let _ = sink.ended(&record, &[]);
            Err(error)
        }
    }
}

/// Searches for the load where the plan does so; whether there is one to run at.
fn find_load(
    runtime: &LocalRuntime,
    connected: &mut Connected,
    record: &mut Record,
    stop: &Stop,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<bool> {
    let Some(sought) = connected.spec.sought.clone() else { return Ok(true) };
    let Some(load) = sought.search(runtime, connected, record, stop, tell)? else { return Ok(false) };
    let instance = match connected.fresh(runtime, stop) {
        Err(_) if stop.is_requested() => return Ok(false),
        instance => instance?,
    };
    connected.spec = connected.spec.at(&sought.find, load, instance)?;
    record.load = connected.spec.load_plan.resolved(&connected.spec.load);
    record.phases = connected.spec.load.phases.iter().map(PhaseRecord::expected).collect();
    record.search.iter().for_each(|search| tell(Event::Found(search, &connected.spec.load)));
    Ok(true)
}

/// Closes the record of a search that ended without a load to run at: it was stopped, or found none.
fn end_without_load(
    runtime: &LocalRuntime,
    connected: &Connected,
    record: &mut Record,
    stop: &Stop,
    tell: &mut dyn FnMut(Event<'_>),
) {
    record.ended_at = Timestamp::now();
    record.phases.clear();
    tell(Event::Verifying);
    record.verification = verify(runtime, connected, record);
    let (status, reason) = if stop.is_requested() {
        (Status::Interrupted, "the search was stopped before the run that it was for")
    } else {
        (Status::Completed, "no load that was tried keeps the condition, so no run was made")
    };
    record.status = status;
    record.verdict.reasons.push(reason.to_owned());
}

/// The load itself, and what is found out about it.
#[expect(clippy::too_many_arguments, reason = "what `measure` has and what it has made of that")]
fn measure_started(
    runtime: &LocalRuntime,
    connected: &Connected,
    options: Options<'_>,
    record: &mut Record,
    beside: &mut Beside,
    sink: &mut dyn Sink,
    stop: &Stop,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Vec<HistogramRecord>> {
    let Connected { spec, store, .. } = connected;
    let counters_before = counters(runtime, &**store, &spec.collect);
    let run_spec = connected.run_spec(spec.load.clone(), Arc::clone(&spec.instance), spec.seed, stop);
    let names = spec.instance.operations();
    let mut kept = Ok(());
    let mut seconds = RunSeconds::new(spec.load.phases.len());
    let mut watch = Watch::new(&spec.thresholds, &spec.load.phases, names);
    let watchers = sink.watch();
    let mut profiled = connected.profiles.start()?;
    beside.start();
    let began = Timestamp::now();
    let Driven { outcome, parts, resumed } = connected.drive(record.id, &run_spec, &watchers, &mut |seen| {
        let (seen, sample) = match seen {
            Seen::Waiting { ready, of } => return tell(Event::Waiting(ready, of)),
            Seen::Quarter(quarter) => return sink.glimpsed(record.id, &quarter_record(quarter, names)),
            Seen::Second(seen) => (seen, sample_record(seen, names, beside)),
            Seen::Known(seen, sample) => (seen, sample.clone()),
        };
        seconds.take(seen);
        watch.take(seen, &sample);
        if !stop.is_requested() && watch.ends_the_run() {
            stop.request();
        }
        if kept.is_ok() {
            kept = sink.sampled(record.id, &sample);
            if kept.is_err() {
                stop.request();
            }
        }
        tell(Event::Sampled(&sample));
    })?;
    beside.stop();
    profiled.stop();
    kept?;
    record.ended_at = Timestamp::now();
    let counters_after = counters(runtime, &**store, &spec.collect);
    let histograms = histograms(&outcome, names);
    fill_figures(record, &spec.load, &outcome, names);
    record.generator = generator(&outcome, beside, record.generator.harness_floor_us);
    record.host = beside.host_summary();
    record.server = server_record(&connected.info, beside, counters_before, counters_after);
    tell(Event::Verifying);
    record.verification = verify(runtime, connected, record);
    profiled.keep(record, sink, stop.is_requested());
    record.prometheus = spec.prometheus.as_ref().map(|asked| asked.read(runtime, began, record.ended_at));
    let conditions = connected.conditions(beside);
    record.verdict = judge(&Evidence {
        load: &spec.load,
        phases: &record.phases,
        seconds: &seconds,
        accounting: record.accounting,
        total: &record.total,
        generator: &record.generator,
        conditions: &conditions,
        recovery: record.recovery,
        placement: connected.placement(),
        measures_harness: HARNESS_STORES.contains(&spec.driver.name()),
        interrupted: outcome.interrupted,
        accepts_invalid: options.accepts_invalid,
    });
    record.parts = parts;
    parts::judge(&record.parts, &mut record.verdict);
    resume::judge(resumed.as_ref(), &mut record.verdict);
    record.resumed = resumed;
    record.verdict.thresholds = watch.judge(record, &histograms);
    record.status = if outcome.interrupted { Status::Interrupted } else { Status::Completed };
    Ok(histograms)
}

impl Connected {
    /// Drives a load to its end, from here or from wherever its parts are.
    fn drive(
        &self,
        run: Uuid,
        spec: &RunSpec,
        watchers: &runner::Watch,
        observe: &mut dyn FnMut(Seen<'_>),
    ) -> Result<Driven> {
        if let Some(drive) = &self.drive {
            return drive.drive(run, spec, watchers, observe);
        }
        let outcome = runner::run_watched(spec, watchers, &mut |ended| match ended {
            Ended::Second(sample) => observe(Seen::Second(sample)),
            Ended::Quarter(quarter) => observe(Seen::Quarter(quarter)),
        })?;
        Ok(Driven { outcome, parts: Vec::new(), resumed: None })
    }

    /// A run of that load on it.
    pub(crate) fn run_spec(&self, load: Load, instance: Arc<dyn Instance>, seed: u64, stop: &Stop) -> RunSpec {
        let Spec { load_plan, driver, .. } = &self.spec;
        RunSpec {
            load,
            store: Arc::clone(&self.store),
            instance,
            seed,
            workers: load_plan.workers,
            io: load_plan.io.unwrap_or_default().into(),
            pin: load_plan.pin.unwrap_or_default(),
            blocking_client: driver.capabilities().has(Capability::BlockingClient),
            stop: stop.clone(),
            part: None,
            gate: None,
        }
    }

    /// An instance whose data are as they were loaded, for another run: where runs add or remove rows, or leave others than
    /// they found, both are made anew.
    ///
    /// # Errors
    /// The store's own.
    pub(crate) fn fresh(&self, runtime: &LocalRuntime, stop: &Stop) -> Result<Arc<dyn Instance>> {
        if !self.spec.instance.adds_rows() {
            return Ok(Arc::clone(&self.spec.instance));
        }
        let instance = self.spec.fresh_instance()?;
        let blocking = self.spec.driver.capabilities().has(Capability::BlockingClient);
        data::prepare(runtime, &self.store, &instance, blocking, stop, &mut |_, _| {})?;
        Ok(instance)
    }

    /// The server's process, where it is on this host and its figures are wanted.
    pub(crate) fn server_process(&self) -> Option<u32> {
        if self.spec.collect.contains(&Collect::Server) { self.local_server_process() } else { None }
    }

    /// The server's process, where it is on this host.
    pub(crate) fn local_server_process(&self) -> Option<u32> {
        if self.spec.driver.capabilities().has(Capability::Embedded) {
            return None;
        }
        if let Some(server) = &self.server {
            return Some(server.process_id());
        }
        if !self.loopback {
            return None;
        }
        let TargetPlan::Url(target) = &self.spec.target else { return None };
        let port = target.port().or(self.spec.driver.default_port())?;
        // The port's listener rather than what the server says: a process id from inside a container means nothing here.
        telemetry::listener(port)
    }

    /// Where the store is.
    fn placement(&self) -> Placement {
        if self.spec.driver.capabilities().has(Capability::Embedded) {
            Placement::Embedded
        } else if self.loopback {
            Placement::Beside
        } else {
            Placement::Remote
        }
    }

    /// Under which conditions the load ran. Of a data store of several nodes only the first one's processes are followed,
    /// so what all of them used is not known.
    fn conditions(&self, beside: &Beside) -> Conditions {
        let is_one_node = match &self.spec.target {
            TargetPlan::Local(_) => true,
            TargetPlan::Url(target) => target.option("nodes").is_none(),
        };
        let conditions = beside.conditions();
        Conditions { server_cpu_seconds: conditions.server_cpu_seconds.filter(|_| is_one_node), ..conditions }
    }

    /// The record as far as it is known before the load starts.
    fn first_record(&self, beside: &Beside) -> Record {
        let spec = &self.spec;
        let now = Timestamp::now();
        Record {
            schema: SCHEMA.to_owned(),
            id: Uuid::now_v7(),
            name: spec.name.clone(),
            status: Status::Running,
            started_at: now,
            ended_at: now,
            seed: spec.seed,
            target: TargetRecord {
                driver: spec.driver.name().to_owned(),
                url: self.url.clone(),
                server: self.info.version.clone(),
            },
            workload: WorkloadRecord {
                name: spec.workload.name().to_owned(),
                variant: spec.instance.variant().map(str::to_owned),
                parameters: spec.instance.parameters(),
            },
            load: spec.load_plan.resolved(&spec.load),
            accounting: AccountingRecord::default(),
            duration_seconds: 0.0,
            throughput_per_second: 0.0,
            operations: Vec::new(),
            total: OperationRecord::default(),
            phases: spec.load.phases.iter().map(PhaseRecord::expected).collect(),
            generator: GeneratorRecord::default(),
            recovery: RecoveryRecord::default(),
            host: serde_json::Value::Null,
            server: ServerRecord { settings: self.info.settings.clone(), ..ServerRecord::default() },
            verification: Verification::default(),
            verdict: crate::record::Verdict::default(),
            search: None,
            error_messages: Vec::new(),
            prometheus: None,
            profiles: Vec::new(),
            parts: Vec::new(),
            resumed: None,
            provenance: Provenance { storelab: env!("CARGO_PKG_VERSION").to_owned(), host: beside.provenance() },
            report: None,
        }
    }
}

fn counters(runtime: &LocalRuntime, store: &dyn Store, collect: &[Collect]) -> Result<store::Counters> {
    if !collect.contains(&Collect::Server) {
        return Ok(store::Counters::new());
    }
    runtime.block_on(async {
        tokio::time::timeout(COUNTERS_TIMEOUT, store.counters())
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, format!("no answer within {COUNTERS_TIMEOUT:?}"))))
    })
}

/// Whether the data are right: no operation read what had not been written, and the workload's own checks hold.
fn verify(runtime: &LocalRuntime, connected: &Connected, record: &Record) -> Verification {
    let wrong =
        record.phases.iter().filter_map(|phase| phase.total.errors.get(ErrorKind::WrongResult.name())).sum::<u64>();
    let mut checks = vec![CheckRecord {
        name: "every operation read what had been written".to_owned(),
        passed: wrong == 0,
        detail: format!("{wrong} wrong results"),
    }];
    if connected.drive.is_some() && connected.spec.instance.adds_rows() {
        // What was added is known to those that added it.
        return Verification { passed: wrong == 0, checks };
    }
    let made = runtime.block_on(async {
        tokio::time::timeout(VERIFY_TIMEOUT, connected.spec.instance.verify(&*connected.store))
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, format!("no answer within {VERIFY_TIMEOUT:?}"))))
    });
    match made {
        Ok(made) => checks.extend(made.into_iter().map(|check| CheckRecord {
            name: check.name,
            passed: check.passed,
            detail: check.detail,
        })),
        Err(error) => checks.push(CheckRecord {
            name: UNVERIFIED.to_owned(),
            passed: false,
            detail: format!("{}: {error}", error.kind()),
        }),
    }
    Verification { passed: checks.iter().all(|check| check.passed), checks }
}

/// The name of the check that stands for those that could not be made.
pub const UNVERIFIED: &str = "the data could be checked";
