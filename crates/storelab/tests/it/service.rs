//! `storelab serve` as a process: scripts against it, and what of it outlives being killed.

mod agents;
mod client;
mod crash;
mod limits;
mod restart;
mod resume;
mod scripts;
mod secrets;
