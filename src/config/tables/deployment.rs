//! The table `[[deployment]]`: a folder of functions, how its workers are started, and their limits.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::locations::Locations;
use crate::config::tables::async_calls::DeploymentAsyncConfig;
use crate::config::tables::cors::CorsConfig;
use crate::config::tables::wasm_functions::WasmFunctionsConfig;
use crate::config::values::choice::{ArgumentOrder, Describe, Handler, Isolation};
use crate::config::values::endpoint::Endpoint;
use crate::config::values::field;
use crate::config::values::run_as::RunAs;
use crate::config::values::runtime_kind::{self, RuntimeKind};
use crate::config::values::secret::Secret;
use crate::config::values::size::Size;
use crate::config::values::static_files::StaticFiles;
use crate::config::values::timeout::Timeout;
use crate::config::values::workers::Workers;
use crate::deployment::DeploymentName;

/// `[[deployment]]`: a folder of functions under a name, with the runtime and the limits of its workers.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct DeploymentConfig {
    /// Part of the call addresses: 1 to 64 of A-Z a-z 0-9 . _ -; the first is a letter or digit. `api`, `validate`,
    /// `admin`, `metrics`, `healthz` and `readyz` are the gateway's own.
    #[serde(deserialize_with = "field::name::<DeploymentName, _, _>")]
    pub name: DeploymentName,
    /// Folder with a metacall.json or with scripts.
    #[serde(deserialize_with = "field::path")]
    pub path: PathBuf,
    /// How its workers are started: "node", "python", "wasm", "metacall" or "command". Default: by the language of its
    /// files.
    #[serde(default, deserialize_with = "runtime_kind::read")]
    pub runtime: Option<RuntimeKind>,
    /// Program for node, python or metacall. With a slash it is a path relative to the configuration file; a bare name
    /// such as "python3.12" is looked up on the gateway's PATH. Default: the usual program of the runtime; for python
    /// .venv/bin/python in the folder, if it is there.
    #[serde(default, deserialize_with = "field::path")]
    pub interpreter: Option<PathBuf>,
    /// For runtime = "command": a program that speaks the worker protocol on descriptor 3, followed by its arguments.
    /// With a slash the program is a path relative to the configuration file; a bare name is looked up on the gateway's
    /// PATH.
    #[serde(default, deserialize_with = "field::command")]
    #[schemars(length(min = 1))]
    pub command: Option<Vec<String>>,
    /// For runtime = "metacall": a worker script that replaces metagate's own, such as that of MetaCall FaaS.
    #[serde(default, deserialize_with = "field::path")]
    pub worker_script: Option<PathBuf>,
    /// Worker processes: a number, or { min, max } to start more while calls wait. 1 to 64. Default 1.
    #[serde(default)]
    pub workers: Workers,
    /// Maximum number of calls in flight in each worker. A stream is a call in flight until it has ended. 1 to 4096.
    /// Default 64.
    #[serde(default = "default_concurrency", deserialize_with = "field::within::<1, 4096, _, _>")]
    #[schemars(range(min = 1, max = 4096))]
    pub concurrency: u32,
    /// Maximum number of calls that wait for a worker; further calls are answered with 503. 0 to 65536. Default 256.
    #[serde(default = "default_queue", deserialize_with = "field::within::<0, 65_536, _, _>")]
    #[schemars(range(min = 0, max = 65_536))]
    pub queue: u32,
    /// Timeout of a call, including the time in the queue. "1ms" to "1h". Default "30s".
    #[serde(default = "default_timeout")]
    pub timeout: Timeout,
    /// Time that a worker has to start and load its functions. "1ms" to "1h". Default "60s".
    #[serde(default = "default_load_timeout")]
    pub load_timeout: Timeout,
    /// Time that a stream of a function may pass without an item while its reader waits for one; `timeout` counts until
    /// the stream begins. "1ms" to "1h". Default "60s".
    #[serde(default = "default_stream_idle_timeout")]
    pub stream_idle_timeout: Timeout,
    /// For runtime = "node" or "python": the web app to serve: a script and the name of its app, such as "main:app", or
    /// the script alone. Default: found by the names `app` and `application` and by default exports.
    #[serde(default, deserialize_with = "field::app")]
    pub app: Option<String>,
    /// For runtime = "node" or "python": "lambda" serves a function that takes events of AWS Lambda (API Gateway,
    /// version 2.0) at `/<prefix>/<name>/v1/http`: the one named in `app`, else `handler` or `lambda_handler`.
    /// Default: none.
    #[serde(default)]
    pub handler: Option<Handler>,
    /// Environment variables of its workers, which otherwise receive only a few of the gateway's. LD_*, NODE_CHANNEL_*,
    /// METAGATE_* and PATH cannot be set. Default: none.
    #[serde(default)]
    pub env: BTreeMap<String, Secret>,
    /// Maximum memory of each worker, at least 1 byte. Default: a quarter of the machine's, where the machine permits a
    /// control group for it; else no limit.
    #[serde(default)]
    pub max_memory: Option<Size>,
    /// Share of the processors of each worker, relative to other workers while all processors are busy, where the
    /// machine permits a control group for it. 1 to 10000. Default 100; another weight costs each call of any
    /// deployment some 3 µs of CPU.
    #[serde(default = "default_cpu_weight", deserialize_with = "field::within::<1, 10_000, _, _>")]
    #[schemars(range(min = 1, max = 10_000))]
    pub cpu_weight: u32,
    /// Maximum size of a message between the gateway and a worker: arguments or a result. At least 1 byte. Default
    /// "16MiB".
    #[serde(default = "default_max_message")]
    pub max_message: Size,
    /// How the values of an object become arguments: "names" (by the names of the parameters, where the keys are such
    /// names) or "order" (in the order of the keys, as MetaCall FaaS does). Always "order" with runtime = "metacall".
    /// Default "names".
    #[serde(default)]
    pub arguments: ArgumentOrder,
    /// What its workers may reach: "none" (everything that the gateway's user may), "standard" (no secrets of the
    /// gateway, no other deployments, changes in their own folders only) or "strict" (their own files and those of
    /// their runtime, changes of temporary files only, no network but `network`; as root it needs `run_as`; refused on
    /// machines without the walls for it). Default "standard".
    #[serde(default)]
    pub isolation: Isolation,
    /// The user that its workers run as: a name, a number, or a range of numbers such as "100000-165535", of which each
    /// deployment has one of its own. Needs a gateway that runs as root. Default: the gateway's user.
    #[serde(default)]
    pub run_as: Option<RunAs>,
    /// For isolation = "strict": hosts with ports that its workers may connect to over TCP, such as
    /// "db.example.com:5432". The kernel checks the port only, not the host. Default: none.
    #[serde(default)]
    pub network: Vec<Endpoint>,
    /// Files and folders that its workers may read although they are hidden, such as the folder of another deployment.
    /// Default: none.
    #[serde(default, deserialize_with = "field::paths")]
    pub read: Vec<PathBuf>,
    /// Files and folders that its workers may change, in addition to the deployment's own folder and their folder for
    /// temporary files. Default: none.
    #[serde(default, deserialize_with = "field::paths")]
    pub write: Vec<PathBuf>,
    /// Maximum number of open descriptors of each process of its workers. 64 to 1048576. Default 4096.
    #[serde(default = "default_max_files", deserialize_with = "field::within::<64, 1_048_576, _, _>")]
    #[schemars(range(min = 64, max = 1_048_576))]
    pub max_files: u32,
    /// Maximum size of a file that its workers write. At least 1 byte. Default "4GiB".
    #[serde(default = "default_max_file_size")]
    pub max_file_size: Size,
    /// Maximum number of processes and threads of each worker, itself included, where the machine permits a control
    /// group for it. 16 to 65536. Default 512.
    #[serde(default = "default_max_processes", deserialize_with = "field::within::<16, 65_536, _, _>")]
    #[schemars(range(min = 16, max = 65_536))]
    pub max_processes: u32,
    /// Files that every caller can read at `/<prefix>/<name>/v1/static/<file>`: those of a folder inside the
    /// deployment's, such as "public", or with true all files, scripts included. Hidden files, links and node_modules
    /// are never served. Default false.
    #[serde(default)]
    pub static_files: StaticFiles,
    /// Which web pages of other origins may call its functions, in place of `[server.cors]`. Default: those of
    /// `[server.cors]`.
    #[serde(default, deserialize_with = "field::some_table")]
    pub cors: Option<CorsConfig>,
    /// Who may read what its functions are: "admin" or "public", as in `[server]`. Default: that of `[server]`.
    #[serde(default)]
    pub describe: Option<Describe>,
    /// Its calls that nobody waits for. Default: as in `[async]`.
    #[serde(default, rename = "async", deserialize_with = "field::table")]
    pub async_calls: DeploymentAsyncConfig,
    /// For runtime = "wasm": how its functions run, and their permissions.
    #[serde(default)]
    pub wasm: WasmFunctionsConfig,
    /// The locations of this table and its keys; none for a deployment that is not from a file.
    #[serde(skip)]
    pub locations: Locations,
}

