//! What a look leaves behind for the rates of the next one. Not in here: the rates.

use std::time::Duration;

use cache_valkey::admin::NodeInfo;
use serde::{Deserialize, Serialize};

/// What a look leaves behind: the totals of each primary, from which the next look tells rates. It can be kept as
/// JSON; the times in it are of the machine's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading(pub(super) Vec<(String, u64, Totals)>);

/// What a primary counts since its start, times in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Row", into = "Row")]
pub(super) struct Totals {
    pub(super) uptime: Option<u64>,
    pub(super) commands: Option<u64>,
    pub(super) hits: Option<u64>,
    pub(super) misses: Option<u64>,
    pub(super) evicted: Option<u64>,
    pub(super) main_thread: Option<u64>,
}

/// The same without names, which would be most of it.
type Row = [Option<u64>; 6];

impl Totals {
    pub(super) fn of(vitals: &NodeInfo) -> Self {
        Self {
            uptime: vitals.uptime.map(micros),
            commands: vitals.commands,
            hits: vitals.hits,
            misses: vitals.misses,
            evicted: vitals.evicted,
            main_thread: vitals.main_thread.map(micros),
        }
    }
}

impl From<Row> for Totals {
    fn from([uptime, commands, hits, misses, evicted, main_thread]: Row) -> Self {
        Self {
            uptime,
            commands,
            hits,
            misses,
            evicted,
            main_thread,
        }
    }
}

impl From<Totals> for Row {
    fn from(totals: Totals) -> Self {
        [
            totals.uptime,
            totals.commands,
            totals.hits,
            totals.misses,
            totals.evicted,
            totals.main_thread,
        ]
    }
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
