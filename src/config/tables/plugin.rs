//! The table `[[plugin]]`: the scope, limits and permissions of a plugin.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::config::locations::Locations;
use crate::config::tables::grants::Grants;
use crate::config::values::choice::{HookName, Instances, Mode, OnError, PluginIsolation};
use crate::config::values::pattern::{self, Pattern};
use crate::config::values::plugin_name::PluginName;
use crate::config::values::scope::Exclusion;
use crate::config::values::sha256::Sha256;
use crate::config::values::size::{Size, size_within};
use crate::config::values::timeout::{Timeout, timeout_up_to};
use crate::config::values::{field, json_table};

const HOOKS_WORDS: &str = "a list of hooks, each once, such as [\"before-invoke\", \"after-invoke\"]";
const HOOK_TIME_WORDS: &str = "a duration such as \"50ms\" or \"2s\", from \"1ms\" to \"60s\"";
const LEAST_MEMORY: u64 = 64 << 10;
const MOST_MEMORY: u64 = 4 << 30;

/// `[[plugin]]`: a plugin under a name, its scope, limits and permissions. Before-hooks run in the order of the file,
/// after-hooks in reverse.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct PluginConfig {
    /// Name in logs, metrics and errors: 1 to 64 of A-Z a-z 0-9 . _ -; the first is a letter or digit. Unique among
    /// plugins.
    pub name: PluginName,
    /// File of the WebAssembly component.
    #[serde(deserialize_with = "field::path")]
    pub path: PathBuf,
    /// SHA-256 that the file at path must have, as 64 hexadecimal digits. Default: any.
    #[serde(default)]
    pub sha256: Option<Sha256>,
    /// Hooks that run: "before-load", "after-load", "before-invoke", "after-invoke", at least one. Default: all that
    /// the plugin exports.
    #[serde(default, deserialize_with = "hooks")]
    #[schemars(length(min = 1))]
    pub hooks: Option<Vec<HookName>>,
    /// Deployments that the plugin applies to, by name; * matches any text, ? any one character. At least one pattern
    /// of 1 to 128 characters. Default ["*"].
    #[serde(default = "everything", deserialize_with = "pattern::names")]
    #[schemars(length(min = 1))]
    pub deployments: Vec<Pattern>,
    /// Functions whose calls the plugin applies to, by name, with the same wildcards. For a function of an interface,
    /// such as "operations/add", the last part matches too. Default ["*"].
    #[serde(default = "everything", deserialize_with = "pattern::names")]
    #[schemars(length(min = 1))]
    pub functions: Vec<Pattern>,
    /// Exceptions from the scope: "deployment" or "deployment/function", each with * and ?. Default: none.
    #[serde(default)]
    pub exclude: Vec<Exclusion>,
    /// Effect of a hook that traps, times out or returns an invalid answer: "reject" refuses the call or load, "skip"
    /// continues without the plugin. Default: "reject" for before-load and before-invoke, "skip" for after-load and
    /// after-invoke.
    #[serde(default)]
    pub on_error: Option<OnError>,
    /// Timeout of a hook call, including the imports that it calls. "1ms" to "60s". Default "50ms".
    #[serde(default = "default_timeout", deserialize_with = "hook_time")]
    pub timeout: Timeout,
    /// Maximum memory of an instance, summed over its memories. "64KiB" to "4GiB". Default "64MiB".
    #[serde(default = "default_max_memory", deserialize_with = "size_within::<LEAST_MEMORY, MOST_MEMORY, _>")]
    #[schemars(range(min = 65_536, max = 4_294_967_296_u64))]
    pub max_memory: Size,
    /// "warm": instances are reused, by one hook call at a time. "fresh": each hook call has its own instance, and no
    /// state survives it. Default "warm".
    #[serde(default)]
    pub instances: Instances,
    /// Hook calls after which a warm instance is replaced. At least 1. Default 10000.
    #[serde(default = "default_max_uses", deserialize_with = "field::within::<1, { u32::MAX }, _, _>")]
    #[schemars(range(min = 1))]
    pub max_uses: u32,
    /// Maximum number of concurrent hook calls of this plugin; further ones wait. 1 to 256. Default 64.
    #[serde(default = "default_max_instances", deserialize_with = "field::within::<1, 256, _, _>")]
    #[schemars(range(min = 1, max = 256))]
    pub max_instances: u32,
    /// Where the hooks run. "none": in the gateway's process, within the limits of WebAssembly. "process": in a process
    /// of their own behind walls, for a plugin that is not trusted; a hook call then takes longer. Default "none".
    #[serde(default)]
    pub isolation: PluginIsolation,
    /// "enforce": verdicts are applied. "observe": the plugin runs, and its verdicts are only logged and counted.
    /// Default "enforce".
    #[serde(default)]
    pub mode: Mode,
    /// File to which hook calls are recorded, as cases for `metagate plugin test`. Default: none.
    #[serde(default, deserialize_with = "field::path")]
    pub record: Option<PathBuf>,
    /// Permissions, in addition to log, config, clock and random. Default: none.
    #[serde(default, deserialize_with = "field::table")]
    pub grants: Grants,
    /// Configuration of the plugin itself, which receives it as JSON: any table; dates become text. Default {}.
    #[serde(default, deserialize_with = "json_table::read")]
    #[schemars(schema_with = "json_table::schema")]
    pub config: Map<String, Value>,
    /// The locations of this table and its keys, such as `"grants.http"` or `"config.header"`; of a drop-in, in its own
    /// file; none for a plugin that is not from a file.
    #[serde(skip)]
    pub locations: Locations,
    /// The file of a drop-in's settings, and the files that `${file:PATH}` names in it.
    #[serde(skip)]
    pub settings_files: Vec<PathBuf>,
}

