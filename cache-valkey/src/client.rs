//! The contract, by commands of the server.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::config::{Authentication, Startup, ValkeyConfig};
use cache_core::credentials::{Credentials, CredentialsSource, FixedCredentials};
use cache_core::{CacheClient, CacheError, Entry, InvalidationSource, Ttl, check_key};

use crate::admin::Administration;
use crate::command::{Command, Effect};
use crate::connect::connect;
use crate::deadline::Deadline;
use crate::dial::Dialer;
use crate::error::accept;
use crate::reply::Reply;
use crate::resolve::{Resolve, SystemResolver};
use crate::router::Router;
use crate::script::{COMPARE_AND_DELETE, COMPARE_AND_SET, INCREMENT_WITH_LIFE, PERSIST, Script};

/// The largest value, in bytes: what a server takes by default (`proto-max-bulk-len`), 512 MiB.
pub const MAX_VALUE_LEN: usize = 512 * 1024 * 1024;

/// Keys of one command; a longer list becomes several commands of one pipeline, so that no single one
/// holds the server up.
const KEYS_PER_COMMAND: usize = 256;

/// A client of a Valkey server, cluster, or primary behind sentinels.
///
/// Callers share a few multiplexed connections per node and never queue for one, so one client serves a
/// whole process; make one and hand out `Arc`s.
///
/// # Deadlines
///
/// A call ends within [`read_timeout`](ValkeyConfig::read_timeout) where it reads and within
/// [`write_timeout`](ValkeyConfig::write_timeout) where it writes, retries included. While a server is
/// known to be down, its calls fail at once.
///
/// # Retries
///
/// Up to [`max_retries`](ValkeyConfig::max_retries) times, with jittered back-off, after a connection was
/// lost or a server said that it is not ready. `incr`, `incr_by` and conditional writes are not repeated
/// while it is unknown whether they were carried out.
///
/// # Examples
///
/// ```no_run
/// use cache_core::config::{Address, Topology, ValkeyConfig};
/// use cache_core::{CacheClient, Ttl};
/// use cache_valkey::ValkeyClient;
///
/// # async fn example() -> Result<(), cache_core::CacheError> {
/// // One address is enough: the cluster tells the others.
/// let seeds = vec![Address::new("cache.example.org", 6379)];
/// let client = ValkeyClient::connect(&ValkeyConfig::new(Topology::Cluster { seeds })).await?;
/// client.set("greeting", "hello".into(), Ttl::secs(60)).await?;
/// # Ok(())
/// # }
/// ```
pub struct ValkeyClient {
    router: Router,
    administration: Administration,
    read_timeout: Duration,
    write_timeout: Duration,
    closed: AtomicBool,
}

/// A command that newer servers have and older ones lack: the first version of Valkey that has it.
///
/// Older servers are not tried: their refusal of an unknown command repeats its arguments, which may be
/// any bytes, and a reply that is no text ends the connection.
#[derive(Clone, Copy)]
struct Since(u32, u32);

impl Since {
    /// `SET ... IFEQ`.
    const SET_IF_EQUAL: Self = Self(8, 1);
    /// `DELIFEQ`.
    const DELETE_IF_EQUAL: Self = Self(9, 0);
}

impl ValkeyClient {
    /// Connects as `config` says, and fails where the server cannot be reached.
    ///
    /// # Errors
    ///
    /// [`CacheError::Config`] for certificates that cannot be read and for IAM authentication, which needs
    /// a [`CredentialsSource`]; [`CacheError::Unavailable`] and [`CacheError::Unauthorized`] for a server
    /// that cannot be used.
    pub async fn connect(config: &ValkeyConfig) -> Result<Self, CacheError> {
        Self::builder(config).connect().await
    }

