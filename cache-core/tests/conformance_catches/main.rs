//! The suite catches a client that breaks the contract: for every scenario there is a defect that makes
//! it fail, and a client without a defect passes.

#[cfg(test)]
mod contract;
mod defect;
mod defective;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::conformance::{ForeignValues, Outage, SCENARIOS, Subject, Time, run};
use cache_core::{CacheClient as _, MemoryCache, Ttl};

use defect::Defect;
use defective::{Defective, LARGEST_VALUE, OTHER_TYPE};

struct Switch(Arc<AtomicBool>);

#[async_trait]
impl Outage for Switch {
    async fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    async fn end(&self) {
        self.0.store(false, Ordering::Release);
    }
}

struct OtherProgram(Arc<Defective>);

#[async_trait]
impl ForeignValues for OtherProgram {
    async fn put(&self, key: &str) {
        let stored = self.0.inner.set(key, OTHER_TYPE.into(), Ttl::Forever).await;
        assert!(stored.is_ok(), "{stored:?}");
    }
}

async fn subject(defect: Defect) -> Subject {
    let gone = Arc::new(AtomicBool::new(false));
    let switch = Switch(Arc::clone(&gone));
    let client = Arc::new(Defective::new(defect, gone));
    Subject::new(Arc::clone(&client))
        .with_foreign_values(OtherProgram(client))
        .with_largest_value(LARGEST_VALUE)
        .with_load(50, 200)
        .with_drops(5_000)
        .with_patience(Duration::from_secs(2))
        .with_outage(switch)
}

/// The defects, and every scenario that has to see each of them.
macro_rules! catches {
    ($($defect:ident: $($scenario:ident)+;)+) => {
        const CAUGHT: &[(Defect, &[&str])] = &[$((Defect::$defect, &[$(stringify!($scenario)),+])),+];

        mod the_suite_catches {
            mod a_client_where {
                $(
                    #[test]
                    #[expect(non_snake_case, reason = "the test has its defect's name")]
                    fn $defect() {
                        crate::caught(crate::Defect::$defect);
                    }
                )+
            }
        }
    };
}

