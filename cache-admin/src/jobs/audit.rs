//! The audit log: who did what to what, from where, and how it ended. Append-only, a line of JSON each.
//!
//! Not in here: values. Names, keys and patterns are written as [`escaped`] makes them, so that no one can forge
//! a line or hide one from a terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

use super::{JobId, JobsError, Timestamp, Who};
use crate::escaped;

/// The audit log: a file to which lines of JSON are appended, each by one write (`O_APPEND`), so that several
/// processes may write to one file. A file that was moved away is made anew.
///
/// ```json
/// {"time":"2026-11-21T17:20:08.123Z","who":"jo","from":"10.0.0.7","request_id":"r-1","action":"job.start",
///  "on":{"job":"01k…","mode":"execute","patterns":["billing:*"]},"result":"ok"}
/// ```
///
/// Clones are one and the same log.
#[derive(Clone, Debug)]
pub struct Audit(Arc<Log>);

#[derive(Debug)]
struct Log {
    path: PathBuf,
    sync: AuditSync,
    file: Mutex<Option<File>>,
}

/// When lines are on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditSync {
    /// Each before [`Audit::record`] returns: a machine that loses its power loses none.
    #[default]
    Each,
    /// When the system writes them: a process that is killed loses none, a machine that loses its power those of
    /// the last seconds.
    System,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuditAction {
    /// A job was asked for.
    JobStart,
    /// A job was told to stop.
    JobCancel,
    /// A job was told to rest.
    JobPause,
    /// A job was told to go on.
    JobResume,
    /// A job ended.
    JobFinish,
    /// Keys were removed by name.
    KeyDelete,
    /// Keys were removed by pattern, without a job.
    PatternRemove,
    /// A value was shown.
    ValueRead,
    /// The generation of a namespace was bumped.
    GenerationBump,
    /// Users or their permissions were changed.
    AclChange,
    /// Somebody tried to prove who they are.
    Login,
    /// A request came for which the actor has no grant.
    Request,
}

/// One line of the log.
#[derive(Clone, Debug)]
pub struct AuditRecord {
    who: Who,
    action: AuditAction,
    on: Map<String, Value>,
    result: String,
    reason: Option<String>,
}

impl Audit {
    /// The log in the file at `path`, whose folder exists; where there is none it is made, readable by its owner
    /// only.
    ///
    /// # Errors
    ///
    /// [`JobsError::Audit`] where it cannot be opened.
    pub async fn open(path: impl Into<PathBuf>, sync: AuditSync) -> Result<Self, JobsError> {
        let log = Arc::new(Log {
            path: path.into(),
            sync,
            file: Mutex::new(None),
        });
        let audit = Self(log);
        audit.blocking(|log| log.with(|_| Ok(()))).await?;
        Ok(audit)
    }

    /// Appends a line.
    ///
    /// # Errors
    ///
    /// [`JobsError::Audit`] where it cannot be written. What was not done yet should then not be done.
    ///
    /// # Cancel safety
    ///
    /// The line may be written all the same.
    pub async fn record(&self, record: AuditRecord) -> Result<(), JobsError> {
        self.blocking(move |log| {
            let line = record.line(Timestamp::now());
            log.with(|file| log.append(file, &line))
        })
        .await
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    async fn blocking(
        &self,
        work: impl FnOnce(&Log) -> io::Result<()> + Send + 'static,
    ) -> Result<(), JobsError> {
        let log = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || work(&log)).await;
        done.unwrap_or_else(|panic| Err(io::Error::other(panic)))
            .map_err(|error| JobsError::Audit {
                path: self.0.path.clone(),
                source: Arc::new(error),
            })
    }
}

impl Log {
    /// Does `work` on the file, opened anew where it is not the one at the path, or where the last time failed.
    fn with(&self, work: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let mut place = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = match place.take() {
            Some(file) if self.is_ours(&file) => file,
            _ => self.open()?,
        };
        work(&mut file)?;
        *place = Some(file);
        Ok(())
    }

    fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&self.path)
    }

    #[cfg(unix)]
    fn is_ours(&self, file: &File) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        match (file.metadata(), std::fs::metadata(&self.path)) {
            (Ok(ours), Ok(there)) => ours.dev() == there.dev() && ours.ino() == there.ino(),
            _ => false,
        }
    }

    #[cfg(not(unix))]
    fn is_ours(&self, _file: &File) -> bool {
        self.path.exists()
    }

    fn append(&self, file: &mut File, line: &[u8]) -> io::Result<()> {
        // A line that a process could not write to its end stays by itself.
        let torn = ends_within_a_line(file).unwrap_or(false);
        let line = if torn {
            [b"\n", line].concat()
        } else {
            line.to_vec()
        };
        let written = file.write(&line)?;
        if written < line.len() {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "a line was cut off"));
        }
        match self.sync {
            AuditSync::Each => file.sync_data(),
            AuditSync::System => Ok(()),
        }
    }
}

