//! `cachectl` is killed at each of its requests, and the next run ends where an undisturbed one does.

use anyhow::{Result, ensure};

use super::{DECLARED, Site, gateway::Fate};

/// Something of each kind is to be done.
async fn begin(site: &Site) -> Result<()> {
    let gateway = &site.gateway;
    gateway.reset().await?;
    let default = [
        ("UserId", "app-cache-default"),
        ("UserName", "default"),
        ("Engine", "redis"),
        ("AccessString", "off ~* -@all"),
    ];
    gateway.call("CreateUser", &default).await?;
    let old = [
        ("UserId", "app-old"),
        ("UserName", "app-old"),
        ("Engine", "redis"),
        ("Passwords.member.1", "aaaaaaaaaaaaaaaa"),
    ];
    gateway.call("CreateUser", &old).await?;
    let billing = [
        ("UserId", "app-billing"),
        ("UserName", "app-billing"),
        ("Engine", "redis"),
        ("AccessString", "on ~* +@all"),
        ("Passwords.member.1", "aaaaaaaaaaaaaaaa"),
    ];
    gateway.call("CreateUser", &billing).await?;
    let group = [
        ("UserGroupId", "app-cache"),
        ("Engine", "redis"),
        ("UserIds.member.1", "app-cache-default"),
        ("UserIds.member.2", "app-old"),
        ("UserIds.member.3", "app-billing"),
    ];
    gateway.call("CreateUserGroup", &group).await?;
    Ok(())
}

#[tokio::test]
async fn run_that_is_killed_at_any_request_is_finished_by_the_next() -> Result<()> {
    let test = "run_that_is_killed_at_any_request_is_finished_by_the_next";
    let Some(site) = Site::start_or_skip(test).await? else {
        return Ok(());
    };
    site.declare(DECLARED)?;
    begin(&site).await?;
    let changes = site.apply().await?;
    assert_eq!(
        changes,
        [
            "ModifyUser app-billing",
            "CreateUser app-billing-reader",
            "CreateUser app-search",
            "ModifyUserGroup app-cache",
            "ModifyUserGroup app-cache",
            "DeleteUser app-old",
        ]
    );
    let requests = site.gateway.requests();
    let whole = site.shape().await?;
    for (index, asked) in requests.iter().enumerate() {
        let mut fates = vec![Fate::HoldBefore];
        // To be killed after a look is to be killed before what comes next.
        if !asked.action.starts_with("Describe") {
            fates.push(Fate::HoldAfter);
        }
        for fate in fates {
            begin(&site).await?;
            let held = fate.clone();
            site.gateway.expect(move |asked| {
                if asked.number == index + 1 {
                    held.clone()
                } else {
                    Fate::Pass
                }
            });
            let mut child = site.spawn(&["apply", "--yes"]).await?;
            tokio::select! {
                () = site.gateway.held() => {}
                status = child.wait() => anyhow::bail!("ended before request {index}: {status:?}"),
            }
            child.kill().await?;
            let left = site.apply().await?;
            ensure!(left.len() <= changes.len(), "{index} {fate:?}: {left:?}");
            assert_eq!(site.shape().await?, whole, "{index} {asked:?} {fate:?}: {left:?}");
            assert_eq!(site.apply().await?, Vec::<String>::new(), "{index} {fate:?}");
        }
    }
    Ok(())
}
