//! Looks at a server from outside: is it really the one that listens, and does it answer?

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::Process;

/// How long one question to a server may take; [`crate::Engine::is_ready`] promises a second.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(900);

/// What a server log says in its own words when its port is taken: the text of EADDRINUSE in the C locale, which servers run in.
pub(crate) const ADDRESS_IN_USE: &str = "Address already in use";

/// So many ports that nobody listens on at this moment, on any of the addresses, and other than `taken`.
pub(crate) fn free_ports(addresses: &[Ipv4Addr], count: usize, taken: &[u16]) -> io::Result<Vec<u16>> {
    /// More than this many in a row are taken by accident nowhere.
    const ATTEMPTS_MAX: usize = 100;
    let Some(first) = addresses.first() else { return Ok(Vec::new()) };
    // They are held until all are found, so that they differ.
    let (mut held, mut ports) = (Vec::new(), Vec::new());
    for _ in 0..ATTEMPTS_MAX {
        if ports.len() == count {
            return Ok(ports);
        }
        let listener = TcpListener::bind((*first, 0))?;
        let port = listener.local_addr()?.port();
        held.push(listener);
        if !taken.contains(&port) && addresses[1..].iter().all(|address| is_free(*address, port)) {
            ports.push(port);
        }
    }
    if ports.len() == count { Ok(ports) } else { Err(io::Error::from(io::ErrorKind::AddrInUse)) }
}

/// Whether a port could be listened on now.
pub(crate) fn is_free(address: Ipv4Addr, port: u16) -> bool {
    TcpListener::bind((address, port)).is_ok()
}

/// Sends some bytes to a server and reads the first bytes of its answer.
pub(crate) fn ask<const ANSWER: usize>(address: SocketAddr, question: &[u8]) -> io::Result<[u8; ANSWER]> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(question)?;
    let mut answer = [0; ANSWER];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// Whether this process, or one that descends from it, is what listens on a port.
///
/// A password must never be sent to somebody else who was quicker to take the port.
///
/// A connection is tried first, since reading the kernel's tables takes milliseconds of its time, and whoever waits for a
/// server asks often.
pub(crate) fn listens(process: Process, address: SocketAddr) -> bool {
    if TcpStream::connect_timeout(&address, ANSWER_TIMEOUT).is_err() {
        return false;
    }
    let port = address.port();
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|table| listening_sockets(&fs::read_to_string(table).unwrap_or_default(), port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    !sockets.is_empty() && process.tree().into_iter().any(|member| holds(member, &sockets))
}

/// The socket numbers of a /proc/net/tcp table that listen on a port.
fn listening_sockets(table: &str, port: u16) -> Vec<u64> {
    /// The state `TCP_LISTEN` of the kernel's `include/net/tcp_states.h`, as the table prints it.
    const LISTEN: &str = "0A";
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
        let is_listening = fields.get(3) == Some(&LISTEN) && u16::from_str_radix(local_port, 16) == Ok(port);
        if is_listening { fields.get(9)?.parse().ok() } else { None }
    };
    table.lines().skip(1).filter_map(parse).collect()
}

fn holds(process: Process, sockets: &[String]) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", process.id())).into_iter().flatten().flatten();
    descriptors
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|link| link.to_str().is_some_and(|link| sockets.iter().any(|socket| socket == link)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_process_that_listens_is_taken_for_the_listener() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let current = Process::current().expect("/proc is there");
        let address = (Ipv4Addr::LOCALHOST, port).into();
        assert!(listens(current, address) && !is_free(Ipv4Addr::LOCALHOST, port));
        drop(listener);
        assert!(!listens(current, address));
    }

    #[test]
    fn free_ports_differ() {
        let addresses = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];
        let mut ports = free_ports(&addresses, 8, &[]).expect("there are some");
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 8);
        assert!(addresses.iter().all(|address| is_free(*address, ports[0])));
    }

    #[test]
    fn the_kernels_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n\
            1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0\n\
            2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0\n";
        assert_eq!(listening_sockets(table, 0x1F90), [4711]);
        assert!(listening_sockets("", 1).is_empty());
    }
}
