//! Putting a client together.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cache_core::config::{
    Authentication, Backend, ConfigError, NearTracking, PlaintextEntries, Startup, ValkeyConfig,
};
use cache_core::credentials::CredentialsSource;
use cache_core::{CacheClient, CacheConfig, CacheError, MemoryCache};
use cache_valkey::{Tracking, ValkeyClient};

use crate::aws::Account;
use crate::layers::Ground;
use crate::refusal::Credentials;
use crate::{Foundation, Stack, encryption, layers};

/// A ready client, as the environment says; see [`CacheConfig::from_env`].
///
/// Without any setting it is the embedded client.
///
/// # Errors
///
/// As [`connect`]; [`CacheError::Config`] with every problem of the environment at once.
///
/// # Examples
///
/// ```no_run
/// use std::sync::Arc;
/// use cache_core::{CacheClient, CacheError};
///
/// # async fn run() -> Result<(), CacheError> {
/// let cache: Arc<dyn CacheClient> = cache_stack::from_env().await?;
/// # Ok(())
/// # }
/// ```
pub async fn from_env() -> Result<Arc<dyn CacheClient>, CacheError> {
    connect(&CacheConfig::from_env()?).await
}

/// A ready client, as `config` says.
///
/// From the caller down: the key prefix, measuring, the near tier, encryption, a guard (the whole call's deadline, a
/// circuit breaker, and what a failing backend means to callers), the backend; [`describe`] says which of
/// them a configuration makes. Credentials are those of the configuration: a password, the login of a service secret
/// (`CACHE_SECRET_ARN`), or IAM tokens. A secret and a keyset are read before anything else; if that fails there is no
/// client, also with [`Startup::Degrade`](cache_core::config::Startup::Degrade). `op_timeout` is the whole call's
/// deadline, and lowers the Valkey client's own for reads and writes where it is shorter; the embedded client
/// never waits and needs none. A user that may not read is no error: the client logs it, and its `ping` fails.
///
/// # Errors
///
/// [`CacheError::Config`] for a configuration that does not hold or asks for what this version cannot do,
/// every problem at once and by name. With [`Startup::Fail`](cache_core::config::Startup::Fail)
/// [`CacheError::Unavailable`], [`CacheError::Timeout`] and [`CacheError::Unauthorized`] for a server that
/// cannot be used; with [`Startup::Degrade`](cache_core::config::Startup::Degrade) only for what waiting
/// does not mend.
///
/// # Cancel safety
///
/// Dropping the future drops the connections that were opened.
pub async fn connect(config: &CacheConfig) -> Result<Arc<dyn CacheClient>, CacheError> {
    let stack = assemble(config).await?;
    check_permission(&stack).await;
    Ok(stack.client)
}

/// A ready client, as `config` says, that asks `credentials` for every connection it opens.
///
/// This is where short-lived tokens come in. The embedded client asks for none.
///
/// # Errors
///
/// As [`connect`], and what `credentials` answers; [`CacheError::Config`] for a configuration that has a
/// password, too.
///
/// # Cancel safety
///
/// As [`connect`].
pub async fn connect_with(
    config: &CacheConfig,
    credentials: Arc<dyn CredentialsSource>,
) -> Result<Arc<dyn CacheClient>, CacheError> {
    let stack = put_together(config, Some(credentials)).await?;
    check_permission(&stack).await;
    Ok(stack.client)
}

/// As [`connect`], and hands out the backend besides: for administration in the same process. Whether the user may read
/// is not looked at.
///
/// # Errors
///
/// As [`connect`].
///
/// # Cancel safety
///
/// As [`connect`].
///
/// # Examples
///
/// ```
/// use cache_core::CacheConfig;
/// use cache_stack::Foundation;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let stack = cache_stack::assemble(&CacheConfig::default()).await?;
/// if let Foundation::Memory(cache) = &stack.foundation {
///     assert_eq!(cache.len(), 0);
/// }
/// # Ok::<(), cache_core::CacheError>(())
/// # }).unwrap();
/// ```
pub async fn assemble(config: &CacheConfig) -> Result<Stack, CacheError> {
    put_together(config, None).await
}

