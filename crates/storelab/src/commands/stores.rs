//! `storelab stores`: what can be reached, from the drivers themselves.

mod page;

use drivers::DRIVERS;
use store::{Capability, Driver};

use crate::cli::StoresArguments;
use crate::exit::Exit;
use crate::terminal::{data, json};

pub(crate) fn run(arguments: &StoresArguments) -> anyhow::Result<Exit> {
    if arguments.markdown {
        data(&page::markdown());
    } else if arguments.json {
        json(&DRIVERS.iter().map(|driver| as_json(*driver)).collect::<Vec<_>>())?;
    } else {
        data(&DRIVERS.iter().map(|driver| text(*driver)).collect::<Vec<_>>().join("\n\n"));
    }
    Ok(Exit::Ok)
}

fn as_json(driver: &dyn Driver) -> serde_json::Value {
    serde_json::json!({
        "name": driver.name(),
        "title": driver.title(),
        "schemes": driver.schemes(),
        "default_port": driver.default_port(),
        "capabilities": driver.capabilities().iter().map(Capability::name).collect::<Vec<_>>(),
        "operations": driver.operations().iter().map(|operation| serde_json::json!({
            "name": operation.name,
            "summary": operation.summary,
            "needs": operation.needs,
        })).collect::<Vec<_>>(),
        "quirks": driver.quirks(),
        "options": driver.options().iter().map(|option| serde_json::json!({
            "name": option.name,
            "summary": option.summary,
        })).collect::<Vec<_>>(),
    })
}

fn text(driver: &dyn Driver) -> String {
    let schemes: Vec<_> = driver.schemes().iter().map(|scheme| format!("{scheme}:")).collect();
    let capabilities: Vec<_> = driver.capabilities().iter().map(Capability::name).collect();
    let mut lines = vec![
        format!("{} — {} ({})", driver.name(), driver.title(), schemes.join(" ")),
        format!("  can         {}", capabilities.join(", ")),
    ];
    let named = |name: &str, summary: &str| format!("    {name:<18} {summary}");
    if !driver.operations().is_empty() {
        lines.push("  operations".to_owned());
        lines.extend(driver.operations().iter().map(|operation| match operation.needs {
            Some(needs) => named(operation.name, &format!("{} (needs: {needs})", operation.summary)),
            None => named(operation.name, operation.summary),
        }));
    }
    if !driver.options().is_empty() {
        lines.push("  parameters of the URL".to_owned());
        lines.extend(driver.options().iter().map(|option| named(option.name, option.summary)));
    }
    lines.extend(driver.quirks().iter().map(|quirk| format!("  note: {quirk}")));
    lines.join("\n")
}
