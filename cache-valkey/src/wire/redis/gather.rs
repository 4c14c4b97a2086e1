//! A stream that gathers the writes of many callers into few system calls, and records when bytes arrive.
//!
//! The driver of a connection writes as soon as it has one request. If several callers are ready, writing
//! once after all of them costs a fraction of the system calls. So the first write after a pause yields to
//! the scheduler once. With a single request in flight there is nothing to gather, and it does not yield.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::Traffic;

/// The stream.
pub(super) struct Gather<S> {
    stream: S,
    traffic: Arc<Traffic>,
    yielded: bool,
}

impl<S> Gather<S> {
    pub(super) const fn new(stream: S, traffic: Arc<Traffic>) -> Self {
        Self {
            stream,
            traffic,
            yielded: false,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.traffic.heard();
        } else if matches!(result, Poll::Ready(Ok(()))) && buf.remaining() > 0 {
            self.traffic.end();
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if !self.yielded && self.traffic.in_flight() > 1 {
            self.yielded = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, data);
        if result.is_ready() {
            self.yielded = false;
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn write_yields_once_with_several_requests_in_flight() {
        let traffic = Arc::new(Traffic::default());
        let mut gather = Gather::new(Vec::new(), Arc::clone(&traffic));
        let mut cx = Context::from_waker(Waker::noop());
        let mut write = |gather: &mut Gather<Vec<u8>>| Pin::new(gather).poll_write(&mut cx, b"x").is_ready();

        let _alone = traffic.enter();
        assert!(write(&mut gather), "a lone request must not wait");
        let _other = traffic.enter();
        assert!(!write(&mut gather), "the first write must let others join");
        assert!(write(&mut gather), "the second must go out");
        assert!(!write(&mut gather));
    }

    #[tokio::test]
    async fn read_with_bytes_is_recorded() {
        let (mut far, near) = tokio::io::duplex(16);
        let traffic = Arc::new(Traffic::default());
        let mut gather = Gather::new(near, Arc::clone(&traffic));
        assert_eq!(traffic.reads(), 0);
        drop(traffic.enter());
        assert!(traffic.is_abandoned());
        far.write_all(b"+OK").await.unwrap();
        tokio::io::AsyncReadExt::read_exact(&mut gather, &mut [0; 3])
            .await
            .unwrap();
        assert_eq!(traffic.reads(), 1);
        assert!(!traffic.is_abandoned());
        traffic.enter().answered();
        assert!(!traffic.is_abandoned());
    }
}
