//! Does what a plan says, step by step.
//!
//! First, on every node, what makes users and changes them; then, on every node, what removes them; then each
//! node puts its users down. A step is one command: a node has either the old user or the new one.

use std::collections::BTreeSet;

use cache_core::config::Problem;
use cache_core::{CacheError, ConfigError};
use cache_valkey::admin::{AclSaved, AclUser};
use futures::future::join_all;

use super::plan::{NodePlan, Plan, Step};

/// What was done of a plan.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Applied {
    /// The steps that were done: where, and what.
    pub done: Vec<(String, Step)>,
    /// Those that were not; the first is the one that failed, where one did.
    pub not_done: Vec<NotDone>,
    /// Nodes that could not be asked when the plan was made, and why.
    pub unreached: Vec<(String, CacheError)>,
    /// Whether each changed node put its users down.
    pub saved: Vec<(String, Result<AclSaved, CacheError>)>,
}

/// A step that was not done.
#[derive(Debug)]
#[non_exhaustive]
pub struct NotDone {
    /// Where.
    pub address: String,
    /// What.
    pub step: Step,
    /// Why, where it was tried.
    pub error: Option<CacheError>,
}

impl Applied {
    /// Whether all was done, on every node.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.not_done.is_empty() && self.unreached.is_empty()
    }
}

impl Plan {
    /// Does it, and stops at the first failure. A plan that is made anew afterwards says what is left. Before anything is
    /// done, and before each step, it looks again: a user that somebody has changed since the plan was made stays as it is.
    ///
    /// # Errors
    ///
    /// [`CacheError::Config`] for a plan that is [`blocked`](Plan::blocked), or if a user is not as it was when the plan was
    /// made: nothing was done. Whatever fails later is part of what is returned.
    ///
    /// # Cancel safety
    ///
    /// A step is done or not done; those after it are not.
    pub async fn apply(&self) -> Result<Applied, CacheError> {
        if !self.blocked.is_empty() {
            let problem = |message: &String| Problem {
                variable: "plan".to_owned(),
                message: message.clone(),
            };
            return Err(ConfigError::new(self.blocked.iter().map(problem).collect()).into());
        }
        let looks = self.nodes.iter().map(|node| async move {
            let steps = node.steps.iter();
            // A node that does not answer fails at its first step.
            let now = match node.steps.is_empty() {
                true => return Vec::new(),
                false => node.node.users().await.unwrap_or_default(),
            };
            if now.is_empty() {
                return Vec::new();
            }
            steps.filter_map(|step| node.changed(step, &now)).collect()
        });
        let changed: Vec<Problem> = join_all(looks).await.into_iter().flatten().collect();
        if !changed.is_empty() {
            return Err(ConfigError::new(changed).into());
        }
        let mut applied = Applied::default();
        for node in &self.nodes {
            let error = node.error.clone();
            applied
                .unreached
                .extend(error.map(|error| (node.address().to_owned(), error)));
        }
        let steps = [false, true].into_iter().flat_map(|deletes| {
            self.nodes.iter().flat_map(move |node| {
                let steps = node.steps.iter().filter(move |step| step.is_delete() == deletes);
                steps.map(move |step| (node, step))
            })
        });
        let mut changed = BTreeSet::new();
        let mut failed = false;
        for (node, step) in steps {
            let address = node.address().to_owned();
            let result = if failed { None } else { Some(node.take(step).await) };
            match result {
                Some(Ok(())) => {
                    changed.insert(address.clone());
                    applied.done.push((address, step.clone()));
                }
                result => {
                    failed = true;
                    applied.not_done.push(NotDone {
                        address,
                        step: step.clone(),
                        error: result.and_then(Result::err),
                    });
                }
            }
        }
        for node in self.nodes.iter().filter(|node| changed.contains(node.address())) {
            applied
                .saved
                .push((node.address().to_owned(), node.node.save().await));
        }
        Ok(applied)
    }
}

impl NodePlan {
    /// That the user of `step` is not as it was when the plan was made.
    fn changed(&self, step: &Step, now: &[AclUser]) -> Option<Problem> {
        let now = now
            .iter()
            .find(|user| user.name == step.user)
            .map(|user| &user.rules);
        (now != self.seen.get(&step.user)).then(|| Problem {
            variable: step.user.clone(),
            message: format!(
                "was changed on {} since the plan was made; it stays as it is: make a new plan",
                self.address()
            ),
        })
    }

    async fn take(&self, step: &Step) -> Result<(), CacheError> {
        if let Some(changed) = self.changed(step, &self.node.users().await?) {
            return Err(ConfigError::new(vec![changed]).into());
        }
        if step.is_delete() {
            return self.node.delete(&step.user).await;
        }
        let user = AclUser {
            name: step.user.clone(),
            rules: step.rules.clone(),
        };
        self.node.set(&user).await
    }
}
