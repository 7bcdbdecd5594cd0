//! What is counted about plugins: whole plugins, their hooks, and what they count themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::gateway::inspect::InspectedPlugin;
use crate::http::api::metrics::families::{Read, as_number, counter, family, histogram};
use crate::plugin::Plugin;
use crate::wasm::budget::MemoryBudget;

const PLUGIN_GAUGES: [Read<InspectedPlugin>; 3] = [
    ("ready", "Whether it takes calls: 1, or 0 while its breaker is open for all calls or it is off", |plugin| {
        f64::from(u8::from(matches!(plugin.state.status, "ready" | "stale")))
    }),
    ("stale", "Whether its newest version could not be loaded", |plugin| {
        f64::from(u8::from(plugin.state.status == "stale"))
    }),
    (
        "open_breakers",
        "Breakers that are open: of callers, of deployments, of one caller in one deployment, of all calls",
        |plugin| as_number(plugin.open_breakers as u64),
    ),
];
const PLUGIN_COUNTERS: [Read<InspectedPlugin>; 9] = [
    ("calls", "Hook calls", |plugin| as_number(plugin.calls)),
    ("failures", "Hook calls that failed or were refused", |plugin| as_number(plugin.failures)),
    ("breaker_refusals", "Hook calls that an open breaker refused", |plugin| as_number(plugin.breaker_refusals)),
    ("memory_refusals", "Hook calls that were refused because the plugins' memory was used up", |plugin| {
        as_number(plugin.memory_refusals)
    }),
    ("refusals", "Verdicts other than continue", |plugin| as_number(plugin.refusals)),
    ("observed", "Verdicts that were not applied, in observe mode", |plugin| as_number(plugin.observed)),
    ("seconds", "Time in hooks", |plugin| plugin.mean_microseconds * as_number(plugin.calls) / 1e6),
    ("instances", "Instances created", |plugin| as_number(plugin.instances)),
    ("process_restarts", "Processes of the plugin that were started again", |plugin| {
        as_number(plugin.process_restarts)
    }),
];

/// What is counted of each plugin as a whole.
pub(super) fn plugins(encoder: &mut DescriptorEncoder<'_>, plugins: &[InspectedPlugin]) -> fmt::Result {
    let named: Vec<_> = plugins.iter().map(|plugin| (plugin.state.name.as_str(), plugin)).collect();
    family(encoder, "plugin", &named, &PLUGIN_GAUGES, MetricType::Gauge)?;
    family(encoder, "plugin", &named, &PLUGIN_COUNTERS, MetricType::Counter)?;
    own_counters(encoder, plugins)
}

/// What is counted of each hook.
pub(super) fn hooks(encoder: &mut DescriptorEncoder<'_>, plugins: &[Arc<Plugin>]) -> fmt::Result {
    let hooks = || plugins.iter().flat_map(|plugin| plugin.used_hooks().into_iter().map(move |hook| (plugin, hook)));
    let help = "Hook calls by their verdict; \"failed\" without one";
    let mut calls = encoder.encode_descriptor("metagate_plugin_hook_calls", help, None, MetricType::Counter)?;
    for (plugin, hook) in hooks() {
        for (verdict, count) in plugin.figures.of(hook).verdicts() {
            let labels = [("plugin", plugin.name()), ("hook", hook.as_str()), ("verdict", verdict)];
            counter(&mut calls, &labels, count)?;
        }
    }
    let help = "Hook calls without a verdict, by the kind of failure";
    let mut failures = encoder.encode_descriptor("metagate_plugin_hook_failures", help, None, MetricType::Counter)?;
    for (plugin, hook) in hooks() {
        for (kind, count) in plugin.figures.of(hook).failures() {
            let labels = [("plugin", plugin.name()), ("hook", hook.as_str()), ("kind", kind)];
            counter(&mut failures, &labels, count)?;
        }
    }
    let help = "Time of hook calls that ran, in seconds";
    let name = "metagate_plugin_hook_duration_seconds";
    let mut durations = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (plugin, hook) in hooks() {
        let labels = [("plugin", plugin.name()), ("hook", hook.as_str())];
        histogram(&mut durations, &labels, &plugin.figures.of(hook).durations.snapshot())?;
    }
    let help = "Memory of the plugin's largest idle instance in the gateway";
    let name = "metagate_plugin_instance_memory_bytes";
    let mut memory = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for plugin in plugins {
        if let Some(bytes) = plugin.instance_memory() {
            memory.encode_family(&[("plugin", plugin.name())])?.encode_gauge(&as_number(bytes as u64))?;
        }
    }
    Ok(())
}

/// The memory of all instances of plugins.
pub(super) fn memory(encoder: &mut DescriptorEncoder<'_>, memory: &MemoryBudget) -> fmt::Result {
    let gauges = [
        ("metagate_plugins_memory_bytes", "Memory of all instances of plugins in the gateway", memory.used()),
        ("metagate_plugins_max_memory_bytes", "The most that it may be", memory.limit()),
    ];
    for (name, help, bytes) in gauges {
        let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        gauge.encode_gauge(&as_number(bytes as u64))?;
    }
    let help = "Idle instances that were dropped because others needed their memory";
    let mut evicted =
        encoder.encode_descriptor("metagate_plugins_evicted_instances", help, None, MetricType::Counter)?;
    evicted.encode_counter::<NoLabelSet, u64, u64>(&memory.evicted(), None)
}

/// The counters that plugins keep themselves. Two plugin names may become the same metric name; the label separates
/// them.
fn own_counters(encoder: &mut DescriptorEncoder<'_>, plugins: &[InspectedPlugin]) -> fmt::Result {
    let mut by_name: BTreeMap<String, Vec<(&str, u64)>> = BTreeMap::new();
    for plugin in plugins {
        let name = plugin.state.name.as_str();
        let word: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        for (counter, count) in &plugin.counters {
            by_name.entry(format!("metagate_plugin_{word}_{counter}")).or_default().push((name, *count));
        }
    }
    for (name, counts) in by_name {
        let mut metric = encoder.encode_descriptor(&name, "Counted by the plugin itself", None, MetricType::Counter)?;
        for (plugin, count) in counts {
            let labels = [("plugin", plugin)];
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
        }
    }
    Ok(())
}
