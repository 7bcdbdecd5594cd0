//! One call of a function: a request to its address, with the client's own headers, so that every plugin,
//! limit and log sees it as any other call.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, ACCEPT, CONTENT_TYPE, HeaderName};
use http::request::Parts;
use http::{HeaderValue, Response, Uri, response};

use crate::gateway::Gateway;
use crate::http::bodies::Bodies;
use crate::http::buffers::SMALL;
use crate::http::call::invoke::{self, Posted};
use crate::http::call::lookup::Client;
use crate::http::call::record::Refused;
use crate::http::mcp::catalog::Found;
use crate::http::mcp::gathered::Gathered;
use crate::http::mcp::progress::{self, Items};
use crate::http::mcp::tool_result::CallAnswer;
use crate::http::path;
use crate::http::problem::{Code, Problem};
use crate::http::reply_body::ReplyBody;
use crate::http::request_id;
use crate::registry::Deployment;

/// Headers that are about the message around the arguments, or ask for an answer of another form.
const OF_MESSAGE: [HeaderName; 9] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::RANGE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("prefer"),
];
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// What a function is called with.
#[derive(Debug, Clone)]
pub enum Given {
    /// The arguments of a tool: the text of a JSON object. Without the tool, its release has not loaded.
    Object(Bytes, Option<Found>),
    /// Texts by the names of parameters, which become what these are declared as, as those of a form do.
    Texts(Vec<(String, String)>),
}

/// A call of a function.
pub struct FunctionCall<'a> {
    /// The deployment.
    pub deployment: &'a Deployment,
    /// The function.
    pub function: &'a str,
    /// The arguments.
    pub given: Given,
    /// What the client has said besides them: the text of a JSON object.
    pub said: Arc<str>,
    /// Whether the items of a stream are wanted as they come.
    pub shows_progress: bool,
}

/// What a call comes to.
#[derive(Debug)]
pub enum Called {
    /// An answer that is there.
    Answer(CallAnswer),
    /// A stream whose items are still coming.
    Items(Items),
}

impl FunctionCall<'_> {
    /// Makes the call. `head` is that of the client's request.
    pub async fn run(self, gateway: &Arc<Gateway>, head: Parts, client: Client<'_>, bodies: &Bodies) -> Called {
        let (limit, shows_progress) = (self.deployment.timeout, self.shows_progress);
        let called = match self.answer(gateway, head, client, bodies).await {
            Ok(response) if shows_progress && response.headers().get(CONTENT_TYPE) == Some(&LINES) => {
                let (head, body) = response.into_parts();
                match body {
                    ReplyBody::Full(lines) => Ok(whole_items(head, &lines.unwrap_or_default())),
                    body => {
                        return Called::Items(Items {
                            gathered: Gathered::new(body, &client.connection.buffers),
                            limit,
                        });
                    }
                }
            }
            Ok(response) => collect(response, limit, client).await,
            Err(problem) => Err(problem),
        };
        Called::Answer(called.unwrap_or_else(|problem| CallAnswer::of_problem(problem, request_id::text(client.id))))
    }

    async fn answer(
        self,
        gateway: &Arc<Gateway>,
        head: Parts,
        client: Client<'_>,
        bodies: &Bodies,
    ) -> Result<Response<ReplyBody>, Problem> {
        let Self { deployment, function, given, said, shows_progress } = self;
        let name = deployment.name.as_str();
        let mut head = head_of_call(head, &path::of_call(gateway.prefix.as_str(), name, function))?;
        head.headers.insert(CONTENT_TYPE, if matches!(given, Given::Texts(_)) { FORM } else { JSON });
        head.headers.insert(ACCEPT, if shows_progress { LINES } else { JSON });
        match body_of(deployment, given, bodies).await {
            Ok(body) => {
                let posted = Posted { body, mcp: Some(said) };
                invoke::call_with_body(gateway, (name, function), head, posted, client, bodies).await
            }
            Err(problem) => {
                Refused { client, function, head: &head }.record(gateway, Some(deployment), &problem);
                Err(problem)
            }
        }
    }
}

/// The body of a call with these arguments.
async fn body_of(deployment: &Deployment, given: Given, bodies: &Bodies) -> Result<Bytes, Problem> {
    let (arguments, found) = match given {
        Given::Object(arguments, Some(found)) => (arguments, found),
        Given::Object(arguments, None) => return Ok(arguments),
        Given::Texts(pairs) => {
            return Ok(form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into());
        }
    };
    let by_names = deployment.pool().is_some_and(|pool| pool.wants_names());
    let is_small = arguments.len() <= SMALL;
    let make = move || {
        let text = std::str::from_utf8(&arguments).unwrap_or_default();
        let body = found.tool().input.body_of(text, by_names);
        body.map(Bytes::from).map_err(|unfit| Problem::new(Code::BadArgument, unfit.to_string()))
    };
    if is_small { make() } else { bodies.elsewhere(make).await }
}

/// The head of a request to an address, with the headers of the client's request.
fn head_of_call(mut head: Parts, address: &str) -> Result<Parts, Problem> {
    let no_address =
        |error: &dyn std::fmt::Display| Problem::new(Code::BadRequest, format!("no such address: {error}"));
    let mut parts = head.uri.into_parts();
    parts.path_and_query = Some(address.parse().map_err(|error: http::uri::InvalidUri| no_address(&error))?);
    head.uri = Uri::from_parts(parts).map_err(|error| no_address(&error))?;
    for name in OF_MESSAGE {
        head.headers.remove(name);
    }
    Ok(head)
}

/// The whole answer. A stream ends within the time that a call has.
async fn collect(response: Response<ReplyBody>, limit: Duration, client: Client<'_>) -> Result<CallAnswer, Problem> {
    let (head, body) = response.into_parts();
    let body = match body {
        ReplyBody::Full(bytes) => bytes.unwrap_or_default(),
        streamed => {
            let mut gathered = Gathered::new(streamed, &client.connection.buffers);
            let reading = async {
                while gathered.read().await?.is_some() {}
                Ok(())
            };
            tokio::time::timeout(limit, reading).await.unwrap_or_else(|_| Err(progress::late(limit)))?;
            gathered.finish()
        }
    };
    Ok(CallAnswer { status: head.status, headers: head.headers, body })
}

/// The answer to a call whose stream has ended already.
fn whole_items(mut head: response::Parts, lines: &[u8]) -> CallAnswer {
    head.headers.insert(CONTENT_TYPE, JSON);
    CallAnswer { status: head.status, headers: head.headers, body: progress::array(lines) }
}
