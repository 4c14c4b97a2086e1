//! Each fault has its effect when scheduled, and not otherwise.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheClient, CacheClientExt, CacheError, MemoryCache, Outcome, Stage, Ttl, clock};
use cache_mock::{Fault, FaultyCache, Operation, RandomFaults};

const DEADLINE: Duration = Duration::from_secs(3);
const KEPT: Ttl = Ttl::secs(300);

/// A cache with one entry.
async fn cache() -> Result<FaultyCache<MemoryCache>, CacheError> {
    let cache = FaultyCache::new(MemoryCache::default());
    cache.inner().set("key", "value".into(), KEPT).await?;
    Ok(cache)
}

#[tokio::test(start_paused = true)]
async fn partial_write_applies_the_first_keys_and_fails() {
    let cache = cache().await.unwrap();
    cache
        .faults()
        .next(Operation::SetMany, Fault::connection_lost_after(2));
    let entries = [("a", "1".into()), ("b", "2".into()), ("c", "3".into())];
    assert_eq!(
        cache.set_many(&entries, KEPT).await.unwrap_err().outcome(),
        Outcome::Unknown
    );
    assert_eq!(
        cache.get_many(&["a", "b", "c"]).await.unwrap(),
        [Some("1".into()), Some("2".into()), None]
    );

    cache
        .faults()
        .next(Operation::SetMany, Fault::connection_lost_after(99));
    assert!(cache.set_many(&entries, KEPT).await.is_err());
    assert_eq!(cache.exists(&["a", "b", "c"]).await.unwrap(), 3);

    cache
        .faults()
        .next(Operation::Del, Fault::connection_lost_after(1));
    assert!(cache.del(&["a", "b", "c"]).await.is_err());
    assert_eq!(
        cache.get_many(&["a", "b", "c"]).await.unwrap(),
        [None, Some("2".into()), Some("3".into())]
    );

    cache
        .faults()
        .next(Operation::Incr, Fault::connection_lost_after(1));
    assert!(cache.incr("count").await.is_err());
    cache
        .faults()
        .next(Operation::Incr, Fault::connection_lost_after(0));
    assert!(cache.incr("count").await.is_err());
    assert_eq!(cache.get("count").await.unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn only_the_third_call_of_its_kind_fails() {
    let cache = cache().await.unwrap();
    cache.get("key").await.unwrap();
    cache
        .faults()
        .nth(3, Operation::Get, Fault::Error(CacheError::Miss));
    let mut read = Vec::new();
    for _ in 0..5 {
        read.push(cache.find("key").await.unwrap().is_some());
        cache.ping().await.unwrap();
    }
    assert_eq!(read, [true, true, false, true, true]);
    let faults = cache.faults();
    assert_eq!(
        (
            faults.calls(Operation::Get),
            faults.calls(Operation::Ping),
            faults.all_calls()
        ),
        (6, 5, 11)
    );
}

#[tokio::test(start_paused = true)]
async fn call_without_io_uses_no_scripted_fault() {
    let cache = cache().await.unwrap();
    let faults = cache.faults();
    faults.next(Operation::Del, Fault::connection_lost());
    faults.nth(2, Operation::Get, Fault::connection_lost());
    assert_eq!(cache.del(&[]).await.unwrap(), 0);
    assert_eq!(faults.pending(), 2);
    assert!(cache.del(&["key"]).await.unwrap_err().is_transient());
    assert!(!cache.get("").await.unwrap_err().is_transient());
    assert_eq!(cache.get("key").await.unwrap(), "value");
    assert!(cache.get("key").await.unwrap_err().is_transient());
    assert_eq!(faults.pending(), 0);
    assert_eq!(
        (faults.calls(Operation::Del), faults.calls(Operation::Get)),
        (2, 3)
    );
    assert_eq!(
        (faults.injected(Operation::Del), faults.injected(Operation::Get)),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn loaded_value_survives_a_failing_cache() {
    let cache = cache().await.unwrap();
    let load = || async { Ok::<_, CacheError>("loaded".into()) };
    let faults = cache.faults();
    faults.next(Operation::Get, Fault::LostRequest(DEADLINE));
    faults.next(Operation::Set, Fault::connection_lost());
    assert_eq!(cache.remember("key", KEPT, load).await.unwrap(), "loaded");
    assert_eq!(cache.remember("key", KEPT, load).await.unwrap(), "value");
    assert_eq!(faults.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn script_overrides_standing_faults_until_healed() {
    let cache = cache().await.unwrap();
    let faults = cache.faults();
    faults.always(&[Operation::Get], &Fault::Error(CacheError::Miss));
    faults.next(Operation::Get, Fault::Delay(Duration::from_secs(1)));
    let before = clock::now();
    assert!(cache.get("key").await.is_ok());
    assert_eq!(clock::now() - before, Duration::from_secs(1));
    assert!(cache.get("key").await.unwrap_err().is_miss());
    faults.next(Operation::Get, Fault::Hang);
    faults.at_random(RandomFaults::new(1).errors(1.0));
    faults.heal();
    assert!(cache.get("key").await.is_ok());
    assert_eq!(faults.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn timeout_names_stage_and_duration() {
    let cache = cache().await.unwrap();
    cache.faults().next(Operation::Set, Fault::LostRequest(DEADLINE));
    let before = clock::now();
    let error = cache.set("key", "other".into(), KEPT).await.unwrap_err();
    assert!(
        matches!(
            error,
            CacheError::Timeout {
                stage: Stage::Reply,
                after: DEADLINE
            }
        ),
        "{error}"
    );
    assert_eq!(clock::now() - before, DEADLINE);
    assert_eq!(cache.get("key").await.unwrap(), "value");
}

#[tokio::test(start_paused = true)]
async fn call_that_hangs_ends_when_the_client_closes() {
    let cache = Arc::new(cache().await.unwrap());
    cache
        .faults()
        .always(&[Operation::Get, Operation::Set], &Fault::Hang);
    let hanging = tokio::spawn({
        let cache = Arc::clone(&cache);
        async move { cache.get("key").await }
    });
    tokio::task::yield_now().await;
    cache.close().await.unwrap();
    let ended = tokio::time::timeout(DEADLINE, hanging)
        .await
        .expect("the close ends the call");
    assert!(matches!(ended.unwrap(), Err(CacheError::Closed)));
    assert!(matches!(cache.get("key").await, Err(CacheError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn call_without_io_never_fails() {
    let cache = cache().await.unwrap();
    cache.faults().always(Operation::ALL, &Fault::connection_lost());
    let refused = |error: CacheError, wanted: &str| match error {
        CacheError::InvalidInput { argument, .. } => assert_eq!(argument, wanted),
        other => panic!("a refusal of the {wanted}, not: {other}"),
    };
    refused(cache.get("").await.unwrap_err(), "key");
    refused(cache.del(&["a", ""]).await.unwrap_err(), "key");
    refused(
        cache.expire("a", Ttl::After(Duration::MAX)).await.unwrap_err(),
        "ttl",
    );
    assert!(cache.get_many(&[]).await.unwrap().is_empty());
    assert_eq!(
        Operation::ALL
            .iter()
            .map(|operation| cache.faults().injected(*operation))
            .sum::<u64>(),
        0
    );
}

async fn outcomes(seed: u64) -> Result<Vec<(&'static str, Duration)>, CacheError> {
    let cache = cache().await?;
    let late = Duration::from_millis(1)..=Duration::from_millis(30);
    let faults_of_all_kinds = RandomFaults::new(seed)
        .errors(0.1)
        .lost_requests(0.1)
        .lost_replies(0.1)
        .timing_out_after(Duration::from_millis(40))
        .delays(0.2, late);
    cache.faults().at_random(faults_of_all_kinds);
    let mut outcomes = Vec::new();
    for _ in 0..1_000 {
        let before = clock::now();
        let outcome = cache
            .get("key")
            .await
            .map_or_else(|error| error.kind(), |_| "hit");
        outcomes.push((outcome, clock::now() - before));
    }
    Ok(outcomes)
}

#[tokio::test(start_paused = true)]
async fn same_seed_repeats_faults_at_the_given_rate() {
    let first = outcomes(42).await.unwrap();
    assert_eq!(first, outcomes(42).await.unwrap());
    assert_ne!(first, outcomes(43).await.unwrap());
    let share = |wanted: &str| first.iter().filter(|(outcome, _)| *outcome == wanted).count();
    assert!(
        (60..=140).contains(&share("unavailable")),
        "{} of 1,000 lost connections",
        share("unavailable")
    );
    assert!(
        (150..=250).contains(&share("timeout")),
        "{} of 1,000 timeouts",
        share("timeout")
    );
    let late = first
        .iter()
        .filter(|(outcome, took)| *outcome == "hit" && !took.is_zero())
        .count();
    assert!((150..=250).contains(&late), "{late} of 1,000 delays");
}

#[tokio::test(start_paused = true)]
async fn random_faults_never_hit_close() {
    let cache = cache().await.unwrap();
    let full = CacheError::Rejected {
        code: "OOM".into(),
        detail: "command not allowed".into(),
    };
    cache
        .faults()
        .at_random(RandomFaults::new(7).errors(1.0).failing_with(full));
    assert!(matches!(cache.incr("n").await, Err(CacheError::Rejected { .. })));
    cache.faults().at_random(RandomFaults::new(7).hangs(1.0));
    assert!(tokio::time::timeout(DEADLINE, cache.ping()).await.is_err());
    cache.close().await.unwrap();
}

#[test]
fn operation_knows_whether_it_writes() {
    let writes = Operation::ALL
        .iter()
        .filter(|operation| operation.writes())
        .count();
    assert_eq!((Operation::ALL.len(), writes), (21, 12));
}

#[tokio::test(start_paused = true)]
async fn first_keys_of_an_each_call_have_results() {
    let cache = cache().await.unwrap();
    let faults = cache.faults();
    faults.next(Operation::GetEach, Fault::connection_lost_after(1));
    let results = cache.get_each(&["key", "key", ""]).await;
    assert_eq!(results[0].as_ref().unwrap(), "value");
    assert!(results[1].as_ref().is_err_and(CacheError::is_transient));
    assert!(matches!(results[2], Err(CacheError::InvalidInput { .. })));
    faults.next(Operation::SetEach, Fault::connection_lost_after(1));
    let results = cache
        .set_each(&[("a", "1".into(), KEPT), ("b", "2".into(), KEPT)])
        .await;
    assert!(results[0].is_ok() && results[1].is_err());
    assert_eq!(cache.exists(&["a", "b"]).await.unwrap(), 1);
    faults.next(Operation::GetEach, Fault::LostReply(DEADLINE));
    let results = cache.get_each(&["key", "a"]).await;
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Err(CacheError::Timeout { .. })))
    );
    assert_eq!(faults.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_broken_slots_and_keys_fail() {
    let cache = FaultyCache::new(MemoryCache::default());
    let faults = cache.faults().clone();
    // "bar" is in slot 5061, "foo" in 12182, "hello" in 866.
    faults.on_slots(0..=5_460, Operation::ALL, &Fault::connection_lost());
    assert!(
        cache
            .set("bar", "1".into(), KEPT)
            .await
            .unwrap_err()
            .is_transient()
    );
    cache.set("foo", "1".into(), KEPT).await.unwrap();
    cache.ping().await.unwrap();
    assert!(cache.get_many(&["foo", "bar"]).await.is_err());
    assert_eq!(cache.get_many(&["foo"]).await.unwrap(), [Some("1".into())]);

    faults.heal();
    faults.on_key("foo", &[Operation::Get], &Fault::Delay(DEADLINE));
    let before = clock::now();
    assert_eq!(cache.get("foo").await.unwrap(), "1");
    assert_eq!(clock::now() - before, DEADLINE);
    assert!(cache.get("bar").await.unwrap_err().is_miss());
    assert_eq!(clock::now() - before, DEADLINE);
    assert_eq!(faults.injected(Operation::Get), 1);
}

#[tokio::test(start_paused = true)]
async fn batch_write_succeeds_for_working_keys() {
    let cache = FaultyCache::new(MemoryCache::default());
    cache
        .faults()
        .on_slots(0..=5_460, Operation::ALL, &Fault::connection_lost());
    let entries = [("bar", "1".into()), ("foo", "2".into()), ("hello", "3".into())];
    assert!(cache.set_many(&entries, KEPT).await.is_err());
    let keys = ["bar", "foo", "hello"];
    let stored = cache.inner().get_many(&keys).await.unwrap();
    assert_eq!(stored, [None, Some("2".into()), None]);

    cache.inner().set_many(&entries, KEPT).await.unwrap();
    assert!(cache.del(&keys).await.is_err());
    let stored = cache.inner().get_many(&keys).await.unwrap();
    assert_eq!(stored, [Some("1".into()), None, Some("3".into())]);

    cache.faults().heal();
    cache
        .faults()
        .on_slots(0..=5_460, &[Operation::Del], &Fault::Delay(DEADLINE));
    assert_eq!(cache.del(&keys).await.unwrap(), 2);
}
