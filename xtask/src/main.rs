//! Code generation and release chores.
fn main() {}
