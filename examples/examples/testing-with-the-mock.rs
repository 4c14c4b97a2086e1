//! Testing with the mock and with faults: that a caller asks its cache the right things, and what it does
//! when the cache fails.
//!
//! ```console
//! $ cargo test -p examples --example testing-with-the-mock
//! ```
//!
//! `MockCacheClient` takes expectations and answers them: for tests of how a cache is used. `FaultyCache` puts
//! faults in front of a client that works: for tests of what becomes of a caller meanwhile. Where a test only
//! needs a cache that works, see `testing-with-the-embedded-client`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cache_core::{CacheClient, CacheClientExt as _, Ttl};

/// The code under test: exchange rates, cached for a minute. A cache that fails is no reason to fail.
#[derive(Debug)]
struct Rates {
    cache: Arc<dyn CacheClient>,
    bank: Bank,
}

/// The slow source of rates.
#[derive(Debug, Default)]
struct Bank {
    asked: AtomicU32,
}

const LIFE: Ttl = Ttl::secs(60);

impl Bank {
    fn rate(&self, currency: &str) -> String {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let rate = if currency == "EUR" { "0.86" } else { "1.00" };
        rate.to_owned()
    }
}

impl Rates {
    fn new(cache: Arc<dyn CacheClient>) -> Self {
        Self {
            cache,
            bank: Bank::default(),
        }
    }

    async fn rate(&self, currency: &str) -> String {
        let key = format!("rate:{currency}");
        // A cache that cannot be asked is not asked to store either.
        let cached = self.cache.find_string(&key).await;
        if let Ok(Some(rate)) = cached {
            return rate;
        }
        let rate = self.bank.rate(currency);
        if cached.is_ok() {
            // What cannot be stored is loaded again next time.
            let _ = self.cache.set_string(&key, &rate, LIFE).await;
        }
        rate
    }
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example tells what it does")]
async fn main() {
    let rates = Rates::new(Arc::new(cache_core::MemoryCache::default()));
    for _ in 0..3 {
        println!("1 USD is {} EUR", rates.rate("EUR").await);
    }
    println!(
        "the bank was asked {} time(s)",
        rates.bank.asked.load(Ordering::Relaxed)
    );
    println!("the tests of this file: cargo test -p examples --example testing-with-the-mock");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cache_core::MemoryCache;
    use cache_mock::{Fault, FaultyCache, MockCacheClient, Operation};

    use super::*;

    #[tokio::test]
    async fn a_hit_does_not_ask_the_bank() {
        let mut cache = MockCacheClient::new();
        cache.expect_hit("rate:EUR", "0.91");
        let rates = Rates::new(Arc::new(cache));
        assert_eq!(rates.rate("EUR").await, "0.91");
        assert_eq!(rates.bank.asked.load(Ordering::Relaxed), 0);
    }

    // An expectation that is not met, or a call that nobody expected, fails the test by itself.
    #[tokio::test]
    async fn a_miss_asks_the_bank_and_stores_for_a_minute() {
        let mut cache = MockCacheClient::new();
        cache.expect_miss("rate:EUR");
        cache.expect_set_of("rate:EUR", "0.86", Ttl::secs(60));
        let rates = Rates::new(Arc::new(cache));
        assert_eq!(rates.rate("EUR").await, "0.86");
    }

    #[tokio::test]
    async fn an_outage_costs_the_cache_and_not_the_answer() {
        let cache = FaultyCache::new(MemoryCache::default());
        let faults = cache.faults().clone();
        let rates = Rates::new(Arc::new(cache));
        faults.always(Operation::ALL, &Fault::connection_lost());
        assert_eq!(rates.rate("EUR").await, "0.86");
        assert_eq!(faults.calls(Operation::Set), 0, "it was asked to store");

        // Once the cache is back, it is used again: one load fills it, the next call finds it.
        faults.heal();
        rates.rate("EUR").await;
        rates.rate("EUR").await;
        assert_eq!(rates.bank.asked.load(Ordering::Relaxed), 2);
    }

    // The fault takes three seconds of a clock that is held, so the test takes none.
    #[tokio::test(start_paused = true)]
    async fn a_lost_reply_of_a_write_is_no_reason_to_fail() {
        let cache = FaultyCache::new(MemoryCache::default());
        let faults = cache.faults().clone();
        let rates = Rates::new(Arc::new(cache));
        faults.next(Operation::Set, Fault::LostReply(Duration::from_secs(3)));
        assert_eq!(rates.rate("EUR").await, "0.86");
        // The write was carried out, although its caller could not know.
        assert_eq!(rates.rate("EUR").await, "0.86");
        assert_eq!(rates.bank.asked.load(Ordering::Relaxed), 1);
    }
}
