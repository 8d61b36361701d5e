//! What can be measured, from the drivers themselves.

use drivers::DRIVERS;
use serde::Serialize;
use store::{Capability, Driver};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::extract::{Json, Path};
use crate::paging::Page;
use crate::problem::Problem;

pub(super) fn register() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(show))
}

/// A kind of data store.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Store)]
struct StoreKind {
    /// Its name, as in `database_type`.
    #[schema(example = "postgres")]
    name: &'static str,
    /// What the product or family is called.
    #[schema(example = "PostgreSQL")]
    title: &'static str,
    /// The schemes of URLs that mean it.
    #[schema(example = json!(["postgres", "postgresql"]))]
    schemes: &'static [&'static str],
    /// The port where a URL names none; null for what is reached without a network.
    #[schema(example = 5432)]
    default_port: Option<u16>,
    /// What it can do.
    #[schema(example = json!(["key-value", "transactions"]))]
    capabilities: Vec<&'static str>,
    /// Its own operations.
    operations: Vec<StoreOperation>,
    /// What one must know to read its figures right.
    #[schema(example = json!(["a scan reads in key order"]))]
    quirks: &'static [&'static str],
    /// Parameters that its URL takes.
    options: Vec<StoreOption>,
}

/// An operation of a kind of data store.
#[derive(Debug, Serialize, ToSchema)]
struct StoreOperation {
    /// Its name, as in `config.operations`.
    #[schema(example = "insert")]
    name: &'static str,
    /// What it does.
    #[schema(example = "adds a row")]
    summary: &'static str,
    /// What the server must have beyond its plain build; null where it needs nothing.
    #[schema(example = "JSON module")]
    needs: Option<&'static str>,
}

/// A parameter of a URL.
#[derive(Debug, Serialize, ToSchema)]
struct StoreOption {
    /// Its name.
    #[schema(example = "connect_timeout")]
    name: &'static str,
    /// Its values and what they do, the default first.
    #[schema(example = "seconds that connecting may take")]
    summary: &'static str,
}

/// List the kinds of data stores.
///
/// All that this build can measure, in alphabetic order.
#[utoipa::path(get, path = "/api/v1/stores", tag = "stores", operation_id = "list_stores",
    responses((status = 200, description = "All of them", body = Page<StoreKind>)))]
async fn list() -> Json<Page<StoreKind>> {
    Json(Page::whole(DRIVERS.iter().map(|driver| described(*driver)).collect()))
}

/// Show a kind of data store.
#[utoipa::path(get, path = "/api/v1/stores/{name}", tag = "stores", operation_id = "show_store",
    params(("name" = String, Path, description = "The name of a kind of data store", example = "sqlite")),
    responses((status = 200, description = "The kind", body = StoreKind)))]
async fn show(Path(name): Path<String>) -> Result<Json<StoreKind>, Problem> {
    let found = DRIVERS.iter().find(|driver| driver.name() == name);
    found.map(|driver| Json(described(*driver))).ok_or_else(|| {
        let names = DRIVERS.iter().map(|driver| driver.name());
        Problem::not_found(format!("there is no kind of data store `{name}`"))
            .with_field("name")
            .with_names(&name, names)
    })
}

fn described(driver: &dyn Driver) -> StoreKind {
    let operations = driver.operations().iter().map(|operation| StoreOperation {
        name: operation.name,
        summary: operation.summary,
        needs: operation.needs,
    });
    let options = driver.options().iter().map(|option| StoreOption { name: option.name, summary: option.summary });
    StoreKind {
        name: driver.name(),
        title: driver.title(),
        schemes: driver.schemes(),
        default_port: driver.default_port(),
        capabilities: driver.capabilities().iter().map(Capability::name).collect(),
        operations: operations.collect(),
        quirks: driver.quirks(),
        options: options.collect(),
    }
}
