//! The call route: a request becomes a call, and what came of it becomes an answer.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response};
use hyper::body::Incoming;

use crate::gateway::{Gateway, VERSION};
use crate::http::arguments::{self, BodyKind};
use crate::http::body::ReplyBody;
use crate::http::error::{self, Code, Problem};
use crate::http::path::CallAddress;
use crate::http::request_body::{self, BodyLimits};
use crate::invocation::{Arguments, Returned};

/// Calls what an address names.
pub async fn call(
    gateway: &Gateway,
    address: CallAddress<'_>,
    method: &Method,
    request: Request<Incoming>,
    limits: BodyLimits,
) -> Result<Response<ReplyBody>, Problem> {
    if !matches!(*method, Method::GET | Method::POST) {
        let problem =
            Problem::new(Code::MethodNotAllowed, format!("a function is called with GET or POST, not {method}"));
        return Err(problem.allowing("GET, POST"));
    }
    if address.prefix != gateway.prefix.as_str() || address.version != VERSION {
        let message = format!("nothing is deployed at /{}/{}/{}", address.prefix, address.name, address.version);
        return Err(Problem::new(Code::DeploymentNotFound, message));
    }
    let live = gateway.deployment(&address.name).ok_or_else(|| error::deployment_not_found(&address.name))?;
    let arguments = read_arguments(request, limits).await?;
    match gateway.invoke(&live, &address.function, &arguments).await {
        Ok(Returned(value)) => Ok(answer(value)),
        Err(error) => Err(error::from_call(error, &address.name, &address.function)),
    }
}

async fn read_arguments(request: Request<Incoming>, limits: BodyLimits) -> Result<Arguments, Problem> {
    let (head, body) = request.into_parts();
    let kind = BodyKind::of(head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes));
    let body = request_body::read(&head, body, limits).await?;
    arguments::from_body(&body, kind)
}

fn answer(value: Option<bytes::Bytes>) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::full(value.unwrap_or_default()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
