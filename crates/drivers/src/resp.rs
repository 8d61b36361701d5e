//! RESP, the protocol of Redis, version 2: encoding commands, and taking replies apart where they lie.
//!
//! Reading has two steps, both without allocation. A [`Framer`] finds where the replies of a request end and goes on
//! where it stopped when more bytes are in; then [`take_item`] walks the complete bytes. Bytes come from a network:
//! whatever they are, the answer is an item, "not all there yet" or [`Malformed`], never a panic.

/// Bytes of the replies to one request, together. Storelab's largest are a scan's (1,000 records of 10 kB); a server that
/// announces more is wrong or hostile, and must not make the process grow.
const REPLY_BYTES_MAX: usize = 64 << 20;

/// Elements of one array. `Redis` itself refuses requests with more.
const ARRAY_ITEMS_MAX: usize = 1 << 20;

/// Arrays within arrays. `COMMAND INFO`, the deepest reply that is asked for, has 9 levels.
const NESTING_MAX: usize = 16;

/// Bytes of a status, error or number line. `Redis` keeps its own below 1 kB.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Digits of the smallest 64-bit number with its sign.
const DECIMAL_BYTES_MAX: usize = 20;

/// Bytes that are no RESP reply, or one past the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// One item of a reply. An array's items follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// `+OK`
    Status(&'a [u8]),
    /// `-ERR …`
    Error(&'a [u8]),
    /// `:42`
    Integer(i64),
    /// `$3 abc`
    Bulk(&'a [u8]),
    /// `$-1` or `*-1`
    Null,
    /// `*2`, with the number of items in it.
    Array(usize),
}

/// Begins a command of so many arguments, its name among them.
pub(crate) fn command(out: &mut Vec<u8>, arguments: usize) {
    header(out, b'*', arguments);
}

/// Appends an argument.
pub(crate) fn argument(out: &mut Vec<u8>, bytes: &[u8]) {
    header(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends an argument that is the parts one behind the other.
pub(crate) fn argument_of(out: &mut Vec<u8>, parts: &[&[u8]]) {
    header(out, b'$', parts.iter().map(|part| part.len()).sum());
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole command.
pub(crate) fn command_of(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    command(out, arguments.len());
    for bytes in arguments {
        argument(out, bytes);
    }
}

/// A number in decimal, without allocation.
pub(crate) struct Decimal {
    digits: [u8; DECIMAL_BYTES_MAX],
    first: usize,
}

impl Decimal {
    /// Of that number.
    pub(crate) fn new(mut number: u64) -> Self {
        let mut digits = [b'0'; DECIMAL_BYTES_MAX];
        let mut first = DECIMAL_BYTES_MAX;
        loop {
            first -= 1;
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Self { digits, first };
            }
        }
    }

    /// Its digits.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.digits[self.first..]
    }
}

/// `*3\r\n`, `$10\r\n`.
fn header(out: &mut Vec<u8>, kind: u8, number: usize) {
    // One append for lengths of up to two digits, which most are: appending is what encoding costs.
    if number < 10 {
        out.extend_from_slice(&[kind, b'0' + number as u8, b'\r', b'\n']);
    } else if number < 100 {
        out.extend_from_slice(&[kind, b'0' + (number / 10) as u8, b'0' + (number % 10) as u8, b'\r', b'\n']);
    } else {
        out.push(kind);
        out.extend_from_slice(Decimal::new(number as u64).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Finds the end of a request's replies, however the bytes come in.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    /// Bytes that are known to be whole items.
    scanned: usize,
    /// Replies of which nothing has been scanned yet; none while no framing is under way.
    replies_left: Option<u32>,
    /// Items that are still to come in each open array, the innermost last.
    open: [usize; NESTING_MAX],
    nesting: usize,
}

impl Framer {
    /// The length of the first `replies` replies in `input`, or none where they are not all there. The next call then
    /// takes the same bytes with more behind them; after a length, it takes what follows them.
    pub(crate) fn frame(&mut self, input: &[u8], replies: u32) -> Result<Option<usize>, Malformed> {
        let mut replies_left = self.replies_left.take().unwrap_or(replies);
        while replies_left > 0 || self.nesting > 0 {
            let rest = &input[self.scanned.min(input.len())..];
            let Some((item, length)) = take_item(rest)? else {
                if input.len() > REPLY_BYTES_MAX {
                    return Err(Malformed);
                }
                self.replies_left = Some(replies_left);
                return Ok(None);
            };
            self.scanned += length;
            match self.nesting {
                0 => replies_left -= 1,
                nesting => self.open[nesting - 1] -= 1,
            }
            if let Item::Array(items) = item
                && items > 0
            {
                *self.open.get_mut(self.nesting).ok_or(Malformed)? = items;
                self.nesting += 1;
            }
            while self.nesting > 0 && self.open[self.nesting - 1] == 0 {
                self.nesting -= 1;
            }
        }
        Ok(Some(std::mem::take(&mut self.scanned)))
    }
}

/// The first item of `input` with its length, or none where it is not all there.
pub(crate) fn take_item(input: &[u8]) -> Result<Option<(Item<'_>, usize)>, Malformed> {
    let Some(&kind) = input.first() else {
        return Ok(None);
    };
    if !matches!(kind, b'+' | b'-' | b':' | b'$' | b'*') {
        return Err(Malformed);
    }
    let Some(line) = take_line(&input[1..])? else {
        return Ok(None);
    };
    let after = 1 + line.len() + 2;
    let item = match kind {
        b'+' => Item::Status(line),
        b'-' => Item::Error(line),
        b':' => Item::Integer(parse_integer(line)?),
        b'$' => match parse_length(line, REPLY_BYTES_MAX)? {
            None => Item::Null,
            Some(length) => {
                let end = after + length;
                let Some(tail) = input.get(end..end + 2) else {
                    return Ok(None);
                };
                return if tail == b"\r\n" {
                    Ok(Some((Item::Bulk(&input[after..end]), end + 2)))
                } else {
                    Err(Malformed)
                };
            }
        },
        _ => parse_length(line, ARRAY_ITEMS_MAX)?.map_or(Item::Null, Item::Array),
    };
    Ok(Some((item, after)))
}

/// The line at the start of `input`, without its end.
fn take_line(input: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let window = &input[..input.len().min(LINE_BYTES_MAX)];
    match window.iter().position(|byte| *byte == b'\r' || *byte == b'\n') {
        Some(end) if input[end] == b'\n' => Err(Malformed),
        Some(end) => match input.get(end + 1) {
            Some(b'\n') => Ok(Some(&input[..end])),
            Some(_) => Err(Malformed),
            None => Ok(None),
        },
        None if input.len() >= LINE_BYTES_MAX => Err(Malformed),
        None => Ok(None),
    }
}

/// A length of at most `maximum`; -1 is none.
fn parse_length(line: &[u8], maximum: usize) -> Result<Option<usize>, Malformed> {
    match parse_integer(line)? {
        -1 => Ok(None),
        length => usize::try_from(length).ok().filter(|length| *length <= maximum).map(Some).ok_or(Malformed),
    }
}

/// A whole number in decimal.
pub(crate) fn parse_integer(text: &[u8]) -> Result<i64, Malformed> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() >= DECIMAL_BYTES_MAX {
        return Err(Malformed);
    }
    let mut magnitude: u64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(Malformed);
        }
        // 19 digits fit into 64 bits without sign.
        magnitude = magnitude * 10 + u64::from(digit - b'0');
    }
    if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }.ok_or(Malformed)
}

/// Walks over commands that were encoded here, to send each where its key is.
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    position: usize,
}

