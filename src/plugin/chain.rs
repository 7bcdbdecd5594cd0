//! Which plugins a call or a load runs through, in which order, and what their verdicts and failures lead to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::header::RETRY_AFTER;

use crate::answer::{self, Failure};
use crate::config::{Exclusion, HookName, Mode, OnError, Pattern, PluginName};
use crate::plugin::host::Turn;
use crate::plugin::invocation::Invocation;
use crate::plugin::outcome::{Outcome, Source};
use crate::plugin::release::Release;
use crate::plugin::run::{Fault, Plugin, Verdict};

/// Functions of one deployment whose chains are kept; more are worked out anew at each call.
const KEPT_CHAINS: usize = 4_096;
/// How long a client is asked to wait after a plugin has failed.
const RETRY: Duration = Duration::from_secs(1);

const GIVEN_BACK: &str = "a hook call gives back what it was given";

/// The plugins that apply somewhere, in the order of the configuration.
#[derive(Clone)]
pub struct Chain {
    plugins: Arc<[Arc<Plugin>]>,
}

/// Why a release is not served.
#[derive(Debug, Clone, thiserror::Error)]
#[error("plugin {plugin:?} {what}")]
pub struct Refusal {
    /// The plugin.
    pub plugin: PluginName,
    /// `refuses it: …`, or how it failed.
    pub what: String,
}

impl Chain {
    /// The plugins as a chain.
    #[must_use]
    pub fn new(plugins: Vec<Arc<Plugin>>) -> Self {
        Self { plugins: plugins.into() }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plugins.is_empty()
    }

    /// Its plugins, in order.
    #[must_use]
    pub fn plugins(&self) -> &[Arc<Plugin>] {
        &self.plugins
    }

    /// Whether an outcome has to be shown to any of them.
    #[must_use]
    pub fn has_after_invoke(&self) -> bool {
        self.plugins.iter().any(|plugin| plugin.has(HookName::AfterInvoke))
    }

    /// Runs the before-hooks in order. Gives the call back, how many plugins it has passed, and an outcome if one of them
    /// ended it.
    pub async fn before_invoke(&self, mut call: Box<Invocation>) -> (Box<Invocation>, usize, Option<Box<Outcome>>) {
        for (at, plugin) in self.plugins.iter().enumerate() {
            if !plugin.has(HookName::BeforeInvoke) || call.callers.contains(&plugin.settings.name) {
                continue;
            }
            let deadline = call.deadline;
            let recorded = plugin.recorder.as_ref().map(|_| Box::new(Invocation::clone(&call)));
            let turn = Turn { call: Some(call), ..Turn::default() };
            let (turn, verdict) = plugin.call(HookName::BeforeInvoke, turn, deadline).await;
            let mut changes = turn.changes;
            call = turn.call.expect(GIVEN_BACK);
            if let (Some(recorder), Some(before)) = (&plugin.recorder, recorded) {
                let mut after = before.clone();
                changes.clone().apply(&mut after);
                recorder.before_invoke(&plugin.settings.name, &before, &after, &verdict);
            }
            let observes = plugin.settings.mode == Mode::Observe;
            let ended = match verdict {
                Ok(Verdict::Proceed | Verdict::Refuse(_)) => {
                    if !observes {
                        changes.apply(&mut call);
                    }
                    None
                }
                Ok(verdict) if observes => {
                    observed(plugin, &call, &verdict);
                    None
                }
                Ok(Verdict::Respond(outcome)) => {
                    plugin.figures.refusals.fetch_add(1, Ordering::Relaxed);
                    changes.apply(&mut call);
                    Some(outcome)
                }
                Ok(Verdict::Reject(failure)) => {
                    plugin.figures.refusals.fetch_add(1, Ordering::Relaxed);
                    changes.apply(&mut call);
                    Some(Box::new(Outcome::failed(Source::Plugin, failure)))
                }
                Err(_) if observes || plugin.settings.on_error_of(HookName::BeforeInvoke) == OnError::Skip => None,
                Err(fault) => Some(Box::new(Outcome::failed(Source::Plugin, failure(plugin, &fault)))),
            };
            if ended.is_some() {
                return (call, at, ended);
            }
        }
        (call, self.plugins.len(), None)
    }

