//! Targets that lead where load may not go, in every form that somebody may think of: none is followed.
//!
//! What is forbidden here is 127.0.0.2, where somebody listens and counts. Forms that mean a real address elsewhere are
//! judged by the policy alone.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use server::{AllowedTarget, Policy};
use store::{Driver, SessionSpec, Target};
use tokio::runtime::Builder;

const FORBIDDEN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Longer than connecting takes, where somebody should follow a form after all.
const PATIENCE: Duration = Duration::from_secs(10);

/// Hosts that mean the forbidden address to some resolver or reader of URLs. `{p}` is its port, `{o}` one that is allowed.
const HOSTS: &[&str] = &[
    // Numbers, as `inet_aton` reads them.
    "127.0.0.2:{p}",
    "2130706434:{p}",
    "0x7f000002:{p}",
    "0X7F000002:{p}",
    "017700000002:{p}",
    "127.2:{p}",
    "127.0.2:{p}",
    "0x7f.2:{p}",
    "0x7f.0x0.0x0.0x2:{p}",
    "0177.0.0.2:{p}",
    "0177.0.0.02:{p}",
    "127.0.0.02:{p}",
    "127.0.0.0x2:{p}",
    "127.000.000.002:{p}",
    "0000127.0.0.2:{p}",
    "127.0.0.258:{p}",
    "127.0.0.2.:{p}",
    "127.0.0.2..:{p}",
    ".127.0.0.2:{p}",
    // Percent-encoded, and in other alphabets' digits and dots.
    "%31%32%37.0.0.2:{p}",
    "127%2e0%2e0%2e2:{p}",
    "127.0.0.2%00:{p}",
    "127.0.0.2%20:{p}",
    "127.0.0.2%2f:{p}",
    "127.0.0.2%3a{p}",
    "127\u{3002}0\u{3002}0\u{3002}2:{p}",
    "127\u{ff0e}0\u{ff0e}0\u{ff0e}2:{p}",
    "\u{ff11}\u{ff12}\u{ff17}.0.0.2:{p}",
    "\u{2460}\u{2461}\u{2466}.0.0.2:{p}",
    "127.0.0.2\u{ad}:{p}",
    "127.0.0.2\u{200b}:{p}",
    // Addresses of IPv6 that stand for it.
    "[::ffff:127.0.0.2]:{p}",
    "[::FFFF:127.0.0.2]:{p}",
    "[::ffff:7f00:2]:{p}",
    "[0:0:0:0:0:ffff:7f00:2]:{p}",
    "[0000::ffff:127.0.0.2]:{p}",
    "[::127.0.0.2]:{p}",
    "[::7f00:2]:{p}",
    "[::ffff:0:127.0.0.2]:{p}",
    "[64:ff9b::127.0.0.2]:{p}",
    "[64:ff9b::7f00:2]:{p}",
    "[64:ff9b:1::7f00:2]:{p}",
    "[2002:7f00:2::]:{p}",
    "[fe80::5efe:127.0.0.2]:{p}",
    "[::ffff:127.0.0.2%lo]:{p}",
    "[::ffff:127.0.0.2%25lo]:{p}",
    "[127.0.0.2]:{p}",
    "[v1.127.0.0.2]:{p}",
    "::ffff:127.0.0.2:{p}",
    // Users that look like hosts, and hosts that look like users.
    "u:p@127.0.0.2:{p}",
    "@127.0.0.2:{p}",
    ":@127.0.0.2:{p}",
    "127.0.0.1@127.0.0.2:{p}",
    "127.0.0.1:{o}@127.0.0.2:{p}",
    "localhost:{o}@127.0.0.2:{p}",
    "[::1]:{o}@127.0.0.2:{p}",
    "127.0.0.2:{p}@127.0.0.1:{o}",
    "u@127.0.0.1:{o}@127.0.0.2:{p}",
    "127.0.0.1%40127.0.0.2:{p}",
    "127.0.0.1:{o}%40127.0.0.2:{p}",
    "127.0.0.1:{o}\\@127.0.0.2:{p}",
    "127.0.0.1:{o}#@127.0.0.2:{p}",
    "127.0.0.1:{o}?@127.0.0.2:{p}",
    "127.0.0.1:{o}/@127.0.0.2:{p}",
    "127.0.0.1:{o}%00@127.0.0.2:{p}",
    "127.0.0.1:{o}%0d%0a@127.0.0.2:{p}",
    // More than one host.
    "127.0.0.1:{o},127.0.0.2:{p}",
    "127.0.0.1,127.0.0.2:{p}",
    "127.0.0.2:{p},127.0.0.1:{o}",
    "127.0.0.1:{o};127.0.0.2:{p}",
    "127.0.0.1:{o}|127.0.0.2:{p}",
    "127.0.0.1:{o}+127.0.0.2:{p}",
    "127.0.0.1:{o} 127.0.0.2:{p}",
    "127.0.0.1:{o}\t127.0.0.2:{p}",
    "127.0.0.1:{o}\n127.0.0.2:{p}",
    "127.0.0.1:{o}\r\nhost: 127.0.0.2:{p}",
    "127.0.0.1:{o}\\127.0.0.2:{p}",
    "(127.0.0.2:{p})",
    "tcp(127.0.0.2:{p})",
    // Ports in other forms.
    "127.0.0.2:0{p}",
    "127.0.0.2:+{p}",
    "127.0.0.2: {p}",
    "127.0.0.2:{p}x",
    "127.0.0.2:{o}:{p}",
    "127.0.0.1:0",
    "127.0.0.1:",
    "127.0.0.1:65536",
    // Sockets in the file system.
    "%2Ftmp%2F.s.PGSQL.{p}",
    "%2Frun%2Fredis.sock:{p}",
    "/run/redis.sock",
    "unix(/run/mysqld/mysqld.sock)",
    "@abstract:{p}",
    "",
    "?host=/tmp",
    // What options name.
    "127.0.0.1:{o}/?nodes=127.0.0.2:{p}",
    "127.0.0.1:{o}/?nodes=127.0.0.1:{o},127.0.0.2:{p}",
    "127.0.0.1:{o}/?nodes=127.0.0.1:{o}%2c127.0.0.2:{p}",
    "127.0.0.1:{o}/?nodes=2130706434:{p}",
    "127.0.0.1:{o}/?nodes=0x7f.2:{p}",
    "127.0.0.1:{o}/?nodes=[::ffff:127.0.0.2]:{p}",
    "127.0.0.1:{o}/?nodes=127.0.0.2.:{p}",
    "127.0.0.1:{o}/?nodes=u@127.0.0.2:{p}",
    "127.0.0.1:{o}/?n%6fdes=127.0.0.2:{p}",
    "127.0.0.1:{o}/?nodes=127.0.0.1:{o}&nodes=127.0.0.2:{p}",
    "127.0.0.1:{o}/?host=127.0.0.2&port={p}",
    "127.0.0.1:{o}/?hostaddr=127.0.0.2",
    "127.0.0.1:{o}/?service=elsewhere",
    "127.0.0.1:{o}/?servicefile=/tmp/services",
    "127.0.0.1:{o}/?passfile=/etc/passwd",
    "127.0.0.1:{o}/?sslrootcert=/etc/passwd",
    "127.0.0.1:{o}/?sslcert=/etc/passwd",
    "127.0.0.1:{o}/?tls=verify&tls_ca=/etc/passwd",
    "127.0.0.1:{o}/?tls=verify&tls%5fca=/etc/passwd",
    "127.0.0.1:{o}/?tlsCAFile=/etc/passwd",
    "127.0.0.1:{o}/?replicaSet=rs&seeds=127.0.0.2:{p}",
    "127.0.0.1:{o}/?srvServiceName=elsewhere",
    "127.0.0.1:{o}/?proxyHost=127.0.0.2&proxyPort={p}",
    "127.0.0.1:{o}/?sentinel=127.0.0.2:{p}",
    "127.0.0.1:{o}/?endpoint=http://127.0.0.2:{p}",
    "127.0.0.1:{o}/?unix_socket=/run/mysqld/mysqld.sock",
    "127.0.0.1:{o}/?allowLoadLocalInfile=true",
];

