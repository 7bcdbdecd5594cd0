//! A plugin in detail: its settings without secrets, the figures of each hook, its last failures, its recording.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::clock;
use crate::config::{HookName, PluginConfig};
use crate::describe::declaration::Declaration;
use crate::gateway::Gateway;
use crate::gateway::wiring::Cost;
use crate::plugin::Plugin;
use crate::plugin::cases::{ReplayError, Replayed, replay};
use crate::plugin::live_recording::Recorded;
use crate::plugin::recent_failures::Failed;

/// What is shown of a plugin in service.
#[derive(Debug, Serialize)]
pub struct PluginDetail {
    /// Its settings.
    pub settings: ShownSettings,
    /// Its permissions in words; of secrets the names.
    pub grants: Vec<String>,
    /// The keys of its own configuration. Their values may be secrets.
    pub config_keys: Vec<String>,
    /// What it declares about itself: the errors with which it ends calls, and the ways of proof that it accepts.
    pub declares: Option<Declaration>,
    /// Each hook that is used.
    pub hook_figures: Vec<HookDetail>,
    /// Its last failures, the newest first.
    pub last_errors: Vec<LastError>,
    /// Its recording, if one was started.
    pub recording: Option<RecordingState>,
}

/// The settings of a plugin that are not secret.
#[derive(Debug, Serialize)]
pub struct ShownSettings {
    path: String,
    deployments: Vec<String>,
    functions: Vec<String>,
    exclude: Vec<String>,
    timeout: String,
    max_memory: String,
    max_instances: u32,
    max_uses: u32,
    instances: &'static str,
    isolation: &'static str,
    record: Option<String>,
}

/// The figures of one hook.
#[derive(Debug, Serialize)]
pub struct HookDetail {
    hook: &'static str,
    on_error: &'static str,
    #[serde(flatten)]
    cost: Cost,
    /// Hook calls by their verdict, those of which there were any.
    verdicts: BTreeMap<&'static str, u64>,
    /// Failures by their kind, those of which there were any.
    failures: BTreeMap<&'static str, u64>,
}

/// Hook calls that failed in one way.
#[derive(Debug, Serialize)]
pub struct LastError {
    hook: &'static str,
    kind: &'static str,
    deployment: String,
    function: Option<String>,
    message: String,
    #[serde(skip)]
    brief: String,
    count: u64,
    first: String,
    last: String,
}

/// How far a recording is.
#[derive(Debug, Serialize)]
pub struct RecordingState {
    /// Cases so far.
    pub recorded: usize,
    /// Their bytes.
    pub bytes: usize,
    /// When it was started: `2026-01-31T12:00:00Z`.
    pub started: String,
    /// `time`, `cases`, `bytes` or `stopped`; none while it runs.
    pub ended: Option<&'static str>,
    /// Its bounds.
    pub max_cases: usize,
    /// Bytes of all cases.
    pub max_bytes: usize,
    /// How long it runs.
    pub seconds: u64,
}

impl RecordingState {
    /// The state of a recording.
    #[must_use]
    pub fn of(recorded: &Recorded) -> Self {
        Self {
            recorded: recorded.cases.len(),
            bytes: recorded.bytes,
            started: time(recorded.started),
            ended: recorded.ended,
            max_cases: recorded.bounds.cases,
            max_bytes: recorded.bounds.bytes,
            seconds: recorded.bounds.time.as_secs(),
        }
    }
}

impl PluginDetail {
    pub(super) fn of(plugin: &Plugin) -> Self {
        let settings = &plugin.settings;
        Self {
            settings: ShownSettings::of(settings),
            grants: settings.grants.described(),
            config_keys: settings.config.keys().cloned().collect(),
            declares: plugin.declaration().map(|declaration| Declaration::clone(&declaration)),
            hook_figures: plugin.used_hooks().into_iter().map(|hook| HookDetail::of(plugin, hook)).collect(),
            last_errors: plugin.failures.newest().into_iter().map(LastError::of).collect(),
            recording: plugin.live_recording().look(RecordingState::of),
        }
    }

    /// Leaves out what the plugin wrote when it failed: it may be part of its configuration or of a call.
    pub fn hide_words(&mut self) {
        for error in &mut self.last_errors {
            error.message = std::mem::take(&mut error.brief);
        }
    }
}

impl ShownSettings {
    fn of(settings: &PluginConfig) -> Self {
        fn texts<T: ToString>(all: &[T]) -> Vec<String> {
            all.iter().map(ToString::to_string).collect()
        }
        Self {
            path: settings.path.display().to_string(),
            deployments: texts(&settings.deployments),
            functions: texts(&settings.functions),
            exclude: texts(&settings.exclude),
            timeout: settings.timeout.to_string(),
            max_memory: settings.max_memory.to_string(),
            max_instances: settings.max_instances,
            max_uses: settings.max_uses,
            instances: settings.instances.as_str(),
            isolation: settings.isolation.as_str(),
            record: settings.record.as_ref().map(|path| path.display().to_string()),
        }
    }
}

impl HookDetail {
    fn of(plugin: &Plugin, hook: HookName) -> Self {
        let figures = plugin.figures.of(hook);
        Self {
            hook: hook.as_str(),
            on_error: plugin.settings.on_error_of(hook).as_str(),
            cost: Cost::of(&figures.durations.snapshot()),
            verdicts: figures.verdicts().filter(|(_, count)| *count > 0).collect(),
            failures: figures.failures().collect(),
        }
    }
}

impl LastError {
    fn of(failed: Failed) -> Self {
        let Failed { hook, kind, deployment, function, message, brief, count, first, last } = failed;
        let (first, last) = (time(first), time(last));
        Self { hook: hook.as_str(), kind, deployment, function, message, brief, count, first, last }
    }
}

impl Gateway {
    /// The plugin of this name, if it is in service.
    #[must_use]
    pub fn plugin(&self, name: &str) -> Option<Arc<Plugin>> {
        self.plugins.current().plugins.iter().find(|plugin| plugin.name() == name).cloned()
    }

    /// Runs recorded cases of a plugin in a world of their own, for `most` at most. Blocks.
    ///
    /// # Errors
    ///
    /// The plugin has a process of its own, its file has changed, or its cases cannot be run.
    pub fn replay(&self, plugin: &Plugin, lines: &[String], most: Duration) -> Result<Vec<Replayed>, ReplayError> {
        replay(self.plugins.code_folder(), plugin, lines, most)
    }
}

fn time(at: Instant) -> String {
    humantime::format_rfc3339_seconds(clock::time_of_day(at)).to_string()
}
