//! Tables: numbers to the right, units in the head, text escaped.

use std::fmt::Write as _;

use super::format::{escape, push};

/// A cell.
pub(super) enum Cell {
    /// To the left.
    Text(String),
    /// To the right.
    Figure(String),
    /// To the left, as typewritten.
    Code(String),
    /// To the left on one line: a sign and a word.
    State(&'static str),
    /// Markup of our own making.
    Drawing(String),
}

/// A table row by row. What stands first in a row says what the row is about.
pub(super) struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these headings; those of figures are to the right because their cells are.
    pub(super) fn new<'a>(headings: impl IntoIterator<Item = &'a str>) -> Self {
        Self { headings: headings.into_iter().map(str::to_owned).collect(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn write(&self, out: &mut String) {
        let is_figure = |place: usize| {
            self.rows.first().and_then(|row| row.get(place)).is_some_and(|cell| matches!(cell, Cell::Figure(_)))
        };
        // What is wider than the page is moved within its box, by the keyboard too.
        let about = self.headings.first().map_or("", String::as_str);
        push!(out, "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"Table: {}\">", escape(about));
        out.push_str("<table><thead><tr>");
        for (place, heading) in self.headings.iter().enumerate() {
            let class = if is_figure(place) { " class=\"n\"" } else { "" };
            push!(out, "<th scope=\"col\"{class}>{}</th>", escape(heading));
        }
        out.push_str("</tr></thead><tbody>");
        for row in &self.rows {
            out.push_str("<tr>");
            for (place, cell) in row.iter().enumerate() {
                match cell {
                    Cell::Text(text) if place == 0 && !text.is_empty() => {
                        push!(out, "<th scope=\"row\">{}</th>", escape(text));
                    }
                    Cell::Code(text) if place == 0 => {
                        push!(out, "<th scope=\"row\"><code>{}</code></th>", escape(text));
                    }
                    Cell::Text(text) => push!(out, "<td>{}</td>", escape(text)),
                    Cell::Figure(text) => push!(out, "<td class=\"n\">{}</td>", escape(text)),
                    Cell::Code(text) => push!(out, "<td><code>{}</code></td>", escape(text)),
                    Cell::State(text) => push!(out, "<td class=\"state\">{}</td>", escape(text)),
                    Cell::Drawing(markup) => push!(out, "<td>{markup}</td>"),
                }
            }
            out.push_str("</tr>");
        }
        out.push_str("</tbody></table></div>\n");
    }
}
