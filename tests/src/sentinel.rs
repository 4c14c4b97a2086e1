//! A primary with replicas, watched by sentinels.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::install::Version;
use crate::server::{Server, ServerOptions, Tls};
use crate::wait::until;

/// The name by which the sentinels know the primary.
pub const PRIMARY_NAME: &str = "cache";

/// How long sentinels may take to agree on something.
const AGREE: Duration = Duration::from_secs(30);

/// What is watched, and how.
#[derive(Clone, Debug)]
pub struct SentinelOptions {
    node: ServerOptions,
    tls: Option<Tls>,
    password: Option<String>,
    replicas: usize,
    sentinels: usize,
    down_after: Duration,
}

impl Default for SentinelOptions {
    fn default() -> Self {
        Self {
            node: ServerOptions::new(Version::Valkey8),
            tls: None,
            password: None,
            replicas: 2,
            sentinels: 3,
            down_after: Duration::from_millis(500),
        }
    }
}

impl SentinelOptions {
    /// A primary with two replicas, three sentinels that act when two agree, half a second of silence.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What primary and replicas are started with. Default: a plain Valkey 8.
    #[must_use]
    pub fn node(mut self, node: ServerOptions) -> Self {
        self.node = node;
        self
    }

    /// TLS everywhere: servers and sentinels. Default: plain text.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.node = self.node.tls(tls.clone());
        self.tls = Some(tls);
        self
    }

    /// The password that the sentinels (not the servers) ask for. Default: none.
    #[must_use]
    pub fn sentinel_password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// TLS to the sentinels, not to the servers. Only one sentinel then: it speaks plain text to others.
    #[must_use]
    pub fn sentinel_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self.sentinels = 1;
        self
    }

    fn sentinel(&self, primary: &Server) -> ServerOptions {
        let (host, port) = (primary.host(), primary.port());
        let quorum = self.sentinels / 2 + 1;
        let mut options = ServerOptions::new(self.node.version())
            .on(self.node.host())
            .sentinel(self.password.as_deref())
            .line(format!("sentinel monitor {PRIMARY_NAME} {host} {port} {quorum}"))
            .line(format!(
                "sentinel down-after-milliseconds {PRIMARY_NAME} {}",
                self.down_after.as_millis()
            ))
            .line(format!("sentinel failover-timeout {PRIMARY_NAME} 5000"));
        if let Some([user, password]) = self.node.peer_login() {
            options = options
                .line(format!("sentinel auth-user {PRIMARY_NAME} {user}"))
                .line(format!("sentinel auth-pass {PRIMARY_NAME} {password}"));
        }
        if let Some(tls) = &self.tls {
            options = options.tls(tls.clone());
            if !self.node.is_tls() {
                options = options.line("tls-replication no");
            }
        }
        options
    }
}

/// A running set. Servers are named by index: the first primary is 0, then the replicas.
#[derive(Debug)]
pub struct SentinelSet {
    servers: Vec<Server>,
    sentinels: Vec<Server>,
}

impl SentinelSet {
    /// Starts the servers, then the sentinels, and waits until all have found each other.
    ///
    /// # Errors
    ///
    /// When one does not start or they do not come to agree.
    pub async fn start(options: SentinelOptions) -> Result<Self> {
        let primary = Server::start(options.node.clone()).await?;
        let mut servers = vec![primary];
        for _ in 0..options.replicas {
            servers.push(Server::start(options.node.clone().replica_of(&servers[0])).await?);
        }
        let set = Self {
            servers,
            sentinels: Vec::new(),
        };
        set.wait_until_followed(0, options.replicas).await?;
        let mut sentinels = Vec::new();
        for _ in 0..options.sentinels {
            let sentinel = Server::start(options.sentinel(&set.servers[0])).await?;
            // They look around every few seconds by default; a test has no such patience. Once the primary is down
            // they ask its replicas once in a second, whatever the settings, and promote none whose answer is older
            // than five times the period of PING: with 200 or less of it they find no replica good enough, by chance.
            sentinel
                .call(&[
                    "SENTINEL",
                    "DEBUG",
                    "PUBLISH-PERIOD",
                    "200",
                    "INFO-PERIOD",
                    "200",
                    "PING-PERIOD",
                    "300",
                ])
                .await?;
            sentinels.push(sentinel);
        }
        let set = Self { sentinels, ..set };
        set.wait_until_watched().await?;
        Ok(set)
    }

