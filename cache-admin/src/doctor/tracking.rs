//! Whether the servers report changes of keys to this client.

use std::time::Duration;

use cache_core::{CacheClient as _, TrackingStatus};

use super::finding::{Check, Verdict};
use super::patient::Patient;

pub(super) const CHECK: Check = Check {
    name: "tracking",
    why: "with it a near tier hears of every change at once; without, its entries live a short time only",
};

/// How often it is asked whether connections that are being made are there.
const PAUSE: Duration = Duration::from_millis(50);
const LOOKS: u32 = 60;

pub(super) async fn look(patient: &Patient) -> Verdict {
    let Some(source) = patient.stack.foundation.client().invalidations() else {
        return Verdict::skipped("changes are not asked for (CACHE_L1_TRACKING=off)");
    };
    let looks = if patient.primaries().next().is_some() {
        LOOKS
    } else {
        // None will come.
        1
    };
    for _ in 0..looks {
        match source.status() {
            TrackingStatus::On => return Verdict::ok("changes of keys that were read are reported"),
            TrackingStatus::Off(reason) => {
                return Verdict::warn(
                    format!("changes are not reported: {reason}"),
                    "grant +client|tracking and +client|caching on every node; a managed service that knows neither \
                     can only be cached near for a short life",
                );
            }
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
    Verdict::warn(
        "a connection on which changes are reported is not there",
        "see the primaries: near tiers are bypassed meanwhile",
    )
    .unless_explained()
}
