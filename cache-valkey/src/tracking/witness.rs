//! What one connection vouches for: that a change of what was read over it is reported.
//!
//! It vouches from the moment the server has agreed until the connection ends, and not while the server is
//! a replica. Copies are served only while the node's keeper runs ([`Lease`]): after the process was frozen, not before
//! the keeper has asked the connection again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cache_core::{Invalidation, Lease, Place, TrackingStatus, Vouch};

use super::Feed;
use crate::reply::Reply;

/// What the server said to the request to track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// It was not asked.
    None,
    /// It tracks.
    Given,
    /// It does not, for this reason.
    Refused(String),
}

/// What one connection vouches for.
///
/// The order of what it does counts: it stops vouching before it says so, and a read has noted that it is
/// under way before it asks whether the connection vouches. So whoever marks a key before reading it either
/// hears of the end after the mark, or gets an answer that is not tracked.
#[derive(Debug)]
pub(crate) struct Witness {
    feed: Arc<Feed>,
    /// What hangs on this connection.
    place: Place,
    /// Holds as long as somebody looks after the connection.
    lease: Lease,
    agreement: Mutex<Agreement>,
    /// Whether it vouches for what is read from now on.
    vouches: AtomicBool,
    replica: AtomicBool,
    /// Whether anything was read that may be kept.
    served: AtomicBool,
    ended: AtomicBool,
}

impl Witness {
    /// Of a connection that is being made.
    pub(crate) fn new(feed: Arc<Feed>, lease: Lease) -> Arc<Self> {
        Arc::new(Self {
            feed,
            place: Place::new(),
            lease,
            agreement: Mutex::new(Agreement::None),
            vouches: AtomicBool::new(false),
            replica: AtomicBool::new(false),
            served: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        })
    }

    /// The server answered to the request to track.
    pub(crate) fn agreed(&self, agreement: Agreement, replica: bool) {
        *self.agreement.lock().unwrap_or_else(PoisonError::into_inner) = agreement;
        self.replica.store(replica, Ordering::SeqCst);
        self.look_again();
    }

    /// The server said which role it has by now. A replica reports what reaches it, and nothing tells when
    /// that stops; so what was read from a primary is given up when it becomes one.
    pub(crate) fn set_replica(&self, replica: bool) {
        if self.replica.swap(replica, Ordering::SeqCst) == replica {
            return;
        }
        self.look_again();
        if replica && self.has_served() && !self.has_ended() {
            self.place.revoke();
            self.feed.deliver(&Invalidation::Revoked);
        }
    }

    fn look_again(&self) {
        let vouches = self.agreement() == Agreement::Given
            && !self.replica.load(Ordering::SeqCst)
            && !self.ended.load(Ordering::SeqCst);
        self.vouches.store(vouches, Ordering::SeqCst);
    }

