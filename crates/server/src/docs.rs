//! The page /docs: every route, drawn by a script of ours from the OpenAPI document of the service that shows it. It needs nothing from
//! elsewhere, and its policy lets it load nothing from there.

use std::fmt::Write;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

use crate::problem::KINDS;

const PAGE: &str = include_str!("docs/page.html");
const SCRIPT: &str = include_str!("docs/script.js");
const STYLE: &str = include_str!("docs/style.css");

/// A page and what it may do.
pub(crate) struct Page {
    /// The page.
    pub(crate) html: String,
    /// The value of `Content-Security-Policy`: its own script and style, and requests to where it came from.
    pub(crate) policy: String,
}

/// The page, put together once.
pub(crate) fn page() -> &'static Page {
    static MADE: LazyLock<Page> = LazyLock::new(|| Page {
        html: PAGE
            .replace("/*style*/", STYLE)
            .replace("/*script*/", SCRIPT)
            .replace("<!--problems-->", &problems())
            .replace("<!--version-->", env!("CARGO_PKG_VERSION")),
        policy: format!(
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'; img-src data:; \
             script-src 'sha256-{}'; style-src 'sha256-{}'",
            hash(SCRIPT),
            hash(STYLE)
        ),
    });
    &MADE
}

/// A row for each kind of problem, which its `type` points to.
fn problems() -> String {
    let mut rows = String::new();
    for kind in KINDS {
        let (status, code, title, remedy) = (kind.status.as_u16(), kind.code, kind.title, kind.remedy);
        let row = format_args!(
            "<tr id=\"problem-{code}\"><td>{status}</td><td><code>{code}</code></td><td>{title}</td><td>{remedy}</td></tr>\n"
        );
        rows.write_fmt(row).expect("writing to text cannot fail");
    }
    rows
}

fn hash(text: &str) -> String {
    STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = page();
        for foreign in ["http://", "https://", "//cdn", "@import", "url(", "innerHTML", "eval("] {
            assert!(!page.html.contains(foreign), "{foreign}");
        }
        for left in ["/*style*/", "/*script*/", "<!--problems-->", "<!--version-->"] {
            assert!(!page.html.contains(left), "{left}");
        }
        assert!(page.html.contains("id=\"problem-storage_full\""));
        assert!(page.policy.contains(&hash(SCRIPT)) && page.html.contains(&format!("<script>{SCRIPT}</script>")));
        assert!(page.html.contains(&format!("<style>{STYLE}</style>")));
    }
}
