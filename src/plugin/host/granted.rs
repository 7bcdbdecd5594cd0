//! The configuration and the grants of one plugin, and the services behind them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Grants, PluginName};
use crate::plugin::host::counters::Counters;
use crate::plugin::outside::{Outside, SendHttp};
use crate::plugin::store::Store;

/// The configuration and grants of one plugin, shared by its instances.
pub struct Granted {
    /// Its name.
    pub plugin: PluginName,
    /// Its configuration, as JSON.
    pub config: Arc<str>,
    /// Its grants.
    pub grants: Grants,
    /// Sends its requests, within its grants.
    pub http: Arc<dyn SendHttp>,
    /// The variables that it was granted and that are set.
    pub env: BTreeMap<String, String>,
    /// Its values.
    pub store: Arc<Store>,
    /// Its counters.
    pub counters: Arc<Counters>,
    /// The world outside.
    pub outside: Outside,
    /// Longest JSON that it may pass, in bytes.
    pub max_body: usize,
}
