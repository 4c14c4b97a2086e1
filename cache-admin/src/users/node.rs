//! A node, as far as its users are concerned.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use cache_core::{CacheError, ConfigError};
use cache_valkey::ValkeyClient;
use cache_valkey::admin::{AclSaved, AclSession, AclUser, Member, Permission, Role};

use super::role::Target;

/// A node with users of its own.
#[async_trait]
pub trait Node: Debug + Send + Sync {
    /// Where it is.
    fn address(&self) -> &str;

    /// Whether it is a replica.
    fn is_replica(&self) -> bool;

    /// All its users.
    async fn users(&self) -> Result<Vec<AclUser>, CacheError>;

    /// Who we are to it.
    async fn whoami(&self) -> Result<String, CacheError>;

    /// Which of these commands it knows, in their order.
    async fn knows(&self, commands: &[&str]) -> Result<Vec<bool>, CacheError>;

    /// Makes `user` exactly this.
    async fn set(&self, user: &AclUser) -> Result<(), CacheError>;

    /// Removes a user.
    async fn delete(&self, name: &str) -> Result<(), CacheError>;

    /// Puts the users down so that they outlive a restart, where that is possible.
    async fn save(&self) -> Result<AclSaved, CacheError>;

    /// Whether `user` may run `command`; nothing is run.
    async fn dry_run(&self, user: &str, command: &[&str]) -> Result<Permission, CacheError>;

    /// The connections to it.
    async fn sessions(&self) -> Result<Vec<AclSession>, CacheError>;
}

/// Every node behind `client`, replicas and such as cannot be reached included.
///
/// # Errors
///
/// If no server answers; [`CacheError::Config`] where the servers are no such `target`.
pub async fn nodes_of(client: &ValkeyClient, target: Target) -> Result<Vec<Arc<dyn Node>>, CacheError> {
    let administration = client.administration();
    let clustered = administration.topology().await?.cluster;
    if clustered != (target == Target::Cluster) {
        let is = if clustered {
            "cluster"
        } else {
            "single or sentinel"
        };
        return Err(
            ConfigError::one("topology", format!("must be {is}: that is what the servers are")).into(),
        );
    }
    let everyone = administration.all_nodes().await?.into_iter();
    Ok(everyone
        .map(|member| {
            Arc::new(OneNode {
                address: member.view().address.to_string(),
                member,
            }) as Arc<dyn Node>
        })
        .collect())
}

/// A node, with its address as text.
#[derive(Debug)]
struct OneNode {
    address: String,
    member: Member,
}

#[async_trait]
impl Node for OneNode {
    fn address(&self) -> &str {
        &self.address
    }

    fn is_replica(&self) -> bool {
        self.member.view().role == Role::Replica
    }

    async fn users(&self) -> Result<Vec<AclUser>, CacheError> {
        self.member.acl_users().await
    }

    async fn whoami(&self) -> Result<String, CacheError> {
        self.member.user().await?.ok_or_else(|| denied("ACL WHOAMI"))
    }

    async fn knows(&self, commands: &[&str]) -> Result<Vec<bool>, CacheError> {
        self.member
            .knows(commands)
            .await?
            .ok_or_else(|| denied("COMMAND INFO"))
    }

    async fn set(&self, user: &AclUser) -> Result<(), CacheError> {
        self.member.acl_set(user).await
    }

    async fn delete(&self, name: &str) -> Result<(), CacheError> {
        self.member.acl_delete(name).await.map(drop)
    }

    async fn save(&self) -> Result<AclSaved, CacheError> {
        self.member.acl_save().await
    }

    async fn dry_run(&self, user: &str, command: &[&str]) -> Result<Permission, CacheError> {
        self.member.acl_dry_run(user, command).await
    }

    async fn sessions(&self) -> Result<Vec<AclSession>, CacheError> {
        self.member.acl_sessions().await
    }
}

/// The error for a question that `Member` answers by nothing where it may not be asked.
fn denied(command: &'static str) -> CacheError {
    CacheError::Denied {
        command: command.into(),
        detail: "whoever manages users needs it, as the role acl-admin has it".into(),
    }
}
