//! The counters of all servers of a store together.

use std::time::Duration;

use ::store::{Counters, Result};

use super::address::Address;
use super::connection::Connection;

/// A server that does not let us in within this time has no say in this second's counters; its last ones stand.
const ENTRY_TIMEOUT: Duration = Duration::from_millis(500);

/// Connections that counters are read through.
pub(super) struct Counting {
    queries: &'static [&'static str],
    servers: Vec<Server>,
}

struct Server {
    address: Address,
    connection: Option<Connection>,
    /// Those of the queries that it has.
    has: Vec<bool>,
    last: Counters,
}

impl Counting {
    /// Connections to all servers of the address, made when they are first needed.
    pub(super) fn new(address: &Address) -> Self {
        let queries = address.product.counters;
        let server = |place| Server {
            address: address.only(place),
            connection: None,
            has: vec![true; queries.len()],
            last: Counters::new(),
        };
        Self { queries, servers: (0..address.places.len()).map(server).collect() }
    }

    /// The sums of all servers' counters.
    ///
    /// # Errors
    /// The last one's where none of them answers.
    pub(super) async fn read(&mut self) -> Result<Counters> {
        let count = self.servers.len();
        let mut failure = None;
        let mut failures = 0;
        let mut sum = Counters::new();
        for server in &mut self.servers {
            if let Err(error) = server.read(self.queries, count > 1).await {
                failure = Some(error);
                failures += 1;
            }
            for (name, value) in &server.last {
                *sum.entry(name.clone()).or_default() += value;
            }
        }
        match failure {
            Some(error) if failures == count => Err(error),
            _ => Ok(sum),
        }
    }
}

impl Server {
    /// Reads its counters; the server may have been started anew since the last look.
    async fn read(&mut self, queries: &[&str], is_one_of_several: bool) -> Result<()> {
        if let Some(connection) = &mut self.connection {
            match read(connection, queries, &mut self.has).await {
                Ok(counters) => {
                    self.last = counters;
                    return Ok(());
                }
                Err(_) => self.connection = None,
            }
        }
        if is_one_of_several {
            self.address.connect_timeout = self.address.connect_timeout.min(ENTRY_TIMEOUT);
        }
        let connection = self.connection.insert(Connection::open(&self.address).await?);
        self.last = read(connection, queries, &mut self.has).await?;
        Ok(())
    }
}

async fn read(connection: &mut Connection, queries: &[&str], has: &mut [bool]) -> Result<Counters> {
    let mut counters = Counters::new();
    for (text, has) in queries.iter().zip(has) {
        if *has {
            let show = |name: &str, number| {
                counters.insert(name.to_owned(), number);
            };
            *has = connection.numbers(text, show).await?;
        }
    }
    Ok(counters)
}
