//! What this program is, and what its process uses, under the names that Prometheus' own libraries use.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::process::usage::OwnUsage;

/// The version of the program.
pub(super) fn build_info(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "The version of the gateway";
    let mut metric = encoder.encode_descriptor("metagate_build", help, None, MetricType::Info)?;
    metric.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
}

/// Processor time, memory, descriptors, threads and start of the gateway's own process.
pub(super) fn process(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let Some(usage) = OwnUsage::read() else { return Ok(()) };
    let help = "Processor time of the gateway's own process in seconds";
    let mut cpu = encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
    cpu.encode_counter::<NoLabelSet, f64, f64>(&usage.cpu_seconds, None)?;
    let gauges = [
        ("process_resident_memory_bytes", "Resident memory of the gateway's own process", usage.resident_bytes),
        ("process_virtual_memory_bytes", "Virtual memory of the gateway's own process", usage.virtual_bytes),
        ("process_open_fds", "Open descriptors of the gateway's own process", usage.open_files),
        ("process_max_fds", "The most descriptors that it may have", usage.max_files),
        ("process_threads", "Threads of the gateway's own process", usage.threads),
        ("process_start_time_seconds", "When it was started, in seconds since 1970", usage.started),
    ];
    for (name, help, value) in gauges {
        encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
    }
    Ok(())
}
