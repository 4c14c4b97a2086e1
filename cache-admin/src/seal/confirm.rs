//! Tokens by which an actor agrees to a removal of many keys.
//!
//! Each has a number of its own, by which whoever starts the removal can see that a token comes a second time. Not in
//! here: remembering that, which is the jobs' ([`JobRequest::with_confirmation`](crate::jobs::JobRequest)).

use std::time::Duration;

use super::stamp::{stamped, unstamped};
use super::{Binding, Purpose, Sealer, Unsealed};
use crate::{CacheIdentity, Selection};

/// What somebody is asked to agree to. A token for it is good for exactly this, and for five minutes.
#[derive(Clone, Copy, Debug)]
pub struct Confirmation<'a> {
    /// The keys: patterns and filters.
    pub selection: &'a Selection,
    /// What is to be done, such as `execute`, with whatever else must not change afterwards.
    pub mode: &'a str,
    /// Which cache it is about.
    pub cache: &'a CacheIdentity,
    /// The name of the actor.
    pub actor: &'a str,
}

impl Confirmation<'_> {
    /// How long an actor may think.
    pub const LIFE: Duration = Duration::from_secs(300);

    /// A token that says that `sealer` was asked about this; no two of them are the same.
    #[must_use]
    pub fn token(&self, sealer: &Sealer) -> String {
        let number = rand::random::<u128>().to_be_bytes();
        sealer.seal(
            Purpose::Confirm,
            &self.binding(),
            &stamped(self.cache, &number),
            Self::LIFE,
        )
    }

    /// Whether `token` was issued for exactly this, not long ago; the text that tells it from all others.
    ///
    /// # Errors
    ///
    /// Why it is not accepted.
    pub fn check(&self, sealer: &Sealer, token: &str) -> Result<String, Unsealed> {
        let said = sealer.open(Purpose::Confirm, &self.binding(), token)?;
        let number = unstamped(self.cache, &said)?;
        // Another version of this program may number them in another way.
        let number: [u8; 16] = number.try_into().map_err(|_| Unsealed::Foreign)?;
        Ok(format!("{:032x}", u128::from_be_bytes(number)))
    }

    fn binding(&self) -> Binding {
        Binding::new()
            .with_list(self.selection.fingerprint())
            .with(self.mode.as_bytes())
            .with_cache(self.cache)
            .with(self.actor.as_bytes())
    }
}
