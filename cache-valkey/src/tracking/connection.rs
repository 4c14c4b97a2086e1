//! The tracking state of one connection: whether changes of keys read over it are reported.
//!
//! Tracking is valid from the moment the server accepts it until the connection ends, and not while the
//! server is a replica. Copies are served only while the supervisor of the node runs ([`Lease`]): after the process was
//! frozen, not before the supervisor has asked the connection again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cache_core::{Invalidation, Lease, Place, TrackingStatus, Vouch};

use super::Feed;
use crate::reply::Reply;

/// The server's response to the tracking request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TrackingResponse {
    /// Tracking was not requested.
    NotRequested,
    /// The server tracks.
    Accepted,
    /// The server does not track, for this reason.
    Refused(String),
}

/// The tracking state of one connection.
///
/// The order of steps matters. Tracking becomes invalid before that is reported, and a read records that it
/// has begun before it checks validity. So a near cache that marks a key before reading it either hears of
/// the end after the mark, or gets an untracked answer.
#[derive(Debug)]
pub(crate) struct ConnectionTracking {
    feed: Arc<Feed>,
    /// The scope of tracked reads over this connection.
    place: Place,
    /// Valid while the supervisor looks after the connection.
    lease: Lease,
    response: Mutex<TrackingResponse>,
    /// Whether reads are tracked from now on.
    is_valid: AtomicBool,
    replica: AtomicBool,
    /// Whether any tracked read was sent.
    served: AtomicBool,
    ended: AtomicBool,
}

impl ConnectionTracking {
    /// The state of a connection that is being opened.
    pub(crate) fn new(feed: Arc<Feed>, lease: Lease) -> Arc<Self> {
        Arc::new(Self {
            feed,
            place: Place::new(),
            lease,
            response: Mutex::new(TrackingResponse::NotRequested),
            is_valid: AtomicBool::new(false),
            replica: AtomicBool::new(false),
            served: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        })
    }

    /// Sets the server's response to the tracking request.
    pub(crate) fn set_response(&self, response: TrackingResponse, replica: bool) {
        *self.response.lock().unwrap_or_else(PoisonError::into_inner) = response;
        self.replica.store(replica, Ordering::SeqCst);
        self.update_validity();
    }

    /// Sets the server's current role. A replica reports the changes that it replicates, but nothing tells
    /// when replication stops. So entries read from a primary are revoked when it becomes a replica.
    pub(crate) fn set_replica(&self, replica: bool) {
        if self.replica.swap(replica, Ordering::SeqCst) == replica {
            return;
        }
        self.update_validity();
        if replica && self.has_served() && !self.has_ended() {
            self.place.revoke();
            self.feed.deliver(&Invalidation::Revoked);
        }
    }

    fn update_validity(&self) {
        let is_valid = self.response() == TrackingResponse::Accepted
            && !self.replica.load(Ordering::SeqCst)
            && !self.ended.load(Ordering::SeqCst);
        self.is_valid.store(is_valid, Ordering::SeqCst);
    }

