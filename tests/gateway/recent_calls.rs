//! `GET /api/recent-calls`: the last calls, one of them with its parts and the lines of its log, and who may see them.

use serde_json::Value;

use crate::plugins::component::Plugin;
use crate::plugins::{Files, table};
use crate::support::{Gateway, fixture, wait_for};
use crate::wire::{self, assert_refused};

fn deployment(name: &str) -> String {
    format!("[[deployment]]\nname = {name:?}\npath = {:?}\n", fixture("dashboard"))
}

fn list(gateway: &Gateway, query: &str) -> Value {
    gateway.get(&format!("/api/recent-calls?{query}")).json()
}

fn ids(list: &Value) -> Vec<&str> {
    list["calls"].as_array().unwrap().iter().map(|call| call["request_id"].as_str().unwrap()).collect()
}

fn call_as(gateway: &Gateway, id: &str, function: &str, body: &str) -> u16 {
    gateway.post(&format!("/local/math/v1/call/{function}"), &[("x-request-id", id)], body).status
}

/// A call is kept when its answer has been sent.
#[track_caller]
fn kept(gateway: &Gateway, id: &str) -> Value {
    wait_for(id, || {
        let answer = gateway.get(&format!("/api/recent-calls/{id}"));
        (answer.status == 200).then(|| answer.json())
    })
}

/// The parts by name; each begins when those before it have ended, and all lie within the call.
#[track_caller]
fn parts(call: &Value) -> Vec<String> {
    let parts = call["parts"].as_array().unwrap();
    let mut end = 0.0;
    for part in parts {
        let (start, took) = (part["start_ms"].as_f64().unwrap(), part["duration_ms"].as_f64().unwrap());
        assert!(start >= end - 0.002, "{call:#}");
        end = start + took;
    }
    assert!(end <= call["duration_ms"].as_f64().unwrap() + 0.002, "{call:#}");
    let name = |part: &Value| part["name"].as_str().map_or_else(String::new, |name| format!(" {name}"));
    parts.iter().map(|part| format!("{}{}", part["part"].as_str().unwrap(), name(part))).collect()
}

#[test]
fn a_call_is_found_by_its_request_id_with_its_parts() {
    let gateway = Gateway::ready(&deployment("math"));
    assert_eq!(call_as(&gateway, "a/b:c=d", "sum", "[1, 2]"), 200);
    let call = kept(&gateway, "a/b:c=d");
    assert_eq!(parts(&call), ["request", "queue", "worker sum"]);
    for (field, value) in [
        ("request_id", Value::from("a/b:c=d")),
        ("deployment", "math".into()),
        ("release", Value::Null),
        ("function", "sum".into()),
        ("called", Value::Null),
        ("method", "POST".into()),
        ("path", Value::Null),
        ("status", 200.into()),
        ("code", Value::Null),
        ("is_error", false.into()),
        ("is_slow", false.into()),
        ("request_bytes", 6.into()),
        ("answer_bytes", 1.into()),
    ] {
        assert_eq!(call[field], value, "{field} of {call:#}");
    }
    let started = call["started"].as_str().unwrap();
    assert!(started.starts_with("20") && started.ends_with('Z'), "{started}");
    assert!(call["parts"][2]["duration_ms"].as_f64() > Some(0.0), "{call:#}");
    let answer = wire::send(&gateway, "GET", "/api/recent-calls/of-no-call", &[], "");
    assert_refused(&answer, 404, "call_not_found");
}

#[test]
fn a_failed_call_has_the_lines_that_name_it() {
    let gateway = Gateway::ready(&deployment("math"));
    assert_eq!(call_as(&gateway, "before", "say", "[\"earlier\"]"), 200);
    let log = || gateway.get("/api/logs/math").body;
    wait_for("the line", || log().contains("earlier").then_some(()));
    assert_eq!(call_as(&gateway, "it", "fail", "[\"for a reason\"]"), 500);
    wait_for("the line of log()", || log().contains("about to fail").then_some(()));
    let call = kept(&gateway, "it");
    assert_eq!((&call["status"], &call["code"]), (&500.into(), &"function_error".into()));
    assert_eq!(call["parts"][2]["code"], "function_error", "{call:#}");
    let lines = call["log"].as_array().unwrap();
    let own: Vec<&str> =
        lines.iter().filter(|line| line["of_call"] == true).map(|line| line["line"].as_str().unwrap()).collect();
    assert!(own.iter().any(|line| line.contains("fail failed: Error: for a reason")), "{call:#}");
    assert!(own.iter().any(|line| line.contains("\"message\":\"about to fail\"")), "{call:#}");
    assert!(kept(&gateway, "before")["log"].as_array().unwrap().iter().all(|line| line["of_call"] == false));
}

