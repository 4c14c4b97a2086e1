//! Changing a keyset where it is stored: read, check the schedule, change, write unless someone else wrote first, with the time
//! noted.
//!
//! Not in here: what is printed, and how a location is named.

use std::sync::Arc;
use std::time::Duration;

use cache_core::CacheError;
use cache_core::keyset::{Expected, KeyEncryption, KeysetStore, StoredKeyset};
use cache_layers::WallClock;
use cache_layers::keyset::{KeyStatus, KeysetEditor, KeysetForm, KeysetInfo};

use super::schedule::{Due, RotationSchedule, RotationStep};
use super::times::{KeysetTimes, Moment};

/// Changes one keyset.
#[derive(Clone, Debug)]
pub struct KeysetAdmin {
    store: Arc<dyn KeysetStore>,
    kek: Option<Arc<dyn KeyEncryption>>,
    clock: Arc<dyn WallClock>,
    schedule: RotationSchedule,
}

/// A change of a keyset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeysetChange {
    /// A step of a rotation.
    Step(RotationStep),
    /// The next step, if it is due.
    Next,
    /// Let a disabled key open values again.
    Enable(u32),
}

/// What to do with a step that comes too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Early {
    /// Refuse it.
    Refuse,
    /// Carry it out.
    Force,
}

/// A keyset as it is stored, with what is known of its past.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeysetView {
    /// Its form.
    pub form: KeysetForm,
    /// Its keys.
    pub info: KeysetInfo,
    /// Whether it was decrypted. If not, `info` is what its writer noted beside the ciphertext, which nothing proves.
    pub is_proved: bool,
    /// When what happened; fits `info`.
    pub times: KeysetTimes,
    /// Keys with times that were unknown and are assumed to be now.
    pub unknown: Vec<u32>,
    /// The next step of the rotation.
    pub next: Due,
}

/// What became of a change.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Changed {
    /// What was done, or with a dry run would be. `None` if nothing: the keyset is already so, or the next step is not
    /// due.
    pub done: Option<KeysetChange>,
    /// The id of the key that was added.
    pub added: Option<u32>,
    /// The step that was carried out although it was early.
    pub forced: Option<Due>,
    /// The keyset after the change.
    pub after: KeysetView,
}

