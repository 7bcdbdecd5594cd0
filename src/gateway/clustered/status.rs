//! How the cluster of this gateway is: for `GET /api/cluster`, `/readyz` and `metagate cluster`.

use serde::Serialize;

use crate::clock;
use crate::cluster::Cluster;
use crate::cluster::engine::Reach;
use crate::cluster::nodes::Node;
use crate::gateway::deployer::Deployer;
use crate::registry::record::Record;

/// The state of a cluster, as one of its gateways sees it.
#[derive(Debug, Serialize)]
pub struct ClusterStatus {
    /// Its name.
    pub name: String,
    /// The name of this gateway.
    pub node: String,
    /// Whether its NATS servers answer.
    pub engine: EngineStatus,
    /// Why its registry is not obeyed; none if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
    /// Deployments of this gateway that no other has: they were deployed before it was part of the cluster.
    pub only_here: Vec<String>,
    /// The gateways that are there, this one first, then by name.
    pub nodes: Vec<Node>,
}

/// The state of the NATS servers, as this gateway sees it.
#[derive(Debug, Serialize)]
pub struct EngineStatus {
    /// The addresses of the configuration.
    pub servers: Vec<String>,
    /// `reached` or `away`.
    pub status: &'static str,
    /// Since when they are away: `2026-01-31T12:00:00Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl EngineStatus {
    /// The state of the servers of a cluster.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        let servers = cluster.config.nats.iter().map(ToString::to_string).collect();
        match cluster.engine.reach() {
            Reach::Reached => Self { servers, status: "reached", since: None, reason: None },
            Reach::Away { since, reason } => {
                let since = humantime::format_rfc3339_seconds(clock::time_of_day(since)).to_string();
                Self { servers, status: "away", since: Some(since), reason: Some(reason) }
            }
        }
    }

    /// Whether the servers answer.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.status == "reached"
    }
}

impl Deployer {
    /// The state of the cluster; none if this gateway is alone.
    #[must_use]
    pub fn cluster_status(&self) -> Option<ClusterStatus> {
        let cluster = self.cluster.as_ref()?;
        let own = cluster.nodes.own();
        let mut others = cluster.nodes.others();
        others.sort_by(|one, other| one.name.cmp(&other.name));
        let records = self.store.records().into_iter();
        // A record without packages cannot be made elsewhere.
        let only_here = records.filter(Record::is_unshared);
        Some(ClusterStatus {
            name: cluster.config.name.to_string(),
            node: own.name.clone(),
            engine: EngineStatus::of(cluster),
            lost: cluster.lost(),
            only_here: only_here.map(|record| record.name.to_string()).collect(),
            nodes: std::iter::once(own).chain(others).collect(),
        })
    }

    /// Whether deploys to other gateways wait for this one. False if it is alone.
    pub fn drain_node(&self, drained: bool) -> bool {
        let Some(cluster) = &self.cluster else { return false };
        cluster.nodes.drain(drained);
        true
    }
}
