//! The settings of a wasm worker, which the gateway passes to it as one JSON text on its command line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::{BytesRule, DeploymentConfig, HttpGrant, Instances, Size};

/// The words on the command line that start the worker, before its settings.
pub const WORDS: [&str; 2] = ["worker", "wasm"];

/// The settings of one wasm worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// The folder of compiled code.
    pub cache: PathBuf,
    /// Most calls in flight.
    pub concurrency: u32,
    /// The timeout of a call whose message has none, in milliseconds.
    pub timeout: u64,
    /// Longest line that the worker may write, in bytes.
    pub max_message: usize,
    /// Memory limit of an instance, in bytes.
    pub max_memory: usize,
    /// Whether instances are reused for later calls.
    pub keeps_instances: bool,
    /// How results write a `list<u8>`.
    pub bytes: BytesRule,
    /// Names of the environment variables that functions see.
    pub env: Vec<String>,
    /// Origins that functions may send requests to.
    pub http: Vec<HttpGrant>,
    /// Folders that functions may read, by the path under which they see them.
    pub folders: BTreeMap<String, PathBuf>,
}

impl Settings {
    /// The settings of a deployment's workers. `cache` is the folder of compiled code.
    #[must_use]
    pub fn new(deployment: &DeploymentConfig, cache: PathBuf) -> Self {
        let wasm = &deployment.wasm;
        let in_memory = |size: Size| usize::try_from(size.bytes()).unwrap_or(usize::MAX);
        let process = deployment.max_memory.map_or(usize::MAX, in_memory);
        Self {
            cache,
            concurrency: deployment.concurrency,
            timeout: u64::try_from(deployment.timeout.get().as_millis()).unwrap_or(u64::MAX),
            max_message: in_memory(deployment.max_message),
            max_memory: in_memory(wasm.max_memory).min(process),
            keeps_instances: wasm.instances == Instances::Warm,
            bytes: wasm.bytes,
            env: deployment.env.keys().cloned().collect(),
            http: wasm.grants.http.clone(),
            folders: wasm.grants.folders.clone(),
        }
    }

    /// The text that [`Self::from_text`] reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers always render as JSON")
    }

    /// Reads the text of [`Self::to_text`].
    pub fn from_text(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }
}
