//! `cachectl users apply --elasticache FILE`.

use std::time::Duration;

use cache_admin::jobs::{AuditAction, AuditRecord};
use cache_admin::users::Scope;
use cache_admin::users::elasticache::{Apply, GroupApplied, GroupPlan, Progress, Stop};
use serde_json::{Value, json};

use super::super::{apply::agreed, show::changes_in_words};
use super::{Ended, Work, show};
use crate::audit;
use crate::exit::Exit;
use crate::failure::{Failure, exit_of, with_causes};
use crate::output::Output;

/// A wait is shown at its begin, and then about so often.
const SHOWN_EVERY: Duration = Duration::from_secs(30);

/// How a plan is carried out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Whether no question is asked.
    pub(super) yes: bool,
    /// How long to wait for one step.
    pub(super) wait: Duration,
}

/// Shows `plan` and carries it out once someone has agreed to it.
pub(super) async fn run(
    work: &Work,
    plan: &GroupPlan,
    scope: Scope<'_>,
    manner: Manner,
    output: &mut Output,
) -> Ended {
    if !output.is_json() {
        show::plan(plan, output)?;
    }
    if !plan.blocked.is_empty() {
        return Err(Failure::Refused(format!(
            "{}; nothing was changed",
            plan.blocked.join("; ")
        )));
    }
    if !plan.is_empty() && !manner.yes {
        agreed("Go on?", output)?;
    }
    let record = audit::record(AuditAction::AclChange).on("user_group", &plan.group);
    if !plan.is_empty() {
        let steps = plan.steps.iter().filter(|step| step.is_change());
        audit::begun(&record.clone().on_each("changes", steps.map(show::without_access))).await?;
    }
    // Without a change, too: what is under way is waited for.
    let apply = Apply {
        service: &work.elasticache,
        desired: &work.desired,
        credentials: &work.credentials,
        scope,
        wait: manner.wait,
    };
    let mut teller = Teller::default();
    let applied = apply
        .run(plan, &mut |progress| teller.tell(progress, output))
        .await;
    write_down(&record, &applied, output).await;
    ended(&applied, plan, output)
}

/// Writes into the audit file what was changed, and what was not.
async fn write_down(record: &AuditRecord, applied: &GroupApplied, output: &mut Output) {
    for step in applied.done.iter().filter(|step| step.is_change()) {
        let record = record.clone().on("change", show::without_access(step));
        audit::ended(record, output).await;
    }
    let reason = applied.error.as_ref().map_or_else(|| "not tried".to_owned(), why);
    for step in applied.not_done.iter().filter(|step| step.is_change()) {
        let record = record.clone().on("change", show::without_access(step));
        audit::ended(record.result("failed").because(&reason), output).await;
    }
}

/// Says what a run is doing, not too often.
#[derive(Debug, Default)]
struct Teller {
    last: Option<(String, Duration)>,
}

impl Teller {
    fn tell(&mut self, progress: Progress<'_>, output: &mut Output) {
        if output.is_json() {
            return;
        }
        match progress {
            Progress::Doing(step) => {
                self.last = None;
                output.note(&show::without_access(step));
            }
            Progress::Waiting { step, since } => {
                let what = match step.is_change() {
                    true => "waiting for the effect".to_owned(),
                    false => step.to_string(),
                };
                let shown = self
                    .last
                    .as_ref()
                    .filter(|(last, _)| *last == what)
                    .map(|(_, at)| *at);
                if shown.is_none_or(|at| since >= at + SHOWN_EVERY) {
                    let so_far = if since < Duration::from_secs(1) {
                        String::new()
                    } else {
                        format!(" ({})", crate::human::time(Duration::from_secs(since.as_secs())))
                    };
                    output.note(&format!("{what}{so_far}"));
                    self.last = Some((what, since));
                }
            }
            _ => {}
        }
    }
}

fn ended(applied: &GroupApplied, plan: &GroupPlan, output: &mut Output) -> Ended {
    if output.is_json() {
        output.json(&as_json(applied))?;
    } else if !plan.is_empty() || !applied.is_complete() {
        let colours = output.colours();
        let outcome = if applied.is_complete() {
            colours.green("complete")
        } else {
            colours.yellow("partial")
        };
        output.line(&format!(
            "{outcome}: {} made, {} not",
            changes_in_words(applied.done.len()),
            applied.not_done.len()
        ))?;
        output.flush()?;
        for step in &applied.not_done {
            output.warning(&format!("not done: {}", show::without_access(step)));
        }
        if let Some(error) = &applied.error {
            output.warning(&why(error));
        }
    }
    Ok(match &applied.error {
        None => Exit::Ok,
        Some(Stop::Failed(error)) if applied.done.is_empty() && exit_of(error) == Exit::Refused => {
            Exit::Refused
        }
        Some(_) => Exit::Partial,
    })
}

fn why(stop: &Stop) -> String {
    match stop {
        Stop::Failed(error) => with_causes(error),
        stop => stop.to_string(),
    }
}

fn as_json(applied: &GroupApplied) -> Value {
    json!({
        "outcome": if applied.is_complete() { "complete" } else { "partial" },
        "done": applied.done.iter().map(show::step_json).collect::<Vec<_>>(),
        "not_done": applied.not_done.iter().map(show::step_json).collect::<Vec<_>>(),
        "error": applied.error.as_ref().map(why),
    })
}
