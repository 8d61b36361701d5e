//! The key-value verbs: how they are encoded, and how their replies become rows.

use store::{Error, Fields, Record, Request, Result, Rows, Token, Value, Values};

use super::reply::{Replies, unexpected};
use crate::resp::{Decimal, argument, argument_of, command, command_of, parse_integer};

/// What every field's name begins with.
const FIELD: &[u8] = b"field";

/// What an update that found no record may have made is removed, unless an insert made the record meanwhile: inserts
/// enter the key into the index before they write the record.
const REMOVE_UNLESS_INDEXED: &[u8] =
    b"if redis.call('ZSCORE',KEYS[1],ARGV[1]) then return 1 end redis.call('DEL',KEYS[2]) return 0";

/// Where the records of a namespace live.
pub(crate) struct RecordKeys {
    prefix: Vec<u8>,
    index: Vec<u8>,
}

/// The keys that a scan has found, while their records are on their way.
#[derive(Default)]
pub(crate) struct ScanKeys {
    text: String,
    ends: Vec<usize>,
}

/// What the replies of a request are about.
pub(crate) enum Verb {
    Read,
    ReadField(u16),
    ScanIndex,
    ScanRecords(ScanKeys),
    Insert,
    /// With the key, in case that there is no such record; its memory is used again.
    Update(ScanKeys),
    UpdateMissed(ScanKeys),
    Delete,
}

/// What a request's replies lead to.
pub(crate) enum Step {
    /// It has ended, with so many rows.
    Done(u64),
    /// It goes on: more was appended, to which so many replies will come.
    More(Verb, u32),
}

impl ScanKeys {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    pub(crate) fn push(&mut self, key: &str) {
        self.text.push_str(key);
        self.ends.push(self.text.len());
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[start..*end])
    }
}

impl RecordKeys {
    /// Of that namespace, or of a part of one.
    pub(crate) fn new(namespace: &str) -> Self {
        Self { prefix: format!("{namespace}:").into_bytes(), index: format!("{namespace}:!index").into_bytes() }
    }

    /// Appends a request, and says what its replies are about and how many there will be.
    pub(crate) fn encode(
        &self,
        request: &Request<'_>,
        out: &mut Vec<u8>,
        spare: &mut Vec<ScanKeys>,
    ) -> Result<(Verb, u32)> {
        Ok(match *request {
            Request::Read { key, fields: Fields::All } => {
                self.read_all(out, key);
                (Verb::Read, 1)
            }
            Request::Read { key, fields: Fields::One(field) } => {
                command(out, 3);
                argument(out, b"HGET");
                self.key(out, key);
                argument_of(out, &[FIELD, Decimal::new(field.into()).as_bytes()]);
                (Verb::ReadField(field), 1)
            }
            Request::Scan { start, limit } => {
                self.scan_index(out, start, limit);
                (Verb::ScanIndex, 1)
            }
            Request::Insert { key, values } => {
                check_key(key)?;
                command_of(out, &[b"ZADD", &self.index, b"0", key.as_bytes()]);
                self.write(out, key, values);
                (Verb::Insert, 2)
            }
            Request::Update { key, values } => {
                check_key(key)?;
                self.write(out, key, values);
                let mut kept = spare.pop().unwrap_or_default();
                kept.clear();
                kept.push(key);
                (Verb::Update(kept), 1)
            }
            Request::Delete { key } => {
                check_key(key)?;
                command_of(out, &[b"ZREM", &self.index, key.as_bytes()]);
                command(out, 2);
                argument(out, b"DEL");
                self.key(out, key);
                (Verb::Delete, 2)
            }
            _ => return Err(Error::unsupported("this store has neither SQL nor interactive transactions")),
        })
    }

    /// Appends what loads a record. It has one reply; the index is loaded with [`index_all`](Self::index_all).
    pub(crate) fn load(&self, out: &mut Vec<u8>, record: &Record, field_length: usize) -> Result<()> {
        check_key(&record.key)?;
        self.write(out, &record.key, record.values(field_length));
        Ok(())
    }