    /// Runs the after-hooks of the first `passed` plugins in reverse.
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
            let before = outcome.clone();
            // The call's own time may be over: what has become of it is told all the same.
            let latest = Instant::now() + plugin.settings.timeout.get();
            let turn = Turn { call: Some(call), outcome: Some(outcome), ..Turn::default() };
            let (turn, verdict) = plugin.call(HookName::AfterInvoke, turn, latest).await;
            let mut changes = turn.changes;
            (call, outcome) = (turn.call.expect(GIVEN_BACK), turn.outcome.expect(GIVEN_BACK));
            if let Some(recorder) = &plugin.recorder {
                recorder.after_invoke(&plugin.settings.name, &call, &before, &outcome, &verdict);
            }
            let observes = plugin.settings.mode == Mode::Observe;
            match verdict {
                Ok(_) if observes => {
                    if outcome.status != before.status || outcome.code() != before.code() {
                        tracing::info!(
                            plugin = plugin.name(),
                            request_id = &*call.id,
                            from = before.status,
                            to = outcome.status,
                            "would have changed the outcome"
                        );
                    }
                    plugin.figures.observed.fetch_add(1, Ordering::Relaxed);
                    outcome = before;
                }
                Ok(_) => changes.apply(&mut call),
                Err(_) if observes || plugin.settings.on_error_of(HookName::AfterInvoke) == OnError::Skip => {
                    outcome = before;
                }
                Err(fault) => *outcome = Outcome::failed(Source::Plugin, failure(plugin, &fault)),
            }
        }
        (call, outcome)
    }

    /// Runs the before-load hooks in order on a release.
    pub async fn before_load(&self, release: Box<Release>) -> Result<Box<Release>, Refusal> {
        self.load(HookName::BeforeLoad, release, self.plugins.iter()).await
    }

    /// Runs the after-load hooks in reverse on a release.
    pub async fn after_load(&self, release: Box<Release>) -> Result<Box<Release>, Refusal> {
        self.load(HookName::AfterLoad, release, self.plugins.iter().rev()).await
    }

    /// Whether any of them looks at loads at this point.
    #[must_use]
    pub fn has(&self, hook: HookName) -> bool {
        self.plugins.iter().any(|plugin| plugin.has(hook))
    }

    async fn load(
        &self,
        hook: HookName,
        mut release: Box<Release>,
        plugins: impl Iterator<Item = &Arc<Plugin>>,
    ) -> Result<Box<Release>, Refusal> {
        for plugin in plugins.filter(|plugin| plugin.has(hook)) {
            let before = release.clone();
            let turn = Turn { release: Some(release), ..Turn::default() };
            let latest = Instant::now() + plugin.settings.timeout.get();
            let (turn, verdict) = plugin.call(hook, turn, latest).await;
            release = turn.release.expect(GIVEN_BACK);
            if let Some(recorder) = &plugin.recorder {
                recorder.load(hook, &before, &release, &verdict);
            }
            let observes = plugin.settings.mode == Mode::Observe;
            let refusal = |what| Err(Refusal { plugin: plugin.settings.name.clone(), what });
            match verdict {
                Ok(Verdict::Refuse(reason)) if observes => {
                    plugin.figures.observed.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(plugin = plugin.name(), deployment = release.deployment, reason, "would refuse it");
                    release = before;
                }
                Ok(_) if observes => release = before,
                Ok(Verdict::Refuse(reason)) => {
                    plugin.figures.refusals.fetch_add(1, Ordering::Relaxed);
                    return refusal(format!("refuses it: {reason}"));
                }
                Ok(_) => {}
                Err(_) if observes || plugin.settings.on_error_of(hook) == OnError::Skip => release = before,
                Err(fault) => return refusal(fault.to_string()),
            }
        }
        Ok(release)
    }
}

