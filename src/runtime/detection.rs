//! Finds the scripts of a folder that has no metacall.json by their file extensions.

use std::fs;
use std::path::Path;

use crate::deployment::MetaCallJson;
use crate::process::program;

/// The files directly in `folder` that have one of `extensions` and whose name `is_function_file` accepts, sorted by
/// name, as scripts of the language `language_id`; `None` if there are none.
pub fn scripts_in(
    folder: &Path,
    language_id: &str,
    extensions: &[&str],
    is_function_file: impl Fn(&str) -> bool,
) -> Option<MetaCallJson> {
    let mut scripts: Vec<String> = fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter(|entry| entry.path().is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| program::has_extension(Path::new(name), extensions) && is_function_file(name))
        .collect();
    // The order of `read_dir` depends on the file system; the order of scripts decides which function a name means.
    scripts.sort();
    if scripts.is_empty() {
        return None;
    }
    Some(MetaCallJson { language_id: language_id.to_owned(), path: ".".to_owned(), scripts, found: true })
}