/// Puts the layers that `config` makes around a client that the caller made, as [`connect`] does around its own.
///
/// This is how a service that still has connections of its own (`cache-redis`) gets the prefix, the near cache, encryption,
/// metrics and the guard. What `config` says about servers (`CACHE_TYPE`, `CACHE_ADDRS`, credentials, TLS, the timeouts of
/// connections) is not used: the caller has connected already.
///
/// # Errors
///
/// [`CacheError::Config`] for a configuration that does not hold; what reading the keyset answers, if encryption is
/// configured.
///
/// # Cancel safety
///
/// Dropping the future leaves `client` as it was.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use cache_core::{CacheClient, CacheConfig, MemoryCache, Ttl};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let mine: Arc<dyn CacheClient> = Arc::new(MemoryCache::default());
/// let config = CacheConfig::builder().key_prefix("shop:").build()?;
///
/// let stack = cache_stack::wrap(Arc::clone(&mine), &config).await?;
/// stack.client.set("plan", "team".into(), Ttl::secs(60)).await?;
/// assert_eq!(mine.get("shop:plan").await?, "team");
/// # Ok::<(), cache_core::CacheError>(())
/// # }).unwrap();
/// ```
pub async fn wrap(client: Arc<dyn CacheClient>, config: &CacheConfig) -> Result<Stack, CacheError> {
    config.validate()?;
    let keyring = match &config.encryption {
        Some(encryption) => Some(encryption::keyring(encryption, &mut Account::default()).await?),
        None => None,
    };
    let stack = Stack::new(Foundation::Brought(client), config, keyring)?;
    tracing::info!(cache = stack.describe(), "the cache client is ready");
    Ok(stack)
}

/// What [`connect`] makes of `config`, the outermost layer first, in one line for people and without a
/// secret. [`Stack::describe`] says it of what has been made.
///
/// ```
/// use cache_core::CacheConfig;
///
/// let embedded = cache_stack::describe(&CacheConfig::default());
/// assert_eq!(embedded, "Observed(Memory(64MiB, 1000000 entries))");
/// ```
#[must_use]
pub fn describe(config: &CacheConfig) -> String {
    layers::outline(config, Ground::of(&config.backend), &config.backend.to_string())
}

/// Boxed: what connecting to each backend and to AWS keeps on the way is large, and its types are deep. Connecting is rare.
fn put_together(
    config: &CacheConfig,
    credentials: Option<Arc<dyn CredentialsSource>>,
) -> Pin<Box<dyn Future<Output = Result<Stack, CacheError>> + Send + '_>> {
    Box::pin(build(config, credentials))
}

async fn build(
    config: &CacheConfig,
    credentials: Option<Arc<dyn CredentialsSource>>,
) -> Result<Stack, CacheError> {
    match credentials {
        Some(_) => Credentials::Brought.check(config)?,
        None => Credentials::Configured.check(config)?,
    }
    let mut account = Account::default();
    let mut config = config.clone();
    let credentials = login(&mut config, credentials, &mut account).await?;
    // Before the servers: nothing is opened for a client that cannot encrypt.
    let keyring = match &config.encryption {
        Some(encryption) => Some(encryption::keyring(encryption, &mut account).await?),
        None => None,
    };
    let foundation = match &config.backend {
        Backend::Memory(memory) => Foundation::Memory(Arc::new(MemoryCache::from(memory))),
        Backend::Valkey(valkey) => {
            let valkey = within(valkey, config.op_timeout);
            let mut client = ValkeyClient::builder(&valkey)
                .startup(config.startup)
                .tracking(tracking(&config));
            if let Some(credentials) = credentials {
                client = client.credentials(credentials);
            }
            Foundation::Valkey(Arc::new(client.connect().await?))
        }
        Backend::DynamoDb(table) => account.table(table, &config).await?,
        _ => return Err(ConfigError::one("CACHE_TYPE", "must be memory, valkey or dynamodb").into()),
    };
    let stack = Stack::new(foundation, &config, keyring)?;
    tracing::info!(cache = stack.describe(), "the cache client is ready");
    Ok(stack)
}

/// Reads a key that does not exist, so that a user that may not read is found at start, not by the first caller: the
/// client logs the refusal, and its `ping` fails. If the servers need not be there yet, nothing waits for the answer.
///
/// Not for administration, whose users may have no keys.
async fn check_permission(stack: &Stack) {
    let Foundation::Valkey(client) = &stack.foundation else {
        return;
    };
    let key = format!("{}permission-check", stack.key_prefix());
    match stack.config().startup {
        Startup::Fail => drop(client.get(&key).await),
        Startup::Degrade => {
            let client = Arc::clone(client);
            tokio::spawn(async move { drop(client.get(&key).await) });
        }
    }
}

