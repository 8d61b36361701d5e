//! A `.env` file, read strictly: what is not understood is an error with its line, never a guess.
//!
//! ```text
//! # a comment
//! NAME=value            # text up to the end of the line or a blank and `#`
//! export NAME='as it is, "quotes" and # too'
//! NAME="with \n, \r, \t, \" and \\"
//! ```
//! Blanks around the `=` are no part of either side, quoted text may go over several lines, and nothing is put in for
//! `$NAME`: a password may hold a dollar.

use std::fmt;

use store::{Error, Result};

/// A variable as the file has it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
    /// Where it begins, from 1.
    pub(super) line: usize,
}

impl fmt::Debug for Variable {
    /// Without the value, which may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in line {}", self.name, self.line)
    }
}

/// The variables of a file, in its order.
///
/// # Errors
/// `Config` with the line, for what is no variable and for one that is there twice. Values are never quoted: they may be
/// passwords.
pub(super) fn parse(text: &str) -> Result<Vec<Variable>> {
    let mut reader = Reader { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 };
    let mut variables: Vec<Variable> = Vec::new();
    while let Some(variable) = reader.variable()? {
        if let Some(first) = variables.iter().find(|first| first.name == variable.name) {
            let Variable { name, line, .. } = &variable;
            return Err(wrong(*line, &format!("`{name}` is set a second time, first in line {}", first.line))
                .with_hint("leave one of them out"));
        }
        variables.push(variable);
    }
    Ok(variables)
}

fn wrong(line: usize, why: &str) -> Error {
    Error::config(format!(".env line {line}: {why}"))
}

