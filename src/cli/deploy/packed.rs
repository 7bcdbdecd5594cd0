//! What is sent of a folder or an archive: the package, and what the client knows of it.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use anyhow::Context;

use crate::cli::deploy::detect::Detected;
use crate::cli::deploy::pack::{self, Package};
use crate::cli::deploy::progress::{Progress, size};
use crate::cli::deploy::project;
use crate::deployment::DeploymentName;

/// A package that is ready to be sent.
pub(crate) struct Packed {
    pub(super) package: Package,
    pub(super) runners: BTreeSet<&'static str>,
    /// What is odd about a folder that is part of a workspace.
    pub(crate) workspace: Option<String>,
}

impl Packed {
    /// Packs a folder.
    ///
    /// # Errors
    /// The folder has links or special files, too many or too large files, or no files.
    pub(crate) fn of_folder(folder: &Path, name: &DeploymentName, progress: &Progress) -> anyhow::Result<Self> {
        let files = pack::list(folder)?;
        let detected = Detected::of(files.iter().map(|file| file.path.as_path()));
        let package = pack::write(&files)?;
        progress.say(&format!("packed {} of {name:?}, {}", detected.of_files(files.len()), size(package.length)));
        let missing_entry = project::missing_entry(folder, files.iter().map(|file| file.path.as_path()));
        let workspace = project::workspace_dependencies(folder);
        for warning in missing_entry.iter().chain(&workspace) {
            progress.say(&format!("warning: {warning}"));
        }
        Ok(Self { package, runners: detected.runners, workspace })
    }

    /// An archive that is there already. The gateway finds out what it needs.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn of_archive(path: &Path) -> anyhow::Result<Self> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, file) = opened.with_context(|| format!("reading {}", path.display()))?;
        Ok(Self { package: Package { file, length }, runners: BTreeSet::new(), workspace: None })
    }
}
