//! No key and no value in anything that is shown: spans, events, labels, debug forms.

use std::fmt::Write as _;

use cache_layers::metrics::CacheMetrics;
use cache_layers::observed::Tier;
use tracing_subscriber::filter::LevelFilter;

use crate::every_call::{KEY, OTHER_KEY, VALUE, call_everything, observed};
use crate::log::Log;
use crate::rig::Rig;

#[tokio::test(start_paused = true)]
async fn neither_a_key_nor_a_value_is_ever_shown() {
    let (log, _guard) = Log::record(LevelFilter::TRACE);
    let rig = Rig::new();
    let mut shown = String::new();
    for tier in [Tier::Edge, Tier::Far] {
        let (cache, faults) = observed(&rig, tier);
        call_everything(&cache, &faults).await;
        write!(shown, "{cache:?} {:?}", rig.metrics).unwrap();
    }
    write!(shown, "{:?} {:?}", CacheMetrics::global(), rig.points()).unwrap();
    let logged = log.text();
    assert!(logged.contains("cache.operation"), "nothing was traced: {logged}");
    assert!(shown.contains("get_entry"), "nothing was measured: {shown}");
    for secret in [KEY, OTHER_KEY, VALUE] {
        assert!(!shown.contains(secret), "shown: {secret} in {shown}");
        assert!(!logged.contains(secret), "traced: {secret} in {logged}");
    }
}
