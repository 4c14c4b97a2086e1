//! A process that reads and writes an encrypted cache while its keyset rotates: what the tests of `tests/encryption` start
//! several of. Not for anything else; what is said to it and by it: [`tests::rotation`].
//!
//! It ends when its input does, and so with the test that started it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::{CacheClient as _, CacheError, Ttl};
use cache_layers::encrypted::StoredForm;
use cache_layers::keyset::FileKeysetStore;
use cache_layers::{Encrypted, EncryptedConfig, Keyring, KeyringConfig};
use cache_valkey::ValkeyClient;
use tests::rotation::{KEYS, Order, Report, Setup, key, shared_number};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::task::JoinSet;

/// Far longer than a test: what is missing was lost.
const LIFE: Ttl = Ttl::secs(600);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let setup = std::env::args().nth(1).context("the setup is missing")?;
    let worker = Arc::new(Worker::connect(serde_json::from_str(&setup)?).await?);
    let number = shared_number(&worker.setup.prefix);
    worker.cache.set_if_absent(&number, "0".into(), LIFE).await?;
    worker.write_round().await;
    worker.tell().await?;
    let mut tasks = JoinSet::new();
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(order) = orders.next_line().await? {
        match serde_json::from_str(&order)? {
            Order::Begin => {
                tasks.spawn(Arc::clone(&worker).write());
                tasks.spawn(Arc::clone(&worker).read());
                tasks.spawn(Arc::clone(&worker).add());
            }
            Order::Tell => {}
            Order::Stop => {
                worker.stopped.store(true, Ordering::Relaxed);
                while let Some(ended) = tasks.join_next().await {
                    ended?;
                }
            }
        }
        worker.tell().await?;
    }
    Ok(())
}

struct Worker {
    setup: Setup,
    cache: Encrypted,
    rounds: AtomicU64,
    reads: AtomicU64,
    misses: AtomicU64,
    wrong: AtomicU64,
    added: AtomicU64,
    failures: AtomicU64,
    failure: Mutex<Option<String>>,
    stopped: AtomicBool,
}

fn number(text: &[u8]) -> Option<u64> {
    str::from_utf8(text).ok()?.parse().ok()
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Worker {
    async fn connect(setup: Setup) -> Result<Self> {
        let address = setup.address.parse()?;
        let topology = if setup.cluster {
            Topology::cluster(vec![address])
        } else {
            Topology::single(address)
        };
        let client = ValkeyClient::connect(&ValkeyConfig::new(topology)).await?;
        let config = KeyringConfig::builder()
            .refresh_every(Duration::from_millis(setup.refresh_every))
            .jitter(0.5)
            .least_gap(Duration::from_millis(setup.least_gap))
            .unknown_key_wait(Duration::from_millis(setup.unknown_key_wait));
        let store = Arc::new(FileKeysetStore::new(&setup.keyset));
        let keyring = Keyring::load(store, None, config.build()?).await?;
        let form = if setup.bridge {
            StoredForm::ChinminaBridge
        } else {
            StoredForm::Tink
        };
        let config = EncryptedConfig::builder().stored_form(form).build()?;
        Ok(Self {
            cache: Encrypted::new(Arc::new(client), keyring, config),
            setup,
            rounds: AtomicU64::default(),
            reads: AtomicU64::default(),
            misses: AtomicU64::default(),
            wrong: AtomicU64::default(),
            added: AtomicU64::default(),
            failures: AtomicU64::default(),
            failure: Mutex::default(),
            stopped: AtomicBool::default(),
        })
    }

    fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }

    fn key(&self, worker: usize, number: usize) -> String {
        key(&self.setup.prefix, worker, number)
    }

    /// What came of a call; a miss and a failure are noted.
    fn note<T>(&self, result: Result<T, CacheError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(CacheError::Miss) => {
                add(&self.misses);
                None
            }
            Err(error) => {
                add(&self.failures);
                let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert_with(|| error.to_string());
                None
            }
        }
    }

    async fn write_round(&self) {
        for number in 0..KEYS {
            let key = self.key(self.setup.worker, number);
            let value = format!("{key}={}", "v".repeat(number));
            self.note(self.cache.set(&key, value.into(), LIFE).await);
        }
        add(&self.rounds);
    }

    async fn write(self: Arc<Self>) {
        while self.goes_on() {
            self.write_round().await;
        }
    }

    async fn read(self: Arc<Self>) {
        for step in (0_usize..).take_while(|_| self.goes_on()) {
            let (worker, number) = (step % self.setup.workers, step / self.setup.workers % KEYS);
            let key = self.key(worker, number);
            if step % 5 == 0 {
                let other = self.key((worker + 1) % self.setup.workers, number);
                for (key, value) in [&key, &other].into_iter().zip(
                    self.note(self.cache.get_many(&[&key, &other]).await)
                        .unwrap_or_default(),
                ) {
                    self.check(key, value.ok_or(CacheError::Miss));
                }
            } else {
                self.check(&key, self.cache.get(&key).await);
            }
        }
    }

    fn check(&self, key: &str, value: Result<impl AsRef<[u8]>, CacheError>) {
        if let Some(value) = self.note(value) {
            add(&self.reads);
            let text = String::from_utf8_lossy(value.as_ref());
            if text.split_once('=').is_none_or(|(of, _)| of != key) {
                add(&self.wrong);
            }
        }
    }

    /// Adds to the number that all share, as a lock or a lease is changed: only what was read is replaced.
    async fn add(self: Arc<Self>) {
        let key = shared_number(&self.setup.prefix);
        while self.goes_on() {
            match self.cache.get(&key).await {
                Ok(old) => {
                    let new = (number(&old).unwrap_or_default() + 1).to_string();
                    let replaced = self.cache.compare_and_set(&key, &old, new.into(), LIFE).await;
                    if self.note(replaced) == Some(true) {
                        add(&self.added);
                    }
                }
                missed => {
                    self.note(missed);
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn tell(&self) -> Result<()> {
        let status = self.cache.keyring().status();
        let stats = self.cache.stats();
        let sum = self.cache.get(&shared_number(&self.setup.prefix)).await;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let report = Report {
            primary: status.primary_key_id,
            key_ids: status.key_ids,
            rounds: get(&self.rounds),
            reads: get(&self.reads),
            misses: get(&self.misses),
            wrong: get(&self.wrong),
            failures: get(&self.failures),
            failure: self
                .failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            added: get(&self.added),
            sum: sum.ok().and_then(|sum| number(&sum)),
            unknown_key: stats.unknown_key,
            other_unreadable: stats.refused + stats.malformed + stats.not_sealed,
            removed: stats.removed,
            failed_refreshes: self.cache.keyring().stats().failed,
        };
        let mut out = tokio::io::stdout();
        let line = serde_json::to_string(&report)? + "\n";
        out.write_all(line.as_bytes()).await?;
        out.flush().await?;
        Ok(())
    }
}
