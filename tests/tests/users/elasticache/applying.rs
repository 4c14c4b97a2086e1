//! Users are created, changed, added, removed and deleted, in that order, and a second run does nothing.

use anyhow::Result;

use super::{CHANGES, DECLARED, Site};

#[tokio::test]
async fn plan_is_1_until_apply_was_agreed_to_and_then_0() -> Result<()> {
    let Some(site) = Site::start_or_skip("plan_is_1_until_apply_was_agreed_to_and_then_0").await? else {
        return Ok(());
    };
    let plan = site.run(&["plan"]).await?;
    assert_eq!(plan.code, 1, "{plan:?}");
    assert!(
        plan.out
            .contains("1  create user app-cache-default: no password, off ~* -@all\n")
            && plan.out.contains(
                "2  create user app-billing: 1 password, on ~billing:* resetchannels -@all +asking"
            )
            && plan.out.contains("4  create user app-search: IAM, on ~search:*")
            && plan.out.contains(
                "6  create the group with app-cache-default, app-billing, app-billing-reader, app-search"
            )
            && plan.out.ends_with("\n5 changes to the user group app-cache\n"),
        "{}",
        plan.out
    );
    assert!(plan.err.contains("app-keeper is left out"), "{}", plan.err);
    let refused = site.run(&["apply"]).await?;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert_eq!(
        site.gateway.changes(),
        Vec::<String>::new(),
        "a plan changes nothing"
    );
    assert_eq!(site.audited(), "", "nothing was changed");

    assert_eq!(site.apply().await?, CHANGES);
    let audited = site.audited();
    let lines: Vec<serde_json::Value> = audited
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    assert_eq!(lines.len(), 1 + CHANGES.len(), "{audited}");
    assert_eq!(lines[0]["result"], "begun", "{audited}");
    assert_eq!(
        lines[0]["on"]["changes"].as_array().map(Vec::len),
        Some(CHANGES.len())
    );
    for line in &lines {
        assert_eq!(
            (&line["action"], &line["on"]["user_group"]),
            (&"acl.change".into(), &"app-cache".into())
        );
    }
    assert!(lines[1..].iter().all(|line| line["result"] == "ok"), "{audited}");
    let plan = site.run(&["plan"]).await?;
    assert_eq!(
        (plan.code, plan.out.as_str()),
        (
            0,
            "nothing to do: the users are as declared in the user group app-cache\n"
        ),
        "{plan:?}"
    );
    assert_eq!(
        site.apply().await?,
        Vec::<String>::new(),
        "a second run does nothing"
    );
    let verified = site.run(&["verify"]).await?;
    assert_eq!(
        (verified.code, verified.out.as_str()),
        (
            0,
            "16 comparisons, 0 not as declared; passwords are compared by number only\n"
        ),
        "{verified:?}"
    );
    Ok(())
}

#[tokio::test]
async fn drift_is_corrected_and_undeclared_users_go() -> Result<()> {
    let Some(site) = Site::start_or_skip("drift_is_corrected_and_undeclared_users_go").await? else {
        return Ok(());
    };
    site.apply().await?;
    // Someone opens a user, and adds others to the group.
    let gateway = &site.gateway;
    gateway
        .call(
            "ModifyUser",
            &[("UserId", "app-billing"), ("AccessString", "on ~* +@all")],
        )
        .await?;
    for id in ["app-old", "stranger"] {
        let user = [
            ("UserId", id),
            ("UserName", id),
            ("Engine", "redis"),
            ("Passwords.member.1", "aaaaaaaaaaaaaaaa"),
        ];
        gateway.call("CreateUser", &user).await?;
        gateway
            .call(
                "ModifyUserGroup",
                &[("UserGroupId", "app-cache"), ("UserIdsToAdd.member.1", id)],
            )
            .await?;
    }
    let verified = site.run(&["verify", "--json"]).await?;
    assert_eq!(
        (verified.code, &verified.json()?["failed"][0]["what"]),
        (1, &"access".into()),
        "{verified:?}"
    );
    // And one user is not declared any more.
    let without_reader = DECLARED.replace("[services.billing.users.reader]\npassword = 'env:READER'\n", "");
    site.declare(&without_reader)?;
    let plan = site.run(&["plan", "--json"]).await?.json()?;
    let steps: Vec<&str> = plan["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|step| step["step"].as_str())
        .collect();
    assert_eq!(
        steps,
        [
            "modify_user",
            "wait",
            "remove_from_group",
            "wait",
            "delete_user",
            "delete_user"
        ],
        "{plan}"
    );
    assert_eq!(plan["foreign"], serde_json::json!(["stranger"]));
    assert_eq!(
        site.apply().await?,
        [
            "ModifyUser app-billing",
            "ModifyUserGroup app-cache",
            "DeleteUser app-billing-reader",
            "DeleteUser app-old",
        ]
    );
    let (users, groups) = site.shape().await?;
    assert!(
        !users.contains("app-old") && !users.contains("app-billing-reader"),
        "{users}"
    );
    assert!(
        users.contains("stranger") && groups.contains("<member>stranger</member>"),
        "{groups}"
    );
    assert_eq!(site.apply().await?, Vec::<String>::new());
    Ok(())
}

/// Without the gateway's corrections, which users by password do not need.
#[tokio::test]
async fn second_run_does_nothing_on_the_emulator_as_it_is() -> Result<()> {
    let test = "second_run_does_nothing_on_the_emulator_as_it_is";
    let Some(site) = Site::start_or_skip(test).await? else {
        return Ok(());
    };
    site.gateway.corrects_nothing();
    site.declare(&DECLARED.replace("iam = true", "password = 'env:OTHER'"))?;
    assert_eq!(site.apply().await?, CHANGES);
    assert_eq!(site.apply().await?, Vec::<String>::new());
    Ok(())
}
