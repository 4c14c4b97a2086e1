//! Progress of a run, for somebody who watches a terminal: a bar per primary, drawn in place.

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cache_admin::jobs::Happened;
use cache_admin::{Counts, Event, Observer};
use tokio::task::JoinSet;

use crate::escape::plain;
use crate::human;

/// How often the bars are drawn.
const EVERY: Duration = Duration::from_millis(100);

/// With more primaries than this, one bar stands for all: bars that leave the screen cannot be redrawn.
const MOST_BARS: usize = 16;

/// The cells of a bar.
const WIDTH: u64 = 24;

/// The progress of a run; [`Progress::observer`] takes it in.
#[derive(Debug)]
pub(crate) struct Progress {
    state: Arc<Mutex<State>>,
    /// Draws until it is dropped.
    painter: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    pass: u32,
    primaries: Vec<Primary>,
    waiting: Option<String>,
    whole: Option<Whole>,
    /// Lines on the terminal that the next drawing replaces.
    drawn: usize,
}

/// How far the run is on all primaries.
#[derive(Debug)]
struct Whole {
    slots: u32,
    slots_covered: u32,
    remaining: Option<Duration>,
}

#[derive(Debug)]
struct Primary {
    address: Arc<str>,
    keys: Option<u64>,
    looked_at: u64,
    counts: Counts,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Done,
    Failed,
}

impl Progress {
    /// Draws on standard error, until [`finish`](Self::finish).
    pub(crate) fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let mut painter = JoinSet::new();
        let shown = Arc::clone(&state);
        painter.spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                lock(&shown).draw();
            }
        });
        Self { state, painter }
    }

    /// Whoever tells the run's events to this.
    pub(crate) fn observer(&self) -> impl Observer + use<> {
        let state = Arc::clone(&self.state);
        move |event: &Event| lock(&state).take_in(event)
    }

    /// Takes in what a job tells.
    pub(crate) fn take_in(&self, event: &Happened) {
        lock(&self.state).take_in_job(event);
    }

    /// Takes the bars away.
    pub(crate) async fn finish(mut self) {
        self.painter.shutdown().await;
        lock(&self.state).erase();
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn take_in(&mut self, event: &Event) {
        match event {
            Event::Pass { number, primaries } => {
                self.pass(*number, primaries.iter().map(|address| &**address));
            }
            Event::Size { primary, keys } => self.primary(primary).keys = Some(*keys),
            Event::Page {
                primary,
                counts,
                looked_at,
            } => {
                let primary = self.primary(primary);
                primary.counts = *counts;
                primary.looked_at = *looked_at;
            }
            Event::Progress(progress) => {
                self.whole = Some(Whole {
                    slots: progress.slots,
                    slots_covered: progress.slots_covered,
                    remaining: progress.remaining,
                });
            }
            Event::Swept { primary, error } => {
                self.primary(primary).end = Some(if error.is_some() { End::Failed } else { End::Done });
            }
            Event::Waiting { error, .. } => {
                self.waiting = error.as_ref().map(ToString::to_string);
            }
            _ => {}
        }
    }

    /// The same of a job, wherever it runs; what it says is not ours.
    fn take_in_job(&mut self, event: &Happened) {
        match event {
            Happened::Pass { number, primaries } => {
                self.pass(*number, primaries.iter().map(String::as_str));
            }
            Happened::Progress { progress, primaries } => {
                self.whole = Some(Whole {
                    slots: progress.slots,
                    slots_covered: progress.slots_covered,
                    remaining: progress.remaining_ms.map(Duration::from_millis),
                });
                for told in primaries {
                    let primary = self.primary(&plain(&told.address));
                    primary.keys = told.keys_before.or(primary.keys);
                    primary.looked_at = told.looked_at;
                    primary.counts.matched = told.matched;
                    primary.counts.removed = told.removed;
                }
            }
            Happened::Swept { primary, error } => {
                self.primary(&plain(primary)).end =
                    Some(if error.is_some() { End::Failed } else { End::Done });
            }
            Happened::Waiting { error, .. } => self.waiting = error.as_deref().map(plain),
            Happened::Queued => self.waiting = Some("others are at work".to_owned()),
            Happened::Paused => self.waiting = Some("paused".to_owned()),
            Happened::Started { .. } | Happened::Resumed => self.waiting = None,
            _ => {}
        }
    }

    fn pass<'a>(&mut self, number: u32, primaries: impl Iterator<Item = &'a str>) {
        self.pass = number;
        self.waiting = None;
        for address in primaries {
            let primary = self.primary(&plain(address));
            primary.looked_at = 0;
            primary.end = None;
        }
    }

    fn primary(&mut self, address: &str) -> &mut Primary {
        let index = self
            .primaries
            .iter()
            .position(|primary| *primary.address == *address);
        let index = index.unwrap_or_else(|| {
            self.primaries.push(Primary::new(address.into()));
            self.primaries.len() - 1
        });
        &mut self.primaries[index]
    }

    fn lines(&self) -> Vec<String> {
        let all;
        let bars = if self.primaries.len() > MOST_BARS {
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
        lines
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

    fn draw(&mut self) {
        let mut frame = self.back();
        let lines = self.lines();
        // A line that is too long is cut off: one that went on below would not be wiped.
        frame.push_str("\x1b[?7l");
        for line in &lines {
            frame.push_str(line);
            frame.push('\n');
        }
        frame.push_str("\x1b[?7h");
        self.drawn = lines.len();
        write(&frame);
    }

    fn erase(&mut self) {
        let frame = self.back();
        self.drawn = 0;
        write(&frame);
    }

    /// Back over what was drawn, which is wiped.
    fn back(&self) -> String {
        if self.drawn == 0 {
            String::new()
        } else {
            format!("\x1b[{}A\x1b[0J", self.drawn)
        }
    }
}

impl Primary {
    fn new(address: Arc<str>) -> Self {
        Self {
            address,
            keys: None,
            looked_at: 0,
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

/// That progress cannot be shown is no reason to stop.
fn write(frame: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(frame.as_bytes());
    let _ = err.flush();
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn there_is_a_bar_for_each_primary() {
        assert_eq!(
            state(2).lines(),
            [
                "p0  ██████░░░░░░░░░░░░░░░░░░   25 %  0 matched of 4,000 keys",
                "p1  ██████░░░░░░░░░░░░░░░░░░   25 %  0 matched of 4,000 keys",
            ]
        );
    }

    #[test]
    fn many_primaries_share_one_bar() {
        assert_eq!(
            state(20).lines(),
            ["20 primaries  ██████░░░░░░░░░░░░░░░░░░   25 %  0 matched of 80,000 keys"]
        );
    }

    #[test]
    fn a_second_pass_begins_anew_and_says_what_it_is() {
        let mut state = state(1);
        let address: Arc<str> = Arc::from("p0");
        state.take_in(&Event::Swept {
            primary: Arc::clone(&address),
            error: None,
        });
        assert!(state.lines()[0].ends_with("done"));
        state.take_in(&Event::Pass {
            number: 2,
            primaries: vec![address],
        });
        assert_eq!(
            state.lines(),
            ["p0  ░░░░░░░░░░░░░░░░░░░░░░░░    0 %  0 matched of 4,000 keys  verifying"]
        );
    }
}
