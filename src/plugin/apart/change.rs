//! The changes of a hook that ran in a process of its own. The process records what the setters of the interface did,
//! and the gateway does it again on the input that it kept, with the same checks.

use serde::{Deserialize, Serialize};

use crate::config::PluginName;
use crate::plugin::apart::few::few;
use crate::plugin::headers;
use crate::plugin::host::input::{CallInput, OutcomeInput};
use crate::plugin::outcome::checked_problem;
use crate::plugin::release::Release;

/// One successful call of a setter.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Change {
    SetArguments(String),
    SetHeader(String, String),
    RemoveHeader(String),
    SetContext {
        key: String,
        value: String,
        shared: bool,
    },
    SetStatus(u16),
    SetBody(String),
    SetAnswerHeader(String, String),
    RemoveAnswerHeader(String),
    SetProblem {
        status: u16,
        code: String,
        message: String,
        #[serde(deserialize_with = "few")]
        headers: Vec<(String, String)>,
    },
    SetEnvironment(String, String),
    SetLimit(String, String),
    SetLabel(String, String),
    Hide(String),
    Rename(String, String),
}

/// The plugin whose changes these are, and the longest body that it may set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Changer<'a> {
    pub(crate) plugin: &'a PluginName,
    pub(crate) max_body: usize,
}

impl Change {
    /// Bytes of its texts.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::SetStatus(_) => 0,
            Self::SetArguments(text) | Self::RemoveHeader(text) | Self::SetBody(text) => text.len(),
            Self::RemoveAnswerHeader(text) | Self::Hide(text) => text.len(),
            Self::SetHeader(one, two) | Self::SetAnswerHeader(one, two) | Self::SetEnvironment(one, two) => {
                one.len() + two.len()
            }
            Self::SetLimit(one, two) | Self::SetLabel(one, two) | Self::Rename(one, two) => one.len() + two.len(),
            Self::SetContext { key, value, .. } => key.len() + value.len(),
            Self::SetProblem { code, message, headers, .. } => {
                let headers = headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
                code.len() + message.len() + headers
            }
        }
    }

    /// Makes the change of a call.
    pub(crate) fn of_call(self, input: &mut CallInput, by: Changer<'_>) -> Result<(), String> {
        let CallInput { call, changes } = input;
        match self {
            Self::SetArguments(arguments) => changes.set_arguments(arguments, by.max_body),
            Self::SetHeader(name, value) => {
                let (name, value) = headers::header(&name, &value)?;
                changes.set_header(name, Some(value))
            }
            Self::RemoveHeader(name) => changes.set_header(headers::header(&name, "")?.0, None),
            Self::SetContext { key, value, shared } => changes.set_context(call, key, value, by.plugin, shared),
            other => Err(other.is_foreign()),
        }
    }

    /// Makes the change of an outcome, or of its call.
    pub(crate) fn of_outcome(self, input: &mut OutcomeInput, by: Changer<'_>) -> Result<(), String> {
        let outcome = &mut input.outcome;
        match self {
            Self::SetStatus(status) => outcome.set_status(status),
            Self::SetBody(body) => outcome.set_body(body, by.max_body),
            Self::SetAnswerHeader(name, value) => outcome.set_header(&name, &value),
            Self::RemoveAnswerHeader(name) => {
                outcome.remove_header(&name);
                Ok(())
            }
            Self::SetProblem { status, code, message, headers } => {
                let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                outcome.set_problem(checked_problem(status, code, message, pairs)?)
            }
            other => other.of_call(&mut input.call, by),
        }
    }

    /// Makes the change of a release.
    pub(crate) fn of_release(self, release: &mut Release) -> Result<(), String> {
        match self {
            Self::SetEnvironment(name, value) => release.set_environment(name, value),
            Self::SetLimit(name, value) => release.set_limit(&name, &value),
            Self::SetLabel(name, value) => release.set_label(name, value),
            Self::Hide(function) => release.hide(&function),
            Self::Rename(function, to) => release.rename(&function, to),
            other => Err(other.is_foreign()),
        }
    }

    fn is_foreign(&self) -> String {
        format!("a change that this hook cannot make: {self:?}").chars().take(200).collect()
    }
}
