//! Asks sentinels for the primary, and subscribes to its changes.
//!
//! Follows the sentinel client guidelines: any sentinel may answer, the others are tried in turn, and the
//! named primary is checked before it is used (`primary_discovery.rs`).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::config::Address;
use cache_core::{CacheError, ConfigError, Outcome, Unavailability};
use tokio::sync::Notify;

use crate::aging::{Pace, retirement};
use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::{Dialer, Mode};
use crate::error::accept;
use crate::identity::Expected;
use crate::reply::Reply;
use crate::wire::{Connection, Events};

/// How long to wait for one sentinel before asking the next one.
const PATIENCE: Duration = Duration::from_secs(1);

/// The channels on which sentinels announce a new primary. `+switch-master` comes once all replicas are
/// reconfigured. `+promoted-slave` comes from the sentinel that conducts the failover, up to a second
/// earlier; writes to the old primary in between are lost.
const ANNOUNCEMENTS: [&str; 2] = ["+switch-master", "+promoted-slave"];

/// Sentinels that watch one primary.
#[derive(Debug)]
pub(crate) struct Sentinels {
    addresses: Vec<Address>,
    master: String,
    dialer: Dialer,
    /// The connection to the sentinel that answered last, subscribed to announcements.
    current: Mutex<Option<Current>>,
    /// Limits replacements of the connection because of its age.
    pace: Mutex<Pace>,
    first: AtomicUsize,
    switch_signal: Arc<SwitchSignal>,
    closed: AtomicBool,
}

/// The connection in use.
#[derive(Clone, Debug)]
struct Current {
    connection: Arc<Connection>,
    /// Whether it is subscribed to announcements.
    has_announcements: bool,
    /// When it must be replaced.
    retire_at: Option<Instant>,
}

/// Announcements of sentinels.
#[derive(Debug, Default)]
struct SwitchSignal {
    switching: AtomicBool,
    arrived: Notify,
}

/// The primary and its replicas, as a sentinel names them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SentinelView {
    pub(crate) primary: Address,
    pub(crate) replicas: Vec<Address>,
}

impl Sentinels {
    pub(crate) fn new(addresses: Vec<Address>, master: String, dialer: Dialer) -> Self {
        let switch_signal = Arc::new(SwitchSignal::default());
        Self {
            addresses,
            master,
            dialer,
            current: Mutex::new(None),
            pace: Mutex::default(),
            first: AtomicUsize::new(0),
            switch_signal,
            closed: AtomicBool::new(false),
        }
    }

    /// Waits until a sentinel announces another primary, or the connection is lost.
    pub(crate) async fn switched(&self) {
        self.switch_signal.arrived.notified().await;
    }

    /// Whether a sentinel would announce a switch.
    pub(crate) fn is_listening(&self) -> bool {
        self.open_connection()
            .is_some_and(|current| current.has_announcements)
    }

    /// Whether an announced switch has not been applied yet.
    pub(crate) fn is_switching(&self) -> bool {
        self.switch_signal.switching.load(Ordering::Acquire)
    }

    /// Records that the announced switch has been applied.
    pub(crate) fn mark_switch_done(&self) {
        self.switch_signal.switching.store(false, Ordering::Release);
    }

    /// The error if the named primary still says that it is a replica.
    pub(crate) fn not_yet(address: &Address) -> CacheError {
        CacheError::Unavailable {
            reason: Unavailability::NotReady,
            detail: format!("the sentinels name {address} as the primary, which is still a replica").into(),
            outcome: Outcome::NotApplied,
            source: None,
        }
    }

