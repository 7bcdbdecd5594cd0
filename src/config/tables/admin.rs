//! The table `[admin]`.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::values::field;
use crate::config::values::secret::Secret;

/// `[admin]`: who may deploy and look inside. Calls of functions are not concerned.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct AdminConfig {
    /// Guards /api, the dashboard and /metrics. At least 32 bytes unless they answer on a loopback address, where there
    /// may be none. Best kept out of the file: "${env:METAGATE_TOKEN}". Default: none.
    pub token: Option<Secret>,
    /// IP address and port of a listener of its own. Default: the same as for calls.
    #[serde(deserialize_with = "field::address")]
    pub listen: Option<SocketAddr>,
}
