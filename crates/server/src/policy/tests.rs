//! What passes, what is refused, and where connections may go.

use store::{ErrorKind, Forbidden, Limits};

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn node(host: &str, port: u16) -> Node {
    Node { host: host.to_owned(), port }
}

fn allowed(host: &str, port: u16, addresses: &[&str]) -> Result<AllowedTarget, Refusal> {
    AllowedTarget::new(host, port, addresses.iter().map(|text| address(text)).collect())
}

/// This machine, a name with two addresses, and an address of each kind.
fn policy() -> Policy {
    let targets = [
        allowed("db.example", 6379, &["10.0.0.5", "10.0.0.6"]),
        allowed("10.0.0.9", 5432, &["10.0.0.9"]),
        allowed("2001:db8::9", 5432, &["2001:db8::9"]),
    ];
    Policy::new(true, targets.into_iter().collect::<Result<_, _>>().expect("all are usual"))
}

/// The scheme of a driver that takes lists of nodes and files of authorities, and that tests are built with.
const SCHEME: &str = "redis";

#[test]
fn hosts_are_taken_in_their_one_usual_form() {
    for host in ["127.0.0.1", "10.0.0.5", "223.255.255.255", "::1", "2001:db8::5", "fd00::1"] {
        assert_eq!(check_host(host), Ok(()), "{host}");
    }
    for host in ["localhost", "db", "db-1.example", "3com.example", "a.b.c.d.e", "1.example", &"a".repeat(63)] {
        assert_eq!(check_host(host), Ok(()), "{host}");
    }
    for host in [["a"; 130].join("."), "a".repeat(64)] {
        assert!(check_host(&host).is_err(), "{host}");
    }
    for host in [
        "",
        ".",
        "a..b",
        "db.",
        "127.0.0.1.",
        "-a",
        "a-",
        "a_b",
        "a b",
        "a%2eb",
        "a\u{430}b",
        "xn--e1afmkfd",
        "a.XN--p1ai",
        "2130706433",
        "0x7f000001",
        "0X7F.1",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.0x1",
        "256.0.0.1",
        "1.2.3.4.5",
        "example.0x1",
        "example.1",
        "127.0.0.1%00",
        "0.0.0.0",
        "0.1.2.3",
        "255.255.255.255",
        "224.0.0.1",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::127.0.0.1",
        "::7f00:1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001::1",
        "fe80::5efe:a00:5",
        "0:0:0:0:0:0:0:1",
        "::0001",
        "2001:DB8::5",
        "2001:db8:0::5",
        "fe80::1%eth0",
        "::1%1",
        "ff02::1",
    ] {
        assert!(check_host(host).is_err(), "{host}");
    }
}

#[test]
fn targets_that_are_allowed_pass_and_carry_the_policy() {
    let policy = policy();
    for rest in [
        "127.0.0.1",
        "127.0.0.1:6379",
        "127.9.9.9:1",
        "localhost:6379/1",
        "LOCALHOST",
        "[::1]:7",
        "user:p%40ss@127.0.0.1",
        ":p%2Fss@localhost:1",
        "db.example",
        "DB.example:6379",
        "127.0.0.1:1?nodes=127.0.0.1:2,[::1]:3",
        "127.0.0.1:1?nodes=db.example:6379",
        "127.0.0.1?tls=verify",
        "10.0.0.9:5432",
        "[2001:db8::9]:5432",
    ] {
        let target =
            policy.check(&format!("{SCHEME}://{rest}")).unwrap_or_else(|refusal| panic!("{rest}: {refusal:?}"));
        assert!(target.limits().exist(), "{rest}");
    }
    for text in ["sqlite:", "sqlite:?journal_mode=wal", "memory:", "null:?latency=1ms"] {
        let target = policy.check(text).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
        let error = target.limits().permit_file(Path::new("/etc/passwd")).expect_err("no file is");
        assert!(Forbidden::is_below(&error), "{text}");
    }
    assert_eq!(policy.check("local:redis").expect("it is an engine").scheme(), LOCAL);
}

#[test]
fn what_is_not_allowed_is_refused_by_host_and_port_exactly() {
    let policy = policy();
    for rest in [
        "10.0.0.5:6379",
        "db.example:6380",
        "a.db.example:6379",
        "db.exampl:6379",
        "10.0.0.9",
        "10.0.0.9:5433",
        "127.0.0.1:1?nodes=10.0.0.5:6379",
        "127.0.0.1:1?nodes=127.0.0.1:2,db.example:1",
        "localhost.example",
        "8.8.8.8:53",
        "169.254.169.254:80",
        "[2001:db8::8]:5432",
        "a.localhost:1",
    ] {
        let refusal = policy.check(&format!("{SCHEME}://{rest}")).expect_err(rest);
        assert!(refusal.reason.contains("is not allowed") && refusal.remedy.contains("administrator"), "{refusal:?}");
    }
    let nothing = Policy::new(false, Vec::new());
    for rest in ["127.0.0.1:6379", "localhost", "[::1]:1"] {
        assert!(nothing.check(&format!("{SCHEME}://{rest}")).is_err(), "{rest}");
    }
}

