//! Functions that ask clients of older revisions: the answer to the call is a stream of events with the questions, each
//! a request to the client, which answers it with a request of its own; the function is called again with the answers.
//! Only the stream waits; no call does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Response};
use serde_json::{Map, Value, json};

use crate::gateway::Gateway;
use crate::http::bodies::Bodies;
use crate::http::buffers::Held;
use crate::http::call::lookup::Client;
use crate::http::call::observers::Observers;
use crate::http::call::stream_answer::NO_BUFFERING;
use crate::http::client_connection::ClientConnection;
use crate::http::mcp::answered::CalledAs;
use crate::http::mcp::answers::message;
use crate::http::mcp::client_answers::{ClientAnswers, Waiting};
use crate::http::mcp::function_call::{Called, FunctionCall, Given};
use crate::http::mcp::input_required::{self as questions, CannotAsk};
use crate::http::mcp::revision::Revision;
use crate::http::mcp::tool_result::{CallAnswer, ToolResult};
use crate::http::problem::{Code, Problem};
use crate::http::reply_body::ReplyBody;
use crate::http::request_id;
use crate::registry::Deployment;

/// How long a client, and the people before it, have for the questions of one round.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often a stream that waits shows that it is there: proxies close silent ones.
const SIGN: Duration = Duration::from_secs(15);
/// Most rounds of questions.
const ROUNDS: usize = 20;

/// What is needed to call the function again.
pub struct Repeat {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// The deployment.
    pub deployment: Arc<Deployment>,
    /// The function.
    pub function: String,
    /// The arguments.
    pub given: Given,
    /// The head of the request.
    pub head: Parts,
    /// The id of the HTTP request.
    pub request_id: HeaderValue,
    /// The connection it came by.
    pub connection: ClientConnection,
    /// What looks at its calls.
    pub observers: Arc<Observers>,
    /// What counts the arguments in the budgets.
    pub held: Arc<Held>,
    /// Where large bodies are worked on.
    pub bodies: Arc<Bodies>,
}

/// A call whose function asks.
pub struct Dialogue {
    /// How it is called again.
    pub repeat: Repeat,
    /// The questions that wait, of all clients.
    pub answers: ClientAnswers,
    /// The id of the client's request.
    pub id: Box<str>,
    /// What the function was called as.
    pub called_as: CalledAs,
    /// What the client answers.
    pub capabilities: Map<String, Value>,
}

/// The round that waits for answers.
struct Round {
    questions: Vec<(String, Waiting)>,
    responses: Map<String, Value>,
    state: Option<Value>,
    until: Instant,
}

struct Going {
    dialogue: Dialogue,
    /// The answer of the function, until its questions are asked.
    answer: Option<CallAnswer>,
    round: Option<Round>,
    rounds: usize,
}

impl Dialogue {
    /// The stream of events that begins with the questions in an answer of the function.
    #[must_use]
    pub fn begin(self, answer: CallAnswer) -> Response<ReplyBody> {
        let going = Going { dialogue: self, answer: Some(answer), round: None, rounds: 0 };
        let events = stream::unfold(Some(going), |going| async {
            let (text, rest) = going?.next().await;
            Some((Ok::<_, std::convert::Infallible>(Bytes::from(text)), rest))
        });
        let mut response = Response::new(ReplyBody::Streamed(axum::body::Body::from_stream(events)));
        for (name, value) in [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache"), (NO_BUFFERING, "no")] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }

    async fn call_again(&self, round: Round) -> CallAnswer {
        let Repeat { gateway, deployment, function, given, head, request_id, connection, observers, bodies, .. } =
            &self.repeat;
        let mut said = json!({"capabilities": self.capabilities, "inputResponses": round.responses});
        if let Some(state) = round.state {
            said["state"] = state;
        }
        let call = FunctionCall {
            deployment,
            function,
            given: given.clone(),
            said: said.to_string().into(),
            shows_progress: false,
        };
        let client = Client { id: request_id, connection, observers, route: None };
        match call.run(gateway, head.clone(), client, bodies).await {
            Called::Answer(answer) => answer,
            Called::Items(_) => self.failed("the function answered with a stream"),
        }
    }

    fn failed(&self, message: &str) -> CallAnswer {
        let problem = Problem::new(Code::FunctionError, message.to_owned());
        CallAnswer::of_problem(problem, request_id::text(&self.repeat.request_id))
    }

    /// The last event: the result.
    fn finish(self, answer: CallAnswer) -> String {
        let text = match self.called_as.result(answer, Revision::WithHandshake) {
            Ok(ToolResult { members, meta }) => message(&self.id, Revision::WithHandshake, &members, meta),
            Err(error) => error.into_message(Some(&self.id)),
        };
        event(&text)
    }
}

impl Going {
    /// The next events, and what follows them.
    async fn next(mut self) -> (String, Option<Self>) {
        if let Some(mut round) = self.round.take() {
            if !round.is_answered_within(SIGN).await {
                if Instant::now() < round.until {
                    self.round = Some(round);
                    return (": waiting\n\n".to_owned(), Some(self));
                }
                let answer = self.dialogue.failed("the client did not answer in time");
                return (self.dialogue.finish(answer), None);
            }
            self.answer = Some(self.dialogue.call_again(round).await);
        }
        let Some(answer) = self.answer.take() else { return (String::new(), None) };
        if !questions::asks(&answer) {
            return (self.dialogue.finish(answer), None);
        }
        self.rounds += 1;
        let asked = match questions::read(&answer, &self.dialogue.capabilities) {
            Ok(_) if self.rounds > ROUNDS => Err("the function asks without end".to_owned()),
            Ok(asked) => Ok(asked),
            Err(CannotAsk::Client(error)) => Err(error.message),
            Err(CannotAsk::Function(message)) => Err(message),
        };
        match asked {
            Ok(asked) => {
                let (round, events) = Round::ask(asked, &self.dialogue.answers);
                self.round = Some(round);
                (events, Some(self))
            }
            Err(message) => {
                let answer = self.dialogue.failed(&message);
                (self.dialogue.finish(answer), None)
            }
        }
    }
}

impl Round {
    /// Asks, with these events.
    fn ask(asked: questions::Questions, answers: &ClientAnswers) -> (Self, String) {
        let mut events = String::new();
        let mut ask = |(name, mut request): (String, Value)| {
            let waiting = answers.ask();
            request["jsonrpc"] = "2.0".into();
            request["id"] = (*waiting.id).into();
            events.push_str(&event(&request.to_string()));
            (name, waiting)
        };
        let questions = asked.requests.into_iter().map(&mut ask).collect();
        let until = Instant::now() + PATIENCE;
        (Self { questions, responses: Map::new(), state: asked.state, until }, events)
    }

    /// Waits for the answers for some time. Returns whether all are there. What the client cannot answer is left out.
    async fn is_answered_within(&mut self, time: Duration) -> bool {
        let until = tokio::time::Instant::now() + time;
        while let Some((_, waiting)) = self.questions.last_mut() {
            let Ok(answer) = tokio::time::timeout_at(until, waiting.answer()).await else { return false };
            if let Some((name, _)) = self.questions.pop()
                && answer.is_object()
            {
                self.responses.insert(name, answer);
            }
        }
        true
    }
}

fn event(message: &str) -> String {
    format!("event: message\ndata: {message}\n\n")
}