/// Whole targets. `{s}` is the scheme.
const TARGETS: &[&str] = &[
    "{s}:127.0.0.2:{p}",
    "{s}:/127.0.0.2:{p}",
    "{s}:///127.0.0.2:{p}",
    "{s}:////127.0.0.2:{p}",
    "{s}:\\\\127.0.0.2:{p}",
    " {s}://127.0.0.2:{p}",
    "\t{s}://127.0.0.2:{p}",
    "{s}\n://127.0.0.2:{p}",
    "{s}://\n127.0.0.2:{p}",
    "{s}+srv://127.0.0.2:{p}",
    "{s}+unix:///run/redis.sock",
    "jdbc:{s}://127.0.0.2:{p}",
    "url:{s}://127.0.0.2:{p}",
    "//127.0.0.2:{p}",
    "127.0.0.2:{p}",
    "",
    "{s}",
    "http://127.0.0.2:{p}",
    "https://127.0.0.2:{p}",
    "file:///etc/passwd",
    "unix:///run/redis.sock",
    "sqlite:/etc/passwd",
    "sqlite:storelab.db",
    "sqlite:///etc/passwd",
    "sqlite:%2fetc%2fpasswd",
    "sqlite:file:/etc/passwd?mode=ro",
    "sqlite::memory:",
    "memory:elsewhere",
    "local:",
    "local:../redis",
    "local://127.0.0.2:{p}",
    "local:redis@127.0.0.2:{p}",
];

