//! pip, run once with every requirements.txt of a release, into a folder of the release that its workers import from;
//! uv for each folder with its lock file, if it is there.
//! The system's and the user's packages stay unchanged.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::files;
use crate::runtime::python::PACKAGES;
use crate::source::dependencies::requirement_files;
use crate::source::dependencies::runner::Runner;
use crate::source::dependencies::search::Found;
use crate::source::dependencies::step::{Find, Step, place};

/// The program that runs pip.
pub(super) const PROGRAM: &str = "python3";
const FLAGS: [&str; 8] = [
    "-m",
    "pip",
    "install",
    "--disable-pip-version-check",
    "--no-input",
    "--no-color",
    "--progress-bar=off",
    // Workers keep compiled files in the data folder, so files compiled here would be ignored.
    "--no-compile",
];

/// The installer that follows [`UV_LOCK`], and its settings: it runs on the Python that pip would run on.
const UV: &str = "uv";
const UV_LOCK: &str = "uv.lock";
const UV_ENV: [(&str, &str); 4] =
    [("UV_PYTHON", PROGRAM), ("UV_PYTHON_DOWNLOADS", "never"), ("UV_LINK_MODE", "copy"), ("UV_NO_PROGRESS", "1")];
const EXPORT: [&str; 7] =
    ["export", "--frozen", "--no-dev", "--no-emit-project", "--no-editable", "--quiet", "--output-file"];

/// Whether a lock file that pip does not read is followed, because there is the installer that does.
pub(super) fn is_followed(lock: &Path, find: Find<'_>) -> bool {
    lock.ends_with(UV_LOCK) && find(UV).is_some()
}

/// The steps for all files that list something.
pub(super) fn steps(release: &Path, found: &Found, find: Find<'_>) -> Vec<Step> {
    let is_locked = |file: &PathBuf| {
        let lock = file.with_file_name(UV_LOCK);
        found.locks.contains(&lock) && is_followed(&lock, find)
    };
    let (locked, others) = found.pyprojects.iter().cloned().partition::<Vec<_>, _>(is_locked);
    let mut steps: Vec<_> = locked.iter().flat_map(|file| uv_steps(release, file)).collect();
    steps.extend(pip_step(release, found, &others));
    steps
}

/// Writes what a lock file names for pip, with the digests, and installs it.
fn uv_steps(release: &Path, pyproject: &Path) -> [Step; 2] {
    let folder = pyproject.parent().unwrap_or(release);
    let lock = folder.join(UV_LOCK);
    let packages = release.join(PACKAGES);
    let list = packages.with_file_name(place(release, &lock).replace('/', "_")).with_extension("txt");
    let step = |command, args: &[&str], rest: Vec<OsString>| Step {
        runner: Runner::Python,
        command,
        program: UV,
        args: args.iter().map(Into::into).chain(rest).collect(),
        env: UV_ENV.map(|(name, value)| (name, value.into())).to_vec(),
        folder: folder.to_owned(),
        place: place(release, folder),
        needed_for: place(release, &lock),
        missing_words: None,
    };
    let install = vec!["--target".into(), packages.into(), "-r".into(), list.clone().into()];
    [step("uv export", &EXPORT, vec![list.into()]), step("uv pip install", &["pip", "install"], install)]
}

fn pip_step(release: &Path, found: &Found, pyprojects: &[PathBuf]) -> Option<Step> {
    let files: Vec<&PathBuf> = found.requirements.iter().filter(|file| names_something(file)).collect();
    let projects: Vec<(&PathBuf, Vec<String>)> =
        pyprojects.iter().map(|file| (file, requirements(file))).filter(|(_, named)| !named.is_empty()).collect();
    let first = files.first().copied().or_else(|| projects.first().map(|(file, _)| *file))?;
    // pip resolves paths in a requirements.txt from the folder in which it runs.
    let folder = match (files.as_slice(), projects.as_slice()) {
        ([only], []) | ([], [(only, _)]) => only.parent().unwrap_or(release),
        _ => release,
    };
    let command = if projects.is_empty() { "pip install" } else { "pip install (pyproject.toml)" };
    let mut args: Vec<OsString> = FLAGS.map(Into::into).to_vec();
    args.extend(["--target".into(), release.join(PACKAGES).into()]);
    args.extend(files.iter().flat_map(|file| ["-r".into(), requirement_files::given_to_pip(release, file).into()]));
    args.extend(projects.into_iter().flat_map(|(_, named)| named).map(OsString::from));
    Some(Step {
        runner: Runner::Python,
        command,
        program: PROGRAM,
        args,
        env: vec![("PIP_USER", "0".into()), ("PYTHONNOUSERSITE", "1".into())],
        folder: folder.to_owned(),
        place: place(release, folder),
        needed_for: place(release, first),
        missing_words: Some("No module named pip"),
    })
}

/// `[project] dependencies` of a pyproject.toml; none if it cannot be read. Format: PEP 621. What is not the name of a
/// package with what follows it, such as an option of pip, is left out.
fn requirements(file: &Path) -> Vec<String> {
    let text = files::read_small(file).ok().and_then(|text| String::from_utf8(text).ok()).unwrap_or_default();
    let table: toml::Table = toml::from_str(&text).unwrap_or_default();
    let listed = table.get("project").and_then(|project| project.get("dependencies")).and_then(toml::Value::as_array);
    let named = listed.into_iter().flatten().filter_map(toml::Value::as_str).map(str::to_owned);
    named.filter(|one| one.starts_with(|first: char| first.is_ascii_alphanumeric())).collect()
}

/// Whether a file has more than blank lines and comments. pip reports a file that cannot be read.
fn names_something(file: &Path) -> bool {
    let Ok(text) = fs::read(file) else { return true };
    String::from_utf8_lossy(&text).lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(files: &[(&str, &str)]) -> Option<(String, Vec<String>)> {
        let release = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = release.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let step = steps(release.path(), &Found::look(release.path()).unwrap(), &|_| None).pop()?;
        let inside =
            |arg: &OsString| Path::new(arg).strip_prefix(release.path()).map(|path| path.display().to_string());
        Some((step.place, step.args.iter().filter_map(|arg| inside(arg).ok()).collect()))
    }

    #[test]
    fn one_run_installs_what_all_files_name() {
        let (place, files) =
            arguments(&[("a/requirements.txt", "x"), ("b/requirements.txt", "# nothing\n\n")]).unwrap();
        assert_eq!((place.as_str(), files), ("a", vec![PACKAGES.to_owned(), "a/requirements.txt".to_owned()]));
        let (place, files) = arguments(&[("requirements.txt", "x"), ("a/requirements.txt", "y")]).unwrap();
        assert_eq!((place.as_str(), files.len()), (".", 3));
        assert_eq!(arguments(&[("requirements.txt", " \n# x\n")]), None);
        assert_eq!(arguments(&[]), None);
        let project = "[project]\ndependencies = [\"six>=1.16\", \"-r/etc/passwd\"]\n";
        let release = tempfile::tempdir().unwrap();
        fs::write(release.path().join("pyproject.toml"), project).unwrap();
        let found = Found::look(release.path()).unwrap();
        let step = steps(release.path(), &found, &|_| None).pop().unwrap();
        assert_eq!(step.args.last().unwrap(), "six>=1.16");
        assert_eq!((step.place.as_str(), step.needed_for.as_str()), (".", "pyproject.toml"));
        assert_eq!(arguments(&[("pyproject.toml", "[project]\nname = \"x\"\n")]), None);
    }
}
