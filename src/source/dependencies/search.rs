//! Finds the files of a release that list dependencies.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Levels of folders below the release that are searched.
const DEPTH: usize = 8;
const SKIPPED: [&str; 2] = ["node_modules", "__pycache__"];
/// Lock files that npm and pip do not read, with the files that they follow instead if there are any. Installers of
/// their own may follow them.
const OTHER_LOCKS: [(&str, &[&str]); 8] = [
    ("pnpm-lock.yaml", &NPM_LOCKS),
    ("yarn.lock", &NPM_LOCKS),
    ("bun.lock", &NPM_LOCKS),
    ("bun.lockb", &NPM_LOCKS),
    ("uv.lock", &["requirements.txt"]),
    ("poetry.lock", &["requirements.txt"]),
    ("pdm.lock", &["requirements.txt"]),
    ("Pipfile.lock", &["requirements.txt"]),
];
const NPM_LOCKS: [&str; 2] = ["package-lock.json", "npm-shrinkwrap.json"];
/// A file that marks a folder as a virtual environment of Python.
const VENV_MARK: &str = "pyvenv.cfg";

/// The files of a release that list dependencies, sorted by path.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Folders with a package.json.
    pub(super) packages: Vec<PathBuf>,
    /// Every requirements.txt.
    pub(super) requirements: Vec<PathBuf>,
    /// Every pyproject.toml in a folder without a requirements.txt.
    pub(super) pyprojects: Vec<PathBuf>,
    /// Lock files of other installers than npm and pip.
    pub(super) locks: Vec<PathBuf>,
    /// Every Gemfile.
    pub(super) gemfiles: Vec<PathBuf>,
    /// Every project of C#.
    pub(super) projects: Vec<PathBuf>,
}

impl Found {
    /// Searches a release. Links are not followed.
    pub(super) fn look(release: &Path) -> io::Result<Self> {
        let mut found = Self::default();
        found.look_in(release, 0)?;
        Ok(found)
    }

    fn look_in(&mut self, folder: &Path, depth: usize) -> io::Result<()> {
        let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        if depth > 0 && entries.iter().any(|entry| entry.file_name() == VENV_MARK) {
            return Ok(());
        }
        let mut folders = Vec::new();
        for entry in entries {
            let kind = entry.file_type()?;
            let name = entry.file_name();
            if kind.is_dir() && !is_skipped(&name) && depth < DEPTH {
                folders.push(entry.path());
            } else if kind.is_file() {
                self.take(folder, &name);
            }
        }
        folders.iter().try_for_each(|below| self.look_in(below, depth + 1))
    }

    fn take(&mut self, folder: &Path, name: &OsStr) {
        match name.to_str() {
            Some("package.json") => self.packages.push(folder.to_owned()),
            Some("pyproject.toml") if !folder.join("requirements.txt").is_file() => {
                self.pyprojects.push(folder.join(name));
            }
            Some(lock) if OTHER_LOCKS.iter().any(|(other, followed)| lock == *other && !has(folder, followed)) => {
                self.locks.push(folder.join(name));
            }
            Some("requirements.txt") => self.requirements.push(folder.join(name)),
            Some("Gemfile") => self.gemfiles.push(folder.join(name)),
            // Tools of Node use files of this name as well.
            Some("project.json") if !folder.join("package.json").is_file() => self.projects.push(folder.join(name)),
            Some(project) if project.ends_with(".csproj") => self.projects.push(folder.join(name)),
            _ => {}
        }
    }
}

fn has(folder: &Path, names: &[&str]) -> bool {
    names.iter().any(|name| folder.join(name).is_file())
}

fn is_skipped(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || SKIPPED.iter().any(|skipped| name == *skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_installed_packages_are_not_found() {
        let release = tempfile::tempdir().unwrap();
        let deep = "d/".repeat(DEPTH);
        for path in [
            "package.json",
            "b/package.json",
            "a/requirements.txt",
            "a/app.csproj",
            "Gemfile",
            "node_modules/x/package.json",
            "b/node_modules/x/package.json",
            ".hidden/package.json",
            "env/pyvenv.cfg",
            "env/lib/requirements.txt",
            "__pycache__/requirements.txt",
            &format!("{deep}requirements.txt"),
            &format!("{deep}d/requirements.txt"),
        ] {
            let path = release.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink(release.path().join("b"), release.path().join("link")).unwrap();
        let found = Found::look(release.path()).unwrap();
        assert_eq!(found.packages, [release.path().to_owned(), release.path().join("b")]);
        let deepest = release.path().join(deep).join("requirements.txt");
        assert_eq!(found.requirements, [release.path().join("a/requirements.txt"), deepest]);
        assert_eq!(found.gemfiles, [release.path().join("Gemfile")]);
        assert_eq!(found.projects, [release.path().join("a/app.csproj")]);
    }
}
