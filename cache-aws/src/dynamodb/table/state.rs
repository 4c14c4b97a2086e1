//! Describes a table, and checks whether a cache can use it.

use aws_sdk_dynamodb::types::{
    BillingMode, TableDescription, TableStatus, TimeToLiveDescription, TimeToLiveStatus,
};
use cache_core::CacheError;

use super::super::layout::{KEY, TTL};
use super::config;

/// The properties of a table that matter to a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableState {
    /// `ACTIVE` if it can be used.
    pub status: String,
    /// Its key attributes, each with its role (`HASH`, `RANGE`) and its type (`S`, `N`, `B`).
    pub key: Vec<(String, String, String)>,
    /// `PAY_PER_REQUEST` or `PROVISIONED`.
    pub billing: String,
    /// How many items it holds, expired ones included, as DynamoDB counted up to six hours ago.
    pub items: u64,
    /// Their size in bytes, as of the same time.
    pub bytes: u64,
    /// The attribute by which expired items are deleted; `None` if that is off or unknown.
    pub ttl_attribute: Option<String>,
    /// Whether the role may ask for the deletion of expired items.
    pub ttl_is_known: bool,
}

impl TableState {
    /// Why a cache cannot or should not use the table, one line each; empty if nothing is wrong.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.obstacles();
        match self.ttl_attribute.as_deref() {
            Some(TTL) => {}
            Some(other) => problems.push(format!(
                "expired items are deleted by the attribute {other:?}, and a cache writes {TTL:?}: they stay and are paid for; \
                 switch it with `aws dynamodb update-time-to-live`"
            )),
            None if self.ttl_is_known => problems.push(
                "expired items are not deleted: they stay and are paid for; run `cachectl dynamodb create-table`".to_owned(),
            ),
            None => {}
        }
        problems
    }

    /// Why a cache cannot use the table.
    #[must_use]
    pub fn obstacles(&self) -> Vec<String> {
        let mut obstacles = Vec::new();
        let wanted = [(KEY.to_owned(), "HASH".to_owned(), "S".to_owned())];
        if self.key != wanted {
            let found: Vec<String> = self
                .key
                .iter()
                .map(|(name, role, kind)| format!("{name} ({role}, {kind})"))
                .collect();
            obstacles.push(format!(
                "its key is {}, and a cache needs the partition key {KEY} (HASH, S) alone; a key cannot be changed: \
                 make another table",
                found.join(", ")
            ));
        }
        if self.status != "ACTIVE" && self.status != "UPDATING" {
            obstacles.push(format!("its status is {}, not ACTIVE", self.status));
        }
        obstacles
    }
}

pub(super) fn check(name: &str, state: &TableState) -> Result<(), CacheError> {
    match state.obstacles().as_slice() {
        [] => Ok(()),
        obstacles => Err(config(&format!(
            "the table {name} cannot be used: {}",
            obstacles.join("; ")
        ))),
    }
}

pub(super) fn state(table: &TableDescription, ttl: Option<&TimeToLiveDescription>) -> TableState {
    let kind = |name: &str| {
        let mut definitions = table.attribute_definitions().iter();
        let definition = definitions.find(|definition| definition.attribute_name() == name);
        definition.map_or_else(String::new, |definition| {
            definition.attribute_type().as_str().to_owned()
        })
    };
    let key = table.key_schema().iter().map(|element| {
        let name = element.attribute_name();
        (
            name.to_owned(),
            element.key_type().as_str().to_owned(),
            kind(name),
        )
    });
    let status = table.table_status().map_or("UNKNOWN", TableStatus::as_str);
    let billing = table
        .billing_mode_summary()
        .and_then(|summary| summary.billing_mode());
    TableState {
        status: status.to_owned(),
        key: key.collect(),
        billing: billing.unwrap_or(&BillingMode::Provisioned).as_str().to_owned(),
        items: unsigned(table.item_count),
        bytes: unsigned(table.table_size_bytes),
        ttl_is_known: ttl.is_some(),
        ttl_attribute: ttl.and_then(attribute).map(str::to_owned),
    }
}

/// The attribute by which expired items are deleted, if they are.
pub(super) fn attribute(ttl: &TimeToLiveDescription) -> Option<&str> {
    match ttl.time_to_live_status()? {
        TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling => ttl.attribute_name(),
        _ => None,
    }
}

pub(super) fn unsigned(number: Option<i64>) -> u64 {
    number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> TableState {
        TableState {
            status: "ACTIVE".to_owned(),
            key: vec![(KEY.to_owned(), "HASH".to_owned(), "S".to_owned())],
            billing: "PAY_PER_REQUEST".to_owned(),
            items: 0,
            bytes: 0,
            ttl_attribute: Some(TTL.to_owned()),
            ttl_is_known: true,
        }
    }

    #[test]
    fn good_table_has_no_problems() {
        assert_eq!(good().problems(), [""; 0]);
    }

    #[test]
    fn table_problem_says_what_is_wrong() {
        let said = |change: fn(&mut TableState)| {
            let mut state = good();
            change(&mut state);
            let problems = state.problems();
            assert_eq!(problems.len(), 1, "{problems:?}");
            (problems[0].clone(), state.obstacles().len())
        };
        let (key, obstacles) = said(|state| state.key[0].2 = "B".to_owned());
        assert!(key.contains("key (HASH, B)") && obstacles == 1, "{key}");
        let (range, obstacles) = said(|state| {
            let range = ("at".to_owned(), "RANGE".to_owned(), "N".to_owned());
            state.key.push(range);
        });
        assert!(range.contains("at (RANGE, N)") && obstacles == 1, "{range}");
        let (status, obstacles) = said(|state| state.status = "DELETING".to_owned());
        assert!(status.contains("DELETING") && obstacles == 1, "{status}");
        let (other, obstacles) = said(|state| state.ttl_attribute = Some("expiry".to_owned()));
        assert!(other.contains("\"expiry\"") && obstacles == 0, "{other}");
        let (off, obstacles) = said(|state| state.ttl_attribute = None);
        assert!(off.contains("create-table") && obstacles == 0, "{off}");
    }
}
