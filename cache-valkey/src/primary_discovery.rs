//! Discovers the primary and its replicas, and keeps [`Single`] up to date.
//!
//! A single address needs no discovery. Otherwise the roles may change: several configured addresses,
//! replicas named by the primary, and everything behind sentinels. A background task discovers them again
//! when a sentinel announces a switch, when a call hints at a change, and at intervals (`refresher.rs`). A
//! new primary is used only once it answers and says that it is a primary.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::config::{Address, ReadFrom};
use cache_core::{CacheError, Stage};
use futures::future::join_all;

use crate::background::Run;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::{Dialer, Mode};
use crate::error::accept;
use crate::identity::Expected;
use crate::node::Node;
use crate::refresher::Refresher;
use crate::reply::Reply;
use crate::schedule::Outlook;
use crate::sentinel::Sentinels;
use crate::single::{Single, only_a_replica};
use crate::wire::IgnoreEvents;

/// The least time between two rounds of asking all configured addresses.
const ASK_PAUSE: Duration = Duration::from_secs(1);

/// The source that says which server is the primary.
#[derive(Debug)]
pub(crate) enum RoleSource {
    /// The primary is fixed and names its replicas.
    Primary,
    /// The configured addresses: one leads to the primary, the others to its replicas.
    Addresses(ConfiguredAddresses),
    /// Sentinels name both.
    Sentinels(Box<Sentinels>),
}

/// Several configured addresses.
#[derive(Debug)]
pub(crate) struct ConfiguredAddresses {
    addresses: Vec<Address>,
    /// When all of them were last asked for their role.
    asked_at: Mutex<Option<Instant>>,
}

impl ConfiguredAddresses {
    pub(crate) fn new(addresses: Vec<Address>) -> Self {
        Self {
            addresses,
            asked_at: Mutex::default(),
        }
    }

    /// Records that the addresses are asked now. Returns `false` if that was a moment ago.
    fn begin_if_ready(&self) -> bool {
        let mut asked_at = self.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        let is_ready = asked_at.is_none_or(|at| now >= at + ASK_PAUSE);
        if is_ready {
            *asked_at = Some(now);
        }
        is_ready
    }
}

/// Discovers the primary and the replicas once.
pub(crate) async fn discover(
    single: &Single,
    source: &RoleSource,
    dialer: &Arc<Dialer>,
    deadline: Deadline,
) -> Result<(), CacheError> {
    dialer.counts().refreshing();
    match source {
        RoleSource::Primary => {
            let replicas = replicas_of(&single.primary()?, deadline).await?;
            put_replicas(single, replicas, dialer);
        }
        RoleSource::Addresses(configured) => {
            let found = find_primary(single, configured, dialer, deadline).await;
            if single.read_from() != ReadFrom::Primary {
                let primary = single.primary()?;
                let others = configured.addresses.iter();
                let others = others.filter(|address| *address != primary.address());
                put_replicas(single, others.cloned().collect(), dialer);
            }
            found?;
        }
        RoleSource::Sentinels(sentinels) => {
            let found = sentinels
                .locate(single.read_from() != ReadFrom::Primary, deadline)
                .await?;
            put_primary(single, &found.primary, sentinels, dialer, deadline).await?;
            put_replicas(single, found.replicas, dialer);
        }
    }
    Ok(())
}

/// What repeated discovery needs, on any runtime.
#[derive(Debug)]
pub(crate) struct Discovery {
    source: Arc<RoleSource>,
    dialer: Arc<Dialer>,
}

impl Discovery {
    pub(crate) fn new(source: RoleSource, dialer: &Arc<Dialer>) -> Self {
        Self {
            source: Arc::new(source),
            dialer: Arc::clone(dialer),
        }
    }

    /// Closes the connection to the sentinels.
    pub(crate) fn close(&self) {
        if let RoleSource::Sentinels(sentinels) = &*self.source {
            sentinels.close();
        }
    }

