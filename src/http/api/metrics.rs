//! `GET /metrics`: the counters of the gateway, read at each scrape, as OpenMetrics text.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::gateway::deployer::Deployer;
use crate::gateway::inspect::InspectedPlugin;
use crate::gateway::readiness::DeploymentReadiness;
use crate::http::api::reply;
use crate::http::buffers::Budget;
use crate::http::front::Front;
use crate::http::problem::{Code, Problem};
use crate::process::walls::machine::Wall;
use crate::supervise;
use crate::wasm::budget::MemoryBudget;

/// The media type of [`render`]'s text.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where the figures of `http` are.
#[derive(Debug, Clone)]
pub struct Figures {
    buffers: Arc<Budget>,
    front: Arc<Front>,
}

impl Figures {
    /// The bytes held for clients, and what the front has counted.
    #[must_use]
    pub fn new(buffers: &Arc<Budget>, front: &Arc<Front>) -> Self {
        Self { buffers: Arc::clone(buffers), front: Arc::clone(front) }
    }
}

/// Answers a scrape.
pub async fn metrics(State((deployer, figures)): State<(Arc<Deployer>, Figures)>, headers: HeaderMap) -> Response {
    match render(deployer, figures) {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => reply::problem(Problem::new(Code::Internal, "the metrics cannot be written"), &headers),
    }
}

/// All metrics as text.
fn render(deployer: Arc<Deployer>, figures: Figures) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Counters { deployer, figures }));
    let mut rendered = String::new();
    text::encode(&mut rendered, &registry)?;
    Ok(rendered)
}

struct Counters {
    deployer: Arc<Deployer>,
    figures: Figures,
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counters")
    }
}

/// A metric: its name, its help text, and how it is read from a `T`.
type Read<T> = (&'static str, &'static str, fn(&T) -> f64);

const DEPLOYMENT_GAUGES: [Read<DeploymentReadiness>; 4] = [
    ("ready_workers", "Workers that take calls", |deployment| as_number(deployment.ready_workers as u64)),
    ("workers", "Workers, ready or not", |deployment| as_number(deployment.workers as u64)),
    ("in_flight", "Calls in flight", |deployment| as_number(deployment.in_flight as u64)),
    ("waiting", "Calls in the queue", |deployment| as_number(deployment.waiting as u64)),
];
const DEPLOYMENT_COUNTERS: [Read<DeploymentReadiness>; 3] = [
    ("restarts", "Workers that were replaced", |deployment| as_number(deployment.restarts)),
    ("odd_messages", "Messages of workers that were ignored", |deployment| as_number(deployment.odd_messages)),
    ("dropped_log_bytes", "Bytes of output dropped because of the limit of lines a second", |deployment| {
        as_number(deployment.dropped_log_bytes)
    }),
];
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

#[expect(clippy::cast_precision_loss, reason = "metrics are doubles")]
fn as_number(count: u64) -> f64 {
    count as f64
}

impl Collector for Counters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let deployments = self.deployer.readiness().deployments;
        let plugins = self.deployer.gateway.inspect_plugins();
        let named: Vec<_> = deployments.iter().map(|deployment| (deployment.name.as_str(), deployment)).collect();
        family(&mut encoder, "deployment", &named, &DEPLOYMENT_GAUGES, MetricType::Gauge)?;
        family(&mut encoder, "deployment", &named, &DEPLOYMENT_COUNTERS, MetricType::Counter)?;
        let named: Vec<_> = plugins.iter().map(|plugin| (plugin.state.name.as_str(), plugin)).collect();
        family(&mut encoder, "plugin", &named, &PLUGIN_GAUGES, MetricType::Gauge)?;
        family(&mut encoder, "plugin", &named, &PLUGIN_COUNTERS, MetricType::Counter)?;
        own_counters(&mut encoder, &plugins)?;
        plugin_memory(&mut encoder, self.deployer.gateway.plugin_memory())?;
        buffers(&mut encoder, &self.figures.buffers)?;
        preflights(&mut encoder, &self.figures.front)?;
        walls(&mut encoder, self.deployer.gateway.walls())?;
        task_restarts(&mut encoder)
    }
}

fn family<T>(
    encoder: &mut DescriptorEncoder<'_>,
    kind: &str,
    things: &[(&str, &T)],
    metrics: &[Read<T>],
    metric_type: MetricType,
) -> fmt::Result {
    for (name, help, read) in metrics {
        let name = format!("metagate_{kind}_{name}");
        let mut metric = encoder.encode_descriptor(&name, help, None, metric_type)?;
        for (label, thing) in things {
            let labels = [(kind, *label)];
            let mut one = metric.encode_family(&labels)?;
            match metric_type {
                MetricType::Counter => one.encode_counter::<NoLabelSet, f64, f64>(&read(thing), None)?,
                _ => one.encode_gauge(&read(thing))?,
            }
        }
    }
    Ok(())
}

/// The memory of all instances of plugins.
fn plugin_memory(encoder: &mut DescriptorEncoder<'_>, memory: &MemoryBudget) -> fmt::Result {
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

/// The bytes that are held for clients.
fn buffers(encoder: &mut DescriptorEncoder<'_>, buffers: &Budget) -> fmt::Result {
    let help = "Bytes of requests and answers that the gateway holds for clients";
    let mut used = encoder.encode_descriptor("metagate_buffered_bytes", help, None, MetricType::Gauge)?;
    used.encode_gauge(&as_number(buffers.used() as u64))?;
    let help = "Requests and answers that were refused because max_buffered was reached";
    let mut refused = encoder.encode_descriptor("metagate_buffer_refusals", help, None, MetricType::Counter)?;
    refused.encode_counter::<NoLabelSet, u64, u64>(&buffers.refused(), None)
}

/// Preflights of web pages, by their answer.
fn preflights(encoder: &mut DescriptorEncoder<'_>, front: &Front) -> fmt::Result {
    let help = "Preflights (CORS) that were answered, by whether the origin was permitted";
    let mut metric = encoder.encode_descriptor("metagate_cors_preflights", help, None, MetricType::Counter)?;
    for (answer, count) in ["permitted", "refused"].into_iter().zip(front.preflights()) {
        let labels = [("answer", answer)];
        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
    }
    Ok(())
}

/// The walls around workers, by name: 1 where this machine can put them up.
fn walls(encoder: &mut DescriptorEncoder<'_>, walls: &[Wall]) -> fmt::Result {
    let help = "Whether this machine can put up a wall around workers: 1, or 0 where it is missing";
    let mut metric = encoder.encode_descriptor("metagate_wall", help, None, MetricType::Gauge)?;
    for wall in walls {
        let labels = [("wall", wall.name)];
        metric.encode_family(&labels)?.encode_gauge(&u32::from(wall.up))?;
    }
    Ok(())
}

/// Restarts of long-lived tasks after a panic, by task.
fn task_restarts(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Long-lived tasks that were restarted after a panic";
    let mut metric = encoder.encode_descriptor("metagate_task_restarts", help, None, MetricType::Counter)?;
    for (task, count) in supervise::restarts() {
        let labels = [("task", task)];
        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
    }
    Ok(())
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
