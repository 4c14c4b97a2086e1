//! Progress as lines of JSON, for scripts: what a bar shows, in numbers.

use std::io::{self, Write as _};

use serde_json::{Value, json};

use super::State;

impl State {
    /// A line on standard output. The report comes there later, and is the last line.
    pub(super) fn tell(&mut self) {
        let mut out = io::stdout().lock();
        // That nobody reads is told by whoever writes the report.
        let _ = writeln!(out, "{}", self.told());
    }

    fn told(&self) -> Value {
        let primaries = self.primaries.iter().map(|primary| {
            json!({
                "address": &*primary.address,
                "keys_before": primary.keys,
                // A key that matched was looked at, if the server returned more than it was asked for.
                "looked_at": (primary.looked_before + primary.looked_at).max(primary.counts.matched),
                "matched": primary.counts.matched,
                "removed": primary.counts.removed,
            })
        });
        let whole = self.whole.as_ref();
        json!({ "progress": {
            "pass": self.pass,
            "slots": whole.map(|whole| whole.slots),
            "slots_covered": whole.map(|whole| whole.slots_covered),
            "remaining_ms": whole
                .and_then(|whole| whole.remaining)
                .map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
            "waiting": self.waiting,
            "primaries": primaries.collect::<Vec<_>>(),
        } })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Primary, Whole};
    use super::*;

    #[test]
    fn a_line_has_what_a_bar_has() {
        let mut primary = Primary::new("a:1".into());
        primary.keys = Some(10);
        primary.looked_at = 4;
        primary.counts.matched = 3;
        primary.counts.removed = 2;
        let state = State {
            pass: 1,
            primaries: vec![primary],
            whole: Some(Whole {
                slots: 16_384,
                slots_covered: 5,
                remaining: Some(Duration::from_millis(1_500)),
            }),
            ..State::default()
        };
        assert_eq!(
            state.told(),
            json!({ "progress": {
                "pass": 1, "slots": 16_384, "slots_covered": 5, "remaining_ms": 1_500, "waiting": null,
                "primaries": [
                    { "address": "a:1", "keys_before": 10, "looked_at": 4, "matched": 3, "removed": 2 },
                ],
            } })
        );
    }
}
