//! Tests of the protocol, in every order of its steps and on many threads at once, and of the bounds and TTLs of
//! entries.

mod bounds;
mod exhaustive;
mod races;
mod world;

use std::sync::Arc;
use std::time::Duration;

use cache_core::Ttl;

use super::{Bounds, Found, Keep, Near};

const KEY: &str = "user:7";
const HOUR: Duration = Duration::from_secs(3_600);

fn near<V: Clone + Send + Sync + 'static>(max_bytes: u64, max_entries: u64) -> Arc<Near<V>> {
    Near::new(Bounds {
        max_bytes,
        max_entries,
    })
}

/// A tracked value that never expires, to be kept for an hour.
fn lasting<V>(value: V, bytes: usize) -> Keep<V> {
    Keep {
        found: found(value),
        bytes,
        life: HOUR,
    }
}

fn found<V>(value: V) -> Found<V> {
    Found {
        value,
        remaining: Ttl::Forever,
        tracked: true,
        vouch: None,
    }
}
