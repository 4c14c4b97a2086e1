//! Tests of the parser: any message, cut anywhere; anything else is an error and costs nothing.

use bytes::BufMut;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::read_all as parse;
use super::*;
use crate::reply::foreign::reply;

fn one(bytes: &[u8]) -> Reply {
    match parse([bytes]).unwrap().as_slice() {
        [Message::Reply(reply)] => reply.clone(),
        other => panic!("{other:?}"),
    }
}

fn refused(bytes: &[u8]) -> &'static str {
    parse([bytes]).expect_err("an error").0
}

fn bulk(text: &'static str) -> Reply {
    Reply::Bulk(text.into())
}

/// Writes a reply as a server does, in RESP3.
fn write(out: &mut Vec<u8>, reply: &Reply) {
    let mut line = |text: String| {
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"\r\n");
    };
    match reply {
        Reply::Nil => line("_".into()),
        Reply::Int(value) => line(format!(":{value}")),
        Reply::Bool(value) => line(format!("#{}", if *value { 't' } else { 'f' })),
        Reply::Double(value) => line(format!(",{value}")),
        Reply::Status(text) => line(format!("+{}", text.replace(['\r', '\n'], " "))),
        Reply::Error(error) => {
            let text = format!("{} {}", error.code, error.detail);
            line(format!("-{}", text.replace(['\r', '\n'], " ")));
        }
        Reply::Bulk(bytes) => {
            line(format!("${}", bytes.len()));
            out.extend_from_slice(bytes);
            out.extend_from_slice(b"\r\n");
        }
        Reply::Array(items) => {
            line(format!("*{}", items.len()));
            items.iter().for_each(|item| write(out, item));
        }
        Reply::Map(pairs) => {
            line(format!("%{}", pairs.len()));
            for (key, value) in pairs {
                write(out, key);
                write(out, value);
            }
        }
    }
}

/// What is equal to itself when written and read: no line ends in lines, no double that differs from itself.
fn is_exact(reply: &Reply) -> bool {
    match reply {
        Reply::Double(value) => value.is_finite(),
        Reply::Status(text) => !text.contains(['\r', '\n']),
        Reply::Error(error) => {
            !error.code.contains([' ', '\r', '\n']) && !error.detail.contains(['\r', '\n'])
        }
        Reply::Array(items) => items.iter().all(is_exact),
        Reply::Map(pairs) => pairs.iter().all(|(key, value)| is_exact(key) && is_exact(value)),
        _ => true,
    }
}

fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

#[test]
fn every_type_is_read() {
    assert_eq!(one(b"+OK\r\n"), Reply::Status("OK".into()));
    assert_eq!(one(b"+\r\n"), Reply::Status("".into()));
    assert_eq!(one(b":-42\r\n"), Reply::Int(-42));
    assert_eq!(one(b":-9223372036854775808\r\n"), Reply::Int(i64::MIN));
    assert_eq!(one(b"$-1\r\n"), Reply::Nil);
    assert_eq!(one(b"*-1\r\n"), Reply::Nil);
    assert_eq!(one(b"_\r\n"), Reply::Nil);
    assert_eq!(one(b"$0\r\n\r\n"), bulk(""));
    assert_eq!(one(b"$4\r\n\r\n\r\n\r\n"), bulk("\r\n\r\n"));
    assert_eq!(one(b"=7\r\ntxt:abc\r\n"), bulk("abc"));
    assert_eq!(
        one(b"(123456789012345678901234567890\r\n"),
        bulk("123456789012345678901234567890")
    );
    assert_eq!(one(b",1.5\r\n"), Reply::Double(1.5));
    assert_eq!(one(b",inf\r\n"), Reply::Double(f64::INFINITY));
    assert_eq!(one(b"#t\r\n"), Reply::Bool(true));
    assert_eq!(
        one(b"~2\r\n:1\r\n:2\r\n"),
        Reply::Array(vec![Reply::Int(1), Reply::Int(2)])
    );
    assert_eq!(
        one(b"%1\r\n+a\r\n*0\r\n"),
        Reply::Map(vec![(Reply::Status("a".into()), Reply::Array(vec![]))])
    );
    let error = |code: &str, detail: &str| {
        Reply::Error(Box::new(ServerError {
            code: code.into(),
            detail: detail.into(),
        }))
    };
    assert_eq!(one(b"-MOVED 1 a:1\r\n"), error("MOVED", "1 a:1"));
    assert_eq!(one(b"-ERR\r\n"), error("ERR", ""));
    assert_eq!(one(b"!5\r\nERR x\r\n"), error("ERR", "x"));
    assert_eq!(one(b"-ERR \xff\r\n"), error("ERR", "\u{fffd}"));
}

