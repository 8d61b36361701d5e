//! Where processor time went: flame graphs, and the functions that ran most.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use experiment::{ProfileRecord, Record};

use super::format::{count, escape, number, push, time};
use super::table::{Cell, Table};

/// A picture that is larger is not part of the page, which is to stay one that can be mailed.
const PICTURE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A picture that is kept with a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Its name, as the record has it.
    pub name: String,
    /// What it is drawn with.
    pub svg: Vec<u8>,
}

/// The profiles of a run; nothing where none was asked for.
pub(super) fn section(out: &mut String, record: &Record, pictures: &[Picture]) {
    if record.profiles.is_empty() {
        return;
    }
    out.push_str("<section><h2>Processor time by function</h2>");
    for profile in &record.profiles {
        one(out, record, profile, pictures);
    }
    out.push_str("</section>\n");
}

fn one(out: &mut String, record: &Record, profile: &ProfileRecord, pictures: &[Picture]) {
    push!(out, "<h3>Of the {}</h3>", escape(&profile.of));
    if profile.samples > 0 {
        push!(
            out,
            "<p class=\"dim\">{} samples of {}, {} a second and processor, over {}{}</p>",
            count(profile.samples),
            escape(&profile.event),
            profile.samples_per_second,
            time(profile.duration_seconds),
            if profile.is_cut { ", which ended before the load did" } else { "" }
        );
    }
    if let Some(reason) = &profile.reason {
        push!(out, "<p>{}</p>", escape(reason));
    }
    let picture = pictures.iter().find(|picture| profile.artifacts.contains(&picture.name));
    if let Some(picture) = picture {
        draw(out, record, profile, picture);
    }
    let mut table = Table::new(["Function", "Share of all samples that found it running"]);
    for function in &profile.hottest {
        table.row(vec![
            Cell::Code(function.name.clone()),
            Cell::Figure(format!("{} %", number(function.self_share * 100.0))),
        ]);
    }
    if !table.is_empty() {
        table.write(out);
    }
}

/// The picture as an image, whose own script does not run; the link gives it whole, to search and zoom in.
fn draw(out: &mut String, record: &Record, profile: &ProfileRecord, picture: &Picture) {
    let command = format!("storelab report {} --flamegraph={}", record.id, profile.of);
    if picture.svg.len() <= PICTURE_BYTES_MAX {
        push!(
            out,
            "<figure class=\"flame\"><div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"Flame graph\">\
             <img alt=\"Flame graph of the {}; the table below has the functions that ran most\" src=\"data:image/svg+xml;base64,{}\"></div>\
             <a hidden download=\"{}\">Save the picture, to search and zoom in</a></figure>",
            escape(&profile.of),
            STANDARD.encode(&picture.svg),
            escape(&picture.name)
        );
    }
    push!(out, "<p class=\"dim\">as a file: <code>{}</code></p>", escape(&command));
}

#[cfg(test)]
mod tests {
    use experiment::HotFunctionRecord;

    use super::*;
    use crate::fixture::{self, MINUTE};

    fn profiled() -> Record {
        let (mut record, _) = fixture::run("profiled", MINUTE, |_| ());
        record.profiles = vec![
            ProfileRecord {
                of: "server".to_owned(),
                event: "cpu-clock".to_owned(),
                samples_per_second: 99,
                samples: 1234,
                duration_seconds: 12.0,
                is_cut: true,
                hottest: vec![HotFunctionRecord { name: "std::map<int>".to_owned(), self_share: 0.25 }],
                artifacts: vec!["flamegraph-server.svg".to_owned()],
                reason: None,
            },
            ProfileRecord {
                of: "generator".to_owned(),
                reason: Some("no sample <was> taken".to_owned()),
                ..ProfileRecord::default()
            },
        ];
        record
    }

    fn drawn(record: &Record, svg: &[u8]) -> String {
        let mut out = String::new();
        section(&mut out, record, &[Picture { name: "flamegraph-server.svg".to_owned(), svg: svg.to_vec() }]);
        out
    }

    #[test]
    fn a_profile_is_shown_with_its_picture_its_functions_and_a_link() {
        let record = profiled();
        let html = drawn(&record, b"<svg/>");
        for text in [
            "data:image/svg+xml;base64,PHN2Zy8+",
            "download=\"flamegraph-server.svg\"",
            "1,234 samples of cpu-clock, 99 a second and processor",
            "which ended before the load did",
            "std::map&lt;int&gt;",
            "25.0\u{a0}%",
            "no sample &lt;was&gt; taken",
            &format!("storelab report {} --flamegraph=server", record.id),
        ] {
            let text = text.replace('\u{a0}', " ");
            assert!(html.replace('\u{a0}', " ").contains(&text), "{text} is missing in {html}");
        }
    }

    #[test]
    fn a_picture_that_is_too_large_is_only_linked() {
        let html = drawn(&profiled(), &vec![b' '; PICTURE_BYTES_MAX + 1]);
        assert!(!html.contains("<img") && html.contains("--flamegraph=server"));
    }

    #[test]
    fn a_run_without_profiles_says_nothing_of_them() {
        let (record, _) = fixture::run("plain", MINUTE, |_| ());
        assert_eq!(drawn(&record, b"<svg/>"), "");
    }
}
