//! A cache whose user may not do what the client asks.

use anyhow::Result;
use cache_core::config::Authentication;
use cache_core::{CacheConfig, CacheError, Ttl};
use tests::{Log, Server, ServerOptions, Version};

use crate::single;

#[tokio::test]
async fn a_cache_that_refuses_is_seen_at_start_in_the_log_and_by_health_checks() -> Result<()> {
    let options = ServerOptions::new(Version::Valkey8).user("narrow on >pw ~* &* +@connection +set");
    let server = Server::start(options).await?;
    let valkey = single(&server)?.with_authentication(Authentication::Password {
        username: Some("narrow".to_owned()),
        password: "pw".into(),
    });
    let config = CacheConfig::builder().valkey(valkey).build()?;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // The runtime has one thread, this one.
    let _logged = tracing::subscriber::set_default(subscriber);

    let cache = cache_stack::connect(&config).await?;
    let told = |text: &str| log.text().matches(text).count();
    const REFUSED: &str = "the servers refuse calls of this client";
    assert_eq!(told(REFUSED), 1, "{}", log.text());
    let ping = cache.ping().await;
    assert!(matches!(ping, Err(CacheError::Denied { .. })), "{ping:?}");
    for _ in 0..20 {
        let got = cache.get("key").await;
        assert!(matches!(got, Err(CacheError::Denied { .. })), "{got:?}");
        cache.set("key", "value".into(), Ttl::secs(60)).await?;
    }
    assert_eq!(told(REFUSED), 1, "{}", log.text());

    server.call(&["ACL", "SETUSER", "narrow", "+get"]).await?;
    assert_eq!(cache.get("key").await?, "value");
    cache.ping().await?;
    assert_eq!(
        told("the servers accept the calls of this client again"),
        1,
        "{}",
        log.text()
    );
    Ok(())
}
