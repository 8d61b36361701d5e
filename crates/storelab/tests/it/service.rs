//! `storelab serve` as a process: scripts against it, and what of it outlives being killed.

mod client;
mod crash;
mod limits;
mod scripts;
mod secrets;
