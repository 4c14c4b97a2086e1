//! Tries each user for real: with its own password, by our own client.

use cache_core::config::{Authentication, ValkeyConfig};
use cache_core::{CacheClient as _, CacheError, Pattern, Ttl};
use cache_valkey::ValkeyClient;

use super::account::Account;
use super::role::Role;
use super::{Credentials, Declaration};

/// What came of the trial of one user with one of its passwords.
#[derive(Debug)]
#[non_exhaustive]
pub struct Trial {
    /// The user.
    pub user: String,
    /// Which password, from 1; none where only its hash is known.
    pub password: Option<usize>,
    /// What is not as it ought to be; `None` where all is.
    pub problem: Option<String>,
}

/// Logs in as each user of `declaration`, once for each password that is known, and tries what it is for and a part of
/// what it must not do. Writes, and removes, one key in the first keyspace of each service.
pub async fn try_out(
    declaration: &Declaration,
    credentials: &Credentials,
    config: &ValkeyConfig,
) -> Vec<Trial> {
    try_those(declaration, credentials, config, &|_| true).await
}

/// As [`try_out`], for those users alone whose names `is_meant` takes.
pub async fn try_those(
    declaration: &Declaration,
    credentials: &Credentials,
    config: &ValkeyConfig,
    is_meant: &(dyn Fn(&str) -> bool + Sync),
) -> Vec<Trial> {
    let mut trials = Vec::new();
    for account in declaration
        .accounts()
        .iter()
        .filter(|account| is_meant(&account.name))
    {
        let known = credentials.of(&account.name).iter().enumerate();
        for (index, password) in known {
            let Some(plain) = &password.plain else {
                trials.push(Trial {
                    user: account.name.clone(),
                    password: None,
                    problem: None,
                });
                continue;
            };
            // Not with the operator's own password, which may come from a file.
            let config = config.clone().with_authentication(Authentication::Password {
                username: Some(account.name.clone()),
                password: plain.clone(),
            });
            let problem = Box::pin(try_one(account, &config)).await.err();
            trials.push(Trial {
                user: account.name.clone(),
                password: Some(index + 1),
                problem,
            });
        }
    }
    trials
}

async fn try_one(account: &Account, config: &ValkeyConfig) -> Result<(), String> {
    let client = ValkeyClient::connect(config)
        .await
        .map_err(failed("logging in"))?;
    let tried = calls(account, &client).await;
    // The trial's own end is what counts.
    let _ = client.close().await;
    tried
}

async fn calls(account: &Account, client: &ValkeyClient) -> Result<(), String> {
    let own = account.own_key().unwrap_or_else(|| "cachectl-verify".to_owned());
    let foreign = "nobody-owns-this";
    client.ping().await.map_err(failed("ping"))?;
    let get = client.get(&own).await;
    let set = client.set(&own, "tried".into(), Ttl::secs(10)).await;
    match account.role {
        Role::Service => {
            found(get)?;
            set.map_err(failed("set"))?;
            client.del(&[&own]).await.map_err(failed("del"))?;
        }
        Role::Reader => {
            found(get)?;
            denied("set", set)?;
        }
        Role::Invalidator | Role::Operator | Role::Viewer | Role::AclAdmin => {
            denied("get", get)?;
            denied("set", set)?;
        }
    }
    if matches!(account.role, Role::Invalidator | Role::Operator) {
        let pattern = Pattern::new(format!("{own}*")).map_err(failed("a pattern"))?;
        let primaries = client.administration().primaries().await;
        for primary in primaries.map_err(failed("the topology"))? {
            primary
                .scan(0, &pattern, None, 10)
                .await
                .map_err(failed("scan"))?;
        }
    }
    denied("get of another's key", client.get(foreign).await)?;
    denied(
        "set of another's key",
        client.set(foreign, "tried".into(), Ttl::secs(1)).await,
    )
}

fn failed(what: &str) -> impl Fn(CacheError) -> String + '_ {
    move |error| format!("{what}: {error}")
}

fn found<T>(result: Result<T, CacheError>) -> Result<(), String> {
    match result {
        Ok(_) | Err(CacheError::Miss) => Ok(()),
        Err(error) => Err(failed("get")(error)),
    }
}

fn denied<T>(what: &str, result: Result<T, CacheError>) -> Result<(), String> {
    match result {
        Err(CacheError::Denied { .. }) => Ok(()),
        Err(CacheError::Miss) | Ok(_) => Err(format!("{what}: was allowed")),
        Err(error) => Err(failed(what)(error)),
    }
}
