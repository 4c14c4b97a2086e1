//! What the emulator does not show: changes that take their time, throttling, quotas, refusals, another operator.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;

use super::{CHANGES, DECLARED, Site, gateway::Fate};

#[tokio::test]
async fn group_and_users_that_are_modifying_are_waited_for() -> Result<()> {
    let Some(site) = Site::start_or_skip("group_and_users_that_are_modifying_are_waited_for").await? else {
        return Ok(());
    };
    // After each change, everything is modifying for two looks.
    let looks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&looks);
    site.gateway.expect(move |asked| match asked.action.as_str() {
        "DescribeUserGroups" if looks.load(Ordering::Relaxed) > 0 => Fate::Show("modifying"),
        "DescribeUsers" if looks.load(Ordering::Relaxed) > 0 => {
            looks.fetch_sub(1, Ordering::Relaxed);
            Fate::Show("modifying")
        }
        "DescribeUsers" | "DescribeUserGroups" => Fate::Pass,
        _ if looks.load(Ordering::Relaxed) > 0 && asked.action == "CreateUserGroup" => {
            Fate::Refuse("InvalidUserState")
        }
        _ => {
            looks.store(2, Ordering::Relaxed);
            Fate::Pass
        }
    });
    let ran = site.run(&["apply", "--yes"]).await?;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(site.gateway.changes(), CHANGES);
    assert_eq!(
        counted.load(Ordering::Relaxed),
        0,
        "it waited for the last change, too"
    );
    assert!(
        ran.err.contains("wait until active: app-cache-default"),
        "{}",
        ran.err
    );

    site.gateway.expect(|asked| {
        if asked.action == "DescribeUserGroups" {
            Fate::Show("modifying")
        } else {
            Fate::Pass
        }
    });
    let late = site.run(&["apply", "--yes", "--wait", "1s"]).await?;
    assert_eq!(late.code, 3, "{late:?}");
    assert!(
        late.err
            .contains("not done after 1s (wait until active: the group)")
            && late.err.contains("run the same again"),
        "{}",
        late.err
    );
    Ok(())
}

#[tokio::test]
async fn throttling_and_busy_users_are_tried_again() -> Result<()> {
    let Some(site) = Site::start_or_skip("throttling_and_busy_users_are_tried_again").await? else {
        return Ok(());
    };
    for code in ["Throttling", "InvalidUserState"] {
        site.gateway.reset().await?;
        let left = AtomicUsize::new(4);
        site.gateway.expect(move |asked| {
            let strikes = asked.action == "CreateUser" && asked.id == "app-billing";
            let takes = |left: usize| left.checked_sub(1);
            if strikes
                && left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, takes)
                    .is_ok()
            {
                Fate::Refuse(code)
            } else {
                Fate::Pass
            }
        });
        let ran = site.run(&["apply", "--yes"]).await?;
        assert_eq!(ran.code, 0, "{code}: {ran:?}");
        let changes = site.gateway.changes();
        assert_eq!(changes.len(), CHANGES.len() + 4, "{code}: {changes:?}");
    }
    Ok(())
}

#[tokio::test]
async fn quota_and_refused_parameters_end_the_run_and_say_why() -> Result<()> {
    let Some(site) = Site::start_or_skip("quota_and_refused_parameters_end_the_run_and_say_why").await?
    else {
        return Ok(());
    };
    for (action, code, done) in [
        ("CreateUserGroup", "UserGroupQuotaExceeded", 4),
        ("CreateUser", "UserQuotaExceeded", 0),
        ("CreateUser", "InvalidParameterValue", 0),
        ("CreateUserGroup", "DefaultUserRequired", 4),
    ] {
        site.gateway.reset().await?;
        site.gateway.expect(move |asked| {
            if asked.action == action {
                Fate::Refuse(code)
            } else {
                Fate::Pass
            }
        });
        let ran = site.run(&["apply", "--yes", "--json"]).await?;
        assert_eq!(ran.code, 3, "{code}: {ran:?}");
        let report = ran.json()?;
        let error = report["error"].as_str().unwrap_or_default();
        assert!(
            error.contains(code) && error.contains("says the gateway"),
            "{error}"
        );
        assert_eq!(report["done"].as_array().map(Vec::len), Some(done), "{report}");
        assert_eq!(
            report["not_done"].as_array().map(Vec::len),
            Some(CHANGES.len() - done),
            "{report}"
        );
        // What is left is done by the next run.
        assert_eq!(site.apply().await?, CHANGES[done..]);
    }
    site.gateway.reset().await?;
    site.gateway.expect(|asked| {
        if asked.action == "CreateUser" {
            Fate::Refuse("AccessDenied")
        } else {
            Fate::Pass
        }
    });
    let denied = site.run(&["apply", "--yes"]).await?;
    assert_eq!(denied.code, 5, "{denied:?}");
    assert!(
        denied
            .err
            .contains("allow elasticache:CreateUser on user:app-cache-default"),
        "{}",
        denied.err
    );
    Ok(())
}

