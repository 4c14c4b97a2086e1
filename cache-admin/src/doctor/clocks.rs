//! Whether the nodes' clocks go with this machine's.

use std::time::Duration;

use cache_core::clock;
use cache_layers::{SystemClock, WallClock as _};
use futures::future::join_all;

use super::finding::{Check, Verdict};
use super::patient::{Node, Patient};

pub(super) const CHECK: Check = Check {
    name: "clocks",
    why: "lives are counted by the nodes' clocks: a replica whose clock is ahead expires keys too early, and times in \
          logs cannot be compared",
};

/// A greater difference is worth a word.
const TOLERATED: Duration = Duration::from_secs(1);
/// Of so many questions the one counts whose answer came fastest.
const LOOKS: u32 = 3;

/// A difference, known up to half of the round trip.
#[derive(Clone, Copy, Debug)]
struct Skew {
    ahead: bool,
    by: Duration,
    bound: Duration,
}

pub(super) async fn look(patient: &Patient) -> Verdict {
    let nodes: Vec<_> = patient.answering().collect();
    if nodes.is_empty() {
        return Verdict::skipped("no node answers");
    }
    let skews = join_all(nodes.iter().map(|node| ask(node))).await;
    let mut skews: Vec<(&str, Skew)> = nodes
        .iter()
        .zip(skews)
        .filter_map(|(node, skew)| Some((node.address(), skew?)))
        .collect();
    if skews.is_empty() {
        return Verdict::not_allowed("TIME");
    }
    skews.sort_by_key(|(_, skew)| std::cmp::Reverse(skew.by));
    let wrong: Vec<String> = skews
        .iter()
        .filter(|(_, skew)| skew.by.saturating_sub(skew.bound) > TOLERATED)
        .map(|(address, skew)| format!("{address} is {}", skew.words()))
        .collect();
    if !wrong.is_empty() {
        return Verdict::warn(
            wrong.join("; "),
            "let all machines, and this one, keep time by NTP",
        );
    }
    let greatest = skews.first().map(|(_, skew)| skew.words()).unwrap_or_default();
    let nodes = super::nodes::counted(skews.len());
    Verdict::ok(format!("{nodes}, at most {greatest}"))
}

async fn ask(node: &Node) -> Option<Skew> {
    let mut best: Option<Skew> = None;
    for _ in 0..LOOKS {
        let (before, started) = (SystemClock.since_epoch(), clock::now());
        let theirs = node.member.time().await.ok()??;
        let skew = Skew::of(before, theirs, clock::now() - started);
        if best.is_none_or(|best| skew.bound < best.bound) {
            best = Some(skew);
        }
    }
    best
}

impl Skew {
    /// Of a clock that showed `theirs` some time between `before` and `round_trip` later.
    fn of(before: Duration, theirs: Duration, round_trip: Duration) -> Self {
        let ours = before + round_trip / 2;
        Self {
            ahead: theirs > ours,
            by: theirs.abs_diff(ours),
            bound: round_trip / 2,
        }
    }

    fn words(self) -> String {
        let direction = if self.ahead { "ahead" } else { "behind" };
        let millis = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        format!(
            "{} {direction}, give or take {}",
            millis(self.by),
            millis(self.bound)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_known_up_to_half_of_the_round_trip() {
        let seconds = Duration::from_secs;
        let skew = Skew::of(seconds(100), seconds(103), seconds(2));
        assert!(skew.ahead);
        assert_eq!((skew.by, skew.bound), (seconds(2), seconds(1)));
        let skew = Skew::of(seconds(100), seconds(95), seconds(2));
        assert_eq!((skew.ahead, skew.by), (false, seconds(6)));
        assert_eq!(skew.words(), "6000.0 ms behind, give or take 1000.0 ms");
    }
}
