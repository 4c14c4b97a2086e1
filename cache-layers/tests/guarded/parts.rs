//! A backend of several parts, of which one is down: its circuit is open, those of the others are not.

use cache_core::{CacheClient, CacheError, Ttl, Unavailability};
use cache_layers::guarded::BreakerState;
use cache_mock::{Fault, Operation};

use crate::rig::{guard, ms};

fn is_shed<T>(result: &Result<T, CacheError>) -> bool {
    matches!(
        result,
        Err(CacheError::Unavailable {
            reason: Unavailability::CircuitOpen,
            ..
        })
    )
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_down_opens_its_circuit_and_no_other() {
    for fault in [Fault::connection_lost(), Fault::Hang] {
        let (cache, faults) = guard(|config| {
            let config = config.part_of(|key| u64::from(key.starts_with("lost")));
            config.deadline(ms(100))
        });
        cache.set("spared", "1".into(), Ttl::Forever).await.unwrap();
        faults.on_key("lost", Operation::ALL, &fault);
        // Nothing but calls of that part reach the backend: a near cache answers the rest.
        for _ in 0..20 {
            assert!(cache.get("lost").await.is_err());
        }
        let shed = cache.get("lost").await;
        assert!(is_shed(&shed), "{shed:?}");
        assert_eq!((cache.state(), cache.stats().opened), (BreakerState::Closed, 1));
        for _ in 0..20 {
            cache.set("spared", "1".into(), Ttl::Forever).await.unwrap();
            assert_eq!(cache.get("spared").await.unwrap(), "1");
            assert!(is_shed(&cache.get("lost").await));
        }
        assert_eq!(cache.get_many(&["spared", "spared"]).await.unwrap().len(), 2);
        cache.ping().await.unwrap();

        // Calls of several parts fail, and open a circuit that is only theirs.
        for _ in 0..20 {
            assert!(cache.get_many(&["spared", "lost"]).await.is_err());
        }
        assert!(is_shed(&cache.get_many(&["spared", "lost"]).await));
        assert_eq!(cache.get("spared").await.unwrap(), "1");

        // More than there were good ones.
        faults.on_key("spared", Operation::ALL, &fault);
        for _ in 0..60 {
            assert!(cache.get("spared").await.is_err());
        }
        assert_eq!(cache.state(), BreakerState::Open);
        faults.heal();
        tokio::time::sleep(ms(1_000)).await;
        assert_eq!(cache.get("spared").await.unwrap(), "1");
        assert!(cache.get("lost").await.unwrap_err().is_miss());
        assert_eq!(cache.state(), BreakerState::Closed);
    }
}
