//! What is left of jobs when their process ends: here it closes, in `tests/tests/jobs` it is killed.

use std::time::Duration;

use cache_admin::Engine;
use cache_admin::jobs::{ControlError, JobState, Jobs, JobsConfig, JobsError, Mode, StartError};
use redb::{Database, TableDefinition};

use super::{ended, jo, jobs, removal, reopen, request, stored, until};

#[tokio::test]
async fn what_was_at_work_is_interrupted_goes_on_when_told_and_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    let config = stored(folder.path());
    let (first, keys) = jobs(config.clone()).await;
    let id = first
        .start(removal("k:*").with_idempotency_key("a"))
        .await
        .unwrap()
        .id;
    keys.let_through(30);
    until(&first, id, |job| job.progress.removed > 100).await;
    keys.let_through(1);
    first.close().await;
    let left = keys.left("k:").await;
    assert!(left > 0);

    let second = reopen(&keys, config.clone()).await;
    let job = second.get(id).unwrap();
    assert_eq!(job.state, JobState::Interrupted);
    assert_eq!(
        usize::try_from(job.progress.removed).unwrap(),
        1_000 - left,
        "{job:?}"
    );
    let mut events = second.events(id, 0).unwrap();
    let last = events.next().await.unwrap();
    assert_eq!(last.what.name(), "ended");
    assert!(events.next().await.is_none());
    let same = second
        .start(removal("k:*").with_idempotency_key("a"))
        .await
        .unwrap();
    assert_eq!(same.id, id);
    second.resume(id, &jo()).await.unwrap();
    let taken = second.start(removal("k:5*")).await;
    assert!(
        matches!(taken, Err(StartError::Overlaps { job, .. }) if job == id),
        "{taken:?}"
    );
    let mut events = second.events(id, last.sequence).unwrap();
    let next = events.next().await.unwrap();
    assert!(
        next.sequence > last.sequence && next.what.name() == "queued",
        "{next:?}"
    );
    keys.open();
    let job = ended(&second, id).await;
    assert_eq!(
        (job.state, job.progress.removed),
        (JobState::Complete, 1_000),
        "{job:?}"
    );
    assert_eq!((keys.left("k:").await, keys.left("other:").await), (0, 100));

    second.close().await;
    let third = reopen(&keys, config).await;
    let job = third.get(id).unwrap();
    assert_eq!((job.state, job.progress.removed), (JobState::Complete, 1_000));
    let refused = third.resume(id, &jo()).await;
    assert!(matches!(refused, Err(ControlError::NotNow { .. })), "{refused:?}");
}

#[tokio::test]
async fn what_confirmed_a_job_confirms_no_other_one_in_the_next_process_either_until_its_life_is_over() {
    const LIFE: Duration = Duration::from_millis(1_500);
    let folder = tempfile::tempdir().unwrap();
    // Nothing is kept of jobs that have ended but what is needed for this.
    let config = stored(folder.path()).with_history(0, Duration::ZERO);
    let (first, keys) = jobs(config.clone()).await;
    keys.open();
    let id = first
        .start(removal("k:*").with_confirmation("m", LIFE))
        .await
        .unwrap()
        .id;
    ended(&first, id).await;
    first.close().await;

    let second = reopen(&keys, config).await;
    let again = second.start(removal("k:*").with_confirmation("m", LIFE)).await;
    assert!(
        matches!(again, Err(StartError::Confirmed { job }) if job == id),
        "{again:?}"
    );
    let other = second
        .start(removal("k:*").with_confirmation("n", LIFE))
        .await
        .unwrap();
    ended(&second, other.id).await;
    // Each start forgets what is not needed any more.
    let limit = cache_core::clock::now() + Duration::from_secs(30);
    while second.get(id).is_some() {
        assert!(cache_core::clock::now() < limit, "it is kept for ever");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let job = second.start(request("k:*", Mode::Count)).await.unwrap();
        ended(&second, job.id).await;
    }
}

#[tokio::test]
async fn what_was_interrupted_goes_on_by_itself_where_that_is_wanted_and_what_was_paused_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let config = stored(folder.path());
    let (first, keys) = jobs(config.clone()).await;
    let goes_on = first.start(removal("k:*")).await.unwrap().id;
    let rests = first.start(removal("other:*")).await.unwrap().id;
    for id in [goes_on, rests] {
        until(&first, id, super::running).await;
    }
    first.pause(rests, &jo()).await.unwrap();
    drop(first.clone());
    // As if it were killed: what it says when it closes is not written down.
    let copy = folder.path().join("copy.redb");
    std::fs::copy(folder.path().join("jobs.redb"), &copy).unwrap();
    first.close().await;

    let second = reopen(
        &keys,
        JobsConfig::default().with_store(&copy).with_resume_at_open(true),
    )
    .await;
    keys.open();
    assert_eq!(ended(&second, goes_on).await.progress.removed, 1_000);
    let job = second.get(rests).unwrap();
    assert_eq!((job.state, keys.left("other:").await), (JobState::Paused, 100));
    let taken = second.start(removal("other:5")).await;
    assert!(matches!(taken, Err(StartError::Overlaps { .. })), "{taken:?}");
    second.resume(rests, &jo()).await.unwrap();
    assert_eq!(ended(&second, rests).await.progress.removed, 100);
}

