//! `metacall-deploy` from npm: set up for a gateway, with its own configuration and home.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::deploys::terminal;
use crate::support::{Gateway, fixture};

/// A module of `tests/npm`, which `tests/run.sh` installs.
pub(super) fn from_npm(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/npm/node_modules").join(path);
    assert!(path.exists(), "no {path:?}: tests/run.sh installs it (npm install in tests/npm)");
    path
}

/// A copy of a fixture's folder with an `.env`, as a user has it on their machine.
pub(super) fn app(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap().flatten() {
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    fs::write(folder.path().join(".env"), "GREETING=\"hello from .env\"\n").unwrap();
    folder
}

/// MetaCall's command line, set up for a gateway.
pub(super) struct Cli {
    configuration: TempDir,
    environment: Vec<(&'static str, String)>,
    flags: Vec<&'static str>,
}

impl Cli {
    /// For a gateway without a token: `--dev`.
    pub(super) fn dev(gateway: &Gateway) -> Self {
        let configuration = tempfile::tempdir().unwrap();
        fs::write(configuration.path().join("config.ini"), format!("devURL={}\n", gateway.url(""))).unwrap();
        Self { configuration, environment: Vec::new(), flags: vec!["--dev"] }
    }

    /// For a gateway with one.
    pub(super) fn with_token(gateway: &Gateway, token: &str) -> Self {
        let configuration = tempfile::tempdir().unwrap();
        let url = gateway.url("");
        fs::write(configuration.path().join("config.ini"), format!("baseURL={url}\napiURL={url}\n")).unwrap();
        Self { configuration, environment: vec![("METACALL_API_KEY", token.to_owned())], flags: Vec::new() }
    }

    pub(super) fn program(&self) -> Vec<String> {
        let mut program = vec!["node".to_owned(), from_npm("@metacall/deploy/dist/index.js").display().to_string()];
        program.extend(self.flags.iter().map(ToString::to_string));
        program.extend(["--confDir".to_owned(), self.configuration.path().display().to_string()]);
        program
    }

    pub(super) fn command(&self, program: &[String]) -> Command {
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]).stdin(Stdio::null()).env_remove("METACALL_API_KEY").env("FORCE_COLOR", "0");
        command.envs(self.environment.iter().cloned());
        // It writes its configuration below the home folder.
        command.env("HOME", self.configuration.path()).current_dir(self.configuration.path());
        command
    }

    /// Runs it without a terminal.
    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        self.command(&[self.program(), owned(arguments)].concat()).output().unwrap()
    }

    /// Runs it without a terminal; it has to succeed. Gives what it prints.
    #[track_caller]
    pub(super) fn succeed(&self, arguments: &[&str], gateway: &Gateway) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}\n{}", gateway.log());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it on a terminal: where these words come, these keys are typed. Gives its exit code and the screen.
    pub(super) fn on_terminal(&self, arguments: &[&str], steps: &[(&str, &str)]) -> (Option<i32>, String) {
        let program = [terminal::with(steps), self.program(), owned(arguments)].concat();
        let output = self.command(&program).output().unwrap();
        let screen = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), screen)
    }

    /// Deploys a folder; it has to succeed.
    #[track_caller]
    pub(super) fn deploy(&self, folder: &Path, name: &str, gateway: &Gateway) {
        let folder = folder.to_str().unwrap();
        let printed = self.succeed(&["--workdir", folder, "--projectName", name], gateway);
        assert!(printed.contains("Repository deployed"), "{printed}");
    }

    /// The deployments of `--inspect Raw`.
    #[track_caller]
    pub(super) fn inspect(&self, gateway: &Gateway) -> Vec<Value> {
        serde_json::from_str(&self.succeed(&["--inspect", "Raw"], gateway)).unwrap()
    }
}

pub(super) fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(ToString::to_string).collect()
}

/// `--inspect Table`, which never exits.
pub(super) struct Watching(pub(super) Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}
