//! One file a resource. Each has a `register` that names its handlers; [`all`] is the list of them.

mod aliases;
mod artifacts;
mod audit;
mod comparisons;
mod control;
mod experiments;
mod exports;
mod health;
mod live;
mod metrics;
mod pages;
mod plans;
mod reports;
mod runs;
mod stores;
mod targets;
mod thresholds;
mod tokens;
mod workloads;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

pub(crate) use health::Readiness;

/// Every route with its documentation.
pub(crate) fn all() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .merge(aliases::register())
        .merge(artifacts::register())
        .merge(audit::register())
        .merge(comparisons::register())
        .merge(control::register())
        .merge(experiments::register())
        .merge(exports::register())
        .merge(health::register())
        .merge(live::register())
        .merge(metrics::register())
        .merge(pages::register())
        .merge(plans::register())
        .merge(reports::register())
        .merge(runs::register())
        .merge(stores::register())
        .merge(targets::register())
        .merge(thresholds::register())
        .merge(tokens::register())
        .merge(workloads::register())
}
