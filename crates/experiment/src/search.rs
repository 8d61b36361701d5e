//! The greatest load that keeps a condition, searched for.
//!
//! [`state`] says which load is tried next, without a clock and without a store; [`probe`] tries it; [`plan`] is what a user
//! asks for, and [`record`] what is kept.

mod plan;
mod probe;
mod record;
mod state;

pub(crate) use plan::Find;
pub use plan::{FindPlan, LoadRange, Share};
pub(crate) use probe::Sought;
pub use record::{Dimension, ScalabilityRecord, SearchPoint, SearchRecord, Stage};
