//! Renews the credentials of connections before they expire.
//!
//! Not in here: replacing connections that cannot renew them, see `replace.rs`.

use std::sync::Arc;
use std::time::Duration;

use cache_core::CacheError;
use cache_core::clock;
use cache_core::credentials::Credentials;

use super::Node;
use super::link::{Link, Renewal};
use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::Dialer;
use crate::error::{from_login, is_refused_login};
use crate::reply::Reply;

impl Node {
    /// Renews the credentials of connections that are about to expire. Each renewal has its own task, because
    /// the credentials source may be slow and must not delay the silence check.
    pub(super) fn renew_if_due(&self) {
        for link in self.links.load().iter().filter(|link| link.is_due()) {
            link.renewing(self.dialer.limits().dial_timeout);
            tokio::spawn(renew(
                Arc::clone(link),
                Arc::clone(&self.dialer),
                self.address.to_string(),
            ));
        }
    }
}

async fn renew(link: Arc<Link>, dialer: Arc<Dialer>, node: String) {
    let until = clock::now() + dialer.limits().dial_timeout;
    let renewed = async {
        let login = dialer.login().await;
        let mut login = login.map_err(|error| (Renewal::Failed, error.to_string()))?;
        loop {
            let Some(credentials) = login.credentials() else {
                return Ok(None);
            };
            let outcome = authenticate(&link, credentials, Deadline::until(until)).await;
            let settled = login.settle(outcome, until).await.map_err(|error| {
                let refused = is_refused_login(&error);
                let failure = if refused {
                    Renewal::Refused
                } else {
                    Renewal::Failed
                };
                (failure, error.to_string())
            })?;
            if let Some(valid_for) = settled {
                return Ok(valid_for);
            }
        }
    };
    let (failure, reason) = match tokio::time::timeout_at(until, renewed).await {
        Ok(Ok(valid_for)) => return link.renewed(valid_for),
        Ok(Err(failed)) => failed,
        Err(_) => (Renewal::Failed, "no answer in time".to_owned()),
    };
    link.renewal_failed(failure);
    tracing::warn!(node, reason, "could not renew the credentials of a connection");
}

/// Logs in again on an open connection. Returns how long the login is valid.
async fn authenticate(
    link: &Link,
    credentials: &Credentials,
    deadline: Deadline,
) -> Result<Option<Duration>, CacheError> {
    let mut auth = Command::read("AUTH");
    if let Some(username) = &credentials.username {
        auth = auth.arg(username);
    }
    let auth = auth.arg(credentials.password.expose());
    match link.connection.send(&auth, deadline).await? {
        Reply::Error(refusal) => Err(from_login(&refusal, "AUTH")),
        _ => Ok(credentials.valid_for),
    }
}
