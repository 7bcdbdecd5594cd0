//! Deploys that end before they are done: the gateway stops, the client goes away.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::{package, versioned};
use crate::support::{Gateway, wait_for};

/// Packages that take longer than any test: while loading, and while dependencies are installed.
const SLOW_LOAD: (&str, &str) = ("app.py", "import time\nprint('loading', flush=True)\ntime.sleep(60)\n");
const SLOW_INSTALL: (&str, &str) = (
    "package.json",
    r#"{"name": "slow", "version": "1.0.0", "scripts": {
        "install": "node -e \"console.log('installing'); setTimeout(() => {}, 60000)\""
    }}"#,
);

/// Asks for a deploy of `app`, without waiting for the answer.
fn begin_deploy(gateway: &Gateway) -> TcpStream {
    let body = json!({ "suffix": "app" }).to_string();
    let mut client = gateway.connect();
    let head = format!("POST /api/deploy/create HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
    client.write_all((head + &body).as_bytes()).unwrap();
    client
}

/// A gateway that serves one release and is in the middle of the next.
fn in_the_middle_of(files: &[(&str, &str)], sign: &str, act: impl FnOnce(&mut Gateway)) {
    let mut gateway = Gateway::start("");
    gateway.ship("app", &versioned(1));
    let (kind, body) = super::multipart("app", "[]", r#"["nodejs"]"#, &package(files));
    let uploaded = gateway.post("/api/package/create?replace=true", &[("content-type", &kind)], body);
    assert_eq!(uploaded.status, 201, "{uploaded:?}");
    let client = begin_deploy(&gateway);
    let log = gateway.folder.path().join("data/logs/app.log");
    let mark = format!(" {sign}");
    wait_for("the middle of a deploy", || fs::read_to_string(&log).unwrap_or_default().contains(&mark).then_some(()));
    act(&mut gateway);
    drop(client);
}

fn is_given_up_when_the_gateway_stops(files: &[(&str, &str)], sign: &str) {
    in_the_middle_of(files, sign, |gateway| {
        let begun = Instant::now();
        gateway.signal(Signal::TERM);
        let status = gateway.wait_end();
        assert!(begun.elapsed() < Duration::from_secs(3), "it took {:?}\n{}", begun.elapsed(), gateway.log());
        assert_eq!(status.code(), Some(0));
        assert_eq!(gateway.worker_pids(), Vec::<u32>::new());
        assert_eq!(fs::read_dir(gateway.folder.path().join("data/staging")).unwrap().count(), 0);
        let files = fs::read_dir(gateway.folder.path().join("data/deployments/app/files")).unwrap();
        assert!(files.count() <= 2);
    });
}

#[test]
fn l6_a_load_is_given_up_when_the_gateway_stops() {
    is_given_up_when_the_gateway_stops(&[SLOW_LOAD], "loading");
}

#[test]
fn l6_an_installation_is_given_up_when_the_gateway_stops() {
    is_given_up_when_the_gateway_stops(&[SLOW_INSTALL, ("index.js", "exports.f = () => 1")], "npm install");
}

#[test]
fn a_deploy_goes_on_when_its_client_goes_away() {
    let gateway = Gateway::start("");
    let slow = "import time\ntime.sleep(1)\ndef version():\n    return 1\n";
    assert_eq!(gateway.upload("app", &package(&[("app.py", slow)]), "").status, 201);
    let client = begin_deploy(&gateway);
    wait_for("the worker", || (gateway.worker_pids().len() == 1).then_some(()));
    drop(client);
    wait_for("the release", || (gateway.call("app", "version", "").body == "1").then_some(()));
    assert_eq!(gateway.get("/api/releases/app").json()["live"], 1);
}

#[test]
fn l17_a_second_gateway_on_the_data_folder_is_refused_and_the_first_goes_on() {
    let gateway = Gateway::start("");
    gateway.ship("app", &versioned(1));
    let mut command = crate::support::metagate();
    let output = command.arg("serve").arg(gateway.folder.path().join("metagate.toml")).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains(&format!("process {}", gateway.pid())), "{words}");
    gateway.ship("app", &versioned(2));
}

#[test]
fn l17_a_gateway_waits_for_the_lock_that_a_killed_one_has_left_to_a_child() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("stderr.log"));
    fs::create_dir(&data).unwrap();
    fs::write(folder.path().join("metagate.toml"), "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"data\"\n")
        .unwrap();
    let mut ended = crate::support::metagate();
    let mut ended = ended.arg("--version").stdout(std::process::Stdio::null()).spawn().unwrap();
    ended.wait().unwrap();
    fs::write(data.join("lock"), format!("{}\n", ended.id())).unwrap();
    let lock = fs::File::open(data.join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let starting = std::thread::spawn(|| Gateway::start_in(folder, |_| {}));
    wait_for("its wait", || {
        let log = fs::read_to_string(&log).unwrap_or_default();
        log.contains("waiting for the lock of a gateway that has ended").then_some(())
    });
    drop(lock);
    assert_eq!(starting.join().unwrap().get("/healthz").status, 200);
}