    pub(crate) fn agreement(&self) -> Agreement {
        self.agreement
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notes that something of `slot` is about to be read that may be kept; the connection's word for it, if it
    /// vouches so far.
    pub(crate) fn begin(&self, slot: u16) -> Option<Vouch> {
        if !self.vouches() {
            return None;
        }
        self.served.store(true, Ordering::SeqCst);
        let vouch = Vouch::by(self.place, self.feed.slot(slot)).under(self.lease);
        self.vouches().then_some(vouch)
    }

    /// Whether it vouches for what is being read.
    pub(crate) fn vouches(&self) -> bool {
        self.vouches.load(Ordering::SeqCst)
    }

    /// Whether it has vouched for anything.
    pub(crate) fn has_served(&self) -> bool {
        self.served.load(Ordering::SeqCst)
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Whether the server has to be asked now and then if it is still there, and in which role.
    pub(crate) fn is_worth_asking(&self) -> bool {
        (self.has_served() || self.replica.load(Ordering::SeqCst)) && self.agreement() == Agreement::Given
    }

    /// A message of the server.
    pub(crate) fn hear(&self, kind: &str, data: Vec<Reply>) {
        // What was read over a connection that has ended is given up already.
        if kind != "invalidate" || self.has_ended() || !self.feed.is_heard() {
            return;
        }
        if let Some(event) = read(data) {
            self.feed.deliver(&event);
        }
    }

    /// The connection has ended. Returns when all have been told; to be called before anything newer answers,
    /// by everybody who notices: two who notice at once may both tell.
    pub(crate) fn end(&self) {
        self.vouches.store(false, Ordering::SeqCst);
        if self.has_served() && !self.has_ended() {
            self.place.revoke();
            self.feed.deliver(&Invalidation::ConnectionLost);
        }
        self.ended.store(true, Ordering::SeqCst);
    }

    /// What its connection, while it is open, contributes to the status.
    pub(crate) fn status(&self) -> Option<TrackingStatus> {
        match self.agreement() {
            Agreement::Refused(reason) => Some(TrackingStatus::Off(reason)),
            Agreement::Given if self.vouches() => Some(TrackingStatus::On),
            _ => None,
        }
    }
}

/// Reads an invalidation: one array of keys, or nil where everything is gone. Keys that are no text are none
/// of ours.
fn read(mut data: Vec<Reply>) -> Option<Invalidation> {
    match data.pop()? {
        Reply::Nil => Some(Invalidation::Everything),
        Reply::Array(keys) => {
            let text = |key: Reply| String::from_utf8(key.into_value().ok()??.into()).ok();
            let keys: Vec<_> = keys.into_iter().filter_map(text).collect();
            (!keys.is_empty()).then_some(Invalidation::Keys(keys))
        }
        // What cannot be understood may have been about anything.
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

    fn witness() -> (Arc<Witness>, Heard, cache_core::Subscription) {
        let feed = Feed::new(Tracking::OptIn);
        let heard = Heard::default();
        let listener = {
            let heard = Arc::clone(&heard);
            move |event: &Invalidation| heard.lock().unwrap().push(event.clone())
        };
        let subscription = Source(Arc::clone(&feed)).subscribe(Arc::new(listener));
        let witness = Witness::new(feed, Lease::new());
        witness.agreed(Agreement::Given, false);
        (witness, heard, subscription)
    }

    fn bulk(bytes: &'static [u8]) -> Reply {
        Reply::Bulk(bytes.into())
    }

    #[test]
    fn a_message_carries_many_keys_and_those_that_are_no_text_are_left_out() {
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
    fn the_end_is_told_once_and_only_where_something_was_read() {
        let (witness, heard, _subscription) = witness();
        let vouch = witness.begin(7).expect("it vouches");
        witness.end();
        assert!(!vouch.holds());
        witness.end();
        assert_eq!(*heard.lock().unwrap(), [Invalidation::ConnectionLost]);
        assert!(witness.begin(7).is_none() && !witness.vouches());

        let (unused, heard, _subscription) = self::witness();
        unused.end();
        assert!(heard.lock().unwrap().is_empty());
    }

    #[test]
    fn a_late_message_of_a_connection_that_has_ended_is_not_heard() {
        let (witness, heard, _subscription) = witness();
        let message = || vec![Reply::Array(vec![bulk(b"a")])];
        witness.hear("invalidate", message());
        witness.end();
        witness.hear("invalidate", message());
        assert_eq!(*heard.lock().unwrap(), [Invalidation::Keys(vec!["a".into()])]);
    }

    #[test]
    fn a_demoted_server_is_not_vouched_for_until_it_is_primary_again() {
        let (witness, heard, _subscription) = witness();
        let vouch = witness.begin(7).expect("it vouches");
        witness.set_replica(true);
        witness.set_replica(true);
        assert_eq!(*heard.lock().unwrap(), [Invalidation::Revoked]);
        assert!(!vouch.holds());
        assert!(witness.begin(7).is_none() && witness.is_worth_asking());
        witness.set_replica(false);
        assert!(witness.begin(7).is_some());
        assert_eq!(heard.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_server_that_refused_is_never_vouched_for() {
        let (witness, _, _subscription) = witness();
        witness.agreed(Agreement::Refused("no".into()), false);
        assert!(witness.begin(7).is_none());
        assert_eq!(witness.status(), Some(TrackingStatus::Off("no".into())));
    }

    proptest::proptest! {
        #[test]
        fn a_message_that_is_not_understood_is_about_everything(
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
