//! Carries a plan out: looks, does the next step, looks again.
//!
//! What is done next comes from what ElastiCache shows, never from what was done before. So a run that ends anywhere,
//! also by a kill, is finished by the next run.

use std::fmt;
use std::time::Duration;

use cache_aws::elasticache::{Condition, NewUser, NewUserGroup, UserChange};
use cache_core::CacheError;
use cache_core::clock::{self, Instant};
use rand::Rng as _;

use super::super::{Credentials, Scope};
use super::desired::Desired;
use super::next::Aim;
use super::plan::{GroupPlan, blocked};
use super::service::{Service, look};
use super::state::State;
use super::step::Step;

/// The first pause between two looks.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest one: changes take minutes at AWS.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Requests without an answer, one after the other, after which there is no further try.
const MOST_LOST: u32 = 3;

/// How a plan is carried out.
#[derive(Debug)]
pub struct Apply<'a> {
    /// Where.
    pub service: &'a dyn Service,
    /// What is declared.
    pub desired: &'a Desired,
    /// The passwords.
    pub credentials: &'a Credentials,
    /// What the plan was made for; users by their ids.
    pub scope: Scope<'a>,
    /// How long to wait for one step to take effect.
    pub wait: Duration,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A request is sent.
    Doing(&'a Step),
    /// ElastiCache is not done with what it was told before.
    Waiting {
        /// What is waited for.
        step: &'a Step,
        /// For how long already.
        since: Duration,
    },
}

/// Why a run ended before everything was done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stop {
    /// A request failed.
    Failed(CacheError),
    /// What is there is no longer what the plan was made for.
    Changed(String),
    /// A step took no effect in time.
    Overdue(String),
}

/// What was done of a plan.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct GroupApplied {
    /// The requests that were carried out, in order.
    pub done: Vec<Step>,
    /// Those that were not.
    pub not_done: Vec<Step>,
    /// Why the run ended before everything was done.
    pub error: Option<Stop>,
}

impl GroupApplied {
    /// Whether everything was done and is in force.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.error.is_none()
    }
}

/// A run.
struct Run<'a> {
    apply: &'a Apply<'a>,
    aim: Aim<'a>,
    /// What was agreed to and is not done.
    left: Vec<Step>,
    done: Vec<Step>,
    /// What was sent last, and whether ElastiCache took it, until its effect is seen.
    tried: Option<(Step, bool)>,
    /// What comes next, and since when.
    next: Option<(Step, Instant)>,
    looked: Instant,
    pause: Duration,
    /// Looks without an answer, one after the other.
    lost: u32,
    /// Requests without a clear answer, one after the other.
    unanswered: u32,
    last_error: Option<CacheError>,
}

impl Apply<'_> {
    /// Does what `plan` says and nothing else: if someone changes the users at the same time so that another step would
    /// be needed, the run ends.
    ///
    /// # Cancel safety
    ///
    /// A request is carried out or it is not; those after it are not. The next run goes on from there.
    pub async fn run(
        &self,
        plan: &GroupPlan,
        progress: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> GroupApplied {
        let mut run = Run {
            apply: self,
            aim: Aim {
                desired: self.desired,
                scope: self.scope,
                sent: false,
            },
            left: plan.changes().cloned().collect(),
            done: Vec::new(),
            tried: None,
            next: None,
            looked: clock::now(),
            pause: FIRST_PAUSE,
            lost: 0,
            unanswered: 0,
            last_error: None,
        };
        let error = if plan.blocked.is_empty() {
            run.run_until_done(progress).await.err()
        } else {
            Some(Stop::Changed(plan.blocked.join("; ")))
        };
        GroupApplied {
            done: run.done,
            not_done: run.left,
            error,
        }
    }
}

