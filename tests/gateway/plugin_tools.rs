//! `metagate plugin …`, the commands for plugin authors, with plugins that the tests build and those of `plugins/`.

mod authors;
mod case_effects;
mod case_imports;
mod cases;
mod compiled;
mod recordings;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::plugins::Files;
use crate::plugins::component::Plugin;
use crate::support::metagate;

/// The output of a command, and its exit code.
#[derive(Debug)]
struct CommandOutput {
    code: i32,
    out: String,
    err: String,
}

impl CommandOutput {
    fn new(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Asserts the totals of `plugin test`.
    #[track_caller]
    fn passes(&self, count: usize) {
        let last = self.out.lines().last().unwrap_or_default();
        assert!(last.starts_with(&format!("{count} passed, 0 failed, ")), "{}{}", self.out, self.err);
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
    }

    /// The lines beneath the only case that failed.
    #[track_caller]
    fn failure(&self) -> Vec<&str> {
        assert_eq!((self.code, self.err.as_str()), (1, ""), "{}", self.out);
        assert_eq!(self.out.matches("FAILED  ").count(), 1, "{}", self.out);
        let lines = self.out.lines().skip_while(|line| !line.starts_with("FAILED  ")).skip(1);
        lines.map_while(|line| line.strip_prefix("        ")).collect()
    }
}

/// Runs `metagate plugin …`. Compiled code is kept from one test to the next.
fn plugin(folder: &Path, arguments: &[&str]) -> CommandOutput {
    let mut command = metagate();
    command.arg("plugin").args(arguments).current_dir(folder).env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    CommandOutput::new(&command.env("GREETING", "hello").output().unwrap())
}

/// A plugin's file and its cases.
struct Bench {
    files: Files,
}

impl Bench {
    fn new(plugin: Plugin) -> Self {
        let files = Files::new();
        files.put("p.wasm", plugin.component());
        Self { files }
    }

    /// Runs these cases.
    fn test(&self, cases: &str) -> CommandOutput {
        self.test_with(cases, &[])
    }

    fn test_with(&self, cases: &str, options: &[&str]) -> CommandOutput {
        self.files.put("cases.toml", cases);
        plugin(self.files.path(), &[&["test", "p.wasm", "cases.toml"], options].concat())
    }
}

/// The folder of the example plugins.
fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins")
}

/// The output of a command, as JSON.
#[track_caller]
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn every_example_plugin_passes_its_cases() {
    let mut tested = Vec::new();
    for entry in fs::read_dir(examples()).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let component = format!("{name}.wasm");
        if !folder.join("cases.toml").is_file() || !folder.join(&component).is_file() {
            continue;
        }
        let output = plugin(&folder, &["test", &component, "cases.toml"]);
        assert_eq!(output.code, 0, "{name}: {}{}", output.out, output.err);
        tested.push(name);
    }
    tested.sort();
    let committed =
        ["api-key", "cache", "jwt", "maintenance", "policy-on-load", "rate-limit", "shape-result", "transform-args"];
    assert!(committed.iter().all(|name| tested.iter().any(|there| there == name)), "{tested:?}");
}
