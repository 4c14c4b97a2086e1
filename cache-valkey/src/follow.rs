//! Finds out who the primary and the replicas are, and keeps [`Single`] up to date.
//!
//! A single address needs no following. Which of several is the primary, replicas that the primary names, and everything
//! behind sentinels may change: a task looks again when a sentinel announces a switch, when a call met what hints at a
//! change, and now and then (`upkeep.rs`). A new primary is put in place only once it has answered and says that it is one.

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
use crate::reply::Reply;
use crate::schedule::Outlook;
use crate::sentinel::Sentinels;
use crate::single::{Single, only_a_replica};
use crate::upkeep::Upkeep;
use crate::wire::Unheard;

/// The least time between two looks at all configured addresses.
const ASK_PAUSE: Duration = Duration::from_secs(1);

/// Where the answer to "who is who" comes from.
#[derive(Debug)]
pub(crate) enum Guide {
    /// The primary is fixed; it names its replicas.
    Primary,
    /// The configured addresses: one of them leads to the primary, the others to its replicas.
    Addresses(Configured),
    /// Sentinels name both.
    Sentinels(Box<Sentinels>),
}

/// Several configured addresses.
#[derive(Debug)]
pub(crate) struct Configured {
    addresses: Vec<Address>,
    /// When all of them were last asked for their role.
    asked_at: Mutex<Option<Instant>>,
}

impl Configured {
    pub(crate) fn new(addresses: Vec<Address>) -> Self {
        Self {
            addresses,
            asked_at: Mutex::default(),
        }
    }

    /// Notes that the addresses are asked now, unless that was a moment ago.
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

/// Takes a first look.
pub(crate) async fn look(
    single: &Single,
    guide: &Guide,
    dialer: &Arc<Dialer>,
    deadline: Deadline,
) -> Result<(), CacheError> {
    dialer.counts().refreshing();
    match guide {
        Guide::Primary => {
            let replicas = replicas_of(&single.primary()?, deadline).await?;
            put_replicas(single, replicas, dialer);
        }
        Guide::Addresses(configured) => {
            let found = find_primary(single, configured, dialer, deadline).await;
            if single.read_from() != ReadFrom::Primary {
                let primary = single.primary()?;
                let others = configured.addresses.iter();
                let others = others.filter(|address| *address != primary.address());
                put_replicas(single, others.cloned().collect(), dialer);
            }
            found?;
        }
        Guide::Sentinels(sentinels) => {
            let found = sentinels
                .locate(single.read_from() != ReadFrom::Primary, deadline)
                .await?;
            put_primary(single, &found.primary, sentinels, dialer, deadline).await?;
            put_replicas(single, found.replicas, dialer);
        }
    }
    Ok(())
}

/// What it takes to look again and again, on whatever runtime that is.
#[derive(Debug)]
pub(crate) struct Following {
    guide: Arc<Guide>,
    dialer: Arc<Dialer>,
}

impl Following {
    pub(crate) fn new(guide: Guide, dialer: &Arc<Dialer>) -> Self {
        Self {
            guide: Arc::new(guide),
            dialer: Arc::clone(dialer),
        }
    }

    /// Ends what is kept between looks.
    pub(crate) fn close(&self) {
        if let Guide::Sentinels(sentinels) = &*self.guide {
            sentinels.close();
        }
    }

    /// Looks again and again, until `single` is closed or gone, or the runtime is.
    pub(crate) fn follow(
        &self,
        single: &Weak<Single>,
        upkeep: &Arc<Upkeep>,
        run: Run,
    ) -> impl Future<Output = ()> + Send + 'static {
        follow(
            Weak::clone(single),
            Arc::clone(upkeep),
            Arc::clone(&self.guide),
            Arc::clone(&self.dialer),
            run,
        )
    }
}

async fn follow(single: Weak<Single>, upkeep: Arc<Upkeep>, guide: Arc<Guide>, dialer: Arc<Dialer>, run: Run) {
    loop {
        run.resume();
        run.attend(wait(&upkeep, &guide)).await;
        let Some(single) = single.upgrade().filter(|single| !single.is_closed()) else {
            return;
        };
        upkeep.begin();
        let deadline = Deadline::after(dialer.limits().dial_timeout);
        let looked = run.attend(look(&single, &guide, &dialer, deadline)).await;
        if let Err(error) = &looked {
            tracing::debug!(%error, "could not look up the primary and its replicas");
        }
        if single.is_closed() {
            // What was found in the meantime must not outlive the rest.
            single.close();
            return;
        }
        upkeep.end(outlook(&single, &guide));
    }
}

/// Waits until a look is due, or something hints at a change.
async fn wait(upkeep: &Upkeep, guide: &Guide) {
    let announced = async {
        match guide {
            Guide::Sentinels(sentinels) => sentinels.switched().await,
            Guide::Primary | Guide::Addresses(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = upkeep.wanted() => {}
        () = announced => upkeep.want(),
        () = tokio::time::sleep_until(upkeep.due()) => return,
    }
    tokio::time::sleep_until(upkeep.due()).await;
}

/// How things are after a look.
fn outlook(single: &Single, guide: &Guide) -> Outlook {
    let has_primary = single
        .primary()
        .is_ok_and(|primary| !primary.is_down() && !primary.is_replica());
    let has_no_replica =
        single.read_from() == ReadFrom::Replica && single.replicas().iter().all(|replica| replica.is_down());
    let would_hear = match guide {
        Guide::Sentinels(sentinels) => sentinels.is_listening() && !sentinels.is_switching(),
        // It is fixed: it comes back or it does not.
        Guide::Primary => true,
        // Which of them is the primary is only known from asking.
        Guide::Addresses(_) => false,
    };
    match (has_primary, has_no_replica) {
        (true, false) => Outlook::Well,
        (false, false) if would_hear => Outlook::Watched,
        _ => Outlook::Blind,
    }
}

/// Looks for the primary at the configured addresses if it is not where it was: at most once per second.
async fn find_primary(
    single: &Single,
    configured: &Configured,
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
        let dialed = dialer.dial(address, Mode::Aside, &Expected::Anyone, Arc::new(Unheard));
        match deadline.limit(Stage::Connect, Box::pin(dialed)).await {
            // In RESP2 no server says which role it has.
            Ok(dialed) if dialed.has_pushes && !dialed.greeting.replica => Ok(address),
            Ok(_) => Err(only_a_replica(address)),
            Err(error) => Err(error),
        }
    }))
    .await;
    // Of several, the first that is configured.
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
            // The keeper is at it already.
            return Ok(());
        }
    }
    let candidate = Node::new(address.clone(), Mode::Primary, Arc::clone(dialer));
    candidate.connect(deadline).await?;
    if candidate.is_replica() {
        return Err(Sentinels::not_yet(address));
    }
    sentinels.settled();
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

/// The replicas that a primary names.
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
    fn the_replicas_are_read_out_of_a_primarys_role() {
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
        fn whatever_a_primary_says_of_its_role_is_replicas_or_none(
            reply in crate::reply::foreign::reply(&["master", "10.0.0.2", "6379"]),
        ) {
            proptest::prop_assert!(matches!(reply, Reply::Array(_)) || read_role(&reply).is_empty());
        }
    }
}
