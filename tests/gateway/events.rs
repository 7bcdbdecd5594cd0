//! `GET /api/events`: what a page gets over its one connection, who gets what, and that slow readers cost nothing.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Gateway, fixture, metagate, wait_for};
use crate::wire::{self, Wire, assert_refused};

const TOKENS: &str = "[admin]\ntoken = \"everything\"\n\
                      tokens = [{ name = \"maths\", token = \"maths\", may = [\"deploy:math\"] }]\n";

fn deployment(name: &str) -> String {
    format!("[[deployment]]\nname = {name:?}\npath = {:?}\n", fixture("dashboard"))
}

/// An open stream.
struct Events {
    wire: Wire,
    /// What has come and was not asked for yet.
    seen: Vec<(String, Value)>,
}

impl Events {
    #[track_caller]
    fn open(gateway: &Gateway, query: &str, token: &str) -> Self {
        Self::over(Wire::open(gateway), query, token)
    }

    #[track_caller]
    fn over(mut wire: Wire, query: &str, token: &str) -> Self {
        let head = wire.send(request(query, token)).answer_without_body();
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")), "{head:?}");
        Self { wire, seen: Vec::new() }
    }

    /// The next event of this name, in the order of those of this name.
    #[track_caller]
    fn next(&mut self, name: &str) -> Value {
        loop {
            if let Some(at) = self.seen.iter().position(|(seen, _)| seen == name) {
                return self.seen.remove(at).1;
            }
            let line = self.wire.line();
            assert!(!line.is_empty(), "the stream has ended");
            if let Some(seen) = line.strip_prefix("event: ") {
                let data = serde_json::from_str(self.wire.line().strip_prefix("data: ").unwrap()).unwrap();
                self.seen.push((seen.trim_end().to_owned(), data));
            }
        }
    }
}

fn request(query: &str, token: &str) -> Vec<u8> {
    let authorization = format!("Bearer {token}");
    let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("authorization", &authorization)] };
    wire::request("GET", &format!("/api/events?{query}"), headers, "")
}

fn names(overview: &Value) -> Vec<&str> {
    overview["deployments"].as_array().unwrap().iter().map(|line| line["name"].as_str().unwrap()).collect()
}

fn ids(event: &Value) -> Vec<&str> {
    event["calls"].as_array().unwrap().iter().map(|call| call["request_id"].as_str().unwrap()).collect()
}

#[test]
fn one_stream_has_figures_calls_lines_and_changes() {
    let gateway = Gateway::ready(&[deployment("math"), deployment("idle")].concat());
    gateway.post("/local/math/v1/call/sum", &[("x-request-id", "before")], "[1, 2]");
    let mut events = Events::open(&gateway, "overview&log=math&calls=math", "");
    let overview = events.next("overview");
    assert_eq!((names(&overview), &overview["whole"]), (vec!["idle", "math"], &true.into()));
    assert_eq!((&overview["caller"]["name"], &overview["prefix"]), (&"local".into(), &"local".into()));
    let calls = events.next("calls");
    assert_eq!((ids(&calls), &calls["whole"]), (vec!["before"], &true.into()));
    assert_eq!(events.next("log")["whole"], true);
    gateway.post("/local/math/v1/call/say", &[("x-request-id", "after")], "[\"a line\"]");
    let log = events.next("log");
    assert!(log["lines"][0].as_str().unwrap().ends_with(" out a line"), "{log}");
    let calls = events.next("calls");
    assert_eq!((ids(&calls), &calls["whole"]), (vec!["after"], &false.into()));
    // Only what is new comes again.
    loop {
        let overview = events.next("overview");
        let line = overview["deployments"].as_array().unwrap().iter().find(|line| line["name"] == "math");
        if line.is_some_and(|line| line["history"]["calls"].as_array().unwrap().last() == Some(&2.into())) {
            assert_eq!(overview["whole"], false);
            break;
        }
    }
    let mut deploy = metagate();
    deploy.args(["deploy", "--name", "shop", "--url", &gateway.url("")]).arg(fixture("dashboard"));
    assert!(deploy.output().unwrap().status.success());
    let change = events.next("change");
    assert_eq!(change, json!({ "kind": "deploy", "deployment": "shop", "outcome": "ok" }));
    while !names(&events.next("overview")).contains(&"shop") {}
    gateway.post("/api/deploy/delete", &[("content-type", "application/json")], "{\"suffix\":\"shop\"}");
    while events.next("overview")["gone"] != json!(["shop"]) {}
}

