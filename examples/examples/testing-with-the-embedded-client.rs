//! Testing with the embedded client: a true cache in the test's own process, whose time the test holds.
//!
//! ```console
//! $ cargo test -p examples --example testing-with-the-embedded-client
//! ```
//!
//! Best where a test asks what comes of several calls together: expiry, counters, one winner among many. Where
//! it asks what happens when the cache fails, see `testing-with-the-mock`.

use std::sync::Arc;

use cache_core::{CacheClient, CacheError, Keyspace, MemoryCache, Ttl};

/// The code under test: one-time codes that are good for five minutes, with three wrong guesses.
#[derive(Clone, Debug)]
struct OneTimeCodes {
    cache: Arc<dyn CacheClient>,
    keys: Keyspace,
}

const LIFE: Ttl = Ttl::secs(300);
const GUESSES: i64 = 3;

impl OneTimeCodes {
    fn new(cache: Arc<dyn CacheClient>) -> Result<Self, CacheError> {
        Ok(Self {
            cache,
            keys: Keyspace::new("one-time-codes")?,
        })
    }

    async fn issue(&self, user: &str, code: &str) -> Result<(), CacheError> {
        let [code_key, guesses_key] = self.keys_of(user)?;
        self.cache.del(&[guesses_key.as_str()]).await?;
        self.cache.set(&code_key, code.to_owned().into(), LIFE).await
    }

    /// Whether `code` is the one that was issued. It is good once, whoever else tries at the same time.
    async fn redeem(&self, user: &str, code: &str) -> Result<bool, CacheError> {
        let [code_key, guesses_key] = self.keys_of(user)?;
        if self.cache.incr_by(&guesses_key, 1, LIFE).await? > GUESSES {
            return Ok(false);
        }
        self.cache.compare_and_delete(&code_key, code.as_bytes()).await
    }

    fn keys_of(&self, user: &str) -> Result<[String; 2], CacheError> {
        let keys = self.keys.tenant(user)?;
        Ok([keys.key(["code"]), keys.key(["guesses"])])
    }
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example tells what it does")]
async fn main() -> Result<(), CacheError> {
    let codes = OneTimeCodes::new(Arc::new(MemoryCache::default()))?;
    codes.issue("ada", "314159").await?;
    println!("a wrong code is taken: {}", codes.redeem("ada", "000000").await?);
    println!("the right one is taken: {}", codes.redeem("ada", "314159").await?);
    println!("and once more: {}", codes.redeem("ada", "314159").await?);
    println!("the tests of this file: cargo test -p examples --example testing-with-the-embedded-client");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn codes_with(code: &str) -> OneTimeCodes {
        let codes = OneTimeCodes::new(Arc::new(MemoryCache::default())).unwrap();
        codes.issue("ada", code).await.unwrap();
        codes
    }

    // `start_paused` holds tokio's clock, and the embedded client goes by it: five minutes pass at once.
    #[tokio::test(start_paused = true)]
    async fn a_code_is_good_for_five_minutes() {
        let codes = codes_with("314159").await;
        tokio::time::advance(Duration::from_secs(299)).await;
        assert!(codes.redeem("ada", "314159").await.unwrap());

        codes.issue("ada", "271828").await.unwrap();
        tokio::time::advance(Duration::from_secs(300)).await;
        assert!(!codes.redeem("ada", "271828").await.unwrap());
    }

    #[tokio::test]
    async fn of_a_hundred_who_redeem_at_once_one_succeeds() {
        let codes = OneTimeCodes::new(Arc::new(MemoryCache::default())).unwrap();
        codes.issue("ada", "314159").await.unwrap();
        let mut tries = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let codes = codes.clone();
            tries.spawn(async move { codes.redeem("ada", "314159").await.unwrap() });
        }
        let taken = tries.join_all().await.into_iter().filter(|taken| *taken).count();
        assert_eq!(taken, 1);
    }

    #[tokio::test]
    async fn after_three_wrong_guesses_the_right_code_is_refused() {
        let codes = codes_with("314159").await;
        for guess in ["000000", "000001", "000002"] {
            assert!(!codes.redeem("ada", guess).await.unwrap());
        }
        assert!(!codes.redeem("ada", "314159").await.unwrap());
    }
}