/// What is left of the file, and the line that it begins in.
struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl Reader<'_> {
    /// The next variable; none at the end.
    fn variable(&mut self) -> Result<Option<Variable>> {
        loop {
            self.skip_blanks();
            if self.rest.is_empty() {
                return Ok(None);
            }
            if !self.skip_end_of_line() {
                break;
            }
        }
        let line = self.line;
        let name = self.name()?;
        self.skip_blanks();
        let value = match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
            _ => self.bare(),
        };
        if value.contains('\0') {
            return Err(wrong(line, &format!("the value of `{name}` holds a zero byte")).with_hint("take it out"));
        }
        Ok(Some(Variable { name, value, line }))
    }

    /// What stands before the `=`, which is taken too.
    fn name(&mut self) -> Result<String> {
        let no_variable =
            |line| wrong(line, "this is no variable").with_hint("write NAME=value, or `#` before a comment");
        let line = self.rest.lines().next().unwrap_or_default();
        let (before, _) = line.split_once('=').ok_or_else(|| no_variable(self.line))?;
        let taken = before.len() + 1;
        let name = before.trim_end();
        let name = match name.strip_prefix("export") {
            Some(name) if name.starts_with([' ', '\t']) => name.trim_start(),
            _ => name,
        };
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
        if !is_name {
            return Err(no_variable(self.line));
        }
        let name = name.to_owned();
        self.rest = &self.rest[taken..];
        Ok(name)
    }

    /// A value without quotes.
    fn bare(&mut self) -> String {
        let line = self.rest.split('\n').next().unwrap_or_default();
        let comment = line.match_indices('#').map(|(place, _)| place);
        let begins_comment = |place: &usize| *place == 0 || line[..*place].ends_with([' ', '\t']);
        let end = comment.into_iter().find(begins_comment).unwrap_or(line.len());
        let value = line[..end].trim().to_owned();
        self.rest = &self.rest[line.len()..];
        value
    }

    /// A value in quotes, after which only a comment may come.
    fn quoted(&mut self, quote: char) -> Result<String> {
        let first = self.line;
        let mut value = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        let end = loop {
            match characters.next() {
                None => {
                    return Err(
                        wrong(first, "a quote is not closed").with_hint(format!("put {quote} behind the value"))
                    );
                }
                Some((place, character)) if character == quote => break place + 1,
                Some((_, '\\')) if quote == '"' => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, 'r')) => value.push('\r'),
                    Some((_, 't')) => value.push('\t'),
                    Some((_, plain @ ('"' | '\\' | '$'))) => value.push(plain),
                    Some((_, other)) => value.extend(['\\', other]),
                    None => value.push('\\'),
                },
                Some((_, character)) => value.push(character),
            }
        };
        self.line += self.rest[..end].matches('\n').count();
        self.rest = &self.rest[end..];
        self.skip_blanks();
        if self.rest.is_empty() || self.skip_end_of_line() {
            return Ok(value);
        }
        Err(wrong(self.line, "there is something behind the closing quote")
            .with_hint("put all of the value into the quotes, or `#` before a comment"))
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    /// Goes to the next line, where only a comment or nothing is left of this one.
    fn skip_end_of_line(&mut self) -> bool {
        let line = self.rest.split('\n').next().unwrap_or_default();
        let is_over = line.starts_with('#') || line.trim().is_empty();
        if is_over {
            self.rest = self.rest.get(line.len() + 1..).unwrap_or_default();
            self.line += 1;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(String, String, usize)> {
        let variables = parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        variables.into_iter().map(|Variable { name, value, line }| (name, value, line)).collect()
    }

    #[test]
    fn a_variable_is_read_as_it_is_written() {
        for (text, value) in [
            ("X=value", "value"),
            ("X=", ""),
            ("X=   ", ""),
            ("X = spaced out ", "spaced out"),
            ("export X=1", "1"),
            ("export\tX=1", "1"),
            ("X=a # comment", "a"),
            ("X=a#b", "a#b"),
            ("X=# comment", ""),
            ("X='a # b'", "a # b"),
            ("X='a' # comment", "a"),
            ("X=\"a b\"", "a b"),
            ("X=\"a\\nb\\t\\\"c\\\"\\\\\"", "a\nb\t\"c\"\\"),
            ("X='a\\nb'", "a\\nb"),
            ("X=\"\\d\"", "\\d"),
            ("X=$HOME/${Y}", "$HOME/${Y}"),
            ("X=\"$HOME\"", "$HOME"),
            ("X=a=b", "a=b"),
            ("X=it's", "it's"),
            ("X=pass\"word", "pass\"word"),
            ("X='two\nlines'", "two\nlines"),
            ("X=grüße 🦀", "grüße 🦀"),
        ] {
            assert_eq!(read(text), [("X".to_owned(), value.to_owned(), 1)], "{text:?}");
        }
    }

    #[test]
    fn lines_are_counted_over_comments_quotes_and_ends() {
        let text = "\u{feff}# first\r\n\r\nA=1\r\n  \nB='x\ny' # over two\nC=3\n#D=4\n";
        let owned = |name: &str, value: &str, line| (name.to_owned(), value.to_owned(), line);
        assert_eq!(read(text), [owned("A", "1", 3), owned("B", "x\ny", 5), owned("C", "3", 7)]);
        assert_eq!(read(""), []);
        assert_eq!(read("\n\n# only\n  # comments"), []);
    }

    #[test]
    fn what_is_not_understood_is_said_with_its_line_and_without_its_value() {
        for (text, parts) in [
            ("A=1\nnonsense canary\n", [".env line 2", "no variable"]),
            ("1A=canary", [".env line 1", "no variable"]),
            ("A B=canary", [".env line 1", "no variable"]),
            ("=canary", [".env line 1", "no variable"]),
            ("exportA B=canary", [".env line 1", "no variable"]),
            ("\nA='canary\n", [".env line 2", "not closed"]),
            ("A=\"canary\\\"", [".env line 1", "not closed"]),
            ("A='x' canary", [".env line 1", "behind the closing quote"]),
            ("A='x\ny'canary", [".env line 2", "behind the closing quote"]),
            ("A=1\nB=2\nA=canary", [".env line 3", "first in line 1"]),
            ("A=canary\0", [".env line 1", "zero byte"]),
        ] {
            let error = parse(text).expect_err(text);
            for part in parts {
                assert!(error.to_string().contains(part), "{text:?}: {error}");
            }
            assert!(error.hint().is_some(), "{text:?}");
            assert!(!format!("{error:?}").contains("canary"), "{text:?}: {error:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s).{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn any_text_of_what_matters_is_read_or_refused(text in "[A-C=\"'\\\\#$ \t\r\nexport]{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn any_value_survives_quotes(value in "[^\0]{0,60}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let read = parse(&format!("# before\nexport X=\"{quoted}\" # after\nY=1")).expect("quoted");
            prop_assert_eq!(&read[0].value, &value);
            prop_assert_eq!(read[1].line, 3 + value.matches('\n').count());
        }
    }
}
