//! What is asked of ElastiCache, as a trait, so that tests need no server.

use std::fmt::Debug;

use async_trait::async_trait;
use cache_aws::elasticache::{ElastiCache, NewUser, NewUserGroup, User, UserChange, UserGroup};
use cache_core::CacheError;

use super::state::State;

/// Users and user groups of one account and region. Each method is one request, or as many as there are pages.
#[async_trait]
pub trait Service: Debug + Send + Sync {
    /// All users.
    async fn users(&self) -> Result<Vec<User>, CacheError>;

    /// The group with that id, if there is one.
    async fn group(&self, id: &str) -> Result<Option<UserGroup>, CacheError>;

    /// Creates a user.
    async fn create_user(&self, user: &NewUser) -> Result<(), CacheError>;

    /// Changes a user.
    async fn modify_user(&self, id: &str, change: &UserChange) -> Result<(), CacheError>;

    /// Deletes a user.
    async fn delete_user(&self, id: &str) -> Result<(), CacheError>;

    /// Creates a group.
    async fn create_group(&self, group: &NewUserGroup) -> Result<(), CacheError>;

    /// Adds users to a group.
    async fn add_to_group(&self, id: &str, users: &[String]) -> Result<(), CacheError>;

    /// Removes users from a group.
    async fn remove_from_group(&self, id: &str, users: &[String]) -> Result<(), CacheError>;
}

/// What there is.
///
/// # Errors
///
/// If ElastiCache cannot be asked.
pub async fn look(service: &dyn Service, group: &str) -> Result<State, CacheError> {
    // One after the other: a user that enters the group in between is then seen as a user, too.
    let group = service.group(group).await?;
    Ok(State::new(service.users().await?, group))
}

#[async_trait]
impl Service for ElastiCache {
    async fn users(&self) -> Result<Vec<User>, CacheError> {
        Self::users(self).await
    }

    async fn group(&self, id: &str) -> Result<Option<UserGroup>, CacheError> {
        Self::group(self, id).await
    }

    async fn create_user(&self, user: &NewUser) -> Result<(), CacheError> {
        Self::create_user(self, user).await
    }

    async fn modify_user(&self, id: &str, change: &UserChange) -> Result<(), CacheError> {
        Self::modify_user(self, id, change).await
    }

    async fn delete_user(&self, id: &str) -> Result<(), CacheError> {
        Self::delete_user(self, id).await
    }

    async fn create_group(&self, group: &NewUserGroup) -> Result<(), CacheError> {
        Self::create_group(self, group).await
    }

    async fn add_to_group(&self, id: &str, users: &[String]) -> Result<(), CacheError> {
        Self::add_to_group(self, id, users).await
    }

    async fn remove_from_group(&self, id: &str, users: &[String]) -> Result<(), CacheError> {
        Self::remove_from_group(self, id, users).await
    }
}
