//! The keys of a run, one after the other.

use std::collections::HashSet;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Report;

/// Pages that wait for the reader before the servers are asked for more.
const PAGES_AHEAD: usize = 4;

/// The keys that a run lists, as they come in; made by [`Engine::list`](super::Engine::list).
///
/// Dropping it ends the run.
#[derive(Debug)]
pub struct Listing {
    pages: mpsc::Receiver<Vec<Bytes>>,
    page: std::vec::IntoIter<Bytes>,
    /// The keys that were handed out, while there is a limit to how many that can be.
    unique: Option<Unique>,
    has_more: bool,
    run: JoinSet<Report>,
}

#[derive(Debug)]
struct Unique {
    limit: usize,
    given: HashSet<Bytes>,
}

impl Listing {
    pub(super) fn start<F>(limit: Option<usize>, run: impl FnOnce(mpsc::Sender<Vec<Bytes>>) -> F) -> Self
    where
        F: Future<Output = Report> + Send + 'static,
    {
        let (sender, pages) = mpsc::channel(PAGES_AHEAD);
        let mut task = JoinSet::new();
        task.spawn(run(sender));
        Self {
            pages,
            page: Vec::new().into_iter(),
            unique: limit.map(|limit| Unique {
                limit,
                given: HashSet::new(),
            }),
            has_more: false,
            run: task,
        }
    }

    /// The next key; `None` at the end or at the limit.
    ///
    /// At the limit it looks for one key more, to be able to say whether [there is](Listing::has_more).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no key is lost.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.has_more {
                return None;
            }
            let Some(key) = self.page.next() else {
                self.page = self.pages.recv().await?.into_iter();
                continue;
            };
            let Some(unique) = &mut self.unique else {
                return Some(key);
            };
            if unique.given.contains(&key) {
                continue;
            }
            if unique.given.len() >= unique.limit {
                self.has_more = true;
                return None;
            }
            // A copy of its own: the key may be a window into a whole page.
            let key = Bytes::copy_from_slice(&key);
            unique.given.insert(key.clone());
            return Some(key);
        }
    }

    /// Whether there were more keys than the limit.
    #[must_use]
    pub const fn has_more(&self) -> bool {
        self.has_more
    }

    /// Ends the run and says how it went; [`Outcome::Cancelled`](super::Outcome::Cancelled) where keys
    /// were still to come.
    pub async fn finish(mut self) -> Report {
        self.pages.close();
        drop(self.page);
        while self.pages.try_recv().is_ok() {}
        match self.run.join_next().await {
            Some(Ok(report)) => report,
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => unreachable!("the run is joined once, here"),
        }
    }
}
