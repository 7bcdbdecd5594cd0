//! The table `[deployment.wasm]`: how functions in WebAssembly run, and their permissions.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::config::values::bytes_rule::{self, BytesRule};
use crate::config::values::choice::Instances;
use crate::config::values::field;
use crate::config::values::http_grant::HttpGrant;
use crate::config::values::size::{Size, size_within};

const FOLDER_WORDS: &str = "a path as functions see it, from \"/\" and without \".\" or \"..\", such as \"/data\"";
const LEAST_MEMORY: u64 = 64 << 10;
const MOST_MEMORY: u64 = 4 << 30;

/// `[deployment.wasm]`: settings for runtime = "wasm".
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct WasmFunctionsConfig {
    /// "fresh": each call has its own instance, and no state survives the call. "warm": instances are reused, by one
    /// call at a time, and keep their state. Default "fresh".
    pub instances: Instances,
    /// Maximum memory of an instance, summed over its memories. "64KiB" to "4GiB", and at most the deployment's
    /// max_memory. Default "256MiB".
    #[serde(deserialize_with = "size_within::<LEAST_MEMORY, MOST_MEMORY, _>")]
    #[schemars(range(min = 65_536, max = 4_294_967_296_u64))]
    pub max_memory: Size,
    /// Form of a `list<u8>` in results: "base64" text or an "array" of numbers. Arguments may have either form. Default
    /// "base64".
    #[serde(deserialize_with = "bytes_rule::read")]
    pub bytes: BytesRule,
    /// Permissions of the functions, in addition to clocks, randomness, the deployment's environment and the log.
    /// Default: none.
    pub grants: WasmGrants,
}

impl Default for WasmFunctionsConfig {
    fn default() -> Self {
        Self {
            instances: Instances::Fresh,
            max_memory: Size::mebibytes(256),
            bytes: BytesRule::Base64,
            grants: WasmGrants::default(),
        }
    }
}

/// `[deployment.wasm.grants]`: permissions of functions in WebAssembly.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct WasmGrants {
    /// Origins that the functions may send requests to through wasi:http, such as `https://api.example.com`. Addresses
    /// in private networks are refused, unless the origin names the address itself or the list has its network, such as
    /// "10.0.0.0/8". Default: none.
    pub http: Vec<HttpGrant>,
    /// Folders that the functions may read, by the path under which they see them: `{ "/data" = "data" }`. Default:
    /// none.
    #[serde(deserialize_with = "folders")]
    pub folders: BTreeMap<String, PathBuf>,
}

fn folders<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, PathBuf>, D::Error> {
    let folders = BTreeMap::<String, PathBuf>::deserialize(deserializer)?;
    match folders.iter().find(|(seen, folder)| !is_seen_path(seen) || folder.as_os_str().is_empty()) {
        Some((seen, folder)) if folder.as_os_str().is_empty() => {
            Err(field::refused(&format!("{seen:?} names no folder"), "a path in quotes"))
        }
        Some((seen, _)) => Err(field::refused(&format!("{seen:?} is none"), FOLDER_WORDS)),
        None => Ok(folders),
    }
}

fn is_seen_path(path: &str) -> bool {
    let part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    path.strip_prefix('/').is_some_and(|rest| rest.is_empty() || rest.split('/').all(part))
}
