//! What encryption costs: `cargo bench -p benches --bench encrypted [-- --quick]`.
//!
//! One Valkey server on loopback, values of 1 KiB. Remote: gets and sets of 1 and 64 tasks through the client, through
//! `Encrypted` over it, and in the form of chinmina-bridge. Near: hits of a near tier above `Encrypted`, beside hits of one
//! above the bare client. And sealing and opening alone, without a server.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use anyhow::Result;
use benches::{Goal, Options, Sample, Table, run};
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::keyset::{Expected, KeysetStore as _};
use cache_core::{CacheClient, Ttl};
use cache_layers::encrypted::StoredForm;
use cache_layers::keyset::{FileKeysetStore, Keyset, KeysetEditor, KeysetForm};
use cache_layers::{Encrypted, EncryptedConfig, Keyring, KeyringConfig, NearConfig, Tiered};
use cache_valkey::ValkeyClient;
use tests::{Server, ServerOptions, Version};

const KEYS: usize = 10_000;
const VALUE: [u8; 1024] = [b'v'; 1024];

/// What is done in one measured step where a step is far shorter than reading the clock is exact.
const BATCH: usize = 200;

#[tokio::main]
async fn main() -> Result<()> {
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return Ok(());
    }
    let options = Options::from_arguments();
    let editor = KeysetEditor::create()?;
    let keyring = keyring(&editor).await?;
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let config = ValkeyConfig::new(Topology::single(server.address().parse()?));
    let bare: Arc<dyn CacheClient> = Arc::new(ValkeyClient::connect(&config).await?);
    let over = |form| -> Result<Arc<dyn CacheClient>> {
        let config = EncryptedConfig::builder().stored_form(form).build()?;
        Ok(Arc::new(Encrypted::new(
            Arc::clone(&bare),
            Arc::clone(&keyring),
            config,
        )))
    };
    let clients = [
        Arc::clone(&bare),
        over(StoredForm::Tink)?,
        over(StoredForm::ChinminaBridge)?,
    ];
    let names = [
        "the bare client",
        "encrypted",
        "encrypted as chinmina-bridge does",
    ];
    let tasks = [1, 64];
    let mut remote = Table::new("remote get of 1 KiB; tasks:", &tasks, &names);
    let mut writes = Table::new("remote set of 1 KiB; tasks:", &tasks, &names);
    for (row, client) in clients.iter().enumerate() {
        fill(client, row).await?;
    }
    for _ in 0..options.rounds {
        for (column, &tasks) in tasks.iter().enumerate() {
            for (row, client) in clients.iter().enumerate() {
                remote.add(row, column, gets(client, row, tasks, options).await);
                writes.add(row, column, sets(client, row, tasks, options).await);
            }
        }
    }
    let near = |client: &Arc<dyn CacheClient>| -> Arc<dyn CacheClient> {
        Arc::new(Tiered::new(Arc::clone(client), NearConfig::default()))
    };
    let tiers = [near(&clients[0]), near(&clients[1])];
    let mut hits = Table::new(
        &format!("near hit of 1 KiB, steps of {BATCH}; tasks:"),
        &[1],
        &["above the bare client", "above encrypted"],
    );
    let keyset = Arc::new(editor.keyset()?);
    let mut alone = Table::new(
        &format!("1 KiB, steps of {BATCH}; tasks:"),
        &[1],
        &["seal and open"],
    );
    for _ in 0..options.rounds {
        for (row, client) in tiers.iter().enumerate() {
            hits.add(row, 0, near_hits(client, row, options).await);
        }
        alone.add(0, 0, seal_and_open(&keyset, options).await);
    }

    let mut out = std::io::stdout().lock();
    writeln!(out, "{remote}\n{writes}\n{hits}\n{alone}")?;
    writeln!(
        out,
        "goals (medians of {} rounds of {:?})",
        options.rounds, options.slice
    )?;
    #[expect(clippy::cast_precision_loss, reason = "a small constant")]
    let each = alone.cpu(0, 0) / BATCH as f64;
    for (what, measured, bound, at_least) in [
        (
            "remote get with encryption at 64 tasks, to the one without",
            remote.ratio(1, 0, 1),
            0.9,
            true,
        ),
        (
            "near hits above encryption, to those without",
            hits.ratio(1, 0, 0),
            0.95,
            true,
        ),
        ("microseconds of a core to seal and open 1 KiB", each, 3.0, false),
    ] {
        let goal = Goal {
            what: what.to_owned(),
            measured,
            bound,
            at_least,
        };
        writeln!(out, "{goal}")?;
    }
    Ok(())
}

async fn keyring(editor: &KeysetEditor) -> Result<Arc<Keyring>> {
    let folder = tempfile::tempdir()?;
    let store = FileKeysetStore::new(folder.path().join("keyset.json"));
    let clear = editor.write(KeysetForm::Json, None).await?;
    store.write(&clear, &BTreeMap::new(), Expected::Absent).await?;
    Ok(Keyring::load(Arc::new(store), None, KeyringConfig::default()).await?)
}

async fn fill(client: &Arc<dyn CacheClient>, row: usize) -> Result<()> {
    for number in 0..KEYS {
        client
            .set(&key(row, number), VALUE.to_vec().into(), Ttl::secs(3_600))
            .await?;
    }
    Ok(())
}

async fn gets(client: &Arc<dyn CacheClient>, row: usize, tasks: usize, options: Options) -> Sample {
    let client = Arc::clone(client);
    run(tasks, options.slice, move |task, number| {
        let client = Arc::clone(&client);
        async move {
            let key = key(row, task.wrapping_mul(7_919).wrapping_add(number));
            assert!(client.get(&key).await.is_ok());
        }
    })
    .await
}

async fn sets(client: &Arc<dyn CacheClient>, row: usize, tasks: usize, options: Options) -> Sample {
    let client = Arc::clone(client);
    run(tasks, options.slice, move |task, number| {
        let client = Arc::clone(&client);
        async move {
            let key = key(row, task.wrapping_mul(7_919).wrapping_add(number));
            let value = VALUE.to_vec().into();
            assert!(client.set(&key, value, Ttl::secs(3_600)).await.is_ok());
        }
    })
    .await
}

async fn near_hits(client: &Arc<dyn CacheClient>, row: usize, options: Options) -> Sample {
    let client = Arc::clone(client);
    let keys: Arc<Vec<String>> = Arc::new((0..100).map(|number| key(row, number)).collect());
    run(1, options.slice, move |_, _| {
        let (client, keys) = (Arc::clone(&client), Arc::clone(&keys));
        async move {
            for step in 0..BATCH {
                assert!(client.get(&keys[step % keys.len()]).await.is_ok());
            }
        }
    })
    .await
}

async fn seal_and_open(keyset: &Arc<Keyset>, options: Options) -> Sample {
    let keyset = Arc::clone(keyset);
    run(1, options.slice, move |_, _| {
        let keyset = Arc::clone(&keyset);
        async move {
            for _ in 0..BATCH {
                let sealed = keyset.seal(&VALUE, b"bench:0:0");
                let opened = sealed
                    .ok()
                    .and_then(|sealed| keyset.open(&sealed, b"bench:0:0").ok());
                assert!(opened.is_some_and(|opened| opened.len() == VALUE.len()));
            }
            // Other tasks, and the clock of the benchmark, have their turn.
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Each row has keys of its own: what one contender wrote the others cannot read.
fn key(row: usize, number: usize) -> String {
    format!("bench:{row}:{}", number % KEYS)
}
