//! The documentation says what the program says.

use std::path::Path;

use crate::support::Lab;

fn docs() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"))
}

#[test]
fn the_page_on_stores_is_what_the_drivers_say() {
    let said = Lab::new().run(&["stores", "--markdown"]).stdout;
    let page = std::fs::read_to_string(docs().join("stores.md")).expect("the page is there");
    let (derived, tested) = page.split_once("\n## What was tested\n").expect("it says what was tested");
    assert!(derived.trim_end() == said.trim_end(), "docs/stores.md is not what drivers say: make docs-stores");
    assert!(tested.contains("passed") && !tested.contains("failed"), "what was tested has passed");
}

#[test]
fn every_store_that_is_reached_over_a_network_has_a_page() {
    for driver in drivers::DRIVERS.iter().filter(|driver| driver.default_port().is_some()) {
        let page = docs().join("stores").join(format!("{}.md", driver.name()));
        let text = std::fs::read_to_string(&page).unwrap_or_default();
        assert!(text.starts_with("# "), "{} is missing", page.display());
    }
}

#[test]
fn the_guide_lists_the_formats_of_exports() {
    let lines = results::export::FORMATS
        .iter()
        .map(|format| format!("| `{}` | `.{}` | {} |\n", format.name, format.extension, format.summary));
    let table: String = lines.collect();
    let guide = std::fs::read_to_string(docs().join("guide.md")).expect("the guide is there");
    assert!(guide.contains(&table), "the table of formats is:\n{table}");
}

#[test]
fn the_page_on_configuration_lists_the_options() {
    let table = Lab::new().run(&["config", "explain", "--markdown"]).stdout;
    let page = std::fs::read_to_string(docs().join("configuration.md")).expect("the page is there");
    assert!(table.lines().count() > 10 && page.ends_with(&table), "docs/configuration.md: make docs-configuration");
}
