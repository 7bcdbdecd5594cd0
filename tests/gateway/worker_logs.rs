//! The output of workers, over HTTP: kept, followed, and found again after a restart.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Gateway, fixture, wait_for};
use crate::wire::{self, Wire, assert_refused, request};

fn deployment(name: &str, folder: &str) -> String {
    format!("[[deployment]]\nname = {name:?}\npath = {:?}\n", fixture(folder))
}

fn get(path: &str) -> Vec<u8> {
    request("GET", path, &[], "")
}

#[test]
fn logs_are_answered_as_text_and_as_a_json_string() {
    let gateway = Gateway::ready(&deployment("it", "python-values"));
    assert_eq!(gateway.call("it", "say", r#"["first \u001b[31mred"]"#).status, 200);
    let text = wait_for("both outputs", || {
        let text = gateway.worker_log("it");
        (text.contains(" out first") && text.contains(" err first")).then_some(text)
    });
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(gateway.get("/api/logs/it").header("content-type").unwrap().starts_with("text/plain"));
    let body = json!({"container": "deploy", "type": "deploy", "suffix": "it", "prefix": "local", "version": "v1"});
    let answer = gateway.post("/api/deploy/logs", &[("content-type", "application/json")], body.to_string());
    assert_eq!((answer.status, answer.json()), (200, json!(text)));

    assert_refused(&wire::send(&gateway, "GET", "/api/logs/other", &[], ""), 404, "deployment_not_found");
    assert_refused(&wire::send(&gateway, "GET", "/api/logs/it?follow=perhaps", &[], ""), 400, "bad_request");
    let unknown = wire::send(&gateway, "POST", "/api/deploy/logs", &[], r#"{"suffix":"other"}"#);
    assert_refused(&unknown, 404, "deployment_not_found");
    assert_refused(&wire::send(&gateway, "POST", "/api/deploy/logs", &[], "{"), 400, "invalid_json");
    assert_refused(&wire::send(&gateway, "POST", "/api/deploy/logs", &[], "{}"), 400, "invalid_json");
}

/// Reads the next event of a followed log.
fn event(wire: &mut Wire) -> String {
    loop {
        let line = wire.line();
        assert_ne!(line, "", "the log ended");
        if let Some(text) = line.strip_prefix("data: ") {
            return text.trim_end().to_owned();
        }
    }
}

#[test]
fn a_followed_log_gives_each_line_as_it_is_printed() {
    let gateway = Gateway::ready(&format!("[server]\nidle_timeout = \"300ms\"\n{}", deployment("it", "echo-node")));
    gateway.call("it", "say", "[\"before\"]");
    wait_for("the line", || gateway.worker_log("it").contains("before").then_some(()));
    let mut wire = Wire::open(&gateway);
    let head = wire.send(get("/api/logs/it?follow=true")).answer_without_body();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    while !event(&mut wire).ends_with(" out before") {}
    for n in 0..3 {
        // Even after a silence longer than the idle timeout of a connection.
        std::thread::sleep(Duration::from_millis(if n == 1 { 900 } else { 0 }));
        gateway.call("it", "say", &format!("[\"line {n}\"]"));
        let line = event(&mut wire);
        assert!(line.ends_with(&format!(" out line {n}")), "{line}");
    }
}

#[test]
fn a_followed_log_does_not_delay_the_gateways_stop() {
    let mut gateway = Gateway::ready(&format!("[server]\ndrain = \"15s\"\n{}", deployment("it", "echo-node")));
    gateway.call("it", "say", "[\"something\"]");
    let mut wire = Wire::open(&gateway);
    assert_eq!(wire.send(get("/api/logs/it?follow=true")).answer_without_body().status, 200);
    event(&mut wire);
    let start = Instant::now();
    gateway.signal(rustix::process::Signal::TERM);
    assert!(gateway.wait_end().success());
    assert!(start.elapsed() < Duration::from_secs(5), "after {:?}", start.elapsed());
}

#[test]
fn logs_outlive_the_gateway() {
    let data = tempfile::tempdir().unwrap();
    let start = || {
        let folder = tempfile::tempdir().unwrap();
        let server = format!("[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = {:?}\n", data.path());
        fs::write(folder.path().join("metagate.toml"), server + &deployment("it", "echo-node")).unwrap();
        let gateway = Gateway::start_in(folder, |_| {});
        gateway.wait_ready();
        gateway
    };
    let first = start();
    first.call("it", "say", "[\"in the first run\"]");
    wait_for("the line", || first.worker_log("it").contains("in the first run").then_some(()));
    assert!(first.stop().success());
    let second = start();
    second.call("it", "say", "[\"in the second run\"]");
    let text = wait_for("the line", || Some(second.worker_log("it")).filter(|text| text.contains("second run")));
    let [first, second] = ["in the first run", "in the second run"].map(|words| text.find(words).unwrap());
    assert!(first < second, "{text}");
}
