//! The schedule at chosen times, on a keyset in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::keyset::{Expected, KeyEncryption, KeysetStore, StoredKeyset};
use cache_core::{CacheError, Secret};
use cache_layers::WallClock;
use cache_layers::keyset::{KeyStatus, Keyset, KeysetEditor, KeysetForm};

use super::{
    Changed, Early, KeysetAdmin, KeysetChange, KeysetError, KeysetTimes, RotationSchedule, RotationStep,
};

const MINUTE: u64 = 60;
const START: u64 = 1_796_000_000;

/// A clock that is set by hand.
#[derive(Debug)]
struct Clock(AtomicU64);

impl Clock {
    fn pass(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl WallClock for Clock {
    fn since_epoch(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

/// The bytes, the notes, and how often they were written.
type Stored = (Vec<u8>, BTreeMap<String, String>, u64);

/// A keyset in memory. Before the next write somebody else writes, if `interrupt` is set.
#[derive(Debug, Default)]
struct Memory {
    stored: Mutex<Option<Stored>>,
    interrupt: Mutex<bool>,
}

impl Memory {
    fn notes(&self) -> BTreeMap<String, String> {
        self.stored.lock().unwrap().as_ref().unwrap().1.clone()
    }

    /// As a tool does that knows no notes.
    fn replace(&self, bytes: &Secret<Vec<u8>>) {
        let mut stored = self.stored.lock().unwrap();
        let (notes, version) = match stored.take() {
            Some((_, notes, version)) => (notes, version + 1),
            None => (BTreeMap::new(), 0),
        };
        *stored = Some((bytes.expose().clone(), notes, version));
    }
}

#[async_trait]
impl KeysetStore for Memory {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    async fn read(&self) -> Result<StoredKeyset, CacheError> {
        let stored = self.stored.lock().unwrap();
        let (bytes, notes, version) = stored.as_ref().ok_or(CacheError::Miss)?;
        Ok(StoredKeyset::new(
            Secret::new(bytes.clone()),
            version.to_string(),
            notes.clone(),
        ))
    }

    async fn write(
        &self,
        keyset: &Secret<Vec<u8>>,
        notes: &BTreeMap<String, String>,
        expected: Expected<'_>,
    ) -> Result<(), CacheError> {
        let mut stored = self.stored.lock().unwrap();
        if std::mem::take(&mut *self.interrupt.lock().unwrap())
            && let Some((_, _, version)) = &mut *stored
        {
            *version += 1;
        }
        let fits = match (&*stored, expected) {
            (None, Expected::Absent) => true,
            (Some((_, _, version)), Expected::Version(expected)) => version.to_string() == expected,
            _ => false,
        };
        if !fits {
            return Err(CacheError::Rejected {
                code: "CONFLICT".into(),
                detail: "changed".into(),
            });
        }
        let version = stored.as_ref().map_or(0, |(_, _, version)| version + 1);
        *stored = Some((keyset.expose().clone(), notes.clone(), version));
        Ok(())
    }
}

/// Encrypts with a keyset.
#[derive(Debug)]
struct Kek(Keyset);

#[async_trait]
impl KeyEncryption for Kek {
    fn name(&self) -> String {
        "kek".to_owned()
    }

    async fn encrypt(&self, plaintext: &Secret<Vec<u8>>, name: &[u8]) -> Result<Vec<u8>, CacheError> {
        self.0.seal(plaintext.expose(), name)
    }

    async fn decrypt(&self, ciphertext: &[u8], name: &[u8]) -> Result<Secret<Vec<u8>>, CacheError> {
        let opened = self.0.open(ciphertext, name).map_err(|_| CacheError::Corrupt {
            detail: "not of this key".into(),
            source: None,
        })?;
        Ok(Secret::new(opened))
    }
}

struct World {
    store: Arc<Memory>,
    clock: Arc<Clock>,
    admin: KeysetAdmin,
}

impl World {
    fn new() -> Self {
        let (store, clock) = (
            Arc::new(Memory::default()),
            Arc::new(Clock(AtomicU64::new(START))),
        );
        Self {
            admin: KeysetAdmin::new(store.clone(), None, clock.clone()),
            store,
            clock,
        }
    }

    async fn created() -> (Self, u32) {
        let world = Self::new();
        let view = world.admin.create(KeysetForm::Json, false).await.unwrap();
        (world, view.info.primary_key_id)
    }

    async fn change(&self, change: KeysetChange) -> Result<Changed, KeysetError> {
        self.admin.change(change, Early::Refuse, false).await
    }

    async fn step(&self, step: RotationStep) -> Result<Changed, KeysetError> {
        self.change(KeysetChange::Step(step)).await
    }

    async fn force(&self, step: RotationStep) -> Changed {
        self.admin
            .change(KeysetChange::Step(step), Early::Force, false)
            .await
            .unwrap()
    }

    /// What `rotate` does, by name.
    async fn rotate(&self) -> Option<RotationStep> {
        match self.change(KeysetChange::Next).await.unwrap().done {
            Some(KeysetChange::Step(step)) => Some(step),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    async fn add(&self) -> u32 {
        self.step(RotationStep::Add).await.unwrap().added.unwrap()
    }

    /// How many minutes are left.
    async fn refused(&self, step: RotationStep) -> u64 {
        match self.step(step).await {
            Err(KeysetError::TooEarly { remaining, .. }) => remaining.as_secs() / MINUTE,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_rotation_by_hand_keeps_the_schedule() {
    let (world, old) = World::created().await;
    let new = world.add().await;
    assert_eq!(world.refused(RotationStep::Promote(new)).await, 75);
    world.clock.pass(75 * MINUTE - 1);
    assert_eq!(world.refused(RotationStep::Promote(new)).await, 0);
    world.clock.pass(1);
    world.step(RotationStep::Promote(new)).await.unwrap();

    assert_eq!(world.refused(RotationStep::Disable(old)).await, 75);
    world.clock.pass(75 * MINUTE);
    world.step(RotationStep::Disable(old)).await.unwrap();

    assert_eq!(world.refused(RotationStep::Delete(old)).await, 75);
    world.clock.pass(75 * MINUTE);
    world.step(RotationStep::Delete(old)).await.unwrap();
    let view = world.admin.view().await.unwrap();
    assert_eq!(view.info.keys.len(), 1);
    assert_eq!(view.next.step, RotationStep::Add);
}

#[tokio::test]
async fn the_assistant_carries_out_each_step_when_it_is_due() {
    let (world, old) = World::created().await;
    let mut steps = Vec::new();
    // Every five minutes for a hundred days, as a timer would.
    for turn in 0..(100 * 24 * 12) {
        if let Some(step) = world.rotate().await {
            steps.push((turn * 5, step.name(), step.key_id()));
        }
        world.clock.pass(5 * MINUTE);
    }
    let ninety_days = 90 * 24 * 60;
    let new = world.admin.view().await.unwrap().info.primary_key_id;
    assert_eq!(
        steps,
        [
            (ninety_days, "add", None),
            (ninety_days + 75, "promote", Some(new)),
            (ninety_days + 150, "disable", Some(old)),
            (ninety_days + 225, "delete", Some(old)),
        ]
    );
    assert_ne!(new, old);
}

#[tokio::test]
async fn other_intervals_make_another_schedule() {
    let (world, _) = World::created().await;
    let schedule = RotationSchedule::default()
        .with_refresh(Duration::from_secs(60))
        .with_value_ttl(Duration::from_secs(24 * 3_600))
        .with_every(Duration::ZERO);
    let world = World {
        admin: world.admin.clone().with_schedule(schedule),
        ..world
    };
    assert_eq!(world.rotate().await, Some(RotationStep::Add));
    let next = world.admin.view().await.unwrap().next;
    assert_eq!(
        next.remaining(world.admin.now()),
        Duration::from_secs(24 * 3_600 + 60)
    );
}

#[tokio::test]
async fn a_forced_step_is_carried_out_and_reported() {
    let (world, old) = World::created().await;
    let new = world.add().await;
    let changed = world.force(RotationStep::Promote(new)).await;
    assert_eq!(changed.forced.unwrap().step, RotationStep::Promote(new));
    let changed = world.force(RotationStep::Disable(old)).await;
    assert!(changed.forced.unwrap().reason.contains("have not expired"));
    world.clock.pass(75 * MINUTE);
    let changed = world.force(RotationStep::Delete(old)).await;
    assert!(changed.forced.is_none(), "it was due");
}

#[tokio::test]
async fn a_key_that_never_sealed_is_disabled_at_any_time() {
    let (world, _) = World::created().await;
    let new = world.add().await;
    world.step(RotationStep::Disable(new)).await.unwrap();
    assert_eq!(world.refused(RotationStep::Delete(new)).await, 75);
}

#[tokio::test]
async fn an_enabled_key_is_deleted_only_by_force() {
    let (world, old) = World::created().await;
    let new = world.add().await;
    world.force(RotationStep::Promote(new)).await;
    world.clock.pass(1_000 * MINUTE);
    let refused = world.step(RotationStep::Delete(old)).await.unwrap_err();
    assert!(
        matches!(refused, KeysetError::StillEnabled(id) if id == old),
        "{refused:?}"
    );
    world.force(RotationStep::Delete(old)).await;
}

#[tokio::test]
async fn the_primary_cannot_be_forced_away() {
    let (world, primary) = World::created().await;
    world.add().await;
    for step in [RotationStep::Disable(primary), RotationStep::Delete(primary)] {
        let change = KeysetChange::Step(step);
        let error = world.admin.change(change, Early::Force, false).await.unwrap_err();
        assert!(
            matches!(error, KeysetError::Cache(CacheError::InvalidInput { .. })),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_step_back_to_the_old_key_is_safe_at_once() {
    let (world, old) = World::created().await;
    let new = world.add().await;
    world.clock.pass(75 * MINUTE);
    world.step(RotationStep::Promote(new)).await.unwrap();
    world.step(RotationStep::Promote(old)).await.unwrap();
    // And then the new one is the old one.
    let next = world.admin.view().await.unwrap().next;
    assert_eq!(next.step, RotationStep::Disable(new));
    assert_eq!(next.remaining(world.admin.now()).as_secs(), 75 * MINUTE);
}

#[tokio::test]
async fn an_enabled_again_key_waits_before_it_is_promoted() {
    let (world, _) = World::created().await;
    let new = world.add().await;
    world.clock.pass(200 * MINUTE);
    world.step(RotationStep::Disable(new)).await.unwrap();
    world.clock.pass(MINUTE);
    world.change(KeysetChange::Enable(new)).await.unwrap();
    assert_eq!(world.refused(RotationStep::Promote(new)).await, 75);
}

#[tokio::test]
async fn what_is_so_already_is_no_change_and_not_refused() {
    let (world, primary) = World::created().await;
    let before = world.store.stored.lock().unwrap().clone();
    let changed = world.step(RotationStep::Promote(primary)).await.unwrap();
    assert!(changed.done.is_none());
    assert_eq!(*world.store.stored.lock().unwrap(), before);
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let (world, old) = World::created().await;
    let new = world.add().await;
    world.clock.pass(75 * MINUTE);
    let before = world.store.stored.lock().unwrap().clone();
    for change in [
        KeysetChange::Next,
        KeysetChange::Step(RotationStep::Add),
        KeysetChange::Step(RotationStep::Promote(new)),
    ] {
        let changed = world.admin.change(change, Early::Refuse, true).await.unwrap();
        assert!(changed.done.is_some());
    }
    let early = KeysetChange::Step(RotationStep::Promote(new));
    world.admin.change(early, Early::Force, true).await.unwrap();
    assert_eq!(*world.store.stored.lock().unwrap(), before);
    assert_eq!(world.admin.view().await.unwrap().info.primary_key_id, old);
}

#[tokio::test]
async fn of_two_changes_at_once_one_is_refused_and_nothing_is_lost() {
    let (world, _) = World::created().await;
    *world.store.interrupt.lock().unwrap() = true;
    let error = world.step(RotationStep::Add).await.unwrap_err();
    assert!(matches!(&error, KeysetError::Cache(CacheError::Rejected { code, .. }) if code == "CONFLICT"));
    assert_eq!(world.admin.view().await.unwrap().info.keys.len(), 1);
    world.add().await;
}

#[tokio::test]
async fn a_second_create_is_refused() {
    let (world, primary) = World::created().await;
    let error = world.admin.create(KeysetForm::Json, false).await.unwrap_err();
    assert!(matches!(error, CacheError::Rejected { .. }), "{error:?}");
    assert_eq!(world.admin.view().await.unwrap().info.primary_key_id, primary);
}

/// A keyset of another tool: two keys, nothing noted.
async fn foreign() -> (World, u32, u32) {
    let world = World::new();
    let mut editor = KeysetEditor::create().unwrap();
    let old = editor.info().primary_key_id;
    let new = editor.add().unwrap();
    world
        .store
        .replace(&editor.write(KeysetForm::Json, None).await.unwrap());
    (world, old, new)
}

#[tokio::test]
async fn a_keyset_of_another_tool_counts_from_when_it_is_first_changed() {
    let (world, old, new) = foreign().await;
    let view = world.admin.view().await.unwrap();
    assert_eq!(view.unknown, [old, new]);
    assert!(world.store.notes().is_empty(), "looking notes nothing");

    assert_eq!(world.refused(RotationStep::Promote(new)).await, 75);
    assert_eq!(world.store.notes().len(), 2, "a refusal notes when it was seen");
    world.clock.pass(75 * MINUTE);
    world.step(RotationStep::Promote(new)).await.unwrap();
    world.clock.pass(75 * MINUTE);
    world.step(RotationStep::Disable(old)).await.unwrap();
}

#[tokio::test]
async fn the_assistant_finishes_a_rotation_that_another_tool_began() {
    let (world, old, new) = foreign().await;
    let mut steps = Vec::new();
    for _ in 0..400 {
        if let Some(step) = world.rotate().await {
            steps.push(step);
        }
        world.clock.pass(MINUTE);
    }
    let expected = [
        RotationStep::Promote(new),
        RotationStep::Disable(old),
        RotationStep::Delete(old),
    ];
    assert_eq!(steps, expected);
}

#[tokio::test]
async fn a_promotion_by_another_tool_is_noticed_and_counted_from_then() {
    let (world, old) = World::created().await;
    let new = world.add().await;
    world.clock.pass(600 * MINUTE);
    let stored = world.store.read().await.unwrap();
    let (mut editor, form) = KeysetEditor::read(&stored.bytes, None).await.unwrap();
    editor.promote(new).unwrap();
    world.store.replace(&editor.write(form, None).await.unwrap());

    assert_eq!(world.refused(RotationStep::Disable(old)).await, 75);
    world.clock.pass(75 * MINUTE);
    world.step(RotationStep::Disable(old)).await.unwrap();
}

#[tokio::test]
async fn a_key_disabled_by_another_tool_is_not_deleted_by_an_old_note() {
    let (world, old) = World::created().await;
    let new = world.add().await;
    world.force(RotationStep::Promote(new)).await;
    world.force(RotationStep::Disable(old)).await;
    world.change(KeysetChange::Enable(old)).await.unwrap();
    world.clock.pass(600 * MINUTE);
    let stored = world.store.read().await.unwrap();
    let (mut editor, form) = KeysetEditor::read(&stored.bytes, None).await.unwrap();
    editor.disable(old).unwrap();
    world.store.replace(&editor.write(form, None).await.unwrap());
    world.clock.pass(1);
    // The note says: disabled and enabled again, hours ago.
    assert_eq!(world.refused(RotationStep::Delete(old)).await, 75);
}

#[tokio::test]
async fn an_encrypted_keyset_is_shown_without_its_key_and_changed_only_with_it() {
    let world = World::new();
    let kek = Arc::new(Kek(KeysetEditor::create().unwrap().keyset().unwrap()));
    let with_kek = KeysetAdmin::new(world.store.clone(), Some(kek), world.clock.clone());
    let created = with_kek.create(KeysetForm::EncryptedBinary, false).await.unwrap();

    let shown = world.admin.view().await.unwrap();
    assert!(!shown.is_proved);
    assert_eq!(shown.info, created.info);
    let error = world.step(RotationStep::Add).await.unwrap_err();
    assert!(error.to_string().contains("the keyset is encrypted"), "{error}");
    with_kek
        .change(KeysetChange::Step(RotationStep::Add), Early::Refuse, false)
        .await
        .unwrap();
    let view = with_kek.view().await.unwrap();
    assert!(view.is_proved && view.info.keys.len() == 2);
}

#[tokio::test]
async fn rewrapping_changes_the_key_and_keeps_keys_and_times() {
    let (world, primary) = World::created().await;
    world.clock.pass(100 * MINUTE);
    let kek = Kek(KeysetEditor::create().unwrap().keyset().unwrap());
    world
        .admin
        .rewrap(None, Some(&kek), KeysetForm::EncryptedJson, false)
        .await
        .unwrap();
    let error = world.admin.view().await.map(|view| view.is_proved);
    assert_eq!(error.ok(), Some(false), "it is encrypted now");

    let with_kek = KeysetAdmin::new(world.store.clone(), Some(Arc::new(kek)), world.clock.clone());
    let view = with_kek.view().await.unwrap();
    assert_eq!((view.info.primary_key_id, view.unknown.len()), (primary, 0));
    assert_eq!(view.info.keys[0].status, KeyStatus::Enabled);

    let elsewhere = Memory::default();
    with_kek
        .rewrap(Some(&elsewhere), None, KeysetForm::Binary, false)
        .await
        .unwrap();
    assert_eq!(elsewhere.notes(), world.store.notes());
    let again = with_kek
        .rewrap(Some(&elsewhere), None, KeysetForm::Binary, false)
        .await;
    assert!(matches!(again, Err(CacheError::Rejected { .. })), "{again:?}");
}

#[test]
fn notes_are_texts_that_secret_stores_take_as_tags() {
    let mut times = KeysetTimes::default();
    let moment = super::Moment::seen(Duration::from_secs(START));
    let assumed = super::Moment::assumed(Duration::from_secs(START));
    let key = times.key_mut(u32::MAX);
    key.added = Some(assumed);
    key.enabled = Some(assumed);
    key.promoted = Some(moment);
    key.retired = Some(assumed);
    key.disabled = Some(assumed);
    let foreign = BTreeMap::from([
        ("owner".to_owned(), "payments".to_owned()),
        ("key/7".to_owned(), "added=gone".to_owned()),
    ]);
    let notes = times.into_notes(&foreign);
    let names: Vec<_> = notes.keys().cloned().collect();
    assert_eq!(names, ["key/4294967295", "owner"]);
    for text in notes.values() {
        assert!(text.len() <= 256, "{text}");
        assert!(
            text.chars()
                .all(|char| char.is_ascii_alphanumeric() || " +-=._:/@".contains(char)),
            "{text}"
        );
    }
    assert_eq!(KeysetTimes::from_notes(&notes), times);
}

#[test]
fn notes_that_say_nothing_are_passed_over() {
    let notes = BTreeMap::from([
        (
            "key/1".to_owned(),
            "added=yesterday promoted frob=2026-01-01T00:00:00Z".to_owned(),
        ),
        ("key/x".to_owned(), "added=2026-01-01T00:00:00Z".to_owned()),
        (
            "key/2".to_owned(),
            "added=1960-01-01T00:00:00Z disabled=2026-01-01T00:00:00Z".to_owned(),
        ),
    ]);
    let times = KeysetTimes::from_notes(&notes);
    assert!(times.key(1).added.is_none());
    assert!(times.key(2).added.is_none() && times.key(2).disabled.is_some());
}
