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
}

/// A table row by row.
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
        out.push_str("<div class=\"wide\"><table><thead><tr>");
        for (place, heading) in self.headings.iter().enumerate() {
            let class = if is_figure(place) { " class=\"n\"" } else { "" };
            push!(out, "<th scope=\"col\"{class}>{}</th>", escape(heading));
        }
        out.push_str("</tr></thead><tbody>");
        for row in &self.rows {
            out.push_str("<tr>");
            for cell in row {
                match cell {
                    Cell::Text(text) => push!(out, "<td>{}</td>", escape(text)),
                    Cell::Figure(text) => push!(out, "<td class=\"n\">{}</td>", escape(text)),
                    Cell::Code(text) => push!(out, "<td><code>{}</code></td>", escape(text)),
                }
            }
            out.push_str("</tr>");
        }
        out.push_str("</tbody></table></div>\n");
    }
}
