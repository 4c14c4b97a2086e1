//! The commands that change a keyset: `add`, `promote`, `disable`, `enable`, `delete`, `rotate`.

use cache_admin::keysets::{Changed, Early, KeysetAdmin, KeysetChange, KeysetError, RotationStep};
use serde_json::json;

use super::{Ended, explained, show};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// How a change is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    pub(super) force: bool,
    pub(super) dry_run: bool,
}

pub(super) async fn run(admin: &KeysetAdmin, change: KeysetChange, how: How, output: &mut Output) -> Ended {
    let early = if how.force { Early::Force } else { Early::Refuse };
    let changed = match admin.change(change, early, how.dry_run).await {
        Ok(changed) => changed,
        Err(error) => return Err(refused(error, how, &admin.location(), output)),
    };
    show::unknown(&changed.after.unknown, how.dry_run, output);
    if let Some(due) = &changed.forced {
        let early = show::span(due.remaining(admin.now()));
        output.warning(&format!(
            "{} was forced {early} too early: {}",
            due.step, due.reason
        ));
    }
    if output.is_json() {
        output.json(&json!({
            "change": changed.done.map(name),
            "key_id": changed.added.or_else(|| changed.done.and_then(key_id)),
            "done": changed.done.is_some(),
            "forced": changed.forced.is_some(),
            "dry_run": how.dry_run,
            "keyset": show::json(admin, &changed.after),
        }))?;
        return Ok(Exit::Ok);
    }
    output.line(&sentence(&changed, change, how.dry_run))?;
    // After a dry run of a step, the step itself is what comes next.
    if !how.dry_run || changed.done.is_none() {
        output.line(&show::next(&changed.after.next, admin.now()))?;
    }
    Ok(Exit::Ok)
}

fn sentence(changed: &Changed, asked: KeysetChange, dry_run: bool) -> String {
    let Some(done) = changed.done else {
        return match asked {
            KeysetChange::Next => "nothing to do yet".to_owned(),
            _ => "nothing to do: the keyset is already so".to_owned(),
        };
    };
    let id = changed.added.or_else(|| key_id(done)).unwrap_or_default();
    match (done, dry_run) {
        (KeysetChange::Step(RotationStep::Add), true) => "would add a key".to_owned(),
        (done, true) => format!("would {} key {id}", name(done)),
        (KeysetChange::Step(RotationStep::Add), false) => {
            format!("added key {id}: it opens values, and does not seal before it is promoted")
        }
        (KeysetChange::Step(RotationStep::Promote(_)), false) => {
            format!("promoted key {id}: it seals as soon as services read the keyset")
        }
        (KeysetChange::Step(RotationStep::Disable(_)), false) => {
            format!("disabled key {id}: cachectl keyset enable {id} takes it back")
        }
        (KeysetChange::Step(RotationStep::Delete(_)), false) => format!("deleted key {id} for good"),
        (KeysetChange::Enable(_), false) => format!("enabled key {id}: it opens values again"),
        (done, false) => format!("{} {id}: done", name(done)),
    }
}

const fn name(change: KeysetChange) -> &'static str {
    match change {
        KeysetChange::Step(step) => step.name(),
        KeysetChange::Enable(_) => "enable",
        _ => "rotate",
    }
}

const fn key_id(change: KeysetChange) -> Option<u32> {
    match change {
        KeysetChange::Step(step) => step.key_id(),
        KeysetChange::Enable(id) => Some(id),
        _ => None,
    }
}

fn refused(error: KeysetError, how: How, location: &str, output: &mut Output) -> Failure {
    match error {
        KeysetError::Cache(error) => explained(error, location),
        KeysetError::TooEarly {
            due,
            remaining,
            unknown,
        } => {
            show::unknown(&unknown, how.dry_run, output);
            let at = due.at.map_or_else(String::new, |at| format!(" ({at})"));
            Failure::Refused(format!(
                "{} is too early, by {}{at}: {}; --force does it all the same",
                due.step,
                show::span(remaining),
                due.reason
            ))
        }
        other => Failure::Refused(format!("{other}; --force does it all the same")),
    }
}
