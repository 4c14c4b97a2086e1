//! Parses RESP2 and RESP3 from a byte stream, however it is split.
//!
//! Small values are slices of the read buffer, so a reply costs no allocation. A value that is larger than
//! what has been read gets a buffer of its own, and the rest is read straight into it.
//!
//! A broken or hostile server costs only its connection: depth, counts and lengths are limited, and nothing
//! is allocated for an announced size alone.
//!
//! Not in here: which request a reply belongs to.

use std::borrow::Cow;
use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use crate::reply::{Reply, ServerError};

/// The least and the most bytes that are read at once. Quiet connections use little memory.
const CHUNK: (usize, usize) = (16 * 1024, 64 * 1024);

/// After this many small reads in a row, the read size shrinks.
const SMALL_READS: u32 = 256;

/// From this length on, an incomplete value gets its own buffer.
const OWN_BUFFER: usize = 32 * 1024;

/// The first allocation for such a value; it grows as data arrives.
const FIRST_BUFFER: usize = 1024 * 1024;

/// The largest value, in bytes: the servers' default limit (`proto-max-bulk-len`).
const MAX_VALUE: usize = 512 * 1024 * 1024;

/// The longest line: a number, a status, an error.
const MAX_LINE: usize = 64 * 1024;

/// How deep arrays and maps may be nested.
const MAX_DEPTH: usize = 16;

/// The most items in one reply, over all levels.
const MAX_ITEMS: usize = 1 << 22;

/// How many items are allocated for an array before they arrive.
const ITEMS_AT_FIRST: usize = 256;

/// One message of a server.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    Reply(Reply),
    /// A push, with its kind first.
    Push(Vec<Reply>),
}

/// The error for bytes that are not the protocol, or exceed a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotTheProtocol(&'static str);

impl fmt::Display for NotTheProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not the Redis protocol: {}", self.0)
    }
}

impl std::error::Error for NotTheProtocol {}

type Parsed<T> = Result<Option<T>, NotTheProtocol>;

/// Reads messages out of bytes.
#[derive(Debug)]
pub(super) struct Parser {
    /// How many bytes are read at once now.
    chunk_size: usize,
    /// How many reads in a row were small.
    small_reads: u32,
    /// Where the next bytes are read into.
    buffer: BytesMut,
    /// The bytes being parsed.
    chunk: Bytes,
    /// An incomplete value, read into instead of `buffer`.
    value: Option<Value>,
    /// Incomplete arrays and maps, the innermost last.
    open: Vec<Open>,
    /// How many items the message has so far, over all levels.
    items: usize,
}

/// An incomplete value.
#[derive(Debug)]
struct Value {
    kind: u8,
    /// The value, and the line end after it.
    bytes: BytesMut,
    /// The length of both.
    length: usize,
}

/// An incomplete array or map.
#[derive(Debug)]
struct Open {
    kind: u8,
    missing: usize,
    items: Vec<Reply>,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            chunk_size: CHUNK.0,
            small_reads: 0,
            buffer: BytesMut::new(),
            chunk: Bytes::new(),
            value: None,
            open: Vec::new(),
            items: 0,
        }
    }
}

impl Parser {
    /// Where to read the next bytes into, and how many at most.
    pub(super) fn space(&mut self) -> (&mut BytesMut, usize) {
        match &mut self.value {
            Some(value) => {
                let missing = value.length - value.bytes.len();
                if value.bytes.capacity() == value.bytes.len() {
                    value.bytes.reserve(missing.min(value.bytes.len()));
                }
                let room = value.bytes.capacity() - value.bytes.len();
                (&mut value.bytes, missing.min(room))
            }
            None => {
                if self.buffer.capacity() - self.buffer.len() < self.chunk_size / 8 {
                    self.buffer.reserve(self.chunk_size);
                }
                let room = self.buffer.capacity() - self.buffer.len();
                (&mut self.buffer, room)
            }
        }
    }

    /// Starts parsing `read` bytes that were read into [`space`](Self::space).
    pub(super) fn filled(&mut self, read: usize) {
        if self.value.is_some() {
            return;
        }
        let was_full = self.buffer.len() == self.buffer.capacity();
        self.chunk = self.buffer.split().freeze();
        if was_full && read >= CHUNK.0 / 8 {
            self.chunk_size = (self.chunk_size * 2).min(CHUNK.1);
            self.small_reads = 0;
        } else if read < self.chunk_size / 8 {
            self.small_reads += 1;
            if self.small_reads >= SMALL_READS {
                self.chunk_size = (self.chunk_size / 2).max(CHUNK.0);
                self.small_reads = 0;
            }
        } else {
            self.small_reads = 0;
        }
    }

    /// How many bytes of an incomplete value are missing.
    pub(super) fn missing(&self) -> usize {
        let missing = |value: &Value| value.length - value.bytes.len();
        self.value.as_ref().map_or(0, missing)
    }

