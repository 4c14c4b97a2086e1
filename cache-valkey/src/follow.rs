//! Finds out who the primary and the replicas are, and keeps [`Single`] up to date.
//!
//! Fixed addresses need no following. Replicas that the primary names, and everything behind sentinels,
//! may change: a task looks again when a sentinel announces a switch, when a call raised doubt, and now
//! and then. A new primary is put in place only once it has answered and says that it is one.

use std::sync::{Arc, Weak};
use std::time::Duration;

use cache_core::CacheError;
use cache_core::config::{Address, ReadFrom};

use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::{Dialer, Mode};
use crate::error::accept;
use crate::node::Node;
use crate::reply::Reply;
use crate::sentinel::Sentinels;
use crate::single::Single;

/// Between looks while nothing raises doubt.
const CALM: Duration = Duration::from_secs(30);

/// Between looks while the primary cannot be used: short, because the error window after a failover is
/// as long as this plus the sentinels' own decision.
const BRISK: Duration = Duration::from_millis(100);

/// Where the answer to "who is who" comes from.
#[derive(Debug)]
pub(crate) enum Guide {
    /// The primary is fixed; it names its replicas.
    Primary,
    /// Sentinels name both.
    Sentinels(Box<Sentinels>),
}

/// Takes a first look.
pub(crate) async fn look(
    single: &Single,
    guide: &Guide,
    dialer: &Arc<Dialer>,
    deadline: Deadline,
) -> Result<(), CacheError> {
    match guide {
        Guide::Primary => {
            let replicas = replicas_of(&single.primary()?, deadline).await?;
            put_replicas(single, replicas, dialer);
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

/// Looks again and again, until `single` is closed or gone.
pub(crate) async fn follow(single: Weak<Single>, guide: Guide, dialer: Arc<Dialer>) {
    loop {
        let (doubt, pause) = {
            let Some(single) = single.upgrade() else { return };
            let no_primary = match single.primary() {
                Ok(primary) => primary.is_down() || primary.greeting().replica,
                Err(_) => true,
            };
            let no_replica = single.read_from() == ReadFrom::Replica
                && single.replicas().iter().all(|replica| replica.is_down());
            let in_doubt = no_primary || no_replica;
            (Arc::clone(&single.doubt), if in_doubt { BRISK } else { CALM })
        };
        match &guide {
            Guide::Sentinels(sentinels) => {
                tokio::select! {
                    () = doubt.notified() => {}
                    () = sentinels.switched() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
            Guide::Primary => {
                let _ = tokio::time::timeout(pause, doubt.notified()).await;
            }
        }
        let Some(single) = single.upgrade() else { return };
        if single.is_closed() {
            return;
        }
        if let Err(error) = look(
            &single,
            &guide,
            &dialer,
            Deadline::after(dialer.limits().dial_timeout),
        )
        .await
        {
            tracing::debug!(%error, "could not look up the primary and its replicas");
        }
        if single.is_closed() {
            // What was found in the meantime must not outlive the rest.
            single.close();
            return;
        }
        drop(single);
        // Doubt comes with every failing call; one look answers all that came meanwhile.
        tokio::time::sleep(BRISK / 2).await;
    }
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
    if candidate.greeting().replica {
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
    let reply = accept(primary.send(&role, deadline).await?, role.name())?;
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
