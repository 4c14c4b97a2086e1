//! Who is connected: how many, from where, and who makes room for a newcomer.
//!
//! A connection is trusted once a request on it was authenticated. Those that are not, such as of clients that never read
//! their answers, must not keep others out: where there is no room, the oldest of them ends.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// All connections of a listener.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    /// For each address.
    most_of_each: usize,
    members: Mutex<Members>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Members {
    next: u64,
    /// The oldest first.
    all: BTreeMap<u64, Member>,
}

#[derive(Debug)]
struct Member {
    address: IpAddr,
    standing: Standing,
    evicted: Arc<Notify>,
}

/// Whether a connection is trusted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing(Arc<AtomicBool>);

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    id: u64,
    pub(super) standing: Standing,
    evicted: Arc<Notify>,
}

impl Standing {
    /// A request was authenticated.
    pub(crate) fn trust(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Crowd {
    pub(super) fn new(most: usize, most_of_each: usize) -> Self {
        Self {
            most: most.max(1),
            most_of_each: most_of_each.max(1),
            members: Mutex::default(),
            left: Notify::new(),
        }
    }

    /// Waits until there is room, or somebody who makes room.
    pub(super) async fn has_room(&self) {
        while !self.has_room_now() {
            // One that left meanwhile is remembered.
            self.left.notified().await;
        }
    }

    fn has_room_now(&self) -> bool {
        let members = self.members();
        members.all.len() < self.most || members.oldest(None).is_some()
    }

    /// A place for a connection from `address`; `None` if there is no room and nobody makes room.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut members = self.members();
        let of_address = members.all.values().filter(|member| member.address == address);
        let from = (of_address.count() >= self.most_of_each).then_some(address);
        if from.is_some() || members.all.len() >= self.most {
            let oldest = members.oldest(from)?;
            members.evict(oldest);
        }
        let id = members.next;
        members.next += 1;
        let (standing, evicted) = (Standing::default(), Arc::new(Notify::new()));
        members.all.insert(
            id,
            Member {
                address,
                standing: standing.clone(),
                evicted: Arc::clone(&evicted),
            },
        );
        Some(Place {
            crowd: Arc::clone(self),
            id,
            standing,
            evicted,
        })
    }

    /// Ends all connections that are not trusted.
    pub(super) fn evict_strangers(&self) {
        let mut members = self.members();
        while let Some(oldest) = members.oldest(None) {
            members.evict(oldest);
        }
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    /// The oldest connection that is not trusted, of one address if that is given.
    fn oldest(&self, from: Option<IpAddr>) -> Option<u64> {
        let strangers = self.all.iter().find(|(_, member)| {
            !member.standing.is_trusted() && from.is_none_or(|from| member.address == from)
        });
        strangers.map(|(id, _)| *id)
    }

    fn evict(&mut self, id: u64) {
        if let Some(member) = self.all.remove(&id) {
            member.evicted.notify_one();
        }
    }
}

impl Place {
    /// Ends when another connection takes the place.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.members().all.remove(&self.id);
        self.crowd.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn the_oldest_stranger_makes_room_and_those_who_are_known_stay() {
        let crowd = Arc::new(Crowd::new(3, 3));
        let known = crowd.admit(address(1)).unwrap();
        known.standing.trust();
        let places: Vec<Place> = (2..4).map(|last| crowd.admit(address(last)).unwrap()).collect();
        assert!(crowd.has_room().now_or_never().is_some());
        let newest = crowd.admit(address(4)).unwrap();
        assert!(known.evicted().now_or_never().is_none());
        assert!(places[0].evicted().now_or_never().is_some());
        assert!(places[1].evicted().now_or_never().is_none());
        for place in [&places[1], &newest] {
            place.standing.trust();
        }
        assert!(crowd.admit(address(5)).is_none());
        assert!(crowd.has_room().now_or_never().is_none());
        drop(newest);
        assert!(crowd.has_room().now_or_never().is_some());
        assert!(crowd.admit(address(5)).is_some());
    }

    #[test]
    fn one_address_takes_the_places_of_its_own_only() {
        let crowd = Arc::new(Crowd::new(10, 2));
        let other = crowd.admit(address(9)).unwrap();
        let places: Vec<Place> = (0..5).map(|_| crowd.admit(address(1)).unwrap()).collect();
        assert!(other.evicted().now_or_never().is_none());
        let evicted = places
            .iter()
            .filter(|place| place.evicted().now_or_never().is_some());
        assert_eq!(evicted.count(), 3);
    }
}
