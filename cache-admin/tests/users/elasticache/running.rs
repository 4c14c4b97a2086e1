//! Runs: what a request that fails, is lost or takes minutes does to them, and that a killed run is finished by the next.

use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_admin::users::Scope;
use cache_admin::users::elasticache::{Apply, GroupApplied, GroupPlan, Progress, State, look};
use cache_aws::elasticache::{Authentication, Status};
use cache_core::clock;

use super::double::{Double, Fault};
use super::{Declared, group, password, state, user};

const WAIT: Duration = Duration::from_secs(900);
/// How long a change takes at ElastiCache.
const TAKES: Duration = Duration::from_secs(90);

/// Where there is something to create, correct, add, remove and delete.
fn start() -> State {
    let billing = user("app-billing", "on ~* +@all", Authentication::Password(1));
    let board = user("app-board", "on ~* -@all +get", Authentication::NoPassword);
    let old = user("app-old", "on ~old:* -@all +get", Authentication::Password(1));
    let stranger = user("stranger", "on ~* +@all", Authentication::Password(1));
    state(
        vec![billing, board, old, stranger],
        Some(group(&["app-billing", "app-old", "stranger"])),
    )
}

async fn run_as(
    declared: &Declared,
    double: &Double,
    scope: Scope<'_>,
    wait: Duration,
) -> Result<GroupApplied> {
    let plan = GroupPlan::make(&declared.desired, &look(double, "app-users").await?, scope);
    let apply = Apply {
        service: double,
        desired: &declared.desired,
        credentials: &declared.credentials,
        scope,
        wait,
    };
    Ok(apply.run(&plan, &mut |_| {}).await)
}

async fn run(declared: &Declared, double: &Double) -> Result<GroupApplied> {
    run_as(declared, double, Scope::All, WAIT).await
}

/// Without statuses: when a change is over depends on when it was made.
fn shape(double: &Double) -> Vec<String> {
    let state = double.state();
    let mut shape: Vec<String> = state
        .users
        .values()
        .map(|user| {
            let mut groups = user.groups.clone();
            groups.sort_unstable();
            let passwords = double.passwords(&user.id);
            format!(
                "{} {} {} {groups:?} {passwords:?}",
                user.id, user.access, user.authentication
            )
        })
        .collect();
    let mut members = state.group.map(|group| group.users).unwrap_or_default();
    members.sort_unstable();
    shape.push(format!("{members:?}"));
    shape
}

