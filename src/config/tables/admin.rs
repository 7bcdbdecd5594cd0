//! The table `[admin]`.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::values::field;
use crate::config::values::secret::Secret;

/// `[admin]`: access to the admin API. Calls of functions need no token.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct AdminConfig {
    /// Token that requests to /api and /metrics must carry. At least 32 bytes, unless the listener is on a loopback
    /// address, where no token is required, but functions are refused. Keep it out of the file:
    /// "${env:METAGATE_TOKEN}". Default: none.
    pub token: Option<Secret>,
    /// IP address and port of a separate listener for the admin API. Default: the listener for calls.
    #[serde(deserialize_with = "field::address")]
    pub listen: Option<SocketAddr>,
}
