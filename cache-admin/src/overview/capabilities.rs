//! What the servers can do, beyond what every server can.

use cache_core::{CacheClient as _, TrackingStatus};
use cache_valkey::ValkeyClient;
use cache_valkey::admin::{Member, Role};
use futures::future::join_all;
use serde::{Deserialize, Serialize};

/// Commands of newer servers, as `COMMAND INFO` names them.
const NAMES: [&str; 4] = ["clusterscan", "cluster|migrateslots", "delifeq", "msetex"];

/// What all primaries can do; `None` where one of them does not tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether they report changes of keys to this client.
    pub tracking: TrackingState,
    /// Why they do not, where they do not.
    pub tracking_reason: Option<String>,
    /// Whether a scan goes slot by slot, so that it can be resumed at a slot.
    pub scan_by_slot: Option<bool>,
    /// Whether there is `CLUSTERSCAN`.
    pub cluster_scan: Option<bool>,
    /// Whether slots can be moved as a whole (`CLUSTER MIGRATESLOTS`).
    pub atomic_slot_migration: Option<bool>,
    /// Whether there is `DELIFEQ`; a script does the same elsewhere.
    pub delete_if_equal: Option<bool>,
    /// Whether there is `MSETEX`.
    pub set_many_with_ttl: Option<bool>,
}

/// Whether servers report changes of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TrackingState {
    /// They do.
    On,
    /// They do, and a connection is being made anew.
    Interrupted,
    /// They do not.
    Off,
    /// This client does not ask them to.
    NotAsked,
}

impl Capabilities {
    pub(super) async fn of(members: &[Member], client: &ValkeyClient) -> Self {
        let (tracking, tracking_reason) = match client.invalidations().map(|source| source.status()) {
            None => (TrackingState::NotAsked, None),
            Some(TrackingStatus::On) => (TrackingState::On, None),
            Some(TrackingStatus::Off(reason)) => (TrackingState::Off, Some(reason)),
            Some(_) => (TrackingState::Interrupted, None),
        };
        let primaries: Vec<&Member> = members
            .iter()
            .filter(|member| member.view().role == Role::Primary && member.view().reachable)
            .collect();
        let known = join_all(primaries.iter().map(|member| member.knows(&NAMES))).await;
        let known: Option<Vec<Vec<bool>>> = known.into_iter().map(|known| known.ok().flatten()).collect();
        let known = known.filter(|known| !known.is_empty());
        let all_know = |index: usize| {
            let known = known.as_ref()?;
            Some(known.iter().all(|known| known.get(index) == Some(&true)))
        };
        Self {
            tracking,
            tracking_reason,
            scan_by_slot: (!primaries.is_empty())
                .then(|| primaries.iter().all(|member| member.scans_by_slot())),
            cluster_scan: all_know(0),
            atomic_slot_migration: all_know(1),
            delete_if_equal: all_know(2),
            set_many_with_ttl: all_know(3),
        }
    }

    pub(super) fn of_memory() -> Self {
        Self {
            tracking: TrackingState::NotAsked,
            tracking_reason: None,
            scan_by_slot: Some(false),
            cluster_scan: Some(false),
            atomic_slot_migration: Some(false),
            delete_if_equal: Some(true),
            set_many_with_ttl: Some(true),
        }
    }
}
