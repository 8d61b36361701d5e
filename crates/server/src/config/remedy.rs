//! Hints of the libraries, which speak of the command line, in terms of JSON fields.

use std::borrow::Cow;

/// What hints say, and what that is over HTTP. The first that fits is replaced; longer ones stand before those that they
/// contain.
const WORDS: &[(&str, &str)] = &[
    ("`storelab run --help` names a plan's fields", "/docs lists the fields"),
    ("`storelab stores` lists", "GET /api/v1/stores lists"),
    ("`storelab workloads` lists", "GET /api/v1/workloads lists"),
    (
        "give one with --threshold, or leave out --abort-on-fail",
        "give one in `config.thresholds`, or leave out `config.abort_on_fail`",
    ),
    (
        "start as many agents as there are parts: storelab agent --store …",
        "start as many agents as there are parts on the service's own results store (docs/agents.md), or give fewer \
         `config.parts` or a longer `config.parts_within`",
    ),
    ("`prometheus.url` in the plan", "`config.prometheus.url`"),
    ("add `prometheus` to `collect`", "add `prometheus` to `config.collect`"),
    ("run with --io epoll", "give `config.load.io` as `epoll`"),
    ("run without --pin", "leave out `config.load.pin`"),
    ("use --force to compare them all the same", "give `force` as true to compare them all the same"),
    ("`storelab show` says why it failed", "GET /api/v1/runs/{id} says why it failed"),
    ("--sessions", "`config.load.sessions`"),
    ("--set ", "`config.settings`: "),
    ("--depth", "`config.load.depth`"),
];

/// A hint without command-line flags; none where it speaks of something that nobody can do over HTTP.
pub(crate) fn in_fields(hint: &str) -> Option<Cow<'_, str>> {
    let mut text = Cow::Borrowed(hint);
    for (written, meant) in WORDS {
        if text.contains(written) {
            text = Cow::Owned(text.replace(written, meant));
        }
    }
    let is_about_the_command_line = text.contains(" --") || text.starts_with("--") || text.contains("`storelab ");
    (!is_about_the_command_line).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_fields_or_are_left_out() {
        for (hint, expected) in [
            (
                "leave them out: --set operations=insert,select",
                Some("leave them out: `config.settings`: operations=insert,select"),
            ),
            ("use --depth 1, and more --sessions", Some("use `config.load.depth` 1, and more `config.load.sessions`")),
            ("`storelab stores` lists what each store can do", Some("GET /api/v1/stores lists what each store can do")),
            ("did you mean `insert`?", Some("did you mean `insert`?")),
            ("give another file with --store PATH", None),
            (
                "start as many agents as there are parts: storelab agent --store …",
                Some(
                    "start as many agents as there are parts on the service's own results store (docs/agents.md), or give \
                     fewer `config.parts` or a longer `config.parts_within`",
                ),
            ),
            ("use `storelab clean` once the server is there", None),
        ] {
            assert_eq!(in_fields(hint).as_deref(), expected, "{hint}");
        }
    }
}