impl PluginConfig {
    /// The keys without a default.
    pub const REQUIRED: [&str; 2] = ["name", "path"];

    /// A plugin with every other key at its default.
    #[must_use]
    pub fn plain(name: PluginName, path: PathBuf) -> Self {
        Self {
            name,
            path,
            sha256: None,
            hooks: None,
            deployments: everything(),
            functions: everything(),
            exclude: Vec::new(),
            on_error: None,
            timeout: default_timeout(),
            max_memory: default_max_memory(),
            instances: Instances::default(),
            max_uses: default_max_uses(),
            max_instances: default_max_instances(),
            isolation: PluginIsolation::default(),
            mode: Mode::default(),
            record: None,
            grants: Grants::default(),
            config: Map::new(),
            locations: Locations::default(),
            settings_files: Vec::new(),
        }
    }

    /// The largest `max_memory` of the plugins that run in the gateway, in bytes; none if there is no such plugin.
    #[must_use]
    pub fn largest_in_gateway(plugins: &[Self]) -> Option<u64> {
        let here = plugins.iter().filter(|plugin| plugin.isolation == PluginIsolation::None);
        here.map(|plugin| plugin.max_memory.bytes()).max()
    }

    /// The bytes that all plugins need at least: one instance of each that has a process, and the largest one in the
    /// gateway.
    #[must_use]
    pub fn least_memory(plugins: &[Self]) -> u64 {
        let apart = plugins.iter().filter(|plugin| plugin.isolation == PluginIsolation::Process);
        let all = apart.map(|plugin| plugin.max_memory.bytes()).chain(Self::largest_in_gateway(plugins));
        all.fold(0, u64::saturating_add)
    }

