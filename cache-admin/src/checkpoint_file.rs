//! A checkpoint in a file: the simplest place that outlives a process.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use cache_core::CacheError;

use crate::engine::{Checkpoint, Checkpoints};

/// Keeps the [`Checkpoint`] of one run in a file, as JSON, which is replaced as a whole.
///
/// It survives the process, also one that is killed. A machine that loses its power may lose what was saved
/// in the last seconds; what an older checkpoint says holds all the same, but for
/// [`Report::uncounted`](crate::Report::uncounted).
#[derive(Clone, Debug)]
pub struct CheckpointFile {
    path: Arc<Path>,
}

impl CheckpointFile {
    /// In the file at `path`, whose folder exists. Beside it there is, for a moment, one with `.new` at the
    /// end of its name.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into().into(),
        }
    }

    /// What was saved last; `None` where there is no file.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] where the file cannot be read, [`CacheError::Corrupt`] where it is no
    /// checkpoint.
    pub async fn load(&self) -> Result<Option<Checkpoint>, CacheError> {
        let text = self.blocking(|path| match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        });
        let Some(text) = text.await? else {
            return Ok(None);
        };
        let read = serde_json::from_slice(&text);
        read.map(Some).map_err(|error| CacheError::Corrupt {
            detail: format!("{} is no checkpoint", self.path.display()).into(),
            source: Some(Arc::new(error)),
        })
    }

    /// Takes the file away, where there is one: the run is over.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] where that fails.
    pub async fn remove(&self) -> Result<(), CacheError> {
        let removed = self.blocking(|path| match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        });
        removed.await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, CacheError> {
        let path = Arc::clone(&self.path);
        let done = tokio::task::spawn_blocking(move || work(&path)).await;
        match done {
            Ok(done) => done.map_err(|error| CacheError::InvalidInput {
                argument: "checkpoint file",
                reason: format!("{}: {error}", self.path.display()).into(),
            }),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

#[async_trait]
impl Checkpoints for CheckpointFile {
    async fn save(&self, checkpoint: &Checkpoint) -> Result<(), CacheError> {
        let text = serde_json::to_vec(checkpoint).map_err(|error| CacheError::Corrupt {
            detail: "a checkpoint that cannot be written as JSON".into(),
            source: Some(Arc::new(error)),
        })?;
        let saved = self.blocking(move |path| {
            let mut new = path.as_os_str().to_owned();
            new.push(".new");
            crate::private_file::create(new.as_ref())?.write_all(&text)?;
            std::fs::rename(&new, path)
        });
        saved.await
    }
}
