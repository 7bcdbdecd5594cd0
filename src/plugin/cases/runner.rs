//! Runs cases one after the other through the gateway's own code, with `world` in place of the world outside.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Map, Value};

use crate::config::{HookName, PluginConfig, PluginName};
use crate::plugin::Plugin;
use crate::plugin::cases::compare::{Got, compare};
use crate::plugin::cases::difference::Difference;
use crate::plugin::cases::form::{Case, Hook, VerdictName};
use crate::plugin::cases::prepare;
use crate::plugin::cases::read::{Common, MAX_BODY};
use crate::plugin::cases::world::World;
use crate::plugin::component::{Compiled, Surface};
use crate::plugin::fault::Fault;
use crate::plugin::host::input::{CallInput, HookInput, OutcomeInput};
use crate::plugin::load::Loader;
use crate::plugin::load_error::{LoadError, Reason};
use crate::plugin::outcome::{Content, Outcome, Source};
use crate::plugin::release::Release;
use crate::plugin::threads::Threads;
use crate::plugin::verdict::{CallVerdict, LoadVerdict};
use crate::wasm::budget::MemoryBudget;

/// The plugin that has set the context values of a case.
const SHARER: &str = "earlier";

/// A plugin under test. Its cases share a store, counters and instances.
pub struct Runner {
    pub(super) loader: Loader,
    pub(super) threads: Arc<Threads>,
    pub(super) compiled: Compiled,
    pub(super) world: Arc<World>,
    pub(super) settings: PluginConfig,
    sharer: PluginName,
    /// The plugin by configuration: an instance keeps its configuration for life.
    plugins: HashMap<String, Arc<Plugin>>,
}

/// The result of a case.
#[derive(Debug)]
pub struct Report {
    /// Differences from the expectations; empty if the case passes.
    pub differences: Vec<Difference>,
    /// Lines that the plugin logged, each after its level.
    pub log: Vec<String>,
    /// The functions in which it trapped, the innermost first.
    pub stack: Vec<String>,
    /// Requests and calls of the plugin for which the case has no answer.
    pub missed: Vec<String>,
    /// How long the case took, loading included.
    pub time: Duration,
}

impl Report {
    /// Whether there are no differences.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.differences.is_empty()
    }
}

impl Runner {
    /// Compiles the bytes of a plugin's file and reads its exports and imports. `settings` are its limits, and its
    /// configuration unless `common` has one. Everything is granted. Compiled code is kept below `cache`.
    pub fn new(cache: &Path, bytes: Vec<u8>, mut settings: PluginConfig, common: Common) -> anyhow::Result<Self> {
        let Common { config, mut env, secrets, now } = common;
        for name in &settings.grants.env {
            if let Ok(value) = std::env::var(name) {
                env.entry(name.clone()).or_insert(value);
            }
        }
        let grants = &mut settings.grants;
        grants.env = env.keys().cloned().collect();
        grants.secrets.extend(secrets);
        (grants.store, grants.metrics) = (true, true);
        grants.invoke = vec!["*/*".parse().context("granting all functions of all deployments")?];
        if let Some(config) = config {
            settings.config = config;
        }
        (settings.hooks, settings.record, settings.sha256) = (None, None, None);
        let world = World::new(now.map(|now| now.0));
        let threads = Arc::new(Threads::start().context("starting the plugins' threads")?);
        let memory = Arc::new(MemoryBudget::new(u64::MAX));
        let loader = Loader::new(cache, world.outside(env), Arc::clone(&threads), MAX_BODY as u64, memory)?;
        let compiled = loader.compile(bytes)?;
        let sharer = PluginName::new(SHARER)?;
        Ok(Self { loader, threads, compiled, world, settings, sharer, plugins: HashMap::new() })
    }

    /// Exports and imports of the plugin.
    #[must_use]
    pub fn surface(&self) -> &Surface {
        &self.compiled.surface
    }

    /// The JSON Schema of its configuration, if it has one.
    pub fn config_schema(&self) -> Result<Option<String>, LoadError> {
        self.loader.config_schema(self.settings.clone(), self.compiled.clone())
    }

    /// Runs a case.
    pub fn run(&mut self, case: &Case) -> Report {
        let began = Instant::now();
        if case.reset {
            self.plugins.clear();
            self.loader.forget();
        }
        self.world.begin(case);
        let loaded = self.plugin(case);
        let mut got = match (&loaded, case.hook) {
            (Ok(_), Hook::Start) => Got::plain(VerdictName::Accept),
            (Ok(plugin), Hook::At(hook)) => self.call(plugin, case, hook),
            (Err(error), _) => refused(error, case.hook),
        };
        got.log = self.world.log();
        if let Ok(plugin) = &loaded {
            got.metrics = plugin.counters();
        }
        Report {
            differences: compare(case, &self.settings.name, &got),
            log: got.log,
            stack: got.stack,
            missed: self.world.missed(),
            time: began.elapsed(),
        }
    }

