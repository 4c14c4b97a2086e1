//! One request per method.

use std::error::Error;
use std::fmt;

use aws_sdk_elasticache::Client;
use aws_sdk_elasticache::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use cache_core::{CacheError, Secret};

use super::group::{NewUserGroup, UserGroup};
use super::user::{NewUser, User, UserChange};
use crate::account::{Aws, AwsService};
use crate::error::{Request, code, translate};
use crate::quiet::quiet;

/// Records a page holds; the API takes 20 to 100.
const PAGE: i32 = 100;
/// Pages that are read at most. The API's quota of 1,000 users is ten of them.
const PAGES: usize = 100;

/// The management of users and user groups of one account and region. Cheap to clone.
///
/// Every request ends within [`Aws::call_timeout`], the SDK's own retries included.
///
/// ```no_run
/// # async fn example() -> Result<(), cache_core::CacheError> {
/// use cache_aws::{Aws, elasticache::ElastiCache};
///
/// let elasticache = ElastiCache::new(&Aws::from_env().await?);
/// for user in elasticache.users().await? {
///     println!("{}: {}", user.name, user.status);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ElastiCache {
    aws: Aws,
    client: Client,
}

impl ElastiCache {
    /// Sends nothing yet.
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        Self {
            client: Client::new(&aws.sdk_config(AwsService::ElastiCache)),
            aws: aws.clone(),
        }
    }

    /// The region that requests go to.
    #[must_use]
    pub fn region(&self) -> &str {
        self.aws.region()
    }

    /// All users of the account and region, page by page.
    ///
    /// # Errors
    ///
    /// [`CacheError::Denied`] without the permission `elasticache:DescribeUsers`; [`CacheError::Unauthorized`],
    /// [`CacheError::Unavailable`] and [`CacheError::Timeout`] as for every request to AWS. [`CacheError::Corrupt`] if
    /// the pages do not end.
    pub async fn users(&self) -> Result<Vec<User>, CacheError> {
        let mut users = Vec::new();
        let mut marker = None;
        for _ in 0..PAGES {
            let request = self.client.describe_users().max_records(PAGE).set_marker(marker);
            let page = quiet(request.send())
                .await
                .map_err(|error| self.failed("elasticache:DescribeUsers", "user:*", &error, &[]))?;
            users.extend(page.users().iter().map(User::read));
            marker = page.marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Ok(users);
            }
        }
        Err(CacheError::Corrupt {
            detail: "ElastiCache lists users without end; check the endpoint".into(),
            source: None,
        })
    }

    /// The user group with that id; `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`users`](Self::users), with the permission `elasticache:DescribeUserGroups`.
    pub async fn group(&self, id: &str) -> Result<Option<UserGroup>, CacheError> {
        let request = self.client.describe_user_groups().user_group_id(id);
        match quiet(request.send()).await {
            Ok(page) => Ok(page.user_groups().first().map(UserGroup::read)),
            Err(error) if code(&error) == Some("UserGroupNotFound") => Ok(None),
            Err(error) => {
                let resource = format!("usergroup:{id}");
                Err(self.failed("elasticache:DescribeUserGroups", &resource, &error, &[]))
            }
        }
    }

    /// Creates a user.
    ///
    /// # Errors
    ///
    /// [`CacheError::Rejected`] with ElastiCache's code if the user exists already, a quota is used up or a parameter is
    /// refused; otherwise as [`users`](Self::users), with the permission `elasticache:CreateUser`.
    ///
    /// # Cancel safety
    ///
    /// The user is created or it is not.
    pub async fn create_user(&self, user: &NewUser) -> Result<(), CacheError> {
        let request = self
            .client
            .create_user()
            .user_id(&user.id)
            .user_name(&user.name)
            .engine(&user.engine)
            .access_string(&user.access)
            .authentication_mode(user.login.mode());
        let resource = format!("user:{}", user.id);
        let sent = quiet(request.send()).await;
        sent.map(drop).map_err(|error| {
            self.failed(
                "elasticache:CreateUser",
                &resource,
                &error,
                user.login.passwords(),
            )
        })
    }

    /// Changes a user. Connections that exist stay.
    ///
    /// # Errors
    ///
    /// [`CacheError::Rejected`] with ElastiCache's code if there is no such user, a change to it is under way or a
    /// parameter is refused; otherwise as [`users`](Self::users), with the permission `elasticache:ModifyUser`.
    ///
    /// # Cancel safety
    ///
    /// All of the change is made or nothing.
    pub async fn modify_user(&self, id: &str, change: &UserChange) -> Result<(), CacheError> {
        let login = change.login.as_ref();
        let request = self
            .client
            .modify_user()
            .user_id(id)
            .set_access_string(change.access.clone())
            .set_authentication_mode(login.map(|login| login.mode()));
        let passwords = login.map(|login| login.passwords()).unwrap_or_default();
        let resource = format!("user:{id}");
        let sent = quiet(request.send()).await;
        sent.map(drop)
            .map_err(|error| self.failed("elasticache:ModifyUser", &resource, &error, passwords))
    }

    /// Deletes a user. ElastiCache takes it out of every user group.
    ///
    /// # Errors
    ///
    /// [`CacheError::Rejected`] with ElastiCache's code if there is no such user or a change to it is under way;
    /// otherwise as [`users`](Self::users), with the permission `elasticache:DeleteUser`.
    ///
    /// # Cancel safety
    ///
    /// The user is deleted or it is not.
    pub async fn delete_user(&self, id: &str) -> Result<(), CacheError> {
        let resource = format!("user:{id}");
        let sent = quiet(self.client.delete_user().user_id(id).send()).await;
        sent.map(drop)
            .map_err(|error| self.failed("elasticache:DeleteUser", &resource, &error, &[]))
    }

    /// Creates a user group.
    ///
    /// # Errors
    ///
    /// [`CacheError::Rejected`] with ElastiCache's code if the group exists already, a user does not, a quota is used
    /// up, or the user `default` is missing; otherwise as [`users`](Self::users), with the permission
    /// `elasticache:CreateUserGroup` on the group and its users.
    ///
    /// # Cancel safety
    ///
    /// The group is created or it is not.
    pub async fn create_group(&self, group: &NewUserGroup) -> Result<(), CacheError> {
        let request = self
            .client
            .create_user_group()
            .user_group_id(&group.id)
            .engine(&group.engine)
            .set_user_ids(Some(group.users.clone()));
        let resource = format!("usergroup:{}", group.id);
        let sent = quiet(request.send()).await;
        sent.map(drop)
            .map_err(|error| self.failed("elasticache:CreateUserGroup", &resource, &error, &[]))
    }

    /// Adds users to a user group.
    ///
    /// # Errors
    ///
    /// [`CacheError::Rejected`] with ElastiCache's code if a change to the group is under way, there is no such user,
    /// or the group has a user of that name; otherwise as [`users`](Self::users), with the permission
    /// `elasticache:ModifyUserGroup` on the group and the users.
    ///
    /// # Cancel safety
    ///
    /// All users are added or none.
    pub async fn add_to_group(&self, id: &str, users: &[String]) -> Result<(), CacheError> {
        let request = self
            .client
            .modify_user_group()
            .user_group_id(id)
            .set_user_ids_to_add(Some(users.to_vec()));
        let resource = format!("usergroup:{id}");
        let sent = quiet(request.send()).await;
        sent.map(drop)
            .map_err(|error| self.failed("elasticache:ModifyUserGroup", &resource, &error, &[]))
    }

    /// Removes users from a user group. ElastiCache ends their connections to the group's caches.
    ///
    /// # Errors
    ///
    /// As [`add_to_group`](Self::add_to_group).
    ///
    /// # Cancel safety
    ///
    /// All users are removed or none.
    pub async fn remove_from_group(&self, id: &str, users: &[String]) -> Result<(), CacheError> {
        let request = self
            .client
            .modify_user_group()
            .user_group_id(id)
            .set_user_ids_to_remove(Some(users.to_vec()));
        let resource = format!("usergroup:{id}");
        let sent = quiet(request.send()).await;
        sent.map(drop)
            .map_err(|error| self.failed("elasticache:ModifyUserGroup", &resource, &error, &[]))
    }

    /// What a failed request means. An answer that repeats one of `passwords` is not passed on.
    fn failed<E>(
        &self,
        permission: &'static str,
        resource: &str,
        error: &SdkError<E, HttpResponse>,
        passwords: &[Secret],
    ) -> CacheError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let request = Request::new(&self.aws, AwsService::ElastiCache, permission, resource);
        match translate(&request, error) {
            CacheError::Rejected { code, detail } => CacheError::Rejected {
                detail: without(&detail, passwords).into(),
                code,
            },
            other => other,
        }
    }
}

/// `text` unless one of `passwords` is in it.
fn without(text: &str, passwords: &[Secret]) -> String {
    let repeats =
        |password: &Secret| !password.expose().is_empty() && text.contains(password.expose().as_str());
    if passwords.iter().any(repeats) {
        "the answer is not shown because it repeats a password".to_owned()
    } else {
        text.to_owned()
    }
}

impl fmt::Debug for ElastiCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ElastiCache")
            .field("aws", &self.aws)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_with_a_password_is_not_shown() {
        let passwords = [Secret::from("Zk3-vv91!qLm0-xyW")];
        assert!(!without("bad value Zk3-vv91!qLm0-xyW", &passwords).contains("Zk3"));
        assert_eq!(without("bad value", &passwords), "bad value");
    }
}
