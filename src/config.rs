//! The configuration: `metagate.toml` and the settings of drop-in plugins, as checked values.
//!
//! A file becomes structs in `reading`; `tables` has one struct per table and `values` the types of single keys.
//! [`load()`] adds the rules between keys. Applying a configuration is left to the layers above.

mod check;
mod drop_ins;
mod fault;
mod load;
mod locations;
mod reading;
mod schema;
mod tables;
mod values;

pub use crate::config::check::front::route_warnings;
pub use crate::config::drop_ins::{DropIn, drop_in, drop_ins, idle_plugins, load_plugins};
pub use crate::config::fault::{Fault, Faults};
pub use crate::config::load::{load, parse, survey};
pub use crate::config::locations::{Location, Locations};
pub use crate::config::reading::nearest;
pub use crate::config::schema::schema;
pub use crate::config::tables::access_log::AccessLogConfig;
pub use crate::config::tables::admin::{AdminConfig, TokenConfig};
pub use crate::config::tables::async_calls::{AsyncConfig, AsyncLimit, DeploymentAsyncConfig};
pub use crate::config::tables::callbacks::CallbacksConfig;
pub use crate::config::tables::cluster::ClusterConfig;
pub use crate::config::tables::config::Config;
pub use crate::config::tables::cors::CorsConfig;
pub use crate::config::tables::deploy::DeployConfig;
pub use crate::config::tables::deployment::DeploymentConfig;
pub use crate::config::tables::grants::Grants;
pub use crate::config::tables::mcp::{McpConfig, McpResource};
pub use crate::config::tables::plugin::PluginConfig;
pub use crate::config::tables::plugins::PluginsConfig;
pub use crate::config::tables::route::RouteConfig;
pub use crate::config::tables::schedule::ScheduleConfig;
pub use crate::config::tables::server::ServerConfig;
pub use crate::config::tables::tls::TlsConfig;
pub use crate::config::tables::traces::TracesConfig;
pub use crate::config::tables::wasm_functions::{WasmFunctionsConfig, WasmGrants};
pub use crate::config::values::bytes_rule::BytesRule;
pub use crate::config::values::callback_url::CallbackUrl;
pub use crate::config::values::choice::{
    AccessLogFormat, ArgumentOrder, ClientCertificates, Compression, Describe, Handler, HookName, Instances, Isolation,
    Missed, Mode, OnError, PluginIsolation, TlsVersion, Wait,
};
pub use crate::config::values::cluster_name::ClusterName;
pub use crate::config::values::collector::Collector;
pub use crate::config::values::cors_origin::CorsOrigin;
pub use crate::config::values::cron::{CronExpression, ZoneName};
pub use crate::config::values::delay::Delay;
pub use crate::config::values::endpoint::Endpoint;
pub use crate::config::values::function_target::FunctionTarget;
pub use crate::config::values::http_grant::{HttpGrant, Origin, Scheme};
pub use crate::config::values::http_words::{HeaderWord, MethodName};
pub use crate::config::values::json_table::dates_to_text;
pub use crate::config::values::listen::{Listen, ListenAddress, Listener};
pub use crate::config::values::nats_server::NatsServer;
pub use crate::config::values::pattern::{BadPattern, Pattern};
pub use crate::config::values::period::Period;
pub use crate::config::values::permission::Permission;
pub use crate::config::values::plugin_name::{BadPluginName, PluginName};
pub use crate::config::values::rate::Rate;
pub use crate::config::values::ratio::Ratio;
pub use crate::config::values::repository_prefix::RepositoryPrefix;
pub use crate::config::values::resource_uri::ResourceUri;
pub use crate::config::values::route_host::RouteHost;
pub use crate::config::values::route_path::{RoutePart, RoutePath};
pub use crate::config::values::route_target::RouteTarget;
pub use crate::config::values::run_as::{Ids, RunAs};
pub use crate::config::values::runtime_kind::RuntimeKind;
pub use crate::config::values::scope::{Exclusion, InvokeGrant};
pub use crate::config::values::secret::Secret;
pub use crate::config::values::server_name::ServerName;
pub use crate::config::values::sha256::{BadSha256, Sha256};
pub use crate::config::values::signing_secret::SigningSecret;
pub use crate::config::values::size::Size;
pub use crate::config::values::static_files::StaticFiles;
pub use crate::config::values::timeout::Timeout;
pub use crate::config::values::trusted_proxy::TrustedProxy;
pub use crate::config::values::units::BadUnit;
pub use crate::config::values::variable::check_variable;
pub use crate::config::values::workers::Workers;

#[cfg(test)]
mod tests;
