//! The plugins that one call or load runs through: their order, and the effects of their verdicts and failures.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::RETRY_AFTER;

use crate::answer::code::Code;
use crate::answer::{self, Failure};
use crate::clock;
use crate::config::{HookName, Mode, OnError, PluginName};
use crate::plugin::Plugin;
use crate::plugin::fault::Fault;
use crate::plugin::host::input::{CallInput, OutcomeInput};
use crate::plugin::invocation::Invocation;
use crate::plugin::outcome::{Outcome, Source};
use crate::plugin::release::Release;
use crate::plugin::verdict::{CallVerdict, LoadVerdict};

/// The `retry-after` of a call that failed because a plugin failed.
const RETRY: Duration = Duration::from_secs(1);

/// Plugins in the order of the configuration.
#[derive(Clone)]
pub struct Chain {
    plugins: Arc<[Arc<Plugin>]>,
}

/// A plugin refused a release, or failed in a load hook.
#[derive(Debug, Clone, thiserror::Error)]
#[error("plugin {plugin:?} {reason}")]
pub struct LoadRefusal {
    /// The plugin.
    pub plugin: PluginName,
    /// `refused the release: …`, or how the plugin failed.
    pub reason: String,
}

impl Chain {
    /// A chain of these plugins.
    #[must_use]
    pub fn new(plugins: Vec<Arc<Plugin>>) -> Self {
        Self { plugins: plugins.into() }
    }

    /// Whether the chain is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plugins.is_empty()
    }

    /// The plugins, in order.
    #[must_use]
    pub fn plugins(&self) -> &[Arc<Plugin>] {
        &self.plugins
    }

    /// Whether any plugin has an after-invoke hook.
    #[must_use]
    pub fn has_after_invoke(&self) -> bool {
        self.has(HookName::AfterInvoke)
    }

    /// Whether any plugin has this hook.
    #[must_use]
    pub fn has(&self, hook: HookName) -> bool {
        self.plugins.iter().any(|plugin| plugin.has(hook))
    }

    /// Whether any plugin may read or replace the arguments of a call. A file of records has them whole; a recording
    /// that an operator starts takes what there is.
    #[must_use]
    pub fn uses_arguments(&self) -> bool {
        self.plugins.iter().any(|plugin| plugin.surface.uses_arguments || plugin.recorder.has_file())
    }

    /// Runs the before-invoke hooks in order. Returns the call, the number of plugins that let it pass, and the outcome
    /// if a plugin ended the call.
    pub async fn before_invoke(&self, mut call: Box<Invocation>) -> (Box<Invocation>, usize, Option<Box<Outcome>>) {
        for (at, plugin) in self.plugins.iter().enumerate() {
            if !plugin.has(HookName::BeforeInvoke) || call.callers.contains(&plugin.settings.name) {
                continue;
            }
            let ended;
            (call, ended) = before_invoke(plugin, call).await;
            if ended.is_some() {
                return (call, at, ended);
            }
        }
        (call, self.plugins.len(), None)
    }

    /// Runs the after-invoke hooks of the first `passed` plugins in reverse order.
    pub async fn after_invoke(
        &self,
        mut call: Box<Invocation>,
        mut outcome: Box<Outcome>,
        passed: usize,
    ) -> (Box<Invocation>, Box<Outcome>) {
        for plugin in self.plugins[..passed].iter().rev() {
            if !plugin.has(HookName::AfterInvoke) || call.callers.contains(&plugin.settings.name) {
                continue;
            }
            (call, outcome) = after_invoke(plugin, call, outcome).await;
        }
        (call, outcome)
    }

    /// Runs the before-load hooks in order on a release.
    ///
    /// # Errors
    /// The plugin that refused the release or failed.
    pub async fn before_load(&self, mut release: Box<Release>) -> Result<Box<Release>, LoadRefusal> {
        for plugin in self.plugins.iter().filter(|plugin| plugin.has(HookName::BeforeLoad)) {
            release = run_load_hook(plugin, release).await?;
        }
        Ok(release)
    }

    /// Runs the after-load hooks in reverse order on a release.
    ///
    /// # Errors
    /// The plugin that refused the release or failed.
    pub async fn after_load(&self, mut release: Box<Release>) -> Result<Box<Release>, LoadRefusal> {
        for plugin in self.plugins.iter().rev().filter(|plugin| plugin.has(HookName::AfterLoad)) {
            release = run_load_hook(plugin, release).await?;
        }
        Ok(release)
    }
}

fn observes(plugin: &Plugin) -> bool {
    plugin.settings.mode == Mode::Observe
}

/// Whether the call or load continues after a failure of the plugin.
fn skips_failures(plugin: &Plugin, hook: HookName) -> bool {
    observes(plugin) || plugin.settings.on_error_of(hook) == OnError::Skip
}

async fn before_invoke(plugin: &Arc<Plugin>, call: Box<Invocation>) -> (Box<Invocation>, Option<Box<Outcome>>) {
    let deadline = call.deadline;
    let recorded = plugin.recorder.is_on().then(|| call.clone());
    let (CallInput { mut call, mut changes }, verdict) = plugin.run_hook(CallInput::new(call), deadline).await;
    if let Some(before) = recorded {
        let mut after = before.clone();
        changes.clone().apply(&mut after);
        plugin.recorder.before_invoke(&plugin.settings.name, &before, &after, &verdict);
    }
    let outcome = match verdict {
        Ok(verdict) if observes(plugin) => {
            note_unapplied(plugin, &call, &verdict);
            None
        }
        Ok(verdict) => {
            changes.apply(&mut call);
            outcome_of(verdict)
        }
        Err(_) if skips_failures(plugin, HookName::BeforeInvoke) => None,
        Err(fault) => return (call, Some(Box::new(Outcome::failed(Source::Plugin, failure(plugin, &fault))))),
    };
    if outcome.is_some() {
        plugin.figures.refusals.fetch_add(1, Ordering::Relaxed);
    }
    (call, outcome)
}

