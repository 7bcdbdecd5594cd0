//! The table `[[deployment]]`: a folder of functions, how its workers are started and what limits they have.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::locations::Locations;
use crate::config::tables::wasm_functions::WasmFunctionsConfig;
use crate::config::values::field;
use crate::config::values::runtime_kind::{self, RuntimeKind};
use crate::config::values::secret::Secret;
use crate::config::values::size::Size;
use crate::config::values::timeout::Timeout;
use crate::config::values::workers::Workers;
use crate::deployment::DeploymentName;

/// `[[deployment]]`: a folder of functions under a name, with the runtime and the limits of its workers.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct DeploymentConfig {
    /// Its part of call addresses: 1 to 64 of A-Z a-z 0-9 . _ -, begun by a letter or digit.
    #[serde(deserialize_with = "field::name::<DeploymentName, _, _>")]
    pub name: DeploymentName,
    /// A folder with a metacall.json or with scripts.
    #[serde(deserialize_with = "field::path")]
    pub path: PathBuf,
    /// How its workers are started: "node", "python", "wasm", "metacall" or "command". Default: by the language of its
    /// files.
    #[serde(default, deserialize_with = "runtime_kind::read")]
    pub runtime: Option<RuntimeKind>,
    /// The program for node, python or metacall. With a slash it is a path from the configuration file; a bare name
    /// such as "python3.12" is looked for on the gateway's PATH. Default: the runtime's usual program.
    #[serde(default, deserialize_with = "field::path")]
    pub interpreter: Option<PathBuf>,
    /// For runtime = "command": a program that speaks the worker protocol on descriptor 3, then its arguments. With a
    /// slash the program is a path from the configuration file; a bare name is looked for on the gateway's PATH.
    #[serde(default, deserialize_with = "field::command")]
    #[schemars(length(min = 1))]
    pub command: Option<Vec<String>>,
    /// For runtime = "metacall": a worker script to run instead of metagate's own, such as that of MetaCall FaaS.
    #[serde(default, deserialize_with = "field::path")]
    pub worker_script: Option<PathBuf>,
    /// Worker processes: a number, or { min, max } to start more as calls wait. 1 to 64. Default 1.
    #[serde(default)]
    pub workers: Workers,
    /// Calls in flight in each worker. 1 to 4096. Default 64.
    #[serde(default = "default_concurrency", deserialize_with = "field::within::<1, 4096, _, _>")]
    #[schemars(range(min = 1, max = 4096))]
    pub concurrency: u32,
    /// Calls that wait beyond those in flight; further ones get a 503. 0 to 65536. Default 256.
    #[serde(default = "default_queue", deserialize_with = "field::within::<0, 65_536, _, _>")]
    #[schemars(range(min = 0, max = 65_536))]
    pub queue: u32,
    /// How long a call may take, waiting included. "1ms" to "1h". Default "30s".
    #[serde(default = "default_timeout")]
    pub timeout: Timeout,
    /// How long a worker may take to start and load its functions. "1ms" to "1h". Default "60s".
    #[serde(default = "default_load_timeout")]
    pub load_timeout: Timeout,
    /// What its workers get into their otherwise bare environment. LD_*, NODE_CHANNEL_*, METAGATE_* and PATH may not be
    /// set. Default: nothing.
    #[serde(default)]
    pub env: BTreeMap<String, Secret>,
    /// Most memory of each worker. A size of at least 1 byte. Default: no limit.
    #[serde(default)]
    pub max_memory: Option<Size>,
    /// Longest message between the gateway and a worker: arguments or a result. At least 1 byte. Default "16MiB".
    #[serde(default = "default_max_message")]
    pub max_message: Size,
    /// Whether the files of its folder can be read at `/<prefix>/<name>/v1/static/<file>`. Hidden files, links and
    /// node_modules never can. Default true.
    #[serde(default = "default_static_files")]
    pub static_files: bool,
    /// For runtime = "wasm": how its functions run and what they may reach.
    #[serde(default)]
    pub wasm: WasmFunctionsConfig,
    /// Where this table and its keys stand; nowhere for a deployment that is not from a file.
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
            env: BTreeMap::new(),
            max_memory: None,
            max_message: default_max_message(),
            static_files: default_static_files(),
            wasm: WasmFunctionsConfig::default(),
            locations: Locations::default(),
        }
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

pub(crate) const fn default_load_timeout() -> Timeout {
    Timeout::seconds(60)
}

const fn default_max_message() -> Size {
    Size::mebibytes(16)
}

const fn default_static_files() -> bool {
    true
}
