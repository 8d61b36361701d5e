//! The program as a user meets it: real processes, real servers, exit codes, what is left behind.

mod action;
mod agents;
mod cluster;
mod comparison;
mod configuration;
mod crash;
mod data;
mod documentation;
mod exit_codes;
mod failover;
mod flamegraph;
mod history;
mod knee;
mod known_answers;
mod live;
mod messages;
mod output;
mod service;
mod support;
mod sysbench;
mod thresholds;
mod validity;
