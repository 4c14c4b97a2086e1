//! The bars: a line for each primary, and what is said below them. Pure: nothing is written here.

use std::sync::Arc;

use cache_admin::Counts;

use super::{End, Primary, State};
use crate::board::cut;
use crate::human;
use crate::screen::Size;

/// With more primaries than this, one bar stands for all.
const MOST_BARS: usize = 16;

/// Lines below the bars, and the one that the cursor is on.
const BELOW: usize = 4;

/// The cells of a bar.
const WIDTH: u64 = 24;

impl State {
    /// The lines, for a terminal of this size: what leaves the screen cannot be redrawn.
    pub(super) fn lines(&self, size: Size) -> Vec<String> {
        let all;
        let bars = if self.primaries.len() > MOST_BARS.min(size.height.saturating_sub(BELOW)) {
            all = [self.all()];
            &all[..]
        } else {
            &self.primaries
        };
        let width = bars.iter().map(|bar| bar.address.len()).max().unwrap_or(0);
        let mut lines: Vec<String> = bars.iter().map(|bar| bar.line(width, self.pass)).collect();
        if let Some(whole) = &self.whole
            && let (true, Some(remaining)) = (whole.slots > 1, whole.remaining)
        {
            let (covered, slots) = (
                human::number(whole.slots_covered.into()),
                human::number(whole.slots.into()),
            );
            let remaining = human::time(remaining);
            lines.push(format!("{covered} of {slots} slots, about {remaining} left"));
        }
        lines.extend(self.waiting.iter().map(|reason| format!("waiting: {reason}")));
        lines.extend(self.stopping.map(str::to_owned));
        lines.iter().map(|line| cut(line, size.width)).collect()
    }

    /// All primaries as if they were one.
    fn all(&self) -> Primary {
        let mut all = Primary::new(human::primaries(self.primaries.len()).into());
        all.keys = self.primaries.iter().map(|primary| primary.keys).sum();
        for primary in &self.primaries {
            all.looked_at += primary.share();
            all.counts = all.counts.plus(primary.counts);
        }
        if self.primaries.iter().all(|primary| primary.end.is_some()) {
            let failed = self
                .primaries
                .iter()
                .any(|primary| matches!(primary.end, Some(End::Failed)));
            all.end = Some(if failed { End::Failed } else { End::Done });
        }
        all
    }
}

impl Primary {
    pub(super) fn new(address: Arc<str>) -> Self {
        Self {
            address,
            keys: None,
            looked_at: 0,
            looked_before: 0,
            counts: Counts::default(),
            end: None,
        }
    }

    /// About how many of its keys were looked at.
    fn share(&self) -> u64 {
        let keys = self.keys.unwrap_or(0);
        match self.end {
            Some(End::Done) => keys,
            _ => self.looked_at.min(keys),
        }
    }

    fn line(&self, width: usize, pass: u32) -> String {
        let full = self.keys.unwrap_or(0).max(1);
        let share = match self.end {
            Some(End::Done) => full,
            _ => self.share(),
        };
        let filled = share.saturating_mul(WIDTH) / full;
        let bar: String = (0..WIDTH)
            .map(|cell| if cell < filled { '█' } else { '░' })
            .collect();
        let doing = match (self.end, pass) {
            (Some(End::Failed), _) => "not reached",
            (Some(End::Done), _) => "done",
            (None, 1) => "",
            (None, 2) => "verifying",
            (None, _) => "once more",
        };
        let counted = match self.counts.removed {
            0 => format!("{} matched", human::number(self.counts.matched)),
            removed => format!("{} removed", human::number(removed)),
        };
        let line = format!(
            "{:<width$}  {bar} {:>4} %  {counted} of {}  {doing}",
            self.address,
            share.saturating_mul(100) / full,
            self.keys.map_or_else(|| "?".to_owned(), human::keys)
        );
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use cache_admin::Event;

    use super::*;

    fn state(primaries: usize) -> State {
        let mut state = State::default();
        let addresses: Vec<Arc<str>> = (0..primaries)
            .map(|number| Arc::from(format!("p{number}")))
            .collect();
        state.take_in(&Event::Pass {
            number: 1,
            primaries: addresses.clone(),
        });
        for address in &addresses {
            state.take_in(&Event::Size {
                primary: Arc::clone(address),
                keys: 4_000,
            });
            let (primary, counts) = (Arc::clone(address), Counts::default());
            state.take_in(&Event::Page {
                primary,
                counts,
                looked_at: 1_000,
            });
        }
        state
    }

    const fn size(width: usize, height: usize) -> Size {
        Size { width, height }
    }

    #[test]
    fn a_line_that_does_not_fit_is_cut() {
        assert_eq!(
            state(1).lines(size(40, 24)),
            ["p0  ██████░░░░░░░░░░░░░░░░░░   25 %  0 m"]
        );
    }

    #[test]
    fn there_is_a_bar_for_each_primary() {
        assert_eq!(
            state(2).lines(size(80, 24)),
            [
                "p0  ██████░░░░░░░░░░░░░░░░░░   25 %  0 matched of 4,000 keys",
                "p1  ██████░░░░░░░░░░░░░░░░░░   25 %  0 matched of 4,000 keys",
            ]
        );
    }

    #[test]
    fn many_primaries_share_one_bar() {
        assert_eq!(
            state(20).lines(size(80, 24)),
            ["20 primaries  ██████░░░░░░░░░░░░░░░░░░   25 %  0 matched of 80,000 keys"]
        );
    }

    #[test]
    fn bars_that_do_not_fit_on_the_screen_are_one() {
        assert_eq!(state(10).lines(size(80, 14)).len(), 10);
        assert_eq!(state(10).lines(size(80, 13)).len(), 1);
    }

    #[test]
    fn a_second_pass_begins_anew_and_says_what_it_is() {
        let mut state = state(1);
        let address: Arc<str> = Arc::from("p0");
        state.take_in(&Event::Swept {
            primary: Arc::clone(&address),
            error: None,
        });
        assert!(state.lines(size(80, 24))[0].ends_with("done"));
        state.take_in(&Event::Pass {
            number: 2,
            primaries: vec![address],
        });
        assert_eq!(
            state.lines(size(80, 24)),
            ["p0  ░░░░░░░░░░░░░░░░░░░░░░░░    0 %  0 matched of 4,000 keys  verifying"]
        );
    }
}
