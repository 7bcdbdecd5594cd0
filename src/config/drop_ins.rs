//! Drop-ins: the plugins of a folder, each a `<name>.wasm` with optional settings in `<name>.toml` next to it; and the
//! list of all plugins.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use crate::config::check::{memory_of_processes, name_pattern, plugin_memory};
use crate::config::fault::{Fault, Faults};
use crate::config::load::resolved;
use crate::config::reading::document::{Document, Outcome, folder, utf8};
use crate::config::reading::shape::Shape;
use crate::config::tables::config::Config;
use crate::config::tables::plugin::PluginConfig;
use crate::config::values::plugin_name::PluginName;

/// Keys of a `[[plugin]]` table that the settings of a drop-in must not have, since its file gives them.
const GIVEN_BY_FILE: [&str; 2] = PluginConfig::REQUIRED;

/// A plugin found in a drop-in folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropIn {
    /// The name of its file without `.wasm`, or the fault that this is not a valid name.
    pub name: Result<PluginName, Fault>,
    /// The component.
    pub wasm: PathBuf,
    /// The settings file, if there is one.
    pub toml: Option<PathBuf>,
}

/// Warnings for plugins whose scope names a deployment that the configuration does not have: such a plugin protects
/// nothing, perhaps because of a typo.
#[must_use]
pub fn idle_plugins(config: &Config, plugins: &[PluginConfig]) -> Vec<String> {
    let mut warnings = Vec::new();
    for plugin in plugins {
        for pattern in plugin.deployments.iter().map(ToString::to_string).filter(|text| !text.contains(['*', '?'])) {
            if !config.deployments.iter().any(|deployment| deployment.name.as_str() == pattern) {
                let name = plugin.name.as_str();
                warnings.push(format!(
                    "plugin {name:?} applies to the deployment {pattern:?}, which is not in the configuration"
                ));
            }
        }
    }
    warnings
}

/// All plugins in the order of the chain: those of the configuration, then the drop-ins of `plugins.dir`. Faulty
/// drop-ins are left out; their faults are returned as well.
#[must_use]
pub fn load_plugins(config: &Config) -> (Vec<PluginConfig>, Faults) {
    let mut plugins = config.plugin_list.clone();
    let mut faults = Faults::new();
    let Some(dir) = &config.plugins.dir else {
        return (plugins, faults);
    };
    let location = config.locations.of("plugins.dir");
    let found = drop_ins(dir).unwrap_or_else(|error| {
        let shown = config.locations.origin("plugins.dir").map_or_else(|| format!("{dir:?}"), str::to_owned);
        faults.push(Fault::new(
            location.clone(),
            format!("reading the drop-in folder {shown}: {error}; create the folder, or remove \"dir\""),
        ));
        Vec::new()
    });
    for DropIn { name, wasm, toml } in found {
        let name = match name {
            Ok(name) => name,
            Err(fault) => {
                faults.push(Fault { location: location.clone(), ..fault });
                continue;
            }
        };
        if let Some(taken) = config.plugin_list.iter().find(|plugin| plugin.name == name) {
            let message = format!("this name is taken by the drop-in {wasm:?}");
            faults.push(Fault::new(taken.locations.of("name"), message));
            continue;
        }
        let (plugin, mut wrong) = match toml {
            Some(toml) => drop_in(&toml, name, wasm),
            None => (Some(PluginConfig::plain(name, wasm)), Faults::new()),
        };
        if let Some(plugin) = &plugin {
            wrong.extend(plugin_memory(config, plugin).into_iter().chain(name_pattern(plugin)));
        }
        plugins.extend(plugin.filter(|_| wrong.is_empty()));
        faults.extend(wrong);
    }
    if memory_of_processes(config, &config.plugin_list).is_none() {
        memory_of_processes(config, &plugins).into_iter().for_each(|fault| faults.push(fault));
    }
    (plugins, faults)
}

/// The drop-ins of a folder: every `*.wasm` in it that is a file or a link to one, sorted by file name as bytes. Hidden
/// files are left out. A broken link is listed, so that loading it reports the fault. So are settings that cannot be
/// read: a plugin must not run without its settings.
pub fn drop_ins(folder: &Path) -> io::Result<Vec<DropIn>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name());
    }
    names.sort();
    let listed = names.iter().map(|name| folder.join(name)).filter(|path| is_component(path));
    Ok(listed.map(DropIn::of_component).collect())
}

/// Reads the settings of the drop-in at `wasm` from `toml`: the keys of a `[[plugin]]` table without `name` and `path`,
/// with the process's environment. Paths and `${file:PATH}` in it start at its own folder. Returns the
/// plugin without its faulty keys, and the faults.
#[must_use]
pub fn drop_in(toml: &Path, name: PluginName, wasm: PathBuf) -> (Option<PluginConfig>, Faults) {
    let text = fs::read(toml)
        .map_err(|error| Fault::new(None, format!("reading {toml:?}: {error}")).into())
        .and_then(|bytes| utf8(bytes, toml, Shape::DropIn));
    match text {
        Ok(text) => survey_text(&text, toml, &|name| env::var(name).ok(), name, wasm),
        Err(faults) => (None, faults),
    }
}

impl DropIn {
    fn of_component(wasm: PathBuf) -> Self {
        let stem = wasm.file_stem().unwrap_or_default().to_string_lossy();
        let name = PluginName::new(&stem)
            .map_err(|reason| Fault::new(None, format!("the file {wasm:?} cannot name a drop-in: {reason}")));
        let toml = wasm.with_extension("toml");
        let toml = fs::symlink_metadata(&toml).is_ok().then_some(toml);
        Self { name, wasm, toml }
    }
}

fn is_component(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden
        && path.extension().is_some_and(|extension| extension == "wasm")
        && fs::metadata(path).map_or(true, |metadata| metadata.is_file())
}

fn survey_text(
    text: &str,
    file: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    name: PluginName,
    wasm: PathBuf,
) -> (Option<PluginConfig>, Faults) {
    let mut document = Document::new(text, file, env, Shape::DropIn);
    let locations = document.locations_of_file();
    document
        .refuse("plugin", "write the keys of a drop-in directly, without [[plugin]] or \"plugin.\" in front of them");
    for key in GIVEN_BY_FILE {
        document.refuse(key, "a drop-in's name and path are those of its file: remove \"name\" and \"path\"");
        document.supply(key, name.as_str());
    }
    let Outcome { table, faults, .. } = document.read::<PluginConfig>();
    let Some(mut plugin) = table else {
        return (None, faults);
    };
    plugin.name = name;
    plugin.path = wasm;
    plugin.settings_files = std::iter::once(file).chain(document.files()).map(Path::to_owned).collect();
    plugin.record = plugin.record.map(|path| resolved(&path, folder(file)));
    plugin.locations = locations;
    (Some(plugin), faults)
}

#[cfg(test)]
mod tests;