#[test]
fn attributes_are_skipped_anywhere() {
    assert_eq!(one(b"|1\r\n+ttl\r\n:9\r\n:1\r\n"), Reply::Int(1));
    assert_eq!(
        one(b"*2\r\n|1\r\n+a\r\n*1\r\n:0\r\n:1\r\n|0\r\n:2\r\n"),
        Reply::Array(vec![Reply::Int(1), Reply::Int(2)])
    );
}

#[test]
fn pushes_keep_their_order_between_replies() {
    let messages = parse([&b":1\r\n>2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n:2\r\n"[..]]).unwrap();
    let push = vec![Reply::Status("invalidate".into()), Reply::Array(vec![bulk("k")])];
    assert_eq!(
        messages,
        [
            Message::Reply(Reply::Int(1)),
            Message::Push(push),
            Message::Reply(Reply::Int(2))
        ]
    );
}

#[test]
fn invalid_protocol_is_refused() {
    refused(b"HTTP/1.1 400 Bad Request\r\n");
    refused(b"\x15\x03\x01\x00\x02");
    refused(b"$3\r\nabcd\r\n");
    refused(b"$-2\r\n");
    refused(b"*-2\r\n");
    refused(b":\r\n");
    refused(b":1x\r\n");
    refused(b":9223372036854775808\r\n");
    refused(b"+a\rb\r\n");
    refused(b"#x\r\n");
    refused(b",one\r\n");
    refused(b"_x\r\n");
    refused(b"=3\r\nabc\r\n");
    refused(b">0\r\n");
    refused(b"*1\r\n>1\r\n+a\r\n");
    // Streamed values, which no server sends unasked.
    refused(b"$?\r\n");
}

#[test]
fn depth_counts_and_lengths_are_limited() {
    let deep = |levels: usize| [b"*1\r\n".repeat(levels), b":1\r\n".to_vec()].concat();
    assert!(parse([&deep(MAX_DEPTH)[..]]).is_ok());
    assert!(refused(&deep(MAX_DEPTH + 1)).contains("deeply"));
    assert!(refused(format!("*{}\r\n", MAX_ITEMS + 1).as_bytes()).contains("items"));
    assert!(refused(format!("%{}\r\n", i64::MAX).as_bytes()).contains("items"));
    assert!(refused(format!("${}\r\n", MAX_VALUE + 1).as_bytes()).contains("512 MiB"));
    assert!(refused(&vec![b'+'; MAX_LINE + 2]).contains("line"));
    // Many small arrays inside of one count together.
    let wide = [format!("*{MAX_ITEMS}\r\n").as_bytes(), b"*1\r\n"].concat();
    assert!(refused(&wide).contains("items"));
}

#[test]
fn announced_sizes_allocate_nothing() {
    let mut parser = Parser::default();
    let announced = format!("*{MAX_ITEMS}\r\n${MAX_VALUE}\r\nabc");
    parser.space().0.put_slice(announced.as_bytes());
    parser.filled(announced.len());
    assert_eq!(parser.next(), Ok(None));
    assert!(parser.open[0].items.capacity() <= ITEMS_AT_FIRST);
    let value = parser.value.as_ref().unwrap();
    assert!(value.bytes.capacity() <= 2 * FIRST_BUFFER);
    assert_eq!(parser.missing(), MAX_VALUE + 2 - 3);
}

