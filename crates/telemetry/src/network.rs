//! `/proc/net/dev` and `/proc/net/snmp`: what went over the network and what had to be sent again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::count_rate;

/// Sums over interfaces since the host started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// How many interfaces were summed.
    pub interfaces: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Packets received.
    pub received_packets: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets that were damaged, both ways.
    pub errors: u64,
    /// Packets that found no room, both ways.
    pub drops: u64,
}

/// [`Traffic`] a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TrafficRates {
    /// Bytes received a second.
    pub received_bytes_per_second: f64,
    /// Packets received a second.
    pub received_packets_per_second: f64,
    /// Bytes sent a second.
    pub sent_bytes_per_second: f64,
    /// Packets sent a second.
    pub sent_packets_per_second: f64,
    /// Damaged packets a second.
    pub errors_per_second: f64,
    /// Dropped packets a second.
    pub drops_per_second: f64,
}

impl Traffic {
    pub(crate) fn rates(&self, before: &Self, seconds: f64) -> TrafficRates {
        TrafficRates {
            received_bytes_per_second: count_rate(before.received_bytes, self.received_bytes, seconds),
            received_packets_per_second: count_rate(before.received_packets, self.received_packets, seconds),
            sent_bytes_per_second: count_rate(before.sent_bytes, self.sent_bytes, seconds),
            sent_packets_per_second: count_rate(before.sent_packets, self.sent_packets, seconds),
            errors_per_second: count_rate(before.errors, self.errors, seconds),
            drops_per_second: count_rate(before.drops, self.drops, seconds),
        }
    }

    fn add(&mut self, columns: &[u64; 16]) {
        let [received_bytes, received_packets, received_errors, received_drops, ..] = *columns;
        let [.., sent_bytes, sent_packets, sent_errors, sent_drops, _, _, _, _] = *columns;
        let sum = |sum: &mut u64, value: u64| *sum = sum.saturating_add(value);
        self.interfaces += 1;
        sum(&mut self.received_bytes, received_bytes);
        sum(&mut self.received_packets, received_packets);
        sum(&mut self.sent_bytes, sent_bytes);
        sum(&mut self.sent_packets, sent_packets);
        sum(&mut self.errors, received_errors.saturating_add(sent_errors));
        sum(&mut self.drops, received_drops.saturating_add(sent_drops));
    }
}

/// The interfaces of our network namespace in three groups, so that a packet is counted once in each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Interfaces with a device behind them; where none has one (in a container), all but the loopback.
    pub external: Traffic,
    /// Bridges, tunnels and pairs of virtual interfaces: what they carry to other hosts is in `external` as well.
    pub software: Traffic,
    /// `lo`.
    pub loopback: Traffic,
}

/// [`Network`] a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkRates {
    /// Interfaces with a device.
    pub external: TrafficRates,
    /// Bridges, tunnels and pairs of virtual interfaces.
    pub software: TrafficRates,
    /// `lo`.
    pub loopback: TrafficRates,
}

impl Network {
    pub(crate) fn rates(&self, before: &Self, seconds: f64) -> NetworkRates {
        NetworkRates {
            external: self.external.rates(&before.external, seconds),
            software: self.software.rates(&before.software, seconds),
            loopback: self.loopback.rates(&before.loopback, seconds),
        }
    }
}

/// TCP segments since the host started, over IPv4 and IPv6.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tcp {
    /// Segments sent, without those sent again.
    pub sent_segments: u64,
    /// Segments sent again.
    pub retransmitted_segments: u64,
}

/// Which interfaces have a device behind them, asked once for each name.
#[derive(Debug)]
pub(crate) struct Interfaces {
    folder: PathBuf,
    known: HashMap<String, bool>,
}

impl Interfaces {
    pub(crate) fn new(root: &Path) -> Self {
        Self { folder: root.join("sys/class/net"), known: HashMap::new() }
    }

    fn has_device(&mut self, name: &str) -> bool {
        if let Some(has_device) = self.known.get(name) {
            return *has_device;
        }
        let has_device = !name.contains('/') && self.folder.join(name).join("device").exists();
        self.known.insert(name.to_owned(), has_device);
        has_device
    }
}

/// Reads `/proc/net/dev`: two lines of headings, then eight columns received and eight sent for each interface.
pub(crate) fn parse_interfaces(text: &str, interfaces: &mut Interfaces) -> Option<Network> {
    let mut network = Network::default();
    let mut understood = false;
    for line in text.lines().skip(2) {
        let Some((name, values)) = line.rsplit_once(':') else { continue };
        let mut columns = [0_u64; 16];
        let mut count = 0;
        for (column, value) in columns.iter_mut().zip(values.split_ascii_whitespace()) {
            let Ok(number) = value.parse() else { break };
            *column = number;
            count += 1;
        }
        if count < columns.len() {
            continue;
        }
        understood = true;
        let group = match name.trim() {
            "lo" => &mut network.loopback,
            name if interfaces.has_device(name) => &mut network.external,
            _ => &mut network.software,
        };
        group.add(&columns);
    }
    if network.external.interfaces == 0 {
        network.external = std::mem::take(&mut network.software);
    }
    understood.then_some(network)
}

/// Reads the `Tcp:` lines of `/proc/net/snmp`: one of names, one of values.
pub(crate) fn parse_tcp(text: &str) -> Option<Tcp> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let value = |wanted: &str| {
        let (_, value) =
            names.split_ascii_whitespace().zip(values.split_ascii_whitespace()).find(|(name, _)| *name == wanted)?;
        value.parse::<u64>().ok()
    };
    Some(Tcp { sent_segments: value("OutSegs")?, retransmitted_segments: value("RetransSegs")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEV: &str = "Inter-|   Receive |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed\n    lo:    9330     137    0    0    0     0          0         0     9330     137    0    0    0     0       0          0\n  eth0:1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0\nveth@x: 7 7 7 7 7 7 7 7 8 8 8 8 8 8 8 8\n";

    #[test]
    fn interfaces_fall_into_three_groups() {
        let bare = tempfile::tempdir().expect("a temporary folder");
        let network = parse_interfaces(DEV, &mut Interfaces::new(bare.path())).expect("a well-formed file");
        assert_eq!((network.external.interfaces, network.external.received_bytes), (2, 1007));
        assert_eq!((network.software.interfaces, network.loopback.sent_packets), (0, 137));

        let host = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir_all(host.path().join("sys/class/net/eth0/device")).expect("the folder is ours");
        let network = parse_interfaces(DEV, &mut Interfaces::new(host.path())).expect("a well-formed file");
        let external = Traffic {
            interfaces: 1,
            received_bytes: 1000,
            received_packets: 10,
            sent_bytes: 2000,
            sent_packets: 20,
            errors: 4,
            drops: 6,
        };
        assert_eq!(network.external, external);
        assert_eq!((network.software.received_bytes, network.software.sent_bytes), (7, 8));
    }

    #[test]
    fn tcp_columns_are_found_by_name() {
        let text = "Ip: Forwarding\nIp: 1\nTcp: RtoMin OutSegs RetransSegs\nTcp: -1 62 5\n";
        assert_eq!(parse_tcp(text), Some(Tcp { sent_segments: 62, retransmitted_segments: 5 }));
        assert_eq!(parse_tcp("Tcp: OutSegs RetransSegs\nTcp: 1\n"), None);
        assert_eq!(parse_tcp("Tcp: OutSegs\n"), None);
    }
}
