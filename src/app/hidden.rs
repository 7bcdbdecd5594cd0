//! What the gateway hides from its workers: secrets of its configuration, its data, the folders of deployments.

use std::path::PathBuf;

use crate::config::{Config, PluginConfig};
use crate::process::walls::Hidden;

/// What workers with walls must not read.
pub(super) fn hidden(config: &Config, plugins: &[PluginConfig]) -> Hidden {
    let mut secrets = vec![config.file.clone(), config.server.data_dir.clone()];
    secrets.extend(config.named_files.iter().cloned());
    secrets.extend(plugins.iter().flat_map(|plugin| plugin.settings_files.iter().chain(&plugin.record)).cloned());
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    Hidden {
        secrets: secrets.into_iter().map(absolute).collect(),
        folders: config.deployments.iter().map(|deployment| deployment.path.clone()).collect(),
    }
}
