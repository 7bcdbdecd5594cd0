//! The table `[dashboard]`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::values::timeout::Timeout;

/// `[dashboard]`: the page at `/dashboard`, and at `/` where no route takes it, of the listener of the admin API.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct DashboardConfig {
    /// Whether the page is served, with what it needs: the last calls are kept in memory. Default true.
    pub enabled: bool,
    /// A call whose answer begins later than this is slow: it is kept longer than others. "1ms" to "1h". Default "1s".
    pub slow: Timeout,
}

impl Default for DashboardConfig {
    fn default() -> Self {
        Self { enabled: true, slow: Timeout::seconds(1) }
    }
}
