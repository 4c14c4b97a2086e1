//! Caches as the service runs them, single, cluster and serverless, and the tokens of a client.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use cache_aws::{Aws, IamTokens};
use cache_core::config::{Address, Topology, ValkeyConfig};
use tests::{Certificates, Cluster, ClusterOptions, Server, ServerOptions, Version, until};

use crate::gate::{Gate, Login, now};
use crate::setup::{LIMIT, tls};
use crate::verifier::Verifier;

pub(crate) const USER: &str = "app-billing";
pub(crate) const CACHE: &str = "billing-cache";
pub(crate) const REGION: &str = "eu-west-2";
pub(crate) const ACCESS_KEY: &str = "AKIDEXAMPLE1618";
pub(crate) const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub(crate) const SESSION_TOKEN: &str = "IQoJb3Jp//+Z2lu=X2VjE+/==";

/// A cache, and how a client reaches it.
pub(crate) struct Cache {
    /// Not the tokens: those are a client's own.
    pub(crate) config: ValkeyConfig,
    /// In front of each node.
    pub(crate) gates: Vec<Gate>,
    _servers: Servers,
}

enum Servers {
    Single { _server: Server },
    Cluster { _cluster: Cluster },
}

impl Cache {
    /// One server.
    pub(crate) async fn single() -> Result<Self> {
        let certificates = Certificates::generate()?;
        let server = Server::start(node()).await?;
        let gate = Gate::start(&server, &verifier(false), &certificates).await?;
        let address = address_of(&gate);
        Ok(Self {
            config: config(Topology::single(address), &certificates),
            gates: vec![gate],
            _servers: Servers::Single { _server: server },
        })
    }

    /// Three primaries.
    pub(crate) async fn cluster() -> Result<Self> {
        Self::clustered(3, false, node()).await
    }

    /// A serverless cache: the cluster's protocol, one shard at one address, no `KEYS`.
    pub(crate) async fn serverless() -> Result<Self> {
        Self::clustered(1, true, node().line("rename-command KEYS \"\"")).await
    }

    async fn clustered(primaries: usize, serverless: bool, node: ServerOptions) -> Result<Self> {
        let certificates = Certificates::generate()?;
        let cluster = Cluster::start(ClusterOptions::new(primaries, 0).node(node)).await?;
        let mut gates = Vec::new();
        for node in cluster.nodes() {
            let gate = Gate::start(node, &verifier(serverless), &certificates).await?;
            let port = gate.address().port().to_string();
            node.call(&["CONFIG", "SET", "cluster-announce-port", &port])
                .await?;
            gates.push(gate);
        }
        until(LIMIT, "the nodes to announce the gates", || async {
            for node in cluster.nodes() {
                let slots = node.call(&["CLUSTER", "SLOTS"]).await?;
                let is_gate = |shard: &tests::Reply| {
                    let port = shard
                        .items()
                        .get(2)
                        .and_then(|node| node.items().get(1)?.integer());
                    gates
                        .iter()
                        .any(|gate| Some(i64::from(gate.address().port())) == port)
                };
                if slots.items().len() != primaries || !slots.items().iter().all(is_gate) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await?;
        Ok(Self {
            config: config(Topology::cluster([address_of(&gates[0])]), &certificates),
            gates,
            _servers: Servers::Cluster { _cluster: cluster },
        })
    }

    /// All logins so far.
    pub(crate) fn logins(&self) -> Vec<Login> {
        self.gates.iter().flat_map(Gate::logins).collect()
    }

    /// How many connections were ended because of their age.
    pub(crate) fn ended(&self) -> usize {
        self.gates.iter().map(Gate::ended).sum()
    }

    /// Ends connections that long after their last login.
    pub(crate) fn end_after(&self, limit: Duration) {
        for gate in &self.gates {
            gate.end_after(limit);
        }
    }
}

/// Nobody can log in before a gate has seen a valid token.
fn node() -> ServerOptions {
    ServerOptions::new(Version::Valkey8)
        .user(&format!("{USER} on ~* &* +@all"))
        .user("default off")
}

fn config(topology: Topology, certificates: &Certificates) -> ValkeyConfig {
    ValkeyConfig::new(topology).with_tls(tls(Some(&certificates.ca), None))
}

fn address_of(gate: &Gate) -> Address {
    Address::new(gate.address().ip().to_string(), gate.address().port())
}

fn verifier(serverless: bool) -> Verifier {
    Verifier {
        user: USER.to_owned(),
        cache: CACHE.to_owned(),
        region: REGION.to_owned(),
        service: "elasticache".to_owned(),
        serverless,
        access_key: ACCESS_KEY.to_owned(),
        secret_key: SECRET_KEY.to_owned(),
        session_token: Some(SESSION_TOKEN.to_owned()),
    }
}

/// What a client says of itself; the default is right.
#[derive(Clone, Debug)]
pub(crate) struct Says {
    pub(crate) user: &'static str,
    pub(crate) cache: &'static str,
    pub(crate) region: &'static str,
    pub(crate) secret_key: &'static str,
    pub(crate) serverless: bool,
    /// By how many seconds its clock is wrong.
    pub(crate) ahead: i64,
}

impl Default for Says {
    fn default() -> Self {
        Self {
            user: USER,
            cache: CACHE,
            region: REGION,
            secret_key: SECRET_KEY,
            serverless: false,
            ahead: 0,
        }
    }
}

impl Says {
    pub(crate) async fn tokens(&self) -> Result<IamTokens> {
        let aws = Aws::builder()
            .region(self.region)
            .credentials(ACCESS_KEY, self.secret_key.into(), Some(SESSION_TOKEN.into()))
            .load()
            .await?;
        let (off, ahead) = (Duration::from_secs(self.ahead.unsigned_abs()), self.ahead > 0);
        let clock = move || -> SystemTime { if ahead { now() + off } else { now() - off } };
        let tokens = IamTokens::builder(self.user, self.cache)
            .serverless(self.serverless)
            .clock(clock)
            .build(&aws);
        tokens.context("tokens")
    }
}
