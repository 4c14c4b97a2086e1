//! The list of scenarios, from which the suite and its tests are made.

use std::pin::Pin;

use super::Subject;
use super::{basics, batches, cancellation, closing, combined, concurrency, each};
use super::{conditional, counters, expiry, life_bounds, limits, namespaces, reachability};

/// One promise of the contract, and how to see it kept.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Scenario {
    /// The promise, as the function that checks it is called.
    pub name: &'static str,
    /// What kind of runtime shows it.
    pub pace: Pace,
    /// Panics where the subject breaks the promise.
    pub run: for<'a> fn(&'a Subject) -> Pin<Box<dyn Future<Output = ()> + 'a>>,
}

/// What kind of runtime shows a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// One call after the other; the time may be virtual.
    Timed,
    /// Tasks that run at the same time, on several threads.
    Parallel,
}

/// Hands every scenario to another macro, by the group in which a subject asks for them.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_conformance_scenario {
    ($then:ident $given:tt) => {
        $crate::$then! {
            $given
            every {
                Timed basics a_missing_key_is_a_miss,
                Timed basics a_stored_value_is_read_back,
                Timed basics a_value_is_any_bytes,
                Timed basics an_overwrite_replaces_the_value,
                Timed basics del_counts_the_keys_that_were_there,
                Timed basics odd_keys_are_kept_apart_and_stand_for_themselves,
                Timed batches get_many_keeps_the_order_and_tells_misses,
                Timed batches set_many_stores_every_entry_with_its_life,
                Timed batches a_key_given_twice_is_answered_twice,
                Timed batches an_empty_list_does_no_io,
                Timed batches a_thousand_keys_in_one_call_are_all_answered,
                Timed cancellation dropped_futures_leave_the_client_usable,
                Parallel cancellation no_call_sees_the_reply_of_a_dropped_one,
                Parallel closing close_is_idempotent,
                Timed closing every_call_after_close_is_closed,
                Parallel closing calls_in_flight_end_when_the_client_closes,
                Parallel concurrency mixed_calls_of_many_tasks_agree_with_a_model,
                Timed combined get_and_delete_returns_the_value_once,
                Parallel combined one_of_many_tasks_takes_the_value,
                Timed combined get_and_expire_slides_the_ttl,
                Timed conditional set_if_absent_stores_over_nothing_only,
                Parallel conditional one_of_a_hundred_tasks_stores_where_absent,
                Timed conditional compare_and_set_replaces_only_what_is_equal,
                Timed conditional compare_and_delete_deletes_only_what_is_equal,
                Parallel conditional compare_and_set_of_many_tasks_loses_no_update,
                Parallel conditional one_of_many_tasks_deletes_what_is_equal,
                Timed counters a_counter_starts_at_one_and_never_expires,
                Timed counters an_integer_is_counted_up_and_down,
                Timed counters what_is_no_integer_is_rejected_and_stays,
                Timed counters an_overflow_is_rejected_and_the_count_stays,
                Timed counters incr_keeps_the_life,
                Timed counters incr_by_gives_a_life_once,
                Timed counters incr_by_heals_a_counter_that_lost_its_life,
                Timed counters incr_by_forever_leaves_lives_alone,
                Parallel counters increments_of_many_tasks_add_up,
                Timed each get_each_answers_every_key_in_its_place,
                Timed each set_each_stores_every_entry_with_its_own_ttl,
                Timed each set_each_keeps_the_last_entry_of_a_key,
                Timed each each_of_nothing_does_no_io,
                Timed each a_thousand_keys_are_each_answered,
                Timed expiry an_expired_key_is_a_missing_key,
                Timed expiry an_entry_lives_as_long_as_it_was_told,
                Timed expiry the_rest_of_a_life_counts_down,
                Timed expiry an_overwrite_replaces_the_life,
                Timed expiry expire_of_a_missing_key_is_false,
                Timed expiry expire_sets_the_life_anew,
                Timed life_bounds a_life_below_a_millisecond_is_a_millisecond,
                Timed life_bounds a_zero_life_is_no_expiry,
                Timed life_bounds a_life_beyond_the_limit_is_refused_by_every_method,
                Timed life_bounds the_longest_life_is_taken,
                Timed limits an_illegal_key_is_refused_by_every_method,
                Timed limits the_longest_key_is_taken,
                Timed limits the_largest_value_is_taken,
                Timed limits a_value_over_the_limit_is_refused_and_nothing_stored,
                Timed namespaces different_parts_never_share_an_entry,
                Timed namespaces another_digest_or_wire_version_is_a_miss,
                Timed reachability ping_answers,
            }
            with_outage {
                Timed reachability ping_fails_while_a_primary_is_gone,
            }
        }
    };
}

/// Makes a named test of each scenario of the [conformance suite](crate::conformance), for the client
/// of the [`Subject`](crate::conformance::Subject) that the future makes.
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
/// Each `mod` is a module of tests. An `async fn` of its name, which makes the subject, stands beside it.
#[macro_export]
macro_rules! conformance_tests {
    ($(mod $name:ident in $time:ident time $(with $capability:ident)? = $make:expr;)+) => {$(
        async fn $name() -> $crate::conformance::Subject {
            $make.await
        }

        mod $name {
            $crate::for_each_conformance_scenario! {
                conformance_tests_of_a_subject ($name $time $($capability)?)
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
    ) => {$(
        #[test]
        fn $name() {
            $crate::conformance::run(stringify!($name), $crate::conformance_time!($time), super::$make());
        }
    )+};
    (
        ($make:ident $time:ident outage)
        every { $($every:tt)+ }
        with_outage { $($outage:tt)+ }
    ) => {
        $crate::conformance_tests_of_a_subject! {
            ($make $time)
            every { $($every)+ $($outage)+ }
            with_outage { none }
        }
    };
}

/// The word for a time, as a value.
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
        ];
    };
}

crate::for_each_conformance_scenario!(conformance_scenario_list());
