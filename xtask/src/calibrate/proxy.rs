//! A proxy on loopback that holds back every answer for a while: a server that is slower by exactly so much.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Connections at a time: a run here has four.
const CONNECTIONS_MAX: usize = 64;

/// Bytes that are passed on at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Waiting is precise to some 50 µs of the kernel's timer slack; the rest of it is spent awake.
const AWAKE: Duration = Duration::from_micros(80);

/// Listens until the process ends.
pub(super) struct Proxy {
    port: u16,
}

impl Proxy {
    /// In front of a server on a port of this machine.
    pub(super) fn start(server: u16, delay: Duration) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a port for the proxy")?;
        let port = listener.local_addr().context("the proxy's port")?.port();
        let open = Arc::new(AtomicUsize::new(0));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let open = Arc::clone(&open);
                if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
                    open.fetch_sub(1, Ordering::Relaxed);
                    continue;
                }
                thread::spawn(move || {
                    // A connection that breaks is the client's to notice, which sees it closed.
                    let _ = serve(&client, server, delay);
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Ok(Self { port })
    }

    /// Where it listens.
    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

fn serve(client: &TcpStream, server: u16, delay: Duration) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    thread::scope(|scope| {
        scope.spawn(|| pass(client, &server, Duration::ZERO));
        pass(&server, client, delay);
    });
    Ok(())
}

/// Passes on what comes, until nothing does any more or nobody takes it.
fn pass(mut from: &TcpStream, mut to: &TcpStream, delay: Duration) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(count) = from.read(&mut chunk) {
        if count == 0 {
            break;
        }
        hold(delay);
        if to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    // Either may be closed already.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

fn hold(delay: Duration) {
    let until = Instant::now() + delay;
    if let Some(asleep) = delay.checked_sub(AWAKE) {
        thread::sleep(asleep);
    }
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_whole_and_not_before_their_time() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("a client");
            let mut asked = [0; 4];
            while client.read_exact(&mut asked).is_ok() {
                client.write_all(&asked).expect("the client is there");
            }
        });
        let delay = Duration::from_millis(5);
        let proxy = Proxy::start(port, delay).expect("starts");
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).expect("connects");
        for number in 0_u32..5 {
            let started = Instant::now();
            client.write_all(&number.to_be_bytes()).expect("it listens");
            let mut answer = [0; 4];
            client.read_exact(&mut answer).expect("an answer");
            assert_eq!(u32::from_be_bytes(answer), number);
            assert!(started.elapsed() >= delay, "{:?}", started.elapsed());
        }
        drop(client);
        server.join().expect("it ends when the client does");
    }
}
