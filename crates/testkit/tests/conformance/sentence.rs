//! A sentence of the contract, and how it becomes a trial on a target.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use libtest_mimic::{Completion, Failed, Trial};
use provision::Engine;
use reactor::Reactor;
use store::{Driver, LocalBoxFuture, Target};
use testkit::{TestTarget, Way};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

use crate::lab::Lab;
use crate::matrix::{self, Outcome};
use crate::raw::{Alone, Commands, side};

/// The contract has no sentence that takes this long: whoever does hangs. Generous, as the machine may be busy.
const TRIAL_TIMEOUT: Duration = Duration::from_mins(3);

type Run = Box<dyn for<'a> FnOnce(&'a Lab) -> LocalBoxFuture<'a, Completion> + Send>;

/// A sentence of the contract, with what shows that it holds.
pub(crate) struct Sentence {
    name: String,
    /// What it is about, for the matrix: an operation, or a part of the contract.
    group: String,
    alone: bool,
    run: Run,
}

/// A sentence that a function shows by not panicking.
pub(crate) fn says(name: impl Into<String>, show: impl AsyncFnOnce(&Lab) + Send + 'static) -> Sentence {
    may_skip(name, async move |lab: &Lab| {
        show(lab).await;
        Completion::Completed
    })
}

/// A sentence of which only the target's server says whether it can be shown.
pub(crate) fn may_skip(
    name: impl Into<String>,
    show: impl AsyncFnOnce(&Lab) -> Completion + Send + 'static,
) -> Sentence {
    let run = boxed(move |lab| Box::pin(async move { show(lab).await }));
    Sentence { name: name.into(), group: String::new(), alone: false, run }
}

/// Tells the compiler what the closure is.
fn boxed(run: impl for<'a> FnOnce(&'a Lab) -> LocalBoxFuture<'a, Completion> + Send + 'static) -> Run {
    Box::new(run)
}

impl Sentence {
    /// The same, in a database where nobody else is.
    pub(crate) fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// The same, as part of a group unless it has one already.
    pub(crate) fn about(mut self, group: &str) -> Self {
        if self.group.is_empty() {
            group.clone_into(&mut self.group);
        }
        self
    }

    /// As a trial on a target.
    pub(crate) fn trial(self, driver: &'static dyn Driver, target: &TestTarget) -> Trial {
        let name = format!("{}::{}::{}", driver.name(), target.name(), self.name);
        let target = target.clone();
        count_trial(&target, 1);
        Trial::ignorable_test(name, move || {
            let (group, target_name) = (self.group.clone(), target.name().to_owned());
            // What panics has failed, and has said so by then.
            let ended = std::panic::catch_unwind(AssertUnwindSafe(|| self.run(driver, &target)));
            let outcome = match &ended {
                Ok(Ok(Completion::Completed)) => Outcome::Passed,
                Ok(Ok(Completion::Ignored { reason })) => Outcome::Skipped(reason.clone().unwrap_or_default()),
                Ok(Err(_)) | Err(_) => Outcome::Failed,
            };
            matrix::record(driver.name(), &target_name, &group, outcome);
            // Idle servers take memory and processor time from those whose turn it is.
            if count_trial(&target, -1) == 0
                && let Some(engine) = target.engine()
            {
                testkit::stop_servers_of(engine);
            }
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// As a trial of an engine that is not installed: skipped, or failed where everything is required.
    pub(crate) fn missing(self, driver: &'static dyn Driver, missing: &testkit::Missing) -> Trial {
        let (reason, is_quick) = (missing.reason.clone(), missing.is_quick);
        let target = missing.name;
        Trial::ignorable_test(format!("{}::{target}::{}", driver.name(), self.name), move || {
            matrix::record(driver.name(), target, &self.group, Outcome::Skipped(reason.clone()));
            if testkit::engines_are_required() && is_quick {
                return Err(Failed::from(reason));
            }
            Ok(Completion::ignored_with(reason))
        })
    }

    fn run(self, driver: &'static dyn Driver, target: &TestTarget) -> Result<Completion, Failed> {
        if self.alone && target.is_given() {
            return Ok(Completion::ignored_with("needs a database of its own"));
        }
        // Where a server has one database for all, whoever must be alone keeps the others off it.
        let turn = turn_of(target.server_name());
        let has_one_database = side(driver).is_some_and(|entry| matches!(entry.alone, Alone::Server));
        let shares_server = has_one_database || target.is_cluster();
        let _turn = match (shares_server, self.alone) {
            (false, _) => (None, None),
            (true, false) => (Some(turn.read().unwrap_or_else(PoisonError::into_inner)), None),
            (true, true) => (None, Some(turn.write().unwrap_or_else(PoisonError::into_inner))),
        };
        let url = target.url()?;
        let _emptied = (self.alone && target.is_cluster()).then(|| Emptied::new(&url));
        let reactor = match target.way() {
            Way::Reactor => match Reactor::new() {
                Ok(reactor) => Some(reactor),
                Err(error) => {
                    return Ok(Completion::ignored_with(format!("the kernel has no io_uring for us: {error}")));
                }
            },
            Way::Poller | Way::Encrypted => None,
        };
        let _current = reactor.as_ref().map(Reactor::enter);
        let runtime = runtime();
        let trial = async {
            if let Some(reactor) = reactor.clone() {
                tokio::task::spawn_local(async move {
                    loop {
                        poll_fn(|context| reactor.poll_round(context)).await.expect("the kernel goes on");
                    }
                });
            }
            let lab = Lab::open(driver, target, &url, self.alone).await;
            if matrix::wants_version(target.name())
                && let Ok(server) = lab.store.server().await
            {
                matrix::record_version(target.name(), server.version);
            }
            let completion = (self.run)(&lab).await;
            lab.close().await;
            completion
        };
        runtime
            .block_on(async { tokio::time::timeout(TRIAL_TIMEOUT, trial).await })
            .map_err(|_| Failed::from(format!("hangs: no end within {} s", TRIAL_TIMEOUT.as_secs())))
    }
}

/// A cluster of ours without any key, before a trial that has it to itself and after it, however it ended.
struct Emptied(Target);

impl Emptied {
    fn new(url: &str) -> Self {
        let emptied = Self(Target::parse(url).expect("provision writes URLs"));
        Commands::connect(&emptied.0).remove_everything();
        emptied
    }
}

impl Drop for Emptied {
    fn drop(&mut self) {
        Commands::connect(&self.0).remove_everything();
    }
}

/// Changes how many trials are still to come with an engine, and says how many those are.
fn count_trial(target: &TestTarget, change: i64) -> i64 {
    static LEFT: Mutex<BTreeMap<&'static str, i64>> = Mutex::new(BTreeMap::new());
    let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
    let left = left.entry(target.engine().map_or("", Engine::name)).or_default();
    *left += change;
    *left
}

/// Whose turn it is on a target's server.
fn turn_of(target: &str) -> &'static RwLock<()> {
    static TURNS: Mutex<BTreeMap<String, &'static RwLock<()>>> = Mutex::new(BTreeMap::new());
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.entry(target.to_owned()).or_insert_with(|| Box::leak(Box::default()))
}

/// What a worker's thread runs.
pub(crate) fn runtime() -> LocalRuntime {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    runtime.expect("a thread can have a runtime")
}
