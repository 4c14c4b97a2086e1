//! How long a copy of a read value is reliable: until its connection ends, or its slot moves to another
//! owner.
//!
//! A client creates a [`Vouch`] before it sends a read, and returns it with the answer. A near cache
//! (L1) checks it at every hit, which costs two loads from one table. So the end of a connection, or the move
//! of a slot, invalidates exactly the copies that depend on it, however many there are.
//!
//! Not in here: who revokes what, and when. The client decides that.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How often each scope was revoked. Scopes share table entries: a copy may be invalidated because of another
/// scope, and is then read again.
static REVOCATIONS: [AtomicU32; PLACES] = [const { AtomicU32::new(0) }; PLACES];
const PLACES: usize = 1 << 16;

/// What copies depend on: a connection, or a part of a client's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place(u16);

/// Proves that changes of a read value are reported, as long as it [holds](Self::holds).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vouch {
    places: [Place; 2],
    /// The sum of both scopes' revocations at creation. Neither count ever falls.
    revocations: u32,
}

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
        }
    }

    /// Whether changes have been reported without a gap since the read was sent.
    #[inline]
    #[must_use]
    pub fn holds(self) -> bool {
        Self::count(self.places) == self.revocations
    }

    fn count([one, other]: [Place; 2]) -> u32 {
        one.revocations().wrapping_add(other.revocations())
    }
}

#[cfg(test)]
mod tests {
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
}