/// Hosts that mean real addresses of other machines, or names whose meaning is their owner's. Nobody may look them up.
const ELSEWHERE: &[&str] = &[
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "8.8.8.8",
    "1.1.1.1",
    "198.51.100.7",
    "0.0.0.0",
    "0",
    "0x0",
    "0.0.0.0.",
    "255.255.255.255",
    "224.0.0.1",
    "240.0.0.1",
    "2852039166",
    "0xA9FEA9FE",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.16689662",
    "%31%36%39.254.169.254",
    "[::]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fd00:ec2::254]",
    "[2001:4860:4860::8888]",
    "[ff02::1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[::a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[2001:0:a9fe:a9fe::1]",
    "[::ffff:0:a9fe:a9fe]",
    "metadata.google.internal",
    "kubernetes.default.svc",
    "host.docker.internal",
    "example.com",
    "example.com.",
    "localhost.",
    "localhost.localdomain",
    "localhost.example.com",
    "a.localhost",
    "ip6-localhost",
    "localhost%00.example.com",
    "127.0.0.1.nip.io",
    "127.0.0.1.example.com",
    "127-0-0-1.example.com",
    "127.0.0.1%2eexample.com",
    "db",
    "dynamodb.eu-west-1.amazonaws.com",
    "xn--lcalhost-h8a",
    "l\u{43e}calhost",
    "\u{24db}ocalhost",
    "loc\u{430}lhost.example.com",
    "u:p@example.com",
    "localhost@example.com",
    "127.0.0.1:6379@example.com",
];

/// Somebody at the forbidden address, who would notice.
struct Listener(TcpListener);

impl Listener {
    fn start() -> Self {
        let listener = TcpListener::bind((FORBIDDEN, 0)).expect("all of 127.0.0.0/8 is this machine");
        listener.set_nonblocking(true).expect("sockets can be");
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().expect("bound").port()
    }

    /// A connection is there as soon as its client has made it.
    fn assert_nobody_came(&self, after: &str) {
        let came = self.0.accept();
        assert!(came.is_err(), "somebody went to the forbidden address after `{after}`: {came:?}");
    }
}

/// A port that is allowed and where nobody listens.
fn closed_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// Loopback is not allowed here as such: only 127.0.0.1 is, at one port.
fn policy(port: u16) -> Policy {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Policy::new(false, vec![AllowedTarget::new("127.0.0.1", port, vec![address]).expect("it is usual")])
}

fn networked() -> impl Iterator<Item = (&'static str, &'static dyn Driver)> {
    let networked = drivers::DRIVERS.iter().filter(|driver| driver.default_port().is_some());
    networked.flat_map(|driver| driver.schemes().iter().map(|scheme| (*scheme, *driver)))
}

/// Goes where a target leads, as a run does, if the policy lets it pass.
fn follow(policy: &Policy, text: &str, connect: &dyn Fn(&Target)) {
    match policy.check(text) {
        Ok(target) => connect(&target),
        Err(refusal) => assert!(!refusal.reason.is_empty() && !refusal.remedy.is_empty(), "{text}: {refusal:?}"),
    }
}

/// A form that has passed leads nowhere either.
fn connect(target: &Target) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("there are threads");
    let driver = drivers::for_scheme(target.scheme()).expect("it passed");
    let connected = runtime.block_on(async { tokio::time::timeout(PATIENCE, driver.connect(target)).await });
    assert!(connected.expect("it ends in its time").is_err(), "nobody answers where it may go");
}

