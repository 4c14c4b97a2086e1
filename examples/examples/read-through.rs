//! A read-through: one load per key however many ask, and an old value where the source is out.
//!
//! ```console
//! $ cargo run -p examples --example read-through
//! ```
//!
//! `tenant-service` reads through its cache by a few lines of its own, where every caller that misses loads.
//! This is for what is slow, dear or rate-limited: here an issuer of tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use cache_core::{CacheClient, CacheError};
use cache_layers::read_through::ReadError;
use cache_layers::{Loaded, ReadThrough, ReadThroughConfig};

/// The slow and fallible source.
#[derive(Debug, Default)]
struct Issuer {
    asked: AtomicU32,
    is_out: AtomicBool,
}

impl Issuer {
    /// A token, and for how long it is good.
    async fn token(&self, user: &str) -> Result<(String, Duration), std::io::Error> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
        if self.is_out.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("the issuer is out"));
        }
        Ok((format!("token {number} of {user}"), Duration::from_secs(3_600)))
    }
}

/// Tokens through the cache.
#[derive(Clone, Debug)]
struct Tokens {
    issuer: Arc<Issuer>,
    through: ReadThrough,
}

impl Tokens {
    fn new(cache: Arc<dyn CacheClient>) -> Result<Self, CacheError> {
        // A token that the issuer cannot renew is good for ten minutes more.
        let config = ReadThroughConfig::builder()
            .stale_limit(Duration::from_secs(600))
            .build()?;
        Ok(Self {
            issuer: Arc::default(),
            through: ReadThrough::new(cache, config),
        })
    }

    async fn token(&self, user: &str) -> Result<String, ReadError> {
        let (issuer, name) = (Arc::clone(&self.issuer), user.to_owned());
        let key = format!("token:{user}");
        let answer = self
            .through
            .get_or_load(&key, || async move {
                let (token, life) = issuer.token(&name).await?;
                Ok::<_, std::io::Error>(Loaded::new(token).living(life))
            })
            .await?;
        let token = answer.value.unwrap_or_default();
        Ok(String::from_utf8_lossy(&token).into_owned())
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example tells what it does")]
async fn main() -> anyhow::Result<()> {
    let tokens = Tokens::new(cache_stack::from_env().await?)?;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let tokens = tokens.clone();
        callers.spawn(async move { tokens.token("ada").await });
    }
    let answers = callers.join_all().await;
    let served = answers.iter().filter(|answer| answer.is_ok()).count();
    let asked = tokens.issuer.asked.load(Ordering::Relaxed);
    println!("{served} callers at once, the issuer was asked {asked} time(s)");
    println!("and later: {}", tokens.token("ada").await?);
    tokens.through.settled().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use cache_core::MemoryCache;
    use cache_mock::{Fault, FaultyCache, Operation};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_thousand_callers_ask_the_issuer_once() {
        let tokens = Tokens::new(Arc::new(MemoryCache::default())).unwrap();
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..1_000 {
            let tokens = tokens.clone();
            callers.spawn(async move { tokens.token("ada").await.unwrap() });
        }
        let answers = callers.join_all().await;
        assert!(answers.iter().all(|token| token == "token 1 of ada"));
        assert_eq!(tokens.issuer.asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_to_all_who_wait_and_is_not_cached_for_good() {
        let tokens = Tokens::new(Arc::new(MemoryCache::default())).unwrap();
        tokens.issuer.is_out.store(true, Ordering::Relaxed);
        assert!(tokens.token("ada").await.is_err());
        tokens.issuer.is_out.store(false, Ordering::Relaxed);
        // For ten seconds nobody storms an issuer that has just failed.
        assert!(matches!(
            tokens.token("ada").await,
            Err(ReadError::HeldBack { .. })
        ));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(tokens.token("ada").await.unwrap(), "token 2 of ada");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_cache_there_are_tokens_all_the_same() {
        let cache = FaultyCache::new(MemoryCache::default());
        cache.faults().always(Operation::ALL, &Fault::connection_lost());
        let tokens = Tokens::new(Arc::new(cache)).unwrap();
        assert_eq!(tokens.token("ada").await.unwrap(), "token 1 of ada");
    }
}
