//! How the cluster of this gateway is.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use crate::clock;
use crate::cluster::Cluster;
use crate::cluster::engine::Reach;
use crate::http::api::metrics::families::as_number;

/// Whether the servers of the cluster answer, and how far this gateway has come; nothing of a gateway that is alone.
pub(super) fn cluster(encoder: &mut DescriptorEncoder<'_>, cluster: Option<&Cluster>) -> fmt::Result {
    let Some(cluster) = cluster else { return Ok(()) };
    let (reached, away) = match cluster.engine.reach() {
        Reach::Reached => (1, 0.0),
        Reach::Away { since, .. } => (0, clock::since(since).as_secs_f64()),
    };
    let own = cluster.nodes.own();
    let gateways = 1 + cluster.nodes.others().len() as u64;
    let lost = u64::from(cluster.lost().is_some());
    for (name, help, value) in [
        ("metagate_cluster_engine_reached", "Whether the NATS servers of the cluster answer", reached),
        ("metagate_cluster_registry_lost", "Whether the registry has lost data, and is not obeyed", lost),
        ("metagate_cluster_gateways", "Gateways of the cluster that are there", gateways),
        ("metagate_cluster_applied_revision", "Changes up to this revision were made or have failed", own.applied),
        ("metagate_cluster_failures", "Deployments whose release is not in service here", own.failures.len() as u64),
    ] {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&as_number(value))?;
    }
    let help = "Time since the NATS servers of the cluster answered; 0 if they do";
    let mut metric =
        encoder.encode_descriptor("metagate_cluster_engine_away_seconds", help, None, MetricType::Gauge)?;
    metric.encode_gauge(&away)
}
