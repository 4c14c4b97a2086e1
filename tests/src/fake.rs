//! A server that answers what the test wants: refusals that a real one gives rarely, broken protocol, or
//! nothing at all.
//!
//! It shakes hands as Valkey does (`HELLO`, `CLIENT`, `SELECT`, `READONLY` and `PING` are answered as one
//! would expect) and leaves every other command to the test. It stores nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What a server of Valkey's kind says of itself.
const GREETING: &[u8] = b"%4\r\n$6\r\nserver\r\n$6\r\nvalkey\r\n$7\r\nversion\r\n$5\r\n8.1.0\r\n\
    $5\r\nproto\r\n:3\r\n$4\r\nrole\r\n$6\r\nmaster\r\n";

/// What comes back to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These bytes, whatever they are.
    Bytes(Vec<u8>),
    /// These bytes, then the end of the connection.
    Last(Vec<u8>),
    /// Nothing, ever; the connection stays.
    Silence,
}

impl Answer {
    /// A refusal, the code first: `LOADING not yet`.
    #[must_use]
    pub fn refusal(line: &str) -> Self {
        Self::Bytes(format!("-{line}\r\n").into_bytes())
    }

    /// A byte string.
    #[must_use]
    pub fn value(value: &str) -> Self {
        Self::Bytes(format!("${}\r\n{value}\r\n", value.len()).into_bytes())
    }

    /// `OK`.
    #[must_use]
    pub fn ok() -> Self {
        Self::Bytes(b"+OK\r\n".to_vec())
    }
}

/// One command as it arrived, in the order of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The connection it came on: 0 is the first that was accepted.
    pub connection: usize,
    /// How many commands the test has answered before, over all connections.
    pub turn: usize,
    /// Name and arguments, lossy.
    pub words: Vec<String>,
}

/// A running fake. Dropping it closes the port and all connections.
#[derive(Debug)]
pub struct FakeServer {
    address: SocketAddr,
    counts: Arc<Counts>,
    listener: AbortHandle,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicUsize,
    asked: AtomicUsize,
}

impl FakeServer {
    /// Opens a port on `127.0.0.1` where each command is answered as `script` says.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn start<F>(script: F) -> Result<Self>
    where
        F: Fn(&Asked) -> Answer + Send + Sync + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let counts = Arc::new(Counts::default());
        let (script, shared) = (Arc::new(script), Arc::clone(&counts));
        let task = tokio::spawn(async move {
            // The connections live in here, so that they end with the listener.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let connection = shared.accepted.fetch_add(1, Ordering::Relaxed);
                let (script, shared) = (Arc::clone(&script), Arc::clone(&shared));
                connections.spawn(async move {
                    // It ends when either side does; why makes no difference here.
                    let _ = serve(stream, connection, &shared, &*script).await;
                });
            }
        });
        Ok(Self {
            address,
            counts,
            listener: task.abort_handle(),
        })
    }

    /// `host:port` for clients.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Connections accepted since the start.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::Relaxed)
    }

    /// Commands answered by the script since the start.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.counts.asked.load(Ordering::Relaxed)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn serve(
    stream: TcpStream,
    connection: usize,
    counts: &Counts,
    script: &(impl Fn(&Asked) -> Answer + Send + Sync),
) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufStream::new(stream);
    loop {
        let words = read(&mut stream).await?;
        let answer = match words.first().map(String::as_str) {
            Some("HELLO") => Answer::Bytes(GREETING.to_vec()),
            Some("CLIENT" | "SELECT" | "READONLY") => Answer::ok(),
            Some("PING") => Answer::Bytes(b"+PONG\r\n".to_vec()),
            _ => {
                let turn = counts.asked.fetch_add(1, Ordering::Relaxed);
                script(&Asked {
                    connection,
                    turn,
                    words,
                })
            }
        };
        match answer {
            Answer::Bytes(bytes) => stream.write_all(&bytes).await?,
            Answer::Silence => {}
            Answer::Last(bytes) => {
                stream.write_all(&bytes).await?;
                stream.shutdown().await?;
                return Ok(());
            }
        }
        stream.flush().await?;
    }
}

/// One command: an array of byte strings.
async fn read(stream: &mut BufStream<TcpStream>) -> Result<Vec<String>> {
    let count = length(stream, '*').await?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let mut bytes = vec![0; length(stream, '$').await? + 2];
        stream.read_exact(&mut bytes).await?;
        bytes.truncate(bytes.len() - 2);
        words.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    Ok(words)
}

async fn length(stream: &mut BufStream<TcpStream>, mark: char) -> Result<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let Some(digits) = line.trim_end().strip_prefix(mark) else {
        bail!("not a command: {line:?}")
    };
    digits.parse().context("not a length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Connection;

    #[tokio::test]
    async fn it_shakes_hands_and_leaves_the_rest_to_the_script() {
        let fake = FakeServer::start(|asked| match asked.words[0].as_str() {
            "GET" => Answer::value(&asked.turn.to_string()),
            _ => Answer::Last(b"-ERR no\r\n".to_vec()),
        })
        .await
        .unwrap();
        let mut client = Connection::open(&fake.address()).await.unwrap();
        assert_eq!(client.call(&["PING"]).await.unwrap().text(), "PONG");
        assert_eq!(client.call(&["GET", "a"]).await.unwrap().text(), "0");
        assert_eq!(client.call(&["GET", "a"]).await.unwrap().text(), "1");
        assert!(client.call(&["DEL", "a"]).await.is_err());
        assert!(client.call(&["GET", "a"]).await.is_err());
        assert_eq!((fake.accepted(), fake.asked()), (1, 3));
    }
}
