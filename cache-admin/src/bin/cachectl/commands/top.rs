//! `cachectl top`: drawn in place on a terminal, a line of JSON for each look elsewhere.

use std::time::Duration;

use cache_admin::{Beat, Pulse};
use cache_core::clock;
use cache_stack::Stack;
use clap::Args;

use super::Ended;
use crate::board::Board;
use crate::cli::duration;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::remote::Watch;
use crate::screen::{Key, Screen, Size};
use crate::stop;

#[derive(Args, Debug)]
pub(crate) struct Top {
    /// How long from one look to the next
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    interval: Duration,
    /// Look once, and print what there is
    #[arg(long, conflicts_with = "count")]
    once: bool,
    /// End after so many looks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// Nobody reads faster.
const LEAST: Duration = Duration::from_millis(100);

/// Who looks.
pub(crate) enum Looks<'a> {
    Here(Box<Pulse>),
    Service(Watch<'a>),
}

impl Looks<'_> {
    async fn beat(&mut self) -> Result<Beat, Failure> {
        match self {
            Self::Here(pulse) => Ok(pulse.beat().await?),
            Self::Service(watch) => watch.beat().await,
        }
    }
}

pub(super) async fn run(stack: &Stack, arguments: &Top, output: &mut Output) -> Ended {
    let looks = Looks::Here(Box::new(Pulse::of(stack)?));
    shown(looks, arguments, output).await
}

/// Looks as often as told, and shows each look.
pub(crate) async fn shown(mut looks: Looks<'_>, arguments: &Top, output: &mut Output) -> Ended {
    let interval = arguments.interval.max(LEAST);
    if arguments.once {
        let beat = looks.beat().await?;
        if output.is_json() {
            output.json(&beat)?;
        } else {
            let colours = output.colours();
            for line in Board::of(&beat, colours).lines(Size::ENDLESS) {
                output.line(&line)?;
            }
        }
        return Ok(exit(&beat));
    }
    if output.is_terminal() && !output.is_json() {
        watched(&mut looks, interval, arguments.count, output).await
    } else {
        line_by_line(&mut looks, interval, arguments.count, output).await
    }
}

async fn line_by_line(
    looks: &mut Looks<'_>,
    interval: Duration,
    count: Option<u64>,
    output: &mut Output,
) -> Ended {
    let mut last = Exit::Ok;
    let mut seen = 0;
    while count.is_none_or(|count| seen < count) {
        if seen > 0 {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = stop::requested() => return Ok(last),
            }
        }
        seen += 1;
        match looks.beat().await {
            Ok(beat) => {
                last = exit(&beat);
                output.json(&beat)?;
                // Whoever reads waits for each line.
                output.flush()?;
            }
            // The next look may succeed; the last one counts.
            Err(error) if error.is_transient() && count.is_none_or(|count| seen < count) => {
                output.warning(&error.lines().join("; "));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(last)
}

async fn watched(looks: &mut Looks<'_>, interval: Duration, count: Option<u64>, output: &Output) -> Ended {
    // Whatever ends this puts the terminal back as it was.
    let mut screen = Screen::open()?;
    let colours = output.colours();
    let (mut seen, mut last) = (0, Exit::Ok);
    while count.is_none_or(|count| seen < count) {
        seen += 1;
        let beat = tokio::select! {
            beat = looks.beat() => beat,
            () = screen.wants_to_leave() => return Ok(last),
        };
        // Whoever watches sees that it failed; the next look may succeed.
        let look = match beat {
            Ok(beat) => Ok(beat),
            Err(error) if error.is_transient() => Err(error.lines().join("; ")),
            Err(error) => return Err(error),
        };
        let board = match &look {
            Ok(beat) => Board::of(beat, colours),
            Err(words) => Board::failed(words, colours),
        };
        last = look.as_ref().map_or(Exit::Unavailable, exit);
        let next = clock::now() + interval;
        loop {
            screen.draw(&board.lines(screen.size()))?;
            tokio::select! {
                () = tokio::time::sleep_until(next) => break,
                key = screen.key() => if key == Key::Leave { return Ok(last) },
            }
        }
    }
    Ok(last)
}

/// Partial where a primary does not answer or slots are not served.
fn exit(beat: &Beat) -> Exit {
    if beat.uncovered.is_empty() && beat.primaries.iter().all(|primary| primary.reachable) {
        Exit::Ok
    } else {
        Exit::Partial
    }
}