#[tokio::test]
async fn what_was_interrupted_can_be_cancelled_and_makes_way_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let config = stored(folder.path());
    let (first, keys) = jobs(config.clone()).await;
    let one = first.start(removal("k:*")).await.unwrap().id;
    let two = first.start(removal("other:*")).await.unwrap().id;
    until(&first, one, super::running).await;
    first.close().await;
    let second = reopen(&keys, config).await;
    let newer = second.start(removal("k:1*")).await.unwrap().id;
    let refused = second.resume(one, &jo()).await;
    assert!(
        matches!(refused, Err(ControlError::Overlaps { job, .. }) if job == newer),
        "{refused:?}"
    );
    assert_eq!(
        second.cancel(two, &jo()).await.unwrap().state,
        JobState::Cancelled
    );
    keys.open();
    ended(&second, newer).await;
    second.resume(one, &jo()).await.unwrap();
    assert_eq!(ended(&second, one).await.progress.removed, 1_000 - 111);
    assert_eq!(keys.left("other:").await, 100);
}

#[tokio::test]
async fn a_store_that_is_open_elsewhere_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (_first, keys) = jobs(stored(folder.path())).await;
    let second = Jobs::open(Engine::new(keys), stored(folder.path())).await;
    let error = second.map(|_| ()).unwrap_err();
    assert!(matches!(error, JobsError::Locked { .. }), "{error:?}");
    let path = folder.path().join("jobs.redb");
    assert_eq!(
        error.to_string(),
        format!("the job store {} is in use by another process", path.display())
    );
}

/// What is at the store's path, and what comes of opening it.
async fn opened(content: &[u8]) -> (JobsError, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.redb");
    std::fs::write(&path, content).unwrap();
    let keys = super::Gated::new().await;
    let error = Jobs::open(Engine::new(keys), stored(folder.path()))
        .await
        .map(|_| ())
        .unwrap_err();
    (error, std::fs::read(&path).unwrap())
}

#[tokio::test]
async fn what_is_no_store_is_left_as_it_is() {
    for content in [&b"a letter to a friend"[..], &[0_u8; 100_000], &[0xff; 5_000]] {
        let (error, after) = opened(content).await;
        assert!(matches!(error, JobsError::Corrupt { .. }), "{error:?}");
        assert_eq!(after, content);
    }
}

#[tokio::test]
async fn a_damaged_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (jobs, keys) = jobs(stored(folder.path())).await;
    keys.open();
    let id = jobs.start(removal("k:*")).await.unwrap().id;
    ended(&jobs, id).await;
    jobs.close().await;
    let content = std::fs::read(folder.path().join("jobs.redb")).unwrap();
    // Cut off.
    let (error, after) = opened(&content[..content.len() / 3]).await;
    assert!(matches!(error, JobsError::Corrupt { .. }), "{error:?}");
    assert_eq!(after, content[..content.len() / 3]);
    // A job that is none.
    let mut changed = content.clone();
    let text = b"\"state\":\"complete\"";
    let mut places = 0;
    for start in 0..changed.len() - text.len() {
        if changed[start..].starts_with(text) {
            changed[start + 9..start + 11].copy_from_slice(b"xx");
            places += 1;
        }
    }
    assert!(places > 0);
    let (error, _) = opened(&changed).await;
    assert!(matches!(error, JobsError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn a_store_of_a_later_form_or_of_another_program_is_left_as_it_is() {
    const ABOUT: TableDefinition<'_, &str, u32> = TableDefinition::new("about");
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str, key: &str, form: u32| {
        let path = folder.path().join(name);
        let database = Database::create(&path).unwrap();
        let change = database.begin_write().unwrap();
        change.open_table(ABOUT).unwrap().insert(key, form).unwrap();
        change.commit().unwrap();
        drop(database);
        std::fs::read(path).unwrap()
    };
    let (error, after) = opened(&make("newer", "form", 2)).await;
    assert!(
        matches!(
            error,
            JobsError::NewerForm {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .contains("jobs.redb has form 2; this version reads form 1"),
        "{error}"
    );
    let (error, _) = opened(&make("other", "version", 1)).await;
    assert!(matches!(error, JobsError::Corrupt { .. }), "{error:?}");
    assert!(!after.is_empty());
}

#[tokio::test]
async fn a_store_in_no_folder_is_named() {
    let keys = super::Gated::new().await;
    let config = JobsConfig::default().with_store("/nowhere/at/all.redb");
    let error = Jobs::open(Engine::new(keys), config)
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the job store /nowhere/at/all.redb: "),
        "{error}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_store_and_a_checkpoint_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (jobs, keys) = jobs(stored(folder.path())).await;
    let path = folder.path().join("run.json");
    keys.open();
    let engine = Engine::new(keys);
    let options = cache_admin::Options::default().with_checkpoints(cache_admin::CheckpointFile::new(&path));
    engine
        .invalidate(&cache_core::Pattern::new("k:*").unwrap(), &options)
        .await;
    for path in [path, folder.path().join("jobs.redb")] {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    jobs.close().await;
}
