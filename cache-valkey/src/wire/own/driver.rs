//! The task of one connection: reads, delivers replies and pushes, writes, and checks deadlines.
//!
//! Before it writes, it yields to other tasks once, so that the requests of many callers become one system
//! call. That is the main gain of this wire.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};

use bytes::BufMut;
use cache_core::clock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::Sleep;

use super::outgoing::{Outgoing, PIECES};
use super::parse::{Message, Parser};
use super::shared::{End, Shared};
use crate::reply::Reply;
use crate::wire::Events;

/// Reads in a row before the driver turns to writing.
const READS: u32 = 16;

/// How many replies are delivered under one lock, while callers wait for it.
const AT_ONCE: usize = 32;

pub(super) struct Driver<R, W> {
    shared: Arc<Shared>,
    events: Arc<dyn Events>,
    reader: R,
    writer: W,
    parser: Parser,
    /// What is being written.
    out: Outgoing,
    is_flushed: bool,
    /// Whether the stream has accepted no bytes since the last attempt.
    is_blocked: bool,
    /// Replies that were read but not delivered.
    replies: Vec<Reply>,
    wakers: Vec<Waker>,
    /// Whether the driver has yielded since the last write.
    has_yielded: bool,
    sleep: Pin<Box<Sleep>>,
    is_armed: bool,
}

