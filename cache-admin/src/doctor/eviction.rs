//! Whether what a primary does at its limit of memory goes with the keys that it holds.

use cache_valkey::admin::Role;

use super::finding::{Check, Verdict};
use super::patient::Patient;
use crate::overview::eviction;

pub(super) const CHECK: Check = Check {
    name: "eviction",
    why: "a cache that may not evict refuses writes once it is full; one without a limit is stopped by the system",
};

pub(super) async fn look(patient: &Patient) -> Verdict {
    if patient.primaries().next().is_none() {
        return Verdict::skipped("no primary answers");
    }
    let told: Vec<_> = patient
        .of_role(Role::Primary)
        .filter(|node| matches!(node.vitals, Ok(Some(_))))
        .collect();
    if told.is_empty() {
        return Verdict::not_allowed("INFO");
    }
    let wrong: Vec<String> = told
        .iter()
        .filter_map(|node| Some(format!("{} {}", node.address(), eviction(&node.overview)?.1)))
        .collect();
    if wrong.is_empty() {
        let mut policies: Vec<&str> = told
            .iter()
            .filter_map(|node| node.overview.memory_policy.as_deref())
            .collect();
        policies.sort_unstable();
        policies.dedup();
        return Verdict::ok(format!(
            "a limit and a policy that evicts ({})",
            policies.join(", ")
        ));
    }
    Verdict::warn(
        wrong.join("; "),
        "set maxmemory, and maxmemory-policy allkeys-lru or allkeys-lfu, where all that is held can be made again",
    )
}
