//! Scenario 69: what the log says. One line per change of state, not one per call.

use std::io;
use std::sync::{Arc, Mutex};

use cache_core::{CacheClient, CacheError, Ttl};
use cache_layers::guarded::{BreakerState, OnFailure};
use cache_mock::{Fault, Operation};
use tracing::subscriber::DefaultGuard;

use crate::rig::{KEY, OPEN_FOR, guard, ms};

/// What was logged by this thread.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn capture() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    /// The lines of that level so far.
    fn at(&self, level: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(str::trim);
        lines
            .filter(|line| line.starts_with(level))
            .map(str::to_owned)
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_one_warning_and_one_line_when_it_is_over() {
    let (lines, _guard) = Lines::capture();
    let (cache, faults) = guard(|config| config.on_failure(OnFailure::Bypass));
    faults.always(Operation::ALL, &Fault::connection_lost());
    for _ in 0..10_000 {
        assert!(cache.get(KEY).await.unwrap_err().is_miss());
        tokio::time::advance(ms(3)).await;
    }
    let warnings = lines.at("WARN");
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("circuit is open"), "{}", warnings[0]);
    assert!(warnings[0].contains("failures=20"), "{}", warnings[0]);
    assert!(warnings[0].contains("connection lost"), "{}", warnings[0]);
    assert_eq!(lines.at("INFO"), [""; 0]);
    // Each probe is a line of its own, for who looks closely.
    let probes = cache.stats().probes;
    assert_eq!(lines.at("DEBUG").len() as u64, 2 * probes);

    faults.heal();
    tokio::time::advance(OPEN_FOR).await;
    cache.ping().await.unwrap();
    let infos = lines.at("INFO");
    assert_eq!(infos.len(), 1, "{infos:#?}");
    assert!(infos[0].contains("circuit is closed"), "{}", infos[0]);
    assert!(
        infos[0].contains(&format!("shed={}", cache.stats().shed)),
        "{}",
        infos[0]
    );
    assert_eq!(lines.at("WARN").len(), 1);
    for line in [lines.at("WARN"), infos].concat() {
        assert!(!line.contains(KEY), "a key is in the log: {line}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_that_do_not_open_the_circuit_are_told_once_per_window() {
    let (lines, _guard) = Lines::capture();
    let (cache, faults) = guard(|config| config.on_failure(OnFailure::Bypass));
    faults.always(&[Operation::Get], &Fault::connection_lost());
    // A third of the calls, for a minute.
    for _ in 0..600 {
        assert!(cache.get(KEY).await.unwrap_err().is_miss());
        cache.ping().await.unwrap();
        cache.ping().await.unwrap();
        tokio::time::advance(ms(100)).await;
    }
    let warnings = lines.at("WARN");
    assert_eq!(warnings.len(), 5, "{warnings:#?}");
    assert!(warnings[0].contains("failures=101"), "{}", warnings[0]);
    assert!(warnings[1].contains("failures=100"), "{}", warnings[1]);
}

#[tokio::test(start_paused = true)]
async fn failures_that_the_opening_told_of_are_not_told_again() {
    let (lines, _guard) = Lines::capture();
    let (cache, faults) = guard(|config| config.on_failure(OnFailure::Bypass));
    for _ in 0..20 {
        faults.next(Operation::Get, Fault::connection_lost());
        assert!(cache.get(KEY).await.unwrap_err().is_miss());
    }
    tokio::time::advance(OPEN_FOR).await;
    cache.ping().await.unwrap();
    assert_eq!(lines.at("WARN").len(), 1);
    tokio::time::advance(ms(20_000)).await;
    faults.next(Operation::Get, Fault::connection_lost());
    assert!(cache.get(KEY).await.unwrap_err().is_miss());
    assert_eq!(lines.at("WARN").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_breaker_the_first_failure_is_told_at_once() {
    let (lines, _guard) = Lines::capture();
    let (cache, faults) = guard(|config| config.without_breaker().on_failure(OnFailure::Bypass));
    faults.always(&[Operation::Get], &Fault::connection_lost());
    for _ in 0..300 {
        assert!(cache.get(KEY).await.unwrap_err().is_miss());
        tokio::time::advance(ms(100)).await;
    }
    let warnings = lines.at("WARN");
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
    assert!(warnings[0].contains("failures=1 "), "{}", warnings[0]);
    assert!(warnings[0].contains("bypassed"), "{}", warnings[0]);
}

#[tokio::test(start_paused = true)]
async fn a_full_server_is_told_at_once_and_opens_no_circuit() {
    let (lines, _guard) = Lines::capture();
    let (cache, faults) = guard(|config| config.on_failure(OnFailure::Bypass));
    let full = CacheError::Rejected {
        code: "OOM".into(),
        detail: "command not allowed when used memory > 'maxmemory'".into(),
    };
    faults.always(&[Operation::Set], &Fault::Error(full));
    for _ in 0..300 {
        cache.set(KEY, "1".into(), Ttl::Forever).await.unwrap();
        tokio::time::advance(ms(100)).await;
    }
    let warnings = lines.at("WARN");
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
    assert!(
        warnings[0].contains("failures=1 ") && warnings[0].contains("OOM"),
        "{}",
        warnings[0]
    );
    assert_eq!(cache.state(), BreakerState::Closed);
    let stats = cache.stats();
    assert_eq!((stats.failures, stats.bypassed), (0, 300));
}

#[tokio::test(start_paused = true)]
async fn what_surfaces_as_an_error_is_not_told_again() {
    let (lines, _guard) = Lines::capture();
    let (cache, faults) = guard(|config| config.without_breaker());
    faults.always(&[Operation::Get], &Fault::connection_lost());
    for _ in 0..300 {
        cache.get(KEY).await.unwrap_err();
        tokio::time::advance(ms(100)).await;
    }
    assert_eq!(lines.at("WARN"), [""; 0]);
}