/// A command among others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command<'a> {
    /// Where it begins.
    pub(crate) start: usize,
    /// Where it ends.
    pub(crate) end: usize,
    /// Its name.
    pub(crate) name: &'a [u8],
    /// Its first key, where it has one: what follows the name, or for a script what follows the number of keys.
    pub(crate) key: Option<&'a [u8]>,
}

impl<'a> Scanner<'a> {
    /// Over those commands.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The next command; none at the end, or where there is none.
    pub(crate) fn command(&mut self) -> Option<Command<'a>> {
        let start = self.position;
        let command = self.take_command(start);
        if command.is_none() {
            self.position = start;
        }
        command
    }

    fn take_command(&mut self, start: usize) -> Option<Command<'a>> {
        let arguments = self.number(b'*')?;
        let (mut name, mut key): (&[u8], _) = (b"", None);
        for place in 0..arguments {
            let length = self.number(b'$')?;
            let bytes = self.bytes.get(self.position..self.position.checked_add(length)?)?;
            self.position += length + 2;
            match place {
                0 => name = bytes,
                1 if name != b"EVAL" => key = Some(bytes),
                3 if name == b"EVAL" => key = Some(bytes),
                _ => {}
            }
        }
        (self.position <= self.bytes.len()).then_some(Command { start, end: self.position, name, key })
    }

    /// Whether all of it was commands.
    pub(crate) fn is_at_end(&self) -> bool {
        self.position == self.bytes.len()
    }

    /// `*3\r\n`, `$10\r\n`.
    fn number(&mut self, kind: u8) -> Option<usize> {
        let rest = self.bytes.get(self.position..)?;
        let digits = rest.strip_prefix(&[kind])?;
        let mut number = 0_usize;
        for (place, byte) in digits.iter().enumerate() {
            if !byte.is_ascii_digit() {
                self.position += 1 + place + 2;
                return (place > 0).then_some(number);
            }
            number = number.checked_mul(10)?.checked_add(usize::from(byte - b'0'))?;
        }
        None
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All items of the input, where it is whole and well-formed.
    fn items(mut input: &[u8]) -> Result<Vec<Item<'_>>, Malformed> {
        let mut items = Vec::new();
        while let Some((item, length)) = take_item(input)? {
            items.push(item);
            input = &input[length..];
        }
        Ok(items)
    }

    /// Frames the input as it comes in pieces of `step` bytes.
    fn frame_in_steps(input: &[u8], step: usize, replies: u32) -> Result<Option<usize>, Malformed> {
        let mut framer = Framer::default();
        for end in (0..input.len()).step_by(step).skip(1) {
            if let Some(length) = framer.frame(&input[..end], replies)? {
                return Ok(Some(length));
            }
        }
        framer.frame(input, replies)
    }

    #[test]
    fn items_are_recognised() {
        let check = |input: &str, expect: Item<'_>| {
            assert_eq!(take_item(input.as_bytes()), Ok(Some((expect, input.len()))), "{input:?}");
        };
        check("+OK\r\n", Item::Status(b"OK"));
        check("-ERR no\r\n", Item::Error(b"ERR no"));
        check(":-42\r\n", Item::Integer(-42));
        check(":-9223372036854775808\r\n", Item::Integer(i64::MIN));
        check("$3\r\na\r\n\r\n", Item::Bulk(b"a\r\n"));
        check("$0\r\n\r\n", Item::Bulk(b""));
        check("$-1\r\n", Item::Null);
        check("*-1\r\n", Item::Null);
        check("*2\r\n", Item::Array(2));
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bad in [
            "HTTP/1.1 400 Bad Request\r\n",
            "$abc\r\n",
            "$-2\r\n",
            "$1\r\nabc",
            "+a\rb\r\n",
            "+a\n",
            ":\r\n",
            ":-\r\n",
            ":9223372036854775808\r\n",
            ":99999999999999999999\r\n",
            "$99999999999\r\n",
            "*99999999\r\n",
        ] {
            assert_eq!(items(bad.as_bytes()), Err(Malformed), "{bad:?}");
        }
        let endless = vec![b'+'; LINE_BYTES_MAX + 1];
        assert_eq!(take_item(&endless), Err(Malformed), "a line without end");
    }

    #[test]
    fn nesting_is_limited() {
        let nested = |levels: usize| ["*1\r\n".repeat(levels).as_str(), ":1\r\n"].concat();
        assert!(Framer::default().frame(nested(NESTING_MAX).as_bytes(), 1).is_ok_and(|length| length.is_some()));
        assert_eq!(Framer::default().frame(nested(NESTING_MAX + 1).as_bytes(), 1), Err(Malformed));
    }

    #[test]
    fn commands_are_encoded() {
        let mut out = Vec::new();
        command(&mut out, 3);
        argument(&mut out, b"SET");
        argument_of(&mut out, &[b"k:", Decimal::new(u64::MAX).as_bytes()]);
        argument(&mut out, &[b'x'; 100]);
        let expect = format!("*3\r\n$3\r\nSET\r\n$22\r\nk:18446744073709551615\r\n$100\r\n{}\r\n", "x".repeat(100));
        assert_eq!(String::from_utf8(out).expect("ASCII"), expect);
        assert_eq!(Decimal::new(0).as_bytes(), b"0");
    }

    #[test]
    fn commands_are_told_apart_with_their_keys() {
        let mut out = Vec::new();
        command_of(&mut out, &[b"GET", b"k1"]);
        command_of(&mut out, &[b"MULTI"]);
        command_of(&mut out, &[b"EVAL", b"return 1", b"2", b"first", b"second", b""]);
        let mut scanner = Scanner::new(&out);
        let mut found = Vec::new();
        while let Some(Command { start, end, name, key }) = scanner.command() {
            assert_eq!(out[start], b'*');
            assert!(out[..end].ends_with(b"\r\n"));
            found.push((name, key));
        }
        assert!(scanner.is_at_end());
        let expect: [(&[u8], Option<&[u8]>); 3] = [(b"GET", Some(b"k1")), (b"MULTI", None), (b"EVAL", Some(b"first"))];
        assert_eq!(found, expect);
        for cut in 1..out.len() {
            let mut scanner = Scanner::new(&out[..cut]);
            while scanner.command().is_some() {}
            assert!(!scanner.is_at_end() || out[cut..].starts_with(b"*"), "cut at {cut}");
        }
    }

    /// Any well-formed reply.
    pub(crate) fn reply() -> impl Strategy<Value = Vec<u8>> {
        let line = |kind: &'static str| {
            "[ -~]{0,20}".prop_map(move |text| [kind.as_bytes(), text.as_bytes(), b"\r\n"].concat())
        };
        let leaf = prop_oneof![
            line("+"),
            line("-"),
            any::<i64>().prop_map(|number| format!(":{number}\r\n").into_bytes()),
            Just(b"$-1\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..30).prop_map(|bytes| [
                format!("${}\r\n", bytes.len()).as_bytes(),
                &bytes,
                b"\r\n"
            ]
            .concat()),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            proptest::collection::vec(inner, 0..5)
                .prop_map(|list| [format!("*{}\r\n", list.len()).into_bytes(), list.concat()].concat())
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_scanned(text in "([*$][0-9]{0,21}\r\n|[a-z]{0,4}\r\n){0,12}") {
            let mut scanner = Scanner::new(text.as_bytes());
            while let Some(command) = scanner.command() {
                prop_assert!(command.start < command.end && command.end <= text.len());
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), replies in 0_u32..5) {
            let _ = items(&bytes);
            let _ = frame_in_steps(&bytes, 1, replies);
        }

        #[test]
        fn bytes_that_look_like_replies_are_survived(text in "([-+:$*][-0-9]{0,3}\r\n){0,20}", replies in 1_u32..4) {
            let whole = frame_in_steps(text.as_bytes(), text.len().max(1), replies);
            prop_assert_eq!(frame_in_steps(text.as_bytes(), 1, replies), whole);
        }

        #[test]
        fn replies_that_come_in_pieces_have_the_same_end(
            replies in proptest::collection::vec(reply(), 1..5), rest in "[-+:$*a-z0-9\r\n]{0,20}", step in 1_usize..7,
        ) {
            let expect = replies.concat();
            let input = [expect.as_slice(), rest.as_bytes()].concat();
            prop_assert_eq!(frame_in_steps(&input, step, replies.len() as u32), Ok(Some(expect.len())));
            for cut in 0..expect.len() {
                prop_assert_eq!(Framer::default().frame(&expect[..cut], replies.len() as u32), Ok(None));
            }
        }
    }
}
