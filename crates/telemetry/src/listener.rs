//! Who listens on a port of this host: a local server that is known by its URL only.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::files::Buffer;
use crate::process::process_ids;
use crate::process_files::parse_process_stat;

/// The state of a listening socket in `/proc/net/tcp` (`TCP_LISTEN`).
const LISTENING: &str = "0A";

/// The process that listens on a TCP port of the loopback or of any address; of several that share the socket (a
/// server and its workers) the one that started the others.
///
/// None when there is none, when it belongs to another user and this one is not root, or when it lives in another
/// network namespace (a container's published port is the container engine's, not the server's).
pub fn listener(port: u16) -> Option<u32> {
    listener_in(Path::new("/"), port)
}

/// As [`listener`], on the host whose `/proc` lies below `root`.
pub fn listener_in(root: &Path, port: u16) -> Option<u32> {
    let mut buffer = Buffer::default();
    let mut sockets = HashSet::new();
    for table in ["proc/net/tcp", "proc/net/tcp6"] {
        if let Ok(text) = buffer.read(&root.join(table)) {
            sockets.extend(listening_sockets(&text, port));
        }
    }
    if sockets.is_empty() {
        return None;
    }
    let mut holders = Vec::new();
    for pid in process_ids(root).filter(|pid| holds(root, *pid, &sockets)) {
        let stat = buffer.read(&root.join(format!("proc/{pid}/stat"))).ok().and_then(|text| parse_process_stat(&text));
        holders.extend(stat.map(|stat| (stat.start_ticks, pid, stat.parent)));
    }
    let is_holder = |wanted: u32| holders.iter().any(|(_, pid, _)| *pid == wanted);
    holders.iter().filter(|(_, _, parent)| !is_holder(*parent)).min().map(|(_, pid, _)| *pid)
}

/// The inodes of the sockets that listen on `port`, of `/proc/net/tcp` or `tcp6`.
pub(crate) fn listening_sockets(text: &str, port: u16) -> Vec<u64> {
    let socket = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (address, number) = fields.next()?.split_once(':')?;
        let (_, state) = (fields.next()?, fields.next()?);
        if state != LISTENING || u16::from_str_radix(number, 16).ok()? != port {
            return None;
        }
        let address = parse_address(address)?.to_canonical();
        let inode = fields.nth(5)?.parse().ok()?;
        (address.is_loopback() || address.is_unspecified()).then_some(inode)
    };
    text.lines().filter_map(socket).collect()
}

/// The kernel prints addresses as words of 32 bits in the host's byte order, though they are kept in the network's.
fn parse_address(hexadecimal: &str) -> Option<IpAddr> {
    let word = |index: usize| {
        let digits = hexadecimal.get(8 * index..8 * (index + 1))?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match hexadecimal.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut octets = [0; 16];
            for (index, place) in octets.chunks_exact_mut(4).enumerate() {
                place.copy_from_slice(&word(index)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(octets)))
        }
        _ => None,
    }
}

/// Whether a process has one of the sockets open.
fn holds(root: &Path, pid: u32, sockets: &HashSet<u64>) -> bool {
    let Ok(entries) = std::fs::read_dir(root.join(format!("proc/{pid}/fd"))) else { return false };
    entries.flatten().any(|entry| {
        let Ok(target) = std::fs::read_link(entry.path()) else { return false };
        let inode = target.to_str().and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        inode.is_some_and(|inode| sockets.contains(&inode))
    })
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0\n   1: 00000000:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0\n   2: 0100007F:1538 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0 100 0 0 10 0\n   3: 0A00000A:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 14 1 0 100 0 0 10 0\n   4: 0100007F:1539 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 15 1 0 100 0 0 10 0\n";

    #[test]
    fn only_listening_sockets_that_loopback_reaches_count() {
        assert_eq!(listening_sockets(TABLE, 5432), [11, 12]);
        assert_eq!(listening_sockets(TABLE, 5433), [15]);
        assert_eq!(listening_sockets(TABLE, 1), []);
    }

    #[test]
    fn addresses_of_both_families_are_understood() {
        for (text, expected) in [
            ("0100007F", Some("127.0.0.1")),
            ("00000000000000000000000001000000", Some("::1")),
            ("0000000000000000FFFF00000100007F", Some("::ffff:127.0.0.1")),
            ("0100007", None),
            ("0100007é", None),
            ("zz00007F", None),
        ] {
            let expected = expected.map(|address| address.parse::<IpAddr>().expect("a literal"));
            assert_eq!(parse_address(text), expected, "{text}");
        }
    }

    #[test]
    fn of_those_that_share_a_socket_the_first_is_the_server() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("it lies below the root")).expect("the folder is ours");
            std::fs::write(path, text).expect("the folder is ours");
        };
        write("proc/net/tcp", TABLE);
        for (pid, parent, start) in [(20, 1, 500), (21, 20, 501), (9, 20, 502), (30, 1, 100)] {
            write(
                &format!("proc/{pid}/stat"),
                &format!("{pid} (server) S {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {start} 0 0 0\n"),
            );
            let folder = root.path().join(format!("proc/{pid}/fd"));
            std::fs::create_dir_all(&folder).expect("the folder is ours");
            let target = if pid == 30 { "socket:[99]" } else { "socket:[11]" };
            std::os::unix::fs::symlink(target, folder.join("5")).expect("the folder is ours");
        }
        assert_eq!(listener_in(root.path(), 5432), Some(20));
        assert_eq!(listener_in(root.path(), 5433), None);
    }
}
