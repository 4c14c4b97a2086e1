//! A read-through on the mock: what a test of a caller that has one expects.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use cache_layers::read_through::Coordination;
use cache_mock::MockCacheClient;
use futures::FutureExt as _;

use crate::rig::{KEY, Rig, ms, text};

#[tokio::test(start_paused = true)]
async fn expected_load_is_one_load_and_then_a_hit() {
    for coordination in [Coordination::Process, Coordination::Fleet { lease: ms(10_000) }] {
        let rig = Rig::new();
        let mut cache = MockCacheClient::new();
        cache.expect_load(KEY);
        cache.expect_load("user:8");
        let process = rig.over(Arc::new(cache), |config| config.coordination(coordination));
        for key in [KEY, KEY, "user:8"] {
            let load = rig.upstream.gives_text("Ada", ms(10));
            assert_eq!(text(process.get_or_load(key, load).await), "Ada");
            process.settled().await;
        }
        assert_eq!(rig.upstream.loads(), 2);
        assert_eq!(process.stats().cache_failures, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn call_without_expectation_names_the_one_to_add() {
    let rig = Rig::new();
    let process = rig.over(Arc::new(MockCacheClient::new()), |config| config);
    let call = process.get_or_load(KEY, rig.upstream.gives_text("Ada", ms(10)));
    let panic = AssertUnwindSafe(call).catch_unwind().await.unwrap_err();
    let said = panic.downcast_ref::<String>().unwrap();
    for part in [
        "MockCacheClient::get(\"user:7\")",
        "expect_miss(KEY)",
        "expect_load(KEY)",
        "MemoryCache",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "called 0 time(s)")]
async fn expected_load_that_is_not_made_fails_the_test() {
    let rig = Rig::new();
    let mut cache = MockCacheClient::new();
    cache.expect_load(KEY);
    let process = rig.over(Arc::new(cache), |config| config);
    let failing = || async { Err::<cache_layers::Loaded, _>(io::Error::other("upstream is down")) };
    assert!(process.get_or_load(KEY, failing).await.is_err());
    process.settled().await;
}
