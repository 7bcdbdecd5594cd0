//! Writes each request that changes something, or tries to, to the audit log.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;

use crate::addresses::PeerText;
use crate::http::api::access::Peer;
use crate::http::api::caller::{self, Caller, Need};
use crate::http::request_id;
use crate::telemetry::audit::{AuditLog, Change};

/// Answers a request, and writes its line if it asks for a change.
pub async fn audit(State(log): State<AuditLog>, request: Request, next: Next) -> Response {
    let path = caller::decoded(request.uri().path());
    let need = Need::of(request.method(), &path);
    let changes = matches!(need, Need::Change | Need::ChangeOf(_) | Need::Admin)
        && !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !changes {
        return next.run(request).await;
    }
    let what = format!("{} {}", request.method(), request.uri().path());
    let from = request.extensions().get::<Peer>().map(|Peer(peer)| PeerText(*peer).to_string());
    let id = request.headers().get(request_id::HEADER).map_or("", request_id::text).to_owned();
    let response = next.run(request).await;
    // Without a valid token everyone could fill the log, and wrong ones are counted.
    let Some(caller) = response.extensions().get::<Caller>() else { return response };
    log.write(&Change {
        who: &caller.name,
        from: from.as_deref().unwrap_or_default(),
        what: &what,
        deployment: caller.changes(),
        outcome: response.status().as_str(),
        request_id: &id,
    });
    response
}
