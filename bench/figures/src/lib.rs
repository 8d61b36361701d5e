//! What programs that measure have in common: the middle of what they measured, the machine that they ran on, and the place of
//! their table on a page.

use std::path::Path;

use anyhow::Context;
use telemetry::Provenance;

/// The middle of figures in any order; of an even number, halfway between the two in the middle. None where there are none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

/// A host in a sentence's words: processor, cores, memory, distribution, kernel.
pub fn machine(host: &Provenance) -> String {
    let unknown = || "unknown".to_owned();
    let memory =
        host.memory_bytes.map_or_else(unknown, |bytes| format!("{:.0} GiB", bytes as f64 / f64::from(1 << 30)));
    format!(
        "{}{} with {} processors and {memory}, {}, Linux {}",
        host.cpu_model.clone().unwrap_or_else(unknown),
        if host.virtualisation.is_some() { " (a virtual machine)" } else { "" },
        host.cores_online.map_or_else(unknown, |cores| cores.to_string()),
        host.distribution.clone().unwrap_or_else(unknown),
        host.kernel.clone().unwrap_or_else(unknown),
    )
}

/// Puts lines where a page has the place of that name: between a line that begins with `<!-- NAME: begin` and `<!-- NAME: end -->`.
///
/// # Errors
/// Where the page cannot be read or written, or has no such place.
pub fn replace(page: &Path, name: &str, content: &str) -> anyhow::Result<()> {
    let shown = page.display();
    let text = std::fs::read_to_string(page).with_context(|| format!("{shown} cannot be read"))?;
    let text = replaced(&text, name, content).with_context(|| format!("{shown} has no place for it"))?;
    std::fs::write(page, text).with_context(|| format!("{shown} cannot be written"))
}

fn replaced(text: &str, name: &str, content: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- {name}: begin"), format!("<!-- {name}: end -->"));
    let missing = |marker: &str| format!("there is no line `{marker}`");
    let after_begin = text.find(&begin).with_context(|| missing(&begin))? + begin.len();
    let line = text[after_begin..].find('\n').with_context(|| missing(&begin))?;
    let (before, rest) = text.split_at(after_begin + line + 1);
    let place = rest.find(&end).with_context(|| missing(&end))?;
    Ok(format!("{before}{}\n{}", content.trim_end_matches('\n'), &rest[place..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_found_in_any_order() {
        for (values, expect) in
            [(&[][..], None), (&[3.0], Some(3.0)), (&[9.0, 1.0, 4.0], Some(4.0)), (&[4.0, 1.0], Some(2.5))]
        {
            assert_eq!(median(values), expect, "{values:?}");
        }
    }

    #[test]
    fn only_what_is_between_the_markers_is_replaced() {
        let page = |content: &str| {
            format!(
                "before\n<!-- a: begin (made) -->\n{content}\n<!-- a: end -->\n<!-- b: begin -->\nkept\n<!-- b: end -->\n"
            )
        };
        assert_eq!(replaced(&page("old\nlines"), "a", "new\n").expect("markers"), page("new"));
        assert_eq!(replaced(&page("new"), "a", "new").expect("markers"), page("new"), "again");
        for name in ["c", "kept"] {
            assert!(replaced(&page("old"), name, "new").is_err(), "{name}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("page.md");
        std::fs::write(&path, page("old")).expect("writes");
        replace(&path, "b", "new").expect("it has the place");
        let text = std::fs::read_to_string(&path).expect("reads");
        assert!(text.contains("\nold\n") && text.contains("<!-- b: begin -->\nnew\n<!-- b: end -->"), "{text}");
    }
}
