//! Runs recorded hook calls again with the component and the settings of a plugin in service, in a world of their own:
//! the plugin's store, counters and instances are not touched, and its requests and calls get no answer.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::config::PluginIsolation;
use crate::plugin::Plugin;
use crate::plugin::cases::form::Case;
use crate::plugin::cases::read::Common;
use crate::plugin::cases::runner::{Report, Runner};
use crate::plugin::load::Loader;

/// A case that was run.
#[derive(Debug)]
pub struct Replayed {
    /// Its name.
    pub name: String,
    /// Its hook.
    pub hook: &'static str,
    /// What came of it.
    pub report: Report,
}

/// Why cases were not run.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The gateway's own process does not run a plugin that has another.
    #[error(
        "the plugin has isolation = \"process\", and the gateway does not run it in its own process: download the \
         cases and run them with \"metagate plugin test\""
    )]
    Apart,
    /// The file is not the one that was loaded.
    #[error("the plugin's file has changed since it was loaded: reload first")]
    Changed,
    /// It cannot be loaded again, or the cases cannot be read.
    #[error("{0}")]
    Unusable(String),
}

/// Runs recorded cases in their order; after `most` no further one is begun. Blocks.
///
/// # Errors
///
/// None was run.
pub fn replay(cache: &Path, plugin: &Plugin, lines: &[String], most: Duration) -> Result<Vec<Replayed>, ReplayError> {
    if plugin.settings.isolation == PluginIsolation::Process {
        return Err(ReplayError::Apart);
    }
    let began = Instant::now();
    let bytes = Loader::read(&plugin.settings).map_err(|error| ReplayError::Unusable(error.without_secrets()))?;
    if !plugin.surface.is_of(&bytes) {
        return Err(ReplayError::Changed);
    }
    let unusable = |error: anyhow::Error| ReplayError::Unusable(format!("{error:#}"));
    let mut runner = Runner::new(cache, bytes, plugin.settings.clone(), Common::default()).map_err(unusable)?;
    let mut replayed = Vec::new();
    for line in lines {
        if began.elapsed() >= most {
            break;
        }
        let case: Case =
            serde_json::from_str(line).map_err(|error| ReplayError::Unusable(format!("reading a case: {error}")))?;
        let report = runner.run(&case);
        replayed.push(Replayed { hook: case.hook.as_str(), name: case.name, report });
    }
    Ok(replayed)
}
