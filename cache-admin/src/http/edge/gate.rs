//! Who asks: nobody gets past here unknown, or too often.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::origin::{check_host, check_origin};
use super::outermost::AskedBy;
use crate::access::{Actor, Refused, bearer};
use crate::http::listener::{Peer, Standing};
use crate::http::problem::{Kind, Problem};
use crate::http::service::Service;
use crate::jobs::{AuditAction, AuditRecord, Who};

/// Refuses what a browser was tricked into. For every route, those included that need no authentication.
pub(crate) async fn identify(State(service): State<Service>, request: Request, next: Next) -> Response {
    let (uri, headers) = (request.uri(), request.headers());
    let vouched = request.extensions().get::<Actor>().is_some();
    // Whom the service around this router vouches for may well be known by a cookie, which a browser sends along.
    let ambient = vouched || peer(&request).is_some_and(|peer| peer.certificate.is_some());
    let open = service.access().is_open() && !vouched;
    let refused = if open {
        check_host(uri, headers).and_then(|()| check_origin(uri, headers))
    } else if ambient {
        check_origin(uri, headers)
    } else {
        Ok(())
    };
    match refused {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Lets in whom it knows, as often as they may.
pub(crate) async fn gate(State(service): State<Service>, mut request: Request, next: Next) -> Response {
    let actor = match actor(&service, &request) {
        Ok(actor) => actor,
        Err(refused) => {
            let from = peer(&request).map(|peer| peer.client().to_string());
            return match service
                .limiter()
                .failure(from.as_deref().unwrap_or_default())
                .await
            {
                Ok(()) => {
                    let who = Who::new("unknown");
                    let who = from.iter().fold(who, |who, from| who.with_from(from));
                    let record = AuditRecord::new(&who, AuditAction::Login).result("refused");
                    noted(&service, about(&request, record).because(&refused.to_string())).await;
                    unauthorized(refused).into_response()
                }
                Err(limited) => limited.into_response(),
            };
        }
    };
    let mut response = match service.limiter().request(actor.name()).await {
        Ok(()) => {
            if let Some(standing) = request.extensions().get::<Standing>() {
                standing.trust();
            }
            let from = peer(&request).map(|peer| peer.client().to_string());
            let who = from.into_iter().fold(Who::new(actor.name()), Who::with_from);
            let record = about(
                &request,
                AuditRecord::new(&who, AuditAction::Request).result("refused"),
            );
            request.extensions_mut().insert(actor.clone());
            let response = next.run(request).await;
            if response.status() == StatusCode::FORBIDDEN {
                noted(&service, record).await;
            }
            response
        }
        Err(limited) => limited.into_response(),
    };
    response.extensions_mut().insert(AskedBy(actor));
    response
}

/// What was asked for: the method and the path, no query.
fn about(request: &Request, record: AuditRecord) -> AuditRecord {
    record
        .on("method", request.method().as_str())
        .on("path", request.uri().path())
}

/// Writes down a refusal, which is one whether or not it can be written down.
async fn noted(service: &Service, record: AuditRecord) {
    if let Some(audit) = service.jobs().audit()
        && let Err(error) = audit.record(record).await
    {
        tracing::error!("a refusal is missing in the audit log: {error}");
    }
}

/// Who it is: whom the service around this router vouches for, else whom the token or the certificate names.
fn actor(service: &Service, request: &Request) -> Result<Actor, Refused> {
    if let Some(actor) = request.extensions().get::<Actor>() {
        return Ok(actor.clone());
    }
    let mut headers = request.headers().get_all(header::AUTHORIZATION).iter();
    let token = match (headers.next(), headers.next()) {
        (None, _) => None,
        (Some(header), None) => Some(bearer(header.as_bytes())?),
        (Some(_), Some(_)) => return Err(Refused::Malformed),
    };
    let certificate = peer(request).and_then(|peer| peer.certificate.as_ref());
    service.access().authenticate(token, certificate)
}

/// The other end of the connection, where the listener is ours.
fn peer(request: &Request) -> Option<&Peer> {
    request.extensions().get::<Peer>()
}

fn unauthorized(refused: Refused) -> Problem {
    let challenge = match refused {
        Refused::Missing => "Bearer realm=\"cache-admin\"",
        Refused::Malformed => "Bearer realm=\"cache-admin\", error=\"invalid_request\"",
        _ => "Bearer realm=\"cache-admin\", error=\"invalid_token\"",
    };
    Problem::new(Kind::Unauthorized, refused.to_string())
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}