    /// The plugin with a case's configuration.
    fn plugin(&mut self, case: &Case) -> Result<Arc<Plugin>, LoadError> {
        let config = self.config_of(case);
        let key = Value::Object(config.clone()).to_string();
        if let Some(plugin) = self.plugins.get(&key)
            && case.hook != Hook::Start
            && !plugin.is_disabled()
        {
            return Ok(Arc::clone(plugin));
        }
        let settings = PluginConfig { config, ..self.settings.clone() };
        let plugin = self.loader.link(settings, self.compiled.clone())?;
        self.plugins.insert(key, Arc::clone(&plugin));
        Ok(plugin)
    }

    pub(super) fn config_of(&self, case: &Case) -> Map<String, Value> {
        case.config.clone().unwrap_or_else(|| self.settings.config.clone())
    }

    /// The input of the hook that a case calls.
    pub(super) fn input(&self, case: &Case, hook: HookName) -> Result<HookInput, String> {
        prepare::input(case, hook, self.loader.clock().instant(), &self.sharer)
    }

    fn call(&self, plugin: &Arc<Plugin>, case: &Case, hook: HookName) -> Got {
        if !plugin.has(hook) {
            return Got::with_message(VerdictName::Fault, format!("exports no {}", hook.as_str()));
        }
        let input = match self.input(case, hook) {
            Ok(input) => input,
            Err(reason) => return Got::with_message(VerdictName::Fault, format!("the case cannot be run: {reason}")),
        };
        // Failures that cases expect must not open a breaker for later cases.
        plugin.reset_breakers();
        // The timeout alone ends a hook.
        let latest = Instant::now() + plugin.settings.timeout.get() * 4;
        let threads = self.threads.handle();
        match input {
            HookInput::Nothing => Got::plain(VerdictName::Accept),
            HookInput::BeforeInvoke(input) => {
                let (input, verdict) = threads.block_on(plugin.run_hook(input, latest));
                got_before_invoke(input, verdict)
            }
            HookInput::AfterInvoke(input) => {
                let (input, verdict) = threads.block_on(plugin.run_hook(input, latest));
                got_after_invoke(input, verdict)
            }
            HookInput::Load(release) => {
                let (release, verdict) = threads.block_on(plugin.run_hook(release, latest));
                got_load(release, verdict)
            }
        }
    }
}

fn got_before_invoke(input: CallInput, verdict: Result<CallVerdict, Fault>) -> Got {
    let CallInput { mut call, mut changes } = input;
    let id = call.id.to_string();
    let got = match verdict {
        // The changes of a failed hook have no effect.
        Err(fault) => return Got { call: Some(call), ..Got::failed(&fault) },
        Ok(CallVerdict::Proceed) => Got::plain(VerdictName::Proceed),
        Ok(CallVerdict::Respond(outcome)) => {
            let summary = format!("respond ({})", outcome.status);
            Got { summary, ..of_outcome(VerdictName::Respond, *outcome, &id) }
        }
        Ok(CallVerdict::Reject(failure)) => {
            let summary = format!("reject ({} {}: {})", failure.status, failure.code, failure.message);
            let outcome = Outcome::failed(Source::Plugin, failure);
            Got { summary, ..of_outcome(VerdictName::Reject, outcome, &id) }
        }
    };
    changes.apply(&mut call);
    Got { call: Some(call), ..got }
}

fn got_after_invoke(input: OutcomeInput, verdict: Result<(), Fault>) -> Got {
    let OutcomeInput { call: CallInput { mut call, mut changes }, outcome } = input;
    if let Err(fault) = verdict {
        return Got { call: Some(call), ..Got::failed(&fault) };
    }
    let got = of_outcome(VerdictName::Done, *outcome, &call.id);
    changes.apply(&mut call);
    Got { call: Some(call), ..got }
}

fn got_load(release: Box<Release>, verdict: Result<LoadVerdict, Fault>) -> Got {
    match verdict {
        Err(fault) => Got::failed(&fault),
        Ok(LoadVerdict::Refuse(reason)) => Got::with_message(VerdictName::Refuse, reason),
        Ok(LoadVerdict::Accept) => Got { release: Some(release), ..Got::plain(VerdictName::Accept) },
    }
}

fn of_outcome(verdict: VerdictName, outcome: Outcome, id: &str) -> Got {
    let body = outcome.body(id);
    let (code, message) = match outcome.content {
        Content::Result(_) | Content::Answer(_) | Content::Stream(..) => (None, None),
        Content::Problem { code, message, detail: _ } => (Some(code.into_owned()), Some(message)),
    };
    let (status, headers) = (Some(outcome.status), outcome.headers);
    Got { status, code, message, headers, body: Some(body), ..Got::plain(verdict) }
}

/// The result of a case whose configuration the plugin refused.
fn refused(error: &LoadError, hook: Hook) -> Got {
    let (verdict, message) = match &error.reason {
        Reason::Schema(message) | Reason::Start(Fault::Refused(message)) => (VerdictName::Refuse, message.clone()),
        Reason::Start(fault) => return Got::failed(fault),
        reason => (VerdictName::Fault, reason.to_string()),
    };
    if verdict == VerdictName::Refuse && hook != Hook::Start {
        return Got::with_message(VerdictName::Fault, format!("refused its configuration: {message}"));
    }
    Got::with_message(verdict, message)
}