#[test]
fn no_form_of_a_forbidden_address_is_followed() {
    let (listener, open) = (Listener::start(), closed_port());
    let policy = policy(open);
    let fill = |form: &str, scheme: &str| {
        form.replace("{s}", scheme).replace("{p}", &listener.port().to_string()).replace("{o}", &open.to_string())
    };
    let mut followed = Vec::new();
    for (scheme, _) in networked() {
        let hosts = HOSTS.iter().map(|host| format!("{{s}}://{host}"));
        let texts = hosts.chain(TARGETS.iter().map(|text| (*text).to_owned())).map(|form| fill(&form, scheme));
        for text in texts {
            follow(&policy, &text, &connect);
            listener.assert_nobody_came(&text);
            if policy.check(&text).is_ok() {
                followed.push(text);
            }
        }
    }
    assert_eq!(followed, Vec::<String>::new(), "these passed, although they led nowhere");
    assert!(HOSTS.len() + TARGETS.len() >= 80, "there were more once");
}

#[test]
fn what_lies_elsewhere_is_refused_before_anybody_looks_it_up() {
    let connector = |target: &Target| panic!("{target} is about to be connected to");
    for policy in [policy(6379), Policy::new(true, Vec::new())] {
        for (scheme, _) in networked() {
            for host in ELSEWHERE {
                for text in [format!("{scheme}://{host}/"), format!("{scheme}://{host}:6379/")] {
                    follow(&policy, &text, &connector);
                }
                follow(&policy, &format!("{scheme}://127.0.0.1:6379/?nodes={host}:6379"), &connector);
            }
        }
    }
}

/// The counterpart: what refuses everything would pass the tests above.
#[test]
fn what_is_allowed_is_connected_to() {
    for (scheme, driver) in networked() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let path = if driver.capabilities().has(store::Capability::Sql) { "lab" } else { "" };
        let target = policy(port).check(&format!("{scheme}://lab:secret@127.0.0.1:{port}/{path}?connect_timeout=0.2"));
        connect(&target.expect("it is allowed"));
        listener.set_nonblocking(true).expect("sockets can be");
        assert!(listener.accept().is_ok(), "{scheme}: nobody came");
    }
}

/// A server that sends everybody elsewhere: with its topology, and with each answer.
fn redirecting_server(to: u16, topology: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let redirect = format!("-MOVED 1 {FORBIDDEN}:{to}\r\n");
    let slots = topology.replace("{p}", &to.to_string()).replace("{o}", &port.to_string());
    std::thread::spawn(move || {
        // It ends with the test's process.
        while let Ok((stream, _)) = listener.accept() {
            answer(stream, &slots, &redirect);
        }
    });
    port
}

/// Commands come one or several at a time, and each is an array of strings.
fn answer(mut stream: TcpStream, slots: &str, redirect: &str) {
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        let said = String::from_utf8_lossy(&piece[..length]);
        for command in said.split('*').filter(|command| !command.is_empty()) {
            let reply = match command {
                command if command.contains("SETNAME") => "+OK\r\n",
                command if command.contains("SLOTS") => slots,
                _ => redirect,
            };
            if stream.write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
    }
}

#[test]
fn a_server_that_redirects_is_not_followed() {
    let Ok(driver) = drivers::for_scheme("redis") else { return };
    let own = "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:{o}\r\n$2\r\nid\r\n";
    let elsewhere = "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.2\r\n:{p}\r\n$2\r\nid\r\n";
    let alone = "-ERR This instance has cluster support disabled\r\n";
    for topology in [own, elsewhere, alone] {
        let listener = Listener::start();
        let port = redirecting_server(listener.port(), topology);
        // The target lists the forbidden node too, as if somebody had overlooked to check it.
        for nodes in ["", "&nodes=127.0.0.2:{p}"] {
            let nodes = nodes.replace("{p}", &listener.port().to_string());
            let target = Target::parse(&format!("redis://127.0.0.1:{port}?connect_timeout=1{nodes}")).expect("a URL");
            let target = target.with_reach(std::sync::Arc::new(policy(port)));
            let runtime = Builder::new_current_thread().enable_all().build().expect("there are threads");
            let worked = runtime.block_on(async {
                let work = async {
                    let store = driver.connect(&target).await?;
                    let _session = store.session(SessionSpec { dataset: None, depth: 1 }).await?;
                    store.owned().await
                };
                tokio::time::timeout(PATIENCE, work).await
            });
            assert!(worked.expect("it ends in its time").is_err(), "{target}: nothing that can be asked is there");
            listener.assert_nobody_came(&target.to_string());
        }
    }
}
