//! Encodes commands as arrays of bulk strings, which every protocol version accepts.

use bytes::Bytes;

use super::outgoing::Outgoing;
use crate::command::{Argument, Command};

/// From this length on, a value is passed to the socket by reference instead of being copied.
pub(super) const BIG: usize = 64 * 1024;

/// From this length on, a value is not copied while its call is queued.
const SHARED_WHILE_WAITING: usize = 1024;

/// Which values are copied into a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    /// Only big values by reference: the bytes are written soon.
    Sending,
    /// Nearly all values by reference: many calls may be queued.
    Waiting,
}

impl Values {
    const fn shared_from(self) -> usize {
        match self {
            Self::Sending => BIG,
            Self::Waiting => SHARED_WHILE_WAITING,
        }
    }
}

/// The most bytes that framing adds to an argument: `$`, a length, and two line ends.
const FRAME: usize = 25;

/// The most bytes that `command` takes when encoded; exact except for the framing.
pub(super) fn size(command: &Command<'_>) -> usize {
    let arguments = command.arguments().iter().map(|argument| match argument {
        Argument::Bytes(bytes) => bytes.len() + FRAME,
        Argument::Value(bytes) => bytes.len() + FRAME,
        Argument::Int(_) => 20 + FRAME,
    });
    command.name().len() + 2 * FRAME + arguments.sum::<usize>()
}

/// How many bytes of `command` are values of [`BIG`] or more.
pub(super) fn big(command: &Command<'_>) -> usize {
    let arguments = command.arguments().iter();
    let big = arguments.filter_map(|argument| match argument {
        Argument::Value(bytes) if bytes.len() >= BIG => Some(bytes.len()),
        _ => None,
    });
    big.sum()
}

/// Appends `command` to `out`.
pub(super) fn encode(out: &mut Outgoing, command: &Command<'_>, values: Values) {
    let arguments = command.arguments();
    header(out, b'*', arguments.len() + 1);
    bulk(out, command.name().as_bytes());
    let mut digits = itoa::Buffer::new();
    for argument in arguments {
        match argument {
            Argument::Bytes(bytes) => bulk(out, bytes),
            Argument::Int(value) => bulk(out, digits.format(*value).as_bytes()),
            Argument::Value(value) if value.len() >= values.shared_from() => shared(out, value),
            Argument::Value(value) => bulk(out, value),
        }
    }
}

fn bulk(out: &mut Outgoing, bytes: &[u8]) {
    header(out, b'$', bytes.len());
    out.copy(bytes);
    out.copy(b"\r\n");
}

fn shared(out: &mut Outgoing, value: &Bytes) {
    header(out, b'$', value.len());
    out.share(value.clone());
    out.copy(b"\r\n");
}

/// Appends a type, a number and a line end with one copy.
#[inline]
fn header(out: &mut Outgoing, kind: u8, mut number: usize) {
    let mut line = [0_u8; FRAME];
    let mut at = FRAME - 2;
    line[at] = b'\r';
    line[at + 1] = b'\n';
    loop {
        at -= 1;
        // One digit.
        line[at] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            break;
        }
    }
    at -= 1;
    line[at] = kind;
    out.copy(&line[at..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn command_is_an_array_of_bulk_strings() {
        let value = Bytes::from_static(b"a\r\nb");
        let command = Command::write("SET").key(b"k").value(&value).px(Some(1_500));
        let mut out = Outgoing::default();
        encode(&mut out, &command, Values::Sending);
        let expected = b"*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n$2\r\nPX\r\n$4\r\n1500\r\n";
        assert_eq!(out.to_vec(), expected);
    }

    #[test]
    fn queued_values_are_not_copied() {
        let value = Bytes::from(vec![b'v'; SHARED_WHILE_WAITING]);
        let command = Command::write("SET").key(b"k").value(&value);
        let mut waiting = Outgoing::default();
        encode(&mut waiting, &command, Values::Waiting);
        assert!(waiting.as_one_piece().is_none());
        let mut sending = Outgoing::default();
        encode(&mut sending, &command, Values::Sending);
        assert!(sending.as_one_piece().is_some());
        assert_eq!(waiting.to_vec(), sending.to_vec());
    }

    proptest! {
        #[test]
        fn size_is_never_too_small(key: Vec<u8>, value: Vec<u8>, number: i64) {
            let value = Bytes::from(value);
            let command = Command::write("SET").key(&key).value(&value).int(number);
            let mut out = Outgoing::default();
            encode(&mut out, &command, Values::Sending);
            prop_assert!(out.len() <= size(&command));
        }
    }
}
