//! The body of a response that went through the middleware, and reading bodies up to a limit.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response: the service's own, untouched or partly read, or a stored one.
    pub struct ResponseBody<B> where B: Body {
        #[pin]
        form: Form<B>,
    }
}

pin_project! {
    #[project = FormProjected]
    enum Form<B> where B: Body {
        Whole { bytes: Bytes },
        Untouched { #[pin] body: B },
        // Read ahead, up to the limit or an error.
        Begun { read: VecDeque<Frame<B::Data>>, rest: Rest<B> },
    }
}

/// The rest of a body of which some was read.
pub(super) enum Rest<B: Body> {
    More(Pin<Box<B>>),
    Failed(Option<B::Error>),
}

/// The result of an attempt to read a whole response body.
pub(super) enum Read<B: Body> {
    Whole(Bytes),
    /// It is larger than the limit, or has trailers.
    NotKept(ResponseBody<B>),
    Failed(ResponseBody<B>),
}

impl<B: Body> ResponseBody<B> {
    pub(super) const fn whole(bytes: Bytes) -> Self {
        Self {
            form: Form::Whole { bytes },
        }
    }

    pub(super) const fn untouched(body: B) -> Self {
        Self {
            form: Form::Untouched { body },
        }
    }

    fn begun(read: VecDeque<Frame<B::Data>>, rest: Rest<B>) -> Self {
        Self {
            form: Form::Begun { read, rest },
        }
    }
}

/// Reads the whole `body`, if it has at most `limit` bytes. Otherwise nothing of it is lost.
pub(super) async fn read_response<B: Body<Data = Bytes>>(body: B, limit: usize) -> Read<B> {
    if is_larger(&body, limit) {
        return Read::NotKept(ResponseBody::untouched(body));
    }
    let mut body = Box::pin(body);
    let mut read = VecDeque::new();
    let mut len = 0_usize;
    loop {
        let frame = match poll_fn(|context| body.as_mut().poll_frame(context)).await {
            None => break,
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                return Read::Failed(ResponseBody::begun(read, Rest::Failed(Some(error))));
            }
        };
        // Trailers are not data, and cannot be replayed.
        let fits = frame.data_ref().is_some_and(|data| {
            len = len.saturating_add(data.len());
            len <= limit
        });
        read.push_back(frame);
        if !fits {
            return Read::NotKept(ResponseBody::begun(read, Rest::More(body)));
        }
    }
    let mut data = read.into_iter().filter_map(|frame| frame.into_data().ok());
    let first = data.next().unwrap_or_default();
    let mut whole = match data.next() {
        // One frame, the usual case: not copied.
        None => return Read::Whole(first),
        Some(second) => {
            let mut whole = BytesMut::with_capacity(len);
            whole.extend_from_slice(&first);
            whole.extend_from_slice(&second);
            whole
        }
    };
    data.for_each(|part| whole.extend_from_slice(&part));
    Read::Whole(whole.freeze())
}

/// Why a request's body was not read as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    TooLarge,
    Failed,
}

/// Reads the body of a request, of at most `limit` bytes.
pub(super) async fn read_request<B: Body>(body: B, limit: usize) -> Result<Bytes, Unread> {
    if is_larger(&body, limit) {
        return Err(Unread::TooLarge);
    }
    let mut body = std::pin::pin!(body);
    let mut whole = BytesMut::new();
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let frame = frame.map_err(|_| Unread::Failed)?;
        if let Ok(mut data) = frame.into_data() {
            if data.remaining() > limit - whole.len() {
                return Err(Unread::TooLarge);
            }
            while data.has_remaining() {
                let chunk = data.chunk();
                whole.extend_from_slice(chunk);
                let len = chunk.len();
                data.advance(len);
            }
        }
    }
    Ok(whole.freeze())
}

