//! The table `[traces]`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::values::choice::Compression;
use crate::config::values::collector::Collector;
use crate::config::values::field;
use crate::config::values::ratio::Ratio;
use crate::config::values::secret::Secret;
use crate::config::values::sent_headers;
use crate::config::values::timeout::Timeout;

/// `[traces]`: spans of calls, deploys and reloads, sent to a collector by OTLP over HTTP. Without this table there are
/// none.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct TracesConfig {
    /// Address of the collector, such as "http://127.0.0.1:4318"; spans go to `v1/traces` below it.
    pub endpoint: Collector,
    /// Headers of the requests to the collector. Keep secrets out of the file:
    /// `{ authorization = "${env:OTLP_TOKEN}" }`. Default: none.
    #[serde(default, deserialize_with = "sent_headers::read")]
    #[schemars(schema_with = "sent_headers::schema")]
    pub headers: BTreeMap<String, Secret>,
    /// Which part of the calls is traced whose callers do not say so in a `traceparent`: 0 to 1. Default 1.
    #[serde(default = "all")]
    pub sample: Ratio,
    /// Name of this gateway in traces. Default "metagate".
    #[serde(default = "service_name")]
    pub service_name: String,
    /// Maximum number of spans that wait to be sent; further ones are dropped and counted. 256 to 1000000. Default
    /// 8192.
    #[serde(default = "queue", deserialize_with = "field::within::<256, 1000000, _, _>")]
    #[schemars(range(min = 256, max = 1000000))]
    pub queue: u32,
    /// How long spans wait for others that are sent with them. "1ms" to "1h". Default "1s".
    #[serde(default = "interval")]
    pub interval: Timeout,
    /// Time that the collector has to answer. "1ms" to "1h". Default "10s".
    #[serde(default = "timeout")]
    pub timeout: Timeout,
    /// Compression of what is sent: "gzip" or "none". Default "none".
    #[serde(default)]
    pub compression: Compression,
}

impl TracesConfig {
    /// The keys without a default.
    pub const REQUIRED: [&str; 1] = ["endpoint"];
}

fn all() -> Ratio {
    Ratio::ALL
}

fn service_name() -> String {
    "metagate".to_owned()
}

fn queue() -> u32 {
    8192
}

fn interval() -> Timeout {
    Timeout::seconds(1)
}

fn timeout() -> Timeout {
    Timeout::seconds(10)
}
