//! `storelab workloads`: what can be run, from the workloads themselves.

use workload::{ParameterKind, WORKLOADS, Workload};

use crate::cli::ListArguments;
use crate::exit::Exit;
use crate::terminal::{data, json};

pub(crate) fn run(arguments: &ListArguments) -> anyhow::Result<Exit> {
    if arguments.json {
        json(&WORKLOADS.iter().map(|workload| as_json(*workload)).collect::<Vec<_>>())?;
    } else {
        data(&WORKLOADS.iter().map(|workload| text(*workload)).collect::<Vec<_>>().join("\n\n"));
    }
    Ok(Exit::Ok)
}

fn as_json(workload: &dyn Workload) -> serde_json::Value {
    serde_json::json!({
        "name": workload.name(),
        "summary": workload.summary(),
        "variants": workload.variants().iter().map(|variant| serde_json::json!({
            "name": variant.name,
            "summary": variant.summary,
        })).collect::<Vec<_>>(),
        "parameters": workload.parameters().iter().map(|parameter| serde_json::json!({
            "name": parameter.name,
            "values": values(parameter.kind),
            "default": parameter.default,
            "summary": parameter.summary,
        })).collect::<Vec<_>>(),
    })
}

fn text(workload: &dyn Workload) -> String {
    let mut lines = vec![format!("{} — {}", workload.name(), workload.summary())];
    if !workload.variants().is_empty() {
        lines.push("  variants".to_owned());
        lines.extend(workload.variants().iter().map(|variant| format!("    {:<28} {}", variant.name, variant.summary)));
    }
    lines.push("  parameters (--set NAME=VALUE)".to_owned());
    lines.extend(workload.parameters().iter().map(|parameter| {
        let default = if parameter.default.is_empty() { "by variant" } else { parameter.default };
        format!("    {:<28} {} [{}; {default}]", parameter.name, parameter.summary, values(parameter.kind))
    }));
    lines.join("\n")
}

fn values(kind: ParameterKind) -> String {
    match kind {
        ParameterKind::Integer { min, max } => format!("{min}..{max}"),
        ParameterKind::Real { min, max } => format!("{min}..{max}"),
        ParameterKind::Flag => "true|false".to_owned(),
        ParameterKind::Choice(choices) => choices.join("|"),
        ParameterKind::Text => "text".to_owned(),
    }
}
