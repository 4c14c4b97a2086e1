//! Scenarios 36, 38 and 45: how long a value lives, and which is not stored.

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use cache_core::CacheClient;
use cache_layers::Loaded;
use cache_layers::read_through::Coordination;

use crate::rig::{KEY, LEASE_KEY, LIFE, Rig, ms, secs, text};

#[tokio::test(start_paused = true)]
async fn the_loader_says_how_long_its_value_lives() {
    let now = UNIX_EPOCH + secs(1_700_000_000);
    for loaded in [
        Loaded::new("token").living(secs(40)),
        Loaded::new("token").until(now + secs(40)),
    ] {
        let rig = Rig::new();
        let process = rig.process();
        let load = || rig.upstream.gives(loaded.clone(), Duration::ZERO);
        assert_eq!(text(process.get_or_load(KEY, load()).await), "token");
        tokio::time::sleep(secs(40) - ms(1)).await;
        assert_eq!(text(process.get_or_load(KEY, load()).await), "token");
        assert_eq!(rig.upstream.loads(), 1);
        tokio::time::sleep(ms(1)).await;
        assert_eq!(text(process.get_or_load(KEY, load()).await), "token");
        assert_eq!(rig.upstream.loads(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_loader_does_not_want_stored_is_returned_and_not_stored() {
    let rig = Rig::new();
    let process = rig.process();
    for loaded in [
        Loaded::new("once").not_stored(),
        Loaded::new("once").living(Duration::ZERO),
        Loaded::new("once").until(UNIX_EPOCH),
    ] {
        assert_eq!(
            text(process.get_or_load(KEY, rig.upstream.gives(loaded, ms(1))).await),
            "once"
        );
        process.settled().await;
        assert_eq!(rig.memory.exists(&[KEY]).await.unwrap(), 0);
    }
    assert_eq!(rig.upstream.loads(), 3);
    tokio::time::sleep(secs(10)).await;
    assert_eq!(rig.memory.exists(&[KEY, LEASE_KEY]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_negative_answer_has_its_own_short_life() {
    let rig = Rig::new();
    let process = rig.process_with(|config| config.negative_life(secs(3)).stale_limit(LIFE));
    let nobody = || rig.upstream.gives(Loaded::absent(), ms(1));
    assert_eq!(process.get_or_load(KEY, nobody()).await.unwrap().value, None);
    tokio::time::sleep(secs(3) - ms(1)).await;
    assert_eq!(process.get_or_load(KEY, nobody()).await.unwrap().value, None);
    assert_eq!(rig.upstream.loads(), 1);
    assert_eq!(process.stats().negative_hits, 1);
    tokio::time::sleep(ms(2)).await;
    let found = process
        .get_or_load(KEY, rig.upstream.gives_text("Ada", ms(1)))
        .await;
    assert_eq!(text(found), "Ada");
}

#[tokio::test(start_paused = true)]
async fn a_payload_over_the_limit_is_returned_and_counted_and_not_stored() {
    let rig = Rig::new();
    let process = rig.process_with(|config| config.max_payload(4).hit_for_miss(Duration::ZERO));
    let large = process
        .get_or_load(KEY, rig.upstream.gives_text("12345", ms(1)))
        .await;
    assert_eq!(text(large), "12345");
    process.settled().await;
    assert_eq!(rig.memory.len(), 0);
    assert_eq!(process.stats().oversize, 1);
    let fits = process
        .get_or_load(KEY, rig.upstream.gives_text("1234", ms(1)))
        .await;
    assert_eq!(text(fits), "1234");
    process.settled().await;
    assert_eq!(rig.stored(KEY).await.as_deref(), Some("1234"));
    let refused = process.put(KEY, Loaded::new("12345")).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "invalid value: 5 bytes long; at most 4 are stored"
    );
}

#[tokio::test(start_paused = true)]
async fn jitter_stays_in_bounds_and_never_exceeds_what_the_loader_promised() {
    let rig = Rig::new();
    let process = rig.process_with(|config| config.jitter(0.25).coordination(Coordination::Process));
    let mut lives = Vec::new();
    for number in 0..1_000 {
        let key = format!("user:{number}");
        let promised = Loaded::new("Ada").living(secs(1_000));
        let load = || async { Ok::<_, io::Error>(promised) };
        process.get_or_load(&key, load).await.unwrap();
        process.settled().await;
        let life = rig
            .memory
            .ttl(&key)
            .await
            .unwrap()
            .as_duration()
            .unwrap()
            .unwrap();
        assert!((secs(750)..=secs(1_000)).contains(&life), "{life:?}");
        lives.push(life);
    }
    lives.sort_unstable();
    assert!(
        lives[100] < secs(800) && lives[900] > secs(950),
        "spread over the whole range"
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_that_no_cache_takes_is_refused_before_anything_is_loaded() {
    let rig = Rig::new();
    let process = rig.process();
    for key in ["", &"k".repeat(cache_core::MAX_KEY_LEN)] {
        let error = process
            .get_or_load(key, rig.upstream.gives_text("x", ms(1)))
            .await
            .unwrap_err();
        assert!(error.to_string().starts_with("invalid key: "), "{error}");
    }
    let longest = "k".repeat(cache_core::MAX_KEY_LEN - ":#lease:#abc".len());
    let answer = process
        .get_or_load(&longest, rig.upstream.gives_text("Ada", ms(1)))
        .await;
    assert_eq!(text(answer), "Ada");
    assert_eq!(rig.upstream.loads(), 1);
}
