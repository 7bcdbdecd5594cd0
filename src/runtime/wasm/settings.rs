//! What the gateway tells a wasm worker about its deployment: one JSON text on the worker's command line.

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
    /// Calls in flight at most.
    pub concurrency: u32,
    /// How long a call may take that does not say so itself, in milliseconds.
    pub timeout: u64,
    /// Longest line that may be written, in bytes.
    pub max_message: usize,
    /// Most memory of an instance, in bytes.
    pub max_memory: usize,
    /// Whether instances are used again.
    pub keeps_instances: bool,
    /// How `list<u8>` stands in results.
    pub bytes: BytesRule,
    /// Names of the environment variables that functions see.
    pub env: Vec<String>,
    /// Where functions may send requests to.
    pub http: Vec<HttpGrant>,
    /// Folders that functions may read, by the path at which they find them.
    pub folders: BTreeMap<String, PathBuf>,
}

impl Settings {
    /// The settings of a deployment whose compiled code is kept in `cache`.
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

    /// As the one text that [`Self::from_text`] reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers always render as JSON")
    }

    /// Reads the text back.
    pub fn from_text(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }
}
