//! Several gateways as one, on NATS servers that the tests start: what is deployed to one serves on all, and they serve
//! while the servers are away.

mod conformance;
mod engine_faults;
mod example;
mod sharing;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Answer, Gateway, wait_for};

/// A NATS server. Dropping it kills it.
pub(crate) struct Nats {
    child: Child,
    config: PathBuf,
    pub(crate) port: u16,
}

impl Nats {
    /// Runs the server of a configuration file, and waits until it accepts connections.
    fn run(config: PathBuf, port: u16) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nats/packages/bin/nats-server");
        assert!(program.is_file(), "{} is missing: tests/run.sh installs it", program.display());
        let log = fs::OpenOptions::new().create(true).append(true).open(config.with_extension("log")).unwrap();
        let mut command = Command::new(program);
        command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap();
        let nats = Self { child, config, port };
        wait_for("a NATS server", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        nats
    }

    /// Kills it, and runs it again with what it has stored.
    pub(crate) fn start_again(&mut self) {
        self.kill();
        *self = Self::run(self.config.clone(), self.port);
    }

    pub(crate) fn kill(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }

    /// Removes what it has stored, while it does not run.
    pub(crate) fn wipe(&self) {
        fs::remove_dir_all(self.config.with_extension("store")).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

/// NATS servers that are one cluster, and their folder.
pub(crate) struct Servers {
    pub(crate) servers: Vec<Nats>,
    _folder: TempDir,
}

impl Servers {
    pub(crate) fn start(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // All are bound at once, so that they differ.
        let free: Vec<TcpListener> = (0..2 * count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = free.iter().map(|bound| bound.local_addr().unwrap().port()).collect();
        drop(free);
        let (clients, routes) = ports.split_at(count);
        let all: Vec<String> = routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let configs = clients.iter().zip(routes).enumerate().map(|(number, (port, route))| {
            let config = folder.path().join(format!("n{number}.conf"));
            let store = config.with_extension("store");
            let cluster = if count == 1 {
                String::new()
            } else {
                format!("cluster {{ name: test, listen: \"127.0.0.1:{route}\", routes: {all:?} }}\n")
            };
            let text = format!(
                "server_name: n{number}\nlisten: \"127.0.0.1:{port}\"\n\
                 jetstream {{ store_dir: {store:?}, sync_interval: always }}\n{cluster}"
            );
            fs::write(&config, text).unwrap();
            (config, *port)
        });
        let servers = configs.map(|(config, port)| Nats::run(config, port)).collect();
        Self { servers, _folder: folder }
    }

    /// `[cluster]` of a gateway with this name.
    pub(crate) fn table(&self, node: &str) -> String {
        let servers: Vec<String> =
            self.servers.iter().map(|server| format!("nats://127.0.0.1:{}", server.port)).collect();
        format!(
            "[cluster]\nname = \"it\"\nnats = {servers:?}\nnode = \"{node}\"\n\
             secret = \"0123456789abcdef0123456789abcdef\"\nwait_timeout = \"20s\"\n"
        )
    }

    /// A gateway of this name that has joined.
    #[track_caller]
    pub(crate) fn gateway(&self, node: &str) -> Gateway {
        let gateway = Gateway::start(&self.table(node));
        joined(&gateway);
        gateway
    }

    /// Gateways with these names that know of each other.
    #[track_caller]
    pub(crate) fn gateways<const N: usize>(&self, names: [&str; N]) -> [Gateway; N] {
        let gateways = names.map(|name| self.gateway(name));
        for gateway in &gateways {
            wait_for("every gateway", || (nodes(gateway).len() == N).then_some(()));
        }
        gateways
    }
}

/// Waits until the servers answer a gateway.
#[track_caller]
pub(crate) fn joined(gateway: &Gateway) {
    wait_for("the cluster", || (cluster(gateway)["engine"]["status"] == "reached").then_some(()));
}

pub(crate) fn cluster(gateway: &Gateway) -> Value {
    gateway.get("/api/cluster").json()
}

/// The names of the gateways that this one sees.
pub(crate) fn nodes(gateway: &Gateway) -> Vec<String> {
    let status = cluster(gateway);
    status["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
}

/// The answer of the function `version`.
pub(crate) fn version(gateway: &Gateway, name: &str) -> Answer {
    gateway.call(name, "version", "[]")
}

/// Waits until a gateway serves this version.
#[track_caller]
pub(crate) fn serves(gateway: &Gateway, name: &str, number: u32) {
    wait_for("the version", || (version(gateway, name).body == number.to_string()).then_some(()));
}

/// Deploys what was uploaded, with these further fields of the request.
#[track_caller]
pub(crate) fn deploy_with(gateway: &Gateway, name: &str, more: &Value) -> Answer {
    let mut request = json!({ "suffix": name, "resourceType": "Package", "env": [] });
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    gateway.post("/api/deploy/create", &[("content-type", "application/json")], request.to_string())
}

/// Ends a gateway, and starts it again with its data folder and these tables.
pub(crate) fn restarted_with(mut gateway: Gateway, tables: &str) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    gateway.signal(Signal::TERM);
    gateway.wait_end();
    fs::rename(gateway.folder.path().join("data"), folder.path().join("data")).unwrap();
    let server = "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"data\"\n";
    fs::write(folder.path().join("metagate.toml"), format!("{server}{tables}")).unwrap();
    Gateway::start_in(folder, |_| {})
}
