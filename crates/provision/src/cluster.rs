//! A data store of several nodes.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::engine::{Engine, Peer, Site};
use crate::error::IoContext;
use crate::probe;
use crate::server::{LOOPBACK, Membership, Options, Server, enter};
use crate::{Error, ErrorKind, Instance, Password, Result};

/// Servers that are one data store; they stop when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    engine: &'static dyn Engine,
    nodes: Vec<Server>,
}

impl Cluster {
    /// Starts that many nodes, makes them one data store, and waits until it serves clients. The options' name is that of the
    /// whole, the port that of the first node, the data a folder with one below it for each node.
    ///
    /// # Errors
    /// `Config` where the engine cannot have so many nodes; else as [`Server::start`]. Nothing is left of nodes that did not come up.
    pub fn start(engine: &'static dyn Engine, count: usize, options: &Options) -> Result<Self> {
        let possible = engine.nodes();
        if !possible.contains(&count) {
            let what = format!("{} cannot be started with {count} nodes", engine.title());
            return Err(Error::new(ErrorKind::Config, what).with_hint(if *possible.end() == 1 {
                "only with one".to_owned()
            } else {
                format!("from {} to {}", possible.start(), possible.end())
            }));
        }
        if count == 1 {
            return Ok(Self { engine, nodes: vec![Server::start(engine, options)?] });
        }
        let home = enter(options)?;
        let peers = peers(engine, count, options.port)?;
        let password = Password::random()?;
        let name = options.name.clone().unwrap_or_else(|| format!("{}-{}", engine.name(), peers[0].port));
        let mut cluster = Self { engine, nodes: Vec::new() };
        let mut folders = Vec::new();
        for node in 0..count {
            let folder_name = format!("node-{}", node + 1);
            let own = Options {
                name: Some(format!("{name}-{}", node + 1)),
                data: options.data.as_ref().map(|folder| folder.join(folder_name)),
                ..options.clone()
            };
            let membership =
                Membership { cluster: Some(name.clone()), password: password.clone(), node, nodes: peers.clone() };
            cluster.nodes.push(Server::create(engine, &own, &home, membership)?);
            folders.push(own.data);
        }
        let mut is_fresh = false;
        for (node, folder) in folders.iter().enumerate() {
            let (earlier, others) = cluster.nodes.split_at_mut(node);
            let Some(server) = others.first_mut() else { break };
            server.meet(earlier);
            is_fresh |= server.prepare(folder.as_deref())?;
            if !engine.nodes_start_together() {
                server.launch()?;
            }
        }
        if engine.nodes_start_together() {
            cluster.nodes.iter_mut().try_for_each(Server::spawn)?;
            cluster.nodes.iter_mut().try_for_each(Server::await_ready)?;
        }
        if is_fresh {
            engine.settle(&cluster.sites()).map_err(|error| cluster.nodes[0].with_log(&error))?;
            cluster.nodes.iter().try_for_each(Server::leave_keepsake)?;
        }
        Ok(cluster)
    }

    /// Where clients connect to, **with the password in it**; lists all nodes.
    pub fn url(&self) -> String {
        self.engine.cluster_url(&self.sites())
    }

    /// The nodes, in the order of their starts.
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// The nodes, to be killed and restarted.
    pub fn nodes_mut(&mut self) -> &mut [Server] {
        &mut self.nodes
    }

    /// Stops all nodes.
    ///
    /// # Errors
    /// The first failure, after all have been tried.
    pub fn stop(self) -> Result<()> {
        // The last first: who joined leaves before whom it joined.
        let results: Vec<_> = self.nodes.into_iter().rev().map(Server::stop).collect();
        results.into_iter().collect()
    }

    /// Lets them outlive this process, until each is stopped by [`Instance::stop`].
    ///
    /// # Errors
    /// As [`Server::detach`].
    pub fn detach(self) -> Result<Vec<Instance>> {
        self.nodes.into_iter().map(Server::detach).collect()
    }

    fn sites(&self) -> Vec<&Site> {
        self.nodes.iter().map(Server::site).collect()
    }
}

/// Where each node is to listen.
fn peers(engine: &dyn Engine, count: usize, first_port: Option<u16>) -> Result<Vec<Peer>> {
    let find = |addresses: &[Ipv4Addr], count, taken: &[u16]| {
        probe::free_ports(addresses, count, taken).or_cannot(|| "find free ports")
    };
    let further = engine.further_ports();
    if engine.nodes_have_addresses() {
        let addresses: Vec<_> = (1..=count as u8).map(|last| Ipv4Addr::new(127, 0, 0, last)).collect();
        let port = match first_port {
            Some(port) => port,
            None => find(&addresses, 1, &[])?[0],
        };
        let ports = find(&addresses, further, &[port])?;
        return Ok(addresses
            .into_iter()
            .map(|address| Peer { address, port, ports: ports.clone(), data: PathBuf::new() })
            .collect());
    }
    let mut free = find(&[LOOPBACK], count * (1 + further), first_port.as_slice())?.into_iter();
    let mut take = || free.next().unwrap_or_default();
    Ok((0..count)
        .map(|node| Peer {
            address: LOOPBACK,
            data: PathBuf::new(),
            port: first_port.filter(|_| node == 0).unwrap_or_else(&mut take),
            ports: (0..further).map(|_| take()).collect(),
        })
        .collect())
}
