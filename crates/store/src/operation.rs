//! The operations that a driver offers beside the key-value verbs.

/// What an operation does to the rows of its dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Reads; the row number says which row it is about.
    Reads,
    /// Changes rows that exist.
    Changes,
    /// Adds the row of the given number, which must not exist.
    Adds,
    /// Removes the row of the given number, which must exist.
    Removes,
}

/// One operation of a driver's list, named as users ask for it.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// The name: lower case, no spaces (`insert`, `join`, `sortedset`).
    pub name: &'static str,
    /// One line: which feature of the store it exercises, and how it is verified.
    pub summary: &'static str,
    /// What it does to the rows.
    pub effect: Effect,
    /// What the server must have beyond its plain build (`JSON module`), where it needs something.
    /// [`ServerInfo::operations_missing`](crate::ServerInfo::operations_missing) says whether this server has it.
    pub needs: Option<&'static str>,
}

impl Operation {
    /// An operation that every server of this kind has.
    pub const fn new(name: &'static str, effect: Effect, summary: &'static str) -> Self {
        Self { name, summary, effect, needs: None }
    }

    /// The same operation on servers that have `what`.
    #[must_use]
    pub const fn needs(mut self, what: &'static str) -> Self {
        self.needs = Some(what);
        self
    }
}