    pub(crate) fn response(&self) -> TrackingResponse {
        self.response
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Records that a tracked read of `slot` begins. Returns the promise to report changes, if tracking is
    /// valid.
    pub(crate) fn begin(&self, slot: u16) -> Option<Vouch> {
        if !self.is_valid() {
            return None;
        }
        self.served.store(true, Ordering::SeqCst);
        let vouch = Vouch::by(self.place, self.feed.slot(slot)).under(self.lease);
        self.is_valid().then_some(vouch)
    }

    /// Whether it is_valid Whether reads over the connection are tracked now.
    pub(crate) fn is_valid(&self) -> bool {
        self.is_valid.load(Ordering::SeqCst)
    }

    /// Whether it has vouched for anything.
    pub(crate) fn has_served(&self) -> bool {
        self.served.load(Ordering::SeqCst)
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Whether the server's presence and role must be checked at intervals.
    pub(crate) fn needs_role_checks(&self) -> bool {
        (self.has_served() || self.replica.load(Ordering::SeqCst))
            && self.response() == TrackingResponse::Accepted
    }

    /// Handles a push of the server.
    pub(crate) fn hear(&self, kind: &str, data: Vec<Reply>) {
        // Entries read over a connection that has ended are dropped already.
        if kind != "invalidate" || self.has_ended() || !self.feed.has_listeners() {
            return;
        }
        if let Some(event) = read(data) {
            self.feed.deliver(&event);
        }
    }

    /// Ends tracking. Returns after all listeners were told. Call it before a newer connection answers.
    /// Several callers may notice the end at once, and then each of them tells the listeners.
    pub(crate) fn end(&self) {
        self.is_valid.store(false, Ordering::SeqCst);
        if self.has_served() && !self.has_ended() {
            self.place.revoke();
            self.feed.deliver(&Invalidation::ConnectionLost);
        }
        self.ended.store(true, Ordering::SeqCst);
    }

    /// The connection's part of the tracking status.
    pub(crate) fn status(&self) -> Option<TrackingStatus> {
        match self.response() {
            TrackingResponse::Refused(reason) => Some(TrackingStatus::Off(reason)),
            TrackingResponse::Accepted if self.is_valid() => Some(TrackingStatus::On),
            _ => None,
        }
    }
}

/// Reads an invalidation: an array of keys, or nil if everything is gone. Keys that are not text are not this
/// client's.
fn read(mut data: Vec<Reply>) -> Option<Invalidation> {
    match data.pop()? {
        Reply::Nil => Some(Invalidation::Everything),
        Reply::Array(keys) => {
            let text = |key: Reply| String::from_utf8(key.into_value().ok()??.into()).ok();
            let keys: Vec<_> = keys.into_iter().filter_map(text).collect();
            (!keys.is_empty()).then_some(Invalidation::Keys(keys))
        }
        // An unknown message may be about any key.
        _ => Some(Invalidation::Everything),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tracking;
    use super::super::feed::Source;
    use super::*;
    use cache_core::InvalidationSource as _;

    type Heard = Arc<Mutex<Vec<Invalidation>>>;

    fn witness() -> (Arc<ConnectionTracking>, Heard, cache_core::Subscription) {
        let feed = Feed::new(Tracking::OptIn);
        let heard = Heard::default();
        let listener = {
            let heard = Arc::clone(&heard);
            move |event: &Invalidation| heard.lock().unwrap().push(event.clone())
        };
        let subscription = Source(Arc::clone(&feed)).subscribe(Arc::new(listener));
        let witness = ConnectionTracking::new(feed, Lease::new());
        witness.set_response(TrackingResponse::Accepted, false);
        (witness, heard, subscription)
    }

    fn bulk(bytes: &'static [u8]) -> Reply {
        Reply::Bulk(bytes.into())
    }

    #[test]
    fn message_yields_all_keys_that_are_text() {
        let keys = |keys| read(vec![Reply::Array(keys)]);
        assert_eq!(
            keys(vec![bulk(b"a"), bulk(b"\xff"), bulk(b"b")]),
            Some(Invalidation::Keys(vec!["a".into(), "b".into()]))
        );
        assert_eq!(keys(vec![bulk(b"\xff")]), None);
        assert_eq!(read(vec![Reply::Nil]), Some(Invalidation::Everything));
        assert_eq!(read(vec![Reply::Int(1)]), Some(Invalidation::Everything));
        assert_eq!(read(Vec::new()), None);
    }

    #[test]
    fn end_is_reported_once_and_only_after_a_read() {
        let (witness, heard, _subscription) = witness();
        let vouch = witness.begin(7).expect("it is valid");
        witness.end();
        assert!(!vouch.holds());
        witness.end();
        assert_eq!(*heard.lock().unwrap(), [Invalidation::ConnectionLost]);
        assert!(witness.begin(7).is_none() && !witness.is_valid());

        let (unused, heard, _subscription) = self::witness();
        unused.end();
        assert!(heard.lock().unwrap().is_empty());
    }

    #[test]
    fn late_message_of_an_ended_connection_is_ignored() {
        let (witness, heard, _subscription) = witness();
        let message = || vec![Reply::Array(vec![bulk(b"a")])];
        witness.hear("invalidate", message());
        witness.end();
        witness.hear("invalidate", message());
        assert_eq!(*heard.lock().unwrap(), [Invalidation::Keys(vec!["a".into()])]);
    }

    #[test]
    fn demoted_server_is_untracked_until_primary_again() {
        let (witness, heard, _subscription) = witness();
        let vouch = witness.begin(7).expect("it is valid");
        witness.set_replica(true);
        witness.set_replica(true);
        assert_eq!(*heard.lock().unwrap(), [Invalidation::Revoked]);
        assert!(!vouch.holds());
        assert!(witness.begin(7).is_none() && witness.needs_role_checks());
        witness.set_replica(false);
        assert!(witness.begin(7).is_some());
        assert_eq!(heard.lock().unwrap().len(), 1);
    }

    #[test]
    fn refused_tracking_is_never_valid() {
        let (witness, _, _subscription) = witness();
        witness.set_response(TrackingResponse::Refused("no".into()), false);
        assert!(witness.begin(7).is_none());
        assert_eq!(witness.status(), Some(TrackingStatus::Off("no".into())));
    }

    proptest::proptest! {
        #[test]
        fn unknown_message_invalidates_everything(
            reply in crate::reply::foreign::reply(&["billing:1", "k"]),
        ) {
            let keys = match &reply {
                Reply::Array(keys) => Some(keys.len()),
                _ => None,
            };
            match (read(vec![reply]), keys) {
                (Some(Invalidation::Keys(read)), Some(told)) => proptest::prop_assert!(read.len() <= told),
                // Keys, none of which can be one of ours.
                (None, told) => proptest::prop_assert!(told.is_some()),
                (event, told) => {
                    proptest::prop_assert_eq!(event, Some(Invalidation::Everything));
                    proptest::prop_assert_eq!(told, None);
                }
            }
        }
    }
}
