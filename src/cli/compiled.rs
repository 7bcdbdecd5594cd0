//! Plugins of commands other than serve: loaded as serve loads them. Their compiled code is shared with the gateway
//! whose data folder is at hand; else it is kept in the user's cache.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Access;

use crate::cli::nearby;
use crate::config::{self, Config, Faults, PluginConfig};
use crate::plugin::outside::NoFunctions;
use crate::plugin::plugins::{PluginSet, Plugins};
use crate::process::spawner::Spawner;
use crate::process::tree::Instance;

/// The folder of compiled code for a command without a configuration: that of the gateway whose configuration is in the
/// current folder, or the user's.
pub(super) fn folder() -> PathBuf {
    let file = Path::new(nearby::FILE);
    let config = if file.is_file() && nearby::is_trusted(file) { config::survey(file).0 } else { None };
    config.and_then(|config| of_gateway(&config)).unwrap_or_else(of_user)
}

/// The gateway's folder, if it has a data folder, and the user of this command is the gateway's.
fn of_gateway(config: &Config) -> Option<PathBuf> {
    let data_dir = &config.server.data_dir;
    let is_own = fs::metadata(data_dir).is_ok_and(|found| found.is_dir() && found.uid() == own_user());
    let is_usable = is_own && rustix::fs::access(data_dir, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    is_usable.then(|| config.server.compiled())
}

/// The folder of the user. Compiling creates it.
fn of_user() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    match cache.or_else(home) {
        Some(cache) => cache.join("metagate").join("compiled"),
        None => std::env::temp_dir().join(format!("metagate-compiled-{}", own_user())),
    }
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Loads every plugin of a configuration, and adds the faults to `faults`. Hook calls are not recorded.
pub(super) fn load_plugins(config: &Config, faults: &mut Faults) -> (Vec<PluginConfig>, PluginSet) {
    let (mut configs, more) = config::load_plugins(config);
    more.into_iter().for_each(|fault| faults.push(fault));
    for plugin in &mut configs {
        plugin.record = None;
    }
    let spawner = Arc::new(Spawner::new(Instance::current()));
    let cache = of_gateway(config).unwrap_or_else(of_user);
    let plugins = Plugins::new(cache, config.server.max_body.bytes(), Arc::new(NoFunctions)).with_processes(spawner);
    plugins.limit_memory(&config.plugins, &configs);
    let (set, errors) = plugins.load(configs.clone());
    plugins.end_processes();
    errors.iter().for_each(|error| faults.push(error.fault(&configs)));
    (configs, set)
}
