//! The exports and imports of a plugin's component: hooks, interfaces, version. They are read before the component
//! runs.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use crate::config::{HookName, PluginConfig};
use crate::wasm::Wasm;
use crate::wasm::componentize::{self, NotAComponent};

/// The interface's package.
pub const PACKAGE: &str = "metagate:plugin";
/// The version of the interface that this gateway speaks.
pub const VERSION: &str = "0.1.0";
pub(super) const LIFECYCLE: &str = "lifecycle";

/// Interfaces that need no grant.
const FREE: [&str; 8] = ["types", "invocation", "outcome", "release", "log", "config", "clock", "random"];
/// Interfaces that do, and the grant's TOML.
const GRANTED: [(&str, &str); 6] = [
    ("store", "store = true"),
    ("http", "http = [\"https://example.com\"]"),
    ("env", "env = [\"NAME\"]"),
    ("secrets", "secrets = { name = \"${file:PATH}\" }"),
    ("metrics", "metrics = true"),
    ("invoke", "invoke = [\"deployment/function\"]"),
];

/// Why a component is not a plugin.
#[derive(Debug, thiserror::Error)]
pub enum NotAPlugin {
    /// Not a component.
    #[error(transparent)]
    Component(#[from] NotAComponent),
    /// It does not compile.
    #[error("it does not compile: {0}")]
    Compile(String),
    /// It imports an interface that no gateway has.
    #[error(
        "it imports {0:?}, which plugins cannot have: they have {PACKAGE}@{VERSION} and the part of WASI \
         that languages need to start"
    )]
    Import(String),
    /// It was built for another version of the interface.
    #[error(
        "it was built for {PACKAGE} {wanted}, and this gateway speaks {VERSION}: build it with the wit/ of this gateway"
    )]
    Version {
        /// The version it names.
        wanted: String,
    },
    /// It has no hook.
    #[error(
        "it exports no hook of {PACKAGE}@{VERSION}, which are before-load, after-load, before-invoke and \
         after-invoke{found}"
    )]
    NoHook {
        /// Its other exports.
        found: String,
    },
}

/// The exports and imports of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surface {
    /// Hooks that it exports.
    pub hooks: Vec<HookName>,
    /// Whether it checks its configuration.
    pub lifecycle: bool,
    /// Interfaces of `metagate:plugin` that it imports.
    pub imports: Vec<String>,
    /// Interfaces of WASI that it imports.
    pub wasi: Vec<String>,
    /// Bytes of the file.
    pub size: usize,
    /// Of the file's bytes.
    pub sha256: [u8; 32],
    /// The tools that made it, as they say.
    pub made_by: Vec<String>,
}

/// A compiled component and what it offers.
#[derive(Clone)]
pub struct Compiled {
    /// Ready to be linked.
    pub component: Component,
    /// Its hooks and needs.
    pub surface: Surface,
}

/// Compiles the bytes of a file and looks at what they offer. Blocks.
pub fn compile(wasm: &Wasm, file: Vec<u8>) -> Result<Compiled, NotAPlugin> {
    let (size, sha256) = (file.len(), Sha256::digest(&file).into());
    let bytes = componentize::component(file)?;
    let made_by = made_by(&bytes);
    let component = wasm.component(&bytes).map_err(|error| NotAPlugin::Compile(format!("{error:#}")))?;
    let surface = surface(wasm.engine(), &component, size, sha256, made_by)?;
    Ok(Compiled { component, surface })
}