    /// A client as `config` says, with more to choose.
    #[must_use]
    pub fn builder(config: &ValkeyConfig) -> Builder<'_> {
        Builder {
            config,
            startup: Startup::Fail,
            credentials: None,
            resolve: Arc::new(SystemResolver),
        }
    }

    /// What administration needs: the topology, and each primary by itself, over connections of its own.
    #[must_use]
    pub fn administration(&self) -> Administration {
        self.administration.clone()
    }

    fn reading(&self) -> Result<Deadline, CacheError> {
        self.open().map(|()| Deadline::after(self.read_timeout))
    }

    fn writing(&self) -> Result<Deadline, CacheError> {
        self.open().map(|()| Deadline::after(self.write_timeout))
    }

    fn open(&self) -> Result<(), CacheError> {
        if self.closed.load(Ordering::Acquire) {
            Err(CacheError::Closed)
        } else {
            Ok(())
        }
    }

    /// Sends one command; its refusal is the call's error.
    async fn call(&self, command: &Command<'_>, deadline: Deadline) -> Result<Reply, CacheError> {
        accept(self.router.send(command, deadline).await?, command.name())
    }

    /// Sends commands; the first refusal is the call's error.
    async fn call_all(&self, commands: &[Command<'_>], deadline: Deadline) -> Result<Vec<Reply>, CacheError> {
        let replies = self.router.send_batch(commands, deadline).await?;
        replies
            .into_iter()
            .zip(commands)
            .map(|(reply, command)| accept(reply, command.name()))
            .collect()
    }

    /// Runs a script by its digest, and by its text where the server does not know it yet.
    async fn run(
        &self,
        script: &'static Script,
        key: &str,
        arguments: &[&[u8]],
        effect: Effect,
        deadline: Deadline,
    ) -> Result<Reply, CacheError> {
        let command = |name, what| {
            let start = Command::new(name, effect).arg(what).int(1).key(key.as_bytes());
            arguments
                .iter()
                .fold(start, |command, argument| command.arg(*argument))
        };
        let known = command("EVALSHA", script.digest());
        match self.router.send(&known, deadline).await? {
            Reply::Error(error) if error.code == "NOSCRIPT" => {
                self.call(&command("EVAL", script.text), deadline).await
            }
            reply => accept(reply, known.name()),
        }
    }

    /// Whether the server that serves `key` has the command.
    fn has(&self, command: Since, key: &str) -> bool {
        let Since(major, minor) = command;
        self.router
            .greeting(key.as_bytes())
            .is_some_and(|server| server.is_valkey_from(major, minor))
    }

    /// Counts over `keys` of any slots by `name`: as few commands as the topology allows.
    async fn count(
        &self,
        name: &'static str,
        effect: Effect,
        keys: &[&str],
        deadline: Deadline,
    ) -> Result<u64, CacheError> {
        let group = if self.router.takes_keys_together() {
            KEYS_PER_COMMAND
        } else {
            1
        };
        let mut commands = keys.chunks(group).map(|keys| {
            keys.iter().fold(Command::new(name, effect), |command, key| {
                command.key(key.as_bytes())
            })
        });
        match (commands.next(), commands.next()) {
            (None, _) => Ok(0),
            (Some(only), None) => self.call(&only, deadline).await?.into_count(),
            (Some(first), Some(second)) => {
                let all: Vec<_> = [first, second].into_iter().chain(commands).collect();
                self.call_all(&all, deadline)
                    .await?
                    .into_iter()
                    .map(Reply::into_count)
                    .sum()
            }
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheClient for ValkeyClient {
    async fn get(&self, key: &str) -> Result<Bytes, CacheError> {
        check_key(key)?;
        let command = Command::read("GET").key(key.as_bytes());
        self.call(&command, self.reading()?)
            .await?
            .into_value()?
            .ok_or(CacheError::Miss)
    }

    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError> {
        check_key(key)?;
        // One pipeline. Another writer may come between the two; the life is then that of the newer value,
        // of which whoever keeps the older one is told, or keeps it for a short time only.
        let commands = [
            Command::read("GET").key(key.as_bytes()),
            Command::read("PTTL").key(key.as_bytes()),
        ];
        let mut replies = self.call_all(&commands, self.reading()?).await?.into_iter();
        let value = replies
            .next()
            .unwrap_or(Reply::Nil)
            .into_value()?
            .ok_or(CacheError::Miss)?;
        let remaining = read_life(replies.next().unwrap_or(Reply::Nil).into_int()?)?;
        Ok(Entry::untracked(value, remaining))
    }

    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        check_keys(keys)?;
        let deadline = self.reading()?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        if !self.router.takes_keys_together() {
            let commands: Vec<_> = keys
                .iter()
                .map(|key| Command::read("GET").key(key.as_bytes()))
                .collect();
            let replies = self.call_all(&commands, deadline).await?;
            return replies.into_iter().map(Reply::into_value).collect();
        }
        let commands: Vec<_> = keys
            .chunks(KEYS_PER_COMMAND)
            .map(|keys| {
                keys.iter()
                    .fold(Command::read("MGET"), |command, key| command.key(key.as_bytes()))
            })
            .collect();
        let mut values = Vec::with_capacity(keys.len());
        for reply in self.call_all(&commands, deadline).await? {
            for value in reply.into_array()? {
                values.push(value.into_value()?);
            }
        }
        if values.len() == keys.len() {
            Ok(values)
        } else {
            Err(Reply::Array(Vec::new()).unexpected("a value for each key"))
        }
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError> {
        check_key(key)?;
        check_value(&value)?;
        let command = Command::write("SET")
            .key(key.as_bytes())
            .arg(&value)
            .px(ttl.as_millis()?);
        self.call(&command, self.writing()?).await.map(drop)
    }

    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError> {
        for (key, value) in entries {
            check_key(key)?;
            check_value(value)?;
        }
        let life = ttl.as_millis()?;
        let deadline = self.writing()?;
        if entries.is_empty() {
            return Ok(());
        }
        let commands: Vec<_> = entries
            .iter()
            .map(|(key, value)| Command::write("SET").key(key.as_bytes()).arg(value).px(life))
            .collect();
        self.call_all(&commands, deadline).await.map(drop)
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError> {
        check_key(key)?;
        check_value(&value)?;
        let command = Command::write_once("SET")
            .key(key.as_bytes())
            .arg(&value)
            .arg("NX")
            .px(ttl.as_millis()?);
        Ok(self.call(&command, self.writing()?).await? != Reply::Nil)
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: &[u8],
        value: Bytes,
        ttl: Ttl,
    ) -> Result<bool, CacheError> {
        check_key(key)?;
        check_value(&value)?;
        let life = ttl.as_millis()?;
        let deadline = self.writing()?;
        if self.has(Since::SET_IF_EQUAL, key) {
            let command = Command::write_once("SET")
                .key(key.as_bytes())
                .arg(&value)
                .arg("IFEQ")
                .arg(expected)
                .px(life);
            return Ok(self.call(&command, deadline).await? != Reply::Nil);
        }
        let life = life.unwrap_or(0).to_string();
        let arguments: [&[u8]; 3] = [expected, &value, life.as_bytes()];
        Ok(self
            .run(&COMPARE_AND_SET, key, &arguments, Effect::WriteOnce, deadline)
            .await?
            .into_int()?
            == 1)
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError> {
        check_key(key)?;
        let deadline = self.writing()?;
        let reply = if self.has(Since::DELETE_IF_EQUAL, key) {
            let command = Command::write_once("DELIFEQ").key(key.as_bytes()).arg(expected);
            self.call(&command, deadline).await?
        } else {
            self.run(&COMPARE_AND_DELETE, key, &[expected], Effect::WriteOnce, deadline)
                .await?
        };
        Ok(reply.into_int()? == 1)
    }

    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        check_keys(keys)?;
        // UNLINK is DEL that frees the memory in the background, on every version.
        self.count("UNLINK", Effect::Write, keys, self.writing()?).await
    }

    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        check_keys(keys)?;
        self.count("EXISTS", Effect::Read, keys, self.reading()?).await
    }

    async fn incr(&self, key: &str) -> Result<i64, CacheError> {
        check_key(key)?;
        let command = Command::write_once("INCR").key(key.as_bytes());
        self.call(&command, self.writing()?).await?.into_int()
    }

    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError> {
        check_key(key)?;
        let life = ttl.as_millis()?;
        let deadline = self.writing()?;
        let Some(life) = life else {
            let command = Command::write_once("INCRBY").key(key.as_bytes()).int(delta);
            return self.call(&command, deadline).await?.into_int();
        };
        let (delta, life) = (delta.to_string(), life.to_string());
        let arguments = [delta.as_bytes(), life.as_bytes()];
        self.run(&INCREMENT_WITH_LIFE, key, &arguments, Effect::WriteOnce, deadline)
            .await?
            .into_int()
    }

    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError> {
        check_key(key)?;
        let life = ttl.as_millis()?;
        let deadline = self.writing()?;
        let reply = match life {
            Some(life) => {
                self.call(
                    &Command::write("PEXPIRE").key(key.as_bytes()).millis(life),
                    deadline,
                )
                .await?
            }
            None => self.run(&PERSIST, key, &[], Effect::Write, deadline).await?,
        };
        Ok(reply.into_int()? == 1)
    }

    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError> {
        check_key(key)?;
        let command = Command::read("PTTL").key(key.as_bytes());
        read_life(self.call(&command, self.reading()?).await?.into_int()?)
    }

    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
        None
    }

    async fn ping(&self) -> Result<(), CacheError> {
        self.router.ping(self.reading()?).await
    }

    async fn close(&self) -> Result<(), CacheError> {
        if !self.closed.swap(true, Ordering::AcqRel) {
            self.router.close();
            self.administration.close();
        }
        Ok(())
    }
}

impl Drop for ValkeyClient {
    fn drop(&mut self) {
        // Administration may have outlived the client in somebody's hands; the connections go here.
        self.router.close();
        self.administration.close();
    }
}

impl fmt::Debug for ValkeyClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValkeyClient")
            .field("router", &self.router)
            .finish_non_exhaustive()
    }
}

