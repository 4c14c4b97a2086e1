//! Users as a file declares them, on real servers: each hazard has a file; what they share is here.

mod acl_file;
mod applying;
mod commands;
mod drift;
mod elasticache;
mod exactly;
mod exported;
mod roles;
mod rotation;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_admin::users::{Credentials, Declaration, Node, Plan, Scope, nodes_of};
use cache_core::config::{Authentication, Topology, ValkeyConfig};
use cache_valkey::ValkeyClient;
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version};

/// How long a test waits for something that must happen.
const LIMIT: Duration = Duration::from_secs(30);

/// A user of each role.
const DECLARED: &str = "
prefix = 'app-'
topology = 'cluster'

[services.billing]
keyspaces = ['billing:', 'invoices:']
[services.billing.users.service]
password = 'env:BILLING'
[services.billing.users.reader]
password = 'env:READER'
[services.billing.users.invalidator]
password = 'env:INVALIDATOR'

[services.search]
keyspaces = ['search:']
[services.search.users.service]
password = 'env:SEARCH'

[admins.oncall]
role = 'operator'
password = 'env:ONCALL'
[admins.board]
role = 'viewer'
password = 'env:BOARD'
[admins.keeper]
role = 'acl-admin'
password = 'env:KEEPER'
";

/// Users of [`DECLARED`].
const USERS: usize = 7;

/// A declaration, and the passwords that it refers to.
struct Declared {
    declaration: Declaration,
    credentials: Credentials,
}

impl Declared {
    fn read(text: &str) -> Result<Self> {
        let declaration = Declaration::parse(text)?;
        let credentials = Credentials::read(&declaration, |name| Some(password(name)))?;
        Ok(Self {
            declaration,
            credentials,
        })
    }

    async fn plan(&self, nodes: &[Arc<dyn Node>]) -> Plan {
        self.plan_of(nodes, Scope::All).await
    }

    async fn plan_of(&self, nodes: &[Arc<dyn Node>], scope: Scope<'_>) -> Plan {
        Plan::make(&self.declaration, &self.credentials, nodes, scope).await
    }

    /// Every node behind `client`.
    async fn nodes(&self, client: &ValkeyClient) -> Result<Vec<Arc<dyn Node>>> {
        Ok(nodes_of(client, self.declaration.target()).await?)
    }

    /// Makes the nodes behind `client` as declared.
    async fn apply(&self, client: &ValkeyClient) -> Result<Vec<Arc<dyn Node>>> {
        let nodes = self.nodes(client).await?;
        let applied = self.plan(&nodes).await.apply().await?;
        anyhow::ensure!(applied.is_complete(), "{applied:?}");
        Ok(nodes)
    }
}

/// The password in the variable `name`.
fn password(name: &str) -> String {
    format!("Zk3-vv91!qLm0-{}", name.to_lowercase())
}

/// The servers, as a user that may do everything.
fn cluster_config(cluster: &Cluster) -> Result<ValkeyConfig> {
    let seeds = cluster.addresses();
    let seeds = seeds.iter().map(|address| address.parse());
    Ok(ValkeyConfig::new(Topology::cluster(
        seeds.collect::<Result<Vec<_>, _>>()?,
    )))
}

fn single_config(server: &Server) -> Result<ValkeyConfig> {
    Ok(ValkeyConfig::new(Topology::single(server.address().parse()?)))
}

/// `config`, logged in as `user` with the password in the variable `name`.
fn logged_in(config: &ValkeyConfig, user: &str, name: &str) -> ValkeyConfig {
    config.clone().with_authentication(Authentication::Password {
        username: Some(user.to_owned()),
        password: password(name).into(),
    })
}

async fn cluster_of(version: Version) -> Result<Cluster> {
    Cluster::start(ClusterOptions::new(3, 1).node(ServerOptions::new(version))).await
}

/// The rules of `user`, as the server tells them.
async fn told(server: &Server, user: &str) -> Result<String> {
    let list = server.call(&["ACL", "LIST"]).await?;
    let start = format!("user {user} ");
    let mut lines = list.items().iter().map(tests::Reply::text);
    let line = lines.find(|line| line.starts_with(&start));
    line.with_context(|| format!("there is no user {user} on {}", server.address()))
}
