//! What the doctor found, check by check.

use serde::{Deserialize, Serialize};

/// What was found, in a fixed order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// One for each check.
    pub findings: Vec<Finding>,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Finding {
    /// The name of the check.
    pub check: &'static str,
    /// How it came out.
    pub state: Health,
    /// What was seen.
    pub seen: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do about it, where there is something to do.
    pub advice: Option<String>,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema), schema(as = CheckState))]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It could not be made, or does not concern this cache.
    Skipped,
    /// All is well.
    Ok,
    /// It works, and will hurt.
    Warn,
    /// It does not work.
    Fail,
}

/// A check, before it is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) why: &'static str,
}

/// How a check came out, and what to say of it.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    state: Health,
    seen: String,
    advice: Option<String>,
    /// Whether something that an earlier check names would explain it.
    consequence: bool,
}

impl Diagnosis {
    /// The worst state of all.
    #[must_use]
    pub fn worst(&self) -> Health {
        let states = self.findings.iter().map(|finding| finding.state);
        states.max().unwrap_or(Health::Skipped)
    }

    /// What the check of that name found.
    #[must_use]
    pub fn of(&self, check: &str) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.check == check)
    }

    pub(super) fn collect(verdicts: impl IntoIterator<Item = (Check, Verdict)>) -> Self {
        let mut findings: Vec<Finding> = Vec::new();
        for (check, verdict) in verdicts {
            let earlier = findings
                .iter()
                .find(|finding| finding.state == Health::Fail)
                .map(|finding| finding.check);
            findings.push(match earlier {
                Some(earlier) if verdict.consequence => Finding {
                    check: check.name,
                    state: Health::Skipped,
                    seen: format!("{}; see {earlier}", verdict.seen),
                    why: check.why,
                    advice: None,
                },
                _ => Finding {
                    check: check.name,
                    state: verdict.state,
                    seen: verdict.seen,
                    why: check.why,
                    advice: verdict.advice,
                },
            });
        }
        Self { findings }
    }
}

impl Health {
    /// Its name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl Verdict {
    pub(super) fn ok(seen: impl Into<String>) -> Self {
        Self {
            state: Health::Ok,
            seen: seen.into(),
            advice: None,
            consequence: false,
        }
    }

    pub(super) fn warn(seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            state: Health::Warn,
            advice: Some(advice.into()),
            ..Self::ok(seen)
        }
    }

    pub(super) fn fail(seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            state: Health::Fail,
            ..Self::warn(seen, advice)
        }
    }

    pub(super) fn skipped(reason: impl Into<String>) -> Self {
        Self {
            state: Health::Skipped,
            ..Self::ok(reason)
        }
    }

    /// That the user may not ask for what would be looked at.
    pub(super) fn not_allowed(command: &str) -> Self {
        Self::skipped(format!("not allowed to look: the user may not run {command}"))
    }

    /// The same, and no news where an earlier check has failed.
    pub(super) fn unless_explained(self) -> Self {
        Self {
            consequence: true,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn check(name: &'static str) -> Check {
        Check { name, why: "" }
    }

    #[test]
    fn what_an_earlier_failure_explains_is_skipped_and_names_it() {
        let diagnosis = Diagnosis::collect([
            (check("names"), Verdict::ok("fine")),
            (check("auth"), Verdict::fail("refused", "look")),
            (
                check("latency"),
                Verdict::fail("no reply", "look").unless_explained(),
            ),
            (check("clocks"), Verdict::warn("late", "look")),
        ]);
        let states: Vec<Health> = diagnosis.findings.iter().map(|finding| finding.state).collect();
        assert_eq!(states, [Health::Ok, Health::Fail, Health::Skipped, Health::Warn]);
        assert_eq!(diagnosis.of("latency").unwrap().seen, "no reply; see auth");
        assert_eq!(diagnosis.worst(), Health::Fail);
    }

    #[test]
    fn what_nothing_explains_stands() {
        let verdict = Verdict::fail("no reply", "look").unless_explained();
        let diagnosis = Diagnosis::collect([(check("latency"), verdict)]);
        assert_eq!(diagnosis.worst(), Health::Fail);
    }
}