#[test]
fn the_list_has_the_newest_first_and_filters() {
    let gateway = Gateway::ready(&[deployment("math"), deployment("other")].concat());
    for (id, function, body, status) in [
        ("ok", "sum", "[1, 2]", 200),
        ("failed", "fail", "[\"x\"]", 500),
        ("slow", "wait", "[1200]", 200),
        ("wrong", "sum", "{", 400),
        ("unknown", "made-up", "[]", 404),
    ] {
        assert_eq!(call_as(&gateway, id, function, body), status, "{id}");
        kept(&gateway, id);
    }
    gateway.post("/local/other/v1/call/sum", &[("x-request-id", "elsewhere")], "[1, 2]");
    gateway.post("/local/nothing/v1/call/sum", &[("x-request-id", "nowhere")], "[1, 2]");
    kept(&gateway, "nowhere");
    assert_eq!(ids(&list(&gateway, "deployment=math")), ["unknown", "wrong", "slow", "failed", "ok"]);
    assert_eq!(ids(&list(&gateway, "limit=2")), ["nowhere", "elsewhere"]);
    assert_eq!(ids(&list(&gateway, "kind=errors")), ["failed"]);
    assert_eq!(ids(&list(&gateway, "kind=slow&deployment=math")), ["slow"]);
    assert_eq!(list(&gateway, "")["slow_ms"], 1000.0);
    let unknown = kept(&gateway, "unknown");
    assert_eq!((&unknown["function"], &unknown["called"]), (&Value::Null, &"made-up".into()));
    let nowhere = kept(&gateway, "nowhere");
    assert_eq!((&nowhere["deployment"], &nowhere["path"]), (&Value::Null, &"/local/nothing/v1/call/sum".into()));
    for query in ["kind=odd", "limit=0", "limit=501", "limit=x", "of=math"] {
        let answer = wire::send(&gateway, "GET", &format!("/api/recent-calls?{query}"), &[], "");
        assert_refused(&answer, 400, "bad_request");
    }
}

#[test]
fn hooks_are_parts_of_a_call_with_their_verdicts() {
    let files = Files::new();
    let plugin = |name: &str| {
        let file =
            files.put(&format!("{name}.wasm"), Plugin::new().before_invoke(|_| {}).after_invoke(|_| {}).component());
        table(name, &file, "")
    };
    let gateway = Gateway::ready(&[crate::plugins::deployment("it"), plugin("first"), plugin("second")].concat());
    gateway.post("/local/it/v1/call/args", &[("x-request-id", "hooked")], "[1]");
    let call = kept(&gateway, "hooked");
    let order = [
        "request",
        "before-invoke first",
        "before-invoke second",
        "queue",
        "worker args",
        "after-invoke second",
        "after-invoke first",
    ];
    assert_eq!(parts(&call), order);
    assert_eq!(call["parts"][1]["result"], "continue", "{call:#}");
}

#[test]
fn a_token_sees_the_calls_of_what_it_may_read() {
    let tokens = "[admin]\ntoken = \"everything\"\ntokens = [\
                  { name = \"maths\", token = \"maths\", may = [\"deploy:math\"] }, \
                  { name = \"scraper\", token = \"scraper\", may = [\"metrics\"] }]\n";
    let gateway = Gateway::ready(&[tokens, &deployment("math"), &deployment("other")].concat());
    gateway.post("/local/math/v1/call/sum", &[("x-request-id", "own")], "[1, 2]");
    gateway.post("/local/other/v1/call/sum", &[("x-request-id", "foreign")], "[1, 2]");
    gateway.post("/local/nothing/v1/call/sum", &[("x-request-id", "nowhere")], "[1, 2]");
    let get = |token: &str, path: &str| gateway.get_with(path, &[("authorization", &format!("Bearer {token}"))]);
    wait_for("all calls", || {
        let all = get("everything", "/api/recent-calls").json();
        (ids(&all) == ["nowhere", "foreign", "own"]).then_some(())
    });
    assert_eq!(ids(&get("maths", "/api/recent-calls").json()), ["own"]);
    assert_eq!(get("maths", "/api/recent-calls/own").status, 200);
    for id in ["foreign", "nowhere"] {
        assert_refused(&get("maths", &format!("/api/recent-calls/{id}")), 404, "call_not_found");
    }
    assert_refused(&get("maths", "/api/recent-calls?deployment=other"), 403, "forbidden");
    assert_refused(&get("scraper", "/api/recent-calls"), 403, "forbidden");
    assert_eq!(gateway.get("/api/recent-calls/own").status, 401);
}

#[test]
fn nothing_is_kept_without_the_dashboard() {
    let gateway = Gateway::ready(&format!("[dashboard]\nenabled = false\n{}", deployment("math")));
    assert_eq!(call_as(&gateway, "it", "sum", "[1, 2]"), 200);
    assert_eq!(gateway.get("/api/recent-calls").status, 404);
}