#[test]
fn a_stream_has_what_its_token_may_read() {
    let gateway = Gateway::ready(&[TOKENS, &deployment("math"), &deployment("other")].concat());
    gateway.post("/local/other/v1/call/sum", &[], "[1, 2]");
    gateway.post("/local/math/v1/call/sum", &[("x-request-id", "own")], "[1, 2]");
    let mut events = Events::open(&gateway, "overview&log=other&calls", "maths");
    let refused = events.next("refused");
    assert_eq!((&refused["what"], &refused["code"]), (&"log".into(), &"forbidden".into()));
    assert_eq!(names(&events.next("overview")), ["math"]);
    assert_eq!(ids(&events.next("calls")), ["own"]);
    let mut events = Events::open(&gateway, "log=nothing&calls=other", "everything");
    assert_eq!(events.next("refused")["code"], "deployment_not_found");
    assert_eq!(events.next("calls")["calls"].as_array().unwrap().len(), 1);
    for (query, token, status, code) in [
        ("overview", "", 401, "unauthorized"),
        ("all", "maths", 400, "bad_request"),
        ("calls&kind=odd", "maths", 400, "bad_request"),
        ("log=", "maths", 400, "bad_request"),
    ] {
        assert_refused(&Wire::open(&gateway).send(request(query, token)).answer(), status, code);
    }
}

#[test]
fn streams_are_bounded_and_end_when_the_gateway_stops() {
    let gateway = Gateway::ready(&deployment("math"));
    let mut all: Vec<Events> = (0..64).map(|_| Events::open(&gateway, "overview", "")).collect();
    let refused = Wire::open(&gateway).send(request("overview", "")).answer();
    assert_refused(&refused, 503, "overloaded");
    assert_eq!(refused.header("retry-after"), Some("5"));
    all.pop();
    wait_for("a free place", || {
        let mut wire = Wire::open(&gateway);
        (wire.send(request("overview", "")).answer_without_body().status == 200).then_some(())
    });
    gateway.signal(Signal::TERM);
    for events in &mut all {
        assert!(events.wire.rest().ends_with("0\r\n\r\n"), "each ends as a whole");
    }
}

#[test]
fn a_slow_reader_loses_lines_and_costs_no_memory() {
    let gateway = Gateway::ready(&deployment("math"));
    let mut wire = Wire::open(&gateway);
    rustix::net::sockopt::set_socket_recv_buffer_size(wire.stream(), 4096).unwrap();
    let mut events = Events::over(wire, "log=math&calls", "");
    assert_eq!(events.next("log")["whole"], true);
    // Far more than the log keeps and sockets hold.
    let lines = serde_json::to_string(&[format!("{}\n", "x".repeat(7000)).repeat(100)]).unwrap();
    let mut before = 0;
    for number in 0..24 {
        assert_eq!(gateway.call("math", "say", &lines).status, 200);
        if number == 12 {
            before = gateway.resident_bytes();
        }
    }
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
    let mut lost = 0;
    let is_end = |line: &Value| line.as_str().unwrap().ends_with(" the end");
    wait_for("room for a line", || {
        gateway.call("math", "say", "[\"the end\"]");
        gateway.get("/api/logs/math").body.contains(" the end").then_some(())
    });
    loop {
        let log = events.next("log");
        lost += log["lost"].as_u64().unwrap();
        if log["lines"].as_array().unwrap().iter().any(is_end) {
            break;
        }
    }
    assert!(lost > 0, "nothing was lost");
}
