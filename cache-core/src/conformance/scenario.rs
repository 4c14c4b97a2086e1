//! The list of scenarios, which generates the suite and its tests.

use std::pin::Pin;

use super::Subject;
use super::{basics, batches, cancellation, closing, combined, concurrency, conditional, counters};
use super::{each, expiry, foreign, limits, namespaces, reachability, ttl_bounds};

/// One promise of the contract, and how to check it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Scenario {
    /// The promise, which is the name of the function that checks it.
    pub name: &'static str,
    /// The runtime that the scenario needs.
    pub pace: Pace,
    /// Panics if the subject breaks the promise.
    pub run: for<'a> fn(&'a Subject) -> Pin<Box<dyn Future<Output = ()> + 'a>>,
}

/// The runtime that a scenario needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// One call after the other; the time may be virtual.
    Timed,
    /// Tasks that run in parallel, on several threads.
    Parallel,
}

/// Passes every scenario to another macro, grouped by the capability that a subject needs.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_conformance_scenario {
    ($then:ident $given:tt) => {
        $crate::$then! {
            $given
            every {
                Timed basics missing_key_is_a_miss,
                Timed basics stored_value_is_read_back,
                Timed basics value_is_any_bytes,
                Timed basics overwrite_replaces_the_value,
                Timed basics del_counts_existing_keys,
                Timed basics odd_keys_are_literal_and_distinct,
                Timed batches get_many_keeps_order_and_reports_misses,
                Timed batches set_many_stores_every_entry_with_its_ttl,
                Timed batches key_given_twice_is_answered_twice,
                Timed batches empty_list_does_no_io,
                Timed batches thousand_keys_in_one_call_are_answered,
                Timed cancellation dropped_futures_leave_the_client_usable,
                Parallel cancellation no_call_sees_the_reply_of_a_dropped_call,
                Parallel closing close_is_idempotent,
                Timed closing every_call_after_close_fails_closed,
                Parallel closing calls_in_flight_end_when_the_client_closes,
                Parallel concurrency mixed_calls_of_many_tasks_agree_with_a_model,
                Timed combined get_and_delete_returns_the_value_once,
                Parallel combined only_one_task_takes_the_value,
                Timed combined get_and_expire_slides_the_ttl,
                Timed conditional set_if_absent_stores_only_missing_keys,
                Parallel conditional only_one_task_stores_if_absent,
                Timed conditional compare_and_set_replaces_only_what_is_equal,
                Timed conditional compare_and_delete_deletes_only_what_is_equal,
                Parallel conditional compare_and_set_of_many_tasks_loses_no_update,
                Parallel conditional only_one_task_deletes_an_equal_value,
                Timed counters counter_starts_at_one_and_never_expires,
                Timed counters integer_counts_up_and_down,
                Timed counters incr_by_is_exact_over_i64_with_any_ttl,
                Timed counters non_integer_is_rejected_and_unchanged,
                Timed counters overflow_is_rejected_and_count_unchanged,
                Timed counters incr_keeps_the_ttl,
                Timed counters incr_by_sets_the_ttl_once,
                Timed counters incr_by_restores_a_lost_ttl,
                Timed counters incr_by_forever_never_changes_a_ttl,
                Parallel counters increments_of_many_tasks_add_up,
                Timed each get_each_answers_in_key_order,
                Timed each get_entries_has_value_and_ttl_of_every_key,
                Timed each set_each_stores_every_entry_with_its_own_ttl,
                Timed each set_each_keeps_the_last_entry_of_a_key,
                Timed each each_call_with_empty_list_does_no_io,
                Timed each thousand_keys_are_each_answered,
                Timed expiry expired_key_is_a_missing_key,
                Timed expiry entry_does_not_expire_early,
                Timed expiry remaining_ttl_counts_down,
                Timed expiry overwrite_replaces_the_ttl,
                Timed expiry expire_of_missing_key_returns_false,
                Timed expiry expire_replaces_the_ttl,
                Timed ttl_bounds ttl_below_a_millisecond_is_a_millisecond,
                Timed ttl_bounds zero_ttl_is_no_expiry,
                Timed ttl_bounds ttl_over_the_limit_is_refused_by_every_method,
                Timed ttl_bounds longest_ttl_is_accepted,
                Timed limits illegal_key_is_refused_by_every_method,
                Timed limits longest_key_is_accepted,
                Timed limits largest_value_is_accepted,
                Timed limits value_over_the_limit_is_refused_and_not_stored,
                Timed namespaces different_parts_never_share_an_entry,
                Timed namespaces another_digest_or_wire_version_is_a_miss,
                Timed reachability ping_answers,
            }
            with_outage {
                Timed reachability ping_fails_while_a_primary_is_gone,
            }
            with_foreign {
                Timed foreign key_of_another_type_is_rejected_by_every_read,
                Timed foreign key_of_another_type_is_replaced_and_deleted,
            }
        }
    };
}

