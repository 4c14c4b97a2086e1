//! A password that changes while a client runs: the source of credentials fetches it again when a server
//! refuses the old one, and the client recovers without a restart.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use cache_core::credentials::{Credentials, CredentialsSource, Refusal};
use cache_core::{CacheClient, CacheError, Secret, Ttl, Unavailability, clock};
use cache_valkey::ValkeyClient;
use tests::{SentinelOptions, SentinelSet, Server, ServerOptions, Version, until};

use crate::connection_age::connections;
use crate::load::{Load, Loss};
use crate::setup::{LIMIT, address, login, single, watched};

const USER: &str = "service";

/// A secret store, and what this process keeps of it until a server refuses that.
#[derive(Debug)]
struct Rotating {
    stored: Mutex<Secret>,
    kept: Mutex<Option<Secret>>,
    fetched: AtomicUsize,
    refused: AtomicUsize,
    valid_for: Option<Duration>,
    /// How often it has nothing to issue after the first time.
    fails: AtomicUsize,
}

impl Rotating {
    fn new(password: &str) -> Self {
        Self {
            stored: Mutex::new(password.into()),
            kept: Mutex::default(),
            fetched: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            valid_for: None,
            fails: AtomicUsize::new(0),
        }
    }

    fn store(&self, password: &str) {
        *self.stored.lock().unwrap_or_else(PoisonError::into_inner) = password.into();
    }
}

#[async_trait]
impl CredentialsSource for Rotating {
    async fn credentials(&self) -> Result<Option<Credentials>, CacheError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_some() && self.fails.load(Ordering::SeqCst) > 0 {
            self.fails.fetch_sub(1, Ordering::SeqCst);
            return Err(CacheError::Unauthorized {
                detail: "no token at the moment".into(),
                source: None,
            });
        }
        let password = kept.get_or_insert_with(|| {
            self.fetched.fetch_add(1, Ordering::SeqCst);
            self.stored.lock().unwrap_or_else(PoisonError::into_inner).clone()
        });
        let user = Some(USER.to_owned());
        Ok(Some(match self.valid_for {
            Some(time) => Credentials::expiring(user, password.clone(), time),
            None => Credentials::fixed(user, password.clone()),
        }))
    }

    fn refused(&self, credentials: &Credentials) -> Refusal {
        self.refused.fetch_add(1, Ordering::SeqCst);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref() == Some(&credentials.password) {
            *kept = None;
        }
        Refusal::ask_again().with_check("check the secret app/cache")
    }
}

async fn server() -> Result<Server> {
    Server::start(
        ServerOptions::new(Version::Valkey8)
            .user(&format!("{USER} on >first ~* &* +@all"))
            .user("default off"),
    )
    .await
}

