//! What would be sent to ElastiCache, in order, and what stands in the way.

use std::collections::BTreeSet;

use cache_aws::elasticache::Authentication;

use super::super::Scope;
use super::super::export::LARGEST_GROUP;
use super::Access;
use super::desired::{Desired, DesiredLogin};
use super::next::Aim;
use super::state::State;
use super::step::Step;

/// More steps than any plan has: two for each of the quota of 1,000 users, and those of the group.
const MOST_STEPS: usize = 3_000;

/// What would be sent to ElastiCache for the users to be as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupPlan {
    /// The id of the user group.
    pub group: String,
    /// The caches that let the group's users in; none while the group does not exist.
    pub caches: Vec<String>,
    /// The requests and the waits between them, in order.
    pub steps: Vec<Step>,
    /// Ways to log in that are not declared and stay until a rotation is finished, a line each.
    pub held: Vec<String>,
    /// Users of the group that are not of the declaration, by name: they are left alone.
    pub foreign: BTreeSet<String>,
    /// Those of them that may do everything without a password.
    pub unguarded: BTreeSet<String>,
    /// What else to know, a line each.
    pub notes: Vec<String>,
    /// Why it must not be applied as it is.
    pub blocked: Vec<String>,
}

impl GroupPlan {
    /// Compares `state` with `desired`. Nothing is sent. The user of a `scope` is given by its id.
    #[must_use]
    pub fn make(desired: &Desired, state: &State, scope: Scope<'_>) -> Self {
        let aim = Aim {
            desired,
            scope,
            sent: false,
        };
        let blocked = blocked(aim, state);
        let steps = if blocked.is_empty() {
            steps(aim, state.clone())
        } else {
            Vec::new()
        };
        let foreign = foreign(desired, state);
        let unguarded = foreign.iter().filter(|(_, unguarded)| *unguarded);
        Self {
            group: desired.group.clone(),
            caches: state
                .group
                .iter()
                .flat_map(|group| group.caches.clone())
                .collect(),
            steps,
            held: held(aim, state),
            unguarded: unguarded.map(|(name, _)| name.clone()).collect(),
            foreign: foreign.into_iter().map(|(name, _)| name).collect(),
            notes: notes(aim, state),
            blocked,
        }
    }

    /// Whether nothing has to be sent. ElastiCache may still be carrying out what it was told before.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.change_count() == 0
    }

    /// How many requests there are.
    #[must_use]
    pub fn change_count(&self) -> usize {
        self.changes().count()
    }

    /// The requests, in order.
    pub fn changes(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.is_change())
    }
}

fn steps(mut aim: Aim<'_>, mut state: State) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for _ in 0..MOST_STEPS {
        let Some(step) = aim.next(&state) else { break };
        aim.sent |= step.is_change();
        state = state.after(&step, aim.desired);
        match (steps.last_mut(), step) {
            // Two waits in a row are one.
            (
                Some(Step::Wait { users, group }),
                Step::Wait {
                    users: more,
                    group: too,
                },
            ) => {
                users.extend(more);
                *group |= too;
            }
            (_, step) => steps.push(step),
        }
    }
    steps
}

/// What ElastiCache would refuse, and what would lock someone out.
pub(super) fn blocked(aim: Aim<'_>, state: &State) -> Vec<String> {
    let desired = aim.desired;
    let mut blocked = Vec::new();
    if let Some(group) = &state.group
        && group.engine != desired.engine
    {
        blocked.push(format!(
            "the user group {} is of the engine {}, the declaration says {}: correct elasticache.engine, or name another \
             group",
            group.id, group.engine, desired.engine
        ));
    }
    for wanted in aim.members(state) {
        let Some(found) = state.users.get(&wanted.id) else {
            continue;
        };
        if found.name != wanted.name {
            blocked.push(format!(
                "{}: the id {} belongs to a user with the name {}: delete that user, or rename this one",
                wanted.path, wanted.id, found.name
            ));
        }
        if desired.engine == "redis" && found.engine != "redis" {
            blocked.push(format!(
                "{}: the user {} is of the engine {}, which a group of the engine redis does not take",
                wanted.path, wanted.id, found.engine
            ));
        }
        if let Authentication::Other(kind) = &found.authentication {
            blocked.push(format!(
                "{}: the user {} logs in by {kind:?}, which this version does not know",
                wanted.path, wanted.id
            ));
        }
    }
    let members = state.group.iter().flat_map(|group| &group.users);
    for found in members.filter_map(|id| state.users.get(id)) {
        let mut declared = desired.users.values();
        if let Some(wanted) = declared.find(|wanted| wanted.name == found.name && wanted.id != found.id) {
            blocked.push(format!(
                "{}: the group has a user with that name under the id {}: give it another name or remove it, names are \
                 unique in a group",
                wanted.path, found.id
            ));
        }
    }
    match aim.scope {
        super::super::Scope::All => blocked.extend(too_many(aim, state)),
        Scope::Only(id) | Scope::Retire(id) => blocked.extend(not_there(aim, state, id)),
    }
    blocked
}

