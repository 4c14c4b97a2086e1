//! A pipeline of which each command has its own result, on a connection that is lost or falls silent midway.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use cache_core::{CacheClient as _, CacheError, Ttl};
use cache_valkey::ValkeyClient;
use tests::{Answer, FakeServer};

use crate::setup::single;

const COUNT: usize = 10;

fn keys() -> Vec<String> {
    (0..COUNT).map(|number| format!("each:{number}")).collect()
}

#[tokio::test]
async fn only_commands_without_a_reply_are_sent_again_after_a_lost_connection() -> Result<()> {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let note = Arc::clone(&asked);
    let fake = FakeServer::start(move |command| {
        let mut asked = note.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(command.words[1].clone());
        match (command.turn, command.words[0].as_str()) {
            (3, _) => Answer::Last(Vec::new()),
            (_, "GET") => Answer::value(&command.words[1]),
            _ => Answer::ok(),
        }
    })
    .await?;
    let client = ValkeyClient::connect(&single(&fake.address())?).await?;
    let keys = keys();
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    for (key, result) in keys.iter().zip(client.get_each(&names).await) {
        ensure!(result? == key.as_bytes(), "{key}");
    }
    let expected: Vec<String> = keys[..4].iter().chain(&keys[3..]).cloned().collect();
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ensure!(asked == expected, "{asked:?}");
    Ok(())
}

#[tokio::test]
async fn replies_that_came_in_time_stay_when_the_rest_is_late() -> Result<()> {
    let fake = FakeServer::start(|command| match (command.turn, command.words[0].as_str()) {
        (3.., _) => Answer::Silence,
        (_, "GET") => Answer::value(&command.words[1]),
        _ => Answer::ok(),
    })
    .await?;
    let mut config = single(&fake.address())?;
    config.read_timeout = Duration::from_millis(500);
    let client = ValkeyClient::connect(&config).await?;
    let keys = keys();
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    for (number, result) in client.get_each(&names).await.into_iter().enumerate() {
        match number {
            0..3 => ensure!(result? == names[number].as_bytes(), "{number}"),
            _ => ensure!(
                result.as_ref().is_err_and(CacheError::is_transient),
                "{number}: {result:?}"
            ),
        }
    }
    Ok(())
}

#[tokio::test]
async fn refusal_of_one_entry_is_not_that_of_the_others() -> Result<()> {
    let fake = FakeServer::start(|command| match command.words[1].as_str() {
        "each:4" => Answer::refusal("OOM command not allowed when used memory > 'maxmemory'."),
        _ => Answer::ok(),
    })
    .await?;
    let client = ValkeyClient::connect(&single(&fake.address())?).await?;
    let keys = keys();
    let entries: Vec<(&str, Bytes, Ttl)> = keys
        .iter()
        .map(|key| (key.as_str(), Bytes::from_static(b"value"), Ttl::Forever))
        .collect();
    for (number, result) in client.set_each(&entries).await.into_iter().enumerate() {
        match number {
            4 => ensure!(matches!(result, Err(CacheError::Rejected { .. })), "{result:?}"),
            _ => result?,
        }
    }
    ensure!(fake.asked() == COUNT, "nothing is sent again");
    Ok(())
}
