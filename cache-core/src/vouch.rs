//! How long a copy of a read value is reliable: until its connection ends, or its slot moves to another
//! owner.
//!
//! A client creates a [`Vouch`] before it sends a read, and returns it with the answer. A near cache
//! (L1) checks it at every hit, which costs two loads from one table. So the end of a connection, or the move
//! of a slot, invalidates exactly the copies that depend on it, however many there are.
//!
//! A process that is frozen misses both. So a vouch can depend on a [`Lease`] as well, which the client renews while it
//! runs and after it has looked at its connections again: copies are not served in between.
//!
//! Not in here: who revokes and renews what, and when. The client decides that.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::clock::{self, Instant};

/// How often each scope was revoked. Scopes share table entries: a copy may be invalidated because of another
/// scope, and is then read again.
static REVOCATIONS: [AtomicU32; PLACES] = [const { AtomicU32::new(0) }; PLACES];
const PLACES: usize = 1 << 16;

/// When each lease ends, in microseconds since the first one was made; 0 is the past. Beyond this number leases share
/// table entries: a copy then may be served because another client runs.
static LEASES: [AtomicU64; LEASE_COUNT] = [const { AtomicU64::new(0) }; LEASE_COUNT];
const LEASE_COUNT: usize = 1 << 14;

/// What the ends of leases count from.
static EPOCH: OnceLock<Instant> = OnceLock::new();

/// What copies depend on: a connection, or a part of a client's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place(u16);

/// Proves that changes of a read value are reported, as long as it [holds](Self::holds).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vouch {
    places: [Place; 2],
    /// The sum of both scopes' revocations at creation. Neither count ever falls.
    revocations: u32,
    lease: Option<Lease>,
}

/// Until when somebody looks after the connections of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease(u16);

impl Place {
    /// A new scope that no copy depends on yet.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Spread out, so that consecutive scopes do not share parts.
        let [.., high, low] = number.wrapping_mul(0x9E37).to_be_bytes();
        Self(u16::from_be_bytes([high, low]))
    }

    /// The part with this number.
    #[must_use]
    pub const fn part(self, number: u16) -> Self {
        Self(self.0.wrapping_add(number).wrapping_add(1))
    }

    /// Invalidates every [`Vouch`] that depends on this scope.
    pub fn revoke(self) {
        REVOCATIONS[usize::from(self.0)].fetch_add(1, Ordering::SeqCst);
    }

    fn revocations(self) -> u32 {
        REVOCATIONS[usize::from(self.0)].load(Ordering::SeqCst)
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Vouch {
    /// Valid until one of the two scopes is revoked. Create it before the read is sent.
    #[must_use]
    pub fn by(one: Place, other: Place) -> Self {
        let places = [one, other];
        Self {
            places,
            revocations: Self::count(places),
            lease: None,
        }
    }

    /// The same, served under `lease` only.
    #[must_use]
    pub const fn under(self, lease: Lease) -> Self {
        Self {
            lease: Some(lease),
            ..self
        }
    }

    /// Whether a copy may be served at `now`: it [holds](Self::holds), and its lease has not ended. A lease that ended can
    /// be renewed, and the copy is served again.
    #[inline]
    #[must_use]
    pub fn holds_at(self, now: Instant) -> bool {
        self.lease.is_none_or(|lease| lease.is_valid(now)) && self.holds()
    }

    /// Whether changes have been reported without a gap since the read was sent, as far as the client has noticed.
    #[inline]
    #[must_use]
    pub fn holds(self) -> bool {
        Self::count(self.places) == self.revocations
    }

    fn count([one, other]: [Place; 2]) -> u32 {
        one.revocations().wrapping_add(other.revocations())
    }
}

impl Lease {
    /// A new lease, which has ended.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        EPOCH.get_or_init(clock::now);
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % (LEASE_COUNT as u64);
        Self(u16::try_from(number).unwrap_or_default())
    }

    /// Lets copies be served until `until`.
    pub fn renew(self, until: Instant) {
        self.end_at().store(micros(until), Ordering::SeqCst);
    }

    /// Lets no copy be served until the next renewal.
    pub fn end(self) {
        self.end_at().store(0, Ordering::SeqCst);
    }

    #[inline]
    fn is_valid(self, now: Instant) -> bool {
        micros(now) < self.end_at().load(Ordering::SeqCst)
    }

    fn end_at(self) -> &'static AtomicU64 {
        &LEASES[usize::from(self.0) % LEASE_COUNT]
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self::new()
    }
}

/// Since the first lease was made.
fn micros(at: Instant) -> u64 {
    let since = EPOCH.get().map(|epoch| at.saturating_duration_since(*epoch));
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn validity_ends_when_a_scope_is_revoked() {
        let (connection, client) = (Place::new(), Place::new());
        let of = |slot| Vouch::by(connection, client.part(slot));
        let (one, other) = (of(7), of(8));
        assert!(one.holds() && other.holds());
        client.part(7).revoke();
        assert!(!one.holds() && other.holds());
        assert!(of(7).holds(), "what is read from then on");
        connection.revoke();
        assert!(!other.holds());
    }

    #[test]
    fn copy_is_not_served_after_its_lease_until_that_is_renewed() {
        let (place, lease) = (Place::new(), Lease::new());
        let (free, leased) = (Vouch::by(place, place), Vouch::by(place, place).under(lease));
        let now = clock::now();
        assert!(free.holds_at(now) && leased.holds() && !leased.holds_at(now));
        let later = now + Duration::from_secs(1);
        lease.renew(later);
        assert!(leased.holds_at(now) && !leased.holds_at(later));
        lease.renew(later + Duration::from_secs(1));
        assert!(leased.holds_at(later));
        lease.end();
        assert!(!leased.holds_at(now));
        lease.renew(later);
        place.revoke();
        assert!(!leased.holds_at(now));
    }
}
