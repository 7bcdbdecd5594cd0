//! Families of metrics that are read from a list of things of one kind.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::metrics::histogram::Snapshot;

/// A metric: its name, its help text, and how it is read from a `T`.
pub(super) type Read<T> = (&'static str, &'static str, fn(&T) -> f64);

/// A count as the double that metrics are.
#[expect(clippy::cast_precision_loss, reason = "metrics are doubles")]
pub(super) fn as_number(count: u64) -> f64 {
    count as f64
}

/// Writes each metric of each thing, labelled with its name as `kind`.
pub(super) fn family<T>(
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

/// Writes a counter with these labels.
pub(super) fn counter(metric: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, count: u64) -> fmt::Result {
    metric.encode_family(labels)?.encode_counter::<NoLabelSet, u64, u64>(&count, None)
}

/// Writes a histogram with these labels.
pub(super) fn histogram(
    metric: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    snapshot: &Snapshot,
) -> fmt::Result {
    let Snapshot { sum, count, buckets } = snapshot;
    metric.encode_family(labels)?.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)
}