fn outcome_of(verdict: CallVerdict) -> Option<Box<Outcome>> {
    match verdict {
        CallVerdict::Proceed => None,
        CallVerdict::Respond(outcome) => Some(outcome),
        CallVerdict::Reject(failure) => Some(Box::new(Outcome::failed(Source::Plugin, failure))),
    }
}

async fn after_invoke(
    plugin: &Arc<Plugin>,
    call: Box<Invocation>,
    outcome: Box<Outcome>,
) -> (Box<Invocation>, Box<Outcome>) {
    let before = outcome.clone();
    // Not the call's deadline: an audit log must also see calls that timed out.
    let latest = clock::now() + plugin.settings.timeout.get();
    let (input, verdict) = plugin.run_hook(OutcomeInput::new(call, outcome), latest).await;
    let OutcomeInput { call: CallInput { mut call, mut changes }, mut outcome } = input;
    if plugin.recorder.is_on() {
        plugin.recorder.after_invoke(&plugin.settings.name, &call, &before, &outcome, &verdict);
    }
    match verdict {
        Ok(()) if observes(plugin) => {
            let before = settled(before);
            if outcome.status != before.status || outcome.code() != before.code() {
                tracing::info!(
                    plugin = %plugin.name(),
                    request_id = &*call.id,
                    from = before.status,
                    to = outcome.status,
                    "would have changed the outcome"
                );
            }
            plugin.figures.observed.fetch_add(1, Ordering::Relaxed);
            outcome = before;
        }
        Ok(()) => changes.apply(&mut call),
        Err(_) if skips_failures(plugin, HookName::AfterInvoke) => outcome = settled(before),
        Err(fault) => *outcome = Outcome::failed(Source::Plugin, failure(plugin, &fault)),
    }
    (call, outcome)
}

/// The outcome without the changes of a hook, which may have read its stream all the same.
fn settled(mut before: Box<Outcome>) -> Box<Outcome> {
    if let Err(fault) = before.settle() {
        tracing::error!(fault, "the outcome of a call whose stream a plugin has read cannot be kept");
    }
    before
}

async fn run_load_hook(plugin: &Arc<Plugin>, release: Box<Release>) -> Result<Box<Release>, LoadRefusal> {
    let hook = release.stage.hook();
    let before = release.clone();
    let latest = clock::now() + plugin.settings.timeout.get();
    let (release, verdict) = plugin.run_hook(release, latest).await;
    if plugin.recorder.is_on() {
        plugin.recorder.load(hook, &before, &release, &verdict);
    }
    let refusal = |reason| LoadRefusal { plugin: plugin.settings.name.clone(), reason };
    match verdict {
        Ok(LoadVerdict::Refuse(reason)) if observes(plugin) => {
            plugin.figures.observed.fetch_add(1, Ordering::Relaxed);
            let deployment = release.deployment.as_str();
            tracing::info!(plugin = %plugin.name(), %deployment, reason, "would have refused the release");
            Ok(before)
        }
        Ok(LoadVerdict::Accept) if observes(plugin) => Ok(before),
        Ok(LoadVerdict::Refuse(reason)) => {
            plugin.figures.refusals.fetch_add(1, Ordering::Relaxed);
            Err(refusal(format!("refused the release: {reason}")))
        }
        Ok(LoadVerdict::Accept) => Ok(release),
        Err(_) if skips_failures(plugin, hook) => Ok(before),
        Err(fault) => Err(refusal(fault.brief())),
    }
}

/// Counts and logs a verdict that observe mode does not apply.
fn note_unapplied(plugin: &Plugin, call: &Invocation, verdict: &CallVerdict) {
    let (status, code) = match verdict {
        CallVerdict::Proceed => return,
        CallVerdict::Reject(failure) => (failure.status, &*failure.code),
        CallVerdict::Respond(outcome) => (outcome.status, "respond"),
    };
    plugin.figures.observed.fetch_add(1, Ordering::Relaxed);
    let request_id = &*call.id;
    tracing::info!(plugin = %plugin.name(), request_id, status, code, "would have ended the call");
}

/// The failure that the caller sees. It does not say how the plugin failed: that may reveal its configuration.
fn failure(plugin: &Plugin, fault: &Fault) -> Failure {
    let name = plugin.name();
    let failure = |code, what: &str| Failure::of_code(code, format!("plugin {name:?} {what}"));
    let (mut failure, wait) = match fault {
        Fault::BadOutput(_) => return failure(Code::PluginBadOutput, "returned an invalid verdict"),
        Fault::Overloaded => (failure(Code::Overloaded, "has too many hook calls in progress"), RETRY),
        Fault::NoMemory => (failure(Code::Overloaded, "has no memory left for this hook call"), RETRY),
        Fault::Open(wait) => (failure(Code::PluginFailed, "has failed too often"), *wait),
        Fault::TimedOut(_) => (failure(Code::PluginFailed, "took too long"), RETRY),
        Fault::Trap(_) | Fault::Refused(_) | Fault::Panicked | Fault::ProcessEnded(_) => {
            (failure(Code::PluginFailed, "has failed"), RETRY)
        }
        Fault::NoProcess => (failure(Code::PluginFailed, "is being started again"), RETRY),
    };
    failure.headers.push((RETRY_AFTER, answer::retry_after(wait)));
    failure
}
