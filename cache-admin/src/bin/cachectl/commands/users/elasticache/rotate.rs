//! `cachectl users rotate NAME --phase add|finish --elasticache FILE`.

use cache_admin::users::elasticache::{GroupPlan, may_add, may_finish};
use cache_admin::users::{Scope, rotation};

use super::super::Phase;
use super::apply::{self, Manner};
use super::{Ended, Work};
use crate::failure::Failure;
use crate::output::Output;

pub(super) async fn run(work: &Work, name: &str, phase: Phase, manner: Manner, output: &mut Output) -> Ended {
    let unknown = || Failure::Usage(format!("the declaration has no user {name}"));
    let account = work.declaration.account(name).ok_or_else(unknown)?;
    let id = work.desired.id_of(&account.name).ok_or_else(|| {
        Failure::Usage(format!(
            "{} is not at ElastiCache: there users are managed by its API, not by a user",
            account.name
        ))
    })?;
    if phase == Phase::Add {
        // Without asking AWS.
        rotation::may_add(account)?;
    }
    let state = work.look().await?;
    let (scope, warning) = match phase {
        Phase::Add => (Scope::Only(id), may_add(account, &work.desired, &state)?),
        Phase::Finish => (Scope::Retire(id), may_finish(account, &work.desired, &state)?),
    };
    let plan = GroupPlan::make(&work.desired, &state, scope);
    if let Some(warning) = warning {
        output.warning(&warning);
    }
    apply::run(work, &plan, scope, manner, output).await
}
