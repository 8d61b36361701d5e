//! The driver's parts against replies that no server would send.
