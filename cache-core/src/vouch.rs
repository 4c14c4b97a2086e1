//! For how long a copy of what was read can be trusted: until its connection ends, or its slot gets another owner.
//!
//! A client makes a [`Vouch`] before it sends a read, and hands it out with the answer. What keeps a copy looks at it
//! with every hit: that is two loads from one table. So a connection that ends, or a slot that moves, takes exactly
//! the copies away that hang on it, whatever their number, and no other ones.
//!
//! Not in here: who revokes what, and when. That is the client's.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How often what each place stands for was revoked. Places share entries: a copy may be taken away for the sake of
/// another place, and is read again.
static REVOCATIONS: [AtomicU32; PLACES] = [const { AtomicU32::new(0) }; PLACES];
const PLACES: usize = 1 << 16;

/// Something that copies can hang on: a connection, or a part of a client's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place(u16);

/// That changes of what was read are reported, as long as it [holds](Self::holds).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vouch {
    places: [Place; 2],
    /// How often both were revoked, when this was made. Neither number ever falls.
    revocations: u32,
}

impl Place {
    /// A place that nothing hangs on yet.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Spread, so that places made one after the other are far from each other's parts.
        let [.., high, low] = number.wrapping_mul(0x9E37).to_be_bytes();
        Self(u16::from_be_bytes([high, low]))
    }

    /// One of its parts, by a number.
    #[must_use]
    pub const fn part(self, number: u16) -> Self {
        Self(self.0.wrapping_add(number).wrapping_add(1))
    }

    /// Ends every vouch that hangs on it.
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
    /// A vouch that holds until one of the two is revoked. To be made before the read is sent.
    #[must_use]
    pub fn by(one: Place, other: Place) -> Self {
        let places = [one, other];
        Self {
            places,
            revocations: Self::count(places),
        }
    }

    /// Whether changes have been reported all the time since the read was sent.
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
    fn a_vouch_holds_until_one_of_its_places_is_revoked() {
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
