//! The table `[server]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::values::field;
use crate::config::values::size::Size;
use crate::config::values::timeout::Timeout;
use crate::deployment::Prefix;

/// `[server]`: the listener for calls, and limits of every connection.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct ServerConfig {
    /// IP address and port to take calls on; port 0 takes a free one. Default "127.0.0.1:9000".
    #[serde(deserialize_with = "field::address")]
    pub listen: SocketAddr,
    /// First part of call addresses: `/<prefix>/<name>/v1/call/<function>`. 1 to 64 of A-Z a-z 0-9 . _ -, begun by a
    /// letter or digit. Default: the host name.
    #[serde(deserialize_with = "field::name::<Prefix, _, _>")]
    pub prefix: Option<Prefix>,
    /// Folder for releases and the record of them; made if it is not there. Default ".metagate".
    #[serde(deserialize_with = "field::path")]
    pub data_dir: PathBuf,
    /// Longest request body. A size of at least 1 byte. Default "8MiB".
    pub max_body: Size,
    /// How long calls may go on after the gateway is told to stop. "1ms" to "1h". Default "30s".
    pub drain: Timeout,
    /// Connections at a time; further ones are refused. From 1. Default: by the process's limit of open files.
    #[serde(deserialize_with = "field::within::<1, { u32::MAX }, _, _>")]
    #[schemars(range(min = 1))]
    pub max_connections: Option<u32>,
    /// How long a client may take to send a request's headers. "1ms" to "1h". Default "10s".
    pub header_timeout: Timeout,
    /// How long a client may take to send a request's body. "1ms" to "1h". Default "30s".
    pub body_timeout: Timeout,
    /// How long a connection is kept open between requests. "1ms" to "1h". Default "60s".
    pub idle_timeout: Timeout,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9000)),
            prefix: None,
            data_dir: PathBuf::from(".metagate"),
            max_body: Size::mebibytes(8),
            drain: Timeout::seconds(30),
            max_connections: None,
            header_timeout: Timeout::seconds(10),
            body_timeout: Timeout::seconds(30),
            idle_timeout: Timeout::seconds(60),
        }
    }
}
