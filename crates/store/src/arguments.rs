//! A statement's parameters in reused buffers.

use crate::Value;

/// Parameters that own their values: nothing is allocated once the buffers are warm.
///
/// A client keeps one for each request in flight, and fills it anew for each statement.
#[derive(Debug, Default)]
pub struct Arguments {
    values: Vec<Argument>,
    /// All texts, one behind the other.
    text: String,
}

#[derive(Debug, Clone, Copy)]
enum Argument {
    Null,
    Integer(i64),
    Real(f64),
    Text { start: usize, end: usize },
}

impl Arguments {
    /// None yet, with room for so many, and for so many bytes of text.
    pub fn with_capacity(values: usize, text_bytes: usize) -> Self {
        Self { values: Vec::with_capacity(values), text: String::with_capacity(text_bytes) }
    }

    /// Forgets all and keeps the memory.
    pub fn clear(&mut self) {
        self.values.clear();
        self.text.clear();
    }

    /// The next one is NULL.
    pub fn null(&mut self) {
        self.values.push(Argument::Null);
    }

    /// The next one is a whole number.
    pub fn integer(&mut self, number: i64) {
        self.values.push(Argument::Integer(number));
    }

    /// The next one is a floating-point number.
    pub fn real(&mut self, number: f64) {
        self.values.push(Argument::Real(number));
    }

    /// The next one is a text.
    pub fn text(&mut self, text: &str) {
        let start = self.text.len();
        self.text.push_str(text);
        self.values.push(Argument::Text { start, end: self.text.len() });
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Value<'_>> {
        self.values.iter().map(|argument| match *argument {
            Argument::Null => Value::Null,
            Argument::Integer(number) => Value::Integer(number),
            Argument::Real(number) => Value::Real(number),
            Argument::Text { start, end } => Value::Text(&self.text[start..end]),
        })
    }
}

impl Clone for Arguments {
    fn clone(&self) -> Self {
        Self { values: self.values.clone(), text: self.text.clone() }
    }

    /// Keeps the memory.
    fn clone_from(&mut self, other: &Self) {
        self.values.clone_from(&other.values);
        self.text.clone_from(&other.text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_come_in_order_and_are_forgotten() {
        let mut arguments = Arguments::with_capacity(1, 1);
        for _ in 0..2 {
            arguments.clear();
            arguments.integer(-1);
            arguments.text("a");
            arguments.null();
            arguments.text("ä");
            arguments.real(0.5);
            let expected = [Value::Integer(-1), Value::Text("a"), Value::Null, Value::Text("ä"), Value::Real(0.5)];
            assert_eq!(arguments.iter().collect::<Vec<_>>(), expected);
        }
    }
}
