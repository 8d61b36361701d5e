//! Making servers one cluster, with the few commands that it takes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use crate::engine::Site;
use crate::process::wait_until;
use crate::{Error, ErrorKind, Result};

/// Fewer than six nodes are all masters; six are three masters with a replica each.
pub(crate) const NODES: RangeInclusive<usize> = 1..=6;

/// The port that nodes speak to one another on.
pub(crate) const FURTHER_PORTS: usize = 1;

/// Nodes from which on each master has a replica: a majority of masters must be left to promote one.
const NODES_WITH_REPLICAS: usize = 6;

const SLOTS: usize = 16_384;

/// Nodes that know each other exchange news every second; forming takes about three where nothing else runs.
const FORM_TIMEOUT: Duration = Duration::from_mins(1);

/// One answer, on this machine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest answer that is read: `CLUSTER NODES` has about 150 bytes for each node.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// More items than any of its lists has.
const ITEMS_MAX: u64 = 1000;

/// Gives the masters their slots and the replicas their masters, and waits until all of them know.
///
/// # Errors
/// `StartFailed`, with what a server said.
pub(crate) fn form(nodes: &[&Site]) -> Result<()> {
    if nodes.len() < 2 {
        return Ok(());
    }
    let masters = if nodes.len() < NODES_WITH_REPLICAS { nodes.len() } else { nodes.len() / 2 };
    let mut clients = nodes.iter().map(|site| Client::enter(site)).collect::<Result<Vec<_>>>()?;
    for (number, client) in clients.iter_mut().enumerate() {
        if number < masters {
            let (first, last) = (number * SLOTS / masters, (number + 1) * SLOTS / masters - 1);
            client.ask(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()])?;
        }
        // Nodes that were never told apart by it would have to settle it among themselves.
        client.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()])?;
    }
    for site in &nodes[1..] {
        let bus = site.ports.first().copied().unwrap_or(0).to_string();
        clients[0].ask(&["CLUSTER", "MEET", &site.address.to_string(), &site.port.to_string(), &bus])?;
    }
    let names = clients.iter_mut().map(|client| client.ask(&["CLUSTER", "MYID"])).collect::<Result<Vec<_>>>()?;
    let known = |client: &mut Client, names: &[String]| {
        let list = client.ask(&["CLUSTER", "NODES"])?;
        Ok(names.iter().all(|name| list.lines().any(|line| line.starts_with(name) && line.contains("connected"))))
    };
    eventually("know one another", &mut clients, |client, _| known(client, &names))?;
    for (number, client) in clients.iter_mut().enumerate().skip(masters) {
        client.ask(&["CLUSTER", "REPLICATE", &names[number - masters]])?;
    }
    eventually("serve all slots", &mut clients, |client, number| {
        let is_served = client.ask(&["CLUSTER", "INFO"])?.contains("cluster_state:ok");
        // All must tell clients of all others: of a replica they do once they have heard that its master's data reaches it.
        let slots = client.ask(&["CLUSTER", "SLOTS"])?;
        let are_told = names.iter().all(|name| slots.contains(name.as_str()));
        let is_linked = number < masters || client.ask(&["INFO", "replication"])?.contains("master_link_status:up");
        Ok(is_served && is_linked && are_told)
    })
}

/// Waits until something holds on all nodes.
fn eventually(
    what: &str,
    clients: &mut [Client],
    mut holds: impl FnMut(&mut Client, usize) -> Result<bool>,
) -> Result<()> {
    let mut failed = None;
    let is_settled = wait_until(Instant::now() + FORM_TIMEOUT, || {
        let mut all = true;
        for (number, client) in clients.iter_mut().enumerate() {
            match holds(client, number) {
                Ok(one) => all &= one,
                Err(error) => {
                    failed = Some(error);
                    return true;
                }
            }
        }
        all
    });
    match (failed, is_settled) {
        (Some(error), _) => Err(error),
        (None, true) => Ok(()),
        (None, false) => {
            let seconds = FORM_TIMEOUT.as_secs();
            Err(Error::new(ErrorKind::StartFailed, format!("the nodes did not {what} within {seconds} s")))
        }
    }
}

/// A connection to a node.
struct Client(BufReader<TcpStream>);

impl Client {
    fn enter(site: &Site) -> Result<Self> {
        let address = SocketAddr::from((site.address, site.port));
        let stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT).and_then(|stream| {
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
            Ok(stream)
        });
        let stream = stream.map_err(|error| Error::io(format!("connect to {address}"), error))?;
        let mut client = Self(BufReader::new(stream));
        client.ask(&["AUTH", site.password.expose()])?;
        Ok(client)
    }

    /// Sends a command; its reply as text.
    fn ask(&mut self, command: &[&str]) -> Result<String> {
        // Nothing that follows the names of the command is shown: it may be the password.
        let shown = command[..command.len().min(2)].join(" ");
        let shown = if command[0] == "AUTH" { "AUTH" } else { &shown };
        let mut text = format!("*{}\r\n", command.len());
        for argument in command {
            text.push('$');
            text.push_str(&argument.len().to_string());
            text.push_str("\r\n");
            text.push_str(argument);
            text.push_str("\r\n");
        }
        let answer = self.0.get_mut().write_all(text.as_bytes()).and_then(|()| self.answer());
        match answer {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(refusal)) => Err(Error::new(ErrorKind::StartFailed, format!("{shown} was answered {refusal}"))),
            Err(error) => Err(Error::io(format!("ask {shown}"), error)),
        }
    }

    /// A status, a number, a byte string, or an array of these with blanks between; or what the server complains about.
    fn answer(&mut self) -> io::Result<Result<String, String>> {
        let malformed = || io::Error::from(io::ErrorKind::InvalidData);
        let mut line = String::new();
        self.0.by_ref().take(ANSWER_BYTES_MAX).read_line(&mut line)?;
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).ok_or_else(malformed)?;
        match kind {
            "+" | ":" => Ok(Ok(rest.to_owned())),
            "-" => Ok(Err(rest.to_owned())),
            "$" => {
                let length: u64 = rest.parse().map_err(|_| malformed())?;
                if length > ANSWER_BYTES_MAX {
                    return Err(malformed());
                }
                let mut bytes = vec![0; length as usize + 2];
                self.0.read_exact(&mut bytes)?;
                bytes.truncate(length as usize);
                String::from_utf8(bytes).map(Ok).map_err(|_| malformed())
            }
            "*" => {
                let count: u64 = rest.parse().map_err(|_| malformed())?;
                if count > ITEMS_MAX {
                    return Err(malformed());
                }
                let items = (0..count).map(|_| self.answer()).collect::<io::Result<Result<Vec<_>, _>>>()?;
                Ok(items.map(|items| items.join(" ")))
            }
            _ => Err(malformed()),
        }
    }
}