    /// The next message, or `None` if more bytes are needed.
    pub(super) fn next(&mut self) -> Parsed<Message> {
        loop {
            let Some(reply) = self.next_token()? else {
                // The rest of the chunk is the start of a message.
                if !self.chunk.is_empty() {
                    self.buffer.reserve(self.chunk_size.max(self.chunk.len()));
                    self.buffer.extend_from_slice(&self.chunk);
                }
                // Even an empty slice would prevent reuse of the buffer.
                self.chunk = Bytes::new();
                return Ok(None);
            };
            let Token::Reply(reply) = reply else { continue };
            if let Some(message) = self.place(reply)? {
                self.items = 0;
                return Ok(Some(message));
            }
        }
    }

    /// Puts a reply into its array or map. Returns the message that it completes.
    fn place(&mut self, mut reply: Reply) -> Parsed<Message> {
        loop {
            let Some(open) = self.open.last_mut() else {
                return Ok(Some(Message::Reply(reply)));
            };
            open.items.push(reply);
            open.missing -= 1;
            if open.missing > 0 {
                return Ok(None);
            }
            let Some(Open { kind, items, .. }) = self.open.pop() else {
                return Ok(None);
            };
            match kind {
                b'%' => reply = map(items),
                b'>' => return Ok(Some(Message::Push(items))),
                // Attributes of the next reply, which are not used.
                b'|' => return Ok(None),
                _ => reply = Reply::Array(items),
            }
        }
    }

    /// One value, or the beginning of an array.
    fn next_token(&mut self) -> Parsed<Token> {
        if let Some(value) = self.value.take_if(|value| value.bytes.len() == value.length) {
            return finish(value).map(|reply| Some(Token::Reply(reply)));
        }
        let Some(&kind) = self.chunk.first() else {
            return Ok(None);
        };
        match kind {
            b'$' | b'=' | b'!' => self.bulk(kind),
            b'*' | b'~' | b'>' | b'%' | b'|' => self.aggregate(kind),
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => self.line(kind),
            _ => Err(NotTheProtocol("a message begins with an unknown type")),
        }
    }

    fn line(&mut self, kind: u8) -> Parsed<Token> {
        if kind == b':' {
            let Some((number, end)) = number(&self.chunk[1..])? else {
                return Ok(None);
            };
            self.chunk.advance(1 + end);
            return Ok(Some(Token::Reply(Reply::Int(number))));
        }
        let Some(length) = self.chunk.iter().position(|byte| *byte == b'\r') else {
            return self.line_is_short().map(|()| None);
        };
        match self.chunk.get(length + 1) {
            None => return Ok(None),
            Some(b'\n') => {}
            Some(_) => return Err(NotTheProtocol("a line ends with a carriage return alone")),
        }
        let text = self.chunk.slice(1..length);
        self.chunk.advance(length + 2);
        let reply = match kind {
            b'+' if &text[..] == b"OK" => Reply::Status(Cow::Borrowed("OK")),
            b'+' => Reply::Status(Cow::Owned(String::from_utf8_lossy(&text).into_owned())),
            b'-' => Reply::Error(Box::new(error(&text))),
            b'_' if text.is_empty() => Reply::Nil,
            b',' => Reply::Double(double(&text)?),
            b'#' if &text[..] == b"t" => Reply::Bool(true),
            b'#' if &text[..] == b"f" => Reply::Bool(false),
            b'(' => Reply::Bulk(Bytes::copy_from_slice(&text)),
            _ => return Err(NotTheProtocol("a value of its type's wrong form")),
        };
        Ok(Some(Token::Reply(reply)))
    }

    fn line_is_short(&self) -> Result<(), NotTheProtocol> {
        if self.chunk.len() > MAX_LINE {
            Err(NotTheProtocol("a line is too long"))
        } else {
            Ok(())
        }
    }

    fn bulk(&mut self, kind: u8) -> Parsed<Token> {
        let Some((number, end)) = number(&self.chunk[1..])? else {
            return Ok(None);
        };
        let start = 1 + end;
        if number == -1 && kind == b'$' {
            self.chunk.advance(start);
            return Ok(Some(Token::Reply(Reply::Nil)));
        }
        let length = usize::try_from(number).map_err(|_| NotTheProtocol("a negative length"))?;
        if length > MAX_VALUE {
            return Err(NotTheProtocol("a value is longer than 512 MiB"));
        }
        let there = self.chunk.len() - start;
        if there >= length + 2 {
            self.chunk.advance(start);
            let value = self.chunk.split_to(length);
            if &self.chunk[..2] != b"\r\n" {
                return Err(NotTheProtocol("a value is longer than announced"));
            }
            self.chunk.advance(2);
            return typed(kind, value).map(|reply| Some(Token::Reply(reply)));
        }
        if length >= OWN_BUFFER {
            self.chunk.advance(start);
            let length = length + 2;
            let mut bytes = BytesMut::with_capacity(length.min(FIRST_BUFFER.max(there)));
            bytes.extend_from_slice(&self.chunk);
            self.chunk = Bytes::new();
            self.value = Some(Value { kind, bytes, length });
        }
        Ok(None)
    }