impl DeploymentConfig {
    /// The keys without a default.
    pub const REQUIRED: [&str; 2] = ["name", "path"];

    /// A deployment with every other key at its default.
    #[must_use]
    pub fn new(name: DeploymentName, path: PathBuf) -> Self {
        Self {
            name,
            path,
            runtime: None,
            interpreter: None,
            command: None,
            worker_script: None,
            workers: Workers::default(),
            concurrency: default_concurrency(),
            queue: default_queue(),
            timeout: default_timeout(),
            load_timeout: default_load_timeout(),
            stream_idle_timeout: default_stream_idle_timeout(),
            app: None,
            handler: None,
            env: BTreeMap::new(),
            max_memory: None,
            cpu_weight: default_cpu_weight(),
            max_message: default_max_message(),
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
            cors: None,
            describe: None,
            async_calls: DeploymentAsyncConfig::default(),
            wasm: WasmFunctionsConfig::default(),
            locations: Locations::default(),
        }
    }

    /// Whether two deployments have the same settings. Their locations are not compared: a table that has only moved
    /// within its file is unchanged.
    #[must_use]
    pub fn has_same_settings(&self, other: &Self) -> bool {
        let Self { cors, describe, async_calls, locations, .. } = self;
        // `cors`, `describe` and `async` concern no worker, and are replaced without a new release.
        let other = Self {
            cors: cors.clone(),
            describe: *describe,
            async_calls: async_calls.clone(),
            locations: locations.clone(),
            ..other.clone()
        };
        *self == other
    }
}

pub(crate) const fn default_concurrency() -> u32 {
    64
}

pub(crate) const fn default_queue() -> u32 {
    256
}

pub(crate) const fn default_timeout() -> Timeout {
    Timeout::seconds(30)
}

pub(crate) const fn default_stream_idle_timeout() -> Timeout {
    Timeout::seconds(60)
}

pub(crate) const fn default_load_timeout() -> Timeout {
    Timeout::seconds(60)
}

pub(crate) const fn default_cpu_weight() -> u32 {
    100
}

const fn default_max_message() -> Size {
    Size::mebibytes(16)
}

pub(crate) const fn default_max_files() -> u32 {
    4096
}

pub(crate) const fn default_max_file_size() -> Size {
    Size::mebibytes(4096)
}

pub(crate) const fn default_max_processes() -> u32 {
    512
}
