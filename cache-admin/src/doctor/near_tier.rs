//! Proof that a change made by one client is heard by the near tier of another: a write, its invalidation, and the
//! read that must bring the new value, on each primary.

use std::time::Duration;

use bytes::Bytes;
use cache_core::config::{NearConfig, NearTracking, OnError, Startup};
use cache_core::{CacheClient as _, CacheError, TrackingStatus, Ttl, clock};
use cache_stack::Stack;

use super::finding::{Check, Verdict};
use super::patient::Patient;

pub(super) const CHECK: Check = Check {
    name: "near-tier",
    why: "a near tier that does not hear of changes answers with old values: it is proved with a write and a read",
};

/// The life of what is written, should nobody remove it.
const LIFE: Duration = Duration::from_secs(30);
/// As long as no value would be taken for new because its near life had ended.
const NEAR_LIFE: Duration = Duration::from_secs(3_600);
/// How long a step may take.
const STEP: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(1);
/// More primaries than this are not proved each.
const MOST: usize = 32;

pub(super) async fn look(patient: &Patient) -> Verdict {
    match patient.stack.foundation.client().invalidations() {
        None => return Verdict::skipped("changes are not asked for"),
        Some(source) if matches!(source.status(), TrackingStatus::Off(_)) => {
            return Verdict::skipped("changes are not reported; see tracking");
        }
        Some(_) => {}
    }
    let primaries = patient.primaries().take(MOST);
    let keys: Vec<String> = primaries.filter_map(|node| patient.key_of(node)).collect();
    if keys.is_empty() {
        return Verdict::skipped("no primary serves a key of this examination");
    }
    match prove(patient, &keys).await {
        Ok(Proof::Heard(times)) => {
            let slowest = times.into_iter().max().unwrap_or_default();
            let primaries = match keys.len() {
                1 => "1 primary".to_owned(),
                count => format!("{count} primaries"),
            };
            Verdict::ok(format!(
                "a write by another client was heard and read anew on {primaries}, {:.1} ms at most",
                slowest.as_secs_f64() * 1e3
            ))
        }
        Ok(Proof::NotKept) => Verdict::warn(
            "nothing that was read is kept near",
            "changes are said to be reported and reads are not tracked: look at the log with -vv",
        )
        .unless_explained(),
        Ok(Proof::Stale) => Verdict::fail(
            format!(
                "a near tier still answers with the old value {} after another client's write",
                humantime::format_duration(STEP)
            ),
            "set CACHE_L1_TRACKING=off until it is clear why invalidations do not arrive: something between may drop them",
        ),
        Err(error) => Verdict::fail(
            format!("the round trip failed: {error}"),
            "the message says what to change",
        )
        .unless_explained(),
    }
}

enum Proof {
    /// How long after the write each new value was read.
    Heard(Vec<Duration>),
    NotKept,
    Stale,
}

async fn prove(patient: &Patient, keys: &[String]) -> Result<Proof, CacheError> {
    let (writer, reader) = (&patient.stack, with_near_tier(patient).await?);
    let proof = run(writer, &reader, keys).await;
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    // They go with their lives where this fails.
    let _ = writer.client.del(&names).await;
    let _ = reader.client.close().await;
    proof
}

/// A second client, with a near tier.
async fn with_near_tier(patient: &Patient) -> Result<Stack, CacheError> {
    let mut config = patient.config.clone();
    config.startup = Startup::Degrade;
    config.on_error = OnError::Fail;
    let tracking = config.near.as_ref().map(|near| near.tracking);
    let near = NearConfig::new(1 << 20, NEAR_LIFE);
    config.near = Some(near.with_tracking(tracking.unwrap_or(NearTracking::OptIn)));
    Box::pin(cache_stack::assemble(&config)).await
}

async fn run(writer: &Stack, reader: &Stack, keys: &[String]) -> Result<Proof, CacheError> {
    let mut times = Vec::new();
    for key in keys {
        let (old, new) = (Bytes::from_static(b"old"), Bytes::from_static(b"new"));
        writer.client.set(key, old.clone(), Ttl::After(LIFE)).await?;
        if !is_kept(reader, key, &old).await? {
            return Ok(Proof::NotKept);
        }
        writer.client.set(key, new.clone(), Ttl::After(LIFE)).await?;
        let written = clock::now();
        while reader.client.get(key).await? != new {
            if clock::now() - written > STEP {
                return Ok(Proof::Stale);
            }
            tokio::time::sleep(PAUSE).await;
        }
        times.push(clock::now() - written);
    }
    Ok(Proof::Heard(times))
}

/// Reads until the value comes from near.
async fn is_kept(reader: &Stack, key: &str, value: &Bytes) -> Result<bool, CacheError> {
    let hits = || reader.near.as_ref().map_or(0, |near| near.stats().hits);
    let (before, started) = (hits(), clock::now());
    while clock::now() - started < STEP {
        let read = reader.client.get(key).await?;
        if read == *value && hits() > before {
            return Ok(true);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(false)
}
