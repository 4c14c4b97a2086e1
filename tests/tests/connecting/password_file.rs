//! A password in a file that is replaced while calls go on.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cache_core::CacheClient as _;
use cache_valkey::ValkeyClient;
use tests::{Server, ServerOptions, Version, until};

use crate::files::{Mount, Way};
use crate::load::Load;
use crate::{LIMIT, single, until_replaced};

async fn replaced(way: Way) -> Result<()> {
    let options = ServerOptions::new(Version::Valkey8).user("app on >one ~* &* +@all");
    let server = Server::start(options).await?;
    let mount = Mount::new(way, &[("password", "one\n")])?;
    let mut config = single(&server)?.with_password_file(Some("app".into()), mount.path("password"));
    config.pool_size = 2;
    config.max_connection_age = Some(Duration::from_secs(1));
    let client = Arc::new(ValkeyClient::connect(&config).await?);
    let load = Load::start(&client);
    let user = async |rules: &[&str]| server.call(&[&["ACL", "SETUSER", "app"], rules].concat()).await;

    // The servers first, as operators are told to do it: both are good, then the file, then only the new one.
    user(&[">two"]).await?;
    mount.replace(&[("password", "two\n")])?;
    user(&["<one"]).await?;
    until_replaced(&server, "connections with the second password").await?;
    // The file first: for a while servers know the old one only.
    mount.replace(&[("password", "three\n")])?;
    until_replaced(
        &server,
        "connections although the third password is not known yet",
    )
    .await?;
    user(&["resetpass", ">three"]).await?;
    until_replaced(&server, "connections with the third password").await?;
    // A file that is being written changes nothing.
    mount.replace(&[("password", "")])?;
    until_replaced(&server, "connections although the file is empty").await?;
    user(&[">four"]).await?;
    mount.replace(&[("password", "four")])?;
    user(&["<three"]).await?;
    until_replaced(&server, "connections with the fourth password").await?;
    load.end_without_failure().await?;

    // Every connection lost at once, and the password changed at the same time.
    user(&["resetpass", ">five"]).await?;
    mount.replace(&[("password", "five")])?;
    server.call(&["CLIENT", "KILL", "USER", "app"]).await?;
    until(LIMIT, "the client to log in with the fifth password", || async {
        Ok(client.ping().await.ok())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_swapped_by_a_link_fails_no_call() -> Result<()> {
    replaced(Way::Swap).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_written_into_its_file_fails_no_call() -> Result<()> {
    replaced(Way::Rewrite).await
}