impl Run<'_> {
    async fn run_until_done(&mut self, progress: &mut (dyn FnMut(Progress<'_>) + Send)) -> Result<(), Stop> {
        loop {
            let looked = look(self.apply.service, &self.apply.desired.group).await;
            let state = match looked {
                Ok(state) => state,
                Err(error) => {
                    self.may_look_again(error)?;
                    self.rest().await;
                    continue;
                }
            };
            (self.looked, self.lost) = (clock::now(), 0);
            let Some(step) = self.next(&state)? else {
                return Ok(());
            };
            let since = self.waited();
            if since >= self.apply.wait {
                return Err(self.timed_out(&step));
            }
            if !self.is_to_be_sent(&step)? {
                progress(Progress::Waiting { step: &step, since });
                self.rest().await;
                continue;
            }
            progress(Progress::Doing(&step));
            match self.send(&step).await {
                Ok(()) => self.was_taken(step),
                Err(error) => {
                    self.failed(step, error)?;
                    self.rest().await;
                }
            }
        }
    }

    /// What is next by `state`.
    fn next(&mut self, state: &State) -> Result<Option<Step>, Stop> {
        let blocked = blocked(self.aim, state);
        if !blocked.is_empty() {
            return Err(Stop::Changed(blocked.join("; ")));
        }
        let step = self.aim.next(state);
        if let Some((tried, _)) = self.tried.take_if(|(tried, _)| step.as_ref() != Some(tried)) {
            // Its effect is seen, also where the answer was lost.
            self.left.retain(|left| *left != tried);
            self.done.push(tried);
        }
        if let Some(step) = &step
            && self.next.as_ref().is_none_or(|(known, _)| known != step)
        {
            self.next = Some((step.clone(), clock::now()));
            self.pause = FIRST_PAUSE;
        }
        Ok(step)
    }

    /// Whether `step` is sent now, and not waited for.
    fn is_to_be_sent(&self, step: &Step) -> Result<bool, Stop> {
        if !step.is_change() {
            return Ok(false);
        }
        if let Some((_, taken)) = self.tried.as_ref().filter(|(tried, _)| tried == step) {
            return Ok(!taken);
        }
        if self.left.contains(step) {
            return Ok(true);
        }
        if self.done.contains(step) {
            // An older state is shown for a moment.
            return Ok(false);
        }
        Err(Stop::Changed(format!(
            "someone changed the users at the same time, and this would come next: {step}; look at a new plan"
        )))
    }

    async fn send(&self, step: &Step) -> Result<(), CacheError> {
        let (service, desired) = (self.apply.service, self.apply.desired);
        let group = desired.group.as_str();
        match step {
            Step::CreateUser { id, .. } => {
                let wanted = desired.user(id).ok_or(CacheError::Miss)?;
                let user = NewUser {
                    id: wanted.id.clone(),
                    name: wanted.name.clone(),
                    engine: desired.engine.clone(),
                    access: wanted.text.clone(),
                    login: wanted.login(self.apply.credentials)?,
                };
                service.create_user(&user).await
            }
            Step::ModifyUser {
                id,
                add,
                remove,
                login,
            } => {
                let wanted = desired.user(id).ok_or(CacheError::Miss)?;
                let changes_access = !add.is_empty() || !remove.is_empty();
                let change = UserChange {
                    access: changes_access.then(|| wanted.text.clone()),
                    login: match login {
                        Some(_) => Some(wanted.login(self.apply.credentials)?),
                        None => None,
                    },
                };
                service.modify_user(id, &change).await
            }
            Step::CreateGroup { users } => {
                let group = NewUserGroup {
                    id: group.to_owned(),
                    engine: desired.engine.clone(),
                    users: users.clone(),
                };
                service.create_group(&group).await
            }
            Step::AddToGroup { users } => service.add_to_group(group, users).await,
            Step::RemoveFromGroup { users } => service.remove_from_group(group, users).await,
            Step::DeleteUser { id } => service.delete_user(id).await,
            Step::Wait { .. } => Ok(()),
        }
    }

    fn was_taken(&mut self, step: Step) {
        (self.last_error, self.unanswered) = (None, 0);
        // The number of passwords does not tell whether those of a rotation were sent.
        self.aim.sent = true;
        self.next = Some((step.clone(), clock::now()));
        self.pause = FIRST_PAUSE;
        self.tried = Some((step, true));
    }

    /// `error` ends the run, unless another look at ElastiCache decides what comes next.
    fn failed(&mut self, step: Step, error: CacheError) -> Result<(), CacheError> {
        match Condition::of(&error) {
            Condition::Refused => return Err(error),
            Condition::Busy => {}
            // It may have been carried out, by this request or by one that the SDK sent before it.
            Condition::Stale | Condition::Unknown => {
                self.unanswered += 1;
                if self.unanswered >= MOST_LOST {
                    return Err(error);
                }
            }
        }
        self.last_error = Some(error);
        self.tried = Some((step, false));
        Ok(())
    }

    fn may_look_again(&mut self, error: CacheError) -> Result<(), CacheError> {
        let is_over = clock::now().duration_since(self.looked) >= self.apply.wait;
        match Condition::of(&error) {
            Condition::Busy if !is_over => Ok(()),
            Condition::Unknown if !is_over && self.lost + 1 < MOST_LOST => {
                self.lost += 1;
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// How long the next step has been the next one.
    fn waited(&self) -> Duration {
        let since = self.next.as_ref().map(|(_, since)| *since);
        since.map_or(Duration::ZERO, |since| clock::now().duration_since(since))
    }

    async fn rest(&mut self) {
        let pause = self
            .pause
            .min(self.apply.wait)
            .mul_f64(rand::rng().random_range(0.8..1.2));
        tokio::time::sleep(pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn timed_out(&mut self, step: &Step) -> Stop {
        if let Some(error) = self.last_error.take() {
            return error.into();
        }
        let wait = humantime::format_duration(self.apply.wait);
        Stop::Overdue(match step {
            Step::Wait { .. } => format!(
                "ElastiCache is not done after {wait} ({step}); run the same again, it goes on from there"
            ),
            step => format!(
                "ElastiCache took this request and shows no effect of it after {wait}: {step}; compare with \
                 `aws elasticache describe-users`"
            ),
        })
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Changed(text) | Self::Overdue(text) => f.write_str(text),
        }
    }
}

impl From<CacheError> for Stop {
    fn from(error: CacheError) -> Self {
        Self::Failed(error)
    }
}
