//! Plugins of commands other than serve: loaded as serve loads them, but compiled into the user's cache, never into the
//! data folder of a gateway.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{self, Config, Faults, PluginConfig};
use crate::plugin::outside::NoFunctions;
use crate::plugin::plugins::{PluginSet, Plugins};
use crate::process::spawner::Spawner;
use crate::process::tree::Instance;

/// The folder of compiled code. Compiling creates it.
pub(super) fn folder() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    match cache.or_else(home) {
        Some(cache) => cache.join("metagate").join("compiled"),
        None => std::env::temp_dir().join(format!("metagate-compiled-{}", rustix::process::getuid().as_raw())),
    }
}

/// Loads every plugin of a configuration, and adds the faults to `faults`. Hook calls are not recorded.
pub(super) fn load_plugins(config: &Config, faults: &mut Faults) -> (Vec<PluginConfig>, PluginSet) {
    let (mut configs, more) = config::load_plugins(config);
    more.into_iter().for_each(|fault| faults.push(fault));
    for plugin in &mut configs {
        plugin.record = None;
    }
    let spawner = Arc::new(Spawner::new(Instance::current()));
    let plugins = Plugins::new(folder(), config.server.max_body.bytes(), Arc::new(NoFunctions)).with_processes(spawner);
    plugins.limit_memory(&config.plugins, &configs);
    let (set, errors) = plugins.load(configs.clone());
    plugins.end_processes();
    errors.iter().for_each(|error| faults.push(error.fault(&configs)));
    (configs, set)
}