    /// Repeats the discovery until `single` is closed or dropped, or the runtime ends.
    pub(crate) fn run(
        &self,
        single: &Weak<Single>,
        refresher: &Arc<Refresher>,
        run: Run,
    ) -> impl Future<Output = ()> + Send + 'static {
        run_until_closed(
            Weak::clone(single),
            Arc::clone(refresher),
            Arc::clone(&self.source),
            Arc::clone(&self.dialer),
            run,
        )
    }
}

async fn run_until_closed(
    single: Weak<Single>,
    refresher: Arc<Refresher>,
    source: Arc<RoleSource>,
    dialer: Arc<Dialer>,
    run: Run,
) {
    loop {
        run.resume();
        run.run_with_heartbeat(wait(&refresher, &source)).await;
        let Some(single) = single.upgrade().filter(|single| !single.is_closed()) else {
            return;
        };
        refresher.begin();
        let deadline = Deadline::after(dialer.limits().dial_timeout);
        let looked = run
            .run_with_heartbeat(discover(&single, &source, &dialer, deadline))
            .await;
        if let Err(error) = &looked {
            tracing::debug!(%error, "could not discover the primary and its replicas");
        }
        if single.is_closed() {
            // Also closes what was found in the meantime.
            single.close();
            return;
        }
        refresher.end(outlook(&single, &source));
    }
}

