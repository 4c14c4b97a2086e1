//! Counters: what an integer is, how counting affects a TTL, many tasks on one counter.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{Subject, expect};
use crate::{Ttl, clock};

const LONG: Duration = Duration::from_millis(600_700);
const SHORT: Duration = Duration::from_millis(60);

/// Scenario 8: a missing key counts as 0, and a key that `incr` creates never expires.
pub async fn counter_starts_at_one_and_never_expires(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("counter"));
    for wanted in 1..=3 {
        expect::is(cache.incr(&key).await, wanted, "incr to count one more");
        expect::forever(cache.ttl(&key).await, "the TTL of a counter that incr made");
    }
    expect::value(cache.get(&key).await, "3", "a counter to be read as decimal text");
}

/// Text that is an integer can be incremented and decremented, to the ends of the range.
pub async fn integer_counts_up_and_down(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("integer"));
    let steps: [(&str, i64, i64); 9] = [
        ("0", 1, 1),
        ("-1", 1, 0),
        ("10", -11, -1),
        ("7", 0, 7),
        ("-5", -5, -10),
        ("9223372036854775806", 1, i64::MAX),
        ("-9223372036854775807", -1, i64::MIN),
        ("-9223372036854775808", i64::MAX, -1),
        ("0", i64::MIN, i64::MIN),
    ];
    for (text, delta, wanted) in steps {
        expect::ok(
            cache.set(&key, text.into(), LONG.into()).await,
            "set of an integer as text",
        );
        let counted = cache.incr_by(&key, delta, Ttl::Forever).await;
        expect::is(
            counted,
            wanted,
            format_args!("{text} and {delta} to be counted together"),
        );
        expect::value(
            cache.get(&key).await,
            wanted.to_string(),
            "the new count as decimal text",
        );
    }
    let fresh = subject.key("fresh");
    expect::is(
        cache.incr_by(&fresh, -3, Ttl::Forever).await,
        -3,
        "a missing key to be counted down from 0",
    );
}

/// Scenario 8: a count is exact over the whole range, whether or not the call gives a TTL and the key has
/// one. A number that is converted to a double on the way is wrong from 2^53 on.
pub async fn incr_by_is_exact_over_i64_with_any_ttl(subject: &Subject) {
    const EXACT: i64 = 1 << 53;
    let (cache, key) = (subject.client(), subject.key("exact"));
    let steps: [(i64, i64, i64); 12] = [
        (0, EXACT + 1, EXACT + 1),
        (EXACT, 1, EXACT + 1),
        (-EXACT, -1, -EXACT - 1),
        (EXACT + 1, -1, EXACT),
        (1_234_567_890_123_456_789, 1, 1_234_567_890_123_456_790),
        (-1_234_567_890_123_456_789, 11, -1_234_567_890_123_456_778),
        (i64::MAX - 1, 1, i64::MAX),
        (i64::MAX, 0, i64::MAX),
        (i64::MAX, -1, i64::MAX - 1),
        (i64::MIN + 1, -1, i64::MIN),
        (i64::MIN, i64::MAX, -1),
        (0, i64::MIN, i64::MIN),
    ];
    for has in [Some(LONG), None] {
        for given in [Some(LONG), None] {
            for (count, delta, wanted) in steps {
                let stored = cache.set(&key, count.to_string().into(), has.into()).await;
                expect::ok(stored, "set of an integer as text");
                let counted = cache.incr_by(&key, delta, given.into()).await;
                expect::is(
                    counted,
                    wanted,
                    format_args!(
                        "{count} and {delta} to be counted together, with the TTL {given:?} on {has:?}"
                    ),
                );
                expect::value(
                    cache.get(&key).await,
                    wanted.to_string(),
                    "the new count as decimal text",
                );
            }
        }
    }
    let fresh = subject.key("exact:fresh");
    let counted = cache.incr_by(&fresh, i64::MAX, LONG.into()).await;
    expect::is(counted, i64::MAX, "a missing key to be counted from 0");
}

/// Scenario 8: a value that is not an integer is rejected, and neither it nor its TTL changes.
pub async fn non_integer_is_rejected_and_unchanged(subject: &Subject) {
    const TEXTS: [&str; 14] = [
        "text",
        "",
        " 1",
        "1 ",
        "+1",
        "01",
        "-0",
        "1.0",
        "1e3",
        "0x10",
        "-",
        "9223372036854775808",
        "-9223372036854775809",
        "1\n",
    ];
    let (cache, key) = (subject.client(), subject.key("text"));
    for text in TEXTS {
        let since = clock::now();
        expect::ok(cache.set(&key, text.into(), LONG.into()).await, "set of a text");
        expect::rejected(cache.incr(&key).await, format_args!("incr of {text:?}"));
        expect::rejected(
            cache.incr_by(&key, 2, SHORT.into()).await,
            format_args!("incr_by of {text:?}"),
        );
        expect::value(
            cache.get(&key).await,
            text,
            "a value that was not counted to stay as it is",
        );
        expect::remaining(
            cache.ttl(&key).await,
            LONG,
            since,
            "the TTL of what was not counted to stay",
        );
    }
}