#[test]
fn options_name_neither_files_nor_hosts_that_are_not_looked_at() {
    let policy = policy();
    for (rest, part) in [
        ("?tls=verify&tls_ca=/etc/passwd", "tls_ca"),
        ("?tls%5Fca=/etc/passwd", "tls_ca"),
        ("?nodes=127.0.0.1:2,2130706433:1", "number"),
        ("?nodes=127.0.0.1:02", "port"),
        ("?nodes=127.0.0.1:+2", "port"),
        ("?nodes=127.0.0.1", "without a port"),
        ("?nodes=[127.0.0.1]:1", "HOST:PORT"),
        ("?nodes=", "not named"),
        ("?nodes=127.0.0.1:1&nodes=10.0.0.1:1", "twice"),
        ("?host=10.0.0.5", "unknown parameter"),
        ("?hostaddr=10.0.0.5", "unknown parameter"),
        ("?service=elsewhere", "unknown parameter"),
        ("?passfile=/etc/passwd", "unknown parameter"),
        ("?sslrootcert=/etc/passwd", "unknown parameter"),
        ("?unix_socket=/run/x", "unknown parameter"),
    ] {
        let refusal = policy.check(&format!("{SCHEME}://127.0.0.1:1{rest}")).expect_err(rest);
        assert!(refusal.reason.contains(part), "{rest}: {refusal:?}");
    }
}

/// An option is added to a driver now and then. Whoever adds one says here that it names neither a file nor a host, or
/// teaches the policy to look at it.
#[test]
fn every_option_of_every_driver_has_been_judged() {
    const HARMLESS: &[&str] = &[
        "api_key",
        "application_name",
        "as_of",
        "auth_source",
        "busy_timeout",
        "cache_size",
        "connect_timeout",
        "consistency",
        "distribution",
        "fail_every",
        "hash_sharded",
        "insert",
        "isolation",
        "journal_mode",
        "latency",
        "load_balance_hosts",
        "lock_wait_timeout",
        "lose_every",
        "options",
        "query_timeout",
        "read_concern",
        "read_consistency",
        "read_from",
        "read_preference",
        "refresh",
        "region",
        "replica_set",
        "replicas",
        "replication",
        "retries",
        "seed",
        "serial_consistency",
        "servers",
        "session_token",
        "shards",
        "spread",
        "sslmode",
        "stall_at",
        "stall_for",
        "statement_timeout",
        "synchronous",
        "table_timeout",
        "target_session_attrs",
        "tidb_constraint_check_in_place_pessimistic",
        "tidb_enable_1pc",
        "tidb_enable_async_commit",
        "tidb_enable_clustered_index",
        "tidb_rc_read_check_ts",
        "tidb_replica_read",
        "tls",
        "transaction_mode",
        "w",
    ];
    for driver in drivers::DRIVERS {
        for option in driver.options() {
            let name = option.name;
            let is_judged = HARMLESS.contains(&name) || FILE_OPTIONS.contains(&name) || name == NODES_OPTION;
            assert!(is_judged, "`{name}` of {} may name a file or a host: is it looked at?", driver.name());
        }
    }
}

#[test]
fn connections_go_to_the_addresses_that_were_allowed_and_to_no_others() {
    let policy = policy();
    for (host, port, address, expected) in [
        ("127.0.0.1", 1, "127.0.0.1:1", true),
        ("localhost", 1, "127.0.0.1:1", true),
        ("localhost", 1, "[::1]:1", true),
        ("localhost", 1, "10.0.0.5:1", false),
        ("127.0.0.1", 1, "127.0.0.1:2", false),
        ("db.example", 6379, "10.0.0.5:6379", true),
        ("db.example", 6379, "10.0.0.6:6379", true),
        ("DB.EXAMPLE", 6379, "10.0.0.6:6379", true),
        // The name means another host by now, or this machine.
        ("db.example", 6379, "10.0.0.7:6379", false),
        ("db.example", 6379, "127.0.0.1:6379", false),
        ("db.example", 6379, "[::ffff:10.0.0.5]:6379", false),
        ("db.example", 6380, "10.0.0.5:6380", false),
        ("other.example", 6379, "10.0.0.5:6379", false),
        ("other.example", 6379, "127.0.0.1:6379", false),
        ("10.0.0.5", 6379, "10.0.0.5:6379", false),
        ("2130706433", 1, "127.0.0.1:1", false),
        ("0.0.0.0", 1, "0.0.0.0:1", false),
        ("::ffff:127.0.0.1", 1, "[::ffff:127.0.0.1]:1", false),
        ("::1", 1, "[::1%2]:1", false),
    ] {
        let address: SocketAddr = address.parse().expect("an address");
        assert_eq!(policy.permits(&node(host, port), address), expected, "{host}:{port} at {address}");
    }
    let limits = Limits::of(Arc::new(policy));
    let error = limits.permit(&node("db.example", 6379), "127.0.0.1:6379".parse().expect("an address"));
    let error = error.expect_err("it was allowed at another address");
    assert_eq!((error.kind(), error.hint()), (ErrorKind::Rejected, Some(REMEDY)));
    assert!(error.to_string().contains("127.0.0.1:6379"), "{error}");
}

