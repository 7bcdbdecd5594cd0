//! The input of a hook call: an instance holds it while the hook runs, and returns it with the hook's changes.

use crate::plugin::invocation::{CallChanges, Invocation};
use crate::plugin::outcome::Outcome;
use crate::plugin::release::Release;

/// The input of a before-invoke hook.
#[derive(Debug)]
pub struct CallInput {
    /// The call as it was before the hook.
    pub call: Box<Invocation>,
    /// Changes of the hook. They take effect when it succeeds.
    pub changes: CallChanges,
}

/// The input of an after-invoke hook.
#[derive(Debug)]
pub struct OutcomeInput {
    /// The call, with changes that only later hooks see.
    pub call: CallInput,
    /// The outcome, which the hook changes in place.
    pub outcome: Box<Outcome>,
}

/// The input that an instance holds.
#[derive(Debug, Default)]
pub enum HookInput {
    /// Nothing: the instance starts, or waits for a hook call.
    #[default]
    Nothing,
    /// A before-invoke hook runs.
    BeforeInvoke(CallInput),
    /// An after-invoke hook runs.
    AfterInvoke(OutcomeInput),
    /// A load hook runs.
    Load(Box<Release>),
}

impl CallInput {
    /// A call, without changes.
    #[must_use]
    pub fn new(call: Box<Invocation>) -> Self {
        Self { call, changes: CallChanges::default() }
    }
}

impl OutcomeInput {
    /// A call without changes, and its outcome.
    #[must_use]
    pub fn new(call: Box<Invocation>, outcome: Box<Outcome>) -> Self {
        Self { call: CallInput::new(call), outcome }
    }
}

impl HookInput {
    /// The call, in hooks that have one.
    #[must_use]
    pub fn call(&self) -> Option<&Invocation> {
        match self {
            Self::BeforeInvoke(input) => Some(&input.call),
            Self::AfterInvoke(input) => Some(&input.call.call),
            Self::Nothing | Self::Load(_) => None,
        }
    }

    /// The call and its changes, in hooks that have one.
    pub(super) fn call_input(&mut self) -> Option<&mut CallInput> {
        match self {
            Self::BeforeInvoke(input) => Some(input),
            Self::AfterInvoke(input) => Some(&mut input.call),
            Self::Nothing | Self::Load(_) => None,
        }
    }
}
