//! Answers to changes of deployments, which may take minutes: the result alone, or events as it goes on.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http::header::{ACCEPT, HeaderMap, USER_AGENT};
use serde_json::{Value, json};

use crate::gateway::deploy_error::DeployError;
use crate::gateway::deployer::Deployer;
use crate::gateway::deploying::Deploying;
use crate::http::api::failures::from_deploy;
use crate::http::api::{logs, reply};
use crate::http::problem::Problem;
use crate::http::request_id;

/// How the success of a change is told.
pub struct Success<T> {
    /// The name of the last event.
    pub event: &'static str,
    /// The result as JSON, for that event, or for a client that waits for nothing else.
    pub body: fn(&T, Told<'_>) -> Value,
}

/// To whom a result is told.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    /// The first part of call addresses.
    pub prefix: &'a str,
    /// Whether it is an event.
    pub is_event: bool,
}

/// Waits for the end of a change. A client that accepts events gets the lines of the log meanwhile.
pub async fn follow<T: Send + 'static>(
    deployer: &Arc<Deployer>,
    begun: Result<Deploying<T>, Problem>,
    headers: &HeaderMap,
    success: Success<T>,
) -> Response {
    let Deploying { logs: book, first_line, result: done } = match begun {
        Ok(deploying) => deploying,
        Err(problem) => return refusal(problem, headers),
    };
    let prefix = deployer.gateway.prefix.as_str().to_owned();
    let problem = |deployer: &Deployer, error: &DeployError| {
        from_deploy(error).map_message(|message| deployer.server_paths.strip(message))
    };
    if !accepts_events(headers) {
        return match done.await.unwrap_or(Err(DeployError::Internal)) {
            Ok(done) => Json((success.body)(&done, Told { prefix: &prefix, is_event: false })).into_response(),
            Err(error) => refusal(problem(deployer, &error), headers),
        };
    }
    let id = headers.get(request_id::HEADER).map_or("", request_id::text).to_owned();
    let (send_last, last_event) = tokio::sync::oneshot::channel();
    let (failed_on, logged_on) = (Arc::clone(deployer), Arc::clone(deployer));
    tokio::spawn(async move {
        let ended = done.await.unwrap_or(Err(DeployError::Internal));
        let event = match ended {
            Ok(done) => {
                let body = (success.body)(&done, Told { prefix: &prefix, is_event: true });
                Event::default().event(success.event).data(body.to_string())
            }
            Err(error) => Event::default().event("failed").data(failed(&problem(&failed_on, &error), &id)),
        };
        let _client_left = send_last.send(event);
    });
    let lines = logs::lines(book, first_line, last_event);
    let events = lines.map(move |line| {
        Ok::<_, Infallible>(match line {
            logs::Line::Text(text) => Event::default().event("log").data(logged_on.server_paths.strip(&text)),
            logs::Line::End(event) => event,
        })
    });
    reply::events(events)
}

/// `{"status":422,"error":{…}}`, on one line.
fn failed(problem: &Problem, request_id: &str) -> String {
    let body: Value = serde_json::from_slice(&problem.body(request_id)).unwrap_or_default();
    json!({ "status": problem.status().as_u16(), "error": body["error"] }).to_string()
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let accepts = |value: &http::HeaderValue| value.to_str().is_ok_and(|text| text.contains("text/event-stream"));
    headers.get_all(ACCEPT).iter().any(accepts)
}

/// Old versions of MetaCall's command line (axios 0.x) print a text, but show an object as `[object Object]`.
pub fn refusal(problem: Problem, headers: &HeaderMap) -> Response {
    let shows_only_text = headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"axios/0."));
    reply::problem(if shows_only_text { problem.as_text() } else { problem }, headers)
}