#[test]
fn only_servers_are_allowed() {
    for (host, port, addresses) in [
        ("db.example", 0, vec!["10.0.0.5"]),
        ("db.example", 1, vec![]),
        ("db.example", 1, vec!["10.0.0.5", "0.0.0.0"]),
        ("db.example", 1, vec!["255.255.255.255"]),
        ("db.example", 1, vec!["224.0.0.1"]),
        ("db.example", 1, vec!["::ffff:10.0.0.5"]),
        ("10.0.0.5", 1, vec!["10.0.0.6"]),
        ("localhost", 1, vec!["10.0.0.5"]),
        ("2130706433", 1, vec!["127.0.0.1"]),
        ("db.example.", 1, vec!["10.0.0.5"]),
    ] {
        assert!(allowed(host, port, &addresses).is_err(), "{host}:{port} at {addresses:?}");
    }
    let target = allowed("10.0.0.5", 1, &["10.0.0.5"]).expect("an address is itself");
    assert_eq!((target.host(), target.port(), target.addresses()), ("10.0.0.5", 1, &[address("10.0.0.5")][..]));
}

#[test]
fn no_refusal_shows_a_password() {
    const CANARY: &str = "canary7b1e";
    let policy = policy();
    for rest in [
        "u:CANARY@10.0.0.5",
        "u:CANARY@127.0.0.1\\",
        "u:CANARY/x@127.0.0.1",
        "u:CANARY?x@127.0.0.1",
        ":CANARY#@127.0.0.1",
        "u:x@CANARY@127.0.0.1",
        "u:CANARY@0x7f.1:1",
        "u:CANARY@127.0.0.1:0",
        "u:CANARY@",
        "u:CANARY@[::1",
        "127.0.0.1:CANARY",
        "u:CANARY@127.0.0.1?tls_ca=/x",
        "u:CANARY@127.0.0.1?nodes=10.0.0.5:1",
        "u:CANARY@127.0.0.1?x=1",
        "CANARY/y@127.0.0.1",
        "u:CANARY%00@127.0.0.1",
        "127.0.0.1:CANARY@127.0.0.1",
        "u:[CANARY]@127.0.0.1",
    ] {
        let text = format!("{SCHEME}://{}", rest.replace("CANARY", CANARY));
        let refusal = policy.check(&text).expect_err(rest);
        let shown = format!("{refusal:?}");
        assert!(!shown.contains(CANARY) && !refusal.remedy.is_empty(), "{shown}");
    }
}

#[test]
fn a_web_server_beside_the_target_is_held_to_the_same() {
    let policy = policy();
    for text in
        ["http://127.0.0.1:9090", "https://localhost:9090/prometheus", "http://db.example:6379", "http://[::1]:1"]
    {
        let target = policy.check_web(text).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
        assert_eq!(target.to_string().trim_end_matches('/'), text);
    }
    for text in [
        "",
        "http",
        "127.0.0.1:9090",
        "postgres://127.0.0.1:9090",
        "file:///etc/passwd",
        "http:127.0.0.1",
        "http://example.org:9090",
        "http://db.example:9090",
        "http://169.254.169.254/latest",
        "http://127.1:9090",
        "http://user:c4nary@127.0.0.1:9090",
        "http://127.0.0.1:9090/?token=c4nary",
        "http://127.0.0.1:9090@example.org",
        "http://127.0.0.1:9090\\@example.org",
    ] {
        let refusal = policy.check_web(text).expect_err(text);
        assert!(!format!("{refusal:?}").contains("c4nary"), "{refusal:?}");
    }
    assert!(Policy::new(false, Vec::new()).check_web("http://127.0.0.1:9090").is_err());
}
