//! A connection to a server that answers anything: too few replies, too many, pushes anywhere, garbage. Every call ends.
//! The first two bytes choose the pieces and the number of calls.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    // Virtual time: deadlines pass at once if nothing else can happen.
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
});

fuzz_target!(|bytes: &[u8]| {
    if let [piece, calls, rest @ ..] = bytes {
        RUNTIME.block_on(cache_valkey::fuzzing::drive(rest, usize::from(*piece), calls % 8));
    }
});