/// Waits until a discovery is due, or something hints at a change.
async fn wait(refresher: &Refresher, source: &RoleSource) {
    let announced = async {
        match source {
            RoleSource::Sentinels(sentinels) => sentinels.switched().await,
            RoleSource::Primary | RoleSource::Addresses(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = refresher.wanted() => {}
        () = announced => refresher.want(),
        () = tokio::time::sleep_until(refresher.due()) => return,
    }
    tokio::time::sleep_until(refresher.due()).await;
}

/// The state of the servers after a discovery.
fn outlook(single: &Single, source: &RoleSource) -> Outlook {
    let has_primary = single
        .primary()
        .is_ok_and(|primary| !primary.is_down() && !primary.is_replica());
    let has_no_replica =
        single.read_from() == ReadFrom::Replica && single.replicas().iter().all(|replica| replica.is_down());
    let would_hear = match source {
        RoleSource::Sentinels(sentinels) => sentinels.is_listening() && !sentinels.is_switching(),
        // It is fixed, so another discovery would not help.
        RoleSource::Primary => true,
        // Only asking shows which of them is the primary.
        RoleSource::Addresses(_) => false,
    };
    match (has_primary, has_no_replica) {
        (true, false) => Outlook::Healthy,
        (false, false) if would_hear => Outlook::OutageReported,
        _ => Outlook::OutageUnreported,
    }
}

/// Looks for the primary at the other configured addresses if it is down or became a replica: at most once
/// per second.
async fn find_primary(
    single: &Single,
    configured: &ConfiguredAddresses,
    dialer: &Arc<Dialer>,
    deadline: Deadline,
) -> Result<(), CacheError> {
    let current = single.primary()?;
    if !(current.is_down() || current.is_replica()) || !configured.begin_if_ready() {
        return Ok(());
    }
    let others = configured.addresses.iter();
    let others = others.filter(|address| *address != current.address());
    let asked = join_all(others.map(async |address| {
        let dialed = dialer.dial(
            address,
            Mode::Auxiliary,
            &Expected::AnyServer,
            Arc::new(IgnoreEvents),
        );
        match deadline.limit(Stage::Connect, Box::pin(dialed)).await {
            // In RESP2 no server states its role.
            Ok(dialed) if dialed.has_pushes && !dialed.server_hello.replica => Ok(address),
            Ok(_) => Err(only_a_replica(address)),
            Err(error) => Err(error),
        }
    }))
    .await;
    // If there are several primaries, the first in the configured order.
    let (found, failed): (Vec<_>, Vec<_>) = asked.into_iter().partition(Result::is_ok);
    if let Some(address) = found.into_iter().find_map(Result::ok) {
        let primary = Node::new(address.clone(), Mode::Primary, Arc::clone(dialer));
        primary.connect(deadline).await?;
        if primary.is_replica() {
            return Err(only_a_replica(address));
        }
        tracing::info!(primary = %address, former = %current.address(), "another configured address leads to the primary");
        single.set_primary(primary);
        return Ok(());
    }
    failed.into_iter().find_map(Result::err).map_or(Ok(()), Err)
}

async fn put_primary(
    single: &Single,
    address: &Address,
    sentinels: &Sentinels,
    dialer: &Arc<Dialer>,
    deadline: Deadline,
) -> Result<(), CacheError> {
    if let Ok(current) = single.primary() {
        if current.address() == address && !current.is_down() && !sentinels.is_switching() {
            return Ok(());
        }
        if current.address() == address && current.is_down() {
            // The supervisor is reconnecting already.
            return Ok(());
        }
    }
    let candidate = Node::new(address.clone(), Mode::Primary, Arc::clone(dialer));
    candidate.connect(deadline).await?;
    if candidate.is_replica() {
        return Err(Sentinels::not_yet(address));
    }
    sentinels.mark_switch_done();
    tracing::info!(primary = %address, "the sentinels name this primary");
    single.set_primary(candidate);
    Ok(())
}

fn put_replicas(single: &Single, addresses: Vec<Address>, dialer: &Arc<Dialer>) {
    let known = single.replicas();
    let same = known.len() == addresses.len() && known.iter().all(|node| addresses.contains(node.address()));
    if same {
        return;
    }
    let nodes = addresses
        .into_iter()
        .map(
            |address| match known.iter().find(|node| *node.address() == address) {
                Some(node) => Arc::clone(node),
                None => Node::new(address, Mode::Replica, Arc::clone(dialer)),
            },
        )
        .collect();
    single.set_replicas(nodes);
}

/// The replicas that a primary names in its reply to `ROLE`.
async fn replicas_of(primary: &Arc<Node>, deadline: Deadline) -> Result<Vec<Address>, CacheError> {
    let role = Command::read("ROLE");
    let replies = primary.ask(&[&role], deadline).await?;
    let reply = accept(replies.into_iter().next().unwrap_or(Reply::Nil), role.name())?;
    let replicas = read_role(&reply);
    primary.announces(&replicas);
    Ok(replicas)
}

/// The replicas in a primary's reply to `ROLE`.
pub(crate) fn read_role(reply: &Reply) -> Vec<Address> {
    let Reply::Array(role) = reply else {
        return Vec::new();
    };
    let Some(Reply::Array(replicas)) = role.get(2) else {
        return Vec::new();
    };
    replicas
        .iter()
        .filter_map(|replica| match replica {
            Reply::Array(fields) => {
                let host = fields.first()?.as_text()?;
                let port = fields.get(1)?.as_text()?.parse().ok()?;
                Some(Address::new(host, port))
            }
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_read_from_role_reply() {
        let text = |text: &str| Reply::Bulk(text.to_owned().into());
        let replica = |host, port| Reply::Array(vec![text(host), text(port), text("42")]);
        let role = Reply::Array(vec![
            text("master"),
            Reply::Int(42),
            Reply::Array(vec![
                replica("10.0.0.2", "6379"),
                replica("::1", "6380"),
                replica("x", "no port"),
            ]),
        ]);
        assert_eq!(
            read_role(&role),
            [Address::new("10.0.0.2", 6379), Address::new("::1", 6380)]
        );
        let replica = Reply::Array(vec![
            text("slave"),
            text("10.0.0.1"),
            Reply::Int(6379),
            text("connected"),
        ]);
        assert!(read_role(&replica).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_role_reply_yields_replicas_or_none(
            reply in crate::reply::foreign::reply(&["master", "10.0.0.2", "6379"]),
        ) {
            proptest::prop_assert!(matches!(reply, Reply::Array(_)) || read_role(&reply).is_empty());
        }
    }
}
