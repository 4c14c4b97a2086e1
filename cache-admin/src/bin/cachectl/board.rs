//! What `cachectl top` shows, as lines for a terminal of any size. Pure: nothing is written here.

use cache_admin::{Beat, PrimaryBeat, SlotSet};

use crate::escape::plain;
use crate::human;
use crate::output::Colours;
use crate::screen::Size;
use crate::table::{Side, Table};

/// The cells of a memory bar.
const BAR: u64 = 10;

/// One look, ready to be shown.
#[derive(Debug)]
pub(crate) struct Board<'a> {
    look: Look<'a>,
    colours: Colours,
}

#[derive(Debug)]
enum Look<'a> {
    Beat(&'a Beat),
    Failed(&'a str),
}

/// A name, and what stands below it.
type Column = (&'static str, fn(&PrimaryBeat) -> String);

/// The columns after the address, the dearest first: what does not fit is left out from the end.
const COLUMNS: [Column; 8] = [
    ("OPS/S", |primary| count(primary.ops_per_second)),
    ("HIT RATE", |primary| per_cent(primary.hit_rate)),
    ("MEMORY", memory),
    ("CLIENTS", |primary| count(primary.clients)),
    ("EVICTED/S", |primary| count(primary.evicted_per_second)),
    ("KEYS", |primary| count(primary.keys)),
    ("CPU", |primary| per_cent(primary.main_thread)),
    ("LIMIT", |primary| match primary.memory_limit {
        Some(0) => "none".to_owned(),
        limit => limit.map_or_else(unknown, human::bytes),
    }),
];

impl<'a> Board<'a> {
    pub(crate) const fn of(beat: &'a Beat, colours: Colours) -> Self {
        Self {
            look: Look::Beat(beat),
            colours,
        }
    }

    pub(crate) const fn failed(error: &'a str, colours: Colours) -> Self {
        Self {
            look: Look::Failed(error),
            colours,
        }
    }

    /// The lines, none longer and not more than fit.
    pub(crate) fn lines(&self, size: Size) -> Vec<String> {
        let beat = match &self.look {
            Look::Beat(beat) => beat,
            Look::Failed(error) => {
                let line = cut(&format!("no answer: {error}"), size.width);
                return vec![self.colours.red(&line)]
                    .into_iter()
                    .take(size.height)
                    .collect();
            }
        };
        let mut lines = vec![cut(&headline(beat), size.width)];
        if !beat.uncovered.is_empty() {
            let slots: SlotSet = beat
                .uncovered
                .iter()
                .map(|[first, last]| *first..=*last)
                .collect();
            let line = cut(&format!("no primary serves the slots {slots}"), size.width);
            lines.push(self.colours.red(&line));
        }
        let above = lines.len();
        lines.extend(self.primaries(beat, size, size.height.saturating_sub(above)));
        lines.extend(self.slow(beat, size, size.height.saturating_sub(lines.len())));
        lines.truncate(size.height);
        lines
    }

    /// The table, in at most `room` lines.
    fn primaries(&self, beat: &Beat, size: Size, room: usize) -> Vec<String> {
        let plain = (0..=COLUMNS.len())
            .rev()
            .map(|columns| table(beat, columns))
            .find(|lines| lines.iter().all(|line| line.chars().count() <= size.width))
            .unwrap_or_else(|| table(beat, 0));
        let (shown, left) = match plain.len().checked_sub(room) {
            None | Some(0) => (plain.len(), 0),
            // One line says how many are left out.
            Some(over) => (room.saturating_sub(1), over + 1),
        };
        let mut lines: Vec<String> = plain
            .iter()
            .take(shown)
            .map(|line| cut(line, size.width))
            .collect();
        if let Some(header) = lines.first_mut() {
            *header = self.colours.bold(header);
        }
        for (line, primary) in lines.iter_mut().skip(1).zip(&beat.primaries) {
            if !primary.reachable {
                *line = self.colours.red(line);
            }
        }
        if left > 0 {
            lines.push(cut(&format!("and {left} more"), size.width));
        }
        lines
    }

    /// The slow calls, in at most `room` lines: a line between, a header, and some calls.
    fn slow(&self, beat: &Beat, size: Size, room: usize) -> Vec<String> {
        if beat.slow.is_empty() || room < 3 {
            let hidden = beat.slow_hidden && room >= 2;
            let line = cut("slow calls: not allowed to look (SLOWLOG GET)", size.width);
            return if hidden {
                vec![String::new(), self.colours.dim(&line)]
            } else {
                Vec::new()
            };
        }
        let mut slow = Table::new(&[
            ("SLOW CALL", Side::Left),
            ("TOOK", Side::Right),
            ("ON", Side::Left),
            ("BY", Side::Left),
        ]);
        for call in beat.slow.iter().take(room - 2) {
            let arguments = match call.arguments {
                0 => String::new(),
                1 => " (1 argument)".to_owned(),
                count => format!(" ({count} arguments)"),
            };
            slow.row(vec![
                format!("{}{arguments}", plain(&call.command)),
                human::time(std::time::Duration::from_micros(call.micros)),
                plain(&call.primary),
                plain(&call.client),
            ]);
        }
        let lines = slow.lines(Colours::NONE);
        let mut lines: Vec<String> = lines.iter().map(|line| cut(line, size.width)).collect();
        if let Some(header) = lines.first_mut() {
            *header = self.colours.bold(header);
        }
        std::iter::once(String::new()).chain(lines).collect()
    }
}

/// All primaries together.
fn headline(beat: &Beat) -> String {
    let sum = |of: fn(&PrimaryBeat) -> Option<u64>| beat.primaries.iter().filter_map(of).sum::<u64>();
    let silent = beat.primaries.iter().filter(|primary| !primary.reachable).count();
    let mut line = format!(
        "{}, {} ops/s, {}, {} in use",
        human::primaries(beat.primaries.len()),
        human::number(sum(|primary| primary.ops_per_second)),
        human::keys(sum(|primary| primary.keys)),
        human::bytes(sum(|primary| primary.memory_used)),
    );
    if silent > 0 {
        line.push_str(&format!("; {silent} not answering"));
    }
    line
}

fn table(beat: &Beat, columns: usize) -> Vec<String> {
    let columns = &COLUMNS[..columns];
    let mut header = vec![("PRIMARY", Side::Left)];
    header.extend(columns.iter().map(|(name, _)| (*name, Side::Right)));
    let mut table = Table::new(&header);
    for primary in &beat.primaries {
        let mut row = vec![primary.address.clone()];
        if primary.reachable {
            row.extend(columns.iter().map(|(_, cell)| cell(primary)));
        } else if !columns.is_empty() {
            row.push("no answer".to_owned());
        }
        table.row(row);
    }
    table.lines(Colours::NONE)
}

/// `████░░░░░░ 41 MiB`: against the limit, where there is one.
fn memory(primary: &PrimaryBeat) -> String {
    let Some(used) = primary.memory_used else {
        return unknown();
    };
    match primary.memory_limit {
        Some(limit @ 1..) => {
            let filled = used.saturating_mul(BAR).div_ceil(limit).min(BAR);
            let bar: String = (0..BAR)
                .map(|cell| if cell < filled { '█' } else { '░' })
                .collect();
            format!("{bar} {}", human::bytes(used))
        }
        _ => human::bytes(used),
    }
}

fn count(count: Option<u64>) -> String {
    count.map_or_else(unknown, human::number)
}

fn per_cent(share: Option<f64>) -> String {
    share.map_or_else(unknown, |share| format!("{:.1} %", share * 100.0))
}

fn unknown() -> String {
    "-".to_owned()
}

/// What fits into `width`.
pub(crate) fn cut(line: &str, width: usize) -> String {
    line.chars().take(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(primaries: usize, slow: usize) -> Beat {
        let primary = |number: usize| {
            serde_json::json!({
                "address": format!("10.0.0.{number}:6379"),
                "reachable": true,
                "ops_per_second": 12_345,
                "hit_rate": 0.987,
                "keys": 1_000,
                "memory_used": 50 << 20,
                "memory_limit": 100 << 20,
                "clients": 12,
                "evicted_per_second": 0,
                "main_thread": 0.25,
            })
        };
        let call = serde_json::json!({
            "primary": "10.0.0.0:6379", "at": 1, "micros": 12_345, "command": "MGET", "arguments": 500,
            "client": "10.0.0.9:5000",
        });
        let beat = serde_json::json!({
            "primaries": (0..primaries).map(primary).collect::<Vec<_>>(),
            "uncovered": [],
            "slow": vec![call; slow],
        });
        serde_json::from_value(beat).unwrap()
    }

    fn lines(beat: &Beat, width: usize, height: usize) -> Vec<String> {
        Board::of(beat, Colours::NONE).lines(Size { width, height })
    }

    #[test]
    fn a_wide_terminal_shows_all_columns_and_the_slow_calls() {
        assert_eq!(
            lines(&beat(2, 1), 120, 40),
            [
                "2 primaries, 24,690 ops/s, 2,000 keys, 100 MiB in use",
                "PRIMARY         OPS/S  HIT RATE             MEMORY  CLIENTS  EVICTED/S   KEYS     CPU    LIMIT",
                "10.0.0.0:6379  12,345    98.7 %  █████░░░░░ 50 MiB       12          0  1,000  25.0 %  100 MiB",
                "10.0.0.1:6379  12,345    98.7 %  █████░░░░░ 50 MiB       12          0  1,000  25.0 %  100 MiB",
                "",
                "SLOW CALL                TOOK  ON             BY",
                "MGET (500 arguments)  12.3 ms  10.0.0.0:6379  10.0.0.9:5000",
            ]
        );
    }

    #[test]
    fn slow_calls_that_may_not_be_seen_are_not_told_as_none() {
        let mut beat = beat(1, 0);
        assert_eq!(lines(&beat, 100, 20).len(), 3);
        beat.slow_hidden = true;
        let lines = lines(&beat, 100, 20);
        assert_eq!(lines[3..], ["", "slow calls: not allowed to look (SLOWLOG GET)"]);
    }

    /// Clients name themselves, and a server names commands as they were sent.
    #[test]
    fn nobody_steers_the_terminal_by_a_name() {
        let mut beat = beat(1, 1);
        beat.slow[0].client = "10.0.0.9:5000 \u{1b}[2Jevil".to_owned();
        beat.slow[0].command = "GE\nT".to_owned();
        let lines = lines(&beat, 120, 40);
        assert!(
            lines.iter().all(|line| !line.contains(char::is_control)),
            "{lines:?}"
        );
    }

    #[test]
    fn a_terminal_of_any_size_is_never_overflowed() {
        for (width, height) in [(0, 0), (1, 1), (20, 3), (40, 5), (80, 24), (200, 8)] {
            for beat in [beat(0, 0), beat(3, 2), beat(50, 9)] {
                let lines = lines(&beat, width, height);
                assert!(lines.len() <= height, "{width} x {height}: {lines:?}");
                let longest = lines.iter().map(|line| line.chars().count()).max();
                assert!(longest.unwrap_or(0) <= width, "{width} x {height}: {lines:?}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let lines = lines(&beat(50, 5), 60, 6);
        assert_eq!(lines.len(), 6);
        assert!(
            lines[1].starts_with("PRIMARY") && lines[1].contains("HIT RATE"),
            "{lines:?}"
        );
        assert!(!lines[1].contains("LIMIT"), "{lines:?}");
        assert_eq!(lines[5], "and 47 more");
    }

    #[test]
    fn a_primary_that_is_silent_and_slots_that_nobody_serves_are_said() {
        let mut beat = beat(2, 0);
        beat.primaries[1].reachable = false;
        beat.uncovered = vec![[5, 9]];
        let lines = lines(&beat, 100, 20);
        assert!(lines[0].ends_with("1 not answering"), "{lines:?}");
        assert_eq!(lines[1], "no primary serves the slots 5-9");
        assert!(lines[4].contains("no answer"), "{lines:?}");
    }
}
