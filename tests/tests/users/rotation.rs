//! A password is changed under load and nobody is locked out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cache_admin::users::{Change, Scope, rotation};
use cache_core::config::ValkeyConfig;
use cache_core::{CacheClient as _, CacheError, Ttl};
use cache_valkey::ValkeyClient;
use tests::{Version, until};
use tokio::task::JoinHandle;

use crate::{DECLARED, Declared, LIMIT, cluster_config, cluster_of, logged_in, told};

/// A service under load: one client that stays, and one that is made anew all the time.
struct Load {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    task: JoinHandle<Result<()>>,
}

impl Load {
    fn start(config: ValkeyConfig) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&rounds));
        let task = tokio::spawn(async move {
            let staying = ValkeyClient::connect(&config).await?;
            while !stopped.load(Ordering::Relaxed) {
                let fresh = ValkeyClient::connect(&config).await?;
                for number in 0..20 {
                    let key = format!("billing:{number}");
                    staying.set(&key, "a".into(), Ttl::secs(60)).await?;
                    fresh.get(&key).await?;
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Self { stop, rounds, task }
    }

    /// Waits until it has done some more.
    async fn goes_on(&self) -> Result<()> {
        let goal = self.rounds.load(Ordering::Relaxed) + 3;
        until(LIMIT, "the load to go on", || async {
            ensure!(!self.task.is_finished(), "the load has ended");
            Ok((self.rounds.load(Ordering::Relaxed) >= goal).then_some(()))
        })
        .await
    }

    /// Ends it; the first error that any of its calls met.
    async fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_changed_in_two_phases_without_an_error_for_anybody() -> Result<()> {
    let cluster = cluster_of(Version::Valkey8).await?;
    let config = cluster_config(&cluster)?;
    let root = ValkeyClient::connect(&config).await?;
    let first = Declared::read(DECLARED)?;
    let nodes = first.apply(&root).await?;
    let user = "app-billing";
    let old = Load::start(logged_in(&config, user, "BILLING"));
    old.goes_on().await?;

    // Both are good.
    let both = DECLARED.replace("'env:BILLING'", "'env:BILLING'\nnext_password = 'env:NEXT'");
    let both = Declared::read(&both)?;
    let account = both.declaration.account("billing").context("no account")?;
    rotation::may_add(account)?;
    let plan = both.plan_of(&nodes, Scope::Only(user)).await;
    assert_eq!(plan.nodes[0].steps[0].change, Change::AddPasswords(1));
    assert!(plan.apply().await?.is_complete());
    assert!(both.plan(&nodes).await.is_empty());
    let new = Load::start(logged_in(&config, user, "NEXT"));
    new.goes_on().await?;
    old.goes_on().await?;

    // The service is given the new one; the declaration says so.
    let last = Declared::read(&DECLARED.replace("'env:BILLING'", "'env:NEXT'"))?;
    let account = last.declaration.account("billing").context("no account")?;
    let plan = last.plan(&nodes).await;
    assert!(
        plan.is_empty() && plan.nodes.iter().all(|node| node.held.len() == 1),
        "{plan:?}"
    );
    ensure!(
        !rotation::lingering(&nodes, user, None).await?.is_empty(),
        "the old load is connected"
    );
    old.end().await?;

    // The old one goes.
    let plan = last.plan_of(&nodes, Scope::Retire(user)).await;
    rotation::may_finish(account, &plan)?;
    assert!(plan.apply().await?.is_complete());
    new.goes_on().await?;
    new.end().await?;
    for node in cluster.nodes() {
        assert_eq!(told(node, user).await?.matches('#').count(), 1);
    }
    let locked_out = ValkeyClient::connect(&logged_in(&config, user, "BILLING")).await;
    let error = locked_out.err().context("the old password is still good")?;
    assert!(matches!(error, CacheError::Unauthorized { .. }), "{error}");
    Ok(())
}

#[tokio::test]
async fn connections_are_told_with_their_age_and_a_new_password_alone_is_no_lock_out() -> Result<()> {
    let cluster = cluster_of(Version::Valkey8).await?;
    let config = cluster_config(&cluster)?;
    let root = ValkeyClient::connect(&config).await?;
    let nodes = Declared::read(DECLARED)?.apply(&root).await?;
    let old = logged_in(&config, "app-billing", "BILLING");
    let staying = ValkeyClient::connect(&old).await?;
    staying.set("billing:1", "a".into(), Ttl::Forever).await?;

    // Somebody changes the declaration without the step between.
    let changed = Declared::read(&DECLARED.replace("'env:BILLING'", "'env:NEXT'"))?;
    changed.apply(&root).await?;
    ValkeyClient::connect(&old).await?.get("billing:1").await?;
    ValkeyClient::connect(&logged_in(&config, "app-billing", "NEXT")).await?;

    let found = rotation::lingering(&nodes, "app-billing", None).await?;
    assert!(found.iter().all(|one| one.session.user == "app-billing") && !found.is_empty());
    let long_ago = Duration::from_secs(3_600);
    assert_eq!(
        rotation::lingering(&nodes, "app-billing", Some(long_ago)).await?,
        []
    );
    Ok(())
}
