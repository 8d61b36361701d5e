//! Telemetry of the machine that runs the tests, and of machines that exist as files only.

mod fixtures;
mod live;
mod profiles;
