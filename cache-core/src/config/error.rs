//! The problems of a configuration: all at once, each with the name of its variable.

use std::fmt;

use super::reference;

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

/// One problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable (or the setting of the file) that is wrong.
    pub variable: String,
    /// What is wrong with it and what is accepted; never a secret's value.
    pub message: String,
}

impl ConfigError {
    /// An error with these problems.
    #[must_use]
    pub const fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// An error with one problem.
    #[must_use]
    pub fn one(variable: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(vec![Problem {
            variable: variable.into(),
            message: message.into(),
        }])
    }

    /// The problems as an error, or no error if there are none.
    pub(super) fn unless_empty(mut problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort_by_key(|problem| reference::position(&problem.variable));
        Err(Self::new(problems))
    }

    /// All problems, in the order of the reference table.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.message)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrong configuration: ")?;
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
