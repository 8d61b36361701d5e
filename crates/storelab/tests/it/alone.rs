//! What depends on the machine having nothing else to do. `cargo xtask test` runs these after the others, one at a time.

mod comparison;
mod knee;
mod known_answers;
mod validity;