    fn aggregate(&mut self, kind: u8) -> Parsed<Token> {
        let Some((number, end)) = number(&self.chunk[1..])? else {
            return Ok(None);
        };
        self.chunk.advance(1 + end);
        if number == -1 && kind == b'*' {
            return Ok(Some(Token::Reply(Reply::Nil)));
        }
        let announced = usize::try_from(number).map_err(|_| NotTheProtocol("a negative count"))?;
        let each = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
        let missing = announced.saturating_mul(each);
        self.items = self.items.saturating_add(missing);
        if self.items > MAX_ITEMS {
            return Err(NotTheProtocol("a reply has too many items"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(NotTheProtocol("arrays are nested too deeply"));
        }
        if kind == b'>' && (!self.open.is_empty() || missing == 0) {
            return Err(NotTheProtocol("a push is empty, or inside of a reply"));
        }
        if missing == 0 {
            return Ok(Some(match kind {
                b'%' => Token::Reply(Reply::Map(Vec::new())),
                b'|' => Token::Nothing,
                _ => Token::Reply(Reply::Array(Vec::new())),
            }));
        }
        self.open.push(Open {
            kind,
            missing,
            items: Vec::with_capacity(missing.min(ITEMS_AT_FIRST)),
        });
        Ok(Some(Token::Nothing))
    }
}

/// One parsing step.
enum Token {
    Reply(Reply),
    /// The beginning of an array or a map.
    Nothing,
}

/// Parses a number and its line end. Returns the number and the position after it.
#[inline]
fn number(bytes: &[u8]) -> Parsed<(i64, usize)> {
    let (sign, start) = match bytes.first() {
        Some(b'-') => (-1, 1),
        Some(b'+') => (1, 1),
        _ => (1, 0),
    };
    let mut value = 0_i64;
    let mut at = start;
    loop {
        match bytes.get(at) {
            None => return Ok(None),
            Some(digit @ b'0'..=b'9') => {
                // Adds or subtracts, so that `i64::MIN` fits too.
                let more = value
                    .checked_mul(10)
                    .and_then(|value| value.checked_add(sign * i64::from(digit - b'0')));
                value = more.ok_or(NotTheProtocol("a number has more than 64 bits"))?;
                at += 1;
            }
            Some(b'\r') if at > start => break,
            Some(_) => return Err(NotTheProtocol("a number has other characters than digits")),
        }
    }
    match bytes.get(at + 1) {
        None => Ok(None),
        Some(b'\n') => Ok(Some((value, at + 2))),
        Some(_) => Err(NotTheProtocol("a line ends with a carriage return alone")),
    }
}

fn double(text: &[u8]) -> Result<f64, NotTheProtocol> {
    let text = std::str::from_utf8(text).ok();
    text.and_then(|text| text.parse().ok())
        .ok_or(NotTheProtocol("a double of the wrong form"))
}

/// Finishes a value with its own buffer.
fn finish(value: Value) -> Result<Reply, NotTheProtocol> {
    let Value {
        kind,
        mut bytes,
        length,
    } = value;
    if &bytes[length - 2..] != b"\r\n" {
        return Err(NotTheProtocol("a value is longer than announced"));
    }
    bytes.truncate(length - 2);
    typed(kind, bytes.freeze())
}

fn typed(kind: u8, mut value: Bytes) -> Result<Reply, NotTheProtocol> {
    Ok(match kind {
        b'!' => Reply::Error(Box::new(error(&value))),
        // Three letters and a colon come before the text.
        b'=' if value.get(3) == Some(&b':') => Reply::Bulk(value.split_off(4)),
        b'=' => return Err(NotTheProtocol("a text without its format")),
        _ => Reply::Bulk(value),
    })
}

fn error(text: &[u8]) -> ServerError {
    ServerError::read(&String::from_utf8_lossy(text))
}

fn map(items: Vec<Reply>) -> Reply {
    let mut pairs = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        pairs.push((key, value));
    }
    Reply::Map(pairs)
}

/// Parses a stream in pieces and collects the messages.
#[cfg(any(test, fuzzing))]
pub(super) fn read_all<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Message>, NotTheProtocol> {
    let mut parser = Parser::default();
    let mut messages = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            let (space, room) = parser.space();
            assert!(room > 0, "there must always be room to read");
            let (now, later) = piece.split_at(room.min(piece.len()));
            space.extend_from_slice(now);
            piece = later;
            parser.filled(now.len());
            while let Some(message) = parser.next()? {
                messages.push(message);
            }
        }
    }
    Ok(messages)
}

#[cfg(test)]
mod tests;
