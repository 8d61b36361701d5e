//! The program as a user meets it: real processes, real servers, exit codes, what is left behind.

mod cluster;
mod crash;
mod data;
mod documentation;
mod exit_codes;
mod failover;
mod known_answers;
mod messages;
mod output;
mod support;
mod sysbench;
mod thresholds;
