//! The table `[deploy]`: limits of deployments that are created over HTTP.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::config::tables::async_calls::DeploymentAsyncConfig;
use crate::config::tables::deployment::{
    DeploymentConfig, default_concurrency, default_cpu_weight, default_load_timeout, default_max_file_size,
    default_max_files, default_max_processes, default_queue, default_stream_idle_timeout, default_timeout,
};
use crate::config::values::choice::{ArgumentOrder, Isolation};
use crate::config::values::endpoint::Endpoint;
use crate::config::values::field;
use crate::config::values::repository_prefix::RepositoryPrefix;
use crate::config::values::run_as::RunAs;
use crate::config::values::runtime_kind::{self, RuntimeKind};
use crate::config::values::size::Size;
use crate::config::values::static_files::StaticFiles;
use crate::config::values::timeout::Timeout;
use crate::config::values::variable::is_variable_name;
use crate::config::values::workers::Workers;
use crate::deployment::DeploymentName;

const VARIABLE_WORDS: &str = "the name of an environment variable";

/// `[deploy]`: deployments that are uploaded over HTTP or fetched from repositories.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct DeployConfig {
    /// Maximum size of an uploaded package, compressed. At least 1 byte. Default "128MiB".
    pub max_upload: Size,
    /// Time that the installation of a release's dependencies may take. "1ms" to "1h". Default "2m".
    pub install_timeout: Timeout,
    /// Variables of the gateway's environment that npm, pip and the programs they start receive, in addition to their
    /// own settings (npm_config_*, PIP_*), proxies and certificates. Default: none.
    #[serde(deserialize_with = "variables")]
    pub install_env: Vec<String>,
    /// Time that fetching a repository may take. "1ms" to "1h". Default "60s".
    pub clone_timeout: Timeout,
    /// Repositories that may be fetched in addition to public https addresses, by the start of their address:
    /// `"https://git.example.com/team/"`, `"http://127.0.0.1:8418/"` or `"file:///srv/git/"`. Default: none.
    pub repositories: Vec<RepositoryPrefix>,
    /// How the workers of each deployment are started, as in `[[deployment]]`: "node", "python", "wasm" or "metacall".
    /// Default: by the language of its files.
    #[serde(deserialize_with = "runtime_kind::read")]
    pub runtime: Option<RuntimeKind>,
    /// For runtime = "metacall": a worker script that replaces metagate's own, as in `[[deployment]]`.
    #[serde(deserialize_with = "field::path")]
    pub worker_script: Option<PathBuf>,
    /// Worker processes of each deployment, as in `[[deployment]]`. 1 to 64. Default 1.
    pub workers: Workers,
    /// Maximum number of calls in flight in each worker, as in `[[deployment]]`. 1 to 4096. Default 64.
    #[serde(deserialize_with = "field::within::<1, 4096, _, _>")]
    #[schemars(range(min = 1, max = 4096))]
    pub concurrency: u32,
    /// Maximum number of calls that wait for a worker, as in `[[deployment]]`. 0 to 65536. Default 256.
    #[serde(deserialize_with = "field::within::<0, 65_536, _, _>")]
    #[schemars(range(min = 0, max = 65_536))]
    pub queue: u32,
    /// Timeout of a call, as in `[[deployment]]`. "1ms" to "1h". Default "30s".
    pub timeout: Timeout,
    /// Time that a worker has to start and load its functions, as in `[[deployment]]`. "1ms" to "1h". Default "60s".
    pub load_timeout: Timeout,
    /// Time that a stream may pass without an item, as in `[[deployment]]`. "1ms" to "1h". Default "60s".
    pub stream_idle_timeout: Timeout,
    /// Maximum memory of each worker, as in `[[deployment]]`. At least 1 byte. Default: a quarter of the machine's.
    pub max_memory: Option<Size>,
    /// Share of the processors of each worker, as in `[[deployment]]`. 1 to 10000. Default 100.
    #[serde(deserialize_with = "field::within::<1, 10_000, _, _>")]
    #[schemars(range(min = 1, max = 10_000))]
    pub cpu_weight: u32,
    /// How the values of an object become arguments, as in `[[deployment]]`: "names" or "order". Default "names".
    pub arguments: ArgumentOrder,
    /// What the workers of each deployment may reach, as in `[[deployment]]`: "none", "standard" or "strict". Also what
    /// npm, pip and git may reach during a deploy. Default "standard".
    pub isolation: Isolation,
    /// The user that the workers of each deployment run as, as in `[[deployment]]`, and npm and pip. Default: the
    /// gateway's user.
    pub run_as: Option<RunAs>,
    /// Hosts with ports that the workers of each deployment may connect to, as in `[[deployment]]`. Default: none.
    pub network: Vec<Endpoint>,
    /// Files and folders that the workers of each deployment may read although they are hidden, as in `[[deployment]]`.
    /// Default: none.
    #[serde(deserialize_with = "field::paths")]
    pub read: Vec<PathBuf>,
    /// Files and folders that the workers of each deployment may change, as in `[[deployment]]`. Default: none.
    #[serde(deserialize_with = "field::paths")]
    pub write: Vec<PathBuf>,
    /// Maximum number of open descriptors, as in `[[deployment]]`. 64 to 1048576. Default 4096.
    #[serde(deserialize_with = "field::within::<64, 1_048_576, _, _>")]
    #[schemars(range(min = 64, max = 1_048_576))]
    pub max_files: u32,
    /// Maximum size of a file that workers write, as in `[[deployment]]`. At least 1 byte. Default "4GiB".
    pub max_file_size: Size,
    /// Maximum number of processes and threads of each worker, as in `[[deployment]]`. 16 to 65536. Default 512.
    #[serde(deserialize_with = "field::within::<16, 65_536, _, _>")]
    #[schemars(range(min = 16, max = 65_536))]
    pub max_processes: u32,
    /// Files of each deployment that every caller can read, as in `[[deployment]]`: false, true or a folder such as
    /// "public". Default false.
    pub static_files: StaticFiles,
    /// Asynchronous calls of each deployment, as in `[[deployment]]`. A reload replaces it. Default: as in `[async]`.
    #[serde(rename = "async", deserialize_with = "field::table")]
    pub async_calls: DeploymentAsyncConfig,
    /// Releases that are kept per deployment, including the one in service. 1 to 100. Default 5.
    #[serde(deserialize_with = "field::within::<1, 100, _, _>")]
    #[schemars(range(min = 1, max = 100))]
    pub keep: u32,
}

