//! What a plan says: nothing where nothing is to do, which rules differ, which node was missed.

use anyhow::Result;
use cache_admin::users::{Change, Plan, Scope, rotation};
use cache_valkey::admin::PasswordHash;

use super::simulated::{nodes, seen};
use super::{EXAMPLE, declared};

/// The example for servers of one's own.
pub(crate) fn own() -> String {
    EXAMPLE.replace("iam = true", "password = \"env:SEARCH\"")
}

#[tokio::test]
async fn the_second_plan_is_empty_and_others_are_left_alone() -> Result<()> {
    let (declaration, credentials) = declared(&own())?;
    let (fakes, journal) = nodes(3);
    fakes[1]
        .users
        .lock()
        .unwrap()
        .insert("monitoring".to_owned(), Default::default());
    let nodes = seen(&fakes);
    let plan = Plan::make(&declaration, &credentials, &nodes, Scope::All).await;
    assert_eq!(plan.step_count(), 21);
    assert!(plan.foreign.contains("monitoring") && plan.drift().is_empty());
    assert!(plan.apply().await?.is_complete());
    let plan = Plan::make(&declaration, &credentials, &nodes, Scope::All).await;
    assert!(plan.is_empty(), "{plan:?}");
    assert!(
        !journal
            .lock()
            .unwrap()
            .iter()
            .any(|entry| entry.contains("monitoring"))
    );
    assert!(fakes[1].users.lock().unwrap().contains_key("monitoring"));
    Ok(())
}

#[tokio::test]
async fn a_change_by_hand_on_one_node_is_drift_and_told_by_its_rules() -> Result<()> {
    let (declaration, credentials) = declared(&own())?;
    let (fakes, _) = nodes(3);
    let nodes = seen(&fakes);
    Plan::make(&declaration, &credentials, &nodes, Scope::All)
        .await
        .apply()
        .await?;
    {
        let mut users = fakes[2].users.lock().unwrap();
        let reader = users.get_mut("app-search-reader").expect("it was made");
        reader.permissions.remove("+exists");
        reader.permissions.insert("+set".to_owned());
        users.remove("app-board");
    }
    let plan = Plan::make(&declaration, &credentials, &nodes, Scope::All).await;
    let steps = &plan.nodes[2].steps;
    assert_eq!((plan.step_count(), steps.len()), (2, 2));
    assert_eq!(steps[0].change, Change::Create);
    assert_eq!(
        steps[1].change,
        Change::Update {
            add: ["+exists".to_owned()].into(),
            remove: ["+set".to_owned()].into(),
            passwords: 0
        }
    );
    let drift = plan.drift();
    let told: Vec<_> = drift
        .iter()
        .map(|one| (one.user.as_str(), one.replica, one.missing))
        .collect();
    assert_eq!(
        told,
        [("app-board", true, true), ("app-search-reader", true, false)]
    );
    Ok(())
}

#[tokio::test]
async fn a_user_of_the_prefix_that_is_not_declared_goes() -> Result<()> {
    let (declaration, credentials) = declared(&own())?;
    let (fakes, _) = nodes(1);
    fakes[0]
        .users
        .lock()
        .unwrap()
        .insert("app-old".to_owned(), Default::default());
    let plan = Plan::make(&declaration, &credentials, &seen(&fakes), Scope::All).await;
    let last = plan.nodes[0].steps.last().expect("steps");
    assert_eq!((last.user.as_str(), &last.change), ("app-old", &Change::Delete));
    assert!(plan.blocked.is_empty());

    Ok(())
}

#[tokio::test]
async fn a_node_that_lacks_what_a_role_needs_is_told() -> Result<()> {
    let (declaration, credentials) = declared(&own())?;
    let (mut fakes, _) = nodes(2);
    std::sync::Arc::get_mut(&mut fakes[1])
        .expect("nobody else has it")
        .lacks = vec!["strlen"];
    let plan = Plan::make(&declaration, &credentials, &seen(&fakes), Scope::All).await;
    let error = plan.nodes[1].error.as_ref().expect("an error").to_string();
    assert_eq!(error, "unsupported: the node does not know the commands strlen");
    assert!(!plan.is_empty() && plan.nodes[0].error.is_none());
    Ok(())
}