    /// Asks for the primary, and for the replicas if wanted. The first sentinel that answers decides.
    pub(crate) async fn locate(
        &self,
        with_replicas: bool,
        deadline: Deadline,
    ) -> Result<SentinelView, CacheError> {
        let mut old = self.open_connection();
        if let Some(current) = &old
            && (!is_worn(current) || !self.pace().begin_if_ready())
        {
            if let Some(found) = self
                .ask_in_time(&current.connection, with_replicas, deadline)
                .await
            {
                return Ok(found);
            }
            self.keep(None);
            old = None;
        }
        let first = self.first.load(Ordering::Relaxed);
        let mut last = None;
        for step in 0..self.addresses.len() {
            let index = (first + step) % self.addresses.len();
            let limit = PATIENCE.min(deadline.remaining());
            match tokio::time::timeout(limit, self.try_one(&self.addresses[index], with_replicas)).await {
                Ok(Ok(found)) => {
                    self.first.store(index, Ordering::Relaxed);
                    self.pace().succeeded();
                    return Ok(found);
                }
                // A permanent error is more useful than an unreachable sentinel.
                Ok(Err(error)) if last.as_ref().is_none_or(CacheError::is_transient) => last = Some(error),
                Ok(Err(_)) => {}
                Err(_) => {
                    last.get_or_insert_with(|| unreachable_sentinel(&self.addresses[index]));
                }
            }
        }
        // An old connection is better than none.
        if let Some(current) = old {
            self.pace().failed();
            if let Some(found) = self
                .ask_in_time(&current.connection, with_replicas, deadline)
                .await
            {
                return Ok(found);
            }
            self.keep(None);
        }
        Err(last.unwrap_or_else(|| CacheError::Config(ConfigError::one("CACHE_ADDRS", "names no sentinel"))))
    }

    fn open_connection(&self) -> Option<Current> {
        let current = self
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        current.filter(|current| !current.connection.is_closed())
    }

    async fn ask_in_time(
        &self,
        connection: &Connection,
        with_replicas: bool,
        deadline: Deadline,
    ) -> Option<SentinelView> {
        let limit = PATIENCE.min(deadline.remaining());
        let asked = tokio::time::timeout(limit, self.ask(connection, with_replicas)).await;
        asked.ok()?.ok()
    }

    async fn try_one(&self, address: &Address, with_replicas: bool) -> Result<SentinelView, CacheError> {
        let events = Arc::new(Announcements {
            master: self.master.clone(),
            switch_signal: Arc::clone(&self.switch_signal),
        });
        let dialed = self
            .dialer
            .dial(address, Mode::Auxiliary, &Expected::AnyServer, events)
            .await;
        let dialed = dialed.map_err(of_the_sentinel)?;
        let (connection, has_pushes) = (dialed.connection, dialed.has_pushes);
        let found = self.ask(&connection, with_replicas).await?;
        let names = std::iter::once(&found.primary).chain(&found.replicas);
        self.dialer.announced().note(address, names);
        // Announcements only shorten the wait. Without them, the sentinel is asked repeatedly.
        let mut has_announcements = has_pushes;
        for channel in ANNOUNCEMENTS.iter().filter(|_| has_pushes) {
            let subscribe = Command::read("SUBSCRIBE").arg(*channel);
            let subscribed = connection.send(&subscribe, Deadline::after(PATIENCE)).await;
            if let Err(error) = subscribed.and_then(|reply| accept(reply, "SUBSCRIBE")) {
                tracing::debug!(sentinel = %address, %error, "no announcements from this sentinel");
                has_announcements = false;
            }
        }
        self.keep(Some(Current {
            connection: Arc::new(connection),
            has_announcements,
            retire_at: retirement(self.dialer.limits().max_age),
        }));
        Ok(found)
    }

    async fn ask(&self, connection: &Connection, with_replicas: bool) -> Result<SentinelView, CacheError> {
        let primary = Command::read("SENTINEL")
            .arg("GET-MASTER-ADDR-BY-NAME")
            .arg(&self.master);
        let replicas = Command::read("SENTINEL").arg("REPLICAS").arg(&self.master);
        let mut questions = vec![&primary];
        if with_replicas {
            questions.push(&replicas);
        }
        let mut replies = connection
            .send_batch(&questions, Deadline::after(PATIENCE))
            .await?
            .into_iter();
        let primary = accept(replies.next().unwrap_or(Reply::Nil), "SENTINEL")?;
        let primary = read_address(&primary).ok_or_else(|| {
            CacheError::Config(ConfigError::one(
                "CACHE_SENTINEL_MASTER",
                format!("the sentinels watch no primary named {}", self.master),
            ))
        })?;
        let replicas = match replies.next() {
            Some(reply) => read_replicas(&accept(reply, "SENTINEL")?),
            None => Vec::new(),
        };
        Ok(SentinelView { primary, replicas })
    }

