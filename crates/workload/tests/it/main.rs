//! Workloads as the runner sees them, against a small store in memory.

mod operations;
mod sysbench;
mod toy;
mod ycsb;