#[tokio::test]
async fn iam_is_for_the_cloud() -> Result<()> {
    let (declaration, credentials) = declared(EXAMPLE)?;
    let (fakes, journal) = nodes(1);
    let plan = Plan::make(&declaration, &credentials, &seen(&fakes), Scope::All).await;
    assert!(plan.blocked[0].starts_with("services.search.users.service: iam works on ElastiCache only"));
    assert!(plan.apply().await.is_err());
    assert!(journal.lock().unwrap().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_password_is_added_and_the_old_one_stays_until_the_rotation_is_finished() -> Result<()> {
    let old = own().replace("next_password = \"env:BILLING_NEXT\"\n", "");
    let new = old.replace("env:BILLING_PASSWORD", "env:BILLING_NEXT");
    let (fakes, _) = nodes(2);
    let nodes = seen(&fakes);
    let (first, credentials) = declared(&old)?;
    Plan::make(&first, &credentials, &nodes, Scope::All)
        .await
        .apply()
        .await?;
    let accepted = |index: usize| -> Vec<PasswordHash> {
        let users = fakes[index].users.lock().unwrap();
        users["app-billing"].passwords.iter().cloned().collect()
    };

    // Somebody changes the password without the step between.
    let (second, credentials) = declared(&new)?;
    let plan = Plan::make(&second, &credentials, &nodes, Scope::All).await;
    assert_eq!(plan.nodes[0].steps[0].change, Change::AddPasswords(1));
    plan.apply().await?;
    assert_eq!(accepted(1).len(), 2, "the old one is still accepted");
    let plan = Plan::make(&second, &credentials, &nodes, Scope::All).await;
    assert!(plan.is_empty());
    assert_eq!(
        (
            plan.nodes[1].held[0].user.as_str(),
            plan.nodes[1].held[0].passwords
        ),
        ("app-billing", 1)
    );

    let account = second.account("billing").expect("it is declared");
    let plan = Plan::make(&second, &credentials, &nodes, Scope::Retire(&account.name)).await;
    rotation::may_finish(account, &plan)?;
    assert_eq!(plan.nodes[0].steps[0].change, Change::RetirePasswords(1));
    plan.apply().await?;
    assert_eq!(accepted(0), [credentials.of("app-billing")[0].hash.clone()]);
    Ok(())
}

#[tokio::test]
async fn a_rotation_is_not_finished_before_the_new_password_is_accepted_everywhere() -> Result<()> {
    let old = own().replace("next_password = \"env:BILLING_NEXT\"\n", "");
    let new = old.replace("env:BILLING_PASSWORD", "env:BILLING_NEXT");
    let (fakes, _) = nodes(2);
    let nodes = seen(&fakes);
    let (first, credentials) = declared(&old)?;
    Plan::make(&first, &credentials, &nodes, Scope::All)
        .await
        .apply()
        .await?;

    let (second, credentials) = declared(&new)?;
    let account = second.account("app-billing").expect("it is declared");
    Plan::make(&second, &credentials, &nodes[..1], Scope::Only(&account.name))
        .await
        .apply()
        .await?;
    let plan = Plan::make(&second, &credentials, &nodes, Scope::Retire(&account.name)).await;
    let error = rotation::may_finish(account, &plan)
        .expect_err("one node does not know it")
        .to_string();
    assert!(
        error.contains("must be as declared on every node before old passwords go"),
        "{error}"
    );

    let (both, credentials) = declared(&own())?;
    let account = both.account("app-billing").expect("it is declared");
    let plan = Plan::make(&both, &credentials, &nodes, Scope::Retire(&account.name)).await;
    let error = rotation::may_finish(account, &plan)
        .expect_err("two are declared")
        .to_string();
    assert!(error.contains("no next_password"), "{error}");
    assert!(rotation::may_add(account).is_ok());
    assert!(rotation::may_add(second.account("app-billing").expect("it is declared")).is_err());

    *fakes[1].away.lock().unwrap() = true;
    let account = second.account("app-billing").expect("it is declared");
    let plan = Plan::make(&second, &credentials, &nodes, Scope::Retire(&account.name)).await;
    assert!(rotation::may_finish(account, &plan).is_err(), "a node is away");
    Ok(())
}
