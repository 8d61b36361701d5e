//! Plain commands of Redis.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use store::{Node, Target};

/// A server on this machine that does not answer within this time never will.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// What a server of the Redis kind answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    Status(String),
    Error(String),
    Integer(i64),
    Bulk(Option<Vec<u8>>),
    Array(Vec<Self>),
}

impl Reply {
    /// The items of an array.
    pub(crate) fn items(self) -> Vec<Self> {
        match self {
            Self::Array(items) => items,
            other => panic!("{other:?} is no array"),
        }
    }

    /// A byte string as text.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Bulk(Some(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("{other:?} is no byte string"),
        }
    }
}

/// The protocol of Redis in its simplest form, written here so that a driver's mistakes are not repeated. A cluster is asked
/// at any node, and at another where that says so.
pub(crate) struct Commands(Vec<(Node, Connection)>);

impl Commands {
    pub(crate) fn connect(target: &Target) -> Self {
        let nodes = target.nodes(target.port().expect("servers of ours name their port")).expect("a list");
        Self(nodes.into_iter().map(|node| (node.clone(), Connection::open(&node, target))).collect())
    }

    /// Sends a command that must succeed; its reply.
    pub(crate) fn ask<T: AsRef<[u8]>>(&mut self, command: &[T]) -> Reply {
        let mut place = 0;
        loop {
            match self.0[place].1.ask(command) {
                Reply::Error(line) if line.starts_with("MOVED ") => {
                    let there = line.rsplit(' ').next().expect("a redirect names a node");
                    let known = self.0.iter().position(|(node, _)| node.to_string() == there);
                    place = known.expect("the target lists all nodes");
                }
                Reply::Error(line) => panic!("the server answered: {line}"),
                reply => return reply,
            }
        }
    }

    /// The same to all nodes.
    pub(crate) fn ask_all(&mut self, command: &[&str]) -> Vec<Reply> {
        let replies = self.0.iter_mut().map(|(_, connection)| connection.ask(command));
        replies.inspect(|reply| assert!(!matches!(reply, Reply::Error(_)), "the server answered: {reply:?}")).collect()
    }

    /// Removes all keys, ours or not.
    pub(crate) fn remove_everything(&mut self) {
        for key in self.keys("*") {
            self.ask(&["UNLINK", &key]);
        }
    }

    /// The keys that match a pattern, in order.
    pub(crate) fn keys(&mut self, pattern: &str) -> Vec<String> {
        let mut keys = Vec::new();
        for (_, connection) in &mut self.0 {
            let mut cursor = "0".to_owned();
            loop {
                let mut step = connection.ask(&["SCAN", &cursor, "MATCH", pattern, "COUNT", "1000"]).items();
                keys.extend(step.remove(1).items().iter().map(Reply::text));
                cursor = step[0].text();
                if cursor == "0" {
                    break;
                }
            }
        }
        keys.sort();
        keys.dedup();
        keys
    }
}

/// A connection to one server.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(node: &Node, target: &Target) -> Self {
        let stream = TcpStream::connect((node.host.as_str(), node.port)).expect("the server is there");
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).expect("a time-out can be set");
        let mut connection = Self(BufReader::new(stream));
        if let Some(password) = target.password() {
            connection.ask(&["AUTH", password.expose()]);
        }
        if !target.path().is_empty() {
            connection.ask(&["SELECT", target.path()]);
        }
        connection
    }

    fn ask<T: AsRef<[u8]>>(&mut self, command: &[T]) -> Reply {
        let mut text = format!("*{}\r\n", command.len()).into_bytes();
        for argument in command {
            let argument = argument.as_ref();
            text.extend(format!("${}\r\n", argument.len()).bytes());
            text.extend_from_slice(argument);
            text.extend_from_slice(b"\r\n");
        }
        self.0.get_mut().write_all(&text).expect("the server is there");
        self.reply()
    }

    fn reply(&mut self) -> Reply {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("the server answers");
        let line = line.trim_end();
        let (kind, rest) = line.split_at(1);
        let number = || rest.parse::<i64>().expect("the protocol has a number here");
        match kind {
            "+" => Reply::Status(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(number()),
            "$" => Reply::Bulk(usize::try_from(number()).ok().map(|length| {
                let mut bytes = vec![0; length + 2];
                self.0.read_exact(&mut bytes).expect("the server answers");
                bytes.truncate(length);
                bytes
            })),
            "*" => Reply::Array((0..number()).map(|_| self.reply()).collect()),
            other => panic!("the protocol has no `{other}`"),
        }
    }
}
