//! Flame graphs of a run: of the server's processes, of the generator, or of both.

use std::process;
use std::time::Duration;

use store::{Capability, Error, Result};
use telemetry::{Profile, ProfileError, Profiler, Profiling, SAMPLES_PER_SECOND, hottest};

use crate::plan::Collect;
use crate::record::{Artifact, HotFunctionRecord, ProfileRecord, Record, Sink};
use crate::run::Connected;
use crate::spec::{Spec, TargetPlan};

/// Functions that a record names; the flame graph has them all.
const HOT_FUNCTIONS_MAX: usize = 10;

/// Whoever listens on a container's published port, and is not the server.
pub(crate) const PORT_FORWARDERS: [&str; 3] = ["docker-proxy", "rootlessport", "slirp4netns"];

/// How long drawing may take: symbols of a large server are looked up.
const PATIENCE: Duration = Duration::from_mins(2);
/// The same where somebody waits for the end: a service that was told to stop is gone within ten seconds.
const PATIENCE_STOPPED: Duration = Duration::from_secs(4);

/// Whose processor time is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Server,
    Generator,
}

impl Subject {
    /// Those that a plan asks for.
    fn asked_for(collect: &[Collect]) -> impl Iterator<Item = Self> {
        let all = [(Collect::Flamegraph, Self::Server), (Collect::FlamegraphGenerator, Self::Generator)];
        all.into_iter().filter(|(what, _)| collect.contains(what)).map(|(_, subject)| subject)
    }

    /// The name in records, files and flags.
    const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Generator => "generator",
        }
    }
}

/// Refuses a server that cannot be profiled from here, as far as its address and its driver tell.
///
/// # Errors
/// `Unsupported`, with the reason and the remedy.
pub(crate) fn check(spec: &Spec) -> Result<()> {
    if !spec.collect.contains(&Collect::Flamegraph) {
        return Ok(());
    }
    let refused = |why: &str, remedy: &'static str| {
        Err(Error::unsupported(format!("`flamegraph` cannot be collected: {why}")).with_hint(remedy))
    };
    if spec.driver.capabilities().has(Capability::Embedded) {
        return refused("the store runs inside of the generator", "collect `flamegraph_generator` instead");
    }
    match &spec.target {
        TargetPlan::Url(target) if !target.is_loopback() => {
            refused("the server is on another host", "run where the server runs, or leave it out of `collect`")
        }
        _ => Ok(()),
    }
}

/// What is to be profiled during a run.
#[derive(Debug, Default)]
pub(crate) struct Profiles {
    profiler: Option<Profiler>,
    subjects: Vec<(Subject, Vec<u32>)>,
}

impl Profiles {
    /// Finds the profiler where the plan wants one, before any connection is opened.
    ///
    /// # Errors
    /// `Unsupported`, where it is missing or not permitted.
    pub(crate) fn find(spec: &Spec) -> Result<Self> {
        let is_asked_for = Subject::asked_for(&spec.collect).next().is_some();
        let profiler = is_asked_for.then(Profiler::find).transpose().map_err(|error| refused(&error))?;
        Ok(Self { profiler, subjects: Vec::new() })
    }

    /// Finds the processes, once there is a server.
    ///
    /// # Errors
    /// `Unsupported`, where the server's are not known.
    pub(crate) fn of(self, connected: &Connected) -> Result<Self> {
        let subjects = Subject::asked_for(&connected.spec.collect).map(|subject| match subject {
            Subject::Generator => Ok((subject, vec![process::id()])),
            Subject::Server => Ok((subject, server_processes(connected)?)),
        });
        Ok(Self { subjects: subjects.collect::<Result<_>>()?, ..self })
    }

    /// Starts to sample; it goes on until the returned is stopped.
    ///
    /// # Errors
    /// `Unsupported`, where processes are gone or belong to somebody else.
    pub(crate) fn start(&self) -> Result<Profiled> {
        let Some(profiler) = &self.profiler else { return Ok(Profiled(Vec::new())) };
        let started = self.subjects.iter().map(|(subject, processes)| {
            let profiling = profiler.start(processes).map_err(|error| refused(&error))?;
            Ok((*subject, profiling))
        });
        started.collect::<Result<_>>().map(Profiled)
    }
}

/// The processes of the server as they are now: those to come are followed.
fn server_processes(connected: &Connected) -> Result<Vec<u32>> {
    let unknown = |why: &str, remedy: &'static str| {
        Error::unsupported(format!("`flamegraph` cannot be collected: {why}")).with_hint(remedy)
    };
    let Some(server) = connected.local_server_process() else {
        return Err(unknown(
            "the server's process cannot be found on this host",
            "run as the user whom the server runs as, or as root, and outside of containers",
        ));
    };
    let name = std::fs::read_to_string(format!("/proc/{server}/comm")).unwrap_or_default();
    if PORT_FORWARDERS.contains(&name.trim()) {
        return Err(unknown(
            "what listens there only forwards to a container",
            "give the address of the server itself, or run without a container: `local:NAME`",
        ));
    }
    Ok(provision::process_tree(server))
}

