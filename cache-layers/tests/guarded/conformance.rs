//! A guard over a client that works keeps the contract, whatever a failure would mean.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::MemoryCache;
use cache_core::conformance::{Outage, Subject};
use cache_layers::guarded::OnFailure;
use cache_layers::{Guarded, GuardedConfig};
use cache_mock::{Fault, Faults, FaultyCache, Operation};

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

fn subject(on_failure: OnFailure) -> Subject {
    let client = FaultyCache::new(MemoryCache::default());
    let dead = Dead(client.faults().clone());
    let config = GuardedConfig::builder()
        .deadline(Duration::from_secs(30))
        .slow_call(Duration::from_secs(20))
        .on_failure(on_failure);
    let guarded = Guarded::new(Arc::new(client), config.build().unwrap());
    Subject::new(guarded).with_drops(10_000).with_outage(dead)
}

cache_core::conformance_tests! {
    mod failing in virtual time with outage = async { subject(OnFailure::Fail) };
    mod bypassing in virtual time with outage = async { subject(OnFailure::Bypass) };
    mod without_a_breaker in virtual time = async {
        let config = GuardedConfig::builder().without_breaker().build().unwrap();
        Subject::new(Guarded::new(Arc::new(MemoryCache::default()), config)).with_drops(10_000)
    };
}