#[tokio::test]
async fn user_that_a_group_still_holds_is_waited_for_before_it_is_deleted() -> Result<()> {
    let test = "user_that_a_group_still_holds_is_waited_for_before_it_is_deleted";
    let Some(site) = Site::start_or_skip(test).await? else {
        return Ok(());
    };
    site.apply().await?;
    site.declare(&DECLARED.replace("[services.billing.users.reader]\npassword = 'env:READER'\n", ""))?;
    // ElastiCache takes its time to let go of it.
    let left = AtomicUsize::new(3);
    site.gateway.expect(move |asked| {
        let takes = |left: usize| left.checked_sub(1);
        if asked.action == "DeleteUser"
            && left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, takes)
                .is_ok()
        {
            Fate::Refuse("InvalidUserState")
        } else {
            Fate::Pass
        }
    });
    let ran = site.run(&["apply", "--yes"]).await?;
    assert_eq!(ran.code, 0, "{ran:?}");
    let mut expected = vec!["ModifyUserGroup app-cache"];
    expected.extend(["DeleteUser app-billing-reader"; 4]);
    assert_eq!(site.gateway.changes(), expected);
    Ok(())
}

#[tokio::test]
async fn change_by_someone_else_in_between_ends_the_run() -> Result<()> {
    let Some(site) = Site::start_or_skip("change_by_someone_else_in_between_ends_the_run").await? else {
        return Ok(());
    };
    site.apply().await?;
    site.declare(&DECLARED.replace("['billing:']", "['billing:', 'invoices:']"))?;
    site.gateway.expect(|asked| {
        if asked.action == "ModifyUser" && asked.id == "app-billing" {
            Fate::HoldBefore
        } else {
            Fate::Pass
        }
    });
    let child = site.spawn(&["apply", "--yes"]).await?;
    site.gateway.held().await;
    // The first user is held; the second one is changed by someone else, and the SDK sends the first again.
    let change = [("UserId", "app-billing-reader"), ("AccessString", "on ~* +@all")];
    site.gateway.call("ModifyUser", &change).await?;
    site.gateway.expect(|_| Fate::Pass);
    let output = child.wait_with_output().await?;
    let err = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(3), "{err}");
    assert!(
        err.contains("someone changed the users at the same time"),
        "{err}"
    );
    let (users, _) = site.shape().await?;
    assert!(
        users.contains("<AccessString>on ~* +@all</AccessString>"),
        "nobody agreed to that: {users}"
    );
    assert_eq!(site.apply().await?, ["ModifyUser app-billing-reader"]);
    Ok(())
}

#[tokio::test]
async fn wrong_declaration_and_wrong_group_are_6_and_nothing_is_asked() -> Result<()> {
    let test = "wrong_declaration_and_wrong_group_are_6_and_nothing_is_asked";
    let Some(site) = Site::start_or_skip(test).await? else {
        return Ok(());
    };
    site.gateway.expect(|_| Fate::Pass);
    let wrong = site.run(&["plan", "--user-group", "App_Cache"]).await?;
    assert_eq!((wrong.code, site.gateway.requests().len()), (6, 0), "{wrong:?}");
    assert!(
        wrong.err.contains("--user-group: must be an id of at most 40"),
        "{}",
        wrong.err
    );
    let other = site
        .run(&["plan", "--user-group", "other-cache", "--json"])
        .await?;
    assert_eq!(other.json()?["group"], "other-cache", "{other:?}");
    assert_eq!(other.json()?["steps"][0]["users"][0], "other-cache-default");
    Ok(())
}
