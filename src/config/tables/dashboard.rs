//! The table `[dashboard]`.

use schemars::JsonSchema;
use serde::Deserialize;

/// `[dashboard]`: the page at `/dashboard`, and at `/` where no route takes it, of the listener of the admin API.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct DashboardConfig {
    /// Whether the page is served. Default true.
    pub enabled: bool,
}

impl Default for DashboardConfig {
    fn default() -> Self {
        Self { enabled: true }
    }
}
