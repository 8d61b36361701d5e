//! The program as a user meets it: real processes, real servers, exit codes, what is left behind.

mod action;
mod agents;
mod alone;
mod cluster;
mod configuration;
mod crash;
mod data;
mod documentation;
mod exit_codes;
mod failover;
mod flamegraph;
mod history;
mod live;
mod messages;
mod output;
mod service;
mod support;
mod sysbench;
mod thresholds;
