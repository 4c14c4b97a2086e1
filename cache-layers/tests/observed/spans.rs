//! What a trace shows of a call.

use cache_core::CacheClient as _;
use cache_layers::observed::Tier;
use cache_mock::{Fault, Operation};
use tracing_subscriber::filter::LevelFilter;

use crate::every_call::{KEY, OTHER_KEY, observed};
use crate::log::Log;
use crate::rig::Rig;

#[tokio::test]
async fn a_span_tells_the_operation_the_tier_how_many_keys_and_how_it_ended() {
    let (log, _guard) = Log::record(LevelFilter::DEBUG);
    let (cache, faults) = observed(&Rig::new(), Tier::Far);
    cache.get_many(&[KEY, OTHER_KEY]).await.unwrap();
    faults.next(Operation::Ping, Fault::connection_lost());
    cache.ping().await.unwrap_err();
    let text = log.text();
    let closed: Vec<&str> = text.lines().filter(|line| line.contains("close")).collect();
    for (line, parts) in closed.iter().zip([
        [
            "otel.name=\"get_many\"",
            "cache.tier=\"far\" db.system.name=\"memory\"",
            "cache.keys=2",
            "cache.outcome=\"miss\"",
        ],
        [
            "otel.kind=\"client\"",
            "cache.keys=0",
            "cache.outcome=\"error\"",
            "error.type=\"unavailable\" otel.status_code=\"ERROR\"",
        ],
    ]) {
        for part in parts {
            assert!(line.contains(part), "no {part} in {line}");
        }
    }
    assert_eq!(closed.len(), 2, "{text}");
}

#[tokio::test]
async fn nothing_is_traced_above_the_level_debug() {
    let (log, _guard) = Log::record(LevelFilter::INFO);
    let (cache, _faults) = observed(&Rig::new(), Tier::Edge);
    cache.ping().await.unwrap();
    // The SDK may have something to say of itself.
    let own: Vec<_> = log
        .text()
        .lines()
        .filter(|line| line.contains("cache_layers"))
        .map(str::to_owned)
        .collect();
    assert_eq!(own, Vec::<String>::new());
}
