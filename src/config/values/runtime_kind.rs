//! The runtimes: how the workers of a deployment are started.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserializer;

use crate::config::values::field;

const RUNTIME_WORDS: &str = "\"node\", \"python\", \"wasm\", \"metacall\" or \"command\"";

/// How workers are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuntimeKind {
    /// `node` with metagate's worker script.
    Node,
    /// `python3` with metagate's worker script.
    Python,
    /// metagate itself, for WebAssembly components and core modules.
    Wasm,
    /// `metacall`, which can run several languages in one process.
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

    /// Whether its workers may declare aliases and ask for arguments by name, as the worker protocol allows. MetaCall's
    /// do not.
    #[must_use]
    pub const fn may_use_names(self) -> bool {
        match self {
            Self::Node | Self::Python | Self::Wasm | Self::Command => true,
            Self::Metacall => false,
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

/// Reads the name of a runtime.
pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RuntimeKind>, D::Error> {
    let parse = |text: &str| RuntimeKind::from_name(text).ok_or_else(|| format!("{text:?} is not {RUNTIME_WORDS}"));
    field::text(deserializer, RUNTIME_WORDS, parse).map(Some)
}
