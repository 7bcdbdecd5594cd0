//! What is counted of calls, by deployment and function.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use crate::clock;
use crate::gateway::Gateway;
use crate::http::api::metrics::families::{counter, histogram};
use crate::metrics::calls::{DeploymentCalls, FunctionCalls};
use crate::metrics::histogram::CallDurations;

/// Reads a histogram of a deployment.
type Durations = fn(&DeploymentCalls) -> &CallDurations;
/// Reads a counter of a function.
type Count = fn(&FunctionCalls) -> &AtomicU64;

/// The parts of a call's time.
const PARTS: [(&str, Durations); 4] = [
    ("plugins", |calls| &calls.plugins),
    ("queue", |calls| &calls.queue),
    ("worker", |calls| &calls.worker),
    ("stream", |calls| &calls.stream),
];
/// Bytes, by function.
const BYTES: [(&str, &str, Count); 2] = [
    ("metagate_call_request_bytes", "Bytes of the bodies of calls' requests", |calls| &calls.request_bytes),
    ("metagate_call_answer_bytes", "Bytes of the bodies of calls' answers", |calls| &calls.answer_bytes),
];

/// What is counted of the calls of every deployment; those of names that nothing is deployed under have no name.
pub(super) fn calls(encoder: &mut DescriptorEncoder<'_>, gateway: &Gateway) -> fmt::Result {
    let Some(calls) = gateway.calls() else { return Ok(()) };
    let deployments = gateway.deployments();
    let named: Vec<(&str, &DeploymentCalls)> = deployments
        .iter()
        .filter_map(|deployment| Some((deployment.name.as_str(), deployment.calls.as_deref()?)))
        .chain([("", &*calls.unknown)])
        .collect();
    let functions: Vec<(&str, Arc<FunctionCalls>)> = named
        .iter()
        .flat_map(|(name, calls)| calls.functions().into_iter().map(|function| (*name, function)))
        .collect();
    last_uses(encoder, &named)?;
    by_outcome(encoder, &functions)?;
    by_function(encoder, &functions)?;
    by_part(encoder, &named)
}

fn last_uses(encoder: &mut DescriptorEncoder<'_>, deployments: &[(&str, &DeploymentCalls)]) -> fmt::Result {
    let help = "When a call of the deployment was last seen, in seconds since 1970; looked at once a second";
    let name = "metagate_deployment_last_use_timestamp_seconds";
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (deployment, calls) in deployments {
        let Some(last_used) = calls.past().last_used else { continue };
        let since_1970 = clock::time_of_day(last_used).duration_since(UNIX_EPOCH).unwrap_or_default();
        metric.encode_family(&[("deployment", *deployment)])?.encode_gauge(&since_1970.as_secs_f64().round())?;
    }
    Ok(())
}

fn by_outcome(encoder: &mut DescriptorEncoder<'_>, functions: &[(&str, Arc<FunctionCalls>)]) -> fmt::Result {
    let help = "Calls by status and, for errors and streams that broke off, code";
    let mut metric = encoder.encode_descriptor("metagate_calls", help, None, MetricType::Counter)?;
    for (deployment, function) in functions {
        for (status, code, count) in function.outcomes.counts() {
            let status = status.to_string();
            let labels =
                [("deployment", *deployment), ("function", &function.name), ("status", &status), ("code", &code)];
            counter(&mut metric, &labels, count)?;
        }
    }
    Ok(())
}

fn by_function(encoder: &mut DescriptorEncoder<'_>, functions: &[(&str, Arc<FunctionCalls>)]) -> fmt::Result {
    let help = "Time from the address of a request to its answer, or to the end of a stream, in seconds";
    let name = "metagate_call_duration_seconds";
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (deployment, function) in functions {
        let labels = [("deployment", *deployment), ("function", &function.name)];
        histogram(&mut metric, &labels, &function.durations.snapshot())?;
    }
    for (name, help, bytes) in BYTES {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (deployment, function) in functions {
            let labels = [("deployment", *deployment), ("function", &function.name)];
            counter(&mut metric, &labels, bytes(function).load(Ordering::Relaxed))?;
        }
    }
    Ok(())
}

fn by_part(encoder: &mut DescriptorEncoder<'_>, deployments: &[(&str, &DeploymentCalls)]) -> fmt::Result {
    let help = "Time of a part of calls in seconds: in plugins, in the queue, in the worker up to its answer or the \
                first piece of a stream, and of streams from there to their end";
    let name = "metagate_call_part_duration_seconds";
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (deployment, calls) in deployments {
        for (part, durations) in PARTS {
            let snapshot = durations(calls).snapshot();
            if snapshot.count > 0 {
                histogram(&mut metric, &[("deployment", *deployment), ("part", part)], &snapshot)?;
            }
        }
    }
    Ok(())
}
