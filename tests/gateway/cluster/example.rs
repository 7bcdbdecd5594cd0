//! The example with three gateways and three NATS servers, as its README says.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{PATIENCE, metagate, wait_for};

#[test]
fn the_example_runs_three_gateways_as_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    for file in ["start.sh", "nats.conf", "metagate.toml"] {
        fs::copy(root.join("examples/cluster").join(file), folder.path().join(file)).unwrap();
    }
    let mut script = Command::new(folder.path().join("start.sh"));
    script.env("NATS_SERVER", root.join("tests/nats/packages/bin/nats-server"));
    script.env("METAGATE", env!("CARGO_BIN_EXE_metagate")).stdout(Stdio::piped()).stdin(Stdio::null());
    let mut running = script.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(running.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("gateways: "), "{line:?}");
    let mut deploy = metagate();
    deploy.args(["deploy", "--name", "greetings", "--env", "GREETING=Hello", "--url", "http://127.0.0.1:9100"]);
    // Once all know of each other, the answer comes when the release serves on all.
    wait_for("three gateways", || {
        let mut nodes = metagate();
        let output = nodes.args(["cluster", "nodes", "--url", "http://127.0.0.1:9100"]).output().unwrap();
        (String::from_utf8(output.stdout).unwrap().lines().count() == 4).then_some(())
    });
    let deployed = deploy.arg(root.join("examples/deploy")).output().unwrap();
    assert!(deployed.status.success(), "{deployed:?}");
    for port in 9100..9103 {
        let mut curl = Command::new("curl");
        let url = format!("http://127.0.0.1:{port}/example/greetings/v1/call/greet");
        let answer = curl.args(["-sS", "--max-time", "10", "-d", r#"["Ada"]"#, &url]).output().unwrap();
        assert_eq!(String::from_utf8(answer.stdout).unwrap(), r#""Hello, Ada!""#);
    }
    kill_process(Pid::from_child(&running), Signal::TERM).unwrap();
    let start = std::time::Instant::now();
    let ended = wait_for("the end", || running.try_wait().unwrap());
    assert!(ended.success() && start.elapsed() < PATIENCE, "{ended}");
    for port in [4222, 6222, 9100] {
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "something still listens on {port}");
    }
}