    /// Whether two plugins have the same settings. Their locations are not compared: a table that has only moved within
    /// its file is unchanged.
    #[must_use]
    pub fn has_same_settings(&self, other: &Self) -> bool {
        // Named one by one, so that a new field does not compile until it is compared here.
        let Self {
            name,
            path,
            sha256,
            hooks,
            deployments,
            functions,
            exclude,
            on_error,
            timeout,
            max_memory,
            instances,
            max_uses,
            max_instances,
            isolation,
            mode,
            record,
            grants,
            config,
            locations: _,
            settings_files: _,
        } = self;
        *name == other.name
            && *path == other.path
            && *sha256 == other.sha256
            && *hooks == other.hooks
            && *deployments == other.deployments
            && *functions == other.functions
            && *exclude == other.exclude
            && *on_error == other.on_error
            && *timeout == other.timeout
            && *max_memory == other.max_memory
            && *instances == other.instances
            && *max_uses == other.max_uses
            && *max_instances == other.max_instances
            && *isolation == other.isolation
            && *mode == other.mode
            && *record == other.record
            && *grants == other.grants
            && *config == other.config
    }

    /// Whether this hook may run, if the plugin exports it.
    #[must_use]
    pub fn allows_hook(&self, hook: HookName) -> bool {
        self.hooks.as_ref().is_none_or(|hooks| hooks.contains(&hook))
    }

    /// The effect of a failure in this hook.
    #[must_use]
    pub fn on_error_of(&self, hook: HookName) -> OnError {
        self.on_error.unwrap_or_else(|| hook.on_error())
    }

    /// Whether the plugin applies to loads of this deployment. `functions` and exclusions of single functions have no
    /// effect on loads.
    #[must_use]
    pub fn applies_to_deployment(&self, deployment: &str) -> bool {
        self.deployments.iter().any(|pattern| pattern.matches(deployment))
            && !self.exclude.iter().any(|exclusion| exclusion.covers_deployment(deployment))
    }

    /// Whether the plugin applies to calls of this function. The name of an interface's function may be qualified or
    /// not, depending on the names of other functions, so its last part matches as well.
    #[must_use]
    pub fn applies_to(&self, deployment: &str, function: &str) -> bool {
        self.applies_to_deployment(deployment)
            && self.functions.iter().any(|pattern| pattern.matches(function) || pattern.matches(last_part(function)))
            && !self.exclude.iter().any(|exclusion| exclusion.covers(deployment, function))
    }
}

fn last_part(function: &str) -> &str {
    function.rsplit('/').next().unwrap_or(function)
}

// Of `config` only the keys: its values may be secrets.
impl fmt::Debug for PluginConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, path, sha256, hooks, deployments, functions, exclude, on_error, timeout, .. } = self;
        let Self { max_memory, instances, max_uses, max_instances, isolation, mode, record, .. } = self;
        let Self { grants, config, locations, .. } = self;
        f.debug_struct("PluginConfig")
            .field("name", name)
            .field("path", path)
            .field("sha256", sha256)
            .field("hooks", hooks)
            .field("deployments", deployments)
            .field("functions", functions)
            .field("exclude", exclude)
            .field("on_error", on_error)
            .field("timeout", timeout)
            .field("max_memory", max_memory)
            .field("instances", instances)
            .field("max_uses", max_uses)
            .field("max_instances", max_instances)
            .field("isolation", isolation)
            .field("mode", mode)
            .field("record", record)
            .field("grants", grants)
            .field("config", &config.keys().collect::<Vec<_>>())
            .field("locations", locations)
            .finish()
    }
}

fn hooks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<HookName>>, D::Error> {
    let hooks: Vec<HookName> = field::filled(deserializer, HOOKS_WORDS)?;
    let twice = hooks.iter().enumerate().any(|(index, hook)| hooks[..index].contains(hook));
    if twice {
        return Err(field::refused("a hook is named twice", HOOKS_WORDS));
    }
    Ok(Some(hooks))
}

fn hook_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timeout, D::Error> {
    field::text(deserializer, HOOK_TIME_WORDS, |text| timeout_up_to(text, "60s", HOOK_TIME_WORDS))
}

fn everything() -> Vec<Pattern> {
    vec![Pattern::any()]
}

const fn default_timeout() -> Timeout {
    Timeout::milliseconds(50)
}

const fn default_max_memory() -> Size {
    Size::mebibytes(64)
}

const fn default_max_uses() -> u32 {
    10_000
}

const fn default_max_instances() -> u32 {
    64
}
