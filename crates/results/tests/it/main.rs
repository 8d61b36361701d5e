//! The store under what happens to stores: several processes, `kill -9`, a full disk, files of others.
//!
//! The binary is also its own child process, told by `RESULTS_CHILD` what to be. The full disk is a small file system of
//! its own in a mount namespace, which takes root; it is skipped by name where that is missing.

mod artifacts;
mod claims;
mod crash;
mod encrypted;
mod export;
mod files;
mod finding;
#[expect(dead_code, reason = "the unit tests use all of it")]
#[path = "../../src/fixture.rs"]
mod fixture;
mod full;
mod history;
mod on;
mod parts;
mod resuming;
mod schema;
mod servers;
mod sharing;
mod upgrade;

use experiment::{Record, SampleRecord, Sink};
use libtest_mimic::{Arguments, Trial};
use results::{Location, Results};
use uuid::Uuid;

use crate::on::On;

/// What a child process is to be, and the file that it uses after a colon.
const CHILD_VARIABLE: &str = "RESULTS_CHILD";

fn main() {
    if let Ok(child) = std::env::var(CHILD_VARIABLE) {
        let (role, path) = child.split_once(':').expect("a role and a path");
        return match role {
            "sample" => crash::sample_until_killed(&Location::parse(Some(path)).expect("a location")),
            "open" => drop(open(&Location::parse(Some(path)).expect("a location"))),
            "full" => full::fill_and_heal(path.as_ref()),
            other => panic!("no role {other}"),
        };
    }
    let test = |name: &str, run: fn()| {
        Trial::test(name, move || {
            run();
            Ok(())
        })
    };
    let is_root = rustix::process::geteuid().is_root();
    let mut tests = vec![
        test("a full store says so and can be read", full::pages_run_out),
        test("a full disk is survived and healed", full::a_full_disk).with_ignored_flag(!is_root),
        test("files of others are left alone", files::of_others),
        test("newer files are refused", files::newer),
        test("a record fits its published schema", schema::a_record_fits),
        test("the schema requires the published shape", schema::the_shape_is_required),
        test("files of the first version are upgraded", upgrade::of_version_one),
    ];
    tests.extend(On::ALL.into_iter().flat_map(|on| EVERYWHERE.iter().map(move |(name, run)| trial(on, name, *run))));
    tests.extend(SERVERS.iter().map(|(name, run)| trial(On::Postgres, name, *run)));
    let conclusion = libtest_mimic::run(&Arguments::from_args(), tests);
    on::stop_server();
    conclusion.exit();
}

/// A test by its name.
type Named = (&'static str, fn(On));

/// What must hold on either database.
const EVERYWHERE: &[Named] = &[
    ("a run comes back as it was kept", sharing::a_run_comes_back),
    ("several handles share the file", sharing::several_handles),
    ("several threads make one new file", sharing::several_makers),
    ("a run whose process was killed is interrupted", crash::a_killed_run_is_interrupted),
    ("runs are found by id, name and age", finding::by_all),
    ("runs are deleted with all that is theirs", finding::deleted),
    ("files of a run come back and go with it", artifacts::come_back),
    ("files of a run have limits", artifacts::have_limits),
    ("flame graphs are in the report", artifacts::are_in_the_report),
    ("a history is of the completed runs of a name", history::of_a_name),
    ("a history reads other percentiles from histograms", history::other_percentiles),
    ("a history of what no run has is an error", history::of_nothing),
    ("a history fits its published schema", history::a_history_fits),
    ("every format is written, or says why not", export::every_format),
    ("json comes back", export::json),
    ("csv of operations comes back", export::csv_operations),
    ("csv of seconds comes back", export::csv_seconds),
    ("seconds between phases have a total each", export::csv_seconds_between),
    ("parquet says what csv says", export::parquet),
    ("an interval log sums up to the run's histograms", export::hdr_log),
    ("openmetrics has each family once and whole", export::openmetrics),
    ("junit is well formed", export::junit),
    ("markdown holds no markup of others", export::markdown),
    ("runs that are claimed begin once", claims::begin_once),
    ("runs of the dead do not begin", claims::do_not_begin_after_the_death_of_their_process),
    ("runs that were taken away end once", claims::end_once),
    ("runs of the dead end with their parts", claims::end_with_their_parts),
    ("runs that are taken away do not begin", claims::do_not_begin_while_they_are_taken_away),
    ("each part of a run has one owner", parts::each_has_one_owner),
    ("parts start together or not at all", parts::start_together_or_not_at_all),
    ("a silent owner is replaced before the start", parts::a_silent_owner_is_replaced_before_the_start),
    ("a silent owner is lost after the start", parts::a_silent_owner_is_lost_after_the_start),
    ("an orphaned run is left alone", parts::an_orphaned_run_is_left_alone),
    ("a run that goes on ends where it is stopped", resuming::ends_where_it_is_stopped),
];

/// What must hold of a server that others share and that may be started again.
const SERVERS: &[Named] = &[
    ("a server that is started again in mid-run loses nothing", servers::started_again),
    ("a server that crashes in mid-run loses nothing", servers::crashed),
    ("several processes migrate one database", servers::several_migrate),
    ("a schema of others is left alone", servers::of_others),
    ("newer databases are refused", servers::newer),
    ("no message tells the password", servers::secret),
    ("a server is encrypted as it is asked for", encrypted::as_it_is_asked_for),
    ("an owner on another host lives while it is heard of", servers::elsewhere),
];

/// A test on one database, skipped by name where that is not installed.
fn trial(on: On, name: &str, run: fn(On)) -> Trial {
    let missing = if on == On::Postgres { on::missing_server() } else { None };
    let is_skipped = missing.is_some() && !on::is_required();
    let name = match &missing {
        Some(why) => format!("{name} on {} (skipped: {why})", on.name()),
        None => format!("{name} on {}", on.name()),
    };
    let test = Trial::test(name, move || {
        if let Some(why) = missing {
            return Err(why.into());
        }
        run(on);
        Ok(())
    });
    test.with_ignored_flag(is_skipped)
}

fn open(location: &Location) -> Results {
    Results::open(location).expect("the store opens")
}

/// A run of a few seconds, with them.
fn short_run(name: &str) -> (Record, Vec<SampleRecord>, Vec<experiment::HistogramRecord>) {
    let mut samples = Vec::new();
    let shape = fixture::Shape { seconds: 8, rate_per_second: 200, ..fixture::MINUTE };
    let (mut record, histograms) = fixture::run(name, shape, |sample| samples.push(sample));
    record.id = Uuid::now_v7();
    (record, samples, histograms)
}

/// Keeps a whole run.
fn keep(results: &mut Results, name: &str) -> Record {
    let (record, samples, histograms) = short_run(name);
    results.started(&fixture::started(name, record.id)).expect("started");
    for sample in &samples {
        results.sampled(record.id, sample).expect("sampled");
    }
    results.ended(&record, &histograms).expect("ended");
    record
}