/// What the driver does next.
enum Turn {
    /// Yield to other tasks.
    Yield,
    End(End),
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Driver<R, W> {
    pub(super) fn new(shared: Arc<Shared>, events: Arc<dyn Events>, reader: R, writer: W) -> Self {
        Self {
            shared,
            events,
            reader,
            writer,
            parser: Parser::default(),
            out: Outgoing::default(),
            is_flushed: true,
            is_blocked: false,
            replies: Vec::new(),
            wakers: Vec::new(),
            has_yielded: false,
            sleep: Box::pin(tokio::time::sleep_until(clock::now())),
            is_armed: false,
        }
    }

    /// Drives the connection until it ends.
    pub(super) async fn run(mut self) {
        loop {
            match poll_fn(|cx| self.poll(cx)).await {
                Turn::Yield => tokio::task::yield_now().await,
                Turn::End(end) => return self.shared.end(end),
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        self.shared.turns.fetch_add(1, Ordering::Relaxed);
        loop {
            let read = self.poll_read(cx);
            if let Poll::Ready(Err(end)) = read {
                return Poll::Ready(Turn::End(end));
            }
            match self.poll_write(cx) {
                Poll::Ready(Err(end)) => return Poll::Ready(Turn::End(end)),
                Poll::Ready(Ok(())) => {
                    self.has_yielded = true;
                    return Poll::Ready(Turn::Yield);
                }
                Poll::Pending => {}
            }
            self.poll_deadlines(cx);
            if read.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Reads and delivers what has arrived. Ready if there may be more.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        for _ in 0..READS {
            let (buffer, room) = self.parser.space();
            let mut limited = (&mut *buffer).limit(room);
            let read = pin!(self.reader.read_buf(&mut limited)).poll(cx);
            match ready!(read) {
                Ok(0) => return Poll::Ready(Err(End::Peer)),
                Err(error) => return Poll::Ready(Err(End::Io(Arc::new(error)))),
                Ok(read) => self.hand_over(read)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Delivers the messages that `read` more bytes complete.
    fn hand_over(&mut self, read: usize) -> Result<(), End> {
        self.shared.traffic.heard();
        self.parser.filled(read);
        let result = loop {
            match self.parser.next() {
                Ok(None) => break Ok(()),
                Ok(Some(Message::Reply(reply))) => self.replies.push(reply),
                Ok(Some(Message::Push(push))) => {
                    self.complete()?;
                    self.push(push);
                }
                Err(error) => break Err(End::Protocol(error)),
            }
        };
        self.shared.traffic.set_arriving(self.parser.missing());
        // Replies before the error are valid.
        self.complete()?;
        result
    }

    /// Puts replies into their slots and wakes their callers.
    fn complete(&mut self) -> Result<(), End> {
        if self.replies.is_empty() {
            return Ok(());
        }
        let replies_at_once = self.replies.len();
        let mut replies = self.replies.drain(..);
        while replies.len() > 0 {
            let mut unexpected = None;
            {
                let calls = &mut self.shared.state().calls;
                let mut answered = 0;
                for reply in replies.by_ref().take(AT_ONCE) {
                    match calls.complete(reply, &mut self.wakers) {
                        Ok(is_answer) => answered += u64::from(is_answer),
                        Err(reply) => {
                            unexpected = Some(reply);
                            break;
                        }
                    }
                }
                calls.note_replies_at_once(replies_at_once);
                self.shared.traffic.answered(answered);
                calls.report(&self.shared.traffic);
            }
            self.wakers.drain(..).for_each(Waker::wake);
            match unexpected {
                None => {}
                // A server may send the reason before it hangs up, without a request.
                Some(Reply::Error(error)) => return Err(End::ServerError(*error)),
                Some(_) => return Err(End::UnexpectedReply),
            }
        }
        Ok(())
    }

    fn push(&mut self, mut push: Vec<Reply>) {
        if push.is_empty() {
            return;
        }
        let kind = push.remove(0);
        let kind = kind.as_text().unwrap_or_default();
        let subscribed = kind == "subscribe" && self.shared.state().calls.awaits_subscription();
        if subscribed {
            self.replies.push(Reply::Nil);
            // A caller waits for it.
            drop(self.complete());
        } else {
            self.events.on_push(kind, push);
        }
    }

    /// Writes what is encoded. Ready if the driver should yield first.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        loop {
            if self.out.is_empty() {
                if !self.is_flushed {
                    if let Err(error) = ready!(Pin::new(&mut self.writer).poll_flush(cx)) {
                        return Poll::Ready(Err(End::Io(Arc::new(error))));
                    }
                    self.is_flushed = true;
                }
                let mut state = self.shared.state();
                if !state.calls.has_encoded() {
                    Shared::park(&mut state, cx.waker());
                    return Poll::Pending;
                }
                if state.calls.expects_more() && !self.has_yielded {
                    return Poll::Ready(Ok(()));
                }
                self.has_yielded = false;
                state.calls.take_encoded(&mut self.out);
            }
            let written = write(&mut self.writer, &self.out, cx);
            if written.is_pending() {
                self.is_blocked = true;
            }
            match ready!(written) {
                Ok(0) => return Poll::Ready(Err(End::Io(Arc::new(io::ErrorKind::WriteZero.into())))),
                Ok(written) => {
                    self.out.advance(written);
                    self.is_flushed = false;
                    // Bytes that fit into the socket's buffer do not prove that the peer is alive.
                    if std::mem::take(&mut self.is_blocked) {
                        self.shared.traffic.wrote();
                    }
                    let calls = &mut self.shared.state().calls;
                    calls.written(written, self.out.is_empty());
                    calls.report(&self.shared.traffic);
                }
                Err(error) => return Poll::Ready(Err(End::Io(Arc::new(error)))),
            }
        }
    }

    /// Times out calls whose deadlines have passed.
    fn poll_deadlines(&mut self, cx: &mut Context<'_>) {
        loop {
            let Some(at) = self.shared.state().calls.sweep_at() else {
                return;
            };
            if !self.is_armed || self.sleep.deadline() != at {
                self.sleep.as_mut().reset(at);
                self.is_armed = true;
            }
            if self.sleep.as_mut().poll(cx).is_pending() {
                return;
            }
            self.is_armed = false;
            {
                let calls = &mut self.shared.state().calls;
                calls.sweep(clock::now(), &mut self.wakers);
                calls.report(&self.shared.traffic);
            }
            self.wakers.drain(..).for_each(Waker::wake);
        }
    }
}

impl<R, W> Drop for Driver<R, W> {
    /// Runs however the task ended: by an error, by its owner, or with its runtime.
    fn drop(&mut self) {
        self.shared.end(End::Dropped);
        self.events.on_closed();
    }
}

fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    out: &Outgoing,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let writer = Pin::new(writer);
    if let Some(bytes) = out.as_one_piece() {
        return writer.poll_write(cx, bytes);
    }
    let mut pieces = [IoSlice::new(&[]); PIECES];
    let count = out.first_pieces(&mut pieces);
    writer.poll_write_vectored(cx, &pieces[..count])
}