/// Who the client logs in as: those `brought`, the configured ones, IAM tokens, or the secret's. Fills what `config`
/// leaves open from the secret.
async fn login(
    config: &mut CacheConfig,
    brought: Option<Arc<dyn CredentialsSource>>,
    account: &mut Account,
) -> Result<Option<Arc<dyn CredentialsSource>>, CacheError> {
    let supplied = match &config.secret {
        Some(secret) => Some(account.secret(secret).await?),
        None => None,
    };
    let secret = config.secret.clone();
    let Backend::Valkey(valkey) = &mut config.backend else {
        return Ok(brought);
    };
    let mut login = match brought {
        Some(brought) => Some(brought),
        None => account.tokens(&valkey.authentication).await?,
    };
    if let (Some(secret), Some(supplied)) = (secret, supplied) {
        if valkey.topology.addresses().is_empty() {
            let address = supplied.address.ok_or_else(|| {
                ConfigError::one(
                    "CACHE_SECRET_ARN",
                    "the secret has no host: add one, or set CACHE_ADDRS",
                )
            })?;
            valkey.topology.set_addresses(vec![address]);
        }
        if supplied.tls && valkey.tls.is_none() {
            valkey.tls = secret.tls;
        }
        config.key_prefix = config.key_prefix.take().or(supplied.key_prefix);
        login = match (login, &mut valkey.authentication) {
            (Some(login), _) => Some(login),
            (None, Authentication::Password { username, .. }) => {
                if username.is_none() {
                    *username = supplied.username;
                }
                None
            }
            (None, _) => Some(supplied.credentials),
        };
        config.validate()?;
    }
    Ok(login)
}

/// Which changes the servers are asked to report.
fn tracking(config: &CacheConfig) -> Tracking {
    let asked = config.near.as_ref().map(|near| near.tracking).unwrap_or_default();
    match (asked, &config.key_prefix) {
        (NearTracking::Off, _) => Tracking::Off,
        (NearTracking::Broadcast, Some(prefix)) => Tracking::Broadcast {
            prefixes: stored_prefixes(config, prefix),
        },
        // Without a near tier they wake who waits for another process's load.
        _ => Tracking::OptIn,
    }
}

/// What the keys that servers hold begin with, if the client's keys begin with `prefix`.
fn stored_prefixes(config: &CacheConfig, prefix: &str) -> Vec<String> {
    let Some(encryption) = &config.encryption else {
        return vec![prefix.to_owned()];
    };
    let stored = format!("{}{prefix}", encryption::stored_prefix(encryption));
    let mut prefixes = vec![stored];
    if encryption.plaintext == PlaintextEntries::Read && prefixes[0] != prefix {
        // Entries from before encryption.
        prefixes.push(prefix.to_owned());
    }
    prefixes
}

/// `config` with deadlines no later than `op_timeout`.
fn within(config: &ValkeyConfig, op_timeout: Option<Duration>) -> ValkeyConfig {
    let mut config = config.clone();
    if let Some(timeout) = op_timeout {
        config.read_timeout = config.read_timeout.min(timeout);
        config.write_timeout = config.write_timeout.min(timeout);
    }
    config
}

#[cfg(test)]
mod tests {
    use cache_core::config::{NearConfig, Topology};

    use super::*;

    #[test]
    fn tracking_follows_the_near_configuration() {
        let servers = || ValkeyConfig::new(Topology::single("cache:6379".parse().unwrap()));
        let of = |asked: Option<NearTracking>, prefix: Option<&str>| {
            let mut config = CacheConfig::builder().valkey(servers());
            if let Some(asked) = asked {
                config = config.near(NearConfig::new(1 << 20, Duration::from_secs(1)).with_tracking(asked));
            }
            if let Some(prefix) = prefix {
                config = config.key_prefix(prefix);
            }
            tracking(&config.build().unwrap())
        };
        assert_eq!(of(None, None), Tracking::OptIn);
        assert_eq!(of(Some(NearTracking::OptIn), Some("shop:")), Tracking::OptIn);
        assert_eq!(of(Some(NearTracking::Off), Some("shop:")), Tracking::Off);
        let prefixes = vec!["shop:".to_owned()];
        assert_eq!(
            of(Some(NearTracking::Broadcast), Some("shop:")),
            Tracking::Broadcast { prefixes }
        );
    }

    #[test]
    fn call_deadline_only_lowers_client_timeouts() {
        let server = Topology::single("cache:6379".parse().unwrap());
        let config = ValkeyConfig::new(server).with_read_timeout(Duration::from_millis(100));
        let lowered = within(&config, Some(Duration::from_secs(1)));
        assert_eq!(lowered.read_timeout, Duration::from_millis(100));
        assert_eq!(lowered.write_timeout, Duration::from_secs(1));
        assert_eq!(lowered.dial_timeout, config.dial_timeout);
        assert_eq!(within(&config, None), config);
    }
}
