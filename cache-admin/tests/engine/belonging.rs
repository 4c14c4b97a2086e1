//! A run belongs to one cache: what becomes of it where the addresses lead to another one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cache_admin::{CacheIdentity, Checkpoint, Checkpoints, Control, Engine, Event, Options, Outcome, Pace};
use cache_core::{CacheError, Pattern};

use crate::simulated::{Change, Simulated};

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Option<Checkpoint>>>);

impl Kept {
    fn last(&self) -> Checkpoint {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        last.unwrap_or_else(|| panic!("no checkpoint"))
    }
}

#[async_trait]
impl Checkpoints for Kept {
    async fn save(&self, checkpoint: &Checkpoint) -> Result<(), CacheError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(checkpoint.clone());
        Ok(())
    }
}

fn cluster() -> Simulated {
    Simulated::cluster(3)
        .by_slot()
        .with_keys((0..400).map(|number| format!("k:{number}")))
}

fn nodes(ids: &[&str]) -> CacheIdentity {
    CacheIdentity::cluster(ids.iter().map(|id| (*id).to_owned()))
}

/// What is left on paper of a removal that stopped half-way.
async fn half_done(cluster: &Simulated) -> Checkpoint {
    let pattern = Pattern::prefix("k:").unwrap_or_else(|error| panic!("{error}"));
    let (kept, control) = (Kept::default(), Control::new());
    let handle = control.clone();
    let options = Options::default()
        .with_page_size(10)
        .with_pace(Pace::Full)
        .with_checkpoints(kept.clone())
        .with_save_every(Duration::from_secs(1), 20)
        .with_control(control)
        .with_observer(move |event: &Event| {
            if matches!(event, Event::Page { counts, .. } if counts.removed > 40) {
                handle.cancel();
            }
        });
    let report = Engine::new(cluster.clone()).invalidate(&pattern, &options).await;
    assert!(matches!(report.outcome, Outcome::Cancelled), "{report:?}");
    kept.last()
}

#[tokio::test(start_paused = true)]
async fn a_removal_is_not_taken_up_on_another_cache() {
    let checkpoint = half_done(&cluster()).await;
    // The same addresses, slots and keys.
    let other = cluster();
    other.now(Change::Replace(nodes(&["x1", "x2"])));
    let engine = Engine::new(other.clone());
    let report = engine.resume(&checkpoint, &Options::default()).await;
    let Outcome::Failed { error } = &report.outcome else {
        panic!("{report:?}");
    };
    let words = error.to_string();
    assert!(
        words.contains("n1, n2, n3") && words.contains("x1, x2"),
        "{words}"
    );
    assert_eq!(other.reachable().len(), 400, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn an_accepted_cache_is_visited_from_the_start() {
    let checkpoint = half_done(&cluster()).await;
    let other = cluster();
    other.now(Change::Replace(nodes(&["x1", "x2"])));
    let options = Options::default().with_accepted_cache(true);
    let report = Engine::new(other.clone()).resume(&checkpoint, &options).await;
    assert!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    assert!(
        other.reachable().is_empty(),
        "slots of the other cache count as visited"
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_shard_or_a_lost_node_is_the_same_cache() {
    let cluster = cluster();
    let checkpoint = half_done(&cluster).await;
    cluster.now(Change::Replace(nodes(&["n3", "n4", "n5"])));
    let engine = Engine::new(cluster.clone());
    let report = engine.resume(&checkpoint, &Options::default()).await;
    assert!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    assert!(cluster.reachable().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_where_its_addresses_lead_to_another_cache() {
    // In the middle of the first pass: the next look at the layout finds it.
    let cluster = cluster().at(20, Change::Replace(nodes(&["x1", "x2"])));
    let options = Options::default().with_page_size(10).with_pace(Pace::Full);
    let engine = Engine::new(cluster.clone());
    let report = engine.invalidate(&Pattern::new("k:*").unwrap(), &options).await;
    let Outcome::Partial { gaps } = &report.outcome else {
        panic!("{report:?}");
    };
    assert!(gaps[0].reason.to_string().contains("x1, x2"), "{gaps:?}");
    assert_eq!(report.passes, 1, "nothing is visited after that");
}
