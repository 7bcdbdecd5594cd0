//! From a file to a checked [`Config`]: syntax, interpolation, reading, paths, checks, in this order, with the faults of
//! all of them.

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
use crate::config::tables::deployment::DeploymentConfig;
use crate::config::tables::plugin::PluginConfig;

/// Reads the configuration file at `path`, with the process's environment. A variable that is not Unicode counts as
/// not set.
pub fn load(path: &Path) -> Result<Config, Faults> {
    let (config, faults) = survey(path);
    config.filter(|_| faults.is_empty()).ok_or(faults)
}

/// Reads the configuration file at `path` as far as it can be read, beside its faults: for looking at the rest of it too.
#[must_use]
pub fn survey(path: &Path) -> (Option<Config>, Faults) {
    let text =
        fs::read(path).map_err(|error| unreadable(path, &error)).and_then(|bytes| utf8(bytes, path, Shape::Config));
    match text {
        Ok(text) => survey_text(&text, path, &|name| env::var(name).ok()),
        Err(faults) => (None, faults),
    }
}

/// Reads a configuration from its text. `file` names it in faults and is where its relative paths start; `env` looks
/// environment variables up.
pub fn parse(text: &str, file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Faults> {
    let (config, faults) = survey_text(text, file, env);
    config.filter(|_| faults.is_empty()).ok_or(faults)
}

fn survey_text(text: &str, file: &Path, env: &dyn Fn(&str) -> Option<String>) -> (Option<Config>, Faults) {
    let document = Document::new(text, file, env, Shape::Config);
    let all_places = AllLocations::new(&document);
    let Outcome { table, tree, mut faults } = document.read::<Config>();
    let Some(mut config) = table else {
        return (None, faults);
    };

    file.clone_into(&mut config.file);
    all_places.hand_out(&tree, &mut config);
    resolve_paths(&mut config, folder(file));
    if document.is_sound() {
        check(&config, &mut faults);
    }
    (Some(config), faults)
}

/// The locations of the whole tree, taken before faulty items leave it.
struct AllLocations {
    top: Locations,
    deployments: Vec<(usize, Locations)>,
    plugins: Vec<(usize, Locations)>,
}

impl AllLocations {
    fn new(document: &Document<'_>) -> Self {
        Self {
            top: document.locations(),
            deployments: document.locations_of_tables("deployment"),
            plugins: document.locations_of_tables("plugin"),
        }
    }

    fn hand_out(self, tree: &DeTable<'_>, config: &mut Config) {
        config.locations = self.top;
        let deployments = config.deployments.iter_mut().map(|deployment| &mut deployment.locations);
        hand_out(self.deployments, tables(tree, "deployment"), deployments);
        let plugins = config.plugin_list.iter_mut().map(|plugin| &mut plugin.locations);
        hand_out(self.plugins, tables(tree, "plugin"), plugins);
    }
}

/// Gives each table that was read, and so is still in the tree, the locations that start where it does.
fn hand_out<'c, 't: 'c>(
    locations: Vec<(usize, Locations)>,
    tables: impl Iterator<Item = (Range<usize>, &'c DeTable<'t>)>,
    takers: impl Iterator<Item = &'c mut Locations>,
) {
    let mut locations = locations.into_iter();
    for ((span, _), taker) in tables.zip(takers) {
        if let Some((_, locations)) = locations.find(|(start, _)| *start == span.start) {
            *taker = locations;
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
    for deployment in &mut config.deployments {
        let DeploymentConfig { path, interpreter, command, worker_script, wasm, .. } = deployment;
        *path = resolve(path);
        *interpreter = interpreter.as_deref().map(program);
        *worker_script = worker_script.as_deref().map(resolve);
        for folder in wasm.grants.folders.values_mut() {
            *folder = resolve(folder);
        }
        if let Some(first) = command.as_mut().and_then(|words| words.first_mut()) {
            *first = program(Path::new(first.as_str())).to_string_lossy().into_owned();
        }
    }
    config.plugins.dir = config.plugins.dir.as_deref().map(resolve);
    for plugin in &mut config.plugin_list {
        let PluginConfig { path, record, .. } = plugin;
        *path = resolve(path);
        *record = record.as_deref().map(resolve);
    }
}

/// A path of a file in `folder`, made absolute.
pub(super) fn resolved(path: &Path, folder: &Path) -> PathBuf {
    let joined = folder.join(path);
    std::path::absolute(&joined).unwrap_or(joined)
}

fn unreadable(path: &Path, error: &io::Error) -> Faults {
    let message = if error.kind() == io::ErrorKind::NotFound {
        format!("no configuration at {path:?}; name one: metagate serve path/to/metagate.toml")
    } else {
        format!("reading {path:?}: {error}")
    };
    Fault::new(None, message).into()
}
