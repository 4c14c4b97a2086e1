//! Whether ElastiCache shows the users as they are declared.
//!
//! Not in here: logging in as each of them, which is [`try_out`](super::super::try_out)'s.

use super::Access;
use super::desired::{Desired, DesiredUser};
use super::state::State;

/// Something about a user that is not as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The user's name, or the group's id.
    pub subject: String,
    /// What was looked at: `exists`, `status`, `access`, `login`, `member`.
    pub what: &'static str,
    /// As declared.
    pub expected: String,
    /// As found.
    pub found: String,
}

/// What was looked at, and what differs. The passwords themselves are never shown: only their number is compared.
#[must_use]
pub fn verify(desired: &Desired, state: &State) -> (usize, Vec<Difference>) {
    let mut looked = Looked::default();
    let group = state.group.as_ref();
    let status = group.map(|group| group.status.to_string());
    looked.at(
        &desired.group,
        "status",
        "active",
        status.as_deref().unwrap_or("missing"),
    );
    for wanted in desired.users.values() {
        user(wanted, state, &mut looked);
    }
    (looked.count, looked.differences)
}

#[derive(Debug, Default)]
struct Looked {
    count: usize,
    differences: Vec<Difference>,
}

impl Looked {
    fn at(&mut self, subject: &str, what: &'static str, expected: &str, found: &str) {
        self.count += 1;
        if expected != found {
            self.differences.push(Difference {
                subject: subject.to_owned(),
                what,
                expected: expected.to_owned(),
                found: found.to_owned(),
            });
        }
    }
}

fn user(wanted: &DesiredUser, state: &State, looked: &mut Looked) {
    let found = state.users.get(&wanted.id);
    let found = found.filter(|found| found.name == wanted.name);
    let Some(found) = found else {
        looked.at(&wanted.name, "exists", "yes", "no");
        return;
    };
    looked.at(&wanted.name, "exists", "yes", "yes");
    looked.at(&wanted.name, "status", "active", &found.status.to_string());
    let access = Access::read(&found.access);
    looked.at(
        &wanted.name,
        "access",
        &wanted.access.to_string(),
        &access.to_string(),
    );
    let login = wanted.login.shown().to_string();
    looked.at(&wanted.name, "login", &login, &found.authentication.to_string());
    let mut members = state.group.iter().flat_map(|group| &group.users);
    let member = if members.any(|id| *id == wanted.id) {
        "yes"
    } else {
        "no"
    };
    looked.at(&wanted.name, "member", "yes", member);
}
