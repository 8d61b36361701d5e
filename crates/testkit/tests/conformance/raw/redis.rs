//! Plain commands of Redis.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use store::Target;

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

/// The protocol of Redis in its simplest form, written here so that a driver's mistakes are not repeated.
pub(crate) struct Commands(BufReader<TcpStream>);

impl Commands {
    pub(crate) fn connect(target: &Target) -> Self {
        let port = target.port().expect("servers of ours name their port");
        let stream = TcpStream::connect((target.host(), port)).expect("the server is there");
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).expect("a time-out can be set");
        let mut commands = Self(BufReader::new(stream));
        if let Some(password) = target.password() {
            commands.ask(&["AUTH", password.expose()]);
        }
        if !target.path().is_empty() {
            commands.ask(&["SELECT", target.path()]);
        }
        commands
    }

    /// Sends a command that must succeed; its reply.
    pub(crate) fn ask<T: AsRef<[u8]>>(&mut self, command: &[T]) -> Reply {
        let mut text = format!("*{}\r\n", command.len()).into_bytes();
        for argument in command {
            let argument = argument.as_ref();
            text.extend(format!("${}\r\n", argument.len()).bytes());
            text.extend_from_slice(argument);
            text.extend_from_slice(b"\r\n");
        }
        self.0.get_mut().write_all(&text).expect("the server is there");
        match self.reply() {
            Reply::Error(line) => panic!("the server answered: {line}"),
            reply => reply,
        }
    }

    /// The keys that match a pattern, in order.
    pub(crate) fn keys(&mut self, pattern: &str) -> Vec<String> {
        let (mut cursor, mut keys) = ("0".to_owned(), Vec::new());
        loop {
            let mut step = self.ask(&["SCAN", &cursor, "MATCH", pattern, "COUNT", "1000"]).items();
            keys.extend(step.remove(1).items().iter().map(Reply::text));
            cursor = step[0].text();
            if cursor == "0" {
                keys.sort();
                keys.dedup();
                return keys;
            }
        }
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
