//! Requests that hooks send to other servers, and their places in the traces of the calls that the hooks run for.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use url::Url;

use crate::invocation::trace_context::{TRACEPARENT, TRACESTATE};
use crate::plugin::outside::{HttpRequest, HttpResponse, SendHttp};
use crate::traces::timeline::{OpenStep, Part, Timeline};

/// The fault of a request that got no answer.
const NO_ANSWER: &str = "request_failed";

/// Sends a request of a hook; it fails at the deadline. `timeline`: that of the call, if something asks for its steps.
pub(super) async fn send(
    http: &dyn SendHttp,
    timeline: Option<&Arc<Timeline>>,
    mut request: HttpRequest,
    deadline: Instant,
) -> Result<HttpResponse, String> {
    let step = timeline.and_then(|timeline| begin(timeline, &mut request));
    let sent = tokio::time::timeout_at(deadline.into(), http.send(request, deadline)).await;
    let answer = sent.unwrap_or_else(|_| Err("no answer before the deadline".to_owned()));
    if let Some(step) = step {
        match &answer {
            Ok(HttpResponse { status, .. }) => {
                let is_fault = *status >= StatusCode::BAD_REQUEST.as_u16();
                step.end(status.to_string(), is_fault.then(|| status.to_string().into()));
            }
            Err(_) => step.end("", Some(NO_ANSWER.into())),
        }
    }
    answer
}

/// Begins the step of a request, and makes its headers name the step's span unless the plugin has set one itself. What
/// may be secret in the address is left out of the step.
fn begin(timeline: &Arc<Timeline>, request: &mut HttpRequest) -> Option<OpenStep> {
    let HttpRequest { method, url, headers, .. } = request;
    let mut url = Url::parse(url).ok()?;
    url.set_query(None);
    url.set_fragment(None);
    // Those of addresses without a host cannot be set, and there are none.
    let _has_none = (url.set_username(""), url.set_password(None));
    let (step, context) = timeline.begin_inner(Part::Request, &format!("{method} {url}"))?;
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(TRACEPARENT.as_str())) {
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case(TRACESTATE.as_str()));
        headers.push((TRACEPARENT.as_str().to_owned(), context.to_string()));
        let state = context.state.as_ref().and_then(|state| state.to_str().ok());
        headers.extend(state.map(|state| (TRACESTATE.as_str().to_owned(), state.to_owned())));
    }
    Some(step)
}