    /// Appends what enters many keys into the index; one reply.
    pub(crate) fn index_all<'a>(&self, out: &mut Vec<u8>, keys: impl ExactSizeIterator<Item = &'a str>) {
        command(out, 2 + 2 * keys.len());
        argument(out, b"ZADD");
        argument(out, &self.index);
        for key in keys {
            argument(out, b"0");
            argument(out, key.as_bytes());
        }
    }

    /// Reads the replies of a request and shows its rows.
    pub(crate) fn take(
        &self,
        verb: Verb,
        token: Token,
        replies: &mut Replies<'_>,
        rows: &mut dyn Rows,
        out: &mut Vec<u8>,
        spare: &mut Vec<ScanKeys>,
    ) -> Result<Step> {
        Ok(match verb {
            Verb::Read => {
                let items = replies.array()?;
                if items > 0 {
                    rows.begin(token);
                    rows.row(None);
                    show_fields(items, replies, rows)?;
                }
                Step::Done(u64::from(items > 0))
            }
            Verb::ReadField(field) => match replies.bulk()? {
                None => Step::Done(0),
                Some(value) => {
                    rows.begin(token);
                    rows.row(None);
                    rows.value(field.into(), Value::Bytes(value));
                    Step::Done(1)
                }
            },
            Verb::ScanIndex => self.take_index(token, replies, rows, out, spare)?,
            Verb::ScanRecords(keys) => {
                let shown = show_records(&keys, token, replies, rows);
                spare.push(keys);
                Step::Done(shown?)
            }
            Verb::Insert => {
                replies.integer()?;
                replies.integer()?;
                Step::Done(1)
            }
            Verb::Update(kept) => match replies.integer() {
                // Fields that are new mean that the record was not there.
                Ok(1..) => {
                    command(out, 6);
                    argument(out, b"EVAL");
                    argument(out, REMOVE_UNLESS_INDEXED);
                    argument(out, b"2");
                    argument(out, &self.index);
                    self.key(out, &kept.text);
                    argument(out, kept.text.as_bytes());
                    Step::More(Verb::UpdateMissed(kept), 1)
                }
                result => {
                    spare.push(kept);
                    result?;
                    Step::Done(1)
                }
            },
            Verb::UpdateMissed(kept) => {
                spare.push(kept);
                Step::Done(u64::from(replies.integer()? == 1))
            }
            Verb::Delete => {
                replies.integer()?;
                Step::Done(u64::from(replies.integer()? == 1))
            }
        })
    }

    fn take_index(
        &self,
        token: Token,
        replies: &mut Replies<'_>,
        rows: &mut dyn Rows,
        out: &mut Vec<u8>,
        spare: &mut Vec<ScanKeys>,
    ) -> Result<Step> {
        let count = replies.array()?;
        if count == 0 {
            rows.begin(token);
            return Ok(Step::Done(0));
        }
        let mut keys = spare.pop().unwrap_or_default();
        keys.clear();
        let start = out.len();
        for _ in 0..count {
            let key = replies.bytes().and_then(|key| std::str::from_utf8(key).map_err(|_| unexpected()));
            let key = key.inspect_err(|_| {
                // The scan ends here: what was to read its records would be answered to the next request.
                out.truncate(start);
            })?;
            keys.push(key);
            self.read_all(out, key);
        }
        Ok(Step::More(Verb::ScanRecords(keys), count as u32))
    }

    /// Appends a look at the index: so many keys at most, in order, from the first that is not before `start`.
    pub(crate) fn scan_index(&self, out: &mut Vec<u8>, start: &str, limit: u32) {
        command(out, 7);
        argument(out, b"ZRANGEBYLEX");
        argument(out, &self.index);
        argument_of(out, &[b"[", start.as_bytes()]);
        argument(out, b"+");
        argument(out, b"LIMIT");
        argument(out, b"0");
        argument(out, Decimal::new(limit.into()).as_bytes());
    }

    /// Appends a look at a whole record.
    pub(crate) fn read_all(&self, out: &mut Vec<u8>, key: &str) {
        out.extend_from_slice(b"*2\r\n$7\r\nHGETALL\r\n");
        self.key(out, key);
    }

    fn write(&self, out: &mut Vec<u8>, key: &str, values: Values<'_>) {
        command(out, 2 + 2 * values.iter().len());
        argument(out, b"HSET");
        self.key(out, key);
        for (field, value) in values.iter() {
            argument_of(out, &[FIELD, Decimal::new(field.into()).as_bytes()]);
            argument(out, value);
        }
    }

    fn key(&self, out: &mut Vec<u8>, key: &str) {
        argument_of(out, &[&self.prefix, key.as_bytes()]);
    }
}

/// The index lives beside the records, under a name that no record may take.
fn check_key(key: &str) -> Result<()> {
    if key.starts_with('!') {
        return Err(Error::unsupported(format!("a record cannot have the key `{key}`"))
            .with_hint("use keys that do not start with an exclamation mark"));
    }
    Ok(())
}

/// Shows the rest of one `HGETALL` reply.
fn show_fields(items: usize, replies: &mut Replies<'_>, rows: &mut dyn Rows) -> Result<()> {
    for _ in 0..items / 2 {
        let name = replies.bytes()?;
        let field = name.strip_prefix(FIELD).and_then(|number| parse_integer(number).ok());
        let field = field.and_then(|number| usize::try_from(number).ok()).ok_or_else(unexpected)?;
        rows.value(field, Value::Bytes(replies.bytes()?));
    }
    Ok(())
}

/// Shows the records of a scan. One that was removed since its key was read is left out.
fn show_records(keys: &ScanKeys, token: Token, replies: &mut Replies<'_>, rows: &mut dyn Rows) -> Result<u64> {
    rows.begin(token);
    let mut shown = 0;
    for key in keys.iter() {
        let items = replies.array()?;
        if items > 0 {
            rows.row(Some(key));
            show_fields(items, replies, rows)?;
            shown += 1;
        }
    }
    Ok(shown)
}
