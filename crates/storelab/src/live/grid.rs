//! Columns of text that fit: what matters least is left out first.

use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

/// Narrower columns would move from second to second as numbers grow.
const WIDTH_MIN: usize = 9;
const GAP: usize = 2;

/// A column after the first: its title, and its rank among what is kept (0 stays longest).
pub(super) type Column = (&'static str, u8);

/// Lays rows out below their titles: the first column to the left, the others to the right, as many as `width` has room for.
pub(super) fn grid(first: &str, columns: &[Column], rows: &[Vec<String>], width: u16) -> Vec<Line<'static>> {
    let widest = |texts: &mut dyn Iterator<Item = &str>| texts.map(cells).max().unwrap_or(0);
    let of_first = widest(&mut std::iter::once(first).chain(rows.iter().map(|row| row[0].as_str())));
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(place, (title, _))| {
            let texts = rows.iter().map(|row| row[place + 1].as_str());
            widest(&mut std::iter::once(*title).chain(texts)).max(WIDTH_MIN)
        })
        .collect();
    let kept = fitting(columns, &widths, usize::from(width).saturating_sub(of_first));
    let line = |texts: &[&str], style: Style| {
        let mut text = format!("{}{}", texts[0], " ".repeat(of_first - cells(texts[0])));
        for place in &kept {
            let cell = texts[place + 1];
            text.push_str(&" ".repeat(GAP + widths[*place] - cells(cell)));
            text.push_str(cell);
        }
        Line::styled(text, style)
    };
    let titles: Vec<&str> = std::iter::once(first).chain(columns.iter().map(|(title, _)| *title)).collect();
    let head = line(&titles, Style::new().add_modifier(Modifier::DIM));
    let body = rows.iter().map(|row| line(&row.iter().map(String::as_str).collect::<Vec<_>>(), Style::new()));
    std::iter::once(head).chain(body).collect()
}

/// The places of the columns that there is room for, in their order.
fn fitting(columns: &[Column], widths: &[usize], mut room: usize) -> Vec<usize> {
    let mut by_rank: Vec<usize> = (0..columns.len()).collect();
    by_rank.sort_by_key(|place| columns[*place].1);
    let mut kept: Vec<usize> = by_rank
        .into_iter()
        .map_while(|place| {
            room = room.checked_sub(GAP + widths[place])?;
            Some(place)
        })
        .collect();
    kept.sort_unstable();
    kept
}

/// How many cells of a terminal a text takes.
fn cells(text: &str) -> usize {
    Span::raw(text).width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_least_is_left_out_first() {
        let columns = [("p50", 1), ("p99", 0), ("max", 2)];
        let rows = [vec!["読む".to_owned(), "1 ms".to_owned(), "2 ms".to_owned(), "1,234,567 ms".to_owned()]];
        for (width, expected) in [
            (80, ["            p50        p99           max", "読む       1 ms       2 ms  1,234,567 ms"]),
            (30, ["            p50        p99", "読む       1 ms       2 ms"]),
            (20, ["            p99", "読む       2 ms"]),
            (3, ["    ", "読む"]),
        ] {
            let shown: Vec<String> = grid("", &columns, &rows, width).iter().map(ToString::to_string).collect();
            assert_eq!(shown, expected, "{width}");
        }
    }
}
