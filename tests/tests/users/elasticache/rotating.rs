//! A password is changed: first both are accepted, then the new one alone.

use anyhow::{Context as _, Result};

use super::{DECLARED, Site, gateway::Fate};

async fn login(site: &Site, id: &str) -> Result<String> {
    let answer = site.gateway.call("DescribeUsers", &[("UserId", id)]).await?;
    let login = answer
        .split("<Authentication>")
        .nth(1)
        .and_then(|rest| rest.split("</Authentication>").next());
    Ok(login.context("no login")?.to_owned())
}

#[tokio::test]
async fn rotation_is_led_through_its_steps() -> Result<()> {
    let Some(site) = Site::start_or_skip("rotation_is_led_through_its_steps").await? else {
        return Ok(());
    };
    let add = ["rotate", "billing", "--phase", "add", "--yes"];
    let finish = ["rotate", "billing", "--phase", "finish", "--yes"];
    let one = "<Type>password</Type><PasswordCount>1</PasswordCount>";
    let two = "<Type>password</Type><PasswordCount>2</PasswordCount>";
    site.declare(&DECLARED.replace("'env:BILLING'", "'env:BILLING'\nnext_password = 'env:NEXT'"))?;
    let early = site.run(&add).await?;
    assert_eq!(early.code, 5, "{early:?}");
    assert!(
        early
            .err
            .contains("`cachectl users apply --elasticache` comes first"),
        "{}",
        early.err
    );
    site.declare(DECLARED)?;
    site.apply().await?;
    let early = site.run(&add).await?;
    assert_eq!(early.code, 6, "{early:?}");
    assert!(
        early
            .err
            .contains("services.billing.users.service.next_password: must be declared"),
        "{}",
        early.err
    );

    site.declare(&DECLARED.replace("'env:BILLING'", "'env:BILLING'\nnext_password = 'env:NEXT'"))?;
    site.gateway.expect(|_| Fate::Pass);
    let added = site.run(&[&add[..], &["-vvv"]].concat()).await?;
    assert_eq!(added.code, 0, "{added:?}");
    assert!(
        added
            .out
            .contains("modify user app-billing: accept a second password"),
        "{}",
        added.out
    );
    assert_eq!(site.gateway.changes(), ["ModifyUser app-billing"]);
    assert_eq!(login(&site, "app-billing").await?, two);
    let again = site.run(&add).await?;
    assert_eq!(again.code, 0, "{again:?}");
    assert!(
        again
            .err
            .contains("accepts two passwords already, and ElastiCache does not show which"),
        "{}",
        again.err
    );
    assert_eq!(site.run(&finish).await?.code, 6, "two are still declared");
    assert_eq!(site.apply().await?, Vec::<String>::new());

    site.declare(&DECLARED.replace("'env:BILLING'", "'env:NEXT'"))?;
    assert_eq!(site.apply().await?, Vec::<String>::new(), "apply takes none away");
    let plan = site.run(&["plan"]).await?;
    assert!(
        plan.err
            .contains("app-billing still logs in by a password that the declaration does not name"),
        "{}",
        plan.err
    );
    let refused = site.run(&finish[..4]).await?;
    assert_eq!(refused.code, 5, "nobody agreed: {refused:?}");
    assert_eq!(login(&site, "app-billing").await?, two);
    let finished = site.run(&finish).await?;
    assert_eq!(finished.code, 0, "{finished:?}");
    assert_eq!(login(&site, "app-billing").await?, one);
    site.gateway.expect(|_| Fate::Pass);
    let again = site.run(&finish).await?;
    assert_eq!((again.code, site.gateway.changes()), (0, Vec::new()), "{again:?}");
    Ok(())
}

#[tokio::test]
async fn user_moves_from_a_password_to_iam_by_the_end_of_a_rotation_alone() -> Result<()> {
    let test = "user_moves_from_a_password_to_iam_by_the_end_of_a_rotation_alone";
    let Some(site) = Site::start_or_skip(test).await? else {
        return Ok(());
    };
    site.apply().await?;
    site.declare(&DECLARED.replace("password = 'env:BILLING'", "iam = true"))?;
    assert_eq!(site.apply().await?, Vec::<String>::new());
    let finished = site
        .run(&["rotate", "billing", "--phase", "finish", "--yes"])
        .await?;
    assert_eq!(finished.code, 0, "{finished:?}");
    assert!(
        finished.out.contains("log in by IAM instead of 1 password"),
        "{}",
        finished.out
    );
    assert_eq!(
        login(&site, "app-billing").await?,
        "<Type>iam</Type><PasswordCount>0</PasswordCount>"
    );
    assert_eq!(site.apply().await?, Vec::<String>::new());
    Ok(())
}
