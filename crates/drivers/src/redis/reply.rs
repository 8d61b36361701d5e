//! Replies that are all there, read one item after another; error replies become errors of the store.

use store::{Error, ErrorKind, Result};

use crate::resp::{Item, take_item};

/// Characters of the server's own words that an error repeats.
const MESSAGE_CHARACTERS_MAX: usize = 200;

/// Walks over the replies of one request.
pub(crate) struct Replies<'a> {
    rest: &'a [u8],
}

impl<'a> Replies<'a> {
    /// Over replies that a [`Framer`](crate::resp::Framer) found the end of.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next item as it is. An array's items follow it.
    pub(crate) fn item(&mut self) -> Result<Item<'a>> {
        match take_item(self.rest) {
            Ok(Some((item, length))) => {
                self.rest = &self.rest[length..];
                Ok(item)
            }
            _ => Err(unexpected()),
        }
    }

    /// The next item, where it is no error.
    ///
    /// # Errors
    /// What the server answered, by [`error_of`].
    pub(crate) fn good(&mut self) -> Result<Item<'a>> {
        match self.item()? {
            Item::Error(line) => Err(error_of(line)),
            item => Ok(item),
        }
    }

    /// A status.
    pub(crate) fn status(&mut self) -> Result<&'a [u8]> {
        match self.good()? {
            Item::Status(status) => Ok(status),
            _ => Err(unexpected()),
        }
    }

    /// A whole number.
    pub(crate) fn integer(&mut self) -> Result<i64> {
        match self.good()? {
            Item::Integer(number) => Ok(number),
            _ => Err(unexpected()),
        }
    }

    /// A byte string, or none.
    pub(crate) fn bulk(&mut self) -> Result<Option<&'a [u8]>> {
        match self.good()? {
            Item::Bulk(bytes) => Ok(Some(bytes)),
            Item::Null => Ok(None),
            _ => Err(unexpected()),
        }
    }

    /// A byte string that must be there.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        self.bulk()?.ok_or_else(unexpected)
    }

    /// The number of items of an array, which follow.
    pub(crate) fn array(&mut self) -> Result<usize> {
        match self.good()? {
            Item::Array(items) => Ok(items),
            Item::Null => Ok(0),
            _ => Err(unexpected()),
        }
    }

    /// Bytes that have not been read.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Passes over one reply with all that is in it. Errors are passed over as well.
    pub(crate) fn skip(&mut self) -> Result<()> {
        let mut items = 1_usize;
        while items > 0 {
            items -= 1;
            if let Item::Array(inner) = self.item()? {
                items += inner;
            }
        }
        Ok(())
    }
}

/// A reply of another type than the command gives.
pub(crate) fn unexpected() -> Error {
    Error::wrong_result("the server answered with something else than the command gives")
        .with_hint("check that the target is Redis, Valkey or a server that is compatible with them")
}

/// The error for an error reply: its first word says who must act.
pub(crate) fn error_of(line: &[u8]) -> Error {
    let text = String::from_utf8_lossy(line);
    let code = text.split(' ').next().unwrap_or_default();
    let (kind, hint) = match code {
        "MOVED" | "ASK" => (
            ErrorKind::Conflict,
            Some("the cluster moves its slots: try again; where this stays, the user may not ask CLUSTER SLOTS"),
        ),
        "CLUSTERDOWN" => {
            (ErrorKind::Unreachable, Some("see CLUSTER INFO: a master may be down with no replica to take over"))
        }
        "LOADING" => (ErrorKind::Conflict, Some("the server still reads its data from disk: try again")),
        "BUSY" => (ErrorKind::Conflict, Some("a script keeps the server busy: try again")),
        "TRYAGAIN" => (ErrorKind::Conflict, None),
        "NOAUTH" => (ErrorKind::Rejected, Some("give the password in the target: redis://:password@host")),
        "WRONGPASS" => (ErrorKind::Rejected, Some("correct the user and password in the target")),
        "NOPERM" => (ErrorKind::Rejected, Some("allow the user all commands on keys that start with storelab_")),
        "OOM" => (ErrorKind::Rejected, Some("raise the server's maxmemory, or load less data")),
        "ERR" if text.contains("cluster mode") => {
            (ErrorKind::Rejected, Some("a cluster has database 0 only: leave the number out of the target"))
        }
        "READONLY" => (ErrorKind::Rejected, Some("the server is a replica: name the primary")),
        "DENIED" => (ErrorKind::Rejected, Some("the server is in protected mode: give it a password")),
        "MISCONF" => (ErrorKind::Rejected, Some("the server cannot save to its disk and so refuses writes")),
        "ERR" if text.contains("max number of clients") => {
            (ErrorKind::Rejected, Some("raise the server's maxclients, or use fewer sessions"))
        }
        "ERR" if text.contains("DB index") => {
            (ErrorKind::Rejected, Some("name a database that the server has: redis://host/0 is always there"))
        }
        _ => (ErrorKind::Rejected, None),
    };
    let shown = text.chars().take(MESSAGE_CHARACTERS_MAX).map(|c| if c.is_control() { ' ' } else { c });
    let error = Error::new(kind, format!("the server answered: {}", shown.collect::<String>()));
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_in_order() {
        let mut replies =
            Replies::new(b"+OK\r\n:7\r\n$1\r\na\r\n$-1\r\n*2\r\n*1\r\n:1\r\n:2\r\n*1\r\n:3\r\n-ERR no\r\n");
        assert_eq!(replies.status().expect("a status"), b"OK");
        assert_eq!(replies.integer().expect("a number"), 7);
        assert_eq!(replies.bytes().expect("bytes"), b"a");
        assert_eq!(replies.bulk().expect("nothing"), None);
        replies.skip().expect("an array in an array");
        assert_eq!((replies.array().expect("an array"), replies.integer().expect("its item")), (1, 3));
        assert_eq!(replies.good().expect_err("an error").kind(), ErrorKind::Rejected);
        assert_eq!(replies.good().expect_err("the end").kind(), ErrorKind::WrongResult);
    }

    #[test]
    fn errors_say_who_must_act() {
        let check = |line: &str, kind: ErrorKind, hint: bool| {
            let error = error_of(line.as_bytes());
            assert_eq!((error.kind(), error.hint().is_some()), (kind, hint), "{line}");
        };
        check("MOVED 1 127.0.0.1:7000", ErrorKind::Conflict, true);
        check("CLUSTERDOWN The cluster is down", ErrorKind::Unreachable, true);
        check("ERR SELECT is not allowed in cluster mode", ErrorKind::Rejected, true);
        check("LOADING Redis is loading the dataset in memory", ErrorKind::Conflict, true);
        check("TRYAGAIN", ErrorKind::Conflict, false);
        check("NOPERM", ErrorKind::Rejected, true);
        check("OOM command not allowed", ErrorKind::Rejected, true);
        check("ERR max number of clients reached", ErrorKind::Rejected, true);
        check("ERR DB index is out of range", ErrorKind::Rejected, true);
        check("ERR syntax error", ErrorKind::Rejected, false);
        check("", ErrorKind::Rejected, false);
        assert!(error_of(&[b'\x1b'; 1000]).to_string().len() < 300, "long and strange texts are cut and cleaned");
    }
}
