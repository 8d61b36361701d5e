//! What is asked of a data store as a whole: of the server, or in a cluster of each master.

use std::time::Duration;

use store::{Error, ErrorKind, Result};

use super::connection::Connection;
use super::reply::Replies;

/// How long replicas may take to have what was loaded; those of a cluster at rest need milliseconds.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two looks at how far they are.
const CATCH_UP_INTERVAL: Duration = Duration::from_millis(5);

/// Connections to all servers that have keys of their own.
pub(crate) struct Servers {
    connections: Vec<Connection>,
    /// Which of them has the manifest.
    keeper: usize,
    is_cluster: bool,
    /// Whether there is somebody to take over from the one that has the manifest.
    has_replicas: bool,
}

impl Servers {
    /// The only one.
    pub(crate) fn alone(connection: Connection) -> Self {
        Self { connections: vec![connection], keeper: 0, is_cluster: false, has_replicas: false }
    }

    /// A cluster's masters, of which one has the manifest, and perhaps replicas.
    pub(crate) fn masters(connections: Vec<Connection>, keeper: usize, has_replicas: bool) -> Self {
        debug_assert!(keeper < connections.len(), "it is one of them");
        Self { connections, keeper, is_cluster: true, has_replicas }
    }

    /// The one that has the manifest.
    pub(crate) fn keeper(&mut self) -> &mut Connection {
        &mut self.connections[self.keeper]
    }

    /// All of them.
    pub(crate) fn all(&mut self) -> &mut [Connection] {
        &mut self.connections
    }

    /// Whether a command's keys must share a slot.
    pub(crate) fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    /// Whether what the manifest says can outlive the server that has it.
    pub(crate) fn has_replicas(&self) -> bool {
        self.has_replicas
    }

    /// Waits until the replicas have what the masters have now. One that is away is not waited for.
    ///
    /// # Errors
    /// `Timeout` where one lags so far behind that what is read from it would be wrong.
    pub(crate) async fn await_replicas(&mut self) -> Result<()> {
        for connection in &mut self.connections {
            let (written, _) = offsets(connection).await?;
            let waited = tokio::time::timeout(CATCH_UP_TIMEOUT, async {
                while offsets(connection).await?.1.is_some_and(|least| least < written) {
                    tokio::time::sleep(CATCH_UP_INTERVAL).await;
                }
                Ok(())
            });
            waited.await.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Timeout, "a replica does not catch up with its master")
                    .with_hint("see INFO replication, or read from the masters: read_from=master"))
            })?;
        }
        Ok(())
    }
}

/// What a server has written, and what the replica that is furthest behind has of it.
async fn offsets(connection: &mut Connection) -> Result<(u64, Option<u64>)> {
    let read = |replies: &mut Replies<'_>| Ok(offsets_of(&String::from_utf8_lossy(replies.bytes()?)));
    connection.ask(&[b"INFO", b"replication"], read).await
}

/// Of `master_repl_offset:10` and `slave0:ip=127.0.0.1,port=7003,state=online,offset=10,lag=0`.
fn offsets_of(info: &str) -> (u64, Option<u64>) {
    let (mut written, mut least) = (0, None);
    for line in info.lines() {
        if let Some(number) = line.strip_prefix("master_repl_offset:") {
            written = number.trim_end().parse().unwrap_or(0);
        } else if line.starts_with("slave") && line.contains("state=online") {
            let offset = line.split(',').find_map(|part| part.strip_prefix("offset=")?.parse::<u64>().ok());
            least = [least, offset].into_iter().flatten().min();
        }
    }
    (written, least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replica_that_is_furthest_behind_counts() {
        let info = "role:master\r\nconnected_slaves:3\r\n\
            slave0:ip=127.0.0.1,port=1,state=online,offset=90,lag=0\r\n\
            slave1:ip=127.0.0.1,port=2,state=online,offset=70,lag=1\r\n\
            slave2:ip=127.0.0.1,port=3,state=wait_bgsave,offset=0,lag=0\r\n\
            master_repl_offset:90\r\n";
        assert_eq!(offsets_of(info), (90, Some(70)));
        assert_eq!(offsets_of("role:master\r\nmaster_repl_offset:5\r\n"), (5, None));
        assert_eq!(offsets_of("nonsense"), (0, None));
    }
}
