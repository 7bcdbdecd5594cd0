//! The languages of a folder's files and the installers that its dependencies need, by file names.

use std::collections::BTreeSet;
use std::path::Path;

use crate::runtime::package;

/// Language by the ending of a file's name.
const LANGUAGES: [(&str, &[&str]); 6] = [
    ("node", &package::ENDINGS),
    ("typescript", &package::TYPESCRIPT),
    ("python", &["py"]),
    ("ruby", &["rb"]),
    ("csharp", &["cs"]),
    ("wasm", &["wasm"]),
];

/// The languages and installers of a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Detected {
    languages: BTreeSet<&'static str>,
    /// MetaCall's names of the installers.
    pub(super) runners: BTreeSet<&'static str>,
}

impl Detected {
    /// Detects by the names of the files that are packed.
    pub(super) fn of<'a>(files: impl Iterator<Item = &'a Path>) -> Self {
        let mut detected = Self::default();
        for file in files {
            let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            let language = LANGUAGES.iter().find(|(_, endings)| endings.contains(&extension));
            detected.languages.extend(language.map(|(name, _)| *name));
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            detected.runners.extend(runner(name, extension));
        }
        detected
    }

    /// `3 files (node, python)`.
    pub(super) fn of_files(&self, count: usize) -> String {
        let files = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
        if self.languages.is_empty() {
            return files;
        }
        let languages: Vec<&str> = self.languages.iter().copied().collect();
        format!("{files} ({})", languages.join(", "))
    }
}

fn runner(name: &str, extension: &str) -> Option<&'static str> {
    match (name, extension) {
        ("package.json", _) => Some("nodejs"),
        ("requirements.txt" | "pyproject.toml", _) => Some("python"),
        ("Gemfile", _) => Some("ruby"),
        ("project.json", _) | (_, "csproj") => Some("csharp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_and_runners_are_detected_by_file_names() {
        let files = ["index.js", "lib/a.mjs", "package.json", "tools/x.py", "requirements.txt", "App.csproj", "README"];
        let detected = Detected::of(files.iter().map(Path::new));
        assert_eq!(detected.of_files(7), "7 files (node, python)");
        assert_eq!(detected.runners.into_iter().collect::<Vec<_>>(), ["csharp", "nodejs", "python"]);
        assert_eq!(Detected::of([Path::new("a.txt")].into_iter()).of_files(1), "1 file");
    }
}
