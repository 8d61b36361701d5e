//! Annotated CSV (<https://docs.influxdata.com/influxdb/v2/reference/syntax/annotated-csv/>), read where it lies.
//!
//! A reply is a number of tables, each after an empty line: annotations where they were asked for, the columns' names, rows.
//! A query that fails while its rows are on their way ends in a table with the column `error`.

use std::ops::Range;

use store::{Error, ErrorKind, Result};

use crate::http::shown;

/// Nothing that we ask for has more columns.
const COLUMNS_MAX: usize = 64;

/// The column of a table that says why there are no more.
const ERROR_COLUMN: &str = "error";

/// Shows each row's values of the wanted columns, in the order of the rows. `scratch` is memory for values in quotes.
///
/// # Errors
/// `WrongResult` for what is no such text or lacks a column; `Rejected` where the server tells an error in it; the
/// visitor's own.
pub(crate) fn read<const WANTED: usize>(
    body: &[u8],
    wanted: [&str; WANTED],
    scratch: &mut String,
    mut visit: impl FnMut([&str; WANTED]) -> Result<()>,
) -> Result<()> {
    let text = std::str::from_utf8(body).map_err(|_| malformed("it is not text"))?;
    let mut reader = Reader { text, position: 0 };
    let mut header = None;
    while let Some(start) = reader.next_line() {
        if start == Start::Empty {
            header = None;
            continue;
        }
        let Some(Header { places, error }) = &header else {
            if start == Start::Annotation {
                reader.each_cell(scratch, |_, _| {})?;
            } else {
                header = Some(reader.header(wanted, scratch)?);
            }
            continue;
        };
        let mut ranges: [Option<Piece>; WANTED] = std::array::from_fn(|_| None);
        let mut told = None;
        scratch.clear();
        reader.each_cell(scratch, |column, piece| {
            if *error == Some(column) {
                told = Some(piece.clone());
            }
            if let Some(place) = places.iter().position(|place| *place == column) {
                ranges[place] = Some(piece);
            }
        })?;
        if let Some(told) = told {
            return Err(failed(told.text(text, scratch)));
        }
        let mut values = [""; WANTED];
        for (value, piece) in values.iter_mut().zip(&ranges) {
            *value = piece.as_ref().ok_or_else(|| malformed("a row has too few columns"))?.text(text, scratch);
        }
        visit(values)?;
    }
    Ok(())
}

/// An error that the server tells within a reply.
fn failed(text: &str) -> Error {
    Error::rejected(format!("InfluxDB gave the query up: {}", shown(text.as_bytes())))
        .with_hint("look into the server's log; it may be short of memory or shutting down")
}

fn malformed(reason: &str) -> Error {
    Error::new(ErrorKind::WrongResult, format!("InfluxDB's reply is not the CSV that was asked for: {reason}"))
        .with_hint("check that the target is InfluxDB itself and not something before it that changes replies")
}

/// How a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Empty,
    Annotation,
    Cells,
}

/// Where the wanted columns of a table are.
struct Header<const WANTED: usize> {
    places: [usize; WANTED],
    error: Option<usize>,
}

/// A value: in the reply itself, or in the scratch memory where quotes had to be taken out of it.
#[derive(Debug, Clone)]
struct Piece {
    range: Range<usize>,
    is_scratch: bool,
}

impl Piece {
    fn text<'a>(&self, text: &'a str, scratch: &'a str) -> &'a str {
        &(if self.is_scratch { scratch } else { text })[self.range.clone()]
    }
}

struct Reader<'a> {
    text: &'a str,
    position: usize,
}