/// Chooses more than a [`ValkeyConfig`] says.
#[derive(Debug)]
pub struct Builder<'a> {
    config: &'a ValkeyConfig,
    startup: Startup,
    credentials: Option<Arc<dyn CredentialsSource>>,
    resolve: Arc<dyn Resolve>,
}

impl Builder<'_> {
    /// What to do when the server cannot be reached at start. Default: [`Startup::Fail`].
    #[must_use]
    pub fn startup(mut self, startup: Startup) -> Self {
        self.startup = startup;
        self
    }

    /// Where user names and passwords come from. Default: what the configuration holds.
    #[must_use]
    pub fn credentials(mut self, source: Arc<dyn CredentialsSource>) -> Self {
        self.credentials = Some(source);
        self
    }

    /// Who turns host names into addresses. Default: the system.
    #[must_use]
    pub fn resolver(mut self, resolve: Arc<dyn Resolve>) -> Self {
        self.resolve = resolve;
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// As [`ValkeyClient::connect`]; with [`Startup::Degrade`] a server that cannot be reached is none.
    pub async fn connect(self) -> Result<ValkeyClient, CacheError> {
        let credentials = match self.credentials {
            Some(source) => source,
            None => from_config(&self.config.authentication)?,
        };
        let (router, dialer) = connect(self.config, credentials, self.resolve, self.startup).await?;
        Ok(ValkeyClient::new(self.config, router, &dialer))
    }
}

