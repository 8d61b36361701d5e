//! Time: a load becomes intended start times, and workers keep to them.
//!
//! A [`Load`] is a list of phases; each is closed (sessions that ask again as soon as they have an answer) or open (a
//! rate, whatever the answers do). [`run`] drives one [`Client`](workload::Client) per session on worker threads, each
//! with a runtime of its own, records latency from the *intended* start, and accounts for every operation:
//! scheduled = succeeded + failed + shed + unfinished.
//!
//! **It never allocates per operation after warm-up and never blocks a worker on recording.** The clock's origin, the
//! seed and the stop signal are arguments.

mod absence;
mod backoff;
mod clock;
mod collector;
mod load;
mod ready;
mod record;
mod run;
mod schedule;
mod slot;
mod timer;
mod watch;
mod worker;

pub use absence::Recovery;
pub use load::{Arrivals, Limit, Load, Mode, Part, Phase, Rate};
pub use record::{Accounting, Cell, ErrorSample, OperationCells, Sample, SecondGauges};
pub use run::{Gate, Io, Outcome, PhaseOutcome, RunSpec, Stop, WORKER_THREADS, run, run_watched};
pub use schedule::Schedule;
pub use watch::{Ended, Quarter, Watch, Watcher};
