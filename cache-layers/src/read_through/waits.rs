//! The wait graph: finds a loader that waits for itself, over however many others.
//!
//! Not in here: waiting. Not found: a loader that spawns a task, waits for it, and lets that task ask for the
//! loader's own key. The hard timeout ends that.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::flights::FlightId;

tokio::task_local! {
    /// The flights whose loader this task runs: one, or those of a batch.
    pub(super) static LOADING: Vec<FlightId>;
}

/// From a flight to those that its loader waits for now. One graph for all read-throughs of the process, because a
/// loader may use several.
static GRAPH: LazyLock<Mutex<HashMap<FlightId, Vec<FlightId>>>> = LazyLock::new(Mutex::default);

/// Records that the task's loader waits for a flight, until this is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    from: Vec<FlightId>,
    to: FlightId,
}

/// The loader of the current task waited for itself.
#[derive(Debug)]
pub(super) struct Cycle;

impl Waiting {
    /// Records that the current task will wait for `to`. Not needed outside of a loader.
    pub(super) fn for_flight(to: FlightId) -> Result<Option<Self>, Cycle> {
        let Ok(from) = LOADING.try_with(Clone::clone) else {
            return Ok(None);
        };
        let mut graph = graph();
        let (mut open, mut seen) = (vec![to], Vec::new());
        while let Some(next) = open.pop() {
            if from.contains(&next) {
                return Err(Cycle);
            }
            if !seen.contains(&next) {
                open.extend(graph.get(&next).into_iter().flatten());
                seen.push(next);
            }
        }
        for flight in &from {
            graph.entry(*flight).or_default().push(to);
        }
        drop(graph);
        Ok(Some(Self { from, to }))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut graph = graph();
        for flight in &self.from {
            if let Some(edges) = graph.get_mut(flight) {
                if let Some(at) = edges.iter().position(|edge| *edge == self.to) {
                    edges.swap_remove(at);
                }
                if edges.is_empty() {
                    graph.remove(flight);
                }
            }
        }
    }
}

fn graph() -> MutexGuard<'static, HashMap<FlightId, Vec<FlightId>>> {
    GRAPH.lock().unwrap_or_else(PoisonError::into_inner)
}
