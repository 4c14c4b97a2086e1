//! The rotation schedule: which step comes next, when it is due, and what an earlier one would break.
//!
//! A service reads its keyset again every [refresh interval](RotationSchedule::with_refresh), and a value lives for at
//! most its [TTL](RotationSchedule::with_value_ttl). So a change has reached every service, and everything from before
//! it has expired, after the sum of both. Each step waits for that after the one before.
//!
//! Not in here: what is done, and where times come from.

use std::fmt;
use std::time::Duration;

use cache_layers::keyset::{KeyInfo, KeyStatus, KeysetInfo};

use super::times::{KeysetTimes, Moment};

/// How long the steps of a rotation wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RotationSchedule {
    refresh: Duration,
    value_ttl: Duration,
    every: Duration,
}

/// A step of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RotationStep {
    /// Add a new key, which does not seal yet.
    Add,
    /// Make a key the one that seals.
    Promote(u32),
    /// Stop a key from opening values.
    Disable(u32),
    /// Remove a key for good.
    Delete(u32),
}

/// A step, and from when on it is safe.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Due {
    /// The step.
    pub step: RotationStep,
    /// From when on it is safe; `None` if at any time.
    pub at: Option<Moment>,
    /// Why it has to wait: what would break if it came earlier.
    pub reason: &'static str,
}

impl Default for RotationSchedule {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(15 * 60),
            value_ttl: Duration::from_secs(60 * 60),
            every: Duration::from_secs(90 * 24 * 60 * 60),
        }
    }
}

impl RotationSchedule {
    /// How often services read their keyset. Default: 15 minutes.
    #[must_use]
    pub const fn with_refresh(mut self, refresh: Duration) -> Self {
        self.refresh = refresh;
        self
    }

    /// The longest TTL of the values. Default: 1 hour.
    #[must_use]
    pub const fn with_value_ttl(mut self, value_ttl: Duration) -> Self {
        self.value_ttl = value_ttl;
        self
    }

    /// How long a key seals before [`next`](Self::next) adds another one. Default: 90 days.
    #[must_use]
    pub const fn with_every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// How long a step waits for the one before.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        self.refresh.saturating_add(self.value_ttl)
    }

    /// From when on `step` is safe. The times have to [fit](KeysetTimes::fit) the keyset.
    #[must_use]
    pub fn due(&self, step: RotationStep, info: &KeysetInfo, times: &KeysetTimes) -> Due {
        let after = |moment: Option<Moment>, wait| {
            moment.map(|moment| Moment {
                since_epoch: moment.since_epoch.saturating_add(wait),
                ..moment
            })
        };
        let (at, reason) = match step {
            RotationStep::Add => (
                after(times.key(info.primary_key_id).promoted, self.every),
                "the primary key is younger than a key should get; an earlier new key breaks nothing",
            ),
            RotationStep::Promote(id) => (
                after(times.key(id).available(), self.wait()),
                "services that have not read the keyset since the key was added or enabled would miss every value \
                 that others seal with it",
            ),
            RotationStep::Disable(id) => {
                let key = times.key(id);
                // What never sealed can go at any time.
                let since = if key.was_primary() {
                    key.retired.or_else(|| times.key(info.primary_key_id).promoted)
                } else {
                    None
                };
                (
                    after(since, self.wait()),
                    "values that the key sealed have not expired, and services that have not read the keyset since \
                     may still seal with it; all of these would be misses",
                )
            }
            RotationStep::Delete(id) => {
                let since = match info.key(id).map(|key| key.status) {
                    // There is nothing left to lose.
                    Some(KeyStatus::Destroyed) | None => None,
                    Some(_) => times.key(id).disabled,
                };
                (
                    after(since, self.wait()),
                    "if values turn out to need the key it could not be enabled again; what it sealed would be lost",
                )
            }
        };
        Due { step, at, reason }
    }

    /// The next step of a rotation. The times have to [fit](KeysetTimes::fit) the keyset.
    ///
    /// A key that stands after the primary and never was the primary is the next primary. An enabled key that is
    /// neither is an old one: it is disabled, and then deleted. If there is only the primary, a new key is added when
    /// the primary is old enough.
    #[must_use]
    pub fn next(&self, info: &KeysetInfo, times: &KeysetTimes) -> Due {
        let is_old = |key: &&KeyInfo| key.status == KeyStatus::Enabled && !key.is_primary;
        let step = if let Some(key) = candidate(info, times) {
            RotationStep::Promote(key.id)
        } else if let Some(key) = info.keys.iter().find(is_old) {
            RotationStep::Disable(key.id)
        } else if let Some(key) = info.keys.iter().find(|key| key.status != KeyStatus::Enabled) {
            RotationStep::Delete(key.id)
        } else {
            RotationStep::Add
        };
        self.due(step, info, times)
    }
}

/// The newest key that was added to become the primary.
fn candidate<'a>(info: &'a KeysetInfo, times: &KeysetTimes) -> Option<&'a KeyInfo> {
    let after_primary = info.keys.iter().skip_while(|key| !key.is_primary).skip(1);
    let is_new = |key: &&KeyInfo| {
        let times = times.key(key.id);
        let was_retired = times.retired.is_some_and(|moment| !moment.is_assumed);
        key.status == KeyStatus::Enabled && times.promoted.is_none() && !was_retired
    };
    after_primary.filter(is_new).last()
}

impl Due {
    /// Whether it is safe at the time `now` since 1970.
    #[must_use]
    pub fn is_due(&self, now: Duration) -> bool {
        self.remaining(now).is_zero()
    }

    /// How long it takes until it is safe.
    #[must_use]
    pub fn remaining(&self, now: Duration) -> Duration {
        self.at
            .map_or(Duration::ZERO, |at| at.since_epoch.saturating_sub(now))
    }
}

impl RotationStep {
    /// The step's name, as `cachectl keyset` calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Promote(_) => "promote",
            Self::Disable(_) => "disable",
            Self::Delete(_) => "delete",
        }
    }

    /// The key's id.
    #[must_use]
    pub const fn key_id(self) -> Option<u32> {
        match self {
            Self::Add => None,
            Self::Promote(id) | Self::Disable(id) | Self::Delete(id) => Some(id),
        }
    }
}

/// As it is typed after `cachectl keyset`.
impl fmt::Display for RotationStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self.key_id() {
            Some(id) => write!(f, " {id}"),
            None => Ok(()),
        }
    }
}
