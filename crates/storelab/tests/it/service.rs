//! `storelab serve` as a process: scripts against it, and what of it outlives being killed.

mod agents;
mod client;
mod crash;
mod limits;
mod restart;
mod scripts;
mod secrets;
