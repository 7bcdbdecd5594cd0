//! `metagate.toml`: one struct a table, each key a field, everything checked where it is read. How a file becomes these
//! structs is in [`load()`] and [`parse`]; what is done with them is left to the layers above.

mod check;
mod conceal;
mod deploy;
mod deployment;
mod document;
mod explain;
mod fault;
mod field;
mod interpolate;
mod load;
mod places;
mod plugin;
mod read;
mod repository_prefix;
mod schema;
mod secret;
mod size;
mod source;
mod timeout;
mod tree;
mod units;
mod wasm_functions;
mod workers;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

pub use crate::config::check::check_variable;
pub use crate::config::deploy::DeployConfig;
pub use crate::config::deployment::{DeploymentConfig, RuntimeKind};
pub use crate::config::fault::{Fault, Faults, Place};
pub use crate::config::load::{load, parse, survey};
pub use crate::config::places::Places;
pub use crate::config::plugin::dates_to_text;
pub use crate::config::plugin::{
    BadPattern, BadPluginName, BadSha256, DropIn, Exclusion, Grants, HookName, HttpGrant, Instances, InvokeGrant, Mode,
    OnError, Origin, Pattern, PluginConfig, PluginName, PluginsConfig, Scheme, Sha256, drop_in, drop_ins, idle_plugins,
    load_plugins,
};
pub use crate::config::repository_prefix::RepositoryPrefix;
pub use crate::config::schema::schema;
pub use crate::config::secret::Secret;
pub use crate::config::size::Size;
pub use crate::config::timeout::Timeout;
pub use crate::config::units::BadUnit;
pub use crate::config::wasm_functions::{BytesRule, WasmFunctionsConfig, WasmGrants};
pub use crate::config::workers::Workers;
use crate::deployment::Prefix;

/// The configuration of a metagate gateway. Durations are written "50ms", "30s", "5m"; sizes "64KiB", "8MiB"; paths are
/// relative to the file. `${env:NAME}`, `${env:NAME:-default}` and `${file:PATH}` stand for text inside any string.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[schemars(title = "metagate.toml")]
pub struct Config {
    /// The listener for calls, and limits of every connection.
    #[serde(default, deserialize_with = "field::table")]
    pub server: ServerConfig,
    /// Who may deploy and look inside.
    #[serde(default, deserialize_with = "field::table")]
    pub admin: AdminConfig,
    /// What may be deployed over HTTP.
    #[serde(default, deserialize_with = "field::table")]
    pub deploy: DeployConfig,
    /// The folders of functions to serve, each under a name of its own. Two may share a folder.
    #[serde(default, rename = "deployment", deserialize_with = "field::tables")]
    pub deployments: Vec<DeploymentConfig>,
    /// What holds for all plugins.
    #[serde(default, deserialize_with = "field::table")]
    pub plugins: PluginsConfig,
    /// The plugins that run on calls and loads, each under a name of its own. Before-hooks run in this order, after-hooks
    /// in reverse.
    #[serde(default, rename = "plugin", deserialize_with = "field::tables")]
    pub plugin_list: Vec<PluginConfig>,
    /// The file that this was read from, as the user named it.
    #[serde(skip)]
    pub file: PathBuf,
    /// Where the keys outside of deployments and plugins stand, such as `"server.listen"`.
    #[serde(skip)]
    pub places: Places,
}

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

#[cfg(test)]
mod tests;
