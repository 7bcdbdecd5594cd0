//! The configuration and the grants of one plugin, and the services behind them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Grants, PluginName};
use crate::plugin::kept::Kept;
use crate::plugin::outside::{Outside, SendHttp};

/// The configuration and grants of one plugin, shared by its instances.
pub struct Granted {
    /// The plugin's name.
    pub plugin: PluginName,
    /// The configuration, as JSON.
    pub config: Arc<str>,
    /// The grants.
    pub grants: Grants,
    /// Sends the plugin's HTTP requests, within its grants.
    pub http: Arc<dyn SendHttp>,
    /// The granted environment variables that are set.
    pub env: BTreeMap<String, String>,
    /// The values and counters that the plugin keeps between calls.
    pub(crate) kept: Kept,
    /// The world outside the plugin.
    pub outside: Outside,
    /// Longest JSON that the plugin may pass, in bytes.
    pub max_body: usize,
}
