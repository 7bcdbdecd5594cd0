//! A gateway whose program is a copy of its own, so that tests can replace it; its process changes with each upgrade.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{PATIENCE, wait_for};

/// A deployment with a fast and a slow function, which does not load while there is a file `hang`.
pub(crate) const TABLES: &str = "[server]\nlisten = [\"127.0.0.1:0\", \"unix:gate.sock\"]\nprefix = \"local\"\n\
    data_dir = \"data\"\nupgrade_timeout = \"10s\"\n[[deployment]]\nname = \"math\"\npath = \"math\"\n";
const SCRIPT: &str = "while (require('fs').existsSync(__dirname + '/hang'));\n\
    exports.add = (a, b) => a + b;\n\
    exports.say = (text) => console.log(text);\n\
    exports.detach = () => {\n\
      const child = require('child_process').spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' });\n\
      child.unref();\n  return child.pid;\n};\n\
    exports.slow = (ms) => new Promise((done) => setTimeout(() => done('slept'), ms));\n";

pub(crate) struct Running {
    first: Child,
    pub(crate) address: String,
    folder: TempDir,
}

impl Running {
    pub(crate) fn start(tables: &str) -> Self {
        Self::start_with(tables, |folder| Command::new(folder.join("metagate")))
    }

    /// The same with a command of its own that starts the program `metagate` in the folder.
    pub(crate) fn start_with(tables: &str, command: impl FnOnce(&Path) -> Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("metagate.toml"), tables).unwrap();
        fs::create_dir(path("math")).unwrap();
        fs::write(path("math/index.js"), SCRIPT).unwrap();
        // Linked where that is possible: a debug build is large.
        let program = Path::new(env!("CARGO_BIN_EXE_metagate"));
        if fs::hard_link(program, path("metagate")).is_err() {
            fs::copy(program, path("metagate")).unwrap();
        }
        let stderr = fs::File::options().create(true).append(true).open(path("stderr.log")).unwrap();
        let mut first = command(folder.path())
            .arg("serve")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(first.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let log = || fs::read_to_string(path("stderr.log")).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line:?} {}", log()));
        let running = Self { first, address: address.to_owned(), folder };
        wait_for("the deployment", || running.get("/readyz").starts_with("HTTP/1.1 200").then_some(()));
        running
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("stderr.log")).unwrap()
    }

    /// How many programs have served.
    pub(crate) fn generation(&self) -> usize {
        self.log().matches(" serving ").count().max(self.log().matches("serving addresses").count())
    }

    /// The processes that run `metagate serve` in the folder.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
            let own = self.path("metagate");
            let is_serving = words.iter().take(2).any(|word| *word == own.as_os_str().as_encoded_bytes());
            if is_serving && words.contains(&&b"serve"[..]) {
                found.push(pid);
            }
        }
        found
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.pids().into_iter().for_each(|pid| kill(pid, signal));
    }

    pub(crate) fn wait_for_end(&mut self) {
        assert!(self.first.wait().unwrap().success());
    }

    /// Runs a client command in the folder. Returns whether it succeeded, and what it has printed.
    pub(crate) fn command(&self, arguments: &[&str]) -> (bool, String) {
        self.finish(self.spawn(arguments))
    }

    /// The same with the gateway's address.
    pub(crate) fn command_with(&self, arguments: &[&str], address: &str) -> (bool, String) {
        self.finish(self.spawn(&[arguments, &["--url", address]].concat()))
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metagate"));
        command.args(arguments).current_dir(self.folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn finish(&self, child: Child) -> (bool, String) {
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn exchange(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub(crate) fn get(&self, path: &str) -> String {
        self.exchange(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes())
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> String {
        self.exchange(&post(path, body, "close"))
    }

    pub(crate) fn call(&self) -> String {
        call(&mut self.connect(), "close").unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _reaped = self.first.wait();
    }
}

pub(crate) fn kill(pid: i32, signal: Signal) {
    let _already_ended = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

pub(crate) fn make_executable(file: &Path) {
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

pub(crate) fn post(path: &str, body: &str, connection: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: {connection}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Calls `add`; the answer ends with its body, `3`.
pub(crate) fn call(stream: &mut (impl Read + Write), connection: &str) -> io::Result<String> {
    stream.write_all(&post("/local/math/v1/call/add", "[1,2]", connection))?;
    let mut answer = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if length.is_some_and(|length| body.len() >= length) {
                return Ok(text.into_owned());
            }
        }
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("closed after {text:?}")));
        }
        answer.extend_from_slice(&buffer[..count]);
    }
}
