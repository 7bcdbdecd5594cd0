//! Repositories with a server of their own: real git behind HTTP.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::fixture;

/// `team/app.git` has the Node app on `main`, with one function more on `next`.
pub(super) struct Repositories {
    _folder: TempDir,
    server: Child,
    port: u16,
}

impl Repositories {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let work = folder.path().join("work");
        fs::create_dir_all(&work).unwrap();
        for entry in fs::read_dir(fixture("deploy-node")).unwrap().flatten() {
            fs::copy(entry.path(), work.join(entry.file_name())).unwrap();
        }
        git(&work, &["init", "-q"]);
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-q", "-m", "first"]);
        git(&work, &["checkout", "-q", "-b", "next"]);
        let script = fs::read_to_string(work.join("index.js")).unwrap();
        fs::write(work.join("index.js"), format!("{script}exports.branch = () => 'next';\n")).unwrap();
        git(&work, &["commit", "-q", "-a", "-m", "second"]);
        git(folder.path(), &["clone", "-q", "--bare", "work", "team/app.git"]);
        let mut server = Command::new("python3");
        server.arg(fixture("git-server.py")).arg(folder.path()).stdout(Stdio::piped());
        let mut server = server.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { _folder: folder, server, port: line.trim().parse().unwrap() }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/git/{path}", self.port)
    }
}

impl Drop for Repositories {
    fn drop(&mut self) {
        let _gone = self.server.kill();
        let _reaped = self.server.wait();
    }
}

fn git(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "init.defaultBranch=main"]);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
}
