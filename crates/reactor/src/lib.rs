//! Sockets and alarms of one thread, through `io_uring`: what all sessions of a worker send leaves in one system call,
//! which also waits for what comes in.
//!
//! With a poller, every request costs a system call to send, after which the kernel may give the processor to the server
//! that was woken by it, and every answer one more. Here, sends are queued and receives stand; a whole round of a
//! worker's sessions costs one call. Nothing is held back: the queue leaves as soon as the worker has nothing else to do.
//!
//! - `kernel`: the memory that is shared with the kernel, and the only place that is `unsafe`.
//! - `socket`: connections as the queue sees them; [`Reactor`] puts both together.

mod kernel;
mod reactor;
mod socket;

pub use reactor::{Current, Reactor};
pub use socket::Socket;