/// Why a keyset was not changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysetError {
    /// The step is early.
    #[error("{} is safe in {}, not before: {}", due.step, humantime::format_duration(*remaining), due.reason)]
    TooEarly {
        /// The step, when it is due, and why.
        due: Due,
        /// How long it takes until then.
        remaining: Duration,
        /// Keys with times that were unknown and count from now.
        unknown: Vec<u32>,
    },
    /// A key that still opens values should be deleted.
    #[error(
        "key {0} is enabled: disable it first, which can be undone, and delete it when nothing misses it"
    )]
    StillEnabled(u32),
    /// The keyset could not be read, changed or written.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl KeysetAdmin {
    /// Changes the keyset in `store`, which `kek` encrypts, by the default schedule.
    #[must_use]
    pub fn new(
        store: Arc<dyn KeysetStore>,
        kek: Option<Arc<dyn KeyEncryption>>,
        clock: Arc<dyn WallClock>,
    ) -> Self {
        Self {
            store,
            kek,
            clock,
            schedule: RotationSchedule::default(),
        }
    }

    /// By this schedule.
    #[must_use]
    pub const fn with_schedule(mut self, schedule: RotationSchedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// The schedule.
    #[must_use]
    pub const fn schedule(&self) -> &RotationSchedule {
        &self.schedule
    }

    /// The time since 1970-01-01 00:00 UTC.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.clock.since_epoch()
    }

    /// Where the keyset is, for messages.
    #[must_use]
    pub fn location(&self) -> String {
        self.store.location()
    }

    /// Makes a new keyset with one key. It is encrypted if there is a key-encryption key.
    ///
    /// # Errors
    ///
    /// [`CacheError::Rejected`] with the code `CONFLICT` if there is a keyset already, and as [`KeysetStore::write`].
    pub async fn create(&self, form: KeysetForm, dry_run: bool) -> Result<KeysetView, CacheError> {
        match self.store.read().await {
            Err(CacheError::Miss) => {}
            Ok(_) => {
                return Err(CacheError::Rejected {
                    code: "CONFLICT".into(),
                    detail: format!("{} holds a keyset already; nothing was written", self.location()).into(),
                });
            }
            Err(error) => return Err(error),
        }
        let editor = KeysetEditor::create()?;
        let now = Moment::seen(self.now());
        let mut times = KeysetTimes::default();
        let key = times.key_mut(editor.info().primary_key_id);
        (key.added, key.promoted) = (Some(now), Some(now));
        let view = self.view_of(&editor, form, times);
        if !dry_run {
            let stored = editor.write(form, self.kek.as_deref()).await?;
            let notes = view.times.into_notes(&std::collections::BTreeMap::new());
            self.store.write(&stored, &notes, Expected::Absent).await?;
        }
        Ok(view)
    }

    /// Reads the keyset. Without the key-encryption key of an encrypted keyset, shows what its writer noted.
    ///
    /// # Errors
    ///
    /// As [`KeysetStore::read`] and [`load`](cache_layers::keyset::load()); [`CacheError::Corrupt`] if an encrypted
    /// keyset has no notes of its keys and there is no key to decrypt it.
    pub async fn view(&self) -> Result<KeysetView, CacheError> {
        let stored = self.store.read().await?;
        let times = KeysetTimes::from_notes(&stored.notes);
        let (shown, form) = KeysetEditor::peek(&stored.bytes)?;
        if form.is_encrypted() && self.kek.is_none() {
            let info = shown.ok_or_else(|| CacheError::Corrupt {
                detail: "the encrypted keyset does not show its keys; give the key that decrypts it".into(),
                source: None,
            })?;
            return Ok(self.view_with(info, form, false, times));
        }
        let (editor, form) = KeysetEditor::read(&stored.bytes, self.kek.as_deref()).await?;
        Ok(self.view_of(&editor, form, times))
    }

    /// Changes the keyset, unless a step comes too early or somebody else writes at the same time.
    ///
    /// Times that are unknown are noted as now, also if the step is refused for that: the next try then knows how long
    /// to wait. With `dry_run` nothing is written.
    ///
    /// # Errors
    ///
    /// [`KeysetError::TooEarly`] and [`KeysetError::StillEnabled`] with [`Early::Refuse`]; [`CacheError::InvalidInput`] if the change is not possible;
    /// [`CacheError::Rejected`] with the code `CONFLICT` if somebody else wrote: nothing was written then.
    pub async fn change(
        &self,
        change: KeysetChange,
        early: Early,
        dry_run: bool,
    ) -> Result<Changed, KeysetError> {
        let stored = self.store.read().await?;
        let (mut editor, form) = KeysetEditor::read(&stored.bytes, self.kek.as_deref()).await?;
        let view = self.view_of(&editor, form, KeysetTimes::from_notes(&stored.notes));
        let now = self.now();

        let due = match change {
            KeysetChange::Next => Some(view.next.clone()),
            // A new key breaks nothing; only the assistant waits for it.
            KeysetChange::Step(RotationStep::Add) | KeysetChange::Enable(_) => None,
            KeysetChange::Step(step) => Some(self.schedule.due(step, &view.info, &view.times)),
        };
        let step = match (change, &due) {
            (KeysetChange::Next, Some(due)) => KeysetChange::Step(due.step),
            _ => change,
        };
        if let KeysetChange::Step(RotationStep::Delete(id)) = step
            && early == Early::Refuse
            && view
                .info
                .key(id)
                .is_some_and(|key| !key.is_primary && key.status == KeyStatus::Enabled)
        {
            return Err(KeysetError::StillEnabled(id));
        }
        let mut times = view.times.clone();
        let outcome = apply(&mut editor, step, &mut times, Moment::seen(now))?;
        let forced = due.filter(|due| outcome.is_new && !due.is_due(now));
        if let Some(due) = &forced
            && early == Early::Refuse
        {
            if !view.unknown.is_empty() && !dry_run {
                self.note(&stored, &view.times).await?;
            }
            if change == KeysetChange::Next {
                return Ok(Changed {
                    done: None,
                    added: None,
                    forced: None,
                    after: view,
                });
            }
            return Err(KeysetError::TooEarly {
                due: due.clone(),
                remaining: due.remaining(now),
                unknown: view.unknown,
            });
        }
        let unknown = view.unknown;
        let mut after = self.view_of(&editor, form, times);
        after.unknown = unknown;
        if outcome.is_new && !dry_run {
            let written = editor.write(form, self.kek.as_deref()).await?;
            let notes = after.times.into_notes(&stored.notes);
            self.store
                .write(&written, &notes, Expected::Version(&stored.version))
                .await?;
        }
        Ok(Changed {
            done: outcome.is_new.then_some(step),
            added: outcome.added,
            forced,
            after,
        })
    }

    /// Writes the keyset elsewhere, in another form, or encrypted under another key; with its notes.
    ///
    /// In place if `store` is `None`, and else where no keyset is yet.
    ///
    /// # Errors
    ///
    /// As [`change`](Self::change) and [`create`](Self::create).
    pub async fn rewrap(
        &self,
        store: Option<&dyn KeysetStore>,
        kek: Option<&dyn KeyEncryption>,
        form: KeysetForm,
        dry_run: bool,
    ) -> Result<KeysetView, CacheError> {
        let stored = self.store.read().await?;
        let (editor, _) = KeysetEditor::read(&stored.bytes, self.kek.as_deref()).await?;
        let view = self.view_of(&editor, form, KeysetTimes::from_notes(&stored.notes));
        if !dry_run {
            let written = editor.write(form, kek).await?;
            let notes = view.times.into_notes(&stored.notes);
            match store {
                Some(store) => store.write(&written, &notes, Expected::Absent).await?,
                None => {
                    self.store
                        .write(&written, &notes, Expected::Version(&stored.version))
                        .await?;
                }
            }
        }
        Ok(view)
    }

    /// Writes the times alone.
    async fn note(&self, stored: &StoredKeyset, times: &KeysetTimes) -> Result<(), CacheError> {
        let notes = times.into_notes(&stored.notes);
        self.store
            .write(&stored.bytes, &notes, Expected::Version(&stored.version))
            .await
    }

    fn view_of(&self, editor: &KeysetEditor, form: KeysetForm, times: KeysetTimes) -> KeysetView {
        self.view_with(editor.info(), form, true, times)
    }

    fn view_with(
        &self,
        info: KeysetInfo,
        form: KeysetForm,
        is_proved: bool,
        mut times: KeysetTimes,
    ) -> KeysetView {
        let unknown = times.fit(&info, self.now());
        let next = self.schedule.next(&info, &times);
        KeysetView {
            form,
            info,
            is_proved,
            times,
            unknown,
            next,
        }
    }
}

