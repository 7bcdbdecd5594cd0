//! Deployments and plugins in detail: the list that MetaCall's clients read, and the figures of each plugin.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde::Serialize;
use serde_json::Value;

use crate::config::HookName;
use crate::gateway::async_calls::inspected::{InspectedLimits, InspectedSchedule};
use crate::gateway::plugin_detail::PluginDetail;
use crate::gateway::readiness::{self, PluginReadiness, Reason};
use crate::gateway::{Gateway, VERSION};
use crate::registry::Deployment;

/// Largest number of open breakers of a plugin that are shown.
const OPEN_SHOWN: usize = 16;

/// A deployment in the form of MetaCall's protocol.
#[derive(Debug, Serialize)]
pub struct InspectedDeployment {
    /// `ready`, `create` while it starts, or `fail`.
    pub status: &'static str,
    /// The first part of its addresses.
    pub prefix: String,
    /// Its name.
    pub suffix: String,
    /// Always `v1`.
    pub version: &'static str,
    /// Its functions, by language and script.
    pub packages: Value,
    /// Always empty. MetaCall's clients require the field.
    pub ports: [u16; 0],
    /// The number of its release; none for a deployment of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<u64>,
    /// `package` or `repository`; none for a deployment of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<&'static str>,
    /// The labels that load hooks of plugins have set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When its functions are called by the configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<InspectedSchedule>,
    /// The limits of its asynchronous calls, where they are not those of all.
    #[serde(rename = "async", skip_serializing_if = "Option::is_none")]
    pub async_limits: Option<InspectedLimits>,
    /// What is odd about it although it serves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Reason>,
}

/// A plugin with its figures.
#[derive(Debug, Serialize)]
pub struct InspectedPlugin {
    /// Name, status and error.
    #[serde(flatten)]
    pub state: PluginReadiness,
    /// The SHA-256 of its file.
    pub sha256: String,
    /// The hooks that it exports.
    pub hooks: Vec<&'static str>,
    /// `enforce` or `observe`.
    pub mode: &'static str,
    /// Hook calls since it was loaded.
    pub calls: u64,
    /// Hook calls that trapped, timed out, returned an unusable value or were refused.
    pub failures: u64,
    /// Hook calls that an open breaker refused.
    pub breaker_refusals: u64,
    /// Hook calls that were refused because all plugins together had used up their memory.
    pub memory_refusals: u64,
    /// How many breakers are open.
    pub open_breakers: usize,
    /// What the open breakers refuse, such as `calls of 192.0.2.7 to math`; at most 16 of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub open_for: Vec<String>,
    /// Verdicts that ended a call or refused a release.
    pub refusals: u64,
    /// Verdicts that observe mode did not carry out.
    pub observed: u64,
    /// The mean time of a hook call in microseconds.
    pub mean_microseconds: f64,
    /// Instances made since it was loaded.
    pub instances: u64,
    /// How often its process was started again, with `isolation = "process"`.
    pub process_restarts: u64,
    /// The counters that it keeps itself.
    pub counters: BTreeMap<String, u64>,
    /// The rest; none for a plugin that could not be loaded.
    #[serde(flatten)]
    pub detail: Option<PluginDetail>,
}

impl InspectedPlugin {
    /// A plugin that could not be loaded.
    fn failed(state: PluginReadiness) -> Self {
        Self {
            state,
            sha256: String::new(),
            hooks: Vec::new(),
            mode: "",
            calls: 0,
            failures: 0,
            breaker_refusals: 0,
            memory_refusals: 0,
            open_breakers: 0,
            open_for: Vec::new(),
            refusals: 0,
            observed: 0,
            mean_microseconds: 0.0,
            instances: 0,
            process_restarts: 0,
            counters: BTreeMap::new(),
            detail: None,
        }
    }
}

impl Gateway {
    /// Every deployment that has loaded or failed, the newest first.
    #[must_use]
    pub fn inspect(&self) -> Vec<InspectedDeployment> {
        self.registry.all().iter().filter_map(|deployment| self.inspect_one(deployment)).collect()
    }

    fn inspect_one(&self, deployment: &Deployment) -> Option<InspectedDeployment> {
        let state = readiness::of_deployment(deployment);
        let exports = deployment.pool().and_then(|pool| pool.exports());
        let packages = exports.map(|exports| exports.packages.clone());
        let status = match (state.status, &packages) {
            ("failed", _) => "fail",
            (_, Some(_)) => "ready",
            (_, None) => return None,
        };
        Some(InspectedDeployment {
            status,
            prefix: self.prefix.as_str().to_owned(),
            suffix: deployment.name.as_str().to_owned(),
            version: VERSION,
            packages: packages.unwrap_or_else(|| Value::Object(serde_json::Map::new())),
            ports: [],
            release: deployment.stored().map(|stored| stored.number),
            origin: deployment.stored().map(|stored| stored.origin),
            labels: deployment.labels.lock().clone(),
            schedules: self.async_calls().map(|calls| calls.schedules_of(&deployment.name)).unwrap_or_default(),
            async_limits: self.async_calls().and_then(|calls| calls.limits_of(&deployment.name)),
            warnings: state.warnings,
            error: state.error,
        })
    }

    /// Every plugin: those in service in the order of the chain, then those that cannot be loaded.
    #[must_use]
    pub fn inspect_plugins(&self) -> Vec<InspectedPlugin> {
        let set = self.plugins.current();
        let inspected = readiness::of_plugins(&set).into_iter().zip(&set.plugins).map(|(state, plugin)| {
            let figures = &plugin.figures;
            let calls = figures.calls.load(Ordering::Relaxed);
            let open = plugin.open_parts();
            let nanoseconds = figures.nanoseconds.load(Ordering::Relaxed);
            InspectedPlugin {
                state,
                sha256: plugin.surface.sha256_text(),
                hooks: HookName::ALL.iter().filter(|hook| plugin.has(**hook)).map(|hook| hook.as_str()).collect(),
                mode: plugin.settings.mode.as_str(),
                calls,
                failures: figures.failures.load(Ordering::Relaxed),
                breaker_refusals: figures.breaker_refusals.load(Ordering::Relaxed),
                memory_refusals: figures.memory_refusals.load(Ordering::Relaxed),
                open_breakers: open.len(),
                open_for: open.iter().take(OPEN_SHOWN).map(ToString::to_string).collect(),
                refusals: figures.refusals.load(Ordering::Relaxed),
                observed: figures.observed.load(Ordering::Relaxed),
                mean_microseconds: (nanoseconds / calls.max(1)) as f64 / 1000.0,
                instances: plugin.instances(),
                process_restarts: plugin.process_restarts(),
                counters: plugin.counters(),
                detail: Some(PluginDetail::of(plugin)),
            }
        });
        let failed = readiness::of_plugins(&set).into_iter().skip(set.plugins.len());
        inspected.chain(failed.map(InspectedPlugin::failed)).collect()
    }
}
