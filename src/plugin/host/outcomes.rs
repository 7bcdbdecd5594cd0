//! `metagate:plugin/outcome`: reads and changes the outcome of the call.

use wasmtime::component::Resource;
use wasmtime::{Result, format_err};

use crate::plugin::apart::change::Change;
use crate::plugin::bindings::metagate::plugin::outcome::{Host, HostOutcome, Problem, Source};
use crate::plugin::host::input::HookInput;
use crate::plugin::host::state::HostState;
use crate::plugin::outcome::{self, Content, Outcome, OutcomeHandle, checked_problem};
use crate::wasm::waits::DeadlineExceeded;

type Handle = Resource<OutcomeHandle>;

impl HostState {
    fn outcome(&mut self) -> Result<&mut Outcome> {
        match &mut self.input {
            HookInput::AfterInvoke(input) => Ok(&mut input.outcome),
            _ => Err(format_err!("this hook has no outcome")),
        }
    }

    /// Replaces a stream by the whole of its content, because a hook asks for that.
    async fn gather_stream(&mut self) -> Result<()> {
        let limit = self.granted.max_body;
        let Content::Stream(held, _) = &self.outcome()?.content else { return Ok(()) };
        let held = held.clone();
        match &self.granted.outside.gateway {
            Some(gateway) => {
                let content = gateway.content();
                held.put(content.await.map_err(|fault| format_err!(fault))?);
            }
            // A hook that waits is not interrupted by ticks.
            None => tokio::time::timeout_at(self.deadline().into(), held.gather(limit))
                .await
                .map_err(|_| DeadlineExceeded)?,
        }
        self.outcome()?.settle().map_err(|fault| format_err!(fault))
    }

    fn body_bytes(&mut self) -> Result<bytes::Bytes> {
        let id = self.input.call().map_or_else(String::new, |call| call.id.to_string());
        Ok(self.outcome()?.body(&id))
    }
}

fn microseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Host for HostState {}

impl HostOutcome for HostState {
    fn source(&mut self, _: Handle) -> Result<Source> {
        Ok(match self.outcome()?.source {
            outcome::Source::Function => Source::Function,
            outcome::Source::FunctionError => Source::FunctionError,
            outcome::Source::Plugin => Source::Plugin,
            outcome::Source::Gateway => Source::Gateway,
        })
    }

    fn status(&mut self, _: Handle) -> Result<u16> {
        Ok(self.outcome()?.status)
    }

    fn code(&mut self, _: Handle) -> Result<Option<String>> {
        Ok(self.outcome()?.code().map(str::to_owned))
    }

    async fn body(&mut self, _: Handle) -> Result<String> {
        self.gather_stream().await?;
        let body = self.body_bytes()?;
        match (str::from_utf8(&body), &self.outcome()?.content) {
            (Ok(text), _) => Ok(text.to_owned()),
            (Err(_), Content::Answer(_) | Content::Stream(..)) => Ok(String::new()),
            (Err(_), Content::Result(_) | Content::Problem { .. }) => Err(format_err!("the result is not UTF-8 text")),
        }
    }

    async fn body_size(&mut self, _: Handle) -> Result<u64> {
        self.gather_stream().await?;
        if let Content::Result(body) | Content::Answer(body) = &self.outcome()?.content {
            return Ok(body.len() as u64);
        }
        Ok(self.body_bytes()?.len() as u64)
    }

    fn header(&mut self, _: Handle, name: String) -> Result<Option<String>> {
        let headers = &self.outcome()?.headers;
        let found = headers.iter().find(|(there, _)| there.as_str().eq_ignore_ascii_case(&name));
        Ok(found.and_then(|(_, value)| value.to_str().ok()).map(str::to_owned))
    }

    fn elapsed(&mut self, _: Handle) -> Result<u64> {
        let now = self.granted.outside.clock.instant();
        Ok(self.input.call().map_or(0, |call| microseconds(now.saturating_duration_since(call.started))))
    }

    fn in_worker(&mut self, _: Handle) -> Result<u64> {
        Ok(microseconds(self.outcome()?.times.in_worker()))
    }

    fn set_status(&mut self, _: Handle, status: u16) -> Result<Result<(), String>> {
        let set = self.outcome()?.set_status(status);
        Ok(self.noted(set, || Change::SetStatus(status)))
    }

    fn set_body(&mut self, _: Handle, body: String) -> Result<Result<(), String>> {
        let limit = self.granted.max_body;
        let kept = self.kept(&body);
        let set = self.outcome()?.set_body(body, limit);
        Ok(self.noted(set, || Change::SetBody(kept)))
    }

    fn set_header(&mut self, _: Handle, name: String, value: String) -> Result<Result<(), String>> {
        let set = self.outcome()?.set_header(&name, &value);
        Ok(self.noted(set, || Change::SetAnswerHeader(name, value)))
    }

    fn remove_header(&mut self, _: Handle, name: String) -> Result<()> {
        self.outcome()?.remove_header(&name);
        self.note(|| Change::RemoveAnswerHeader(name));
        Ok(())
    }

    fn set_problem(&mut self, _: Handle, problem: Problem) -> Result<Result<(), String>> {
        let Problem { status, code, message, headers } = problem;
        let (kept_code, kept_message) = (self.kept(&code), self.kept(&message));
        let pairs = headers.iter().map(|pair| (pair.name.as_str(), pair.value.as_str()));
        let outcome = self.outcome()?;
        let set = checked_problem(status, code, message, pairs).and_then(|failure| outcome.set_problem(failure));
        Ok(self.noted(set, || Change::SetProblem {
            status,
            code: kept_code,
            message: kept_message,
            headers: headers.into_iter().map(|pair| (pair.name, pair.value)).collect(),
        }))
    }

    fn drop(&mut self, _: Handle) -> Result<()> {
        Ok(())
    }
}
