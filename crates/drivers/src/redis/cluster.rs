//! Redis Cluster: keys in 16,384 slots, and masters that have some of them each.
//!
//! - `slots`: which slot a key is in, who serves it, what a redirect says.
//! - `link`: a connection to one node; `router`: what goes where, and how the answers come together.
//! - `session`: the contract over it; `records`: the key-value verbs and their index in parts.
//!
//! **Nobody is reached whom the target does not list** (`?nodes=`): links are by the numbers of that list, so that a topology or
//! a redirect with another address ends as an error before there is a socket.

mod link;
mod records;
mod router;
mod session;
mod slots;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use store::{Error, ErrorKind, Node, Result, Target};

pub(crate) use self::records::ClusterRecords;
pub(crate) use self::router::Router;
pub(crate) use self::session::ClusterSession;
use self::slots::{Topology, slot_of};
use super::connection::{Address, Connection};
use super::reply::Replies;
use super::servers::Servers;
use super::{DEFAULT_PORT, ReadFrom};

/// What is known of a cluster, shared by its sessions.
pub(crate) struct Cluster {
    /// All that may be reached, and how.
    nodes: Vec<Node>,
    addresses: Vec<Address>,
    read_from: ReadFrom,
    latest: Mutex<Arc<Topology>>,
    /// Who answered last, to be asked first.
    first: AtomicUsize,
    /// Counts sessions, which read from replicas in turn.
    sessions: AtomicUsize,
}

/// What a target turned out to be.
pub(crate) enum Found {
    /// A server that stands alone.
    Alone,
    /// A cluster.
    Cluster(Arc<Cluster>),
}