/// Scenario 8: a result outside the range is rejected, and the count does not change.
pub async fn overflow_is_rejected_and_count_unchanged(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("overflow"));
    let overflows = [
        (i64::MAX, 1),
        (i64::MAX, i64::MAX),
        (i64::MIN, -1),
        (i64::MIN, i64::MIN),
        (-1, i64::MIN),
    ];
    for (count, delta) in overflows {
        let text = count.to_string();
        expect::ok(
            cache.set(&key, text.clone().into(), LONG.into()).await,
            "set of a count",
        );
        if delta == 1 {
            expect::rejected(cache.incr(&key).await, format_args!("incr of {count}"));
        }
        let counted = cache.incr_by(&key, delta, LONG.into()).await;
        expect::rejected(counted, format_args!("{count} and {delta} counted together"));
        expect::value(
            cache.get(&key).await,
            &text,
            "a count that would overflow to stay as it is",
        );
    }
}

/// Scenario 8: counting does not change a running TTL.
pub async fn incr_keeps_the_ttl(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("keeps"));
    let since = clock::now();
    expect::ok(
        cache.set(&key, "5".into(), LONG.into()).await,
        "set of a count with a TTL",
    );
    expect::is(cache.incr(&key).await, 6, "incr to count one more");
    expect::remaining(cache.ttl(&key).await, LONG, since, "the TTL after incr");
}

/// Scenario 9: the TTL is set when the counter is created, and then runs: a window that ends on time.
pub async fn incr_by_sets_the_ttl_once(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("window"));
    let since = clock::now();
    expect::is(
        cache.incr_by(&key, 2, LONG.into()).await,
        2,
        "incr_by of a missing key",
    );
    expect::remaining(
        cache.ttl(&key).await,
        LONG,
        since,
        "the TTL of a counter that incr_by made",
    );
    expect::is(
        cache.incr_by(&key, 3, (LONG * 2).into()).await,
        5,
        "incr_by of a running counter",
    );
    expect::remaining(
        cache.ttl(&key).await,
        LONG,
        since,
        "a running TTL not to be lengthened",
    );
    expect::is(
        cache.incr_by(&key, -1, (LONG / 2).into()).await,
        4,
        "incr_by of a running counter",
    );
    expect::remaining(
        cache.ttl(&key).await,
        LONG,
        since,
        "a running TTL not to be shortened",
    );
    let brief = subject.key("brief");
    expect::is(
        cache.incr_by(&brief, 1, SHORT.into()).await,
        1,
        "incr_by with a short TTL",
    );
    subject.gone(&brief).await;
    expect::is(
        cache.incr_by(&brief, 1, LONG.into()).await,
        1,
        "a new window to start anew",
    );
}

/// Scenario 9: a counter that lost its TTL gets one again.
pub async fn incr_by_restores_a_lost_ttl(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("lost"));
    expect::ok(
        cache.set(&key, "41".into(), Ttl::Forever).await,
        "set of a count without a TTL",
    );
    let since = clock::now();
    expect::is(
        cache.incr_by(&key, 1, LONG.into()).await,
        42,
        "incr_by of a counter without a TTL",
    );
    expect::remaining(cache.ttl(&key).await, LONG, since, "the TTL of a healed counter");
}

/// `incr_by` with [`Ttl::Forever`] neither sets a TTL nor removes one.
pub async fn incr_by_forever_never_changes_a_ttl(subject: &Subject) {
    let (cache, limited, endless) = (subject.client(), subject.key("limited"), subject.key("endless"));
    let since = clock::now();
    expect::ok(
        cache.set(&limited, "1".into(), LONG.into()).await,
        "set of a count with a TTL",
    );
    expect::is(
        cache.incr_by(&limited, 1, Ttl::Forever).await,
        2,
        "incr_by without a TTL",
    );
    expect::remaining(cache.ttl(&limited).await, LONG, since, "a running TTL to stay");
    expect::is(
        cache.incr_by(&endless, 1, Ttl::Forever).await,
        1,
        "incr_by without a TTL",
    );
    expect::forever(cache.ttl(&endless).await, "the TTL of a counter made without one");
}

/// Scenario 8: increments of many tasks add up, and each task gets a different count.
pub async fn increments_of_many_tasks_add_up(subject: &Subject) {
    const TASKS: i64 = 20;
    const EACH: i64 = 50;
    let (plain, by) = (subject.key("plain"), subject.key("by"));
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (cache, plain, by) = (subject.shared(), plain.clone(), by.clone());
        tasks.spawn(async move {
            let mut told = Vec::new();
            for _ in 0..EACH {
                told.push(expect::ok(cache.incr(&plain).await, "incr by one of many tasks"));
                expect::ok(
                    cache.incr_by(&by, 3, LONG.into()).await,
                    "incr_by by one of many tasks",
                );
            }
            told
        });
    }
    let mut told = expect::all(tasks).await.concat();
    told.sort_unstable();
    let wanted: Vec<i64> = (1..=TASKS * EACH).collect();
    expect::that(
        told == wanted,
        "each of many increments to be told a count that no other was told",
    );
    expect::value(
        subject.client().get(&plain).await,
        (TASKS * EACH).to_string(),
        "all increments to count",
    );
    expect::value(
        subject.client().get(&by).await,
        (3 * TASKS * EACH).to_string(),
        "all increments to count",
    );
}
