//! The documentation's page on all stores, from the drivers and engines themselves.

use drivers::DRIVERS;
use provision::{ENGINES, Effort, Engine};
use store::{Capability, Driver};

/// The page, up to where what was tested is added.
pub(super) fn markdown() -> String {
    let mut lines = vec![
        "# Data stores".to_owned(),
        String::new(),
        "This page is made from the drivers themselves by `make docs-stores`; `storelab stores` says the same of the build at \
         hand."
            .to_owned(),
        String::new(),
        "| store | URL | operations | capabilities |".to_owned(),
        "|---|---|---|---|".to_owned(),
    ];
    for driver in DRIVERS {
        let operations: Vec<_> = driver.operations().iter().map(|operation| operation.name).collect();
        let capabilities: Vec<_> = driver.capabilities().iter().map(Capability::name).collect();
        lines.push(format!(
            "| [{}](#{}) | `{}` | {} | {} |",
            driver.title(),
            driver.name(),
            example_url(*driver),
            operations.join(" "),
            capabilities.join(", ")
        ));
    }
    for driver in DRIVERS {
        section(*driver, &mut lines);
    }
    lines.join("\n")
}

/// One store's section.
fn section(driver: &dyn Driver, lines: &mut Vec<String>) {
    let name = driver.name();
    let schemes: Vec<_> = driver.schemes().iter().map(|scheme| format!("`{scheme}:`")).collect();
    let place = match driver.default_port() {
        Some(port) => format!("on port {port} where none is given ([what is measured and how](stores/{name}.md))"),
        None => "in Storelab's own process".to_owned(),
    };
    lines.extend([
        String::new(),
        format!("## {name}"),
        String::new(),
        format!("{}, reached by {}, {place}.", driver.title(), schemes.join(", ")),
    ]);
    if !driver.operations().is_empty() {
        lines.extend(
            ["", "| operation | what it does and how it is verified | needs |", "|---|---|---|"].map(str::to_owned),
        );
        lines.extend(driver.operations().iter().map(|operation| {
            let needs = operation.needs.unwrap_or_default();
            format!("| {} | {} | {needs} |", operation.name, cell(operation.summary))
        }));
    }
    if !driver.options().is_empty() {
        lines.extend(["", "| parameter of the URL | |", "|---|---|"].map(str::to_owned));
        lines.extend(driver.options().iter().map(|option| format!("| `{}` | {} |", option.name, cell(option.summary))));
    }
    if !driver.quirks().is_empty() {
        lines.push(String::new());
        lines.extend(driver.quirks().iter().map(|quirk| format!("- {quirk}")));
    }
    let engines: Vec<_> = ENGINES.iter().filter(|engine| driver.schemes().contains(&engine.scheme())).collect();
    if !engines.is_empty() {
        lines.extend([String::new(), "A local one:".to_owned(), String::new()]);
        lines.extend(engines.iter().map(|engine| engine_line(**engine)));
    }
}

fn engine_line(engine: &dyn Engine) -> String {
    let (name, title, licence) = (engine.name(), engine.title(), engine.licence());
    let nodes = match engine.nodes().into_inner() {
        (_, 1) => String::new(),
        (_, last) => format!(" (`--nodes` up to {last})"),
    };
    let takes = match engine.origin().effort() {
        Effort::Minutes => "",
        Effort::Long => ", built from source, which takes long",
    };
    let from = engine.origin().text();
    format!(
        "- `storelab engines install {name}`, `storelab engines up {name}`{nodes}: {title}, {licence}; {from}{takes}"
    )
}

/// Where the store is with nothing set.
fn example_url(driver: &dyn Driver) -> String {
    let nothing_set = driver.url_from_environment(&|_| None);
    nothing_set.unwrap_or_else(|| format!("{}:", driver.schemes()[0]))
}

/// A text for a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
