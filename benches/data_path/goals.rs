//! The goals of this project, each with what was measured.

use benches::Goal;

use crate::arguments::{Name, Servers};
use crate::results::Results;

/// The least ratio of the whole stack's rate to the best peer's, by tasks.
const TO_BEST_PEER: [(usize, f64); 5] = [(1, 1.0), (16, 1.1), (64, 1.3), (256, 1.8), (1024, 2.0)];

/// The least ratio of the whole stack's rate to that of `ClusterConnection`, by tasks.
const TO_CLUSTER_CONNECTION: [(usize, f64); 2] = [(64, 3.0), (1024, 6.0)];

/// The goals for one operation, as far as it was measured.
pub(crate) fn of(servers: Servers, results: &Results) -> Vec<Goal> {
    let title = &results.title;
    let rate = |tasks, than: &str| format!("{title} at {tasks} tasks: calls/s of the whole stack to {than}");
    let mut goals = Vec::new();
    match servers {
        Servers::Single => {
            for (tasks, bound) in TO_BEST_PEER {
                let measured = results.rate_to_best_peer(Name::Stack, tasks);
                goals.extend(at_least(rate(tasks, "the best peer's"), measured, bound));
            }
            goals.extend(at_most(
                format!("{title} at 1024 tasks: p99 of the whole stack to the best peer's"),
                results.p99_to_best_peer(Name::Stack, 1024),
                0.6,
            ));
            goals.extend(at_most(
                format!("{title} at 64 tasks: client CPU per call of the whole stack to that of redis"),
                results.cpu(Name::Stack, Name::Redis, 64),
                0.5,
            ));
        }
        Servers::Cluster => {
            for (tasks, bound) in TO_CLUSTER_CONNECTION {
                let measured = results.rate(Name::Stack, Name::Redis, tasks);
                goals.extend(at_least(rate(tasks, "ClusterConnection's"), measured, bound));
            }
            goals.extend(at_most(
                format!("{title} at 1024 tasks: p99 of the whole stack to ClusterConnection's"),
                results.p99(Name::Stack, Name::Redis, 1024),
                0.2,
            ));
        }
    }
    goals
}

/// A goal to reach at least, if it was measured.
pub(crate) fn at_least(what: String, measured: Option<f64>, bound: f64) -> Option<Goal> {
    goal(what, measured, bound, true)
}

fn at_most(what: String, measured: Option<f64>, bound: f64) -> Option<Goal> {
    goal(what, measured, bound, false)
}

fn goal(what: String, measured: Option<f64>, bound: f64, at_least: bool) -> Option<Goal> {
    measured.map(|measured| Goal {
        what,
        measured,
        bound,
        at_least,
    })
}
