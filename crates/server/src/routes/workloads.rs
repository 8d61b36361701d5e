//! What can be asked of a data store, from the workloads themselves.

use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workload::{Parameter, ParameterKind, WORKLOADS, Workload};

use crate::app::App;
use crate::extract::{Json, Path};
use crate::paging::Page;
use crate::problem::Problem;

pub(super) fn register() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(show))
}

/// A kind of work.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Workload)]
struct Work {
    /// Its name.
    #[schema(example = "ycsb")]
    name: &'static str,
    /// What it is, with the source of its definition.
    #[schema(example = "the core workloads of YCSB")]
    summary: &'static str,
    /// Its variants, the default first.
    variants: Vec<WorkloadVariant>,
    /// Its parameters.
    parameters: Vec<WorkloadParameter>,
}

/// A variant of a workload: `a` of `ycsb:a`.
#[derive(Debug, Serialize, ToSchema)]
struct WorkloadVariant {
    /// Its name.
    #[schema(example = "b")]
    name: &'static str,
    /// What it is.
    #[schema(example = "95 % reads")]
    summary: &'static str,
}

/// A parameter of a workload.
#[derive(Debug, Serialize, ToSchema)]
struct WorkloadParameter {
    /// Its name.
    #[schema(example = "records")]
    name: &'static str,
    /// What values it takes: `integer`, `real`, `flag`, `choice` or `text`.
    #[schema(example = "integer")]
    kind: &'static str,
    /// The least value of a number.
    #[schema(example = 1.0)]
    minimum: Option<f64>,
    /// The greatest value of a number.
    #[schema(example = 1_000_000.0)]
    maximum: Option<f64>,
    /// The words to choose from.
    #[schema(example = json!(["hashed", "ordered"]))]
    choices: &'static [&'static str],
    /// Its default; null where that follows from others.
    #[schema(example = "1000")]
    default: Option<&'static str>,
    /// What it does.
    #[schema(example = "how many records are loaded")]
    summary: &'static str,
}

/// List the workloads.
#[utoipa::path(get, path = "/api/v1/workloads", tag = "workloads", operation_id = "list_workloads",
    responses((status = 200, description = "All of them, in alphabetic order", body = Page<Work>)))]
async fn list() -> Json<Page<Work>> {
    Json(Page::whole(WORKLOADS.iter().map(|workload| described(*workload)).collect()))
}

/// Show a workload with its variants and parameters.
#[utoipa::path(get, path = "/api/v1/workloads/{name}", tag = "workloads", operation_id = "show_workload",
    params(("name" = String, Path, description = "The name of a workload, without a variant", example = "ycsb")),
    responses((status = 200, description = "The workload", body = Work)))]
async fn show(Path(name): Path<String>) -> Result<Json<Work>, Problem> {
    let found = WORKLOADS.iter().find(|workload| workload.name() == name);
    found.map(|workload| Json(described(*workload))).ok_or_else(|| {
        let names = WORKLOADS.iter().map(|workload| workload.name());
        Problem::not_found(format!("there is no workload `{name}`")).with_field("name").with_names(&name, names)
    })
}

fn described(workload: &dyn Workload) -> Work {
    let variants =
        workload.variants().iter().map(|variant| WorkloadVariant { name: variant.name, summary: variant.summary });
    Work {
        name: workload.name(),
        summary: workload.summary(),
        variants: variants.collect(),
        parameters: workload.parameters().iter().map(parameter).collect(),
    }
}

fn parameter(parameter: &Parameter) -> WorkloadParameter {
    let (kind, range, choices): (_, _, &[&str]) = match parameter.kind {
        ParameterKind::Integer { min, max } => ("integer", Some((min as f64, max as f64)), &[]),
        ParameterKind::Real { min, max } => ("real", Some((min, max)), &[]),
        ParameterKind::Flag => ("flag", None, &[]),
        ParameterKind::Choice(choices) => ("choice", None, choices),
        ParameterKind::Text => ("text", None, &[]),
    };
    WorkloadParameter {
        name: parameter.name,
        kind,
        minimum: range.map(|(minimum, _)| minimum),
        maximum: range.map(|(_, maximum)| maximum),
        choices,
        default: Some(parameter.default).filter(|default| !default.is_empty()),
        summary: parameter.summary,
    }
}
