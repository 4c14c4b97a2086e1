//! Any bytes of a server: read alike however they are cut, or refused. The first byte chooses the pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((piece, rest)) = bytes.split_first() {
        cache_valkey::fuzzing::parse(rest, usize::from(*piece));
    }
});
