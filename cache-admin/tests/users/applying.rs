//! In which order a plan is applied, and what is told where it stops.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cache_admin::users::{Change, Plan, Scope, rotation};

use super::declared;
use super::planning::own;
use super::simulated::{nodes, seen};

#[tokio::test]
async fn users_are_removed_after_all_others_are_right_on_every_node_and_then_all_is_saved() -> Result<()> {
    let (declaration, credentials) = declared(&own())?;
    let (fakes, journal) = nodes(2);
    for fake in &fakes {
        fake.users
            .lock()
            .unwrap()
            .insert("app-old".to_owned(), Default::default());
    }
    let plan = Plan::make(&declaration, &credentials, &seen(&fakes), Scope::All).await;
    let applied = plan.apply().await?;
    assert!(applied.is_complete());
    let journal = journal.lock().unwrap();
    assert_eq!(
        journal[14..],
        [
            "node-0 delete app-old",
            "node-1 delete app-old",
            "node-0 save",
            "node-1 save"
        ]
    );
    assert!(journal[..14].iter().all(|entry| entry.contains(" set ")));
    Ok(())
}

#[tokio::test]
async fn it_stops_at_the_first_failure_says_what_was_done_and_a_new_plan_goes_on() -> Result<()> {
    let (declaration, credentials) = declared(&own())?;
    let (fakes, journal) = nodes(2);
    fakes[1]
        .users
        .lock()
        .unwrap()
        .insert("app-old".to_owned(), Default::default());
    *fakes[1].refuses.lock().unwrap() = Some("app-board".to_owned());
    let all = seen(&fakes);
    let plan = Plan::make(&declaration, &credentials, &all, Scope::All).await;
    let applied = plan.apply().await?;
    assert!(!applied.is_complete());
    assert_eq!((applied.done.len(), applied.not_done.len()), (9, 6));
    let failed = &applied.not_done[0];
    assert_eq!(
        (failed.address.as_str(), failed.step.user.as_str()),
        ("node-1", "app-board")
    );
    assert!(failed.error.is_some() && applied.not_done[1..].iter().all(|step| step.error.is_none()));
    assert_eq!(applied.not_done[5].step.change, Change::Delete);
    assert!(fakes[1].users.lock().unwrap().contains_key("app-old"));
    assert!(
        journal.lock().unwrap().contains(&"node-0 save".to_owned()),
        "what was done is kept"
    );

    *fakes[1].refuses.lock().unwrap() = None;
    let plan = Plan::make(&declaration, &credentials, &all, Scope::All).await;
    assert_eq!(plan.step_count(), 6, "only what was left");
    assert!(plan.apply().await?.is_complete());
    assert!(
        Plan::make(&declaration, &credentials, &all, Scope::All)
            .await
            .is_empty()
    );
    Ok(())
}

#[tokio::test]
async fn a_user_that_was_changed_since_the_plan_was_made_stays_as_it_is() -> Result<()> {
    let (declaration, credentials) = declared(&own())?;
    let (fakes, journal) = nodes(2);
    let all = seen(&fakes);
    Plan::make(&declaration, &credentials, &all, Scope::All)
        .await
        .apply()
        .await?;
    // Something is to be done.
    let name = "app-board".to_owned();
    for fake in &fakes {
        let mut users = fake.users.lock().unwrap();
        users
            .get_mut(&name)
            .unwrap()
            .permissions
            .insert("+ping".to_owned());
        users
            .get_mut(&name)
            .unwrap()
            .permissions
            .insert("+echo".to_owned());
    }
    let plan = Plan::make(&declaration, &credentials, &all, Scope::All).await;
    assert_eq!(plan.step_count(), 2);
    // While somebody thinks, a colleague adds a password on one node.
    let hash = cache_valkey::admin::PasswordHash::of(&"another".into());
    fakes[1]
        .users
        .lock()
        .unwrap()
        .get_mut(&name)
        .unwrap()
        .passwords
        .insert(hash.clone());
    let before = journal.lock().unwrap().len();
    let error = plan.apply().await.unwrap_err().to_string();
    assert!(error.contains("app-board") && error.contains("node-1"), "{error}");
    assert_eq!(journal.lock().unwrap().len(), before, "nothing was done");
    assert!(fakes[1].users.lock().unwrap()[&name].passwords.contains(&hash));
    let plan = Plan::make(&declaration, &credentials, &all, Scope::All).await;
    assert!(plan.apply().await?.is_complete());
    assert!(fakes[1].users.lock().unwrap()[&name].passwords.contains(&hash));
    Ok(())
}

#[tokio::test]
async fn a_node_that_is_away_is_told_and_the_others_are_served() -> Result<()> {
    let (declaration, credentials) = declared(&own())?;
    let (fakes, _) = nodes(3);
    *fakes[2].away.lock().unwrap() = true;
    let all = seen(&fakes);
    let plan = Plan::make(&declaration, &credentials, &all, Scope::All).await;
    assert!(!plan.is_empty());
    let applied = plan.apply().await?;
    assert!(!applied.is_complete());
    assert_eq!((applied.done.len(), applied.unreached.len()), (14, 1));
    assert_eq!(applied.unreached[0].0, "node-2");
    Ok(())
}

#[tokio::test]
async fn we_never_take_away_what_we_work_with() -> Result<()> {
    let (declaration, credentials) = declared(&own())?;
    for (ourselves, words) in [
        ("app-old", "is not declared"),
        ("app-board", "would lose the right to manage users"),
    ] {
        let (mut fakes, journal) = nodes(1);
        Arc::get_mut(&mut fakes[0]).expect("nobody else has it").ourselves = ourselves;
        fakes[0]
            .users
            .lock()
            .unwrap()
            .insert(ourselves.to_owned(), Default::default());
        let plan = Plan::make(&declaration, &credentials, &seen(&fakes), Scope::All).await;
        assert!(plan.blocked[0].contains(words), "{:?}", plan.blocked);
        assert!(plan.apply().await.is_err());
        assert!(journal.lock().unwrap().is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn connections_older_than_the_new_password_are_found_oldest_first() -> Result<()> {
    let (fakes, _) = nodes(2);
    let session = |user: &str, age: u64| {
        let mut session = cache_valkey::admin::AclSession::default();
        session.user = user.to_owned();
        session.age = Duration::from_secs(age);
        session
    };
    *fakes[0].sessions.lock().unwrap() = vec![session("app-a", 10), session("app-b", 999)];
    *fakes[1].sessions.lock().unwrap() = vec![session("app-a", 60), session("app-a", 5)];
    let ages = async |added: Option<u64>| -> Result<Vec<u64>> {
        let added = added.map(Duration::from_secs);
        let found = rotation::lingering(&seen(&fakes), "app-a", added).await?;
        Ok(found.iter().map(|one| one.session.age.as_secs()).collect())
    };
    assert_eq!(ages(None).await?, [60, 10, 5]);
    assert_eq!(ages(Some(10)).await?, [60, 10]);
    assert_eq!(ages(Some(61)).await?, [] as [u64; 0]);
    Ok(())
}
