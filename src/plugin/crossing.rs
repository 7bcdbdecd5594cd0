//! The three kinds of hook calls, as they cross to the process of a plugin.

use std::sync::Arc;

use crate::answer::Failure;
use crate::config::PluginName;
use crate::plugin::apart::change::{Change, Changer};
use crate::plugin::apart::message::{Input, SentVerdict};
use crate::plugin::apart::sent;
use crate::plugin::held_stream::HeldStream;
use crate::plugin::host::input::{CallInput, OutcomeInput};
use crate::plugin::outcome::{Content, Outcome, checked_problem, checked_response};
use crate::plugin::release::{Files, Release};
use crate::plugin::verdict::{CallVerdict, LoadVerdict, readable};
use crate::traces::timeline::Timeline;

/// About how many bytes the description of a function has.
const FUNCTION_SIZE: usize = 256;

/// The input of a hook that can run in a process of its own.
pub(crate) trait Crossing: Send + Sized + 'static {
    /// The verdict of the hook.
    type Verdict: Send + 'static;

    /// The input for the process of `plugin`, and its bytes.
    fn sent(&self, plugin: &PluginName) -> (Input, [&[u8]; 2]);
    /// About how many bytes cross.
    fn size(&self) -> usize;
    /// The plugins through which the call comes; none of a load.
    fn callers(&self) -> Option<Vec<PluginName>>;
    /// The files of the release.
    fn files(&self) -> Option<Arc<Files>>;
    /// The stream that the hook may ask for.
    fn stream(&self) -> Option<HeldStream>;
    /// What keeps the steps of the call, if something asks for them.
    fn timeline(&self) -> Option<&Arc<Timeline>> {
        None
    }
    /// Replaces a stream that the hook has read by its content.
    fn settle(&mut self) -> Result<(), String>;
    /// Makes the changes of the hook, with the checks of the interface.
    fn take_changes(&mut self, changes: Vec<Change>, by: Changer<'_>) -> Result<(), String>;
    /// Checks the verdict of the hook.
    fn verdict(sent: SentVerdict, max_body: usize) -> Result<Self::Verdict, String>;
    /// The verdict as it crosses.
    fn sent_verdict(verdict: Self::Verdict) -> SentVerdict;
}

fn foreign<T>() -> Result<T, String> {
    Err("a verdict of another kind of hook".to_owned())
}

impl Crossing for CallInput {
    type Verdict = CallVerdict;

    fn sent(&self, plugin: &PluginName) -> (Input, [&[u8]; 2]) {
        (Input::BeforeInvoke(sent::call(&self.call, plugin)), [self.call.arguments.as_json(), &[]])
    }

    fn size(&self) -> usize {
        self.call.arguments.as_json().len()
    }

    fn callers(&self) -> Option<Vec<PluginName>> {
        Some(self.call.callers.clone())
    }

    fn timeline(&self) -> Option<&Arc<Timeline>> {
        self.call.timeline.as_ref()
    }

    fn files(&self) -> Option<Arc<Files>> {
        None
    }

    fn stream(&self) -> Option<HeldStream> {
        None
    }

