//! `cachectl users rotate NAME --phase add|finish FILE`.

use std::time::Duration;

use cache_admin::users::{Scope, rotation};

use super::{Ended, Phase, Work, apply, show};
use crate::failure::Failure;
use crate::output::Output;

/// Connections that are named one by one.
const NAMED: usize = 5;

pub(super) async fn run(
    work: &Work,
    name: &str,
    phase: Phase,
    added: Option<Duration>,
    yes: bool,
    output: &mut Output,
) -> Ended {
    let account = work
        .declaration
        .account(name)
        .ok_or_else(|| Failure::Usage(format!("the declaration has no user {name}")))?;
    if phase == Phase::Add {
        rotation::may_add(account)?;
        let plan = work.plan(Scope::Only(&account.name)).await;
        return apply::run(&plan, yes, output).await;
    }
    let plan = work.plan(Scope::Retire(&account.name)).await;
    rotation::may_finish(account, &plan)?;
    if plan.step_count() == 0 {
        return apply::run(&plan, yes, output).await;
    }
    let lingering = rotation::lingering(&work.nodes, &account.name, added).await?;
    for one in lingering.iter().take(NAMED) {
        output.warning(&format!(
            "{} is connected to {} from {} for {}",
            account.name,
            one.address,
            one.session.address,
            humantime::format_duration(one.session.age)
        ));
    }
    if !lingering.is_empty() && !yes {
        let which = match added {
            Some(added) => format!("older than {}", humantime::format_duration(added)),
            None => "of which any may be (--added says how long ago the new password came)".to_owned(),
        };
        let count = lingering.len();
        let message = format!(
            "{count} connections {which} may have logged in with the old password: they stay, but cannot come back with it"
        );
        if !output.can_ask() {
            return Err(Failure::Refused(format!(
                "{message}; --yes takes it away all the same"
            )));
        }
        output.warning(&message);
        if !output.is_json() {
            show::plan(&plan, output)?;
        }
        apply::agreed("Take the old password away all the same?", output)?;
        return apply::run(&plan, true, output).await;
    }
    apply::run(&plan, yes, output).await
}