impl Cluster {
    /// Asks the target what it is: its own address, or where nobody answers there, the next that it lists.
    ///
    /// # Errors
    /// As [`Connection::open`]; `Rejected` where a master is not listed; `Config` for a way to read that there is not.
    pub(crate) async fn find(target: &Target, address: &Address) -> Result<Found> {
        let nodes = target.nodes(DEFAULT_PORT)?;
        let read_from = ReadFrom::of(target)?;
        let addresses = nodes.iter().map(|node| address.at(node)).collect::<Result<Vec<_>>>()?;
        let mut unreached = None;
        for place in 0..nodes.len() {
            let asked = addresses[place].in_time(async {
                let mut connection = Connection::open(&addresses[place]).await?;
                topology_of(&mut connection, &nodes[place], &nodes).await
            });
            let topology = match asked.await {
                Ok(topology) => topology,
                Err(error) if error.kind() == ErrorKind::Unreachable => {
                    unreached.get_or_insert(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            return match (topology, unreached) {
                (Some(topology), _) => {
                    topology.masters(&nodes)?;
                    check_replicas(read_from, &topology, &nodes)?;
                    Ok(Found::Cluster(Arc::new(Self {
                        nodes,
                        addresses,
                        read_from,
                        latest: Mutex::new(Arc::new(topology)),
                        first: AtomicUsize::new(place),
                        sessions: AtomicUsize::new(0),
                    })))
                }
                (None, None) if read_from == ReadFrom::Replica => {
                    Err(Error::config("the target's `read_from=replica` needs a cluster, and the server stands alone")
                        .with_hint("name the replica itself in the target to read from it"))
                }
                (None, None) => Ok(Found::Alone),
                // Another server that stands alone is not the one that was meant.
                (None, Some(error)) => Err(error),
            };
        }
        Err(unreached.unwrap_or_else(|| Error::bug("a target lists itself at least")))
    }

    /// All that may be reached.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Whether replicas answer reads.
    pub(crate) fn reads_from_replicas(&self) -> bool {
        self.read_from == ReadFrom::Replica
    }

    /// Connects to a node.
    async fn open(&self, place: u16) -> Result<Connection> {
        let address = &self.addresses[usize::from(place)];
        let mut connection = Connection::open(address).await?;
        if self.reads_from_replicas() {
            // A master takes it too, and does as before.
            address.in_time(connection.tell(&[b"READONLY"])).await?;
        }
        Ok(connection)
    }

    /// Connects to the first node that answers and asks who serves what.
    async fn enter(&self) -> Result<(u16, Connection, Arc<Topology>)> {
        let first = self.first.load(Ordering::Relaxed);
        let mut unreached = None;
        for step in 0..self.nodes.len() {
            let place = (first + step) % self.nodes.len();
            let address = &self.addresses[place];
            let asked = address.in_time(async {
                let mut connection = self.open(place as u16).await?;
                let topology = topology_of(&mut connection, &self.nodes[place], &self.nodes).await?;
                Ok((connection, topology))
            });
            match asked.await {
                Ok((connection, Some(topology))) => {
                    self.first.store(place, Ordering::Relaxed);
                    return Ok((place as u16, connection, self.remember(topology)));
                }
                Ok((_, None)) => {
                    return Err(Error::rejected(format!("{} is not part of the cluster any more", self.nodes[place]))
                        .with_hint("take it off the target's `nodes`"));
                }
                Err(error) if error.kind() == ErrorKind::Unreachable => unreached = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(unreached.unwrap_or_else(|| Error::bug("a target lists itself at least")))
    }

    /// A way through the cluster, for one session or one load.
    pub(crate) async fn router(self: &Arc<Self>) -> Result<Router> {
        let (place, connection, topology) = self.enter().await?;
        Router::new(Arc::clone(self), topology, place, connection)
    }

    /// Connections to all masters, of which the one that has that key is the keeper.
    ///
    /// # Errors
    /// As [`Connection::open`]; `Rejected` where one is not listed.
    pub(crate) async fn masters(&self, key: &[u8]) -> Result<Servers> {
        let (_, _, topology) = self.enter().await?;
        let places = topology.masters(&self.nodes)?;
        let mut connections = Vec::new();
        for place in &places {
            connections.push(self.open(*place).await?);
        }
        let slot = slot_of(key);
        let range = topology.serving(slot).ok_or_else(|| slots::unserved(slot))?;
        let keeper = places.iter().position(|place| range.master == slots::Place::Listed(*place));
        let has_replicas = !range.replicas.is_empty() || range.replica_elsewhere.is_some();
        Ok(Servers::masters(connections, keeper.ok_or_else(|| slots::unserved(slot))?, has_replicas))
    }

    /// How many masters and replicas there are.
    pub(crate) fn describe(&self) -> String {
        let topology = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let masters = topology.masters(&self.nodes).map_or(0, |masters| masters.len());
        let mut replicas: Vec<_> = topology.ranges().iter().flat_map(|range| &range.replicas).collect();
        replicas.sort_unstable();
        replicas.dedup();
        format!("{masters} masters, {} replicas", replicas.len())
    }

    /// Keeps the latest topology; sessions that know the same one share it.
    fn remember(&self, topology: Topology) -> Arc<Topology> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if **latest != topology {
            *latest = Arc::new(topology);
        }
        Arc::clone(&latest)
    }

    fn next_replica(&self) -> usize {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }
}

async fn topology_of(connection: &mut Connection, asked: &Node, listed: &[Node]) -> Result<Option<Topology>> {
    let read = |replies: &mut Replies<'_>| Topology::read(replies, asked, listed);
    connection.ask(&[b"CLUSTER", b"SLOTS"], read).await
}

/// Refuses to read from replicas where there are none, or none that is listed.
fn check_replicas(read_from: ReadFrom, topology: &Topology, listed: &[Node]) -> Result<()> {
    let ranges = topology.ranges();
    if read_from == ReadFrom::Master || ranges.iter().any(|range| !range.replicas.is_empty()) {
        return Ok(());
    }
    match ranges.iter().find_map(|range| range.replica_elsewhere.clone()) {
        Some(node) => node.permitted(listed).map(drop),
        None => Err(Error::config("the target's `read_from=replica` needs replicas, and the cluster has none")
            .with_hint("leave it out, or give each master a replica")),
    }
}

/// The slot of a key.
#[cfg(test)]
pub(crate) fn slot_of_key(key: &[u8]) -> u16 {
    slot_of(key)
}
