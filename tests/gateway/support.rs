//! Shared by all tests: a running gateway with its own configuration and data folder, requests to it, and its
//! processes. Tests never sleep a fixed time to let a state come about: they poll for the state, with a limit.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use ureq::http::Response;
use ureq::{Agent, Body};

/// The time within which a state must come about before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running gateway. Dropping it stops it and asserts that none of its processes is left.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Holds metagate.toml, the data folder and `stderr.log`.
    pub(crate) folder: TempDir,
    agent: Agent,
}

/// A complete answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// `error.code` of the body; it must agree with the header.
    pub(crate) fn code(&self) -> &str {
        let header = self.header("x-metagate-error").unwrap_or("(no error)");
        if self.status >= 400 {
            assert_eq!(self.json()["error"]["code"], header, "{self:?}");
        }
        header
    }

    pub(crate) fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A folder of `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The program under test.
pub(crate) fn metagate() -> Command {
    Command::new(env!("CARGO_BIN_EXE_metagate"))
}

/// Waits until `state` returns a value.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut state: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = state() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "{what} did not come within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Gateway {
    /// Starts a gateway with these tables, and waits until it accepts calls. Deployments may still be starting.
    /// `[server]` is added: prefix `local`, any free port. A test's own `[server]` needs only its other keys.
    #[track_caller]
    pub(crate) fn start(tables: &str) -> Self {
        Self::start_with(tables, |_| {})
    }

    /// Like [`Gateway::start`], with changes to the command that starts the process.
    #[track_caller]
    pub(crate) fn start_with(tables: &str, change: impl FnOnce(&mut Command)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"data\"\n";
        let text = match tables.strip_prefix("[server]\n") {
            Some(rest) => format!("{server}{rest}"),
            None => format!("{server}{tables}"),
        };
        fs::write(folder.path().join("metagate.toml"), text).unwrap();
        Self::start_in(folder, change)
    }

    /// Starts a gateway with the metagate.toml of a folder.
    #[track_caller]
    pub(crate) fn start_in(folder: TempDir, change: impl FnOnce(&mut Command)) -> Self {
        let stderr = fs::OpenOptions::new().create(true).append(true).open(folder.path().join("stderr.log")).unwrap();
        let mut command = metagate();
        command.arg("serve").arg(folder.path().join("metagate.toml"));
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(address) = line.trim().strip_prefix("listening on http://") else {
            let _ended = child.wait();
            let log = fs::read_to_string(folder.path().join("stderr.log")).unwrap();
            panic!("the gateway did not start: {line:?}\n{log}");
        };
        let address = address.parse().unwrap();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .max_idle_connections(256)
            .max_idle_connections_per_host(256)
            .build()
            .into();
        Self { child, address, folder, agent }
    }

    /// Starts a gateway and waits until every deployment is ready.
    #[track_caller]
    pub(crate) fn ready(tables: &str) -> Self {
        let gateway = Self::start(tables);
        gateway.wait_ready();
        gateway
    }

    #[track_caller]
    pub(crate) fn wait_ready(&self) {
        let start = Instant::now();
        while self.get("/readyz").status != 200 {
            assert!(start.elapsed() < PATIENCE, "not ready: {}\n{}", self.get("/readyz").body, self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The entry of a deployment in the answer of `/readyz`.
    pub(crate) fn readiness(&self, deployment: &str) -> Value {
        let detail = self.get("/readyz").json();
        let found = detail["deployments"].as_array().unwrap().iter().find(|one| one["name"] == deployment).cloned();
        found.unwrap_or_else(|| panic!("no {deployment:?} in {detail}"))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        read(self.agent.get(self.url(path)).call())
    }

    /// GETs with these headers.
    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.agent.get(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.call())
    }

    /// POSTs a body; `None` if the gateway ends without answering.
    pub(crate) fn try_post(&self, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Option<Answer> {
        let mut request = self.agent.post(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        try_read(request.send(body.as_ref()).ok()?).ok()
    }

    /// POSTs a body with these headers.
    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
        let mut request = self.agent.post(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.send(body.as_ref()))
    }

    /// Calls a function with a JSON body.
    pub(crate) fn call(&self, deployment: &str, function: &str, body: &str) -> Answer {
        let path = format!("/local/{deployment}/v1/call/{function}");
        self.post(&path, &[("content-type", "application/json")], body)
    }

    /// A raw connection, for bytes that no client library sends.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory of the gateway's process.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Every living process with this gateway's mark, except zombies: workers and their children.
    pub(crate) fn worker_pids(&self) -> Vec<u32> {
        marked(self.child.id())
    }

    /// The log of the gateway.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr.log")).unwrap_or_default()
    }

    /// Waits until the log has a text. A thread of its own writes the log, so a line may come after the answer.
    #[track_caller]
    pub(crate) fn wait_log(&self, text: &str) {
        let start = Instant::now();
        while !self.log().contains(text) {
            assert!(start.elapsed() < PATIENCE, "{text:?} is not in the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The output of a deployment's workers.
    pub(crate) fn worker_log(&self, deployment: &str) -> String {
        self.get(&format!("/api/logs/{deployment}")).body
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits until the gateway has ended.
    #[track_caller]
    pub(crate) fn wait_end(&mut self) -> ExitStatus {
        wait_for("the gateway's end", || self.child.try_wait().unwrap())
    }

    /// Closes the client's idle connections: a gateway that stops waits a moment for their last requests.
    fn close_connections(&mut self) {
        self.agent = Agent::new_with_defaults();
    }

    /// Stops the gateway with SIGTERM and asserts that none of its processes is left.
    #[track_caller]
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.close_connections();
        self.signal(rustix::process::Signal::TERM);
        let status = self.wait_end();
        assert_eq!(self.worker_pids(), Vec::<u32>::new(), "processes left behind\n{}", self.log());
        status
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        self.close_connections();
        self.signal(rustix::process::Signal::TERM);
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if start.elapsed() > PATIENCE {
                let _gone = self.child.kill();
                let _reaped = self.child.wait();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let left = self.worker_pids();
        if !std::thread::panicking() {
            assert_eq!(left, Vec::<u32>::new(), "processes left behind\n{}", self.log());
        }
    }
}

fn read(answer: Result<Response<Body>, ureq::Error>) -> Answer {
    answer.and_then(try_read).unwrap_or_else(|error| panic!("no answer: {error}"))
}

fn try_read(mut response: Response<Body>) -> Result<Answer, ureq::Error> {
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(256 * 1024 * 1024).read_to_vec()?;
    Ok(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

/// Living processes with the mark of the gateway process `gateway`.
pub(crate) fn marked(gateway: u32) -> Vec<u32> {
    let start = format!("METAGATE_WORKER=metagate-{gateway}-");
    let mut found: Vec<u32> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|b| *b == 0).any(|variable| variable.starts_with(start.as_bytes())) && is_alive(*pid)
        })
        .collect();
    found.sort_unstable();
    found
}

/// Whether a process exists and is not a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X'])))
}
