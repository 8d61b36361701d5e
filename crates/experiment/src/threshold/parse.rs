//! From text to a [`Threshold`]: `METRIC [(OF, key=value …)] COMPARISON LIMIT`.

use super::metric::Percentile;
use super::{Call, Limit, Of, Relation, Span, Threshold, ThresholdError, Unit, Word};

/// Letters of an expression, blanks not counted: a longer one is none that somebody wrote.
pub(super) const LETTERS_MAX: usize = 200;
/// The same with blanks.
const LENGTH_MAX: usize = 400;
/// Functions within each other: an aggregate over seconds of a metric.
const DEPTH_MAX: usize = 2;
/// Letters of a limit's number: what a double tells apart, so that it is written out as it was read.
const DIGITS_MAX: usize = 15;

pub(super) fn parse(text: &str) -> Result<Threshold, ThresholdError> {
    let text = text.trim();
    let letters = text.chars().filter(|letter| !letter.is_whitespace()).count();
    if letters > LETTERS_MAX || text.chars().count() > LENGTH_MAX {
        return Err(ThresholdError::new(
            text,
            0..text.len(),
            format!("the expression is longer than {LETTERS_MAX} letters"),
        )
        .with_hint("write one condition an expression; several are several thresholds"));
    }
    if text.is_empty() {
        return Err(ThresholdError::new(text, 0..0, "the expression is empty").with_hint(EXAMPLE));
    }
    let mut parser = Parser { text, at: 0 };
    let left = parser.call(1)?;
    let (relation, relation_span) = parser.relation()?;
    let (limit, limit_span) = parser.limit()?;
    Ok(Threshold { text: text.to_owned(), left, relation, relation_span, limit, limit_span })
}

const EXAMPLE: &str = "write a metric, a comparison and a limit: p99(read) < 20ms";

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// The next letter that is no blank, which is then where the parser stands.
    fn peek(&mut self) -> Option<char> {
        self.skip_blanks();
        self.rest().chars().next()
    }

    /// Goes past a letter if it is the next one.
    fn take(&mut self, letter: char) -> bool {
        let is_next = self.peek() == Some(letter);
        if is_next {
            self.at += letter.len_utf8();
        }
        is_next
    }

    /// The place of the next letter, or the end.
    fn here(&mut self) -> Span {
        let length = self.peek().map_or(0, char::len_utf8);
        self.at..self.at + length
    }

    fn error(&self, span: Span, message: impl Into<String>) -> ThresholdError {
        ThresholdError::new(self.text, span, message)
    }

    /// A word, plain or in quotes.
    fn word(&mut self, what: &str) -> Result<Word, ThresholdError> {
        let start = self.here().start;
        if self.take('"') {
            let Some(length) = self.rest().find('"') else {
                return Err(self.error(start..self.text.len(), "the quotes are not closed"));
            };
            let text = self.rest()[..length].to_owned();
            self.at += length + 1;
            let span = start..self.at;
            if text.is_empty() || text.contains(char::is_control) {
                return Err(self.error(span, format!("{what} is missing between the quotes")));
            }
            return Ok(Word { text, span });
        }
        let rest = self.rest();
        if !rest.starts_with(Word::starts) {
            let span = self.here();
            return Err(self.error(span, format!("{what} is missing here")).with_hint(EXAMPLE));
        }
        let length = rest.find(|letter| !Word::goes_on(letter)).unwrap_or(rest.len());
        self.at += length;
        Ok(Word { text: rest[..length].to_owned(), span: start..self.at })
    }

    fn call(&mut self, depth: usize) -> Result<Call, ThresholdError> {
        let mut name = self.word("a metric")?;
        name.text = Percentile::canonical(&name.text);
        self.arguments(name, depth)
    }

    fn arguments(&mut self, name: Word, depth: usize) -> Result<Call, ThresholdError> {
        let mut call = Call { name, of: None, keys: Vec::new(), has_parentheses: self.take('(') };
        if !call.has_parentheses || self.take(')') {
            return Ok(call);
        }
        loop {
            self.argument(&mut call, depth)?;
            if self.take(')') {
                return Ok(call);
            }
            if !self.take(',') {
                let span = self.here();
                return Err(self.error(span, "a `,` or `)` is missing here"));
            }
        }
    }

    /// `OF`, `OF(…)` or `key=value`.
    fn argument(&mut self, call: &mut Call, depth: usize) -> Result<(), ThresholdError> {
        let mut word = self.word("an operation, a gauge or a metric")?;
        let span = word.span.clone();
        match self.peek() {
            Some('=') => {
                self.at += 1;
                let value = self.word("a value")?;
                call.keys.push((word, value));
                return Ok(());
            }
            _ if call.of.is_some() || !call.keys.is_empty() => {
                return Err(self
                    .error(span, "only one thing can be asked of")
                    .with_hint("name it first, then keys and their values: p99(read, phase=steady)"));
            }
            Some('(') if depth >= DEPTH_MAX => {
                return Err(self
                    .error(span, "functions are nested too deeply")
                    .with_hint("an aggregate of one metric is as deep as it goes: max(p99(read))"));
            }
            Some('(') => {
                word.text = Percentile::canonical(&word.text);
                call.of = Some(Of::Call(Box::new(self.arguments(word, depth + 1)?)));
            }
            _ => call.of = Some(Of::Name(word)),
        }
        Ok(())
    }

    fn relation(&mut self) -> Result<(Relation, Span), ThresholdError> {
        let here = self.here();
        let found = Relation::ALL.into_iter().find(|relation| self.rest().starts_with(relation.sign()));
        let Some(relation) = found else {
            let hint = match self.peek() {
                Some('=') => "write == for counts, and one of < <= > >= for all else",
                _ => "write one of < <= > >=, or == and != for counts",
            };
            return Err(self.error(here, "a comparison is missing here").with_hint(hint));
        };
        self.at += relation.sign().len();
        Ok((relation, here.start..self.at))
    }

    /// The number and unit that end the expression.
    fn limit(&mut self) -> Result<(Limit, Span), ThresholdError> {
        self.skip_blanks();
        let span = self.at..self.text.len();
        let rest = self.rest();
        let length = rest.find(|letter: char| !matches!(letter, '0'..='9' | '_' | '.')).unwrap_or(rest.len());
        let digits: String = rest[..length].chars().filter(|letter| *letter != '_').collect();
        let number = Some(&digits)
            .filter(|digits| digits.starts_with(|digit: char| digit.is_ascii_digit()) && digits.len() <= DIGITS_MAX)
            .and_then(|digits| digits.parse::<f64>().ok())
            .ok_or_else(|| {
                self.error(span.clone(), "the limit is not a number with a unit")
                    .with_hint("write it as 20ms, 0.1%, 5000/s, 512MiB or 1_000")
            })?;
        let unit_start = self.at + length;
        let name = rest[length..].trim();
        let unit = Unit::named(name).ok_or_else(|| {
            self.error(unit_start..self.text.len(), format!("there is no unit `{name}`"))
                .with_nearest(name, Unit::names())
        })?;
        self.at = self.text.len();
        Ok((Limit { number, unit }, span))
    }
}
