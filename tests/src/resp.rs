//! A small client of the wire protocol (RESP2), by which the servers here are set up and looked at.
//!
//! Not for measuring and not for production: one command at a time, no reconnection. It is independent of
//! the product on purpose.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufStream,
};
use tokio::net::{TcpStream, UnixStream};

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A status line such as `OK`.
    Status(String),
    /// An error line, the code first.
    Error(String),
    /// An integer.
    Integer(i64),
    /// A byte string.
    Bulk(Vec<u8>),
    /// Nothing there.
    Nil,
    /// Several replies.
    Array(Vec<Reply>),
}

impl Reply {
    /// The reply as text: status, error, byte string (lossy) or integer; empty for the others.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Status(text) | Self::Error(text) => text.clone(),
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Integer(number) => number.to_string(),
            Self::Nil | Self::Array(_) => String::new(),
        }
    }

    /// The integer, where it is one.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The elements of an array; empty for every other reply.
    #[must_use]
    pub fn items(&self) -> &[Reply] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    /// The value that follows `name` in a flat list of names and values.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        self.items()
            .chunks_exact(2)
            .find(|pair| pair[0].text() == name)
            .map(|pair| pair[1].text())
    }
}

/// Both halves of a connection to a server.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection to one server.
pub struct Connection {
    stream: BufStream<Box<dyn Stream>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects over TCP to `host:port`, in plain text.
    ///
    /// # Errors
    ///
    /// When nothing listens there.
    pub async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufStream::new(Box::new(stream)),
        })
    }

    /// Connects over a Unix socket, which works whatever the server asks of the network (TLS, a proxy).
    ///
    /// # Errors
    ///
    /// When nothing listens there.
    pub async fn open_unix(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path)
            .await
            .with_context(|| format!("connect to {}", path.display()))?;
        Ok(Self {
            stream: BufStream::new(Box::new(stream)),
        })
    }

    /// Sends one command and returns its reply; an error reply is an error.
    ///
    /// # Errors
    ///
    /// When the server answers with an error, or the connection fails.
    pub async fn call<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Result<Reply> {
        match self.ask(arguments).await? {
            Reply::Error(line) => {
                bail!(
                    "{} answered {line}",
                    String::from_utf8_lossy(arguments.first().map_or(b"", AsRef::as_ref))
                )
            }
            reply => Ok(reply),
        }
    }

    /// Sends one command and returns whatever came back, an error reply included.
    ///
    /// # Errors
    ///
    /// When the connection fails or the answer is no valid protocol.
    pub async fn ask<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Result<Reply> {
        let mut frame = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            let argument = argument.as_ref();
            frame.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            frame.extend_from_slice(argument);
            frame.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&frame).await?;
        self.stream.flush().await?;
        self.read().await
    }

    async fn read(&mut self) -> Result<Reply> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).await?;
        let Some(line) = line.strip_suffix(b"\r\n") else {
            bail!("the server closed the connection")
        };
        let text = String::from_utf8_lossy(line.get(1..).unwrap_or_default()).into_owned();
        Ok(match line.first() {
            Some(b'+') => Reply::Status(text),
            Some(b'-') => Reply::Error(text),
            Some(b':') => Reply::Integer(text.parse()?),
            Some(b'$') => match usize::try_from(text.parse::<i64>()?) {
                Ok(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.stream.read_exact(&mut bytes).await?;
                    bytes.truncate(length);
                    Reply::Bulk(bytes)
                }
                Err(_) => Reply::Nil,
            },
            Some(b'*') => match usize::try_from(text.parse::<i64>()?) {
                Ok(length) => {
                    let mut items = Vec::with_capacity(length);
                    for _ in 0..length {
                        items.push(Box::pin(self.read()).await?);
                    }
                    Reply::Array(items)
                }
                Err(_) => Reply::Nil,
            },
            _ => bail!("not a reply: {text:?}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_shape_of_reply_is_read() {
        let (near, mut far) = tokio::io::duplex(1024);
        let mut connection = Connection {
            stream: BufStream::new(Box::new(near)),
        };
        far.write_all(b"*6\r\n+OK\r\n-ERR no\r\n:-7\r\n$3\r\n\r\nx\r\n$-1\r\n*0\r\n")
            .await
            .unwrap();
        let reply = connection.ask(&["PING"]).await.unwrap();
        assert_eq!(
            reply.items(),
            [
                Reply::Status("OK".into()),
                Reply::Error("ERR no".into()),
                Reply::Integer(-7),
                Reply::Bulk(b"\r\nx".to_vec()),
                Reply::Nil,
                Reply::Array(vec![]),
            ]
        );
        let mut sent = vec![0; 14];
        far.read_exact(&mut sent).await.unwrap();
        assert_eq!(sent, b"*1\r\n$4\r\nPING\r\n");
    }

    #[tokio::test]
    async fn an_error_reply_is_an_error_of_call_and_an_answer_of_ask() {
        let (near, mut far) = tokio::io::duplex(1024);
        let mut connection = Connection {
            stream: BufStream::new(Box::new(near)),
        };
        far.write_all(b"-ERR no\r\n-ERR no\r\n").await.unwrap();
        assert_eq!(
            connection.ask(&["GET"]).await.unwrap(),
            Reply::Error("ERR no".into())
        );
        assert_eq!(
            connection.call(&["GET"]).await.unwrap_err().to_string(),
            "GET answered ERR no"
        );
    }
}
