//! The table `[metrics]`.

use schemars::JsonSchema;
use serde::Deserialize;

/// `[metrics]`: what is counted for `GET /metrics`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct MetricsConfig {
    /// Whether calls are counted and `/metrics` answers. Default true.
    pub enabled: bool,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { enabled: true }
    }
}
