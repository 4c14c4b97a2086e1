//! What `ping` says about the primaries in use. Not in here: failover and its error window, which concern one
//! backend.

use super::{Subject, expect};
use crate::Ttl;

/// `ping` succeeds if the backend is reachable, even before any other call.
pub async fn ping_answers(subject: &Subject) {
    for _ in 0..3 {
        expect::ok(subject.client().ping().await, "a ping of a backend that is there");
    }
}

/// Scenario 19: `ping` fails with a transient error while any primary in use is gone, and succeeds again once
/// it is back. Needs [`Subject::with_outage`].
pub async fn ping_fails_while_a_primary_is_gone(subject: &Subject) {
    let cache = subject.client();
    let keys = subject.keys_in_different_slots("used", 16);
    for key in &keys {
        expect::ok(
            cache.set(key, "value".into(), Ttl::secs(600)).await,
            "set before a primary is gone",
        );
    }
    expect::ok(cache.ping().await, "a ping while every primary is there");
    subject.outage().begin().await;
    let lost = async || match cache.ping().await {
        Ok(()) => false,
        Err(error) => {
            expect::that(
                error.is_transient(),
                format_args!("an error that may pass, got: {error}"),
            );
            true
        }
    };
    subject
        .eventually("ping to fail while a primary is gone", lost)
        .await;
    subject.outage().end().await;
    subject
        .eventually("ping to succeed once the primary is back", async || {
            cache.ping().await.is_ok()
        })
        .await;
    for key in &keys {
        subject
            .eventually("set to succeed once the primary is back", async || {
                cache.set(key, "new value".into(), Ttl::secs(600)).await.is_ok()
            })
            .await;
        expect::value(
            cache.get(key).await,
            "new value",
            "the value stored once the primary is back",
        );
    }
}
