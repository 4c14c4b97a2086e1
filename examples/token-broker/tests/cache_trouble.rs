//! With a cache that fails, alone and together with the upstream.

use std::time::Duration;

use axum::response::IntoResponse as _;
use cache_mock::{Fault, Operation};

use super::rig::{MINUTE, Rig, ask, token};
use crate::answer::Refusal;
use crate::broker::{Origin, Refused};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn failing_cache_costs_no_mint_before_the_refresh_and_then_one_for_each_process() {
    let rig = Rig::new();
    let fleet = rig.fleet::<4>();
    for (broker, _) in &fleet {
        token(broker).await;
    }
    for (_, faults) in &fleet {
        faults.always(Operation::ALL, &Fault::connection_lost());
    }
    while rig.elapsed() < 49 * MINUTE {
        for (broker, _) in &fleet {
            assert_eq!(ask(broker).await.unwrap().origin, Origin::Memory);
        }
        tokio::time::sleep(5 * SECOND).await;
    }
    assert_eq!(rig.upstream.count(), 1, "all remember the token");
    while rig.elapsed() < 95 * MINUTE {
        for (broker, _) in &fleet {
            ask(broker).await.unwrap();
        }
        tokio::time::sleep(5 * SECOND).await;
    }
    assert_eq!(
        rig.upstream.count(),
        1 + fleet.len(),
        "{:?}",
        rig.upstream.asked()
    );
}

#[tokio::test(start_paused = true)]
async fn cache_that_is_back_is_used_again_and_costs_one_mint_at_most() {
    let rig = Rig::new();
    let fleet = rig.fleet::<4>();
    for (broker, _) in &fleet {
        token(broker).await;
    }
    for (_, faults) in &fleet {
        faults.always(Operation::ALL, &Fault::connection_lost());
    }
    for (broker, faults) in &fleet {
        ask(broker).await.unwrap();
        faults.heal();
    }
    for (broker, _) in &fleet {
        assert_eq!(ask(broker).await.unwrap().origin, Origin::Cache);
    }
    assert_eq!(rig.upstream.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn both_failing_serve_what_is_remembered_and_then_refuse_clearly() {
    let rig = Rig::new();
    let (broker, faults) = rig.process();
    token(&broker).await;
    faults.always(Operation::ALL, &Fault::connection_lost());
    rig.upstream.set(|state| state.failing = true);
    let mut last_served = Duration::ZERO;
    while rig.elapsed() < 62 * MINUTE {
        if ask(&broker).await.is_ok() {
            last_served = rig.elapsed();
        }
        tokio::time::sleep(SECOND).await;
    }
    assert!(last_served >= 57 * MINUTE, "{last_served:?}");
    let tries = &rig.upstream.asked()[1..];
    for pair in tries.windows(2) {
        assert!(pair[1] - pair[0] >= MINUTE, "{tries:?}");
    }
    let Err(
        refused @ Refused::NoToken {
            cache_fails: true, ..
        },
    ) = ask(&broker).await
    else {
        panic!("a token from nowhere");
    };
    let response = Refusal::from(refused).into_response();
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    let body = axum::body::to_bytes(response.into_body(), 1_024).await.unwrap();
    let said = String::from_utf8(body.to_vec()).unwrap();
    assert!(
        said.contains("no valid token: the upstream") && said.contains("and the cache fails"),
        "{said}"
    );
}

#[tokio::test(start_paused = true)]
async fn both_failing_from_the_start_try_the_upstream_once_per_hold() {
    let rig = Rig::new();
    let (broker, faults) = rig.process();
    faults.always(Operation::ALL, &Fault::connection_lost());
    rig.upstream.set(|state| state.failing = true);
    while rig.elapsed() < 10 * MINUTE {
        assert!(ask(&broker).await.is_err());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let tries = rig.upstream.asked();
    assert!((9..=10).contains(&tries.len()), "{tries:?}");
}

#[tokio::test(start_paused = true)]
async fn silent_cache_delays_a_request_by_its_budget_at_most() {
    let rig = Rig::new();
    let (broker, faults) = rig.process();
    token(&broker).await;
    faults.always(Operation::ALL, &Fault::Hang);
    let before = rig.elapsed();
    assert_eq!(ask(&broker).await.unwrap().origin, Origin::Memory);
    assert!(
        rig.elapsed() - before <= 2 * SECOND,
        "{:?}",
        rig.elapsed() - before
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_shows_a_token() {
    let rig = Rig::new();
    let (broker, faults) = rig.process();
    let given = token(&broker).await;
    faults.always(Operation::ALL, &Fault::connection_lost());
    let handed = ask(&broker).await.unwrap();
    let shown = format!("{broker:?} {handed:?} {:?} {}", broker.totals(), broker.totals());
    assert!(!shown.contains(&given), "{shown}");
    assert!(shown.contains(&handed.minted.token.fingerprint()), "{shown}");
}