    fn settle(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn take_changes(&mut self, changes: Vec<Change>, by: Changer<'_>) -> Result<(), String> {
        changes.into_iter().try_for_each(|change| change.of_call(self, by))
    }

    fn verdict(sent: SentVerdict, max_body: usize) -> Result<CallVerdict, String> {
        match sent {
            SentVerdict::Proceed => Ok(CallVerdict::Proceed),
            SentVerdict::Respond { status, headers, body } => {
                let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                checked_response(status, body, pairs, max_body).map(|outcome| CallVerdict::Respond(Box::new(outcome)))
            }
            SentVerdict::Reject { status, code, message, headers } => {
                let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                checked_problem(status, code, message, pairs).map(CallVerdict::Reject)
            }
            _ => foreign(),
        }
    }

    fn sent_verdict(verdict: CallVerdict) -> SentVerdict {
        match verdict {
            CallVerdict::Proceed => SentVerdict::Proceed,
            CallVerdict::Respond(outcome) => {
                let Outcome { status, content, headers, .. } = *outcome;
                let body = match content {
                    Content::Result(body) | Content::Answer(body) => String::from_utf8_lossy(&body).into_owned(),
                    Content::Stream(..) | Content::Problem { .. } => String::new(),
                };
                SentVerdict::Respond { status, headers: sent::answer_headers(&headers), body }
            }
            CallVerdict::Reject(Failure { status, code, message, headers, .. }) => SentVerdict::Reject {
                status,
                code: code.into_owned(),
                message,
                headers: sent::answer_headers(&headers),
            },
        }
    }
}

impl Crossing for OutcomeInput {
    type Verdict = ();

    fn sent(&self, plugin: &PluginName) -> (Input, [&[u8]; 2]) {
        let call = &self.call.call;
        let (outcome, body) = sent::outcome(&self.outcome);
        (Input::AfterInvoke(sent::call(call, plugin), outcome), [call.arguments.as_json(), body])
    }

    fn size(&self) -> usize {
        let body = match &self.outcome.content {
            Content::Result(body) | Content::Answer(body) => body.len(),
            Content::Stream(..) => 0,
            Content::Problem { message, .. } => message.len(),
        };
        self.call.size() + body
    }

    fn callers(&self) -> Option<Vec<PluginName>> {
        self.call.callers()
    }

    fn timeline(&self) -> Option<&Arc<Timeline>> {
        self.call.timeline()
    }

    fn files(&self) -> Option<Arc<Files>> {
        None
    }

    fn stream(&self) -> Option<HeldStream> {
        match &self.outcome.content {
            Content::Stream(held, _) => Some(held.clone()),
            Content::Result(_) | Content::Answer(_) | Content::Problem { .. } => None,
        }
    }

    fn settle(&mut self) -> Result<(), String> {
        self.outcome.settle()
    }

    fn take_changes(&mut self, changes: Vec<Change>, by: Changer<'_>) -> Result<(), String> {
        changes.into_iter().try_for_each(|change| change.of_outcome(self, by))
    }

    fn verdict(sent: SentVerdict, _: usize) -> Result<(), String> {
        if matches!(sent, SentVerdict::None) { Ok(()) } else { foreign() }
    }

    fn sent_verdict((): ()) -> SentVerdict {
        SentVerdict::None
    }
}

impl Crossing for Box<Release> {
    type Verdict = LoadVerdict;

    fn sent(&self, _: &PluginName) -> (Input, [&[u8]; 2]) {
        (Input::Load(Box::new(sent::release(self))), [&[], &[]])
    }

    fn size(&self) -> usize {
        self.adjusted.functions.len() * FUNCTION_SIZE
    }

    fn callers(&self) -> Option<Vec<PluginName>> {
        Some(Vec::new())
    }

    fn files(&self) -> Option<Arc<Files>> {
        Some(Arc::clone(&self.files))
    }

    fn stream(&self) -> Option<HeldStream> {
        None
    }

    fn settle(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn take_changes(&mut self, changes: Vec<Change>, _: Changer<'_>) -> Result<(), String> {
        changes.into_iter().try_for_each(|change| change.of_release(self))
    }

    fn verdict(sent: SentVerdict, _: usize) -> Result<LoadVerdict, String> {
        match sent {
            SentVerdict::Accept => Ok(LoadVerdict::Accept),
            SentVerdict::Refuse(reason) => Ok(LoadVerdict::Refuse(readable(&reason))),
            _ => foreign(),
        }
    }

    fn sent_verdict(verdict: LoadVerdict) -> SentVerdict {
        match verdict {
            LoadVerdict::Accept => SentVerdict::Accept,
            LoadVerdict::Refuse(reason) => SentVerdict::Refuse(reason),
        }
    }
}
