//! What is counted of asynchronous calls.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::gateway::Gateway;
use crate::http::api::metrics::families::{as_number, counter};

/// Calls that were accepted, tried and have ended, and how much is held.
pub(super) fn async_calls(encoder: &mut DescriptorEncoder<'_>, gateway: &Gateway) -> fmt::Result {
    let Some(calls) = gateway.async_calls() else { return Ok(()) };
    let figures = &calls.queue.figures;
    let (waiting, bytes) = figures.held();
    for (name, help, count) in [
        ("metagate_async_calls_accepted", "Asynchronous calls that were accepted", figures.accepted()),
        ("metagate_async_tries", "Tries of asynchronous calls that were begun", figures.calls.total()),
        ("metagate_async_callback_tries", "Tries of callbacks that were begun", figures.callbacks.total()),
    ] {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
    }
    for (name, help, ends) in [
        ("metagate_async_calls_ended", "Asynchronous calls that have ended, by state", figures.calls.ends()),
        ("metagate_async_callbacks_ended", "Callbacks that have ended, by state", figures.callbacks.ends()),
    ] {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (state, count) in ends {
            counter(&mut metric, &[("state", state.as_str())], count)?;
        }
    }
    for (name, help, count) in [
        ("metagate_async_calls_waiting", "Asynchronous calls that have not ended", waiting),
        ("metagate_async_bytes", "Bytes of requests and results of asynchronous calls", bytes),
    ] {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&as_number(count))?;
    }
    Ok(())
}