#[test]
fn large_value_gets_its_own_buffer() {
    let value = vec![b'x'; 5_000_000];
    let mut bytes = format!("${}\r\n", value.len()).into_bytes();
    bytes.extend_from_slice(&value);
    bytes.extend_from_slice(b"\r\n:7\r\n");
    let mut parser = Parser::default();
    let mut messages = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (space, room) = parser.space();
        let (now, later) = rest.split_at(room.min(rest.len()).min(100_000));
        space.put_slice(now);
        parser.filled(now.len());
        rest = later;
        while let Some(message) = parser.next().unwrap() {
            messages.push(message);
        }
    }
    assert_eq!(
        messages,
        [
            Message::Reply(Reply::Bulk(value.into())),
            Message::Reply(Reply::Int(7))
        ]
    );
    assert!(
        parser.buffer.capacity() <= CHUNK.1,
        "{}",
        parser.buffer.capacity()
    );
}

#[test]
fn read_buffer_grows_and_shrinks() {
    let mut parser = Parser::default();
    let mut read = |bytes: usize| {
        let line = [&b"+"[..], &vec![b'a'; bytes - 3], b"\r\n"].concat();
        let (space, room) = parser.space();
        let now = line.len().min(room);
        space.put_slice(&line[..now]);
        parser.filled(now);
        while let Some(message) = parser.next().unwrap() {
            drop(message);
        }
        if now < line.len() {
            parser.space().0.put_slice(&line[now..]);
            parser.filled(line.len() - now);
            while parser.next().unwrap().is_some() {}
        }
        parser.chunk_size
    };
    assert_eq!(read(10), CHUNK.0);
    assert_eq!((0..20).map(|_| read(60_000)).max(), Some(CHUNK.1));
    assert_eq!((0..4 * SMALL_READS).map(|_| read(10)).min(), Some(CHUNK.0));
}

proptest! {
    #[test]
    fn any_message_is_read_however_it_is_split(
        replies in vec(reply(&["OK", "invalidate", "v"]).prop_filter("exact", is_exact), 1..6),
        cuts in vec(any::<Index>(), 0..12),
    ) {
        let mut bytes = Vec::new();
        replies.iter().for_each(|reply| write(&mut bytes, reply));
        let expected: Vec<_> = replies.into_iter().map(Message::Reply).collect();
        prop_assert_eq!(parse(cut(&bytes, &cuts)), Ok(expected.clone()));
        let bytewise: Vec<_> = bytes.chunks(1).collect();
        prop_assert_eq!(parse(bytewise), Ok(expected));
    }

    #[test]
    fn arbitrary_bytes_parse_the_same_however_split(
        bytes in vec(prop_oneof![4 => proptest::sample::select(b"$*+-:_%>~|=!#,(0123456789\r\n\r\n".to_vec()), 1 => any::<u8>()], 0..200),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        prop_assert_eq!(parse([&bytes[..]]).map_err(drop), parse(cut(&bytes, &cuts)).map_err(drop));
    }

    /// The same bytes for the parser of the `redis` crate: what both read is the same.
    #[cfg(feature = "redis-wire")]
    #[test]
    fn parser_agrees_with_redis_crate(
        replies in vec(reply(&["OK", "v"]).prop_filter("exact", is_exact), 1..2),
    ) {
        let mut bytes = Vec::new();
        replies.iter().for_each(|reply| write(&mut bytes, reply));
        let theirs = crate::wire::redis::read(&bytes);
        let ours = parse([&bytes[..]]);
        if let (Some(theirs), Ok(ours)) = (theirs, ours) {
            prop_assert_eq!(ours, vec![Message::Reply(theirs)]);
        }
    }
}
