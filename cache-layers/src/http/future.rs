//! The future of the middleware. It is boxed only if there is something to wait for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::body::ResponseBody;

type Boxed<R, E> = Pin<Box<dyn Future<Output = Result<Response<ResponseBody<R>>, E>> + Send>>;

pin_project! {
    /// The future of the services of this module.
    pub struct ResponseFuture<F, R, E> where R: Body {
        #[pin]
        way: Way<F, R, E>,
    }
}

pin_project! {
    #[project = WayProjected]
    enum Way<F, R, E> where R: Body {
        Passed { #[pin] future: F },
        Refused { response: Option<Response<ResponseBody<R>>> },
        Boxed { future: Boxed<R, E> },
    }
}

impl<F, R: Body, E> ResponseFuture<F, R, E> {
    /// Passes the request on as if the middleware did not exist.
    pub(super) const fn passed(future: F) -> Self {
        Self {
            way: Way::Passed { future },
        }
    }

    pub(super) const fn refused(response: Response<ResponseBody<R>>) -> Self {
        Self {
            way: Way::Refused {
                response: Some(response),
            },
        }
    }

    pub(super) fn boxed(future: Boxed<R, E>) -> Self {
        Self {
            way: Way::Boxed { future },
        }
    }
}

impl<F, R, E> Future for ResponseFuture<F, R, E>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().way.project() {
            WayProjected::Passed { future } => {
                let response = ready!(future.poll(context))?;
                Poll::Ready(Ok(response.map(ResponseBody::untouched)))
            }
            // Polled again after it was ready, which is not allowed. It then never becomes ready.
            WayProjected::Refused { response } => response
                .take()
                .map_or(Poll::Pending, |response| Poll::Ready(Ok(response))),
            WayProjected::Boxed { future } => future.as_mut().poll(context),
        }
    }
}

impl<F, R: Body, E> fmt::Debug for ResponseFuture<F, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
