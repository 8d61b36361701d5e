//! What a data store can do, as data that is known before a connection is opened.

/// One thing that a data store can or cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Capability {
    /// read, insert, update and delete of a record by its key.
    KeyValue = 1 << 0,
    /// Records can be read in key order from a start key.
    OrderedScan = 1 << 1,
    /// Statements in SQL: sessions have the [`Sql`](crate::Sql) face.
    Sql = 1 << 2,
    /// Several statements take effect together or not at all.
    Transactions = 1 << 3,
    /// A session can have more than one request in flight.
    Pipelining = 1 << 4,
    /// The client library blocks its thread: every session gets a worker of its own.
    BlockingClient = 1 << 5,
    /// Connections can be encrypted.
    Tls = 1 << 6,
    /// The server keeps counters that can be read.
    ServerCounters = 1 << 7,
    /// Data outlives the process that wrote it.
    Durable = 1 << 8,
    /// Runs inside Storelab: nothing has to be reached over a network.
    Embedded = 1 << 9,
    /// Writes do not look first: an insert overwrites, an update of an absent key makes a record of the fields that it names,
    /// and whoever removes nothing is told that it was done.
    BlindWrites = 1 << 10,
}

impl Capability {
    /// Every capability.
    pub const ALL: [Self; 11] = [
        Self::KeyValue,
        Self::OrderedScan,
        Self::Sql,
        Self::Transactions,
        Self::Pipelining,
        Self::BlockingClient,
        Self::Tls,
        Self::ServerCounters,
        Self::Durable,
        Self::Embedded,
        Self::BlindWrites,
    ];

    /// The name in tables and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyValue => "key-value",
            Self::OrderedScan => "ordered scan",
            Self::Sql => "sql",
            Self::Transactions => "transactions",
            Self::Pipelining => "pipelining",
            Self::BlockingClient => "blocking client",
            Self::Tls => "tls",
            Self::ServerCounters => "server counters",
            Self::Durable => "durable",
            Self::Embedded => "embedded",
            Self::BlindWrites => "blind writes",
        }
    }
}

/// A set of [`Capability`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(u32);

impl Capabilities {
    /// The set of the listed capabilities.
    pub const fn of(list: &[Capability]) -> Self {
        let mut bits = 0;
        let mut position = 0;
        while position < list.len() {
            bits |= list[position] as u32;
            position += 1;
        }
        Self(bits)
    }

    /// Whether the capability is in the set.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & capability as u32 != 0
    }

    /// What `needed` has and this set has not.
    pub fn missing(self, needed: Self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |capability| needed.has(*capability) && !self.has(*capability))
    }

    /// The capabilities in the set.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |capability| self.has(*capability))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_tell_what_is_missing() {
        let has = Capabilities::of(&[Capability::KeyValue, Capability::Tls]);
        let needs = Capabilities::of(&[Capability::KeyValue, Capability::OrderedScan]);
        assert_eq!(has.missing(needs).collect::<Vec<_>>(), [Capability::OrderedScan]);
        assert_eq!(has.iter().count(), 2);
    }
}
