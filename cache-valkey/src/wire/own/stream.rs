//! The streams that the wire runs over: TCP, and TLS over TCP.
//!
//! Any task can write to a TCP socket, so a caller that is alone on its connection writes its request itself:
//! that makes a single task a fifth faster. TLS has state, so only the connection's task writes to it.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::client::TlsStream;

use super::outgoing::{Outgoing, PIECES};

/// An open stream to a server.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// In memory, for tests.
    #[cfg(any(test, fuzzing))]
    Memory(tokio::io::DuplexStream),
}

/// Writes directly to the socket, without the connection's task.
pub(super) struct Direct(Arc<OwnedWriteHalf>);

impl Direct {
    /// Writes as much as the socket takes now, and returns how much. The connection's task will see any
    /// error.
    pub(super) fn try_write(&self, out: &Outgoing) -> usize {
        let written = match out.as_one_piece() {
            Some(bytes) => self.0.try_write(bytes),
            None => {
                let mut pieces = [IoSlice::new(&[]); PIECES];
                let count = out.first_pieces(&mut pieces);
                self.0.try_write_vectored(&pieces[..count])
            }
        };
        written.unwrap_or_default()
    }

    /// Closes the connection, however many references exist.
    pub(super) fn shut_down(&self) {
        let stream: &TcpStream = self.0.as_ref().as_ref();
        // It may be closed already.
        drop(SockRef::from(stream).shutdown(Shutdown::Both));
    }
}

impl Stream {
    pub(super) fn split(self) -> (Reader, Writer, Option<Direct>) {
        match self {
            Self::Tcp(stream) => {
                let (reader, writer) = stream.into_split();
                let writer = Arc::new(writer);
                let direct = Direct(Arc::clone(&writer));
                (Reader::Tcp(reader), Writer::Tcp(writer), Some(direct))
            }
            Self::Tls(stream) => {
                let (reader, writer) = tokio::io::split(*stream);
                (Reader::Tls(reader), Writer::Tls(writer), None)
            }
            #[cfg(any(test, fuzzing))]
            Self::Memory(stream) => {
                let (reader, writer) = tokio::io::split(stream);
                (Reader::Memory(reader), Writer::Memory(writer), None)
            }
        }
    }
}

/// The read half.
pub(super) enum Reader {
    Tcp(OwnedReadHalf),
    Tls(tokio::io::ReadHalf<TlsStream<TcpStream>>),
    #[cfg(any(test, fuzzing))]
    Memory(tokio::io::ReadHalf<tokio::io::DuplexStream>),
}

impl AsyncRead for Reader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(reader) => Pin::new(reader).poll_read(cx, buf),
            Self::Tls(reader) => Pin::new(reader).poll_read(cx, buf),
            #[cfg(any(test, fuzzing))]
            Self::Memory(reader) => Pin::new(reader).poll_read(cx, buf),
        }
    }
}

/// The write half.
pub(super) enum Writer {
    Tcp(Arc<OwnedWriteHalf>),
    Tls(tokio::io::WriteHalf<TlsStream<TcpStream>>),
    #[cfg(any(test, fuzzing))]
    Memory(tokio::io::WriteHalf<tokio::io::DuplexStream>),
}

/// Calls `write` as soon as the socket is ready.
fn write_tcp(
    writer: &OwnedWriteHalf,
    cx: &mut Context<'_>,
    write: impl Fn(&OwnedWriteHalf) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        match write(writer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let stream: &TcpStream = writer.as_ref();
                ready!(stream.poll_write_ready(cx))?;
            }
            result => return Poll::Ready(result),
        }
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(writer) => write_tcp(writer, cx, |writer| writer.try_write(bytes)),
            Self::Tls(writer) => Pin::new(writer).poll_write(cx, bytes),
            #[cfg(any(test, fuzzing))]
            Self::Memory(writer) => Pin::new(writer).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(writer) => write_tcp(writer, cx, |writer| writer.try_write_vectored(pieces)),
            Self::Tls(writer) => Pin::new(writer).poll_write_vectored(cx, pieces),
            #[cfg(any(test, fuzzing))]
            Self::Memory(writer) => Pin::new(writer).poll_write_vectored(cx, pieces),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Tls(writer) => Pin::new(writer).poll_flush(cx),
            #[cfg(any(test, fuzzing))]
            Self::Memory(writer) => Pin::new(writer).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // Closed when the last holder drops it.
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Tls(writer) => Pin::new(writer).poll_shutdown(cx),
            #[cfg(any(test, fuzzing))]
            Self::Memory(writer) => Pin::new(writer).poll_shutdown(cx),
        }
    }
}