impl Default for DeployConfig {
    fn default() -> Self {
        Self {
            max_upload: Size::mebibytes(128),
            install_timeout: Timeout::seconds(120),
            install_env: Vec::new(),
            clone_timeout: Timeout::seconds(60),
            repositories: Vec::new(),
            runtime: None,
            worker_script: None,
            workers: Workers::default(),
            concurrency: default_concurrency(),
            queue: default_queue(),
            timeout: default_timeout(),
            load_timeout: default_load_timeout(),
            stream_idle_timeout: default_stream_idle_timeout(),
            max_memory: None,
            cpu_weight: default_cpu_weight(),
            arguments: ArgumentOrder::default(),
            isolation: Isolation::default(),
            run_as: None,
            network: Vec::new(),
            read: Vec::new(),
            write: Vec::new(),
            max_files: default_max_files(),
            max_file_size: default_max_file_size(),
            max_processes: default_max_processes(),
            static_files: StaticFiles::default(),
            async_calls: DeploymentAsyncConfig::default(),
            keep: 5,
        }
    }
}

impl DeployConfig {
    /// The settings of a deployment that was created over HTTP.
    #[must_use]
    pub fn deployment(&self, name: DeploymentName, path: PathBuf) -> DeploymentConfig {
        DeploymentConfig {
            runtime: self.runtime,
            worker_script: self.worker_script.clone(),
            workers: self.workers,
            concurrency: self.concurrency,
            queue: self.queue,
            timeout: self.timeout,
            load_timeout: self.load_timeout,
            stream_idle_timeout: self.stream_idle_timeout,
            max_memory: self.max_memory,
            cpu_weight: self.cpu_weight,
            arguments: self.arguments,
            isolation: self.isolation,
            run_as: self.run_as.clone(),
            network: self.network.clone(),
            read: self.read.clone(),
            write: self.write.clone(),
            max_files: self.max_files,
            max_file_size: self.max_file_size,
            max_processes: self.max_processes,
            static_files: self.static_files.clone(),
            async_calls: self.async_calls.clone(),
            ..DeploymentConfig::new(name, path)
        }
    }
}

fn variables<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    match names.iter().find(|name| !is_variable_name(name)) {
        Some(name) => Err(field::refused(&format!("{name:?} cannot be a variable's name"), VARIABLE_WORDS)),
        None => Ok(names),
    }
}
