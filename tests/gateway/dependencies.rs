//! Dependencies of a release: real npm and pip, without a network. What they install is there for the functions, what
//! they print is in the log, and nothing of them is left.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metagate::deployment::DeploymentName;
use metagate::logs::book::LogBook;
use metagate::logs::files::LogFiles;
use metagate::source::dependencies::{InstallError, Installer};
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::support::{Gateway, PATIENCE, marked};
use crate::utilities::{on_one_thread, spawner};

const TIME: Duration = Duration::from_secs(120);

fn release(files: &[(&str, &str)]) -> TempDir {
    let release = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = release.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    release
}

fn install(release: &Path, runners: Option<&[&str]>, time: Duration) -> (Result<(), InstallError>, String) {
    let folder = tempfile::tempdir().unwrap();
    let runners: Option<Vec<String>> = runners.map(|names| names.iter().map(ToString::to_string).collect());
    on_one_thread(async {
        let name = DeploymentName::new("installed").unwrap();
        let book = LogBook::new(name, LogFiles::start(folder.path()).unwrap());
        // A variable that exists on every machine and is not passed on by default.
        let installer = Installer::new(Arc::new(spawner()), time, vec!["CARGO_PKG_NAME".to_owned()]);
        let installed =
            installer.install(&DeploymentName::new("w").unwrap(), None, release, runners.as_deref(), &book).await;
        assert_eq!(marked(std::process::id()), Vec::<u32>::new());
        (installed, book.text())
    })
}

/// A wheel: a zip with the package and what says that it is one. Format: PEP 427.
fn wheel(folder: &Path, name: &str, files: &[(&str, &str)]) -> String {
    let file = format!("{name}-1.0-py3-none-any.whl");
    let mut zip = ZipWriter::new(fs::File::create(folder.join(&file)).unwrap());
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
    let about = format!("{name}-1.0.dist-info");
    let own = [
        (format!("{about}/METADATA"), metadata.as_str()),
        (format!("{about}/WHEEL"), "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
        (format!("{about}/RECORD"), ""),
    ];
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), *text));
    for (name, text) in files.chain(own) {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    file
}

