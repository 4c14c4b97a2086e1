//! With a cache that works: one mint for all, refreshed ahead, and an upstream that fails.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheClient as _, Pattern};
use tokio::task::JoinSet;

use super::rig::{MINUTE, Rig, ask, token};
use crate::broker::{Origin, Refused};
use crate::profiles::NoSuchToken;
use crate::upstream::MintError;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn fleet_mints_once_however_many_ask_at_once() {
    let rig = Rig::new();
    let brokers = rig.fleet::<4>().map(|(broker, _)| Arc::new(broker));
    let mut tasks = JoinSet::new();
    for asker in 0..200 {
        let broker = Arc::clone(&brokers[asker % brokers.len()]);
        tasks.spawn(async move { token(&broker).await });
    }
    let mut tokens = tasks.join_all().await;
    tokens.dedup();
    assert_eq!(tokens.len(), 1);
    assert_eq!(rig.upstream.count(), 1);
    let mints: Vec<u64> = brokers.iter().map(|broker| broker.totals().mints).collect();
    assert_eq!(mints.iter().sum::<u64>(), 1, "{mints:?}");
}

#[tokio::test(start_paused = true)]
async fn token_is_refreshed_once_ten_minutes_ahead_while_all_are_served() {
    let rig = Rig::new();
    let fleet = rig.fleet::<4>();
    let old = token(&fleet[0].0).await;
    let mut changed_at = None;
    while rig.elapsed() < 70 * MINUTE {
        for (broker, _) in &fleet {
            let given = token(broker).await;
            if given != old && changed_at.is_none() {
                changed_at = Some(rig.elapsed());
            }
        }
        tokio::time::sleep(SECOND).await;
    }
    let asked = rig.upstream.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(
        asked[1] >= 50 * MINUTE && asked[1] < 50 * MINUTE + 2 * SECOND,
        "{asked:?}"
    );
    assert!(
        changed_at.is_some_and(|at| at < 50 * MINUTE + 4 * SECOND),
        "{changed_at:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn failing_upstream_is_tried_once_per_hold_and_valid_tokens_are_served_to_their_end() {
    let rig = Rig::new();
    let fleet = rig.fleet::<4>();
    token(&fleet[0].0).await;
    rig.upstream.set(|state| state.failing = true);
    rig.until(49 * MINUTE).await;
    let (mut last_served, mut first_refused) = (Duration::ZERO, None);
    while rig.elapsed() < 65 * MINUTE {
        for (broker, _) in &fleet {
            match ask(broker).await {
                Ok(_) => last_served = rig.elapsed(),
                Err(Refused::NoToken { why, cache_fails }) => {
                    assert!(!cache_fails);
                    assert!(
                        matches!(why, MintError::Failed { .. } | MintError::HeldBack { .. }),
                        "{why:?}"
                    );
                    first_refused.get_or_insert(rig.elapsed());
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        tokio::time::sleep(SECOND).await;
    }
    // The token leaves the cache 2 minutes and 12 seconds before its expiry.
    let end = 60 * MINUTE - 132 * SECOND;
    assert!(last_served >= end - 2 * SECOND, "{last_served:?}");
    assert!(
        first_refused.is_some_and(|first| first >= end),
        "{first_refused:?}"
    );
    let tries = &rig.upstream.asked()[1..];
    assert!(tries.len() >= 10, "{tries:?}");
    // A failed refresh holds back refreshes. Once the token has ended, it is asked for at once.
    let [refreshes, loads] =
        [true, false].map(|before| tries.iter().filter(move |at| (**at < end) == before));
    for tries in [refreshes.collect::<Vec<_>>(), loads.collect()] {
        assert!(tries.len() >= 5, "{tries:?}");
        for pair in tries.windows(2) {
            assert!(*pair[1] - *pair[0] >= MINUTE, "{tries:?}");
        }
    }
    rig.upstream.set(|state| state.failing = false);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(ask(&fleet[1].0).await.unwrap().origin, Origin::Mint);
}

#[tokio::test(start_paused = true)]
async fn purged_token_is_minted_again_and_not_remembered() {
    let rig = Rig::new();
    let (broker, _) = rig.process();
    let old = token(&broker).await;
    let keys = rig
        .memory
        .scan(&Pattern::new("token-broker:*").unwrap(), 0, 100)
        .keys;
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    rig.memory.del(&keys).await.unwrap();
    assert_ne!(token(&broker).await, old);
}

#[tokio::test(start_paused = true)]
async fn every_profile_and_every_callers_repository_has_a_token_of_its_own() {
    let rig = Rig::new();
    let (broker, _) = rig.process();
    let mut tokens = Vec::new();
    for (app, profile, repository) in [
        ("acme-ci", "default", None),
        ("acme-ci", "packages", None),
        ("acme-release", "default", None),
        ("acme-ci", "one-repository", Some("web")),
        ("acme-ci", "one-repository", Some("api")),
    ] {
        let handed = broker.token(app, profile, repository).await.unwrap();
        tokens.push(handed.minted.token.expose().to_owned());
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 5);
    let unknown = broker.token("nobody", "default", None).await;
    assert!(matches!(unknown, Err(Refused::NoSuch(NoSuchToken::App))));
    assert_eq!(broker.totals().requests, 5, "of tokens that exist");
}

#[tokio::test(start_paused = true)]
async fn token_that_expires_too_soon_is_not_handed_out() {
    let rig = Rig::new();
    let (broker, _) = rig.process();
    rig.upstream.set(|state| state.validity = 2 * MINUTE);
    let refused = ask(&broker).await;
    let Err(Refused::NoToken { why, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        why,
        MintError::TooShort {
            valid_for: 2 * MINUTE
        }
    );
}

#[tokio::test(start_paused = true)]
async fn one_process_mints_no_more_than_it_may_in_an_hour() {
    let rig = Rig::new();
    let (broker, _) = rig.process_with(3);
    let mint = async |name: &str| broker.token("acme-ci", "one-repository", Some(name)).await;
    for name in ["a", "b", "c"] {
        mint(name).await.unwrap();
    }
    let refused = mint("d").await;
    let Err(Refused::NoToken { why, .. }) = refused else {
        panic!("{refused:?}");
    };
    let after = why.retry_after().unwrap();
    assert!(
        matches!(why, MintError::Bounded { .. }) && after <= 60 * MINUTE,
        "{why:?}"
    );
    assert!(mint("a").await.is_ok(), "what there is is still handed out");
    tokio::time::sleep(after.max(MINUTE)).await;
    assert!(mint("d").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn slow_upstream_costs_nobody_a_valid_token() {
    let rig = Rig::new();
    let (broker, _) = rig.process();
    let old = token(&broker).await;
    rig.upstream.set(|state| state.delay = 60 * MINUTE);
    rig.until(51 * MINUTE).await;
    for _ in 0..10 {
        let before = rig.elapsed();
        assert_eq!(token(&broker).await, old);
        assert_eq!(rig.elapsed(), before, "nobody waits for a refresh");
        tokio::time::sleep(30 * SECOND).await;
    }
    rig.until(58 * MINUTE).await;
    let before = rig.elapsed();
    assert!(ask(&broker).await.is_err());
    assert!(
        rig.elapsed() - before <= 12 * SECOND,
        "the wait for a mint is bounded"
    );
}