fn refused(error: &ProfileError) -> Error {
    let remedy = format!("{}; or leave flame graphs out of `collect`", error.remedy());
    Error::unsupported(format!("no flame graph can be made: {error}")).with_hint(remedy)
}

/// Profiles that are being taken.
#[derive(Debug)]
pub(crate) struct Profiled(Vec<(Subject, Profiling)>);

impl Profiled {
    /// Ends the sampling, of all at once.
    pub(crate) fn stop(&mut self) {
        self.0.iter_mut().for_each(|(_, profiling)| profiling.stop());
    }

    /// Draws them, hands them to the sink and notes them in the record. What fails here does not spoil the run, whose
    /// figures are there: the record says why a picture is not.
    pub(crate) fn keep(self, record: &mut Record, sink: &mut dyn Sink, is_stopped: bool) {
        let patience = if is_stopped { PATIENCE_STOPPED } else { PATIENCE };
        for (subject, profiling) in self.0 {
            let title = format!("{} of {}", subject.name(), record.name);
            let kept = match profiling.finish(&title, patience) {
                Ok(profile) => keep_one(subject, profile, record, sink),
                Err(error) => ProfileRecord::missing(subject.name(), format!("{error}: {}", error.remedy())),
            };
            record.profiles.push(kept);
        }
    }
}

fn keep_one(subject: Subject, profile: Profile, record: &Record, sink: &mut dyn Sink) -> ProfileRecord {
    let Profile { event, samples, duration, is_cut, folded, svg } = profile;
    let functions = hottest(&folded, HOT_FUNCTIONS_MAX);
    let artifacts = [
        Artifact {
            name: format!("flamegraph-{}.svg", subject.name()),
            media_type: "image/svg+xml",
            bytes: svg.into_bytes(),
        },
        Artifact {
            name: format!("flamegraph-{}.folded", subject.name()),
            media_type: "text/plain",
            bytes: folded.into_bytes(),
        },
    ];
    let kept = artifacts.iter().try_for_each(|artifact| sink.attached(record.id, artifact));
    ProfileRecord {
        of: subject.name().to_owned(),
        event,
        samples_per_second: SAMPLES_PER_SECOND,
        samples,
        duration_seconds: seconds(duration),
        is_cut,
        hottest: functions
            .into_iter()
            .map(|function| HotFunctionRecord { name: function.name, self_share: function.self_share })
            .collect(),
        artifacts: if kept.is_ok() { artifacts.map(|artifact| artifact.name).to_vec() } else { Vec::new() },
        reason: kept.err().map(|error| format!("it could not be kept: {error}")),
    }
}

/// To the millisecond, which is finer than it is known.
fn seconds(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    fn refusal(target: &str, collect: &str) -> Option<(String, String)> {
        let plan = Plan::parse(&format!("target: '{target}'\ncollect: {collect}\n")).expect("the plan is well formed");
        let error = Spec::new(&plan, &|_| None).err()?;
        assert_eq!(error.kind(), store::ErrorKind::Unsupported);
        Some((error.to_string(), error.hint().unwrap_or_default().to_owned()))
    }

    #[test]
    fn a_server_that_cannot_be_seen_is_refused_before_any_connection() {
        let (why, remedy) = refusal("memory:", "[flamegraph]").expect("it has no server");
        assert!(why.contains("inside of the generator") && remedy.contains("flamegraph_generator"), "{why}: {remedy}");
        assert_eq!(refusal("memory:", "[host, flamegraph_generator]"), None);
        assert_eq!(refusal("memory:", "[host, flamegraph-generator]"), None);
    }

    #[cfg(feature = "all")]
    #[test]
    fn a_server_elsewhere_is_refused() {
        let (why, _) = refusal("redis://10.0.0.1", "[flamegraph]").expect("it is elsewhere");
        assert!(why.contains("another host"), "{why}");
        assert_eq!(refusal("redis://127.0.0.1", "[flamegraph]"), None);
    }

    #[test]
    fn what_is_asked_for_is_profiled_and_nothing_else() {
        let names = |collect: &[Collect]| Subject::asked_for(collect).map(Subject::name).collect::<Vec<_>>();
        assert_eq!(names(&[Collect::Host, Collect::Server]), Vec::<&str>::new());
        assert_eq!(names(&[Collect::FlamegraphGenerator, Collect::Flamegraph]), ["server", "generator"]);
    }
}