#[test]
fn npm_installs_what_each_package_json_names() {
    let depends = r#"{"dependencies":{"greeter":"file:./greeter"}}"#;
    let release = release(&[
        ("package.json", depends),
        ("greeter/package.json", r#"{"name":"greeter","version":"1.0.0"}"#),
        ("greeter/index.js", "exports.greet = (name) => `hello ${name}`;"),
        ("index.js", "exports.greet = require('greeter').greet;"),
        ("inner/package.json", r#"{"dependencies":{"greeter":"file:../greeter"}}"#),
    ]);
    let (installed, log) = install(release.path(), None, TIME);
    installed.unwrap_or_else(|error| panic!("{error}\n{log}"));
    for folder in [".", "inner"] {
        assert!(release.path().join(folder).join("node_modules/greeter/index.js").is_file(), "{folder}");
        assert!(log.contains(&format!(" install npm install in {folder:?}\n")), "{log}");
        assert!(log.contains(&format!(" install npm install in {folder:?} took ")), "{log}");
    }
    assert!(log.contains(" install added 1 package"), "{log}");
    assert!(!log.contains("\"greeter\""), "a package without dependencies needs no npm: {log}");
    let tables = format!("[[deployment]]\nname = \"installed\"\npath = \"{}\"\n", release.path().display());
    assert_eq!(Gateway::ready(&tables).call("installed", "greet", "[\"Ada\"]").body, "\"hello Ada\"");
}

#[test]
fn npm_keeps_to_a_lock_file() {
    let release = release(&[
        ("package.json", r#"{"name":"app","version":"1.0.0","dependencies":{"greeter":"file:./greeter"}}"#),
        ("greeter/package.json", r#"{"name":"greeter","version":"1.0.0"}"#),
    ]);
    let npm = |args: &[&str]| Command::new("npm").args(args).current_dir(release.path()).output().unwrap();
    assert!(npm(&["install", "--package-lock-only", "--no-audit"]).status.success());
    let (installed, log) = install(release.path(), Some(&["nodejs"]), TIME);
    installed.unwrap_or_else(|error| panic!("{error}\n{log}"));
    assert!(log.contains(" install npm ci in \".\"\n"), "{log}");
    assert!(release.path().join("node_modules/greeter").exists());
    // A lock that does not fit is npm's to refuse.
    fs::write(release.path().join("package.json"), r#"{"dependencies":{"other":"file:./other"}}"#).unwrap();
    match install(release.path(), None, TIME) {
        (Err(InstallError::Failed { command, folder, how, output }), log) => {
            assert_eq!((command, folder.as_str(), how.as_str()), ("npm ci", ".", "exited with code 1"));
            assert!(output.contains("npm error") && log.contains(" install npm error"), "{output}\n{log}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn c5_a_failing_install_script_is_reported_with_its_output_and_sees_nothing_of_the_gateway() {
    let script = "env > seen; echo its own words >&2; exit 7";
    let package = serde_json::json!({ "scripts": { "postinstall": script } }).to_string();
    let release = release(&[("app/package.json", &package)]);
    match install(release.path(), None, TIME) {
        (Err(error @ InstallError::Failed { .. }), log) => {
            assert_eq!(error.to_string(), "npm install in \"app\" exited with code 7");
            let InstallError::Failed { output, .. } = error else { unreachable!() };
            assert!(output.contains("its own words"), "{output}");
            assert!(log.ends_with(" install npm install in \"app\" exited with code 7\n"), "{log}");
        }
        other => panic!("{other:?}"),
    }
    let seen = fs::read_to_string(release.path().join("app/seen")).unwrap();
    assert!(seen.contains("PATH=") && seen.contains("CARGO_PKG_NAME=metagate"), "{seen}");
    // Every test has this one of cargo.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert!(!seen.contains("CARGO_MANIFEST_DIR="), "{seen}");
}

#[test]
fn c5_all_dependencies_share_one_time() {
    let slow = r#"{"scripts":{"install":"sleep 1000"}}"#;
    let release = release(&[("a/package.json", slow), ("b/package.json", slow)]);
    let limit = Duration::from_secs(3);
    let begun = Instant::now();
    match install(release.path(), None, limit) {
        (Err(error @ InstallError::TimedOut { .. }), _) => {
            let words = "npm install in \"a\" exceeds the time for all dependencies (3s)";
            assert_eq!(error.to_string(), words);
        }
        other => panic!("{other:?}"),
    }
    assert!(begun.elapsed() < limit + PATIENCE / 2, "{:?}", begun.elapsed());
}

#[test]
fn pip_copies_editable_packages_because_a_release_moves() {
    // A build backend of the package's own needs no network.
    let backend = r#"
import zipfile

def build_wheel(directory, settings=None, metadata=None):
    name = "local_lib-1.0-py3-none-any.whl"
    about = "local_lib-1.0.dist-info"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
        wheel.write("local_lib.py")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: local-lib\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    return name
"#;
    let project = "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n";
    let release = release(&[
        ("main.py", "import local_lib\n\ndef f():\n    return local_lib.NUMBER\n"),
        ("requirements.txt", "-e ./lib\n"),
        ("lib/pyproject.toml", project),
        ("lib/backend.py", backend),
        ("lib/local_lib.py", "NUMBER = 5\n"),
    ]);
    let (installed, log) = install(release.path(), None, TIME);
    installed.unwrap_or_else(|error| panic!("{error}\n{log}"));
    let moved = tempfile::tempdir().unwrap();
    let moved = moved.path().join("moved");
    fs::rename(release.path(), &moved).unwrap();
    let tables = format!("[[deployment]]\nname = \"installed\"\npath = {moved:?}\n");
    assert_eq!(Gateway::ready(&tables).call("installed", "f", "[]").body, "5");
}

#[test]
fn pip_installs_into_the_release_where_its_workers_find_it() {
    let release = release(&[
        (
            "main.py",
            "import greeter\nimport from_pth\n\ndef greet(name):\n    return greeter.greet(name) + from_pth.END\n",
        ),
        ("sub/requirements.txt", "# nothing yet\n"),
        // A script of its own comes before a package of the same name.
        ("own.py", "WHOSE = 'its own'\n\ndef whose():\n    return __import__('own').WHOSE\n"),
    ]);
    let greeter = wheel(
        release.path(),
        "greeter",
        &[
            ("greeter/__init__.py", "def greet(name):\n    return 'hello ' + name\n"),
            ("greeter_more.pth", "greeter_more\n"),
            ("greeter_more/from_pth.py", "END = '!'\n"),
            ("own.py", "WHOSE = 'the package'\n"),
        ],
    );
    fs::write(release.path().join("requirements.txt"), format!("./{greeter}\n")).unwrap();
    let (installed, log) = install(release.path(), Some(&["python", "cobol"]), TIME);
    installed.unwrap_or_else(|error| panic!("{error}\n{log}"));
    assert!(
        log.contains(" install ignored the unknown runner \"cobol\" (known: nodejs, python, ruby, csharp)\n"),
        "{log}"
    );
    assert!(log.contains("Successfully installed greeter-1.0"), "{log}");
    assert!(release.path().join(".packages/python/greeter/__init__.py").is_file());
    let tables = format!("[[deployment]]\nname = \"installed\"\npath = \"{}\"\n", release.path().display());
    let gateway = Gateway::ready(&tables);
    assert_eq!(gateway.call("installed", "greet", "[\"Ada\"]").body, "\"hello Ada!\"");
    assert_eq!(gateway.call("installed", "whose", "[]").body, "\"its own\"");
}

#[test]
fn dependencies_of_a_pyproject_are_installed_and_lock_files_that_are_not_followed_are_named() {
    let wheels = tempfile::tempdir().unwrap();
    let file = wheel(wheels.path(), "greeting", &[("greeting.py", "WORD = 'hello'\n")]);
    let from = format!("file://{}", wheels.path().join(file).display());
    let release = release(&[
        (
            "pyproject.toml",
            &format!("[project]\nname = \"app\"\nversion = \"1\"\ndependencies = [\"greeting @ {from}\"]\n"),
        ),
        ("poetry.lock", ""),
        ("web/package.json", "{}"),
        ("web/bun.lock", ""),
        ("old/package-lock.json", "{\"lockfileVersion\": 3, \"packages\": {}}"),
        ("old/yarn.lock", ""),
        ("main.py", "from greeting import WORD\n\ndef greet():\n    return WORD\n"),
    ]);
    let (installed, log) = install(release.path(), Some(&["python"]), TIME);
    installed.unwrap_or_else(|error| panic!("{error}\n{log}"));
    assert!(log.contains(" install pip install (pyproject.toml) in \".\"\n"), "{log}");
    for lock in ["poetry.lock", "web/bun.lock"] {
        assert!(log.contains(&format!("warning: {lock} is not followed")), "{log}");
    }
    assert!(!log.contains("yarn.lock"), "npm follows its own: {log}");
    let tables = format!("[[deployment]]\nname = \"installed\"\npath = \"{}\"\n", release.path().display());
    assert_eq!(Gateway::ready(&tables).call("installed", "greet", "[]").body, "\"hello\"");
}

#[test]
fn a_missing_requirement_is_reported_with_pips_output() {
    let release = release(&[("lib/requirements.txt", "./no-such-1.0-py3-none-any.whl\n")]);
    match install(release.path(), None, TIME) {
        (Err(error @ InstallError::Failed { .. }), _) => {
            assert_eq!(error.to_string(), "pip install in \"lib\" exited with code 1");
            let InstallError::Failed { output, .. } = error else { unreachable!() };
            assert!(output.contains("no-such-1.0"), "{output}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn scripts_that_need_metacall_are_left_out_without_it_and_reported() {
    let path = std::env::var_os("PATH").unwrap();
    assert!(!std::env::split_paths(&path).any(|folder| folder.join("metacall").exists()), "this machine has metacall");
    let release = release(&[("Gemfile", "gem 'x'"), ("lib/app.csproj", "<Project/>"), ("package.json", "{}")]);
    let (installed, log) = install(release.path(), None, TIME);
    installed.unwrap();
    assert!(log.contains(" install Gemfile: skipped bundle install: only the MetaCall runtime"), "{log}");
    assert!(log.contains(" install lib/app.csproj: skipped dotnet restore: only the MetaCall runtime"), "{log}");
    let (installed, log) = install(release.path(), Some(&[]), TIME);
    installed.unwrap();
    assert_eq!(log, "");
}