impl Reader<'_> {
    /// How the next line begins; past it where it is empty. None at the end.
    fn next_line(&mut self) -> Option<Start> {
        let rest = &self.text.as_bytes()[self.position..];
        match rest {
            [] => None,
            [b'\r', b'\n', ..] => {
                self.position += 2;
                Some(Start::Empty)
            }
            [b'\n', ..] => {
                self.position += 1;
                Some(Start::Empty)
            }
            [b'#', ..] => Some(Start::Annotation),
            _ => Some(Start::Cells),
        }
    }

    fn header<const WANTED: usize>(&mut self, wanted: [&str; WANTED], scratch: &mut String) -> Result<Header<WANTED>> {
        let (mut places, mut error) = ([usize::MAX; WANTED], None);
        let text = self.text;
        scratch.clear();
        self.each_cell(scratch, |column, piece| {
            // Names of columns have no quotes in them.
            let name = if piece.is_scratch { "" } else { piece.text(text, "") };
            if let Some(place) = wanted.iter().position(|wanted| *wanted == name) {
                places[place] = column;
            } else if name == ERROR_COLUMN {
                error = Some(column);
            }
        })?;
        if error.is_none() && places.contains(&usize::MAX) {
            return Err(malformed(&format!("a table lacks one of the columns {}", wanted.join(", "))));
        }
        Ok(Header { places, error })
    }

    /// Takes a line, cell by cell.
    fn each_cell(&mut self, scratch: &mut String, mut visit: impl FnMut(usize, Piece)) -> Result<()> {
        for column in 0..COLUMNS_MAX {
            let is_quoted = self.text.as_bytes().get(self.position) == Some(&b'"');
            let piece = if is_quoted { self.quoted(scratch)? } else { self.plain() };
            visit(column, piece);
            match &self.text.as_bytes()[self.position..] {
                [b',', ..] => self.position += 1,
                [b'\r', b'\n', ..] => {
                    self.position += 2;
                    return Ok(());
                }
                [b'\n', ..] => {
                    self.position += 1;
                    return Ok(());
                }
                [] => return Ok(()),
                _ => return Err(malformed("something follows a closing quote")),
            }
        }
        Err(malformed("a line has too many columns"))
    }

    /// Up to the next comma or the line's end.
    fn plain(&mut self) -> Piece {
        let (start, bytes) = (self.position, self.text.as_bytes());
        let length = bytes[start..].iter().position(|byte| matches!(byte, b',' | b'\n'));
        let mut end = length.map_or(bytes.len(), |length| start + length);
        if bytes.get(end) == Some(&b'\n') && end > start && bytes[end - 1] == b'\r' {
            end -= 1;
        }
        self.position = end;
        Piece { range: start..end, is_scratch: false }
    }

    /// Up to the closing quote. A line break in it came as CR LF, whatever was written.
    fn quoted(&mut self, scratch: &mut String) -> Result<Piece> {
        let start = self.position + 1;
        let scratch_start = scratch.len();
        let (mut copied, mut place) = (start, start);
        loop {
            let rest = &self.text.as_bytes()[place..];
            let Some(length) = rest.iter().position(|byte| matches!(byte, b'"' | b'\r')) else {
                return Err(malformed("it ends within quotes"));
            };
            place += length;
            match &rest[length..] {
                [b'"', b'"', ..] => {
                    scratch.push_str(&self.text[copied..=place]);
                    place += 2;
                    copied = place;
                }
                [b'\r', b'\n', ..] => {
                    scratch.push_str(&self.text[copied..place]);
                    place += 1;
                    copied = place;
                }
                [b'\r', ..] => place += 1,
                _ => break,
            }
        }
        self.position = place + 1;
        if copied == start {
            return Ok(Piece { range: start..place, is_scratch: false });
        }
        scratch.push_str(&self.text[copied..place]);
        Ok(Piece { range: scratch_start..scratch.len(), is_scratch: true })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn rows(body: &str) -> Result<Vec<[String; 2]>> {
        let (mut rows, mut scratch) = (Vec::new(), String::new());
        read(body.as_bytes(), ["_field", "_value"], &mut scratch, |row| {
            rows.push(row.map(str::to_owned));
            Ok(())
        })?;
        Ok(rows)
    }

    fn check(body: &str, expect: &[[&str; 2]]) {
        let found = rows(body).unwrap_or_else(|error| panic!("{body:?}: {error}"));
        assert_eq!(found, expect, "{body:?}");
    }

    #[test]
    fn tables_are_read_as_the_server_writes_them() {
        check("", &[]);
        check("\r\n", &[]);
        check(
            ",result,table,_value,_field\r\n,_result,0,xx,field0\r\n,_result,0,yy,field1\r\n\r\n",
            &[["field0", "xx"], ["field1", "yy"]],
        );
        // Two tables of two types.
        check(
            ",result,table,_time,_value,_field\r\n,_result,0,t,p1,payload\r\n\r\n\
            ,result,table,_value,_field\r\n,_result,1,7,value\r\n\r\n\r\n",
            &[["payload", "p1"], ["value", "7"]],
        );
        check(
            "#datatype,string,long,string,string\r\n#group,false,false,true,false\r\n#default,_result,,,\r\n\
            ,result,table,_field,_value\r\n,,0,a,b\r\n\r\n",
            &[["a", "b"]],
        );
        // Without the last line's end, and with ends of another kind.
        check("_field,_value\na,b", &[["a", "b"]]);
        check("_field,_value\na,\n,b\n", &[["a", ""], ["", "b"]]);
    }

    #[test]
    fn quotes_are_taken_out() {
        check("_field,_value\r\n\"a,b\",\"say \"\"x\"\"\"\r\n\"\",\"\"\"\"\r\n", &[["a,b", "say \"x\""], ["", "\""]]);
        check("_field,_value\r\n\"a\r\nb\",\"c\nd\re\"\r\n", &[["a\nb", "c\nd\re"]]);
    }

    #[test]
    fn an_error_in_the_reply_is_told() {
        let error = rows(",error,reference\r\n,ran out of memory,897\r\n").expect_err("told");
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.to_string().contains("ran out of memory") && error.hint().is_some(), "{error}");
        let late = "_field,_value\r\na,b\r\n\r\n,error,reference\r\n,\"stopped, early\",\r\n";
        assert!(rows(late).expect_err("told").to_string().contains("stopped, early"));
    }

    #[test]
    fn what_is_no_csv_of_ours_is_a_wrong_result() {
        let wide = "x,".repeat(COLUMNS_MAX);
        for body in [
            "<html>",
            "a,b\r\n",
            "_field,_value\r\na\r\n",
            "_field,_value\r\na,\"b",
            "_field,_value\r\n\"a\"x,b",
            &wide,
        ] {
            assert_eq!(rows(body).expect_err(body).kind(), ErrorKind::WrongResult, "{body}");
        }
        let error = read(b"\xff\xfe", ["a"], &mut String::new(), |_| Ok(())).expect_err("no text");
        assert_eq!(error.kind(), ErrorKind::WrongResult);
    }

    proptest! {
        #[test]
        fn values_come_back(values in vec(("[ -~\n]{0,12}|(?s)[^\r]{0,6}", "[ -~\n]{0,12}|(?s)[^\r]{0,6}"), 0..6)) {
            let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\"").replace('\n', "\r\n"));
            let mut body = ",_field,_value\r\n".to_owned();
            for (field, value) in &values {
                body.extend([",", &quoted(field), ",", &quoted(value), "\r\n"]);
            }
            let expect: Vec<_> = values.into_iter().map(|(field, value)| [field, value]).collect();
            prop_assert_eq!(rows(&body).expect("as the server writes it"), expect);
        }

        #[test]
        fn any_bytes_give_rows_or_an_error(body in vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b','), Just(b'\n')], 0..80)) {
            let mut scratch = String::new();
            let mut body = body;
            body.splice(0..0, b"_field,_value\r\n".iter().copied());
            let _ = read(&body, ["_field", "_value"], &mut scratch, |_| Ok(()));
            prop_assert!(scratch.len() <= body.len(), "memory is bounded by the reply's");
        }
    }
}