/// Generates a named test for each scenario of the [conformance suite](crate::conformance), for the client of
/// the [`Subject`](crate::conformance::Subject) that the future creates.
///
/// ```
/// # #[cfg(test)] // the tests that this makes exist in test builds only
/// cache_core::conformance_tests! {
///     mod memory in virtual time = async {
///         Subject::new(MemoryCache::default())
///     };
///     mod cluster in real time with outage = async {
///         Subject::new(connected().await).with_outage(StopsAPrimary)
///     };
/// }
/// ```
///
/// Each `mod` is a module of tests. The macro adds an `async fn` of the same name, which creates the subject.
#[macro_export]
macro_rules! conformance_tests {
    ($(mod $name:ident in $time:ident time $(with $capability:ident)* = $make:expr;)+) => {$(
        async fn $name() -> $crate::conformance::Subject {
            $make.await
        }

        mod $name {
            $crate::for_each_conformance_scenario! {
                conformance_tests_of_a_subject ($name $time $($capability)*)
            }
        }
    )+};
}

/// The tests in one module.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests_of_a_subject {
    (
        ($make:ident $time:ident)
        every { $($pace:ident $file:ident $name:ident,)+ }
        with_outage { $($outage:tt)+ }
        with_foreign { $($foreign:tt)+ }
    ) => {$(
        #[test]
        fn $name() {
            $crate::conformance::run(stringify!($name), $crate::conformance_time!($time), super::$make());
        }
    )+};
    (
        ($make:ident $time:ident outage $($more:ident)*)
        every { $($every:tt)+ }
        with_outage { $($outage:tt)+ }
        with_foreign { $($foreign:tt)+ }
    ) => {
        $crate::conformance_tests_of_a_subject! {
            ($make $time $($more)*)
            every { $($every)+ $($outage)+ }
            with_outage { none }
            with_foreign { $($foreign)+ }
        }
    };
    (
        ($make:ident $time:ident foreign $($more:ident)*)
        every { $($every:tt)+ }
        with_outage { $($outage:tt)+ }
        with_foreign { $($foreign:tt)+ }
    ) => {
        $crate::conformance_tests_of_a_subject! {
            ($make $time $($more)*)
            every { $($every)+ $($foreign)+ }
            with_outage { $($outage)+ }
            with_foreign { none }
        }
    };
}

/// Maps the macro's word for a clock to its value.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_time {
    (virtual) => {
        $crate::conformance::Time::Virtual
    };
    (real) => {
        $crate::conformance::Time::Real
    };
}

/// The list as values.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_scenario_list {
    (
        ()
        every { $($pace:ident $file:ident $name:ident,)+ }
        with_outage { $($outage_pace:ident $outage_file:ident $outage_name:ident,)+ }
        with_foreign { $($foreign_pace:ident $foreign_file:ident $foreign_name:ident,)+ }
    ) => {
        /// Every scenario, also those that need a capability.
        pub const SCENARIOS: &[Scenario] = &[
            $(Scenario {
                name: stringify!($name),
                pace: Pace::$pace,
                run: |subject| Box::pin($file::$name(subject)),
            },)+
            $(Scenario {
                name: stringify!($outage_name),
                pace: Pace::$outage_pace,
                run: |subject| Box::pin($outage_file::$outage_name(subject)),
            },)+
            $(Scenario {
                name: stringify!($foreign_name),
                pace: Pace::$foreign_pace,
                run: |subject| Box::pin($foreign_file::$foreign_name(subject)),
            },)+
        ];
    };
}

crate::for_each_conformance_scenario!(conformance_scenario_list());