/// What a change did.
struct Applied {
    /// Whether anything is different.
    is_new: bool,
    added: Option<u32>,
}

fn apply(
    editor: &mut KeysetEditor,
    change: KeysetChange,
    times: &mut KeysetTimes,
    now: Moment,
) -> Result<Applied, CacheError> {
    let mut added = None;
    let is_new = match change {
        KeysetChange::Step(RotationStep::Add) => {
            let id = editor.add()?;
            times.key_mut(id).added = Some(now);
            added = Some(id);
            true
        }
        KeysetChange::Step(RotationStep::Promote(id)) => {
            let old = editor.info().primary_key_id;
            let is_new = editor.promote(id)?;
            if is_new {
                times.key_mut(old).retire(now);
                times.key_mut(id).promote(now);
            }
            is_new
        }
        KeysetChange::Step(RotationStep::Disable(id)) => {
            let is_new = editor.disable(id)?;
            if is_new {
                times.key_mut(id).disable(now);
            }
            is_new
        }
        KeysetChange::Step(RotationStep::Delete(id)) => {
            editor.delete(id)?;
            true
        }
        KeysetChange::Enable(id) => {
            let is_new = editor.enable(id)?;
            if is_new {
                times.key_mut(id).enable(now);
            }
            is_new
        }
        KeysetChange::Next => false,
    };
    Ok(Applied { is_new, added })
}
