//! The exports and imports of a plugin's component: hooks, interfaces, version. They are read before any of its code
//! runs.

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use crate::config::{HookName, PluginConfig};
use crate::hex;
use crate::plugin::apart::message::SentSurface;
use crate::plugin::declarations::DECLARATIONS;
use crate::wasm::Wasm;
use crate::wasm::componentize::{self, NotAComponent};

/// The interface's package.
pub const PACKAGE: &str = "metagate:plugin";
/// The version of the interface that this gateway supports.
pub const VERSION: &str = "0.1.0";
pub(super) const LIFECYCLE: &str = "lifecycle";

/// Interfaces that need no grant.
const FREE: [&str; 8] = ["types", "invocation", "outcome", "release", "log", "config", "clock", "random"];
/// Interfaces that need a grant, with the TOML of an example.
const GRANTED: [(&str, &str); 6] = [
    ("store", "store = true"),
    ("http", "http = [\"https://example.com\"]"),
    ("env", "env = [\"NAME\"]"),
    ("secrets", "secrets = { name = \"${file:PATH}\" }"),
    ("metrics", "metrics = true"),
    ("invoke", "invoke = [\"deployment/function\"]"),
];

/// The functions of the interface that read or replace the arguments of a call.
const ARGUMENTS: [&str; 3] =
    ["[method]invocation.arguments", "[method]invocation.arguments-size", "[method]invocation.set-arguments"];

/// Why a component is not a plugin.
#[derive(Debug, thiserror::Error)]
pub enum NotAPlugin {
    /// Not a component.
    #[error(transparent)]
    Component(#[from] NotAComponent),
    /// It does not compile.
    #[error("it does not compile: {0}")]
    Compile(String),
    /// It imports an interface that this gateway does not provide.
    #[error(
        "it imports {0:?}, which plugins cannot have: they can import {PACKAGE}@{VERSION} and the part of WASI \
         that language runtimes need to start"
    )]
    Import(String),
    /// It was built for another version of the interface.
    #[error(
        "it was built for {PACKAGE} {wanted}, and this gateway supports {VERSION}: build it with this gateway's wit/"
    )]
    Version {
        /// The version that it imports or exports.
        wanted: String,
    },
    /// It has no hook.
    #[error(
        "it exports no hook of {PACKAGE}@{VERSION} (before-load, after-load, before-invoke or after-invoke){found}"
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
    /// Whether it exports `lifecycle`, which checks its configuration.
    pub lifecycle: bool,
    /// Whether it exports `declarations`, which says how it refuses.
    pub declarations: bool,
    /// Interfaces of `metagate:plugin` that it imports.
    pub imports: Vec<String>,
    /// Interfaces of WASI that it imports.
    pub wasi: Vec<String>,
    /// Whether it imports a function that reads or replaces the arguments of calls.
    pub uses_arguments: bool,
    /// Size of the file, in bytes.
    pub size: usize,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// The tools that built it, according to its `producers` section.
    pub made_by: Vec<String>,
}

/// A compiled component, with its exports and imports.
#[derive(Clone)]
pub struct Compiled {
    /// The component, ready to be linked.
    pub component: Component,
    /// Its exports and imports.
    pub surface: Surface,
}

/// Compiles the bytes of a file and reads the exports and imports. Blocks.
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
    let mut uses_arguments = false;
    for (name, item) in ty.imports(engine) {
        let own = own_interface(name)?;
        if let (Some("invocation"), ComponentItem::ComponentInstance(interface)) = (own, &item.ty) {
            uses_arguments |= interface.exports(engine).any(|(function, _)| ARGUMENTS.contains(&function));
        }
        match own {
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
    let exports = |interface: &str| exported.iter().any(|name| name == interface);
    let (lifecycle, declarations) = (exports(LIFECYCLE), exports(DECLARATIONS));
    Ok(Surface { hooks, lifecycle, declarations, imports, wasi, uses_arguments, size, sha256, made_by })
}

/// The interface that an import or export names, if it is in [`PACKAGE`]. Another version is an error.
fn own_interface(name: &str) -> Result<Option<&str>, NotAPlugin> {
    let Some(rest) = name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('/')) else { return Ok(None) };
    let (interface, version) = rest.split_once('@').unwrap_or((rest, "no version"));
    if version == VERSION { Ok(Some(interface)) } else { Err(NotAPlugin::Version { wanted: version.to_owned() }) }
}

fn needs_grant(interface: &str) -> Option<&'static str> {
    GRANTED.iter().find(|(name, _)| *name == interface).map(|(_, toml)| *toml)
}

impl Surface {
    /// What is known about a component by its file.
    pub(super) fn of_file(file: &[u8]) -> Self {
        Self {
            hooks: Vec::new(),
            lifecycle: false,
            declarations: false,
            imports: Vec::new(),
            wasi: Vec::new(),
            uses_arguments: true,
            size: file.len(),
            sha256: Sha256::digest(file).into(),
            made_by: Vec::new(),
        }
    }

    /// The same with what the component's own process has found.
    pub(super) fn and(self, found: SentSurface) -> Self {
        let SentSurface { hooks, lifecycle, declarations, imports, wasi, uses_arguments, made_by } = found;
        Self { hooks, lifecycle, declarations, imports, wasi, uses_arguments, made_by, ..self }
    }

    /// What a component's own process tells the gateway.
    pub(crate) fn sent(&self) -> SentSurface {
        let Self { hooks, lifecycle, declarations, imports, wasi, uses_arguments, made_by, .. } = self.clone();
        SentSurface { hooks, lifecycle, declarations, imports, wasi, uses_arguments, made_by }
    }

    /// The imports that need a grant and have none, with the TOML of each. A grant that is present as an empty list
    /// counts: the plugin may call the import, which gives it nothing.
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

    /// The line of TOML that grants all imports; `None` if no import needs a grant.
    #[must_use]
    pub fn grants_line(&self) -> Option<String> {
        let needed: Vec<&str> = self.imports.iter().filter_map(|interface| needs_grant(interface)).collect();
        (!needed.is_empty()).then(|| format!("grants = {{ {} }}", needed.join(", ")))
    }

    /// Whether it was read from a file with these bytes.
    #[must_use]
    pub fn is_of(&self, file: &[u8]) -> bool {
        self.size == file.len() && self.sha256[..] == Sha256::digest(file)[..]
    }

    /// The SHA-256 of the file, in hexadecimal.
    #[must_use]
    pub fn sha256_text(&self) -> String {
        hex::text(&self.sha256)
    }
}

/// The tools named in the `producers` section, in the format of WebAssembly's tool-conventions (ProducersSection.md).
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
