//! Loads plugins that run in a process of their own: has the component compiled, starts the process, and checks what it
//! says about the plugin as `load` checks other plugins.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::config::PluginConfig;
use crate::describe::declaration::Declaration;
use crate::plugin::apart::message::Loaded;
use crate::plugin::apart::{Apart, Processes};
use crate::plugin::component::{NotAPlugin, Surface};
use crate::plugin::load::{Loader, check_digest, check_surface};
use crate::plugin::load_error::{LoadError, Reason};
use crate::plugin::verdict::readable;
use crate::plugin::{Home, Plugin, trap};
use crate::wasm::{compile, componentize};

/// Longest JSON of what a plugin declares, which is twice what it may declare.
const DECLARATION_SIZE: usize = 1 << 20;

/// Loads a plugin whose file holds `bytes` in a process of its own, whose instances have `memory` bytes. Its compiled
/// code is kept below `cache`, in a folder that no other plugin can read. Blocks, for minutes at worst.
pub(super) fn load(
    loader: &Loader,
    processes: &Processes,
    cache: &Path,
    (settings, memory): (PluginConfig, u64),
    bytes: Vec<u8>,
) -> Result<Arc<Plugin>, LoadError> {
    check_digest(&settings, &bytes)?;
    let surface = Surface::of_file(&bytes);
    let error = |key: &str, reason| LoadError::new(&settings, key, reason);
    let refused = |reason: NotAPlugin| error("path", Reason::NotAPlugin(reason));
    let component = Bytes::from(componentize::component(bytes).map_err(|error| refused(error.into()))?);
    let own = cache.join(settings.name.as_str());
    compile::ahead(&component, &own).map_err(|error| refused(NotAPlugin::Compile(format!("{error:#}"))))?;
    let granted = Arc::new(loader.granted(&settings));
    let started = Apart::start(processes, &settings, granted, (component, own), memory);
    let (apart, loaded) = started.map_err(|how| error("path", Reason::Process(readable(&how))))?;
    let Loaded { surface: found, hooks, declaration, refusal } = loaded;
    let surface = found.map(|found| surface.and(found));
    if let Some(surface) = &surface {
        check_surface(&settings, surface)?;
    }
    match (surface, refusal) {
        (Some(surface), None) => {
            let declared = declaration.as_deref().map(declared).transpose();
            let declaration = declared.map_err(|reason| error("path", Reason::BadDeclaration(readable(&reason))))?;
            let mut plugin = loader.plugin(settings, surface, hooks, Home::Apart(apart))?;
            plugin.declaration = declaration.map(Arc::new);
            Ok(Arc::new(plugin))
        }
        (_, Some(refusal)) => {
            let (text, public) = (readable(&refusal.reason), readable(&refusal.public));
            let whole = trap::readable_text(&refusal.whole);
            Err(error(&readable(&refusal.key), Reason::Refused { text, whole, public }))
        }
        (None, None) => Err(error("path", Reason::Process("did not say what the plugin exports".to_owned()))),
    }
}

/// Reads and checks what a process says that its plugin declares. The process may send anything.
fn declared(json: &str) -> Result<Declaration, String> {
    if json.len() > DECLARATION_SIZE {
        return Err(format!("{} bytes exceed the limit of {DECLARATION_SIZE}", json.len()));
    }
    let declaration: Declaration = serde_json::from_str(json).map_err(|error| error.to_string())?;
    declaration.check().map(|()| declaration)
}
