//! The table `[[deployment]]`: a folder of functions, how its workers are started and what limits they have.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::field;
use super::places::Places;
use super::secret::Secret;
use super::size::Size;
use super::timeout::Timeout;
use super::wasm_functions::WasmFunctionsConfig;
use super::workers::Workers;
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
    #[serde(default, deserialize_with = "field::runtime")]
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
    pub places: Places,
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
            places: Places::default(),
        }
    }
}

/// How workers are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuntimeKind {
    /// `node` with metagate's worker script.
    Node,
    /// `python3` with metagate's worker script.
    Python,
    /// metagate's own worker for components and modules of WebAssembly.
    Wasm,
    /// `metacall`, which may mix languages in one process.
    Metacall,
    /// Any program that speaks the worker protocol.
    Command,
}

impl RuntimeKind {
    /// Every runtime.
    pub const ALL: [Self; 5] = [Self::Node, Self::Python, Self::Wasm, Self::Metacall, Self::Command];

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Python => "python",
            Self::Wasm => "wasm",
            Self::Metacall => "metacall",
            Self::Command => "command",
        }
    }

    /// Whether its workers may offer functions under other names and ask for the names of arguments; metagate's own for
    /// scripts and MetaCall's do not.
    #[must_use]
    pub const fn may_use_names(self) -> bool {
        match self {
            Self::Wasm | Self::Command => true,
            Self::Node | Self::Python | Self::Metacall => false,
        }
    }

    /// The runtime of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl JsonSchema for RuntimeKind {
    fn schema_name() -> Cow<'static, str> {
        "RuntimeKind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Self::ALL.map(Self::name) })
    }
}

impl fmt::Display for RuntimeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

pub(super) const fn default_concurrency() -> u32 {
    64
}

pub(super) const fn default_queue() -> u32 {
    256
}

pub(super) const fn default_timeout() -> Timeout {
    Timeout::seconds(30)
}

pub(super) const fn default_load_timeout() -> Timeout {
    Timeout::seconds(60)
}

const fn default_max_message() -> Size {
    Size::mebibytes(16)
}

const fn default_static_files() -> bool {
    true
}