    async fn wait_until_followed(&self, primary: usize, replicas: usize) -> Result<()> {
        until(AGREE, "the replicas to follow", || async {
            let role = self.servers[primary].call(&["ROLE"]).await?;
            let online = self.servers[primary].info("connected_slaves").await?;
            Ok((role.items().first().is_some_and(|role| role.text() == "master")
                && online == replicas.to_string())
            .then_some(()))
        })
        .await
    }

    async fn wait_until_watched(&self) -> Result<()> {
        let (replicas, others) = (
            (self.servers.len() - 1).to_string(),
            (self.sentinels.len() - 1).to_string(),
        );
        until(AGREE, "the sentinels to find each other", || async {
            for sentinel in &self.sentinels {
                let primary = sentinel.call(&["SENTINEL", "MASTER", PRIMARY_NAME]).await?;
                let known = [primary.field("num-slaves"), primary.field("num-other-sentinels")];
                if known != [Some(replicas.clone()), Some(others.clone())] {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await
    }

    /// Primary and replicas, by index.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The sentinels.
    #[must_use]
    pub fn sentinels(&self) -> &[Server] {
        &self.sentinels
    }

    /// `host:port` of every sentinel.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.sentinels.iter().map(Server::address).collect()
    }

    /// The primary, on which all live sentinels agree.
    ///
    /// # Errors
    ///
    /// When they do not come to agree.
    pub async fn primary(&self) -> Result<usize> {
        self.agreed(None).await
    }

    /// Kills the primary (`SIGKILL`) and waits until another server is; returns that.
    ///
    /// # Errors
    ///
    /// When nobody took over in half a minute.
    pub async fn kill_primary(&self) -> Result<usize> {
        let old = self.primary().await?;
        self.servers[old].kill()?;
        self.agreed(Some(old)).await
    }

    /// Makes a sentinel move the role to a replica (`SENTINEL FAILOVER`); returns the new primary.
    ///
    /// # Errors
    ///
    /// When the sentinel refuses or nobody took over in half a minute.
    pub async fn failover(&self) -> Result<usize> {
        let old = self.primary().await?;
        until(AGREE, "a sentinel to start the failover", || async {
            self.sentinels[0]
                .call(&["SENTINEL", "FAILOVER", PRIMARY_NAME])
                .await
                .map(Some)
        })
        .await?;
        self.agreed(Some(old)).await
    }

    /// Waits until all sentinels that answer name the same primary, it is not `old`, and it says so itself.
    async fn agreed(&self, old: Option<usize>) -> Result<usize> {
        until(AGREE, "the sentinels to agree on a primary", || async {
            let mut named = Vec::new();
            for sentinel in &self.sentinels {
                if let Ok(reply) = sentinel
                    .call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY_NAME])
                    .await
                {
                    let port = reply.items().get(1).map(crate::Reply::text).unwrap_or_default();
                    let index = self
                        .servers
                        .iter()
                        .position(|server| server.port().to_string() == port);
                    named.push(index.context("the sentinels name a stranger")?);
                }
            }
            let Some(&primary) = named.first() else {
                anyhow::bail!("no sentinel answers")
            };
            if Some(primary) == old || named.iter().any(|other| *other != primary) {
                return Ok(None);
            }
            let role = self.servers[primary].call(&["ROLE"]).await?;
            Ok(role
                .items()
                .first()
                .is_some_and(|role| role.text() == "master")
                .then_some(primary))
        })
        .await
    }
}
