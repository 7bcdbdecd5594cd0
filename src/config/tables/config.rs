//! The configuration file as a whole: the tables that it may have.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::locations::Locations;
use crate::config::tables::access_log::AccessLogConfig;
use crate::config::tables::admin::AdminConfig;
use crate::config::tables::async_calls::AsyncConfig;
use crate::config::tables::cluster::ClusterConfig;
use crate::config::tables::dashboard::DashboardConfig;
use crate::config::tables::deploy::DeployConfig;
use crate::config::tables::deployment::DeploymentConfig;
use crate::config::tables::mcp::McpConfig;
use crate::config::tables::metrics::MetricsConfig;
use crate::config::tables::plugin::PluginConfig;
use crate::config::tables::plugins::PluginsConfig;
use crate::config::tables::route::RouteConfig;
use crate::config::tables::schedule::ScheduleConfig;
use crate::config::tables::server::ServerConfig;
use crate::config::tables::traces::TracesConfig;
use crate::config::values::field;

/// The configuration of a metagate gateway. Durations are written "50ms", "30s", "5m"; sizes "64KiB", "8MiB"; paths are
/// relative to the file. `${env:NAME}`, `${env:NAME:-default}` and `${file:PATH}` are replaced in every string.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[schemars(title = "metagate.toml")]
pub struct Config {
    /// The listener for calls, and limits of every connection.
    #[serde(default, deserialize_with = "field::table")]
    pub server: ServerConfig,
    /// Access to the admin API and /metrics.
    #[serde(default, deserialize_with = "field::table")]
    pub admin: AdminConfig,
    /// What is counted for `GET /metrics`.
    #[serde(default, deserialize_with = "field::table")]
    pub metrics: MetricsConfig,
    /// The page at the address of the admin API.
    #[serde(default, deserialize_with = "field::table")]
    pub dashboard: DashboardConfig,
    /// Functions as tools for models. Default: none are.
    #[serde(default, deserialize_with = "field::table")]
    pub mcp: McpConfig,
    /// Calls that nobody waits for: how often they are tried, and how long they are kept.
    #[serde(default, rename = "async", deserialize_with = "field::table")]
    pub async_calls: AsyncConfig,
    /// Other gateways that serve the same deployments. Default: none.
    #[serde(default, deserialize_with = "field::some_table")]
    pub cluster: Option<ClusterConfig>,
    /// A line for each call. Default: none.
    #[serde(default, deserialize_with = "field::some_table")]
    pub access_log: Option<AccessLogConfig>,
    /// Spans of calls, deploys and reloads, for a collector. Default: none.
    #[serde(default, deserialize_with = "field::some_table")]
    pub traces: Option<TracesConfig>,
    /// Limits of deployments that are uploaded over HTTP or fetched from repositories.
    #[serde(default, deserialize_with = "field::table")]
    pub deploy: DeployConfig,
    /// The folders of functions to serve, each under its own name. Two deployments may share a folder.
    #[serde(default, rename = "deployment", deserialize_with = "field::tables")]
    pub deployments: Vec<DeploymentConfig>,
    /// Addresses for functions and apps, in addition to those of all deployments. The most specific one that matches a
    /// request takes it.
    #[serde(default, rename = "route", deserialize_with = "field::tables")]
    pub routes: Vec<RouteConfig>,
    /// Calls of functions at times of their own.
    #[serde(default, rename = "schedule", deserialize_with = "field::tables")]
    pub schedules: Vec<ScheduleConfig>,
    /// Settings of all plugins.
    #[serde(default, deserialize_with = "field::table")]
    pub plugins: PluginsConfig,
    /// The plugins that run on calls and loads, each under its own name. Before-hooks run in this order, after-hooks in
    /// reverse.
    #[serde(default, rename = "plugin", deserialize_with = "field::tables")]
    pub plugin_list: Vec<PluginConfig>,
    /// The file that was read, by the path that the user gave.
    #[serde(skip)]
    pub file: PathBuf,
    /// The files that `${file:PATH}` names in it.
    #[serde(skip)]
    pub named_files: Vec<PathBuf>,
    /// The locations of the keys outside of deployments and plugins, such as `"server.listen"`.
    #[serde(skip)]
    pub locations: Locations,
}
