//! `cachectl users plan|apply|rotate|verify --elasticache`: the users at ElastiCache, through the API of AWS.
//!
//! How plans are shown is in [`show`].

mod apply;
mod rotate;
mod show;
mod verify;

use std::time::Duration;

use cache_admin::users::elasticache::{Desired, GroupPlan, State, look};
use cache_admin::users::{Credentials, Declaration, Scope};
use cache_aws::Aws;
use cache_aws::elasticache::ElastiCache;

use super::{Ended, Place, Users, credentials, read};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Longer than most requests to AWS get: the management of ElastiCache answers slowly.
const CALL: Duration = Duration::from_secs(20);

/// What all subcommands work with.
struct Work {
    declaration: Declaration,
    credentials: Credentials,
    desired: Desired,
    elasticache: ElastiCache,
}

pub(super) async fn run(users: Users, output: &mut Output) -> Ended {
    match users {
        Users::Plan { file, place } => {
            let work = Work::start(&file, &place).await?;
            let state = work.look().await?;
            let plan = GroupPlan::make(&work.desired, &state, Scope::All);
            show::plan(&plan, output)?;
            Ok(Exit::of(plan.is_empty() && plan.blocked.is_empty()))
        }
        Users::Apply {
            file,
            yes,
            place,
            patience,
        } => {
            let work = Work::start(&file, &place).await?;
            let plan = GroupPlan::make(&work.desired, &work.look().await?, Scope::All);
            apply::run(
                &work,
                &plan,
                Scope::All,
                apply::Manner {
                    yes,
                    wait: patience.wait,
                },
                output,
            )
            .await
        }
        Users::Verify { file, try_out, place } => {
            verify::run(&Work::start(&file, &place).await?, try_out, output).await
        }
        Users::Rotate {
            name,
            file,
            phase,
            yes,
            place,
            patience,
            ..
        } => {
            let work = Work::start(&file, &place).await?;
            let manner = apply::Manner {
                yes,
                wait: patience.wait,
            };
            rotate::run(&work, &name, phase, manner, output).await
        }
        Users::Export { .. } => Ok(Exit::Ok),
    }
}

impl Work {
    async fn start(file: &std::path::PathBuf, place: &Place) -> Result<Self, Failure> {
        let declaration = read(file)?;
        let credentials = credentials(&declaration)?;
        // What is wrong with the file is said before AWS is asked anything.
        let desired = Desired::of(&declaration, &credentials, place.user_group.as_deref())?;
        let aws = Aws::builder().call_timeout(CALL).load().await?;
        Ok(Self {
            declaration,
            credentials,
            desired,
            elasticache: ElastiCache::new(&aws),
        })
    }

    async fn look(&self) -> Result<State, Failure> {
        Ok(look(&self.elasticache, self.desired.group()).await?)
    }
}