fn ends_within_a_line(file: &mut File) -> io::Result<bool> {
    if !file.metadata()?.is_file() || file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

impl AuditRecord {
    /// That `who` did `action`; the result is `ok` until something else is said.
    #[must_use]
    pub fn new(who: &Who, action: AuditAction) -> Self {
        Self {
            who: who.clone(),
            action,
            on: Map::new(),
            result: "ok".to_owned(),
            reason: None,
        }
    }

    /// What it was done to: a key, a pattern, a namespace, a user; under `name` in `on`. Never a value.
    #[must_use]
    pub fn on(mut self, name: &str, what: impl AsRef<[u8]>) -> Self {
        self.on.insert(name.to_owned(), escaped(what.as_ref()).into());
        self
    }

    /// The job it was done to.
    #[must_use]
    pub fn on_job(self, job: JobId) -> Self {
        self.on("job", job.to_string())
    }

    /// The same for several: an array.
    #[must_use]
    pub fn on_each<T: AsRef<[u8]>>(mut self, name: &str, what: impl IntoIterator<Item = T>) -> Self {
        let what = what.into_iter().map(|what| Value::from(escaped(what.as_ref())));
        self.on.insert(name.to_owned(), what.collect());
        self
    }

    /// The patterns it was done to, as text already.
    #[must_use]
    pub(super) fn on_patterns(mut self, patterns: &[String]) -> Self {
        self.on.insert("patterns".to_owned(), patterns.into());
        self
    }

    /// A number that belongs to it, such as how many keys were removed.
    #[must_use]
    pub fn number(mut self, name: &str, number: u64) -> Self {
        self.on.insert(name.to_owned(), number.into());
        self
    }

    /// How it ended, in a word: `ok`, `refused`, `failed`, the state of a job.
    #[must_use]
    pub fn result(mut self, result: &str) -> Self {
        self.result = escaped(result.as_bytes());
        self
    }

    /// Why it ended like that.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Self {
        self.reason = Some(escaped(reason.as_bytes()));
        self
    }

    fn line(self, time: Timestamp) -> Vec<u8> {
        let text = |text: &String| Value::from(escaped(text.as_bytes()));
        let fields = [
            ("time", Some(time.to_string().into())),
            ("who", Some(text(&self.who.name))),
            ("from", self.who.from.as_ref().map(text)),
            ("request_id", self.who.request_id.as_ref().map(text)),
            ("action", Some(self.action.name().into())),
            ("on", Some(Value::Object(self.on))),
            ("result", Some(self.result.into())),
            ("reason", self.reason.map(Value::from)),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| {
            let value = value?;
            Some(format!("{}:{value}", Value::from(name)))
        });
        let fields: Vec<String> = fields.collect();
        format!("{{{}}}\n", fields.join(",")).into_bytes()
    }
}

impl AuditAction {
    /// Its name in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::JobStart => "job.start",
            Self::JobCancel => "job.cancel",
            Self::JobPause => "job.pause",
            Self::JobResume => "job.resume",
            Self::JobFinish => "job.finish",
            Self::KeyDelete => "key.delete",
            Self::PatternRemove => "pattern.remove",
            Self::ValueRead => "value.read",
            Self::GenerationBump => "generation.bump",
            Self::AclChange => "acl.change",
            Self::Login => "login",
            Self::Request => "request",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> AuditRecord {
        let who = Who::new("jo\n\u{85}\u{202e}")
            .with_from("10.0.0.7")
            .with_request_id("r");
        AuditRecord::new(&who, AuditAction::KeyDelete).on("key", b"k\x1b\xff")
    }

    #[test]
    fn a_line_is_one_line_whatever_the_names_are() {
        let line = String::from_utf8(record().because("a\nb").line(Timestamp::of_millis(0))).unwrap();
        let body = line.strip_suffix('\n').unwrap();
        assert!(!body.chars().any(char::is_control), "{body:?}");
        assert_eq!(
            body,
            r#"{"time":"1970-01-01T00:00:00.000Z","who":"jo\\x0a\\xc2\\x85\\xe2\\x80\\xae","from":"10.0.0.7","request_id":"r","action":"key.delete","on":{"key":"k\\x1b\\xff"},"result":"ok","reason":"a\\x0ab"}"#
        );
        assert!(serde_json::from_str::<Value>(body).is_ok());
    }

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.ends_with('\n'), "{text:?}");
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| Value::from(line)))
            .collect()
    }

    #[tokio::test]
    async fn lines_are_appended_and_a_torn_one_stays_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        for _ in 0..2 {
            let audit = Audit::open(&path, AuditSync::Each).await.unwrap();
            audit.record(record()).await.unwrap();
        }
        let mut text = std::fs::read(&path).unwrap();
        text.extend(b"{\"time\":");
        std::fs::write(&path, text).unwrap();
        let audit = Audit::open(&path, AuditSync::System).await.unwrap();
        audit.record(record()).await.unwrap();
        let lines = lines(&path);
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[2], "{\"time\":");
        assert_eq!(lines[3]["action"], "key.delete");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_file_that_was_moved_away_is_made_anew_and_is_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Audit::open(&path, AuditSync::Each).await.unwrap();
        audit.record(record()).await.unwrap();
        let moved = folder.path().join("audit.1");
        std::fs::rename(&path, &moved).unwrap();
        audit.record(record()).await.unwrap();
        assert_eq!((lines(&moved).len(), lines(&path).len()), (1, 1));
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_written_says_which_file() {
        let error = Audit::open("/dev/null/audit", AuditSync::Each).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the audit log /dev/null/audit cannot be written"
        );
        // Where a disk is full, as this device always is.
        let full = Audit::open("/dev/full", AuditSync::Each).await.unwrap();
        assert!(full.record(record()).await.is_err());
    }
}
