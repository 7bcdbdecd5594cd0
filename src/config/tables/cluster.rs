//! The table `[cluster]`: several gateways that serve the same deployments.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::config::values::choice::Wait;
use crate::config::values::cluster_name::ClusterName;
use crate::config::values::field;
use crate::config::values::nats_server::NatsServer;
use crate::config::values::secret::Secret;
use crate::config::values::timeout::Timeout;

/// `[cluster]`: what is deployed to one gateway is deployed to all that have the same `name` and the same NATS servers
/// (JetStream 2.12 or later). Deployments and plugins of the file stay those of each gateway. Without this table the
/// gateway is alone.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct ClusterConfig {
    /// Name of the cluster; also the prefix of all addresses, unless `[server] prefix` is set.
    pub name: ClusterName,
    /// The NATS servers, such as `["nats://10.0.0.1:4222"]`. One is enough to find the others of its cluster.
    #[serde(deserialize_with = "servers")]
    #[schemars(length(min = 1))]
    pub nats: Vec<NatsServer>,
    /// Name of this gateway in the cluster. Default: the name of the machine, and part of an id that is in the data
    /// folder.
    pub node: Option<ClusterName>,
    /// Secret of all gateways of the cluster, at least 32 bytes: the values of deployments' variables are encrypted
    /// with it, and records that were made without it are refused. Default: none; then whoever may write to the NATS
    /// servers may read the variables, and deploy.
    pub secret: Option<Secret>,
    /// User of the NATS servers.
    pub user: Option<String>,
    /// Its password, such as "${env:NATS_PASSWORD}".
    pub password: Option<Secret>,
    /// Token of the NATS servers.
    pub token: Option<Secret>,
    /// File with credentials of the NATS servers, as `nsc` makes it.
    #[serde(default, deserialize_with = "field::path")]
    pub credentials: Option<PathBuf>,
    /// File with the certificates, in PEM form, that those of NATS servers are checked against. Default: those of the
    /// system.
    #[serde(default, deserialize_with = "field::path")]
    pub ca: Option<PathBuf>,
    /// File with the certificate, in PEM form, that this gateway shows to NATS servers.
    #[serde(default, deserialize_with = "field::path")]
    pub cert: Option<PathBuf>,
    /// File with its private key.
    #[serde(default, deserialize_with = "field::path")]
    pub key: Option<PathBuf>,
    /// How many NATS servers keep each piece of state. 1 to 5. Default: 3 if the servers are a cluster, otherwise 1.
    #[serde(default, deserialize_with = "field::within::<1, 5, _, _>")]
    #[schemars(range(min = 1, max = 5))]
    pub replicas: Option<u32>,
    /// Which gateways a deploy waits for: "all", "quorum" or "one". Default "all".
    #[serde(default)]
    pub wait: Wait,
    /// How long a deploy waits for the other gateways. "1ms" to "1h". Default "2m".
    #[serde(default = "wait_timeout")]
    pub wait_timeout: Timeout,
    /// Whether `/readyz` answers 503 while the NATS servers cannot be reached. Default false.
    #[serde(default)]
    pub required: bool,
}

impl ClusterConfig {
    /// The keys without a default.
    pub const REQUIRED: [&str; 2] = ["name", "nats"];
}

fn servers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<NatsServer>, D::Error> {
    field::filled(deserializer, "a list of addresses, such as [\"nats://127.0.0.1:4222\"]")
}

fn wait_timeout() -> Timeout {
    Timeout::seconds(120)
}