fn surface(
    engine: &Engine,
    component: &Component,
    size: usize,
    sha256: [u8; 32],
    made_by: Vec<String>,
) -> Result<Surface, NotAPlugin> {
    let ty = component.component_type();
    let (mut imports, mut wasi) = (Vec::new(), Vec::new());
    for (name, _) in ty.imports(engine) {
        match own_interface(name)? {
            Some(interface) if FREE.contains(&interface) || needs_grant(interface).is_some() => {
                imports.push(interface.to_owned());
            }
            None if name.starts_with("wasi:") && !name.starts_with("wasi:http/") => wasi.push(name.to_owned()),
            Some(_) | None => return Err(NotAPlugin::Import(name.to_owned())),
        }
    }
    let mut exported = Vec::new();
    let mut others = Vec::new();
    for (name, item) in ty.exports(engine) {
        match own_interface(name)? {
            Some(interface) if matches!(item.ty, ComponentItem::ComponentInstance(_)) => {
                exported.push(interface.to_owned());
            }
            Some(_) | None => others.push(name.to_owned()),
        }
    }
    let hooks: Vec<HookName> =
        HookName::ALL.iter().copied().filter(|hook| exported.iter().any(|name| name == hook.as_str())).collect();
    if hooks.is_empty() {
        let found = if others.is_empty() { String::new() } else { format!("; it exports {}", others.join(", ")) };
        return Err(NotAPlugin::NoHook { found });
    }
    let lifecycle = exported.iter().any(|name| name == LIFECYCLE);
    Ok(Surface { hooks, lifecycle, imports, wasi, size, sha256, made_by })
}

/// The interface that a name means, if it is of our package; a version that is not ours is an error.
fn own_interface(name: &str) -> Result<Option<&str>, NotAPlugin> {
    let Some(rest) = name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('/')) else { return Ok(None) };
    let (interface, version) = rest.split_once('@').unwrap_or((rest, "no version"));
    if version == VERSION { Ok(Some(interface)) } else { Err(NotAPlugin::Version { wanted: version.to_owned() }) }
}

fn needs_grant(interface: &str) -> Option<&'static str> {
    GRANTED.iter().find(|(name, _)| *name == interface).map(|(_, toml)| *toml)
}

impl Surface {
    /// The TOML of the grants that it needs and does not have, one for each. A list that is written and empty counts:
    /// the plugin may ask, and gets nothing.
    #[must_use]
    pub fn missing_grants(&self, settings: &PluginConfig) -> Vec<(&str, &'static str)> {
        let grants = &settings.grants;
        let is_list = |interface: &str| matches!(interface, "http" | "env" | "secrets" | "invoke");
        let is_written = |interface: &str| is_list(interface) && settings.locations.has(&format!("grants.{interface}"));
        let has = |interface: &str| match interface {
            "store" => grants.store,
            "http" => !grants.http.is_empty(),
            "env" => !grants.env.is_empty(),
            "secrets" => !grants.secrets.is_empty(),
            "metrics" => grants.metrics,
            "invoke" => !grants.invoke.is_empty(),
            _ => true,
        };
        let needed = self.imports.iter().filter(|interface| !has(interface) && !is_written(interface));
        needed.filter_map(|interface| needs_grant(interface).map(|toml| (interface.as_str(), toml))).collect()
    }

    /// The line of TOML that grants all that it imports; nothing if it needs no grants.
    #[must_use]
    pub fn grants_line(&self) -> Option<String> {
        let needed: Vec<&str> = self.imports.iter().filter_map(|interface| needs_grant(interface)).collect();
        (!needed.is_empty()).then(|| format!("grants = {{ {} }}", needed.join(", ")))
    }

    /// Whether it is that of a file with these bytes.
    #[must_use]
    pub fn is_of(&self, file: &[u8]) -> bool {
        self.size == file.len() && self.sha256[..] == Sha256::digest(file)[..]
    }

    /// The SHA-256 of the file, in hexadecimal.
    #[must_use]
    pub fn sha256_text(&self) -> String {
        self.sha256.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _infallible = write!(text, "{byte:02x}");
            text
        })
    }
}

/// The tools named in the `producers` section; format: tool-conventions/ProducersSection.
fn made_by(component: &[u8]) -> Vec<String> {
    let mut tools = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(component).flatten() {
        let wasmparser::Payload::CustomSection(section) = payload else { continue };
        if section.name() != "producers" {
            continue;
        }
        let reader = wasmparser::BinaryReader::new(section.data(), section.data_offset());
        let Ok(fields) = wasmparser::ProducersSectionReader::new(reader) else { continue };
        for field in fields.into_iter().flatten().filter(|field| field.name != "sdk") {
            for value in field.values.into_iter().flatten() {
                let tool = format!("{} {}", value.name, value.version).trim().to_owned();
                if !tools.contains(&tool) {
                    tools.push(tool);
                }
            }
        }
    }
    tools.truncate(12);
    tools
}