fn observed(plugin: &Plugin, call: &Invocation, verdict: &Verdict) {
    plugin.figures.observed.fetch_add(1, Ordering::Relaxed);
    let (status, code) = match verdict {
        Verdict::Reject(failure) => (failure.status, &*failure.code),
        Verdict::Respond(outcome) => (outcome.status, "respond"),
        Verdict::Proceed | Verdict::Refuse(_) => (0, ""),
    };
    let request_id = &*call.id;
    tracing::info!(plugin = plugin.name(), request_id, status, code, "would have ended the call");
}

fn applies_to_all(plugin: &Plugin, deployment: &str) -> bool {
    let settings = &plugin.settings;
    let excludes_some =
        |exclusion: &Exclusion| exclusion.function.is_some() && exclusion.deployment.matches(deployment);
    settings.functions.iter().any(Pattern::is_any) && !settings.exclude.iter().any(excludes_some)
}

/// What callers are told when a plugin has failed: that it has, not how.
fn failure(plugin: &Plugin, fault: &Fault) -> Failure {
    let name = plugin.name();
    let told = |status, code: &'static str, what: &str| Failure::new(status, code, format!("plugin {name:?} {what}"));
    let (mut failure, wait) = match fault {
        Fault::BadOutput(_) => return told(502, "plugin_bad_output", "answered what cannot be used"),
        Fault::Overloaded => (told(503, "overloaded", "has too many calls to look at"), RETRY),
        Fault::Open(wait) => (told(503, "plugin_failed", "has failed too often"), *wait),
        Fault::TimedOut(_) => (told(503, "plugin_failed", "took too long"), RETRY),
        Fault::Trap(_) | Fault::Refused(_) | Fault::Panicked => (told(503, "plugin_failed", "has failed"), RETRY),
    };
    failure.headers.push((RETRY_AFTER, answer::retry_after(wait)));
    failure
}

/// The chains of one deployment: worked out when plugins or deployments change, looked up at each call.
pub enum DeploymentChain {
    /// No plugin applies to any of its functions.
    None,
    /// The same for all of them.
    Uniform(Chain),
    /// Some of them differ.
    ByFunction {
        /// Those that apply to some function.
        plugins: Vec<Arc<Plugin>>,
        /// The deployment.
        deployment: Box<str>,
        /// What was worked out already.
        kept: ArcSwap<HashMap<Box<str>, Option<Chain>>>,
    },
}

impl DeploymentChain {
    /// The chains for a deployment among all plugins.
    #[must_use]
    pub fn new(plugins: &[Arc<Plugin>], deployment: &str) -> Self {
        let hooked = |plugin: &&Arc<Plugin>| plugin.has(HookName::BeforeInvoke) || plugin.has(HookName::AfterInvoke);
        let applying: Vec<Arc<Plugin>> = plugins
            .iter()
            .filter(hooked)
            .filter(|plugin| plugin.settings.applies_to_deployment(deployment))
            .cloned()
            .collect();
        if applying.is_empty() {
            return Self::None;
        }
        if applying.iter().all(|plugin| applies_to_all(plugin, deployment)) {
            return Self::Uniform(Chain::new(applying));
        }
        Self::ByFunction { plugins: applying, deployment: deployment.into(), kept: ArcSwap::default() }
    }

    /// The chain of a function; none where no plugin applies. `is_known`: whether the deployment has it.
    #[must_use]
    pub fn of(&self, function: &str, is_known: impl FnOnce() -> bool) -> Option<Chain> {
        match self {
            Self::None => None,
            Self::Uniform(chain) => Some(chain.clone()),
            Self::ByFunction { plugins, deployment, kept } => {
                if let Some(found) = kept.load().get(function) {
                    return found.clone();
                }
                let applying = plugins.iter().filter(|plugin| plugin.settings.applies_to(deployment, function));
                let applying: Vec<Arc<Plugin>> = applying.cloned().collect();
                let chain = (!applying.is_empty()).then(|| Chain::new(applying));
                if kept.load().len() < KEPT_CHAINS && is_known() {
                    kept.rcu(|kept| {
                        let mut kept = HashMap::clone(kept);
                        kept.insert(function.into(), chain.clone());
                        kept
                    });
                }
                chain
            }
        }
    }
}
