//! What is written into the audit log besides jobs, which write theirs.

use cache_core::CacheError;

use super::problem::{Kind, Problem};
use super::service::Service;
use crate::jobs::AuditRecord;

/// Writes down what is about to be done. What cannot be written down is not done.
pub(crate) async fn begun(service: &Service, record: AuditRecord) -> Result<(), Problem> {
    let Some(audit) = service.jobs().audit() else {
        return Ok(());
    };
    audit.record(record).await.map_err(|error| {
        tracing::error!("an action was refused: {error}");
        Problem::new(Kind::Busy, "the audit log cannot be written; nothing was done")
            .retry_after(std::time::Duration::from_secs(5))
    })
}

/// Writes down how it ended.
pub(crate) async fn written<T: Sync>(
    service: &Service,
    record: AuditRecord,
    ended: &Result<T, CacheError>,
    more: impl FnOnce(AuditRecord, &T) -> AuditRecord + Send,
) {
    let Some(audit) = service.jobs().audit() else {
        return;
    };
    let record = match ended {
        Ok(done) => more(record, done),
        Err(error) => record.result("failed").because(&error.to_string()),
    };
    if let Err(error) = audit.record(record).await {
        tracing::error!("an action is missing in the audit log: {error}");
    }
}
