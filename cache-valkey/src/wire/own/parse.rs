//! Reads RESP2 and RESP3 from a stream of bytes, however it is cut.
//!
//! Small values are cut out of the read buffer, so that a reply costs no allocation. A value that is larger than what
//! has been read gets a buffer that fits it, and the rest is read straight into that one.
//!
//! A server that is broken, or hostile, costs a connection and no more: depth, counts and lengths are limited, and
//! nothing is allocated for what is only announced.
//!
//! Not in here: which request a reply belongs to.

use std::borrow::Cow;
use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use crate::reply::{Reply, ServerError};

/// The bytes that are read at once: the fewest and the most. Connections that have little to read keep little memory.
const CHUNK: (usize, usize) = (16 * 1024, 64 * 1024);

/// The reads in a row that must leave most of their room empty before less is read at once.
const SMALL_READS: u32 = 256;

/// A value that is not complete is copied into a buffer of its own from this length on.
const OWN_BUFFER: usize = 32 * 1024;

/// The first allocation for such a value; it grows with what arrives.
const FIRST_BUFFER: usize = 1024 * 1024;

/// The largest value, in bytes: what servers take by default (`proto-max-bulk-len`).
const MAX_VALUE: usize = 512 * 1024 * 1024;

/// The longest line: a number, a status, an error.
const MAX_LINE: usize = 64 * 1024;

/// How deep arrays and maps may be nested.
const MAX_DEPTH: usize = 16;

/// The most items of one reply, all levels together.
const MAX_ITEMS: usize = 1 << 22;

/// What is allocated for an array before its items are there.
const ITEMS_AT_FIRST: usize = 256;

/// One message of a server.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    Reply(Reply),
    /// Its kind comes first.
    Push(Vec<Reply>),
}

/// What is no protocol, or exceeds a limit.
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
    /// The bytes that are read at once, for now.
    chunk_size: usize,
    /// The reads in a row that left most of their room empty.
    small_reads: u32,
    /// What is read next goes in here.
    buffer: BytesMut,
    /// What is being parsed.
    chunk: Bytes,
    /// A value that is not complete, instead of the two above.
    value: Option<Value>,
    /// Arrays and maps that are not complete, the innermost one last.
    open: Vec<Open>,
    /// The items of the message so far, all levels together.
    items: usize,
}

/// A value that is not complete.
#[derive(Debug)]
struct Value {
    kind: u8,
    /// The value, and the line end after it.
    bytes: BytesMut,
    /// The length of both.
    length: usize,
}

/// An array or a map that is not complete.
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
    /// Where the next bytes belong, and how many at most.
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

    /// Begins to parse the `read` bytes that have been read into [`space`](Self::space).
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

    /// The bytes that are still missing of a value of which a part has arrived.
    pub(super) fn missing(&self) -> usize {
        let missing = |value: &Value| value.length - value.bytes.len();
        self.value.as_ref().map_or(0, missing)
    }

    /// The next message, or `None` if it is not complete; then more is to be read.
    pub(super) fn next(&mut self) -> Parsed<Message> {
        loop {
            let Some(reply) = self.next_token()? else {
                // What is left of the chunk is the beginning of something.
                if !self.chunk.is_empty() {
                    self.buffer.reserve(self.chunk_size.max(self.chunk.len()));
                    self.buffer.extend_from_slice(&self.chunk);
                }
                // Even an empty part of a buffer would keep the buffer from being used again.
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

    /// Puts a reply where it belongs; the message that it completes.
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
                // Attributes of the reply that follows. None of our commands asks for any.
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

/// What is read at once.
enum Token {
    Reply(Reply),
    /// The beginning of an array or a map.
    Nothing,
}

/// A number and the line end after it: what it is, and where the next thing begins.
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
                // Downwards or upwards, so that the smallest number fits as well.
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

/// A value that has its own buffer.
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

/// Gives pieces of a stream to a parser, and collects what it reads.
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
