//! Progress of a run: a bar per primary, drawn in place, for somebody who watches a terminal; with `--json` a line
//! every second.

mod bars;
mod told;

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cache_admin::jobs::Happened;
use cache_admin::{Counts, Event, Observer};
use tokio::task::JoinSet;

use crate::escape::plain;
use crate::output::Output;
use crate::screen;

/// How often the bars are drawn.
const EVERY: Duration = Duration::from_millis(100);

/// How often a line of JSON is written.
const EVERY_LINE: Duration = Duration::from_secs(1);

/// The progress of a run; [`Progress::observer`] takes it in.
#[derive(Debug)]
pub(crate) struct Progress {
    state: Arc<Mutex<State>>,
    /// Draws, or writes lines, until it is dropped.
    painter: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    pass: u32,
    primaries: Vec<Primary>,
    waiting: Option<String>,
    /// Said once it was told to stop.
    stopping: Option<&'static str>,
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
    /// Keys that this pass looked at, and those that earlier passes did.
    looked_at: u64,
    looked_before: u64,
    counts: Counts,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Done,
    Failed,
}

impl Progress {
    /// Of a run whose report goes to `output`: bars on standard error where somebody watches, lines on standard output
    /// with `--json`, else nothing.
    pub(crate) fn for_output(output: &Output) -> Option<Self> {
        if output.is_json() {
            Some(Self::start(EVERY_LINE, State::tell))
        } else {
            output.is_watched().then(|| Self::start(EVERY, State::draw))
        }
    }

    /// Does `show` every now and then, until [`finish`](Self::finish).
    fn start(every: Duration, show: fn(&mut State)) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let mut painter = JoinSet::new();
        let shown = Arc::clone(&state);
        painter.spawn(async move {
            let mut ticks = tokio::time::interval(every);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                show(&mut lock(&shown));
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

    /// That it was told to stop, which takes as long as the calls to the servers that are under way.
    pub(crate) fn stopping(&self) {
        lock(&self.state).stopping = Some("stopping: another Ctrl-C ends at once, without a report");
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
                    // A job counts over all passes.
                    primary.looked_at = told.looked_at.saturating_sub(primary.looked_before);
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
            // Maybe by somebody else.
            Happened::Stopping => self.stopping = Some("stopping"),
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
            primary.looked_before += std::mem::take(&mut primary.looked_at);
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

    fn draw(&mut self) {
        let mut frame = self.back();
        let lines = self.lines(screen::size_of_errors());
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
            // To the first column, too: a terminal that echoes Ctrl-C has moved the cursor.
            format!("\r\x1b[{}A\x1b[0J", self.drawn)
        }
    }
}

/// That progress cannot be shown is no reason to stop.
fn write(frame: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(frame.as_bytes());
    let _ = err.flush();
}