/// Whether the body's size hint exceeds the limit.
fn is_larger(body: &impl Body, limit: usize) -> bool {
    u64::try_from(limit).is_ok_and(|limit| body.size_hint().lower() > limit)
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Poll::Ready(match self.project().form.project() {
            FormProjected::Whole { bytes } if bytes.is_empty() => None,
            FormProjected::Whole { bytes } => Some(Ok(Frame::data(std::mem::take(bytes)))),
            FormProjected::Untouched { body } => ready!(body.poll_frame(context)),
            FormProjected::Begun { read, rest } => match (read.pop_front(), rest) {
                (Some(frame), _) => Some(Ok(frame)),
                (None, Rest::More(body)) => ready!(body.as_mut().poll_frame(context)),
                (None, Rest::Failed(error)) => error.take().map(Err),
            },
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.form {
            Form::Whole { bytes } => bytes.is_empty(),
            Form::Untouched { body } => body.is_end_stream(),
            Form::Begun { read, rest } => {
                read.is_empty()
                    && match rest {
                        Rest::More(body) => body.is_end_stream(),
                        Rest::Failed(error) => error.is_none(),
                    }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.form {
            Form::Whole { bytes } => SizeHint::with_exact(len(bytes)),
            Form::Untouched { body } => body.size_hint(),
            Form::Begun { read, rest } => {
                let ahead: u64 = read.iter().filter_map(Frame::data_ref).map(len).sum();
                let rest = match rest {
                    Rest::More(body) => body.size_hint(),
                    Rest::Failed(_) => SizeHint::default(),
                };
                let mut hint = SizeHint::new();
                hint.set_lower(rest.lower().saturating_add(ahead));
                if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(ahead)) {
                    hint.set_upper(upper);
                }
                hint
            }
        }
    }
}

fn len(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Shows the form of the body, never its bytes.
impl<B: Body> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.form {
            Form::Whole { .. } => "ResponseBody(whole)",
            Form::Untouched { .. } => "ResponseBody(untouched)",
            Form::Begun { .. } => "ResponseBody(begun)",
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    type Frames = Vec<Result<Frame<Bytes>, &'static str>>;

    fn body(frames: Frames) -> impl Body<Data = Bytes, Error = &'static str> {
        StreamBody::new(futures::stream::iter(frames))
    }

    fn data(text: &'static str) -> Result<Frame<Bytes>, &'static str> {
        Ok(Frame::data(Bytes::from(text)))
    }

    #[tokio::test]
    async fn a_body_within_the_limit_is_read_whole() {
        for (frames, whole) in [
            (vec![], ""),
            (vec![data("abc")], "abc"),
            (vec![data("ab"), data(""), data("cd"), data("e")], "abcde"),
        ] {
            let Read::Whole(bytes) = read_response(body(frames), 5).await else {
                panic!("not whole: {whole}");
            };
            assert_eq!(bytes, whole);
        }
    }

    #[tokio::test]
    async fn of_a_body_over_the_limit_nothing_is_lost() {
        let frames = vec![data("abc"), data("def"), data("ghi")];
        let Read::NotKept(begun) = read_response(body(frames), 5).await else {
            panic!("read whole");
        };
        assert_eq!(begun.size_hint().lower(), 6);
        assert_eq!(begun.collect().await.unwrap().to_bytes(), "abcdefghi");
    }

    #[tokio::test]
    async fn trailers_are_passed_on() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let frames = vec![data("abc"), Ok(Frame::trailers(trailers.clone()))];
        let Read::NotKept(begun) = read_response(body(frames), 5).await else {
            panic!("its trailers were lost");
        };
        let collected = begun.collect().await.unwrap();
        assert_eq!(collected.trailers(), Some(&trailers));
        assert_eq!(collected.to_bytes(), "abc");
    }

    #[tokio::test]
    async fn what_was_read_before_an_error_is_passed_on_with_it() {
        let Read::Failed(begun) = read_response(body(vec![data("abc"), Err("broken")]), 5).await else {
            panic!("read whole");
        };
        let mut begun = std::pin::pin!(begun);
        assert_eq!(begun.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        assert!(!begun.is_end_stream());
        assert_eq!(begun.frame().await.unwrap().unwrap_err(), "broken");
        assert!(begun.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_request_is_read_up_to_the_limit() {
        let two = || vec![data("abc"), data("de")];
        assert_eq!(read_request(body(two()), 5).await.unwrap(), "abcde");
        assert_eq!(read_request(body(two()), 4).await, Err(Unread::TooLarge));
        let broken = vec![data("abc"), Err("broken")];
        assert_eq!(read_request(body(broken), 5).await, Err(Unread::Failed));
    }
}