impl ValkeyClient {
    fn new(config: &ValkeyConfig, router: Router, dialer: &Arc<Dialer>) -> Self {
        Self {
            administration: Administration::new(router.clone(), Arc::clone(dialer), config.read_timeout),
            router,
            read_timeout: config.read_timeout,
            write_timeout: config.write_timeout,
            closed: AtomicBool::new(false),
        }
    }
}

fn from_config(authentication: &Authentication) -> Result<Arc<dyn CredentialsSource>, CacheError> {
    let fixed = match authentication {
        Authentication::None => None,
        Authentication::Password { username, password } => {
            Some(Credentials::fixed(username.clone(), password.clone()))
        }
        _ => {
            return Err(CacheError::Config(cache_core::ConfigError::one(
                "CACHE_IAM_ENABLED",
                "tokens need a credentials source; pass one to the client's builder",
            )));
        }
    };
    Ok(Arc::new(FixedCredentials::new(fixed)))
}

fn check_keys(keys: &[&str]) -> Result<(), CacheError> {
    keys.iter().try_for_each(|key| check_key(key))
}

fn check_value(value: &Bytes) -> Result<(), CacheError> {
    if value.len() <= MAX_VALUE_LEN {
        return Ok(());
    }
    Err(CacheError::InvalidInput {
        argument: "value",
        reason: format!(
            "{} bytes long; a server takes at most {MAX_VALUE_LEN}",
            value.len()
        )
        .into(),
    })
}

/// What PTTL says: -2 is no such key, -1 no expiry.
fn read_life(millis: i64) -> Result<Ttl, CacheError> {
    match millis {
        -2 => Err(CacheError::Miss),
        ..0 => Ok(Ttl::Forever),
        // In its last millisecond a key is still there.
        left => Ok(Ttl::millis(left.unsigned_abs().max(1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_read_as_the_server_means_it() {
        assert!(matches!(read_life(-2), Err(CacheError::Miss)));
        assert_eq!(read_life(-1).unwrap(), Ttl::Forever);
        assert_eq!(read_life(0).unwrap(), Ttl::millis(1));
        assert_eq!(read_life(1_500).unwrap(), Ttl::millis(1_500));
    }
}
