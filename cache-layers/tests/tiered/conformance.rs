//! The contract, through a near tier: kept true by reports, by short lives, and with faults in between.

use std::sync::Arc;

use async_trait::async_trait;
use cache_core::conformance::{Outage, Subject};
use cache_core::{CacheClient, MemoryCache};
use cache_layers::{NearConfig, Tiered};
use cache_mock::{Fault, Faults, FaultyCache, Operation};

use crate::line::Line;

struct Dead(Faults);

#[async_trait]
impl Outage for Dead {
    async fn begin(&self) {
        self.0.always(Operation::ALL, &Fault::connection_lost());
    }

    async fn end(&self) {
        self.0.heal();
    }
}

cache_core::conformance_tests! {
    mod tiered in virtual time = async { subject(Arc::new(MemoryCache::default())) };
    mod tiered_over_a_client_that_reports_nothing in virtual time = async {
        subject(Line::silent(&Arc::new(MemoryCache::default())))
    };
    mod tiered_twice in virtual time = async {
        let once = Tiered::new(Arc::new(MemoryCache::default()), NearConfig::default());
        subject(Arc::new(once))
    };
    mod tiered_with_an_outage in virtual time with outage = async {
        let cache = FaultyCache::new(MemoryCache::default());
        let dead = Dead(cache.faults().clone());
        subject(Arc::new(cache)).with_outage(dead)
    };
}

fn subject(far: Arc<dyn CacheClient>) -> Subject {
    let tiered = Tiered::new(far, NearConfig::default());
    Subject::new(tiered)
        .with_largest_value(64 * 1024 * 1024)
        .with_drops(20_000)
        .with_load(50, 400)
}