fn too_many(aim: Aim<'_>, state: &State) -> Option<String> {
    let members = aim.members(state);
    let undeclared = aim.undeclared(state);
    let stays = |id: &&String| {
        members.iter().all(|user| user.id != **id) && undeclared.iter().all(|user| user.id != **id)
    };
    let others = state
        .group
        .iter()
        .flat_map(|group| &group.users)
        .filter(stays)
        .count();
    (others + members.len() > LARGEST_GROUP).then(|| {
        format!(
            "the user group {} would have {} users, {others} of them not declared in the file: a group has at most \
             {LARGEST_GROUP}",
            aim.desired.group,
            others + members.len()
        )
    })
}

/// A rotation is about a user that is in use.
fn not_there(aim: Aim<'_>, state: &State, id: &str) -> Option<String> {
    (!state.users.contains_key(id) || !state.is_member(id, &aim.desired.group)).then(|| {
        format!(
            "the user {id} is not in the group {}: `cachectl users apply --elasticache` comes first",
            aim.desired.group
        )
    })
}

fn held(aim: Aim<'_>, state: &State) -> Vec<String> {
    let retires = |id: &str| matches!(aim.scope, Scope::Retire(only) if only == id);
    let mut held = Vec::new();
    for wanted in aim.desired.users.values().filter(|wanted| !retires(&wanted.id)) {
        let Some(found) = state.users.get(&wanted.id) else {
            continue;
        };
        let stays = match (wanted.login, &found.authentication) {
            (DesiredLogin::Passwords(wanted), Authentication::Password(found)) if *found > wanted => {
                "a password that the declaration does not name"
            }
            (DesiredLogin::Passwords(_), Authentication::Iam) => {
                "IAM, and not by the password that the declaration names"
            }
            (DesiredLogin::Iam, Authentication::Password(_)) => {
                "password, and not by IAM as the declaration says"
            }
            _ => continue,
        };
        held.push(format!(
            "{} still logs in by {stays}; `cachectl users rotate {} --elasticache --phase finish` changes that",
            wanted.name, wanted.name
        ));
    }
    held
}

fn foreign(desired: &Desired, state: &State) -> Vec<(String, bool)> {
    let members = state.group.iter().flat_map(|group| &group.users);
    let found = members.filter_map(|id| state.users.get(id));
    let others =
        found.filter(|user| desired.user(&user.id).is_none() && !user.name.starts_with(&desired.prefix));
    others
        .map(|user| {
            let open = user.authentication == Authentication::NoPassword
                && Access::read(&user.access).allows_everything();
            (user.name.clone(), open)
        })
        .collect()
}

fn notes(aim: Aim<'_>, state: &State) -> Vec<String> {
    let mut notes = aim.desired.notes().to_vec();
    if aim.scope != Scope::All {
        return notes;
    }
    let group = &aim.desired.group;
    for user in aim.undeclared(state) {
        let others: Vec<&str> = user
            .groups
            .iter()
            .filter(|other| *other != group)
            .map(String::as_str)
            .collect();
        if !others.is_empty() {
            notes.push(format!(
                "{} is not declared and is not deleted: it is in the group {}",
                user.id,
                others.join(", ")
            ));
        }
    }
    if state.group.as_ref().is_some_and(|group| group.caches.is_empty()) {
        notes.push(format!(
            "no cache uses the user group {group}: its users can log in nowhere yet"
        ));
    }
    notes
}