/// Changes the password; those who used the old one are thrown out.
async fn rotate(server: &Server, password: &str) -> Result<i64> {
    let mut steering = server.connect().await?;
    let new = format!(">{password}");
    steering
        .call(&["ACL", "SETUSER", USER, "resetpass", &new])
        .await?;
    let killed = steering.call(&["CLIENT", "KILL", "USER", USER]).await?;
    Ok(killed.integer().unwrap_or(0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_password_is_fetched_again_and_no_caller_sees_the_refusal() -> Result<()> {
    let server = server().await?;
    let source = Arc::new(Rotating::new("first"));
    let client = ValkeyClient::builder(&single(&server.address())?)
        .credentials(Arc::clone(&source) as _)
        .connect()
        .await?;
    let client: Arc<dyn CacheClient> = Arc::new(client);
    let load = Load::start(&client, &["one".to_owned(), "two".to_owned()], Loss::Nothing)?;
    for round in 1..=3 {
        load.until_succeeded(100).await?;
        let password = format!("password-{round}");
        source.store(&password);
        // All connections at once, as a server does that a password is taken from.
        assert!(rotate(&server, &password).await? > 0);
        load.until_succeeded(100).await?;
    }
    let mut report = load.stop().await?;
    println!("{}", report.summary());
    // Calls that were on their way when the connection was killed; none that met the refusal.
    let lost = |error: &CacheError| {
        matches!(
            error,
            CacheError::Unavailable {
                reason: Unavailability::Lost,
                ..
            }
        )
    };
    let other: Vec<_> = report
        .failures()
        .filter(|failure| !lost(&failure.error))
        .collect();
    assert!(other.is_empty(), "{other:?}");
    report.settle(&*client).await;
    assert_eq!(
        source.fetched.load(Ordering::SeqCst),
        4,
        "once at first, then once per rotation"
    );
    assert_eq!(source.refused.load(Ordering::SeqCst), 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_recovers_when_the_store_has_the_new_password_later() -> Result<()> {
    let server = server().await?;
    let source = Arc::new(Rotating::new("first"));
    let client = ValkeyClient::builder(&single(&server.address())?)
        .credentials(Arc::clone(&source) as _)
        .connect()
        .await?;
    client.set("key", "value".into(), Ttl::Forever).await?;
    rotate(&server, "second").await?;
    let started = clock::now();
    let error = until(LIMIT, "the refusal", || async {
        match client.get("key").await {
            Err(error @ CacheError::Unauthorized { .. }) => Ok(Some(error)),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(None),
        }
    })
    .await?;
    let text = error.to_string();
    assert!(text.contains(&server.address()), "{text}");
    assert!(text.ends_with("; check the secret app/cache"), "{text}");
    assert!(!text.contains("first"), "{text}");
    // One refusal per try, at the pace of the back-off: the same password is not sent twice in one try.
    until(LIMIT, "more refusals", || async {
        Ok((source.refused.load(Ordering::SeqCst) >= 8).then_some(()))
    })
    .await?;
    let (refusals, took) = (source.refused.load(Ordering::SeqCst), started.elapsed());
    let most = 8 + 2 * took.as_secs();
    assert!(
        u64::try_from(refusals)? <= most,
        "{refusals} refusals in {took:?}"
    );

    source.store("second");
    until(LIMIT, "the client to recover", || async {
        Ok(client.get("key").await.ok())
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_client_that_starts_with_an_outdated_password_fetches_it_again() -> Result<()> {
    let server = server().await?;
    let source = Arc::new(Rotating::new("first"));
    // Kept by this process; then the password changes.
    source.credentials().await?;
    source.store("second");
    rotate(&server, "second").await?;
    let client = ValkeyClient::builder(&single(&server.address())?)
        .credentials(Arc::clone(&source) as _)
        .connect()
        .await?;
    client.ping().await?;
    assert_eq!(source.refused.load(Ordering::SeqCst), 1);
    Ok(())
}

#[tokio::test]
async fn fixed_credentials_that_are_refused_are_tried_once() -> Result<()> {
    let server = server().await?;
    let mut config = single(&server.address())?;
    config.authentication = login(Some(USER), "wrong");
    let before = received(&server).await?;
    let error = ValkeyClient::connect(&config).await.unwrap_err().to_string();
    assert!(
        error.ends_with("check CACHE_USERNAME and CACHE_PASSWORD"),
        "{error}"
    );
    // The count itself takes a connection, too.
    assert_eq!(received(&server).await? - before, 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_is_refused_goes_on_with_the_newer_password() -> Result<()> {
    let server = server().await?;
    let source = Arc::new(Rotating {
        valid_for: Some(Duration::from_secs(1)),
        ..Rotating::new("first")
    });
    let client = ValkeyClient::builder(&single(&server.address())?)
        .credentials(Arc::clone(&source) as _)
        .connect()
        .await?;
    client.set("key", "value".into(), Ttl::Forever).await?;
    let mut steering = server.connect().await?;
    let before = connections(&mut steering).await?;
    source.store("second");
    steering
        .call(&["ACL", "SETUSER", USER, "resetpass", ">second"])
        .await?;
    until(LIMIT, "the password to be fetched again", || async {
        Ok((source.fetched.load(Ordering::SeqCst) == 2).then_some(()))
    })
    .await?;
    let renewals = async || -> Result<u64> {
        let stats = server.call(&["INFO", "commandstats"]).await?.text();
        let auth = stats
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_auth:calls="));
        let calls = auth.and_then(|rest| rest.split(',').next()).unwrap_or("0");
        Ok(calls.parse()?)
    };
    let so_far = renewals().await?;
    until(LIMIT, "further renewals", || async {
        // Each look logs in by itself.
        Ok((renewals().await? > so_far + 1 && source.refused.load(Ordering::SeqCst) == 1).then_some(()))
    })
    .await?;
    assert_eq!(client.get("key").await?, "value");
    let after = connections(&mut steering).await?;
    assert_eq!(
        after.iter().map(|known| known.id).collect::<Vec<_>>(),
        before.iter().map(|known| known.id).collect::<Vec<_>>(),
        "the connection is the same one"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_cannot_renew_its_credentials_is_replaced_without_a_failed_call() -> Result<()> {
    let server = server().await?;
    let source = Arc::new(Rotating {
        valid_for: Some(Duration::from_secs(2)),
        fails: AtomicUsize::new(3),
        ..Rotating::new("first")
    });
    let client = ValkeyClient::builder(&single(&server.address())?)
        .credentials(Arc::clone(&source) as _)
        .connect()
        .await?;
    let client: Arc<dyn CacheClient> = Arc::new(client);
    let load = Load::start(&client, &["one".to_owned(), "two".to_owned()], Loss::Nothing)?;
    let mut steering = server.connect().await?;
    let first = connections(&mut steering).await?;
    assert_eq!(first.len(), 1, "{first:?}");
    until(LIMIT, "another connection in its place", || {
        let steering = steering_of(&server);
        let first = first[0].id;
        async move {
            let now = connections(&mut steering.await?).await?;
            Ok((now.len() == 1 && now[0].id != first).then_some(()))
        }
    })
    .await?;
    assert_eq!(source.fails.load(Ordering::SeqCst), 0);
    load.until_succeeded(100).await?;
    let report = load.stop().await?;
    println!("{}", report.summary());
    assert_eq!(report.failures().count(), 0, "{}", report.summary());
    report.check(Duration::from_secs(3));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinel_mode_and_administration_use_the_rotated_password() -> Result<()> {
    let node = ServerOptions::new(Version::Valkey8)
        .user(&format!("{USER} on >first ~* &* +@all"))
        .user("default off");
    let set = SentinelSet::start(SentinelOptions::new().node(node)).await?;
    let source = Arc::new(Rotating::new("first"));
    let client = ValkeyClient::builder(&watched(&set.addresses())?)
        .credentials(Arc::clone(&source) as _)
        .connect()
        .await?;
    let primary = &set.servers()[set.primary().await?];
    let view = client.administration().topology().await?;
    let administration = client.administration();
    let members = administration.members_of(&view);
    let member = members
        .iter()
        .find(|member| address(&primary.address()).is_ok_and(|known| member.view().address == known))
        .expect("the primary is one of the members");
    member.ping().await?;

    source.store("second");
    assert!(rotate(primary, "second").await? >= 2);
    // The pool may lend what it does not yet know to be gone.
    let time = until(LIMIT, "the pool to connect again", || async {
        Ok(member.time().await?)
    });
    assert!(!time.await?.is_zero());
    until(LIMIT, "the client to connect again", || async {
        Ok(client.set("key", "value".into(), Ttl::Forever).await.ok())
    })
    .await?;
    assert_eq!(source.fetched.load(Ordering::SeqCst), 2);
    Ok(())
}

fn steering_of(server: &Server) -> impl Future<Output = Result<tests::Connection>> {
    server.connect()
}

/// Connections that the server has accepted so far.
async fn received(server: &Server) -> Result<u64> {
    Ok(server.info("total_connections_received").await?.parse()?)
}
