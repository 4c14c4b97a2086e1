//! Which slot of a cluster a key belongs to.
//!
//! Not in here: which node serves a slot (a client's router knows), and whether a pattern selects one
//! ([`Pattern::slot`](crate::Pattern::slot)).

/// How many slots a cluster has.
pub const SLOTS: u16 = 16_384;

/// The slot of `key`: CRC16/XMODEM of its hash tag, or of the whole key if it has none, modulo [`SLOTS`].
///
/// The hash tag is the text between the first `{` and the first `}` after it, unless that text is empty.
///
/// ```
/// use cache_core::slot::slot_of;
///
/// assert_eq!(slot_of(b"123456789"), 12_739);
/// assert_eq!(slot_of(b"settings:{acme}:eu"), slot_of(b"acme"));
/// ```
#[must_use]
#[inline]
pub fn slot_of(key: &[u8]) -> u16 {
    crc16(tag_of(key)) % SLOTS
}

/// Whether `key` has a hash tag. Anything appended to such a key stays in the same slot.
///
/// ```
/// use cache_core::slot::has_tag;
///
/// assert!(has_tag(b"settings:{acme}:eu"));
/// assert!(!has_tag(b"user:7") && !has_tag(b"a{b") && !has_tag(b"a{}{b}"));
/// ```
#[must_use]
pub fn has_tag(key: &[u8]) -> bool {
    tag_of(key).len() < key.len()
}

/// The part of `key` that decides its slot.
#[inline]
fn tag_of(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else {
        return key;
    };
    let after = &key[open + 1..];
    match after.iter().position(|&byte| byte == b'}') {
        None | Some(0) => key,
        Some(close) => &after[..close],
    }
}

#[inline]
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, &byte| {
        let [high, low] = crc.to_be_bytes();
        TABLE[usize::from(high ^ byte)] ^ (u16::from(low) << 8)
    })
}

const POLYNOMIAL: u16 = 0x1021;

static TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte: u16 = 0;
    while byte < 256 {
        let mut crc = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ POLYNOMIAL
            };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_crc16_xmodem() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(crc16(b""), 0);
        assert_eq!(TABLE[1], POLYNOMIAL);
    }

    /// The numbers are answers of `CLUSTER KEYSLOT` in Valkey 9.1.
    #[test]
    fn slots_match_the_server() {
        for (key, slot) in [
            (&b"foo"[..], 12_182),
            (b"bar", 5_061),
            (b"hello", 866),
            (b"foo{bar}", 5_061),
            (b"{bar}foo", 5_061),
            (b"{user1000}.following", 3_443),
            (b"{user1000}.followers", 3_443),
            (b"foo{}{bar}", 8_363),
            (b"foo{{bar}}zap", 4_015),
            (b"foo{bar}{zap}", 5_061),
            (b"", 0),
        ] {
            assert_eq!(slot_of(key), slot, "{}", key.escape_ascii());
        }
    }

    #[test]
    fn hash_tag_is_inside_the_first_nonempty_braces() {
        for (key, tag) in [
            (&b"a{b}c"[..], &b"b"[..]),
            (b"a{b}{c}", b"b"),
            (b"a{{b}}", b"{b"),
            (b"}a{b}", b"b"),
            (b"a{}{b}", b"a{}{b}"),
            (b"a{b", b"a{b"),
            (b"a}b", b"a}b"),
            (b"\xff{\xfe}", b"\xfe"),
        ] {
            assert_eq!(tag_of(key), tag, "{}", key.escape_ascii());
        }
    }
}
