//! When each key of a keyset was added, promoted, disabled: kept as notes beside the keyset.
//!
//! A note is named `key/ID`; its text is `EVENT=TIME` for each event, separated by spaces, with a time as in
//! `2026-11-29T11:05:00Z`. A time that was not seen but only bounded ends with `/assumed`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use cache_layers::keyset::{KeyInfo, KeyStatus, KeysetInfo};

const PREFIX: &str = "key/";
const ASSUMED: &str = "/assumed";

/// When something happened to a key, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// The time since 1970-01-01 00:00 UTC.
    pub since_epoch: Duration,
    /// Whether it is only known that it happened before this: the keyset was changed by a tool that notes no times,
    /// and this is when that was noticed.
    pub is_assumed: bool,
}

/// What is known of a key's past. `None`: it never happened, or it was not noted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyTimes {
    /// When the key was added.
    pub added: Option<Moment>,
    /// When it was last enabled after it had been disabled. Enabling takes `disabled` away.
    pub enabled: Option<Moment>,
    /// When it last became the primary. That takes `retired` away.
    pub promoted: Option<Moment>,
    /// When it last ceased to be the primary.
    pub retired: Option<Moment>,
    /// When it was last disabled.
    pub disabled: Option<Moment>,
}

/// What is known of the past of a keyset's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysetTimes {
    keys: BTreeMap<u32, KeyTimes>,
}

impl Moment {
    /// This time, seen as it happened.
    #[must_use]
    pub const fn seen(since_epoch: Duration) -> Self {
        Self {
            since_epoch: Duration::from_secs(since_epoch.as_secs()),
            is_assumed: false,
        }
    }

    /// It happened before this time.
    #[must_use]
    pub const fn assumed(since_epoch: Duration) -> Self {
        Self {
            is_assumed: true,
            ..Self::seen(since_epoch)
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (time, is_assumed) = match text.strip_suffix(ASSUMED) {
            Some(time) => (time, true),
            None => (text, false),
        };
        let time = humantime::parse_rfc3339(time).ok()?;
        Some(Self {
            is_assumed,
            ..Self::seen(time.duration_since(UNIX_EPOCH).ok()?)
        })
    }
}

/// As in `2026-11-29T11:05:00Z`.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_seconds(UNIX_EPOCH + self.since_epoch).fmt(f)
    }
}

impl KeysetTimes {
    /// Reads the notes of a keyset. What is no note of a key, or says no time, is passed over.
    #[must_use]
    pub fn from_notes(notes: &BTreeMap<String, String>) -> Self {
        let keys = notes.iter().filter_map(|(name, text)| {
            let id = name.strip_prefix(PREFIX)?.parse().ok()?;
            Some((id, KeyTimes::parse(text)))
        });
        Self { keys: keys.collect() }
    }

    /// The notes with these times in them; other notes stay, those of keys that are gone do not.
    #[must_use]
    pub fn into_notes(&self, notes: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut new: BTreeMap<_, _> = notes
            .iter()
            .filter(|(name, _)| !name.starts_with(PREFIX))
            .map(|(name, text)| (name.clone(), text.clone()))
            .collect();
        for (id, times) in &self.keys {
            let text = times.to_string();
            if !text.is_empty() {
                new.insert(format!("{PREFIX}{id}"), text);
            }
        }
        new
    }

    /// What is known of the key `id`.
    #[must_use]
    pub fn key(&self, id: u32) -> KeyTimes {
        self.keys.get(&id).cloned().unwrap_or_default()
    }

    /// What is known of the key `id`, to be changed.
    pub fn key_mut(&mut self, id: u32) -> &mut KeyTimes {
        self.keys.entry(id).or_default()
    }

    /// Makes the times fit the keyset as it is: keys that are gone are dropped, and what must have happened unnoticed
    /// is assumed to have happened just now. Returns the ids of keys with such times.
    ///
    /// So a keyset that another tool made or changed is handled as if all of it had happened when it was first seen:
    /// the schedule waits too long rather than too short a time.
    pub fn fit(&mut self, info: &KeysetInfo, now: Duration) -> Vec<u32> {
        self.keys.retain(|id, _| info.key(*id).is_some());
        let now = Moment::assumed(now);
        let mut unknown = Vec::new();
        for key in &info.keys {
            if self.key_mut(key.id).fit(key, now) {
                unknown.push(key.id);
            }
        }
        unknown
    }
}

impl KeyTimes {
    /// Since when the key has been there to open values.
    #[must_use]
    pub fn available(&self) -> Option<Moment> {
        self.enabled.max(self.added)
    }

    /// Whether the key was ever the primary, as far as is known.
    #[must_use]
    pub const fn was_primary(&self) -> bool {
        self.promoted.is_some() || self.retired.is_some()
    }

    /// The key becomes the primary.
    pub(super) const fn promote(&mut self, at: Moment) {
        self.promoted = Some(at);
        self.retired = None;
    }

    /// Another key becomes the primary in its place.
    pub(super) const fn retire(&mut self, at: Moment) {
        self.retired = Some(at);
    }

    pub(super) const fn enable(&mut self, at: Moment) {
        self.enabled = Some(at);
        self.disabled = None;
    }

    pub(super) const fn disable(&mut self, at: Moment) {
        self.disabled = Some(at);
    }

    fn fit(&mut self, key: &KeyInfo, now: Moment) -> bool {
        let before = self.clone();
        if self.added.is_none() {
            self.added = Some(now);
            // Then nothing is known of its past as primary either.
            if !key.is_primary && self.retired.is_none() {
                self.retired = Some(now);
            }
        }
        if key.is_primary {
            if self.promoted.is_none() || self.retired.is_some() {
                self.promote(now);
            }
        } else if self.promoted.is_some() && self.retired.is_none() {
            self.retire(now);
        }
        match key.status {
            KeyStatus::Enabled if self.disabled.is_some() => self.enable(now),
            KeyStatus::Disabled if self.disabled.is_none() => self.disable(now),
            _ => {}
        }
        *self != before
    }

    fn parse(text: &str) -> Self {
        let mut times = Self::default();
        for word in text.split_whitespace() {
            let Some((event, time)) = word.split_once('=') else {
                continue;
            };
            let time = Moment::parse(time);
            match event {
                "added" => times.added = time,
                "enabled" => times.enabled = time,
                "promoted" => times.promoted = time,
                "retired" => times.retired = time,
                "disabled" => times.disabled = time,
                _ => {}
            }
        }
        times
    }

    /// The events with their times.
    pub fn events(&self) -> impl Iterator<Item = (&'static str, Moment)> {
        [
            ("added", self.added),
            ("enabled", self.enabled),
            ("promoted", self.promoted),
            ("retired", self.retired),
            ("disabled", self.disabled),
        ]
        .into_iter()
        .filter_map(|(event, time)| Some((event, time?)))
    }
}

/// As a note says it.
impl fmt::Display for KeyTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (event, time)) in self.events().enumerate() {
            let (space, assumed) = (
                if index > 0 { " " } else { "" },
                if time.is_assumed { ASSUMED } else { "" },
            );
            write!(f, "{space}{event}={time}{assumed}")?;
        }
        Ok(())
    }
}
