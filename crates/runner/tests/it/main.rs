//! Runs on real sessions of the null and memory drivers: known answers, accounting, stopping.

mod accounting;
mod known_answers;
mod parts;
mod quarters;
mod support;