catches! {
    MissIsAnEmptyValue: missing_key_is_a_miss del_counts_existing_keys;
    EmptyValueIsAMiss: value_is_any_bytes overwrite_replaces_the_value;
    EntryIsEmpty: stored_value_is_read_back mixed_calls_of_many_tasks_agree_with_a_model;
    ValuesAreText: value_is_any_bytes compare_and_set_replaces_only_what_is_equal;
    ValuesStopAtALineBreak: value_is_any_bytes;
    FirstValueStays: overwrite_replaces_the_value mixed_calls_of_many_tasks_agree_with_a_model;
    KeysAreTrimmed: odd_keys_are_literal_and_distinct;
    KeysIgnoreCase: odd_keys_are_literal_and_distinct;
    DelOfAStarDeletesAll: odd_keys_are_literal_and_distinct;
    DelCountsKeysAsked: del_counts_existing_keys key_given_twice_is_answered_twice;
    DelCountsKeysTwice: key_given_twice_is_answered_twice;
    ExistsCountsKeysOnce: key_given_twice_is_answered_twice;
    GetManySortsByKey: get_many_keeps_order_and_reports_misses;
    GetManyLeavesMissesOut: get_many_keeps_order_and_reports_misses key_given_twice_is_answered_twice;
    GetManyStopsAtAHundred: thousand_keys_in_one_call_are_answered;
    SetManyForgetsTheLife: set_many_stores_every_entry_with_its_ttl overwrite_replaces_the_ttl;
    SetManyKeepsTheFirst: key_given_twice_is_answered_twice;
    EachFailsForOneIllegalKey: get_each_answers_in_key_order;
    GetEachSortsByKey: get_each_answers_in_key_order;
    GetEachStopsAtAHundred: thousand_keys_are_each_answered;
    GetEntriesSortsByKey: get_entries_has_value_and_ttl_of_every_key;
    GetEntriesForgetsTheTtl: get_entries_has_value_and_ttl_of_every_key;
    GetEntriesFailsForAMiss: get_entries_has_value_and_ttl_of_every_key;
    SetEachUsesOneTtl: set_each_stores_every_entry_with_its_own_ttl;
    SetEachKeepsTheFirst: set_each_keeps_the_last_entry_of_a_key;
    TakeLeavesTheValue: get_and_delete_returns_the_value_once only_one_task_takes_the_value;
    TakeIsNotAtomic: only_one_task_takes_the_value;
    SlideKeepsTheTtl: get_and_expire_slides_the_ttl;
    SlideMakesKeys: get_and_expire_slides_the_ttl;
    EmptyListGoesToTheServer: empty_list_does_no_io each_call_with_empty_list_does_no_io;
    ExpiredIsStillThere: expired_key_is_a_missing_key;
    ExpiresEarly: entry_does_not_expire_early remaining_ttl_counts_down incr_keeps_the_ttl;
    RestOfLifeIsTheWhole: remaining_ttl_counts_down expire_replaces_the_ttl;
    RestOfLifeInSeconds: remaining_ttl_counts_down;
    EntryHasNoLife: remaining_ttl_counts_down mixed_calls_of_many_tasks_agree_with_a_model;
    SetKeepsTheLife: overwrite_replaces_the_ttl;
    ExpireMakesKeys: expire_of_missing_key_returns_false expired_key_is_a_missing_key;
    ExpireOfMissingIsTrue: expire_of_missing_key_returns_false expired_key_is_a_missing_key;
    ExpireOnlyShortens: expire_replaces_the_ttl zero_ttl_is_no_expiry;
    TinyLifeIsNone: ttl_below_a_millisecond_is_a_millisecond;
    TinyLifeDeletes: ttl_below_a_millisecond_is_a_millisecond;
    ZeroLifeDeletes: zero_ttl_is_no_expiry;
    LongLifeWraps: ttl_over_the_limit_is_refused_by_every_method;
    LongestLifeIsRefused: longest_ttl_is_accepted;
    IncrStartsAtZero: counter_starts_at_one_and_never_expires increments_of_many_tasks_add_up;
    IncrForgetsTheLife: incr_keeps_the_ttl;
    IncrExpires: counter_starts_at_one_and_never_expires;
    IncrTakesAnyText: non_integer_is_rejected_and_unchanged;
    IncrOverwritesText: non_integer_is_rejected_and_unchanged;
    IncrWraps: overflow_is_rejected_and_count_unchanged;
    IncrIsNotAtomic: increments_of_many_tasks_add_up;
    IncrByIsUnsigned: integer_counts_up_and_down;
    IncrByWithALifeIsADouble: incr_by_is_exact_over_i64_with_any_ttl;
    IncrByResetsTheLife: incr_by_sets_the_ttl_once incr_by_forever_never_changes_a_ttl;
    IncrByHealsNothing: incr_by_restores_a_lost_ttl;
    IncrByForeverTakesTheLife: incr_by_forever_never_changes_a_ttl;
    AbsentRenewsTheLife: set_if_absent_stores_only_missing_keys;
    AbsentIsNotAtomic: only_one_task_stores_if_absent;
    CompareTakesAPrefix: compare_and_set_replaces_only_what_is_equal;
    CompareMatchesTheMissing: compare_and_set_replaces_only_what_is_equal;
    CompareKeepsTheLife: compare_and_set_replaces_only_what_is_equal overwrite_replaces_the_ttl;
    CompareIsNotAtomic: compare_and_set_of_many_tasks_loses_no_update;
    CompareAndDeleteTakesAPrefix: compare_and_delete_deletes_only_what_is_equal;
    CompareAndDeleteIsNotAtomic: only_one_task_deletes_an_equal_value;
    EmptyKeyIsTaken: illegal_key_is_refused_by_every_method;
    IllegalKeyGoesToTheServer: illegal_key_is_refused_by_every_method;
    BatchesSkipIllegalKeys: illegal_key_is_refused_by_every_method;
    KeysAreUnescaped: different_parts_never_share_an_entry;
    DigestsAreCutOut: another_digest_or_wire_version_is_a_miss;
    LongKeysAreCut: longest_key_is_accepted;
    LargeValuesAreCut: value_over_the_limit_is_refused_and_not_stored;
    LargestValueIsRefused: largest_value_is_accepted;
    CloseIsForgotten: every_call_after_close_fails_closed close_is_idempotent;
    CloseTwiceFails: close_is_idempotent;
    CloseLeavesCallsHanging: calls_in_flight_end_when_the_client_closes every_call_after_close_fails_closed;
    CloseForgetsOneMethod: every_call_after_close_fails_closed;
    RepliesCross: no_call_sees_the_reply_of_a_dropped_call;
    DropBreaksTheClient: dropped_futures_leave_the_client_usable;
    EveryHundredthSetIsLost: mixed_calls_of_many_tasks_agree_with_a_model;
    BatchesMissOtherTypes: key_of_another_type_is_rejected_by_every_read;
    OtherTypesAreAbsent: key_of_another_type_is_replaced_and_deleted;
    PingFails: ping_answers ping_fails_while_a_primary_is_gone;
    PingIsNeverSent: ping_fails_while_a_primary_is_gone;
}

/// Sees each scenario that has to catch `defect` fail.
fn caught(defect: Defect) {
    let Some((_, scenarios)) = CAUGHT.iter().find(|(caught, _)| *caught == defect) else {
        panic!("nothing is said to catch {defect:?}");
    };
    for scenario in *scenarios {
        let passed = catch_unwind(AssertUnwindSafe(|| run(scenario, Time::Virtual, subject(defect))));
        let Err(panic) = passed else {
            panic!("{scenario} does not catch {defect:?}")
        };
        let text = panic.downcast_ref::<String>().map_or("", String::as_str);
        assert!(
            text.starts_with("expected "),
            "{scenario} says what it expected of {defect:?}, not: {text}"
        );
    }
}

#[test]
fn every_scenario_catches_a_defect() {
    let caught: Vec<&str> = CAUGHT
        .iter()
        .flat_map(|(_, scenarios)| *scenarios)
        .copied()
        .collect();
    for scenario in SCENARIOS {
        assert!(
            caught.contains(&scenario.name),
            "{} has been seen to fail for no defect",
            scenario.name
        );
    }
}

#[test]
fn missing_outage_fails_instead_of_skipping() {
    let alone = async { Subject::new(MemoryCache::default()) };
    let run = || run("ping_fails_while_a_primary_is_gone", Time::Virtual, alone);
    let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    let text = panic.downcast_ref::<&str>().map_or("", |text| *text);
    assert!(text.contains("with_outage"), "{text}");
}

cache_core::conformance_tests! {
    mod a_client_without_a_defect in virtual time with outage with foreign = subject(Defect::Nothing);
}
