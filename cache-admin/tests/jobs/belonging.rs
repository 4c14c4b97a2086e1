//! A job belongs to one cache: with which another process may go on, and with which not.

use std::sync::Arc;

use cache_admin::jobs::{Audit, AuditSync, ControlError, JobState, Jobs, JobsConfig, StartError};
use cache_admin::{CacheIdentity, Engine, MemoryKeys};
use cache_core::{CacheClient as _, MemoryCache, Ttl};

use super::gated::Gated;
use super::{ended, jo, jobs, removal, reopen, stored, until};

fn server(ids: &[&str]) -> CacheIdentity {
    CacheIdentity::server(ids.iter().map(|id| (*id).to_owned()))
}

#[tokio::test]
async fn a_job_goes_on_with_its_own_cache_only() {
    let folder = tempfile::tempdir().unwrap();
    let audit = folder.path().join("audit.jsonl");
    let (first, keys) = jobs(stored(folder.path())).await;
    keys.become_cache(server(&["run-a", "repl-a"]));
    let id = first.start(removal("k:*")).await.unwrap().id;
    let other = first.start(removal("other:*")).await.unwrap().id;
    until(&first, id, super::running).await;
    first.close().await;

    keys.open();
    keys.become_cache(server(&["run-b"]));
    let config = stored(folder.path())
        .with_audit(Audit::open(&audit, AuditSync::System).await.unwrap())
        .with_resume_at_open(true);
    let second = reopen(&keys, config).await;
    for id in [id, other] {
        assert_eq!(second.get(id).unwrap().state, JobState::Interrupted);
        let Err(error @ ControlError::OtherCache { .. }) = second.resume(id, &jo()).await else {
            panic!("it goes on with another cache");
        };
        let words = error.to_string();
        assert!(words.contains("run-a") && words.contains("run-b"), "{words}");
    }
    assert_eq!(keys.left("k:").await, 1_000);
    let text = std::fs::read_to_string(&audit).unwrap();
    assert!(text.contains("refused") && text.contains("run-b"), "{text}");

    let job = second.resume_on_this_cache(id, &jo()).await.unwrap();
    assert!(job.cache.contains("run-b"), "{job:?}");
    assert_eq!(ended(&second, id).await.state, JobState::Complete);
    assert_eq!(keys.left("k:").await, 0);
    let text = std::fs::read_to_string(&audit).unwrap();
    assert!(text.contains("accepted"), "{text}");
}

#[tokio::test]
async fn a_promoted_replica_is_the_same_cache() {
    let folder = tempfile::tempdir().unwrap();
    let (first, keys) = jobs(stored(folder.path())).await;
    keys.become_cache(server(&["run-a", "repl-a"]));
    let id = first.start(removal("k:*")).await.unwrap().id;
    until(&first, id, super::running).await;
    first.close().await;
    keys.open();
    keys.become_cache(server(&["run-b", "repl-b", "repl-a"]));
    let second = reopen(&keys, stored(folder.path())).await;
    second.resume(id, &jo()).await.unwrap();
    assert_eq!(ended(&second, id).await.progress.removed, 1_000);
}

#[tokio::test]
async fn another_key_prefix_is_another_cache() {
    let folder = tempfile::tempdir().unwrap();
    let (first, keys) = jobs(stored(folder.path())).await;
    let id = first.start(removal("k:*")).await.unwrap().id;
    until(&first, id, super::running).await;
    first.close().await;
    keys.open();
    let second = reopen(&keys, stored(folder.path()).with_key_prefix("x:")).await;
    let resumed = second.resume(id, &jo()).await;
    assert!(
        matches!(resumed, Err(ControlError::OtherCache { .. })),
        "{resumed:?}"
    );
    assert_eq!(keys.left("k:").await, 1_000);
}

#[tokio::test]
async fn an_idempotency_key_finds_no_job_of_another_cache() {
    let folder = tempfile::tempdir().unwrap();
    let (first, keys) = jobs(stored(folder.path())).await;
    keys.become_cache(server(&["run-a"]));
    keys.open();
    let again = || removal("k:*").with_idempotency_key("once");
    let id = first.start(again()).await.unwrap().id;
    ended(&first, id).await;
    assert_eq!(first.start(again()).await.unwrap().id, id);
    keys.become_cache(server(&["run-b"]));
    assert_ne!(first.start(again()).await.unwrap().id, id);
}

#[tokio::test]
async fn what_was_confirmed_for_one_cache_starts_on_no_other() {
    let (jobs, keys) = jobs(JobsConfig::default()).await;
    keys.become_cache(server(&["run-b"]));
    let started = jobs.start(removal("k:*").with_cache(server(&["run-a"]))).await;
    assert!(
        matches!(started, Err(StartError::OtherCache { .. })),
        "{started:?}"
    );
    keys.become_cache(server(&["run-a", "repl-b"]));
    jobs.start(removal("k:*").with_cache(server(&["run-a"])))
        .await
        .unwrap();
    keys.open();
}

#[tokio::test]
async fn servers_that_do_not_say_who_they_are_are_worked_on_and_not_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let (first, keys) = jobs(stored(folder.path())).await;
    keys.become_cache(server(&[]));
    let id = first.start(removal("k:*")).await.unwrap().id;
    until(&first, id, super::running).await;
    first.close().await;
    keys.open();
    let second = reopen(&keys, stored(folder.path())).await;
    let Err(error) = second.resume(id, &jo()).await else {
        panic!("it goes on though nothing is known");
    };
    assert!(error.to_string().contains("grant INFO"), "{error}");
    let fresh = second.start(removal("k:*")).await.unwrap().id;
    assert_eq!(ended(&second, fresh).await.state, JobState::Complete);
}

#[tokio::test]
async fn a_store_without_identities_is_not_resumed_unasked() {
    let cache = Arc::new(MemoryCache::default());
    cache.set("k:1", "".into(), Ttl::Forever).await.unwrap();
    let keys = Gated::new().await;
    let folder = tempfile::tempdir().unwrap();
    let first = reopen(&keys, stored(folder.path())).await;
    let id = first.start(removal("k:*")).await.unwrap().id;
    until(&first, id, super::running).await;
    first.close().await;
    forget_caches(&folder.path().join("jobs.redb"));
    let engine = Engine::new(MemoryKeys::new(Arc::clone(&cache)));
    let second = Jobs::open(engine, stored(folder.path())).await.unwrap();
    let resumed = second.resume(id, &jo()).await;
    assert!(
        matches!(resumed, Err(ControlError::OtherCache { .. })),
        "{resumed:?}"
    );
    assert_eq!(cache.exists(&["k:1"]).await.unwrap(), 1);
}

/// Makes a store one that an older version wrote.
fn forget_caches(path: &std::path::Path) {
    let database = redb::Database::open(path).unwrap();
    let change = database.begin_write().unwrap();
    for name in ["jobs", "checkpoints"] {
        let table: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new(name);
        let mut table = change.open_table(table).unwrap();
        let rows: Vec<(String, Vec<u8>)> = redb::ReadableTable::iter(&table)
            .unwrap()
            .map(|row| row.unwrap())
            .map(|(key, value)| (key.value().to_owned(), value.value().to_owned()))
            .collect();
        for (key, text) in rows {
            let mut value: serde_json::Value = serde_json::from_slice(&text).unwrap();
            value.as_object_mut().unwrap().remove("cache");
            if let Some(job) = value.get_mut("job").and_then(|job| job.as_object_mut()) {
                job.remove("cache");
            }
            table
                .insert(&*key, &*serde_json::to_vec(&value).unwrap())
                .unwrap();
        }
    }
    change.commit().unwrap();
}