    /// Closes the connection, including one that is being opened.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.keep(None);
    }

    fn keep(&self, current: Option<Current>) {
        let mut kept = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = current.filter(|_| !self.closed.load(Ordering::Acquire));
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_worn(current: &Current) -> bool {
    current.retire_at.is_some_and(|at| clock::now() >= at)
}

/// Receives the announcements of one sentinel.
struct Announcements {
    master: String,
    switch_signal: Arc<SwitchSignal>,
}

impl Events for Announcements {
    fn on_push(&self, kind: &str, data: Vec<Reply>) {
        // message, channel, "<master> <old host> <old port> <new host> <new port>", or
        // message, channel, "slave <name> <host> <port> @ <master> <old host> <old port>"
        let text = data.last().and_then(Reply::as_text).unwrap_or_default();
        let master = text.split_once(" @ ").map_or(text, |(_, master)| master);
        if kind == "message" && master.split(' ').next() == Some(&self.master) {
            self.switch_signal.switching.store(true, Ordering::Release);
            self.switch_signal.arrived.notify_one();
        }
    }

    fn on_closed(&self) {
        self.switch_signal.arrived.notify_one();
    }
}

fn read_address(reply: &Reply) -> Option<Address> {
    let Reply::Array(fields) = reply else { return None };
    Some(Address::new(
        fields.first()?.as_text()?,
        fields.get(1)?.as_text()?.parse().ok()?,
    ))
}

/// The replicas in a sentinel's list that are up.
fn read_replicas(reply: &Reply) -> Vec<Address> {
    let Reply::Array(replicas) = reply else {
        return Vec::new();
    };
    replicas
        .iter()
        .filter(|replica| {
            let flags = replica
                .field("flags")
                .and_then(Reply::as_text)
                .unwrap_or_default();
            !flags
                .split(',')
                .any(|flag| matches!(flag, "s_down" | "o_down" | "disconnected"))
        })
        .filter_map(|replica| {
            let host = replica.field("ip")?.as_text()?;
            let port = replica.field("port")?.as_text()?.parse().ok()?;
            Some(Address::new(host, port))
        })
        .collect()
}

/// Sentinels have their own users and passwords, so the error names their variables.
fn of_the_sentinel(error: CacheError) -> CacheError {
    match error {
        CacheError::Unauthorized { source, .. } => CacheError::Unauthorized {
            detail: "the sentinel refused the user name or the password, or asks for one; check CACHE_SENTINEL_USERNAME and \
                     CACHE_SENTINEL_PASSWORD"
                .into(),
            source,
        },
        other => other,
    }
}

fn unreachable_sentinel(address: &Address) -> CacheError {
    CacheError::Unavailable {
        reason: Unavailability::Connect,
        detail: format!("the sentinel {address} did not answer in time").into(),
        outcome: Outcome::NotApplied,
        source: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Reply {
        Reply::Bulk(text.to_owned().into())
    }

    #[test]
    fn replicas_that_are_down_are_left_out() {
        let replica = |port, flags| {
            Reply::Map(vec![
                (text("ip"), text("10.0.0.2")),
                (text("port"), text(port)),
                (text("flags"), text(flags)),
            ])
        };
        let list = Reply::Array(vec![
            replica("1", "slave"),
            replica("2", "s_down,slave,disconnected"),
        ]);
        assert_eq!(read_replicas(&list), [Address::new("10.0.0.2", 1)]);
    }

    #[test]
    fn only_a_switch_of_the_watched_primary_is_signalled() {
        let switch_signal = Arc::new(SwitchSignal::default());
        let announcements = Announcements {
            master: "cache".into(),
            switch_signal: Arc::clone(&switch_signal),
        };
        let say = |line: &str| announcements.on_push("message", vec![text("+switch-master"), text(line)]);
        say("other 10.0.0.1 1 10.0.0.2 2");
        assert!(!switch_signal.switching.load(Ordering::Acquire));
        say("cache 10.0.0.1 1 10.0.0.2 2");
        assert!(switch_signal.switching.swap(false, Ordering::AcqRel));
        say("slave 10.0.0.2:2 10.0.0.2 2 @ other 10.0.0.1 1");
        assert!(!switch_signal.switching.load(Ordering::Acquire));
        say("slave 10.0.0.2:2 10.0.0.2 2 @ cache 10.0.0.1 1");
        assert!(switch_signal.switching.load(Ordering::Acquire));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_sentinel_reply_yields_address_or_none(
            reply in crate::reply::foreign::reply(&["ip", "port", "flags", "slave", "6379", "10.0.0.1"]),
        ) {
            let _whatever = read_address(&reply);
            proptest::prop_assert!(matches!(reply, Reply::Array(_)) || read_replicas(&reply).is_empty());
        }
    }
}
