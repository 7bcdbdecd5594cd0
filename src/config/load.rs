//! Loads a file into a checked [`Config`]: syntax, interpolation, reading, paths, rules, in this order. The faults of
//! all steps are reported together.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use toml::de::DeTable;

use crate::config::check::check;
use crate::config::fault::{Fault, Faults};
use crate::config::locations::Locations;
use crate::config::reading::document::{Document, Outcome, folder, utf8};
use crate::config::reading::locate::tables;
use crate::config::reading::shape::Shape;
use crate::config::tables::config::Config;
use crate::config::tables::deploy::DeployConfig;
use crate::config::tables::deployment::DeploymentConfig;
use crate::config::tables::plugin::PluginConfig;
use crate::config::tables::tls::TlsConfig;
use crate::config::values::listen::{Listen, ListenAddress};

/// Reads the configuration file at `path` with the environment of the process. A variable that is not Unicode counts as
/// not set.
///
/// # Errors
/// Every fault of the file.
pub fn load(path: &Path) -> Result<Config, Faults> {
    let (config, faults) = survey(path);
    config.filter(|_| faults.is_empty()).ok_or(faults)
}

/// Reads the configuration file at `path` and returns all parts without faults, and the faults. For callers that check
/// the valid parts further.
#[must_use]
pub fn survey(path: &Path) -> (Option<Config>, Faults) {
    let text =
        fs::read(path).map_err(|error| unreadable(path, &error)).and_then(|bytes| utf8(bytes, path, Shape::Config));
    match text {
        Ok(text) => survey_text(&text, path, &|name| env::var(name).ok()),
        Err(faults) => (None, faults),
    }
}

/// Reads a configuration from a text. Faults name `file`, and relative paths start at its folder; `env` looks up
/// environment variables.
///
/// # Errors
/// Every fault of the text.
pub fn parse(text: &str, file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Faults> {
    let (config, faults) = survey_text(text, file, env);
    config.filter(|_| faults.is_empty()).ok_or(faults)
}

fn survey_text(text: &str, file: &Path, env: &dyn Fn(&str) -> Option<String>) -> (Option<Config>, Faults) {
    let document = Document::new(text, file, env, Shape::Config);
    let locations = AllLocations::new(&document);
    let Outcome { table, tree, mut faults } = document.read::<Config>();
    let Some(mut config) = table else {
        return (None, faults);
    };

    file.clone_into(&mut config.file);
    config.named_files = document.files().map(Path::to_owned).collect();
    locations.assign(&tree, &mut config);
    resolve_paths(&mut config, folder(file));
    if document.is_sound() {
        check(&config, &mut faults);
    }
    (Some(config), faults)
}

/// The locations of the whole tree, recorded before faulty items are removed from it.
struct AllLocations {
    top: Locations,
    deployments: Vec<(usize, Locations)>,
    plugins: Vec<(usize, Locations)>,
    routes: Vec<(usize, Locations)>,
    schedules: Vec<(usize, Locations)>,
}

impl AllLocations {
    fn new(document: &Document<'_>) -> Self {
        Self {
            top: document.locations(),
            deployments: document.locations_of_tables("deployment"),
            plugins: document.locations_of_tables("plugin"),
            routes: document.locations_of_tables("route"),
            schedules: document.locations_of_tables("schedule"),
        }
    }

    fn assign(self, tree: &DeTable<'_>, config: &mut Config) {
        config.locations = self.top;
        let deployments = config.deployments.iter_mut().map(|deployment| &mut deployment.locations);
        assign(self.deployments, tables(tree, "deployment"), deployments);
        let plugins = config.plugin_list.iter_mut().map(|plugin| &mut plugin.locations);
        assign(self.plugins, tables(tree, "plugin"), plugins);
        assign(self.routes, tables(tree, "route"), config.routes.iter_mut().map(|route| &mut route.locations));
        let schedules = config.schedules.iter_mut().map(|schedule| &mut schedule.locations);
        assign(self.schedules, tables(tree, "schedule"), schedules);
    }
}

/// Assigns locations to the tables that were read. Those were not removed from the tree, and the byte at which a table
/// starts identifies it.
fn assign<'c, 't: 'c>(
    locations: Vec<(usize, Locations)>,
    tables: impl Iterator<Item = (Range<usize>, &'c DeTable<'t>)>,
    targets: impl Iterator<Item = &'c mut Locations>,
) {
    let mut locations = locations.into_iter();
    for ((span, _), target) in tables.zip(targets) {
        if let Some((_, locations)) = locations.find(|(start, _)| *start == span.start) {
            *target = locations;
        }
    }
}

fn resolve_paths(config: &mut Config, folder: &Path) {
    let resolve = |path: &Path| resolved(path, folder);
    let program = |program: &Path| {
        let bare = !program.as_os_str().as_encoded_bytes().contains(&b'/');
        if bare { program.to_owned() } else { resolve(program) }
    };
    config.server.data_dir = resolve(&config.server.data_dir);
    for listener in config.server.listen.iter_mut().chain(config.admin.listen.iter_mut().flat_map(Listen::iter_mut)) {
        if let ListenAddress::Unix(path) = &mut listener.address {
            *path = resolve(path);
        }
    }
    for TlsConfig { cert, key, .. } in config.server.tls.iter_mut().chain(&mut config.admin.tls) {
        (*cert, *key) = (resolve(cert), resolve(key));
    }
    for ca in [&mut config.server.client_ca, &mut config.admin.client_ca].into_iter().flatten() {
        *ca = resolve(ca);
    }
    config.admin.audit_log = config.admin.audit_log.as_ref().map(|file| resolve(file));
    if let Some(log) = &mut config.access_log {
        log.file = log.file.as_ref().map(|file| resolve(file));
    }
    for deployment in &mut config.deployments {
        let DeploymentConfig { path, interpreter, command, worker_script, wasm, read, write, .. } = deployment;
        *path = resolve(path);
        read.iter_mut().chain(write).for_each(|path| *path = resolve(path));
        *interpreter = interpreter.as_deref().map(program);
        *worker_script = worker_script.as_deref().map(resolve);
        for folder in wasm.grants.folders.values_mut() {
            *folder = resolve(folder);
        }
        if let Some(first) = command.as_mut().and_then(|words| words.first_mut()) {
            *first = program(Path::new(first.as_str())).to_string_lossy().into_owned();
        }
    }
    let DeployConfig { read, write, worker_script, .. } = &mut config.deploy;
    *worker_script = worker_script.as_deref().map(resolve);
    read.iter_mut().chain(write).for_each(|path| *path = resolve(path));
    config.plugins.dir = config.plugins.dir.as_deref().map(resolve);
    for plugin in &mut config.plugin_list {
        let PluginConfig { path, record, .. } = plugin;
        *path = resolve(path);
        *record = record.as_deref().map(resolve);
    }
}

/// The absolute form of a path that is relative to `folder`.
pub(super) fn resolved(path: &Path, folder: &Path) -> PathBuf {
    let joined = folder.join(path);
    std::path::absolute(&joined).unwrap_or(joined)
}

fn unreadable(path: &Path, error: &io::Error) -> Faults {
    let message = if error.kind() == io::ErrorKind::NotFound {
        format!(
            "no configuration at {path:?}: create the file, with `metagate init` for instance, or give the path of \
             another one"
        )
    } else {
        format!("reading {path:?}: {error}")
    };
    Fault::new(None, message).into()
}