#[tokio::test(start_paused = true)]
async fn run_makes_everything_as_declared_and_the_next_one_does_nothing() -> Result<()> {
    let declared = Declared::of("valkey")?;
    let double = Double::new(start(), TAKES);
    let applied = run(&declared, &double).await?;
    assert!(
        applied.is_complete() && applied.not_done.is_empty(),
        "{applied:?}"
    );
    assert_eq!(
        double.log(),
        [
            "modify_user app-billing",
            "create_user app-billing-reader",
            "modify_user app-board",
            "create_user app-search",
            "add_to_group app-billing-reader,app-board,app-search",
            "remove_from_group app-old",
            "delete_user app-old",
        ]
        .map(str::to_owned)
        .into_iter()
        .collect::<Vec<_>>()
        .as_slice()
    );
    let state = double.state();
    assert!(state.group.context("a group")?.status.is_active());
    assert_eq!(state.users["stranger"].access, "on ~* +@all");
    assert_eq!(double.passwords("app-board"), [password("BOARD")]);
    let before = double.log().len();
    let again = run(&declared, &double).await?;
    assert!(again.is_complete() && again.done.is_empty(), "{again:?}");
    assert_eq!(double.log().len(), before);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn run_that_is_killed_at_any_request_is_finished_by_the_next_one() -> Result<()> {
    for engine in ["valkey", "redis"] {
        let declared = Declared::of(engine)?;
        let begin = || match engine {
            "valkey" => start(),
            _ => State::default(),
        };
        let whole = Double::new(begin(), TAKES);
        assert!(run(&declared, &whole).await?.is_complete());
        let mut killed = 0;
        // How often a run looks while it waits differs from run to run.
        for number in 1..=2 * whole.requests() {
            for fault in [Fault::KilledBefore, Fault::KilledAfter] {
                let double = Double::new(begin(), TAKES);
                double.fail(number, fault);
                double.may_go("app-old");
                let ended = tokio::select! {
                    ended = run(&declared, &double) => Some(ended?),
                    () = double.hangs.notified() => None,
                };
                killed += usize::from(ended.is_none());
                double.forgive();
                let finished = run(&declared, &double).await?;
                assert!(finished.is_complete(), "{engine} {number} {fault:?} {finished:?}");
                assert_eq!(shape(&double), shape(&whole), "{engine} {number} {fault:?}");
                assert_eq!(double.locked_out().len(), 0, "{:?}", double.locked_out());
            }
        }
        assert!(killed > 30, "{killed}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn lost_and_throttled_requests_do_not_end_a_run() -> Result<()> {
    let declared = Declared::of("valkey")?;
    let whole = Double::new(start(), TAKES);
    assert!(run(&declared, &whole).await?.is_complete());
    // The first two are those of the plan.
    for number in 3..=whole.requests() {
        for fault in [Fault::LostBefore, Fault::LostAfter, Fault::Throttled] {
            let double = Double::new(start(), TAKES);
            double.fail(number, fault);
            let applied = run(&declared, &double).await?;
            assert!(
                applied.is_complete() && applied.not_done.is_empty(),
                "{number} {fault:?} {applied:?}"
            );
            assert_eq!(shape(&double), shape(&whole), "{number} {fault:?}");
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn refusal_ends_the_run_with_what_was_done_and_what_was_not() -> Result<()> {
    let declared = Declared::of("valkey")?;
    let double = Double::new(State::default(), TAKES);
    // Plan, look, create, look, create.
    double.fail(8, Fault::Refused("UserQuotaExceeded"));
    let applied = run(&declared, &double).await?;
    let error = applied.error.context("an error")?.to_string();
    assert!(error.contains("UserQuotaExceeded"), "{error}");
    assert_eq!((applied.done.len(), applied.not_done.len()), (1, 4));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn wait_is_bounded_and_says_what_to_do() -> Result<()> {
    let declared = Declared::of("valkey")?;
    let double = Double::new(start(), Duration::from_secs(7_200));
    let began = clock::now();
    let applied = run_as(&declared, &double, Scope::All, Duration::from_secs(600)).await?;
    let error = applied.error.context("an error")?.to_string();
    assert!(
        error.contains("not done after 10m (wait until active: app-billing")
            && error.contains("run the same again"),
        "{error}"
    );
    let took = clock::now().duration_since(began);
    assert!((600..660).contains(&took.as_secs()), "{took:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_while_waiting() -> Result<()> {
    let declared = Declared::of("valkey")?;
    let double = Double::new(start(), TAKES);
    let plan = GroupPlan::make(&declared.desired, &look(&double, "app-users").await?, Scope::All);
    let apply = Apply {
        service: &double,
        desired: &declared.desired,
        credentials: &declared.credentials,
        scope: Scope::All,
        wait: WAIT,
    };
    let (mut doing, mut waiting) = (0, Duration::ZERO);
    let mut tell = |progress: Progress<'_>| match progress {
        Progress::Doing(_) => doing += 1,
        Progress::Waiting { since, .. } => waiting = waiting.max(since),
        _ => {}
    };
    assert!(apply.run(&plan, &mut tell).await.is_complete());
    assert_eq!(doing, plan.change_count());
    assert!(waiting > Duration::from_secs(30), "{waiting:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn change_by_someone_else_ends_the_run() -> Result<()> {
    let declared = Declared::of("valkey")?;
    let double = Double::new(start(), TAKES);
    let plan = GroupPlan::make(&declared.desired, &look(&double, "app-users").await?, Scope::All);
    double.change(|state| {
        let mut other = user("app-new", "on ~* +@all", Authentication::Password(1));
        other.groups.push("app-users".to_owned());
        state.group.as_mut().unwrap().users.push(other.id.clone());
        state.users.insert(other.id.clone(), other);
    });
    let apply = Apply {
        service: &double,
        desired: &declared.desired,
        credentials: &declared.credentials,
        scope: Scope::All,
        wait: WAIT,
    };
    let applied = apply.run(&plan, &mut |_| {}).await;
    let error = applied.error.context("an error")?.to_string();
    assert!(
        error.contains("someone changed the users at the same time") && error.contains("app-new"),
        "{error}"
    );
    assert!(
        double.state().users.contains_key("app-new"),
        "nobody agreed to that"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn user_that_was_created_by_someone_else_is_no_failure() -> Result<()> {
    let declared = Declared::of("valkey")?;
    let double = Double::new(start(), TAKES);
    // The SDK's own retry of a request whose answer was lost gets this answer.
    double.fail(5, Fault::LostAfter);
    double.fail(6, Fault::Throttled);
    let applied = run(&declared, &double).await?;
    assert!(applied.is_complete(), "{applied:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn change_that_was_under_way_before_is_waited_for() -> Result<()> {
    let declared = Declared::of("valkey")?;
    let double = Double::new(start(), TAKES);
    double.change(|state| state.group.as_mut().unwrap().status = Status::Modifying);
    let applied = run_as(&declared, &double, Scope::All, Duration::from_secs(60)).await?;
    let error = applied.error.context("an error")?.to_string();
    assert!(error.contains("(wait until active: "), "{error}");
    double.change(|state| state.group.as_mut().unwrap().status = Status::Active);
    assert!(run(&declared, &double).await?.is_complete());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn rotation_accepts_both_passwords_and_then_the_new_one_alone() -> Result<()> {
    let text = super::DECLARED;
    let both = Declared::read(text)?;
    let old = Declared::read(&text.replace("next_password = 'env:READER_NEXT'", ""))?;
    let new = Declared::read(
        &text
            .replace("next_password = 'env:READER_NEXT'", "")
            .replace("'env:READER'", "'env:READER_NEXT'"),
    )?;
    let id = "app-billing-reader";
    let double = Double::new(State::default(), TAKES);
    assert!(run(&old, &double).await?.is_complete());
    assert_eq!(double.passwords(id), [password("READER")]);

    // Each phase is killed at each of its requests first.
    for number in 1..=12 {
        for fault in [Fault::KilledBefore, Fault::KilledAfter] {
            double.fail(number, fault);
            let killed = async {
                tokio::select! {
                    ended = run_as(&both, &double, Scope::Only(id), WAIT) => ended.map(|ended| Some(ended.is_complete())),
                    () = double.hangs.notified() => Ok(None),
                }
            };
            assert!(killed.await? != Some(false));
            double.forgive();
            let accepted = double.passwords(id);
            assert!(accepted.contains(&password("READER")), "{number} {fault:?}");
        }
    }
    assert!(run_as(&both, &double, Scope::Only(id), WAIT).await?.is_complete());
    assert_eq!(
        double.passwords(id),
        [password("READER"), password("READER_NEXT")]
    );

    let applied = run(&new, &double).await?;
    assert!(
        applied.is_complete() && applied.done.is_empty(),
        "apply takes none away: {applied:?}"
    );
    double.may_go(id);
    let finished = run_as(&new, &double, Scope::Retire(id), WAIT).await?;
    assert_eq!(
        (finished.is_complete(), finished.done.len()),
        (true, 1),
        "{finished:?}"
    );
    assert_eq!(double.passwords(id), [password("READER_NEXT")]);
    let again = run_as(&new, &double, Scope::Retire(id), WAIT).await?;
    assert!(again.is_complete() && again.done.is_empty(), "{again:?}");
    Ok(())
}
