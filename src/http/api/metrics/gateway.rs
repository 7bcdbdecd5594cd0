//! What the gateway counts outside of calls, workers and plugins: deployments, connections, bytes held for clients,
//! walls, tasks.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::gateway::readiness::DeploymentReadiness;
use crate::http::api::metrics::families::{Read, as_number, counter};
use crate::http::buffers::Budget;
use crate::http::connection::open_connections::OpenConnections;
use crate::http::front::Front;
use crate::http::tls::{Handshakes, Outcome};
use crate::metrics::changes::Changes;
use crate::process::walls::machine::Wall;
use crate::supervise;
use crate::traces::Tracer;

pub(super) const DEPLOYMENT_GAUGES: [Read<DeploymentReadiness>; 4] = [
    ("ready_workers", "Workers that take calls", |deployment| as_number(deployment.ready_workers as u64)),
    ("workers", "Workers, ready or not", |deployment| as_number(deployment.workers as u64)),
    ("in_flight", "Calls in flight", |deployment| as_number(deployment.in_flight as u64)),
    ("waiting", "Calls in the queue", |deployment| as_number(deployment.waiting as u64)),
];
pub(super) const DEPLOYMENT_COUNTERS: [Read<DeploymentReadiness>; 3] = [
    ("restarts", "Workers that were replaced", |deployment| as_number(deployment.restarts)),
    ("odd_messages", "Messages of workers that were ignored", |deployment| as_number(deployment.odd_messages)),
    ("dropped_log_bytes", "Bytes of output dropped because of the limit of lines a second", |deployment| {
        as_number(deployment.dropped_log_bytes)
    }),
];

/// The bytes that are held for clients.
pub(super) fn buffers(encoder: &mut DescriptorEncoder<'_>, buffers: &Budget) -> fmt::Result {
    let help = "Bytes of requests and answers that the gateway holds for clients";
    let mut used = encoder.encode_descriptor("metagate_buffered_bytes", help, None, MetricType::Gauge)?;
    used.encode_gauge(&as_number(buffers.used() as u64))?;
    let help = "Requests and answers that were refused because max_buffered was reached";
    let mut refused = encoder.encode_descriptor("metagate_buffer_refusals", help, None, MetricType::Counter)?;
    refused.encode_counter::<NoLabelSet, u64, u64>(&buffers.refused(), None)
}

/// The connections of clients.
pub(super) fn connections(encoder: &mut DescriptorEncoder<'_>, connections: &OpenConnections) -> fmt::Result {
    let help = "Open connections of clients";
    let mut open = encoder.encode_descriptor("metagate_open_connections", help, None, MetricType::Gauge)?;
    open.encode_gauge(&as_number(connections.open() as u64))?;
    let help = "Connections of clients, by whether they were served or refused because there were too many";
    let mut metric = encoder.encode_descriptor("metagate_connections", help, None, MetricType::Counter)?;
    let (served, refused) = connections.counts();
    for (outcome, count) in [("served", served), ("refused", refused)] {
        counter(&mut metric, &[("outcome", outcome)], count)?;
    }
    Ok(())
}

/// Handshakes of TLS, by how they ended.
pub(super) fn handshakes(encoder: &mut DescriptorEncoder<'_>, handshakes: &Handshakes) -> fmt::Result {
    let help = "TLS handshakes by how they ended";
    let mut metric = encoder.encode_descriptor("metagate_tls_handshakes", help, None, MetricType::Counter)?;
    for outcome in Outcome::ALL {
        counter(&mut metric, &[("outcome", outcome.as_str())], handshakes.ended(outcome))?;
    }
    Ok(())
}

/// Deploys, rollbacks, deletions and reloads.
pub(super) fn changes(encoder: &mut DescriptorEncoder<'_>, changes: &Changes) -> fmt::Result {
    let help = "Deploys, rollbacks and deletions over HTTP, and reloads of the configuration, by their outcome";
    let mut metric = encoder.encode_descriptor("metagate_changes", help, None, MetricType::Counter)?;
    for (change, outcome, count) in changes.counts() {
        counter(&mut metric, &[("change", change), ("outcome", outcome)], count)?;
    }
    Ok(())
}

/// Preflights of web pages, by their answer.
pub(super) fn preflights(encoder: &mut DescriptorEncoder<'_>, front: &Front) -> fmt::Result {
    let help = "Preflights (CORS) that were answered, by whether the origin was permitted";
    let mut metric = encoder.encode_descriptor("metagate_cors_preflights", help, None, MetricType::Counter)?;
    for (answer, count) in ["permitted", "refused"].into_iter().zip(front.preflights()) {
        let labels = [("answer", answer)];
        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
    }
    Ok(())
}

/// Spans, by what became of them, where there are traces.
pub(super) fn spans(encoder: &mut DescriptorEncoder<'_>, tracer: Option<&Tracer>) -> fmt::Result {
    let Some(tracer) = tracer else { return Ok(()) };
    let help = "Spans that the collector has accepted (sent), and spans that were dropped, by reason";
    let mut metric = encoder.encode_descriptor("metagate_trace_spans", help, None, MetricType::Counter)?;
    for (outcome, count) in tracer.counts() {
        counter(&mut metric, &[("outcome", outcome)], count)?;
    }
    Ok(())
}

/// The walls around workers, by name: 1 where this machine can put them up.
pub(super) fn walls(encoder: &mut DescriptorEncoder<'_>, walls: &[Wall]) -> fmt::Result {
    let help = "Whether this machine can put up a wall around workers: 1, or 0 where it is missing";
    let mut metric = encoder.encode_descriptor("metagate_wall", help, None, MetricType::Gauge)?;
    for wall in walls {
        let labels = [("wall", wall.name)];
        metric.encode_family(&labels)?.encode_gauge(&u32::from(wall.up))?;
    }
    Ok(())
}

/// Restarts of long-lived tasks after a panic, by task.
pub(super) fn task_restarts(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Long-lived tasks that were restarted after a panic";
    let mut metric = encoder.encode_descriptor("metagate_task_restarts", help, None, MetricType::Counter)?;
    for (task, count) in supervise::restarts() {
        let labels = [("task", task)];
        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
    }
    Ok(())
}
