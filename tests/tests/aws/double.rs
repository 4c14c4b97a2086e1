//! An HTTP server that answers as the test says: for what no emulator shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What a request is answered with.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A status and a body.
    Body(u16, String),
    /// Nothing, and the connection stays open.
    Never,
    /// Nothing, and the connection ends.
    Hangup,
}

impl Answer {
    /// The error `code` of the JSON protocol.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::Body(
            status,
            format!("{{\"__type\": \"{code}\", \"message\": \"{message}\"}}"),
        )
    }
}

/// A server on a free loopback port, stopped when it is dropped.
#[derive(Debug)]
pub(crate) struct Double {
    url: String,
    asked: Arc<AtomicUsize>,
    serving: AbortHandle,
}

impl Double {
    /// Answers every request with what `answer` makes of its head and body.
    pub(crate) async fn start<F>(answer: F) -> Result<Self>
    where
        F: Fn(&str) -> Answer + Send + Sync + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let asked = Arc::new(AtomicUsize::new(0));
        let (answer, count) = (Arc::new(answer), Arc::clone(&asked));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
                tokio::spawn(async move {
                    let _ = serve(stream, &*answer, &count).await;
                });
            }
        });
        Ok(Self {
            url,
            asked,
            serving: serving.abort_handle(),
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// How many requests have come.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: &(dyn Fn(&str) -> Answer + Send + Sync),
    count: &AtomicUsize,
) -> Result<()> {
    let mut request = Vec::new();
    while !is_complete(&request) {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    count.fetch_add(1, Ordering::SeqCst);
    match answer(&String::from_utf8_lossy(&request)) {
        Answer::Body(status, body) => {
            let head = format!(
                "HTTP/1.1 {status} Because\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(body.as_bytes()).await?;
        }
        Answer::Never => {
            // Until the client gives up.
            while stream.read_buf(&mut request).await? > 0 {}
        }
        Answer::Hangup => {}
    }
    Ok(())
}

fn is_complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0);
    body.len() >= length
}
