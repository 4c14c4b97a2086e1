//! The audit file of this program (`--audit FILE`, `CACHECTL_AUDIT`): what it removes and changes without a service.
//!
//! Lines have the form of the service's audit log ([`cache_admin::jobs::Audit`]), and may be in the same file. Not in here:
//! what jobs and the service write down themselves.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cache_admin::jobs::{Audit, AuditAction, AuditRecord, AuditSync, JobsError, Who};
use cache_core::CacheError;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};

use crate::exit::Exit;
use crate::failure::{Failure, with_causes};
use crate::output::Output;
use crate::profile;

/// The file in use.
static IN_USE: OnceLock<PathBuf> = OnceLock::new();

/// Where it is.
#[derive(Args, Clone, Debug)]
pub(crate) struct AuditFile {
    /// Append to FILE who did what, a line of JSON each: removals, changed users and bumped generations; of `serve` also
    /// refusals and failed logins
    #[arg(long, global = true, env = "CACHECTL_AUDIT", value_name = "FILE")]
    audit: Option<PathBuf>,
}

impl AuditFile {
    /// Has the file used from now on. With a profile in use, its setting takes the place of the variable.
    pub(crate) fn put_to_use(self, matches: &ArgMatches) {
        let is_typed = matches.value_source("audit") == Some(ValueSource::CommandLine);
        let path = match profile::setting("CACHECTL_AUDIT").filter(|_| !is_typed) {
            Some(of_profile) => of_profile.map(PathBuf::from),
            None => self.audit,
        };
        if let Some(path) = path {
            // It is set once.
            let _ = IN_USE.set(path);
        }
    }
}

/// The file, if one is in use.
pub(crate) fn path() -> Option<&'static Path> {
    IN_USE.get().map(PathBuf::as_path)
}

/// A record of what the user of this process does.
pub(crate) fn record(action: AuditAction) -> AuditRecord {
    let who = Who::new(user());
    let who = match host() {
        Some(host) => who.with_from(host),
        None => who,
    };
    AuditRecord::new(&who, action)
}

/// Writes down what is about to be done. What cannot be written down is not done.
pub(crate) async fn begun(record: &AuditRecord) -> Result<(), Failure> {
    append(record.clone().result("begun"))
        .await
        .map_err(|reason| Failure::Service {
            exit: Exit::Failed,
            kind: "audit".to_owned(),
            message: format!("--audit: {reason}; nothing was done"),
        })
}

/// Writes down how it ended. It was done, so that a line which cannot be written is a warning.
pub(crate) async fn ended(record: AuditRecord, output: &mut Output) {
    if let Err(reason) = append(record).await {
        output.warning(&format!("--audit: {reason}; an action is missing in it"));
    }
}

/// As [`ended`], of a call: `more` adds what it did, a failure adds why.
pub(crate) async fn ended_as<T>(
    record: AuditRecord,
    ended: &Result<T, CacheError>,
    more: impl FnOnce(AuditRecord, &T) -> AuditRecord,
    output: &mut Output,
) {
    let record = match ended {
        Ok(done) => more(record, done),
        Err(error) => record.result("failed").because(&with_causes(error)),
    };
    self::ended(record, output).await;
}

async fn append(record: AuditRecord) -> Result<(), String> {
    let Some(path) = path() else {
        return Ok(());
    };
    let written = async {
        let audit = Audit::open(path, AuditSync::Each).await?;
        audit.record(record).await
    };
    written
        .await
        .map_err(|error: JobsError| match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        })
}

/// The name of the user of this process; its number if it has none.
#[cfg(unix)]
fn user() -> String {
    let uid = rustix::process::getuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_of(&users, uid).unwrap_or_else(|| format!("uid {uid}"))
}

#[cfg(not(unix))]
fn user() -> String {
    "unknown".to_owned()
}

/// The name of the user with this number, in the form of `/etc/passwd`.
#[cfg(unix)]
fn name_of(users: &str, uid: u32) -> Option<String> {
    let mut users = users.lines().map(|line| line.split(':'));
    users.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The name of this machine, if it says.
fn host() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbroken\njo:x:1000:1000::/home/jo:/bin/sh\n";
        assert_eq!(name_of(users, 1_000).as_deref(), Some("jo"));
        assert_eq!(name_of(users, 1), None);
    }
}
