use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cache_core::config::{Startup, Topology, ValkeyConfig};
use cache_core::credentials::FixedCredentials;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::connect::{DialOptions, connect};
use crate::resolve::SystemResolver;
use crate::router::Router;
use crate::tracking::{Feed, Tracking};
use crate::wire::Wire;

const COMMANDS: usize = 5_000;

/// Replies to a client, or hangs up where the script says `None`.
type Script = dyn Fn(&[String]) -> Option<String> + Send + Sync;

async fn command(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for _ in 0..length(stream).await? {
        let mut word = vec![0; length(stream).await? + 2];
        stream.read_exact(&mut word).await.ok()?;
        words.push(String::from_utf8_lossy(&word[..word.len() - 2]).into_owned());
    }
    Some(words)
}

async fn length(stream: &mut BufReader<TcpStream>) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.trim_end().get(1..)?.parse().ok()
}

/// A cluster of one node, which answers keys as the script says.
async fn cluster(script: Arc<Script>) -> Arc<Cluster> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let script = Arc::clone(&script);
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut replies = String::new();
                while let Some(words) = command(&mut stream).await {
                    let reply = match words[0].as_str() {
                        "HELLO" => Some("%1\r\n+version\r\n+8.0.0\r\n".to_owned()),
                        "CLUSTER" if words[1] == "SLOTS" => Some(format!(
                            "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:{port}\r\n"
                        )),
                        "CLUSTER" => Some("+cluster_current_epoch:1\r\n".to_owned()),
                        "SET" | "GET" => script(&words),
                        _ => Some("+OK\r\n".to_owned()),
                    };
                    let Some(reply) = reply else { return };
                    replies.push_str(&reply);
                    if stream.buffer().is_empty() {
                        let sent = stream.write_all(std::mem::take(&mut replies).as_bytes()).await;
                        if sent.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    let config = ValkeyConfig::new(Topology::cluster([Address::new("127.0.0.1", port)]));
    let dialing = DialOptions {
        credentials: Arc::new(FixedCredentials::new(None)),
        resolve: Arc::new(SystemResolver),
        feed: Feed::new(Tracking::Off),
        wire: Wire::Own,
        idle: Duration::MAX,
    };
    match connect(&config, dialing, Startup::Fail).await.unwrap() {
        (Router::Cluster(cluster), _) => cluster,
        other => panic!("{other:?}"),
    }
}

/// How many calls the connection in use has had an answer to; a batch is a few.
fn calls(cluster: &Cluster) -> u64 {
    let node = &cluster.primaries()[0];
    let link = node.ready_link(cache_core::clock::now()).unwrap();
    link.connection.traffic().answers()
}

fn sets(keys: &[String]) -> Vec<Command<'_>> {
    let set = |key| Command::write("SET").key(str::as_bytes(key)).arg("value");
    keys.iter().map(|key| set(key)).collect()
}

#[tokio::test]
async fn lost_batch_is_repeated_as_a_batch() {
    let seen = Arc::new(AtomicUsize::new(0));
    let cluster = {
        let seen = Arc::clone(&seen);
        // The first connection is lost in the middle of the batch.
        let script = move |_: &[String]| {
            let count = seen.fetch_add(1, Ordering::Relaxed);
            (count != COMMANDS / 2).then(|| "+OK\r\n".to_owned())
        };
        cluster(Arc::new(script)).await
    };
    let keys: Vec<_> = (0..COMMANDS).map(|number| format!("key:{number}")).collect();
    let deadline = Deadline::after(Duration::from_secs(30));
    let replies = cluster.send_batch(&sets(&keys), deadline).await.unwrap();
    assert!(replies.iter().all(|reply| *reply == Reply::Status("OK".into())));
    assert_eq!(replies.len(), COMMANDS);
    // What was answered before the loss stays as it was.
    let most = COMMANDS / 2 + 1 + COMMANDS;
    assert!((COMMANDS + 1..=most).contains(&seen.load(Ordering::Relaxed)));
    let calls = calls(&cluster);
    assert!(calls < 100, "{calls} calls for {COMMANDS} commands");
}

#[tokio::test]
async fn refused_commands_are_repeated_with_later_ones_of_their_keys() {
    let log: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let cluster = {
        let log = Arc::clone(&log);
        // Of the first ten commands every third is refused for now.
        let script = move |words: &[String]| {
            let mut log = log.lock().unwrap();
            log.push(words[1..].join("="));
            let refused = log.len() <= 10 && log.len() % 3 == 1;
            Some(if refused { "-TRYAGAIN later\r\n" } else { "+OK\r\n" }.to_owned())
        };
        cluster(Arc::new(script)).await
    };
    // a is refused at its first and stored at its second write; b is not refused, c is at its last.
    let writes = [("a", "1"), ("b", "1"), ("a", "2"), ("c", "1"), ("b", "2")];
    let set =
        |(key, value): &(&'static str, &'static str)| Command::write("SET").key(key.as_bytes()).arg(*value);
    let commands: Vec<_> = writes.iter().map(set).collect();
    let deadline = Deadline::after(Duration::from_secs(30));
    let replies = cluster.send_batch(&commands, deadline).await.unwrap();
    assert!(replies.iter().all(|reply| *reply == Reply::Status("OK".into())));
    let log = log.lock().unwrap().clone();
    assert_eq!(log[..5], ["a=1", "b=1", "a=2", "c=1", "b=2"]);
    let last = |key: &str| log.iter().rfind(|write| write.starts_with(key)).cloned();
    assert_eq!(last("a").unwrap(), "a=2");
    assert_eq!(last("b").unwrap(), "b=2");
    let again: Vec<_> = log[5..].iter().filter(|write| write.starts_with('b')).collect();
    assert!(again.is_empty(), "what was done is not repeated: {log:?}");
}
